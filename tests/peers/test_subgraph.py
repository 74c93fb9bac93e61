"""Apollo's own tests of subgraphs: its example behind our view and executor, its two other subgraphs, and a gateway."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from contextlib import AsyncExitStack
from pathlib import Path

import httpx2
import pytest
from tests.peers.conftest import HERE, NODE, needs_node, node, running, unpacked

TESTS = HERE / "node_modules/@apollo/federation-subgraph-compatibility-tests"
JEST = HERE / "node_modules/jest/bin/jest.js"
ROUTER = 4000  #: where the tests look for the gateway
OTHERS = {"users": 4002, "inventory": 4003}  #: where the two other subgraphs listen
PASSED = 23
RUN_ALL = "SHAREWELL_FUZZ_SECONDS"  #: set by run.sh, which is run to have everything tried


def taken(port: int) -> bool:
    with socket.socket() as free:
        free.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            free.bind(("127.0.0.1", port))
        except OSError:
            return True
    return False


@needs_node
async def test_apollos_tests_of_a_subgraph_all_pass(tmp_path: Path) -> None:
    assert NODE is not None
    path = os.pathsep.join([str(unpacked("google")), *filter(None, [os.environ.get("PYTHONPATH")])])
    if busy := [port for port in (ROUTER, *OTHERS.values()) if taken(port)]:
        why = f"the tests need ports {busy}, which something else has here"
        if RUN_ALL in os.environ:
            pytest.fail(why)
        pytest.skip(why)
    async with AsyncExitStack() as stack:
        port = await stack.enter_async_context(running(sys.executable, "products.py", PYTHONPATH=path))
        url = f"http://127.0.0.1:{port}/"
        for name in OTHERS:
            await stack.enter_async_context(running(NODE, str(TESTS / f"dist/subgraphs/{name}/index.js"), prints=False))
        async with httpx2.AsyncClient(timeout=60) as http:
            answer = await http.post(url, json={"query": "{ _service { sdl } }"})
        subgraphs = [{"name": "products", "url": url, "sdl": answer.json()["data"]["_service"]["sdl"]}]
        for name, at in OTHERS.items():
            sdl = (TESTS / f"dist/subgraphs/{name}/{name}.graphql").read_text(encoding="utf-8")
            subgraphs.append({"name": name, "url": f"http://localhost:{at}/", "sdl": sdl})
        supergraph = tmp_path / "supergraph.graphql"
        supergraph.write_text(await node("compose.mjs", given=subgraphs))
        await stack.enter_async_context(running(NODE, "gateway.mjs", str(supergraph), str(ROUTER)))
        command = [NODE, str(JEST), str(TESTS / "dist/tests"), "--ci", "--json", "--testTimeout", "60000", "--config",
                   str(TESTS / "federation-jest.config.js")]  # fmt: skip
        done = subprocess.run(
            command, check=False, cwd=TESTS, env=os.environ | {"PRODUCTS_URL": url}, capture_output=True, text=True
        )
    told = json.loads(done.stdout)
    failed = [
        f"{one['fullName']}: {one['failureMessages']}"
        for suite in told["testResults"] for one in suite["assertionResults"] if one["status"] != "passed"
    ]  # fmt: skip
    assert failed == []
    assert told["numPassedTests"] == told["numTotalTests"] == PASSED, done.stderr
