"""The table of hostile requests to the endpoints where apps act for people: the right error, and on record."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlsplit

import httpx2

if TYPE_CHECKING:
    from tests.postgres.gateway.conftest import App, Browser, FrontDoor, Program

ISSUER = "https://sharewell.example"
AUTHORIZE = "/oauth/authorize"


@dataclass
class World:
    """Whom a hostile request can make use of."""

    door: FrontDoor
    app: App
    ward: Program
    browser: Browser

    async def handle(self) -> str:
        page = await self.browser.get(AUTHORIZE, **self.app.asks())
        return str(page.text.split('name="handle" value="')[1].split('"')[0])

    async def code(self) -> str:
        return (await self.browser.allow(AUTHORIZE, **self.app.asks()))["code"]

    def authorize(self, **changes: str | None) -> Awaitable[httpx2.Response]:
        return self.door.http.get(AUTHORIZE, params=self.app.asks(**changes))

    def push(self, **changes: str | None) -> Awaitable[httpx2.Response]:
        return self.door.http.post("/oauth/par", data=self.app.asks(**changes))


Attack = Callable[[World], Awaitable[httpx2.Response]]


async def replayed_code(w: World) -> httpx2.Response:
    code = await w.code()
    assert (await w.app.redeem(code)).status_code == 200
    return await w.app.redeem(code)


async def code_without_its_verifier(w: World) -> httpx2.Response:
    return await w.app.redeem(await w.code(), code_verifier="x" * 43)


async def code_of_another_app(w: World) -> httpx2.Response:
    return await w.door.http.post(
        "/oauth/token",
        data={"grant_type": "authorization_code", "client_id": "other-app", "code": await w.code(),
              "redirect_uri": "https://other.example/back", "code_verifier": w.app.verifier},
    )  # fmt: skip


async def code_for_another_address(w: World) -> httpx2.Response:
    return await w.app.redeem(await w.code(), redirect_uri="https://app.example/other")


async def refresh_of_another_app(w: World) -> httpx2.Response:
    tokens = (await w.app.redeem(await w.code())).json()
    return await w.app.refresh(tokens["refresh_token"], client_id="other-app")


async def in_another_browser(w: World) -> httpx2.Response:
    handle = await w.handle()
    form = {"handle": handle, "login": w.browser.login, "password": w.browser.password, "code": w.browser.code}
    return await w.door.http.post(
        "/oauth/sign-in", data=form,
        headers={"Cookie": "__Host-sharewell=" + "A" * 43},
    )  # fmt: skip


async def consent_before_sign_in(w: World) -> httpx2.Response:
    return await w.browser.post("/oauth/consent", handle=await w.handle(), answer="allow")


async def posted_by_another_site(w: World) -> httpx2.Response:
    handle = await w.handle()
    await w.browser.sign_in(handle)
    return await w.browser.post(
        "/oauth/consent", {"Origin": "https://evil.example"}, handle=handle, answer="allow"
    )


async def posted_across_sites(w: World) -> httpx2.Response:
    handle = await w.handle()
    await w.browser.sign_in(handle)
    return await w.browser.post("/oauth/consent", {"Sec-Fetch-Site": "cross-site"}, handle=handle, answer="allow")


async def pushed_by_one_opened_by_another(w: World) -> httpx2.Response:
    uri = (await w.push()).json()["request_uri"]
    return await w.door.http.get(AUTHORIZE, params={"client_id": "other-app", "request_uri": uri})


async def mixed_up_issuer(w: World) -> httpx2.Response:
    """An assertion made for another authorization server, passed on to us."""
    return await w.ward.post(w.ward.assertion(aud="https://attacker.example/token"))


SHOWN, SENT_BACK = "shown", "sent back"  # refused on a page of ours, or at the app's own address
NOT_RECORDED = None  # nothing that identifies anybody was presented
#: name -> (error, how it is told, reason on record, attack)
TABLE: dict[str, tuple[str, str | int, str | None, Attack]] = {
    "code replay": ("invalid_grant", 400, "reused", replayed_code),
    "code without its verifier": ("invalid_grant", 400, "invalid_grant", code_without_its_verifier),
    "code of another app": ("invalid_grant", 400, "unknown_token", code_of_another_app),
    "code for another address": ("invalid_grant", 400, "invalid_grant", code_for_another_address),
    "a code that never was": ("invalid_grant", 400, "unknown_token", lambda w: w.app.redeem("x" * 43)),
    "refresh token of another app": ("invalid_grant", 400, "unknown_token", refresh_of_another_app),
    "PKCE left out": (
        "invalid_request", SENT_BACK, "invalid_request",
        lambda w: w.authorize(code_challenge=None, code_challenge_method=None),
    ),
    "PKCE downgraded to plain": (
        "invalid_request", SENT_BACK, "invalid_request", lambda w: w.authorize(code_challenge_method="plain"),
    ),
    "PKCE downgraded when pushed": (
        "invalid_request", 400, "invalid_request", lambda w: w.push(code_challenge_method="plain"),
    ),
    "unregistered redirect": (
        "redirect_uri", SHOWN, "unregistered_redirect", lambda w: w.authorize(redirect_uri="https://evil.example/"),
    ),
    "redirect with a path added": (
        "redirect_uri", SHOWN, "unregistered_redirect",
        lambda w: w.authorize(redirect_uri="https://app.example/back/../evil"),
    ),
    "redirect with another user": (
        "redirect_uri", SHOWN, "unregistered_redirect",
        lambda w: w.authorize(redirect_uri="https://app.example/back@evil.example"),
    ),
    "redirect pushed": (
        "invalid_request", 400, "invalid_request", lambda w: w.push(redirect_uri="https://evil.example/"),
    ),
    "the implicit flow": (
        "unsupported_response_type", SENT_BACK, "unsupported_response_type",
        lambda w: w.authorize(response_type="token"),
    ),
    "scopes of programs": ("invalid_scope", SENT_BACK, "invalid_scope", lambda w: w.authorize(scope="system/*.cruds")),
    "a program's grant without a key": (
        "invalid_client", 400, NOT_RECORDED,
        lambda w: w.door.http.post("/oauth/token", data={"grant_type": "client_credentials", "client_id": "app"}),
    ),
    "a key's client without its key": (
        "invalid_client", 400, "invalid_client", lambda w: w.app.redeem("x" * 43, client_id="ward"),
    ),
    "mixed-up issuer": ("invalid_client", 400, "wrong_audience", mixed_up_issuer),
    "a request that was pushed by another app": ("over", SHOWN, "unknown_request", pushed_by_one_opened_by_another),
    "a request that never was": (
        "over", SHOWN, "unknown_request",
        lambda w: w.door.http.get(
            AUTHORIZE, params={"client_id": "app", "request_uri": "urn:ietf:params:oauth:request_uri:x"}
        ),
    ),
    "a sign-in in another browser": ("over", SHOWN, "unknown_request", in_another_browser),
    "consent before sign-in": ("signed in", SHOWN, "unknown_request", consent_before_sign_in),
    "consent posted by another site": ("not sent from this site", SHOWN, "cross_site", posted_by_another_site),
    "consent posted across sites": ("not sent from this site", SHOWN, "cross_site", posted_across_sites),
}  # fmt: skip


async def test_hostile_requests_in_an_apps_name_are_refused_and_recorded(
    door: FrontDoor, app: App, ward: Program, somebody: Browser
) -> None:
    await door.register(
        jwks=None, client_id="other-app", scopes=["user/Offer.r"], redirect_uris=["https://other.example/back"]
    )
    world = World(door, app, ward, somebody)
    for name, (error, told, reason, attack) in TABLE.items():
        before = len(await door.refusals())
        answer = await attack(world)
        if told == SENT_BACK:
            assert answer.status_code == 303, name
            location = urlsplit(answer.headers["Location"])
            assert location.netloc == "app.example", name
            said: dict[str, Any] = dict(parse_qsl(location.query))
            assert (said["error"], said["iss"], said["state"]) == (error, ISSUER, "s-1"), name
        elif told == SHOWN:
            assert answer.status_code == 400, name
            assert "Location" not in answer.headers, name
            assert error in answer.text, name
        else:
            assert (answer.status_code, answer.json()["error"]) == (told, error), name
        refusals = (await door.refusals())[before:]
        assert [d.details["reason"] for d in refusals] == ([] if reason is None else [reason]), name
        assert {d.actor for d in refusals} <= {"anonymous"}, name
    assert (await app.redeem(await world.code())).status_code == 200, "after all that, an honest one still passes"
