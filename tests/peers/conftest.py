"""Others' programs that are started here and talk to ours: skipped, with the reason, where they are not."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.postgres.gateway.conftest import Platform, open_platform

from sharewell.client import ApiClient, Credential

HERE = Path(__file__).parent
UNPACKED = HERE / "unpacked"
NODE = shutil.which("node")
ENOUGH = Path("node_modules/@apollo/gateway")

needs_node = pytest.mark.skipif(
    NODE is None or not (HERE / ENOUGH).is_dir(),
    reason="needs Node 20 and the packages that tests/peers/run.sh fetches",
)
Start = Callable[..., AbstractAsyncContextManager[int]]

__all__ = ["Platform", "open_platform"]


async def node(script: str, *arguments: str, given: Any = None) -> str:
    """What a script of this folder prints that ends well, with `given` as JSON on its standard input."""
    assert NODE is not None
    process = await asyncio.create_subprocess_exec(
        NODE, str(HERE / script), *arguments, cwd=HERE, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    out, err = await process.communicate(json.dumps(given).encode())
    assert process.returncode == 0, out.decode() + err.decode()
    return out.decode()


def unpacked(package: str) -> Path:
    """The folder of packages that fetch.py fetches; skips the test where `package` is not among them."""
    if not (UNPACKED / package).is_dir():
        pytest.skip(f"{package} is not here; fetch it with: python tests/peers/fetch.py")
    return UNPACKED


@asynccontextmanager
async def running(*command: str, prints: bool = True, **environment: str) -> AsyncIterator[int]:
    """A server that prints its port when it is ready, or anything at all, for the length of a block."""
    process = await asyncio.create_subprocess_exec(
        *command, cwd=HERE, env=os.environ | environment, stdout=asyncio.subprocess.PIPE
    )
    try:
        assert process.stdout is not None
        line = await process.stdout.readline()
        yield int(line) if prints else 0
    finally:
        process.terminate()
        await process.wait()


async def token_of(credential: Path) -> str:
    """An access token."""
    async with ApiClient.of(Credential.load(credential), patience=5.0) as client:
        return await client.token()


async def subgraph(platform: Platform) -> dict[str, str]:
    """Our subgraph, as composers take it."""
    return {"name": "sharewell", "url": f"{platform.url}/graphql", "sdl": await platform.run("schema", "--subgraph")}
