"""Nonces in proofs of possession (RFC 9449, 8 and 9): asked for, known again, and over after minutes."""

from __future__ import annotations

import secrets
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

import httpx2
from joserfc import jwt
from joserfc.jwk import ECKey

from sharewell.gateway.oauth.keys import SigningKeys
from sharewell.gateway.oauth.nonces import SPAN_SECONDS, Nonces
from sharewell.gateway.oauth.proofs import ath

if TYPE_CHECKING:
    from tests.postgres.gateway.conftest import FrontDoor, Program

ISSUER = "https://sharewell.example"
KEY = ECKey.generate_key("P-256")


def proof(path: str, nonce: str | None, at: int, token: str | None = None, key: ECKey = KEY) -> str:
    claims = {
        "htm": "POST", "htu": ISSUER + path, "jti": secrets.token_hex(8), "iat": at,
        "ath": None if token is None else ath(token), "nonce": nonce,
    }  # fmt: skip
    header = {"alg": "ES256", "typ": "dpop+jwt", "jwk": key.as_dict(private=False)}
    return jwt.encode(header, {n: v for n, v in claims.items() if v is not None}, key)


async def bound(program: Program, http: httpx2.AsyncClient, nonce: str | None) -> httpx2.Response:
    form = {
        "grant_type": "client_credentials", "scope": "system/*.cruds",
        "client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
        "client_assertion": program.assertion(),
    }  # fmt: skip
    dpop = proof("/oauth/token", nonce, program.clock.seconds())
    return await http.post("/oauth/token", data=form, headers={"DPoP": dpop})


async def ask(
    program: Program, http: httpx2.AsyncClient, token: str, nonce: str | None, **more: Any
) -> httpx2.Response:
    dpop = proof("/graphql", nonce, program.clock.seconds(), token, **more)
    headers = {"Authorization": f"DPoP {token}", "DPoP": dpop}
    return await http.post("/graphql", headers=headers)


async def test_a_proof_without_nonce_is_asked_for_one_and_with_it_opens_both_doors(
    door: FrontDoor, ward: Program
) -> None:
    async with door.rebuilt(dpop_nonces=True) as http:
        first = await bound(ward, http, None)
        assert (first.status_code, first.json()["error"]) == (400, "use_dpop_nonce")
        granted = await bound(ward, http, first.headers["DPoP-Nonce"])
        assert (granted.status_code, granted.json()["token_type"]) == (200, "DPoP")
        token = granted.json()["access_token"]
        wanted = await ask(ward, http, token, None)
        assert wanted.status_code == 401
        assert 'error="use_dpop_nonce"' in wanted.headers["WWW-Authenticate"]
        opened = await ask(ward, http, token, wanted.headers["DPoP-Nonce"])
        assert (opened.status_code, opened.json()["principal"]) == (200, "ward")
        assert opened.headers["DPoP-Nonce"]
        assert await door.refusals() == []  # to be asked for a nonce is the usual first step
        # Whoever sends no proof needs no nonce, where the client need not prove a key.
        assert (await door.ask(await ward.using(http=http).token())).status_code == 200


async def test_a_nonce_that_was_made_up_is_refused_and_recorded(door: FrontDoor, ward: Program) -> None:
    async with door.rebuilt(dpop_nonces=True) as http:
        nonce = (await bound(ward, http, None)).headers["DPoP-Nonce"]
        token = (await bound(ward, http, nonce)).json()["access_token"]
        made_up = [await bound(ward, http, "A" * 32), await ask(ward, http, token, "made up")]
        assert [answer.status_code for answer in made_up] == [400, 401]
        assert all(answer.headers["DPoP-Nonce"] == nonce for answer in made_up)
        other = await ask(ward, http, token, nonce, key=ECKey.generate_key("P-256"))
        assert 'error="invalid_token"' in other.headers["WWW-Authenticate"]
    assert [each.details["reason"] for each in await door.refusals()] == ["bad_nonce", "bad_nonce", "other_key"]


async def test_an_old_nonce_is_replaced_and_is_no_offence(door: FrontDoor, ward: Program) -> None:
    async with door.rebuilt(dpop_nonces=True) as http:
        old = (await bound(ward, http, None)).headers["DPoP-Nonce"]
        door.clock.ahead = timedelta(seconds=2 * SPAN_SECONDS)
        late = await bound(ward, http, old)
        assert late.json()["error"] == "use_dpop_nonce"
        assert late.headers["DPoP-Nonce"] != old
        assert (await bound(ward, http, late.headers["DPoP-Nonce"])).status_code == 200
    assert await door.refusals() == []


def test_gateways_that_share_the_keys_know_each_others_nonces_also_after_a_rotation() -> None:
    at = datetime(2026, 1, 1, tzinfo=UTC)
    old, new = (
        ECKey.import_key(ECKey.generate_key("P-256").as_dict(private=True, iat=made)) for made in (1, 2)
    )
    one, two = (Nonces(SigningKeys(keys).secrets, lambda: at) for keys in ([old], [new, old]))
    stranger = Nonces(SigningKeys([ECKey.generate_key("P-256")]).secrets, lambda: at)
    assert two.holds(one.fresh())
    assert one.fresh() != two.fresh()
    assert not one.holds(stranger.fresh())
    for seconds, good in ((SPAN_SECONDS - 1, True), (2 * SPAN_SECONDS - 1, True), (2 * SPAN_SECONDS, False)):
        later = Nonces(SigningKeys([old]).secrets, partial(at.__add__, timedelta(seconds=seconds)))
        assert later.holds(one.fresh()) is good
        assert later.was_ours(one.fresh())
    assert not one.holds(None)
