"""The brake where it is off, and where no more answers can be held back."""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import Callable

import httpx2
import structlog
from prometheus_client import CollectorRegistry
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.types import Receive, Scope, Send

from sharewell.gateway.brake import RATE, Brake, Braked
from sharewell.gateway.proxies import PeerAddress


async def too_many(scope: Scope, receive: Receive, send: Send) -> None:
    status = 200 if Request(scope).url.path == "/fine" else 429
    await PlainTextResponse("told", status_code=status)(scope, receive, send)


def asking(brake: Brake, address: str = "192.0.2.1") -> httpx2.AsyncClient:
    transport = httpx2.ASGITransport(PeerAddress(Braked(too_many, brake)), client=(address, 1))
    return httpx2.AsyncClient(transport=transport, base_url="https://sharewell.example")


async def answers(http: httpx2.AsyncClient, count: int) -> list[httpx2.Response]:
    return [await http.get("/") for _ in range(count)]


async def until(told: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not told():
            await asyncio.sleep(0.001)


async def test_a_brake_that_is_off_holds_nothing_back() -> None:
    registry = CollectorRegistry()
    async with asking(Brake(registry, seconds=0.0, clock=lambda: 0.0)) as http:
        assert {answer.status_code for answer in await answers(http, 3 * int(RATE.at_once))} == {429}
    assert registry.get_sample_value("sharewell_http_braked_total") == 0


async def test_beyond_what_can_be_held_back_the_connection_is_closed() -> None:
    brake = Brake(CollectorRegistry(), seconds=3600.0, most=0, clock=lambda: 0.0)
    async with asking(brake) as http:
        told = await answers(http, int(RATE.at_once) + 3)
        assert [answer.headers.get("connection") for answer in told] == [None] * int(RATE.at_once) + ["close"] * 3
        assert (await http.get("/fine")).status_code == 200
    async with asking(brake, "192.0.2.2") as http:
        (first,) = await answers(http, 1)
        assert "connection" not in first.headers
    brake.tell()


async def test_an_address_that_waits_is_answered_at_once_again() -> None:
    now = 0.0
    brake = Brake(CollectorRegistry(), seconds=3600.0, most=0, clock=lambda: now)
    async with asking(brake) as http:
        assert "connection" in (await answers(http, int(RATE.at_once) + 1))[-1].headers
        now += 1 / RATE.each_second
        again = await answers(http, 2)
        assert ["connection" in answer.headers for answer in again] == [False, True]
    brake.tell()


async def test_behind_one_address_each_client_that_is_proven_has_its_own_first_answers() -> None:
    brake = Brake(CollectorRegistry(), seconds=3600.0, most=0, clock=lambda: 0.0)

    async def told(client: str | None, count: int) -> list[bool]:
        async def known(scope: Scope, receive: Receive, send: Send) -> None:
            if client is not None:
                scope["state"]["counted_as"] = client
            await too_many(scope, receive, send)

        app = PeerAddress(Braked(known, brake))
        transport = httpx2.ASGITransport(app, client=("192.0.2.1", 1))
        async with httpx2.AsyncClient(transport=transport, base_url="https://sharewell.example") as http:
            return ["connection" in answer.headers for answer in await answers(http, count)]

    most = int(RATE.at_once)
    assert await told("flood", most + 1) == [False] * most + [True]
    assert await told("ward", 1) == [False]
    assert await told(None, most + 1) == [False] * most + [True]
    assert await told("192.0.2.1", 1) == [False]  # a client's name, whatever it looks like
    brake.tell()


async def test_an_answer_that_was_held_back_leaves_its_room_to_the_next_and_says_how_long_that_took() -> None:
    brake, scopes = Brake(CollectorRegistry(), seconds=0.001, most=1, clock=lambda: 0.0), list[Scope]()

    async def noted(scope: Scope, receive: Receive, send: Send) -> None:
        scopes.append(scope)
        await too_many(scope, receive, send)

    transport = httpx2.ASGITransport(PeerAddress(Braked(noted, brake)), client=("192.0.2.1", 1))
    async with httpx2.AsyncClient(transport=transport, base_url="https://sharewell.example") as http:
        told = await answers(http, int(RATE.at_once) + 3)
    assert {answer.headers.get("connection") for answer in told} == {None}
    assert [scope["state"].get("braked") for scope in scopes] == [None] * int(RATE.at_once) + [0.001] * 3
    brake.tell()


async def test_the_line_that_counts_many_requests_bears_the_id_of_none(log_stream: io.StringIO) -> None:
    brake = Brake(CollectorRegistry(), seconds=3600.0, most=0, clock=lambda: 0.0, pause=0.0)
    with structlog.contextvars.bound_contextvars(request_id="r-1"):
        async with asking(brake) as http:
            for lines, count in enumerate((int(RATE.at_once) + 1, 2), 1):
                await answers(http, count)
                await until(lambda lines=lines: log_stream.getvalue().count("held back") >= lines)  # type: ignore[misc]
    brake.tell()  # what is not told yet
    told = [json.loads(each) for each in log_stream.getvalue().splitlines() if "held back" in each]
    assert all("request_id" not in line for line in told)
    # However many lines it takes, each answer is counted in one of them.
    assert sum(line["times"] for line in told) == 3
