"""Others' programs that are started here and talk to ours: skipped, with the reason, where they are not."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
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
REGISTER = """
mutation ($input: RegisterInstitutionInput!) { registerInstitution(input: $input) { institution { id } } }
"""
REPORT = "mutation ($input: ReportCapacityInput!) { reportCapacity(input: $input) { decision { id } } }"
PLEDGE = "mutation ($input: PublishOfferInput!) { publishOffer(input: $input) { offer { id } } }"
NOW = datetime.now(UTC)

__all__ = ["Platform", "open_platform"]


async def node(script: str, *arguments: str, given: Any = None) -> str:
    """What a script of this folder prints that ends well, with `given` as JSON on its standard input."""
    assert NODE is not None
    return await program(NODE, str(HERE / script), *arguments, given=json.dumps(given))


async def program(*command: str, given: str = "", folder: Path = HERE, **environment: str) -> str:
    """What a program prints that ends well."""
    process = await asyncio.create_subprocess_exec(
        *command, cwd=folder, env=os.environ | environment, stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    out, err = await process.communicate(given.encode())
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
    async with ApiClient.of(Credential.load(credential), patience=60.0) as client:
        return await client.token()


async def subgraph(platform: Platform) -> dict[str, str]:
    """Our subgraph, as composers take it."""
    return {"name": "sharewell", "url": f"{platform.url}/graphql", "sdl": await platform.run("schema", "--subgraph")}


@dataclass(frozen=True)
class Staged:
    """What is there to be asked for."""

    north: str  #: id of an institution
    offer: str  #: id of a pledge of North's


async def staged(platform: Platform, folder: Path) -> Staged:
    """Two institutions, an admin, a client of North, and a pledge of North's."""
    admin, north = folder / "admin.json", folder / "north.json"
    await platform.run("client", "register", "Head Office", "--role", "admin", "--bootstrap", "--out", admin)
    ids = {}
    async with ApiClient.of(Credential.load(admin), patience=60.0) as client:
        for code in ("north", "south"):
            asked = {"idempotencyKey": code, "code": code, "name": code.title(), "kind": "HOSPITAL", "region": "us-nj"}
            made = await client.graphql(REGISTER, {"input": asked})
            ids[code] = made["registerInstitution"]["institution"]["id"]
    await platform.run(
        "client", "register", "North", "-c", admin, "--role", "institution", "--institution", ids["north"],
        "--out", north,
    )  # fmt: skip
    async with ApiClient.of(Credential.load(north), patience=60.0) as client:
        report = {"resource": "bed.adult", "asOf": NOW.isoformat(), "staffed": 20, "occupied": 5}
        await client.graphql(REPORT, {"input": {"idempotencyKey": "r", "reports": [report]}})
        pledge = {
            "idempotencyKey": "p", "resource": "bed.adult", "quantity": 3,
            "availableFrom": NOW.isoformat(), "availableUntil": (NOW + timedelta(days=1)).isoformat(),
        }  # fmt: skip
        made = await client.graphql(PLEDGE, {"input": pledge})
    return Staged(ids["north"], made["publishOffer"]["offer"]["id"])
