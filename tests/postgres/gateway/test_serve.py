"""A whole gateway in a process of its own: an admin invites a person by the command line, who lets an app act."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlsplit

import httpx2
import pyotp
from authlib.integrations.httpx_client import AsyncOAuth2Client
from authlib.oauth2.rfc7523 import PrivateKeyJWT
from joserfc.jwk import import_key
from tests.postgres.gateway.conftest import PATIENCE

if TYPE_CHECKING:
    from tests.postgres.gateway.conftest import OpenPlatform, Platform

PASSWORD = "a long sentence of my own"
BACK = "https://app.example/back"


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


async def rotated(platform: Platform, http: httpx2.AsyncClient, admin: Path) -> None:
    """The running gateway publishes the new key beside the old one; both are on record."""
    (before,) = (await http.get("/jwks.json")).json()["keys"]
    await platform.run("key", "rotate")
    keys: list[Any] = []
    while len(keys) < 2:
        keys = (await http.get("/jwks.json")).json()["keys"]
    assert keys[1] == before
    query = '{ decisions(kind: "key.rotated") { nodes { subjectId } } }'
    recorded = json.loads(await platform.run("client", "query", "-c", admin, query))["decisions"]["nodes"]
    assert {key["kid"] for key in keys} <= {node["subjectId"] for node in recorded}


async def test_from_an_invitation_to_a_query_in_a_persons_name_while_the_key_is_rotated(
    open_platform: OpenPlatform, tmp_path: Path
) -> None:
    async with open_platform() as platform:
        await _from_an_invitation_to_a_query(platform, tmp_path)


async def _from_an_invitation_to_a_query(platform: Platform, tmp_path: Path) -> None:
    """With Authlib's client as the app."""
    admin, board = tmp_path / "admin.json", tmp_path / "board.json"
    await platform.run("client", "register", "Head Office", "--role", "admin", "--bootstrap", "--out", admin)
    invitation = await platform.run("person", "invite", "gargamel", "Gargamel", "-c", admin, "--role", "regulator")
    await platform.run(
        "client", "register", "Board", "--id", "board", "-c", admin, "--out", board, "--role", "regulator",
        "--scope", "user/Offer.rs", "--scope", "user/Resource.rs", "--redirect", BACK, "--rate", "low",
    )  # fmt: skip
    key = import_key(json.loads(board.read_text())["private_jwk"])
    async with platform.http() as http:
        secret = await platform.enrol(http, invitation, PASSWORD)
        metadata = (await http.get("/.well-known/oauth-authorization-server")).json()
        async with AsyncOAuth2Client(
            "board", key, token_endpoint_auth_method="private_key_jwt", code_challenge_method="S256",
            redirect_uri=BACK, scope="user/Offer.rs user/Resource.rs", timeout=PATIENCE,
        ) as client:  # fmt: skip
            verifier = "v" * 64
            address, state = client.create_authorization_url(
                metadata["authorization_endpoint"], code_verifier=verifier
            )
            location = await signed_in(http, address, "gargamel", secret)
            said = dict(parse_qsl(urlsplit(location).query))
            assert (said["state"], said["iss"]) == (state, platform.url)
            signer = PrivateKeyJWT(
                metadata["token_endpoint"], claims={"exp": int(time.time()) + 240}, headers={"kid": key.kid},
                alg="ES384",
            )
            client.register_client_auth_method(signer)
            await client.fetch_token(
                metadata["token_endpoint"], authorization_response=location, code_verifier=verifier
            )
            query = {"query": "{ me { clientId roles scopes } resources { nodes { code } } }"}
            answer = (await client.post(f"{platform.url}/graphql", json=query)).json()
        await rotated(platform, http, admin)
    assert answer["data"]["me"]["clientId"].startswith("person/")
    assert answer["data"]["me"]["roles"] == ["REGULATOR"]
    assert answer["data"]["resources"]["nodes"] != []
