"""Tokens bound to a key (DPoP, RFC 9449): who presents one proves to hold the key, for each request anew."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import httpx2
import pytest
from joserfc import jwt
from joserfc.jwk import ECKey, OKPKey
from starlette.responses import JSONResponse

from sharewell.authz import Authorizer
from sharewell.domain.clients import RateClass
from sharewell.domain.policy import Action, Target
from sharewell.domain.principals import Role
from sharewell.gateway.app import build_app
from sharewell.gateway.oauth.proofs import ath
from sharewell.gateway.rates import RATES, Buckets

if TYPE_CHECKING:
    from tests.postgres.gateway.conftest import App, Browser, FrontDoor, Program

ISSUER = "https://sharewell.example"
ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
KEY = ECKey.generate_key("P-256")


Proof = Callable[..., str]


@pytest.fixture
def proof(door: FrontDoor) -> Proof:
    """Make proofs by the gateway's clock."""

    def proof(
        path: str, token: str | None = None, *, key: Any = KEY, alg: str = "ES256",
        header: dict[str, Any] | None = None, **changes: Any,
    ) -> str:  # fmt: skip
        claims = {
            "htm": "POST", "htu": ISSUER + path, "jti": secrets.token_hex(8), "iat": door.clock.seconds(),
            "ath": None if token is None else ath(token),
        } | changes  # fmt: skip
        said = {"alg": alg, "typ": "dpop+jwt", "jwk": key.as_dict(private=False)} | (header or {})
        return jwt.encode(said, {n: v for n, v in claims.items() if v is not None}, key, algorithms=[alg])

    return proof


async def bound(program: Program, dpop: str | None = None, **form: str) -> Any:
    asked = {
        "grant_type": "client_credentials", "scope": "system/*.cruds", "client_assertion_type": ASSERTION_TYPE,
        "client_assertion": program.assertion(),
    } | form  # fmt: skip
    return await program.http.post("/oauth/token", data=asked, headers={} if dpop is None else {"DPoP": dpop})


async def ask(door: FrontDoor, token: str, dpop: str | None, scheme: str = "DPoP") -> Any:
    headers = {"Authorization": f"{scheme} {token}"} | ({} if dpop is None else {"DPoP": dpop})
    return await door.http.post("/graphql", headers=headers)


@pytest.mark.parametrize(("key", "alg"), [(KEY, "ES256"), (OKPKey.generate_key("Ed25519"), "Ed25519")])
async def test_a_token_bound_to_a_key_opens_with_a_proof_by_it(
    door: FrontDoor, ward: Program, proof: Proof, key: Any, alg: str
) -> None:
    answer = (await bound(ward, proof("/oauth/token", key=key, alg=alg))).json()
    assert answer["token_type"] == "DPoP"
    token = answer["access_token"]
    opened = await ask(door, token, proof("/graphql", token, key=key, alg=alg))
    assert opened.json()["principal"] == "ward"


async def test_every_other_way_to_present_it_is_refused_and_recorded(
    door: FrontDoor, ward: Program, proof: Proof
) -> None:
    token = (await bound(ward, proof("/oauth/token"))).json()["access_token"]
    plain, other = await ward.token(), ECKey.generate_key("P-256")
    used, now = proof("/graphql", token), door.clock.seconds()
    assert (await ask(door, token, used)).status_code == 200
    attacks: dict[str, tuple[str, str, tuple[Any, ...]]] = {
        "as Bearer": ("no_proof", "invalid_token", (token, None, "Bearer")),
        "without proof": ("no_proof", "invalid_token", (token, None)),
        "with a proof by another key": ("other_key", "invalid_token", (token, proof("/graphql", token, key=other))),
        "with a proof that was used": ("proof_replayed", "invalid_dpop_proof", (token, used)),
        "with a proof for another token": ("proof_elsewhere", "invalid_dpop_proof", (token, proof("/graphql", plain))),
        "with a proof for no token": ("proof_elsewhere", "invalid_dpop_proof", (token, proof("/graphql"))),
        "for another address": ("proof_elsewhere", "invalid_dpop_proof", (token, proof("/oauth/token", token))),
        "for another method": ("proof_elsewhere", "invalid_dpop_proof", (token, proof("/graphql", token, htm="GET"))),
        "old": ("proof_old", "invalid_dpop_proof", (token, proof("/graphql", token, iat=now - 90))),
        "from the future": ("proof_old", "invalid_dpop_proof", (token, proof("/graphql", token, iat=now + 90))),
        "without id": ("bad_proof", "invalid_dpop_proof", (token, proof("/graphql", token, jti=None))),
        "of another typ": ("bad_proof", "invalid_dpop_proof", (token, proof("/graphql", token, header={"typ": "JWT"}))),
        "showing a private key": (
            "bad_proof", "invalid_dpop_proof",
            (token, proof("/graphql", token, header={"jwk": KEY.as_dict(private=True)})),
        ),
        "garbage": ("bad_proof", "invalid_dpop_proof", (token, "garbage")),
        "plain, as DPoP": ("not_bound", "invalid_token", (plain, proof("/graphql", plain))),
    }  # fmt: skip
    for name, (reason, error, presented) in attacks.items():
        answer = await ask(door, *presented)
        assert answer.status_code == 401, name
        assert f'error="{error}"' in answer.headers["WWW-Authenticate"], name
        assert (await door.refusals())[-1].details["reason"] == reason, name


async def test_a_client_that_must_prove_its_key_gets_no_other_token(door: FrontDoor, proof: Proof) -> None:
    program: Program = await door.register(sender_constrained=True)
    refused = await bound(program)
    assert (refused.status_code, refused.json()["error"]) == (400, "invalid_dpop_proof")
    replayed = proof("/oauth/token")
    token = (await bound(program, replayed)).json()["access_token"]
    assert (await bound(program, replayed)).json()["error"] == "invalid_dpop_proof"
    assert (await ask(door, token, proof("/graphql", token))).status_code == 200
    assert [d.details["reason"] for d in await door.refusals()] == ["no_proof", "proof_replayed"]


async def test_the_policies_hear_how_a_token_was_presented_and_what_for(door: FrontDoor, proof: Proof) -> None:
    """An older token of a client that must prove its key opens nothing, and research changes nothing."""
    authz = Authorizer.load()

    async def rules(scope: Any, receive: Any, send: Any) -> None:
        caller = scope["state"]["caller"]
        seen, made = (
            authz.ask(caller, act, Target(kind="institution", id="x"))
            for act in (Action.VIEW_INSTITUTION, Action.REGISTER_INSTITUTION)
        )
        await JSONResponse([seen.allowed, list(seen.policies), list(made.policies)])(scope, receive, send)

    program: Program = await door.register(
        sender_constrained=True, roles=frozenset({Role.ADMIN}), scopes=["system/Institution.cruds"], purposes=["HRESCH"]
    )
    token = (await bound(program, proof("/oauth/token"))).json()["access_token"]
    older = door.sign(scope="system/Institution.cruds")
    transport = httpx2.ASGITransport(build_app(door.parts, rules))
    async with httpx2.AsyncClient(transport=transport, base_url=ISSUER) as http:
        headers = {"Authorization": f"DPoP {token}", "DPoP": proof("/graphql", token)}
        proven = (await http.post("/graphql", headers=headers)).json()
        unproven = (await http.post("/graphql", headers={"Authorization": f"Bearer {older}"})).json()
    assert (proven[0], proven[2]) == (True, ["research-changes-nothing"])
    assert unproven == [False, ["bound-clients-prove-their-key"], ["bound-clients-prove-their-key"]]


async def test_what_an_app_was_granted_stays_bound_to_the_key_it_showed_first(
    door: FrontDoor, app: App, somebody: Browser, proof: Proof
) -> None:
    pushed = await door.http.post("/oauth/par", data=app.asks(), headers={"DPoP": proof("/oauth/par")})
    back = await somebody.allow("/oauth/authorize", client_id="app", request_uri=pushed.json()["request_uri"])
    tokens = (await app.redeem(back["code"], {"DPoP": proof("/oauth/token")})).json()
    assert tokens["token_type"] == "DPoP"
    refused = await app.refresh(tokens["refresh_token"])
    other = await app.refresh(
        tokens["refresh_token"], {"DPoP": proof("/oauth/token", key=ECKey.generate_key("P-256"))}
    )
    assert [refused.json()["error"], other.json()["error"]] == ["invalid_dpop_proof"] * 2
    assert (await app.refresh(tokens["refresh_token"], {"DPoP": proof("/oauth/token")})).status_code == 200


async def test_an_app_that_shows_its_key_only_when_it_redeems_keeps_its_refresh_token_to_that_key(
    door: FrontDoor, app: App, somebody: Browser, proof: Proof
) -> None:
    """RFC 9449, 5: such an app shows by nothing else that a refresh token is its own."""
    thief, mine = ECKey.generate_key("P-256"), {"DPoP": proof("/oauth/token")}
    back = await somebody.allow("/oauth/authorize", **app.asks())
    tokens = (await app.redeem(back["code"], mine)).json()
    assert tokens["token_type"] == "DPoP"
    renewed = (await app.refresh(tokens["refresh_token"], {"DPoP": proof("/oauth/token")})).json()
    for stolen in (tokens, renewed):
        for headers in ({}, {"DPoP": proof("/oauth/token", key=thief)}):
            refused = await app.refresh(stolen["refresh_token"], headers)
            assert refused.json()["error"] == "invalid_dpop_proof"
    assert [each.details["reason"] for each in await door.refusals()] == ["other_key"] * 4
    assert (await app.refresh(renewed["refresh_token"], {"DPoP": proof("/oauth/token")})).status_code == 200


async def test_an_app_that_begins_to_show_its_key_keeps_the_next_refresh_token_to_it(
    app: App, somebody: Browser, proof: Proof
) -> None:
    back = await somebody.allow("/oauth/authorize", **app.asks())
    tokens = (await app.redeem(back["code"])).json()
    renewed = (await app.refresh(tokens["refresh_token"], {"DPoP": proof("/oauth/token")})).json()
    assert (tokens["token_type"], renewed["token_type"]) == ("Bearer", "DPoP")
    assert (await app.refresh(renewed["refresh_token"])).json()["error"] == "invalid_dpop_proof"


@pytest.fixture
async def still(door: FrontDoor, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[FrontDoor]:
    """The front door where no time passes, so that no bucket fills while a slow machine asks."""
    monkeypatch.setattr("sharewell.gateway.app.monotonic", lambda: 0.0)
    async with door.rebuilt() as http:
        yield replace(door, http=http)


async def test_who_asks_too_much_waits_and_others_do_not(still: FrontDoor) -> None:
    slow: Program = await still.register(rate_class=RateClass.LOW)
    other: Program = await still.register(ECKey.generate_key("P-384", {"kid": "k"}), client_id="pharmacy")
    token, theirs = await slow.token(), await other.token()
    for _ in range(int(RATES[RateClass.LOW].at_once)):
        assert (await still.ask(token)).status_code == 200
    last = await still.ask(token)
    assert (last.status_code, last.json()["error"]["code"]) == (429, "TOO_MANY_REQUESTS")
    assert int(last.headers["Retry-After"]) >= 1
    assert (await still.ask(theirs)).status_code == 200


def test_a_bucket_fills_with_time_and_never_beyond_its_size() -> None:
    now = [0.0]
    buckets = Buckets(lambda: now[0])
    rate = RATES[RateClass.LOW]
    def pause(caller: str) -> int:
        return buckets.take(caller, RateClass.LOW).pause

    assert [pause("a") for _ in range(int(rate.at_once))] == [0] * int(rate.at_once)
    assert pause("a") == 1
    assert pause("b") == 0
    now[0] = 1 / rate.each_second
    assert [pause("a"), pause("a")] == [0, 1]
    now[0] = 1e9
    assert sum(pause("a") == 0 for _ in range(int(rate.at_once) * 2)) == rate.at_once


async def test_each_answer_says_what_is_left_of_the_rate(still: FrontDoor) -> None:
    program = await still.register(rate_class=RateClass.LOW)
    token = await program.token()
    first, second = (await still.ask(token)).headers, (await still.ask(token)).headers
    assert first["RateLimit-Policy"] == '"low";q=100;w=10'
    assert [first["RateLimit"].split(";")[1], second["RateLimit"].split(";")[1]] == ["r=99", "r=98"]
