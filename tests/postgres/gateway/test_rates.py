"""Who knocks too often at the OAuth endpoints, or is refused too often, waits; others do not; the log stays small."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from ipaddress import ip_network
from typing import TYPE_CHECKING, Any

import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st
from joserfc.jwk import ECKey
from prometheus_client import CollectorRegistry
from starlette.responses import PlainTextResponse

from sharewell.domain.rates import Rate
from sharewell.gateway.app import build_app
from sharewell.gateway.proxies import PeerAddress
from sharewell.gateway.rates import KNOCKS, RATES, Buckets, Knock

if TYPE_CHECKING:
    from tests.postgres.gateway.conftest import App, Browser, FrontDoor, Program

ISSUER = "https://sharewell.example"
From = Callable[[str], httpx2.AsyncClient]


async def who_calls(scope: Any, receive: Any, send: Any) -> None:
    await PlainTextResponse(scope["state"]["caller"].principal)(scope, receive, send)


@asynccontextmanager
async def seen_from(door: FrontDoor, rates: dict[str, Rate], **changes: Any) -> AsyncIterator[From]:
    """One gateway with other rates, as clients at addresses see it; it ends in order.

    The rates of these tests fill so slowly that nothing of it is seen, however long a test takes.
    """
    app = build_app(replace(door.parts, knocks={**KNOCKS, **rates}, **changes), who_calls)

    def client(address: str) -> httpx2.AsyncClient:
        transport = httpx2.ASGITransport(app, client=(address, 1234))
        return httpx2.AsyncClient(transport=transport, base_url=ISSUER)

    async with app.router.lifespan_context(app):
        yield client


def at(program: Program, http: httpx2.AsyncClient) -> Program:
    return replace(program, http=http)


async def test_one_address_that_floods_the_token_endpoint_waits_and_others_are_answered(
    door: FrontDoor, ward: Program
) -> None:
    async with seen_from(door, {Knock.ADDRESS: Rate(0.001, 2)}) as client:
        flood = client("198.51.100.7")
        answers = [await at(ward, flood).post() for _ in range(3)]
        assert [answer.status_code for answer in answers] == [200, 200, 429]
        refused = answers[-1]
        assert refused.json()["error"] == "temporarily_unavailable"
        assert refused.headers["RateLimit-Policy"] == '"address";q=2;w=2000'
        assert refused.headers["RateLimit"].startswith('"address";r=0')
        assert 1 <= int(refused.headers["Retry-After"]) <= 1000
        assert (await flood.get("/oauth/authorize")).status_code == 429
        assert (await at(ward, client("198.51.100.8")).post()).status_code == 200
    assert await door.refusals() == []


async def test_one_client_has_one_rate_wherever_it_asks_from(door: FrontDoor, ward: Program) -> None:
    other: Program = await door.register(ECKey.generate_key("P-384", {"kid": "k"}), client_id="pharmacy")
    async with seen_from(door, {Knock.CLIENT: Rate(0.001, 2)}) as client:
        answers = [await at(ward, client(f"198.51.100.{n}")).post() for n in range(3)]
        assert [answer.status_code for answer in answers] == [200, 200, 429]
        assert answers[0].headers["RateLimit"].startswith('"client";r=1')
        assert int(answers[-1].headers["Retry-After"]) >= 1
        assert (await at(other, client("198.51.100.1")).post()).status_code == 200


async def test_saying_the_name_of_an_app_without_a_key_uses_up_nobody_elses_rate(door: FrontDoor, app: App) -> None:
    async with seen_from(door, {Knock.CLIENT: Rate(0.001, 2)}) as client:
        stranger, owner = client("198.51.100.1"), client("198.51.100.2")
        pushed = [(await stranger.post("/oauth/par", data=app.asks())).status_code for _ in range(3)]
        assert pushed == [201, 201, 429]
        assert (await owner.post("/oauth/par", data=app.asks())).status_code == 201


async def test_bad_tokens_are_recorded_one_by_one_and_beyond_the_rate_together(door: FrontDoor, ward: Program) -> None:
    registry = CollectorRegistry()
    async with seen_from(door, {Knock.REFUSED: Rate(0.001, 3)}, registry=registry) as client:
        attacker = client("198.51.100.1")
        good = await at(ward, attacker).token()

        async def ask(http: httpx2.AsyncClient, token: str) -> httpx2.Response:
            return await http.post("/graphql", headers={"Authorization": f"Bearer {token}"})

        bad = [await ask(attacker, f"bad.{n}") for n in range(20)]
        assert [answer.status_code for answer in bad] == [401] * 3 + [429] * 17
        assert int(bad[-1].headers["Retry-After"]) >= 1
        assert bad[-1].headers["RateLimit-Policy"].startswith('"refused"')
        assert len(await door.refusals()) == 3
        # Whoever shares the address and has a good token is let in; another address still gets entries of its own.
        assert (await ask(attacker, good)).status_code == 200
        assert (await ask(client("198.51.100.2"), "bad")).status_code == 401
        assert len(await door.refusals()) == 4
        assert registry.get_sample_value("sharewell_refusals_beyond_rate_total") == 17
    summary = (await door.refusals())[-1].details
    assert (summary["reason"], summary["times"]) == ("beyond_rate", 17)
    assert summary["endpoints"] == {"/graphql": 17}
    assert summary["reasons"] == {"malformed": 17}
    assert str(summary["since"]) <= str(summary["until"])


async def test_many_addresses_together_have_a_rate_of_entries_too(door: FrontDoor) -> None:
    async with seen_from(door, {Knock.REFUSALS: Rate(0.001, 2)}) as client:
        form = {"grant_type": "refresh_token", "client_id": "nobody", "refresh_token": "x"}
        asked = [await client(f"198.51.100.{n}").post("/oauth/token", data=form) for n in range(4)]
        assert [answer.status_code for answer in asked] == [400, 400, 429, 429]
    entries = [refusal.details for refusal in await door.refusals()]
    assert [entry.get("times") for entry in entries] == [None, None, 2]


async def test_passwords_are_tried_slowly_from_one_address_whatever_the_login(
    door: FrontDoor, app: App, somebody: Browser
) -> None:
    async with seen_from(door, {Knock.SIGN_IN: Rate(0.001, 2)}) as client:
        somebody.http = client("198.51.100.1")
        page = await somebody.get("/oauth/authorize", **app.asks())
        handle = page.text.split('name="handle" value="')[1].split('"')[0]
        tried = [await somebody.sign_in(handle, login=f"guess-{n}") for n in range(3)]
        assert [answer.status_code for answer in tried] == [400, 400, 429]
        assert "Not so fast" in tried[-1].text
        assert int(tried[-1].headers["Retry-After"]) >= 1


@pytest.mark.parametrize(
    ("header", "sent", "proxies", "counted"),
    [
        ("x-forwarded-for", "203.0.113.9", [], "127.0.0.1"),
        ("x-forwarded-for", "203.0.113.9", ["10.0.0.0/8"], "127.0.0.1"),
        ("x-forwarded-for", "203.0.113.9", ["127.0.0.0/8"], "203.0.113.9"),
        ("x-forwarded-for", "192.0.2.66, 203.0.113.9, 127.0.0.2", ["127.0.0.0/8"], "203.0.113.9"),
        ("x-forwarded-for", "garbage", ["127.0.0.0/8"], "unknown"),
        ("x-forwarded-for", "[2001:db8:1:2:3:4:5:6]:443", ["127.0.0.0/8"], "2001:db8:1:2::/64"),
        ("x-forwarded-for", "::ffff:203.0.113.9", ["127.0.0.0/8"], "203.0.113.9"),
        ("forwarded", 'for=192.0.2.66, for="[2001:db8:1:2::5]:80";proto=https', ["127.0.0.1"], "2001:db8:1:2::/64"),
        ("forwarded", "For=203.0.113.9:80; by=127.0.0.2", ["127.0.0.1"], "203.0.113.9"),
        ("forwarded", "for=_hidden", ["127.0.0.1"], "unknown"),
    ],
)
async def test_what_a_header_says_of_an_address_counts_only_from_proxies_of_ours(
    header: str, sent: str, proxies: list[str], counted: str
) -> None:
    async def answer(scope: Any, receive: Any, send: Any) -> None:
        await PlainTextResponse(scope["state"]["peer"])(scope, receive, send)

    app = PeerAddress(answer, proxies=[ip_network(each) for each in proxies], header=header)
    transport = httpx2.ASGITransport(app, client=("127.0.0.1", 1))
    async with httpx2.AsyncClient(transport=transport, base_url=ISSUER) as http:
        assert (await http.get("/", headers={header: sent})).text == counted
        # The other header is anybody's word, also where a proxy passes it on.
        other = {"x-forwarded-for": "forwarded", "forwarded": "x-forwarded-for"}[header]
        assert (await http.get("/", headers={other: "for=192.0.2.66"})).text == "127.0.0.1"


@given(callers=st.lists(st.integers(0, 30), max_size=200))
def test_however_many_callers_come_few_are_held_and_who_came_last_is_held_to_its_rate(callers: list[int]) -> None:
    buckets = Buckets(lambda: 0.0, RATES, most=8)
    for caller in callers:
        before = buckets.take(str(caller), "low").left
        assert buckets.take(str(caller), "low").left == before - 1
        assert len(buckets._held) <= 8
