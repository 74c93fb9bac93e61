"""`sharewell client` as its users run it: a process of its own, files, standard output and exit status."""

from __future__ import annotations

import asyncio
import json
import stat
import sys
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.types import Receive, Scope, Send

from sharewell.gateway.app import build_app
from sharewell.gateway.server import bind, serve

if TYPE_CHECKING:
    from tests.postgres.gateway.conftest import FrontDoor


@pytest.fixture
async def address(door: FrontDoor) -> AsyncIterator[str]:
    """A gateway on a real port, over this test's database."""
    door.clock.run()
    taken, stop, ready = bind("127.0.0.1", 0), asyncio.Event(), asyncio.Event()
    issuer = f"http://127.0.0.1:{taken.getsockname()[1]}"
    app = build_app(replace(door.parts, issuer=issuer), echo)
    serving = asyncio.create_task(serve(app, taken, stop, ready=ready))
    await ready.wait()
    yield issuer
    stop.set()
    await serving


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers as GraphQL does, with what it was asked; `fail` in the query is an error."""
    asked = await Request(scope, receive).json()
    answer: dict[str, Any] = {"data": {"caller": scope["state"]["caller"].principal, "variables": asked["variables"]}}
    if "fail" in asked["query"]:
        answer = {"data": None, "errors": [{"message": "no such offer", "extensions": {"code": "NOT_FOUND"}}]}
    await JSONResponse(answer)(scope, receive, send)


@pytest.fixture
def run(database_environment: Mapping[str, str], address: str) -> Run:
    return Run({**database_environment, "SHAREWELL_ISSUER": address})


class Run:
    """Runs `sharewell client ...` with an environment."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self.environment = environment

    async def __call__(self, *arguments: str | Path, given: str = "") -> tuple[int, str, str]:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "sharewell.cli", "client", *map(str, arguments),
            env=self.environment, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        out, err = await process.communicate(given.encode())
        assert process.returncode is not None
        return process.returncode, out.decode(), err.decode()


async def test_from_the_first_admin_to_a_query(run: Run, tmp_path: Path) -> None:
    admin = tmp_path / "admin.json"
    status, _, said = await run("register", "Head Office", "--role", "admin", "--bootstrap", "--out", admin)
    assert status == 0, said
    assert "head-office" in said
    assert stat.S_IMODE(admin.stat().st_mode) == 0o600

    status, token, _ = await run("token", "--credential", admin)
    assert (status, token.count(".")) == (0, 2)

    status, out, _ = await run("query", "-c", admin, "{ offers }", "-v", '{"first": 3}')
    assert status == 0
    assert json.loads(out)["variables"] == {"first": 3}
    assert json.loads(out)["caller"].startswith("head-office-")

    status, out, _ = await run("query", "-c", admin, given="{ offers }")
    assert json.loads(out)["variables"] == {}

    status, out, err = await run("query", "-c", admin, "{ fail }")
    assert (status, out) == (1, "")
    assert json.loads(err)["errors"][0]["extensions"]["code"] == "NOT_FOUND"


async def test_a_third_first_admin_is_refused_and_leaves_no_file(run: Run, tmp_path: Path) -> None:
    one, two, three = tmp_path / "one.json", tmp_path / "two.json", tmp_path / "three.json"
    for name, out in (("One", one), ("Two", two)):
        assert (await run("register", name, "--role", "admin", "--bootstrap", "--out", out))[0] == 0
    status, _, said = await run("register", "Three", "--role", "admin", "--bootstrap", "--out", three)
    assert status == 1
    assert "admins of two lines exist" in said
    assert not three.exists()
    status, _, said = await run("register", "Three", "--role", "admin", "--bootstrap", "--out", one)
    assert status == 1
    assert "exists already" in said


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["register", "X", "--role", "admin", "--out", "x.json"], "give either --credential"),
        (["register", "X", "--role", "king", "--bootstrap", "--out", "x.json"], "'king' is not one of"),
        (["token", "-c", "none.json"], "none.json cannot be read"),
        (["query", "-c", "none.json", "@none.graphql"], "none.graphql cannot be read"),
        (["query", "-c", "none.json", "{ a }", "-v", "[1]"], "a JSON object is wanted"),
        (["query", "-c", "none.json", "{ a }", "-v", "{"], "not JSON"),
    ],
)
async def test_a_mistake_is_explained_in_a_sentence(tmp_path: Path, arguments: list[str], complaint: str) -> None:
    status, out, said = await Run({"SHAREWELL_HOME": str(tmp_path), "COLUMNS": "200"})(*arguments)
    assert status in {1, 2}
    assert out == ""
    assert complaint in said
    assert "Traceback" not in said
