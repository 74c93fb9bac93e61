"""A whole gateway in a process of its own: an admin invites a person, who lets an app act, by the command line and HTTP."""

from __future__ import annotations

import asyncio
import json
import re
import socket
import sys
import time
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import httpx2
import pyotp
import pytest
from authlib.integrations.httpx_client import AsyncOAuth2Client
from authlib.oauth2.rfc7523 import PrivateKeyJWT
from joserfc.jwk import import_key


PASSWORD = "a long sentence of my own"
BACK = "https://app.example/back"


class Platform:
    """The processes of one installation."""

    def __init__(self, environment: Mapping[str, str], url: str) -> None:
        self.environment, self.url = {**environment, "SHAREWELL_ISSUER": url, "SHAREWELL_LOG_LEVEL": "warning"}, url

    async def run(self, *arguments: str | Path) -> str:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "sharewell.cli", *map(str, arguments), env=self.environment,
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        out, err = await process.communicate()
        assert process.returncode == 0, err.decode()
        return out.decode()


@pytest.fixture
async def platform(database_environment: Mapping[str, str]) -> AsyncIterator[Platform]:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    running = Platform({**database_environment, "SHAREWELL_PORT": str(port)}, f"http://127.0.0.1:{port}")
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "sharewell.cli", "serve", "--no-worker", "--no-migrate", env=running.environment
    )
    try:
        async with httpx2.AsyncClient(base_url=running.url) as http:
            while True:
                assert process.returncode is None, "the gateway ended"
                try:
                    if (await http.get("/readyz")).status_code == 200:
                        break
                except httpx2.HTTPError:
                    await asyncio.sleep(0.1)
        yield running
    finally:
        process.terminate()
        await process.wait()


async def signed_in(http: httpx2.AsyncClient, address: str, login: str, secret: str) -> str:
    """Walk a person through sign-in and consent; the address the app is called back at."""
    page = await http.get(address)
    found = re.search(r'name="handle" value="([^"]+)"', page.text)
    assert found is not None, page.text
    form = {"handle": found[1], "login": login, "password": PASSWORD, "code": pyotp.TOTP(secret).at(time.time() + 30)}
    consent = await http.post("/oauth/sign-in", data=form)
    assert "Let Board act for you?" in consent.text, consent.text
    back = await http.post("/oauth/consent", data={"handle": found[1], "answer": "allow"})
    return back.headers["Location"]


async def test_from_an_invitation_to_a_query_in_a_persons_name_with_authlibs_client(
    platform: Platform, tmp_path: Path
) -> None:
    admin, board = tmp_path / "admin.json", tmp_path / "board.json"
    await platform.run("client", "register", "Head Office", "--role", "admin", "--bootstrap", "--out", admin)
    invitation = await platform.run("person", "invite", "gargamel", "Gargamel", "-c", admin, "--role", "regulator")
    await platform.run(
        "client", "register", "Board", "--id", "board", "-c", admin, "--out", board, "--role", "regulator",
        "--scope", "user/Offer.rs", "--scope", "user/Resource.rs", "--redirect", BACK, "--rate", "low",
    )  # fmt: skip
    key = import_key(json.loads(board.read_text())["private_jwk"])
    async with httpx2.AsyncClient(base_url=platform.url) as http:
        page = await http.post("/oauth/enrol", data={"invitation": invitation.strip()})
        shown = re.search(r"<code>([A-Z2-7 ]+)</code>", page.text)
        assert shown is not None, page.text
        secret = shown[1].replace(" ", "")
        enrolled = await http.post(
            "/oauth/enrol",
            data={"invitation": invitation.strip(), "password": PASSWORD, "code": pyotp.TOTP(secret).now()},
        )
        assert "You can sign in now" in enrolled.text, enrolled.text
        metadata = (await http.get("/.well-known/oauth-authorization-server")).json()
        async with AsyncOAuth2Client(
            "board", key, token_endpoint_auth_method="private_key_jwt", code_challenge_method="S256",
            redirect_uri=BACK, scope="user/Offer.rs user/Resource.rs",
        ) as client:  # fmt: skip
            verifier = "v" * 64
            address, state = client.create_authorization_url(metadata["authorization_endpoint"], code_verifier=verifier)
            location = await signed_in(http, address, "gargamel", secret)
            said = dict(parse_qsl(urlsplit(location).query))
            assert (said["state"], said["iss"]) == (state, platform.url)
            signer = PrivateKeyJWT(
                metadata["token_endpoint"], claims={"exp": int(time.time()) + 240}, headers={"kid": key.kid}, alg="ES384"
            )
            client.register_client_auth_method(signer)
            await client.fetch_token(
                metadata["token_endpoint"], authorization_response=location, code_verifier=verifier
            )
            query = {"query": "{ me { clientId roles scopes } resources { nodes { code } } }"}
            answer = (await client.post(f"{platform.url}/graphql", json=query)).json()
    assert answer["data"]["me"]["clientId"].startswith("person/")
    assert answer["data"]["me"]["roles"] == ["REGULATOR"]
    assert answer["data"]["resources"]["nodes"] != []


async def test_a_key_is_rotated_while_gateways_run(platform: Platform, tmp_path: Path) -> None:
    admin = tmp_path / "admin.json"
    await platform.run("client", "register", "Head Office", "--role", "admin", "--bootstrap", "--out", admin)
    async with httpx2.AsyncClient(base_url=platform.url) as http:
        (before,) = (await http.get("/jwks.json")).json()["keys"]
        await platform.run("key", "rotate")
        keys: list[Any] = []
        while len(keys) < 2:
            keys = (await http.get("/jwks.json")).json()["keys"]
    assert keys[1] == before
    query = '{ decisions(kind: "key.rotated") { nodes { subjectId } } }'
    recorded = json.loads(await platform.run("client", "query", "-c", admin, query))["decisions"]["nodes"]
    assert keys[0]["kid"] in {node["subjectId"] for node in recorded}
