"""Getting a token and using it: what a well-behaved program sees."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import httpx2
import pytest
from authlib.integrations.httpx_client import AsyncOAuth2Client
from authlib.oauth2.rfc7523 import PrivateKeyJWT
from joserfc import jwt
from joserfc.jwk import ECKey, KeySet, RSAKey

from sharewell.client import ApiClient
from sharewell.domain.principals import Role
from sharewell.gateway.app import build_app
from sharewell.gateway.oauth.keys import load

if TYPE_CHECKING:
    from pathlib import Path

    from tests.postgres.gateway.conftest import FrontDoor, Program, Register

ISSUER = "https://sharewell.example"
TOKEN_URL = f"{ISSUER}/oauth/token"


@pytest.mark.parametrize("key", [ECKey.generate_key("P-384", {"kid": "a"}), RSAKey.generate_key(2048, {"kid": "a"})])
async def test_a_signed_assertion_gets_a_token_of_rfc_9068(door: FrontDoor, register: Register, key: Any) -> None:
    program: Program = await register(key)
    answer = await program.post()
    assert answer.status_code == 200
    assert answer.headers["Cache-Control"] == "no-store"
    document = answer.json()
    assert document.pop("access_token")
    assert document == {
        "token_type": "Bearer",
        "expires_in": 300,
        "scope": "system/Offer.cruds system/Request.rs",
    }
    keys = KeySet.import_key_set((await door.http.get("/jwks.json")).json())
    token = jwt.decode(answer.json()["access_token"], keys, algorithms=["ES256"])
    assert token.header["typ"] == "at+jwt"
    claims = token.claims
    assert {"iss", "sub", "aud", "exp", "iat", "jti", "client_id", "scope"} == claims.keys()
    assert (claims["iss"], claims["aud"], claims["sub"], claims["client_id"]) == (ISSUER, ISSUER, "ward", "ward")
    assert claims["exp"] - claims["iat"] == 300
    assert await door.refusals() == []


async def test_a_token_opens_the_application_with_the_roles_of_the_registration(
    door: FrontDoor, register: Register
) -> None:
    clinic = await door.institution()
    program: Program = await register(roles=frozenset({Role.INSTITUTION, Role.DEVICE}), institution=clinic)
    answer = await door.ask(await program.token(), **{"X-Request-Id": "request-0007"})
    assert answer.json() == {
        "principal": "ward",
        "roles": ["device", "institution"],
        "institution": str(clinic),
        "scopes": ["system/Offer.cruds", "system/Request.rs"],
        "request_id": "request-0007",
    }


async def test_the_scopes_given_are_those_asked_for_and_registered(ward: Program) -> None:
    for asked, given in {
        "system/Offer.r": "system/Offer.r",
        "system/*.rs": "system/Offer.rs system/Request.rs",
        "system/Offer.r system/Client.cruds openid": "system/Offer.r",
        "system/Request.cruds": "system/Request.rs",
    }.items():
        assert (await ward.post(scope=asked)).json()["scope"] == given


async def test_the_issuer_is_taken_as_audience_of_an_assertion_too(ward: Program) -> None:
    assert (await ward.post(ward.assertion(aud=ISSUER))).status_code == 200


async def test_a_client_may_have_two_keys_while_it_changes_them(door: FrontDoor, register: Register) -> None:
    old, new = (ECKey.generate_key("P-384", {"kid": kid}) for kid in ("old", "new"))
    program: Program = await register(old, jwks={"keys": [old.as_dict(private=False), new.as_dict(private=False)]})
    assert (await program.post()).status_code == 200
    assert (await program.using(key=new).post()).status_code == 200


async def test_authlibs_own_client_gets_a_token_and_uses_it(door: FrontDoor, ward: Program) -> None:
    door.clock.run()
    metadata = (await door.http.get("/.well-known/oauth-authorization-server")).json()
    app = build_app(door.parts, _hello)
    async with AsyncOAuth2Client(
        "ward", ward.key, token_endpoint_auth_method="private_key_jwt", transport=httpx2.ASGITransport(app)
    ) as client:
        # A new object for each request: this one keeps its jti.
        claims = {"exp": int(time.time()) + 240}
        signer = PrivateKeyJWT(metadata["token_endpoint"], claims=claims, headers={"kid": ward.key.kid}, alg="ES384")
        client.register_client_auth_method(signer)
        token = await client.fetch_token(
            metadata["token_endpoint"], grant_type="client_credentials", scope="system/Offer.r"
        )
        assert token["scope"] == "system/Offer.r"
        answer = await client.post(f"{ISSUER}/graphql")
    assert answer.text == "hello"


async def _hello(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"hello"})


async def test_our_own_client_gets_a_token_and_keeps_it(door: FrontDoor, ward: Program) -> None:
    door.clock.run()
    transport = httpx2.ASGITransport(build_app(door.parts, _hello))
    async with ApiClient(
        ISSUER, "ward", ward.key.as_dict(private=True), ["system/Offer.r"], transport=transport
    ) as client:
        first, second = await asyncio.gather(client.token(), client.token())
    assert first == second


async def test_tokens_outlive_a_restart_because_the_keys_do(door: FrontDoor, ward: Program, tmp_path: Path) -> None:
    token = await ward.token()
    before = (await door.http.get("/jwks.json")).json()
    restarted = replace(door.parts, keys=load(tmp_path / "keys.json"))
    transport = httpx2.ASGITransport(build_app(restarted, _hello))
    async with httpx2.AsyncClient(transport=transport, base_url=ISSUER) as http:
        assert (await http.get("/jwks.json")).json() == before
        answer = await http.post("/graphql", headers={"Authorization": f"Bearer {token}"})
    assert answer.text == "hello"


async def test_the_metadata_says_what_is_true(door: FrontDoor, ward: Program) -> None:
    metadata = (await door.http.get("/.well-known/oauth-authorization-server")).json()
    assert metadata["issuer"] == ISSUER
    assert metadata["token_endpoint"] == TOKEN_URL
    assert metadata["grant_types_supported"] == ["client_credentials", "authorization_code", "refresh_token"]
    assert metadata["code_challenge_methods_supported"] == ["S256"]
    assert metadata["token_endpoint_auth_methods_supported"] == ["private_key_jwt", "none"]
    assert metadata["token_endpoint_auth_signing_alg_values_supported"] == ["ES384", "RS384"]
    assert "system/Offer.cruds" in metadata["scopes_supported"]
    smart = (await door.http.get("/.well-known/smart-configuration")).json()
    assert smart["token_endpoint"] == TOKEN_URL
    assert {"client-confidential-asymmetric", "client-public", "permission-v2"} <= set(smart["capabilities"])
    keys = (await door.http.get(metadata["jwks_uri"])).json()["keys"]
    assert [key.keys() & {"d", "p", "q"} for key in keys] == [set()]
