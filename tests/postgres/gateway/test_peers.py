"""Independent peers: npm's openid-client as program and app, npm's oidc-provider as external issuer.

`tests/peers/run.sh` fetches them and runs this; without Node or the packages it is skipped.
"""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.postgres.gateway.conftest import OpenPlatform, Platform

PEERS = Path(__file__).parents[2] / "peers"
NODE = shutil.which("node")
BACK = "https://app.example/back"
PASSWORD = "a long sentence of my own"
FLOWS = [
    "client_credentials, private_key_jwt ES384", "DPoP ES256", "DPoP nonces", "introspection and revocation",
    "pushed request, authorization_code with PKCE, iss", "refresh rotation", "revocation of a family",
    "external issuer", "external issuer, DPoP Ed25519",
]  # fmt: skip

pytestmark = pytest.mark.skipif(
    NODE is None or not (PEERS / "node_modules").is_dir(),
    reason="needs Node 20 and the packages that tests/peers/run.sh fetches",
)


@pytest.fixture
async def issuer() -> AsyncIterator[str]:
    """The address of an oidc-provider in a process of its own."""
    assert NODE is not None
    process = await asyncio.create_subprocess_exec(NODE, str(PEERS / "issuer.mjs"), stdout=asyncio.subprocess.PIPE)
    assert process.stdout is not None
    try:
        yield f"http://127.0.0.1:{int(await process.stdout.readline())}"
    finally:
        process.terminate()
        await process.wait()


async def test_every_flow_of_independent_peers_goes_as_it_should(
    open_platform: OpenPlatform, issuer: str, tmp_path: Path
) -> None:
    institution = "018f0000-0000-7000-8000-00000000000a"
    listed = {
        "name": "outside-id", "issuer": issuer, "audience": "https://sharewell.example/api",
        "roles": {"clinic": "institution"}, "institutions": {"north": institution},
        "scopes": ["system/Offer.rs", "system/Resource.rs"],
    }  # fmt: skip
    path = tmp_path / "issuers.json"
    path.write_text(json.dumps({"issuers": [listed]}))
    async with open_platform(SHAREWELL_ISSUERS=str(path), SHAREWELL_DPOP_NONCES="required") as platform:
        given = await _registered(platform, tmp_path) | {"issuer": issuer, "institution": institution}
        assert NODE is not None
        said = await platform.program(NODE, str(PEERS / "flows.mjs"), given=json.dumps(given))
        assert said.splitlines() == [f"ok {flow}" for flow in FLOWS]


async def _registered(platform: Platform, folder: Path) -> dict[str, object]:
    """An admin that is a service too, an app, and a person who has enrolled."""
    service, board = folder / "service.json", folder / "board.json"
    await platform.run("client", "register", "Head Office", "--role", "admin", "--bootstrap", "--out", service)
    await platform.run(
        "client", "register", "Board", "-c", service, "--out", board, "--role", "regulator",
        "--scope", "user/Offer.rs", "--scope", "user/Resource.rs", "--redirect", BACK,
    )  # fmt: skip
    invitation = await platform.run("person", "invite", "gargamel", "Gargamel", "-c", service, "--role", "regulator")
    async with platform.http() as http:
        secret = await platform.enrol(http, invitation, PASSWORD)
    return {
        "url": platform.url, "redirect_uri": BACK, "service": json.loads(service.read_text()),
        "board": json.loads(board.read_text()),
        "person": {"login": "gargamel", "password": PASSWORD, "secret": secret},
    }  # fmt: skip
