"""Independent clients: npm's graphql-ws and graphql-sse. `tests/peers/run.sh` fetches them and runs this."""

from __future__ import annotations

import asyncio
import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.postgres.following.conftest import follow_from

if TYPE_CHECKING:
    from tests.postgres.following.conftest import Gateway, Region

PEERS = Path(__file__).parents[2] / "peers"
NODE = shutil.which("node")

pytestmark = pytest.mark.skipif(
    NODE is None or not (PEERS / "node_modules" / "graphql-sse").is_dir(),
    reason="needs Node 20 and the packages that tests/peers/run.sh fetches",
)


async def test_graphql_ws_and_graphql_sse_follow_and_go_on_where_they_were_cut_off(
    region: Region, gateway: Gateway
) -> None:
    await region.institution("clinic")
    token = region.token("clinic")
    given = {"url": gateway.url, "token": token, "after": await follow_from(gateway.url, token)}
    offers = [str((await region.pledge("clinic")).id) for _ in range(2)]
    assert NODE is not None
    process = await asyncio.create_subprocess_exec(
        NODE, str(PEERS / "follow.mjs"), stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(json.dumps(given).encode() + b"\n")
    said = [(await process.stdout.readline()).decode().strip() for _ in range(4)]  # each of them heard of both
    offers += [str((await region.pledge("clinic")).id) for _ in range(2)]
    out, err = await process.communicate()
    assert process.returncode == 0, err.decode()
    said += out.decode().splitlines()
    assert "connections 2" in said, said  # the one that was cut off connected again by itself
    for name in ("graphql-ws", "graphql-sse"):
        assert [line.split()[1] for line in said if line.startswith(f"{name} ")][:4] == offers
        assert {f"{name} refused INVALID", f"{name} clinic"} < {*said}
