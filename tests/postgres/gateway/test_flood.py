"""One client floods: its requests wait in its own queue, its refusals slow it down, and others are answered in turn."""

from __future__ import annotations

import asyncio
import io
import socket
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

import httpx2
import orjson
import pytest
from joserfc.jwk import ECKey
from prometheus_client import CollectorRegistry
from starlette.requests import Request
from starlette.responses import PlainTextResponse

from sharewell.domain.clients import RateClass
from sharewell.domain.rates import Rate
from sharewell.gateway import rates
from sharewell.gateway.app import build_app
from sharewell.gateway.brake import Brake
from sharewell.gateway.connections import Connections
from sharewell.gateway.in_turn import InTurn, Pace
from sharewell.gateway.server import CannotServe, bind, serve
from sharewell.gateway.turns import Bounds

if TYPE_CHECKING:
    from tests.postgres.gateway.conftest import FrontDoor, Program

ISSUER = "https://sharewell.example"
PATIENCE = 60  #: seconds until what was to happen counts as never happening


@dataclass
class Work:
    """Stands where GraphQL will, and is done when the test says so."""

    order: list[str] = field(default_factory=list)  #: whose work began
    under_way: list[tuple[str, asyncio.Event]] = field(default_factory=list)
    most: Counter[str] = field(default_factory=Counter)  #: at once, by client
    begins: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        client, done = scope["state"]["caller"].principal, asyncio.Event()
        async with self.begins:
            self.order.append(client)
            self.under_way.append((client, done))
            now = Counter(each for each, _ in self.under_way)
            self.most |= now
            self.begins.notify_all()
        await done.wait()
        await PlainTextResponse(client)(scope, receive, send)

    async def begun(self, count: int) -> None:
        """Wait until so many began."""
        async with self.begins:
            await self.begins.wait_for(lambda: len(self.order) >= count)

    def finish_first(self) -> None:
        self.under_way.pop(0)[1].set()


@asynccontextmanager
async def gateway(door: FrontDoor, work: Any, **changes: Any) -> AsyncIterator[httpx2.AsyncClient]:
    """A gateway before `work`; it ends in order."""
    app = build_app(replace(door.parts, **changes), work)
    transport = httpx2.ASGITransport(app)
    async with app.router.lifespan_context(app), httpx2.AsyncClient(transport=transport, base_url=ISSUER) as http:
        yield http


async def tokens(door: FrontDoor, *names: str, **changes: Any) -> list[str]:
    """A token for each of the clients, which are registered."""
    for name in names:
        await door.register(ECKey.generate_key("P-384", {"kid": name}), client_id=name, **changes)
    return [door.sign(sub=name, client_id=name, jti=name) for name in names]


def ask(http: httpx2.AsyncClient, token: str, **more: Any) -> asyncio.Task[httpx2.Response]:
    return asyncio.create_task(http.post("/graphql", headers={"Authorization": f"Bearer {token}"}, **more))


async def waiting(registry: CollectorRegistry, count: int) -> None:
    """Return once so many wait for their turn."""
    async with asyncio.timeout(PATIENCE):
        while registry.get_sample_value("sharewell_http_waiting") != count:
            await asyncio.sleep(0)


async def test_beside_a_flood_the_others_have_every_second_turn_and_the_bound_of_one_client_holds(
    door: FrontDoor,
) -> None:
    flood, ward, pharmacy = await tokens(door, "flood", "ward", "pharmacy")
    work, registry = Work(), CollectorRegistry()
    async with gateway(door, work, registry=registry, turns=Bounds(slots=4, each=2, waiting=64)) as http:
        asked = [ask(http, flood) for _ in range(30)]
        await waiting(registry, 28)
        asked += [ask(http, token) for _ in range(6) for token in (ward, pharmacy)]
        await waiting(registry, 28 + 12 - 2)
        for turn in range(len(asked)):
            await work.begun(turn + 1)
            work.finish_first()
        answers = await asyncio.gather(*asked)
    assert {answer.status_code for answer in answers} == {200}
    assert max(work.most.values()) == 2
    # All twelve of the others are done while the flood, which came first, has had no more turns than either of them.
    others_done = max(n for n, client in enumerate(work.order) if client != "flood")
    assert work.order[: others_done + 1].count("flood") <= 2 + 6
    assert work.order[others_done + 1 :] == ["flood"] * (len(work.order) - others_done - 1)


async def test_beyond_its_queue_a_client_is_told_so_in_the_documented_way_and_another_is_let_in(
    door: FrontDoor,
) -> None:
    flood, ward = await tokens(door, "flood", "ward")
    work, registry = Work(), CollectorRegistry()
    async with gateway(door, work, registry=registry, turns=Bounds(slots=2, each=1, waiting=2)) as http:
        asked = [ask(http, flood) for _ in range(4)]
        done, kept = await asyncio.wait(asked, return_when=asyncio.FIRST_COMPLETED)
        (refused,) = (task.result() for task in done)
        assert refused.status_code == 429
        assert refused.json()["error"]["code"] == "TOO_MANY_REQUESTS"
        assert refused.headers["RateLimit-Policy"] == '"waiting";q=3;qu="concurrent-requests"'
        assert refused.headers["RateLimit"] == '"waiting";r=0'
        assert refused.headers["Retry-After"] == "1"
        assert refused.headers["X-Request-Id"]
        other = ask(http, ward)
        await work.begun(2)
        assert work.order == ["flood", "ward"]
        work.finish_first()
        work.finish_first()
        assert (await other).status_code == 200
        for began in (3, 4):
            await work.begun(began)
            work.finish_first()
        assert {answer.status_code for answer in await asyncio.gather(*kept)} == {200}


async def test_a_client_that_sends_its_body_slowly_has_no_slot_meanwhile(door: FrontDoor) -> None:
    slow, ward = await tokens(door, "slow", "ward")
    sending, go_on = asyncio.Event(), asyncio.Event()

    parts, sent = [b"{", b"}"], list[Any]()

    async def receive() -> Any:
        if len(parts) == 1:
            sending.set()
            await go_on.wait()
        return {"type": "http.request", "body": parts.pop(0), "more_body": bool(parts)}

    async def send(message: Any) -> None:
        sent.append(message)

    async def reads(scope: Any, receive: Any, send: Any) -> None:
        await PlainTextResponse(await Request(scope, receive).body() or b"-")(scope, receive, send)

    app = build_app(replace(door.parts, turns=Bounds(slots=1, each=1, waiting=0)), reads)
    headers = [(b"authorization", f"Bearer {slow}".encode()), (b"host", b"sharewell.example")]
    scope = {"type": "http", "http_version": "1.1", "method": "POST", "path": "/graphql", "raw_path": b"/graphql",
             "query_string": b"", "root_path": "", "scheme": "https", "headers": headers, "client": ("192.0.2.1", 1),
             "server": ("sharewell.example", 443)}  # fmt: skip
    uploading = asyncio.create_task(app(scope, receive, send))
    await sending.wait()
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url=ISSUER) as http:
        assert (await ask(http, ward)).status_code == 200
    go_on.set()
    await uploading
    assert (sent[0]["status"], sent[1]["body"]) == (200, b"{}")


async def test_a_client_that_takes_its_answer_slowly_has_no_slot_meanwhile(door: FrontDoor) -> None:
    slow, ward = await tokens(door, "slow", "ward")
    told, take = asyncio.Event(), asyncio.Event()
    app = build_app(replace(door.parts, turns=Bounds(slots=1, each=1, waiting=0, lasting=0)), who_calls)

    async def slowly(scope: Any, receive: Any, send: Any) -> None:
        async def late(message: Any) -> None:
            if message["type"] == "http.response.body":
                told.set()
                await take.wait()
            await send(message)

        await app(scope, receive, late)

    async with (
        httpx2.AsyncClient(transport=httpx2.ASGITransport(slowly), base_url=ISSUER) as far,
        httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url=ISSUER) as http,
    ):
        downloading = ask(far, slow)
        await told.wait()
        assert (await ask(http, ward)).text == "ward"
        take.set()
        assert (await downloading).text == "slow"


async def test_work_that_lasts_leaves_its_slot_to_others(door: FrontDoor) -> None:
    slow, ward = await tokens(door, "slow", "ward")
    work, registry = Work(), CollectorRegistry()
    async with gateway(door, work, registry=registry, turns=Bounds(slots=1, each=1, waiting=9, lasting=1)) as http:
        first = ask(http, slow)
        await work.begun(1)
        other = ask(http, ward)
        async with asyncio.timeout(PATIENCE):
            await work.begun(2)  # after the second that work may take
        assert work.order == ["slow", "ward"]
        assert not first.done()
        for _ in range(2):
            work.finish_first()
        assert {answer.status_code for answer in await asyncio.gather(first, other)} == {200}


@pytest.fixture
def low(monkeypatch: pytest.MonkeyPatch) -> None:
    """Clients of the class LOW may ask three times; and no brake is eased while a slow machine asks."""
    monkeypatch.setitem(rates.RATES, RateClass.LOW, Rate(0.001, 3))
    monkeypatch.setattr("sharewell.gateway.app.Brake", partial(Brake, clock=lambda: 0.0, pause=3600.0))


async def who_calls(scope: Any, receive: Any, send: Any) -> None:
    await PlainTextResponse(scope["state"]["caller"].principal)(scope, receive, send)


@pytest.mark.usefixtures("low")
async def test_who_goes_on_beyond_its_rate_waits_for_each_refusal_and_fills_no_log(
    door: FrontDoor, log_stream: io.StringIO
) -> None:
    (flood,) = await tokens(door, "flood", rate_class=RateClass.LOW)
    (ward,) = await tokens(door, "ward")
    registry = CollectorRegistry()
    async with gateway(door, who_calls, registry=registry, brake_seconds=3600.0) as http:
        answers = [await ask(http, flood) for _ in range(23)]
        assert [answer.status_code for answer in answers] == [200] * 3 + [429] * 20
        assert answers[-1].headers["RateLimit-Policy"].startswith('"low";q=3')
        held = [ask(http, flood) for _ in range(5)]
        while registry.get_sample_value("sharewell_http_braked_total") != 5:
            await asyncio.sleep(0)
        assert (await ask(http, ward)).status_code == 200  # from the same address, as it happens
        assert not any(task.done() for task in held)
        for task in held:
            task.cancel()
        await asyncio.gather(*held, return_exceptions=True)
    lines = [orjson.loads(line) for line in log_stream.getvalue().splitlines()]
    refused = [line for line in lines if line.get("status") == 429 and line["event"] == "request"]
    assert len(refused) == 20
    assert {line["client"] for line in refused} == {"flood"}
    assert [(line["client"], line["route"], line["times"]) for line in lines if line["event"] == "held back"] == [
        ("flood", "/graphql", 5)
    ]
    assert await door.refusals() == []  # whoever is known and asks too much was refused nothing that is recorded


async def test_refused_tokens_are_on_record_as_ever_while_their_answers_are_held_back(door: FrontDoor) -> None:
    limits = {**rates.KNOCKS, rates.Knock.REFUSED: Rate(0.001, 2)}
    async with gateway(door, who_calls, knocks=limits, brake_seconds=0.001) as http:
        answers = [await ask(http, f"bad.{n}") for n in range(40)]
        assert [answer.status_code for answer in answers] == [401] * 2 + [429] * 38
    entries = [refusal.details for refusal in await door.refusals()]
    assert [entry.get("times") for entry in entries] == [None, None, 38]


async def test_a_token_whose_signature_is_remembered_is_still_refused_when_it_expires_or_its_key_goes(
    door: FrontDoor, ward: Program
) -> None:
    token = await ward.token()
    assert [(await door.ask(token)).status_code for _ in range(2)] == [200, 200]
    forged = token[:-8] + ("A" * 8 if not token.endswith("A" * 8) else "B" * 8)
    assert (await door.ask(forged)).status_code == 401
    kept = dict(door.parts.keys._by_kid)
    door.parts.keys._by_kid.clear()
    assert (await door.ask(token)).status_code == 401
    door.parts.keys._by_kid.update(kept)
    assert (await door.ask(token)).status_code == 200
    door.clock.ahead += timedelta(minutes=6)
    assert (await door.ask(token)).status_code == 401
    reasons = [refusal.details["reason"] for refusal in await door.refusals()]
    assert reasons == ["bad_signature", "unknown_key", "expired"]


@asynccontextmanager
async def listening(
    door: FrontDoor, connections: Connections, taken: socket.socket | None = None
) -> AsyncIterator[int]:
    taken, stop, ready = taken or bind("127.0.0.1", 0), asyncio.Event(), asyncio.Event()
    app = build_app(door.parts, who_calls)
    serving = asyncio.create_task(serve(app, taken, stop, ready=ready, connections=connections))
    await ready.wait()
    yield taken.getsockname()[1]
    stop.set()
    await serving


async def test_who_hangs_up_while_it_waits_leaves_the_queue_and_nothing_is_done_for_it(door: FrontDoor) -> None:
    (ward,) = await tokens(door, "ward")
    work, registry = Work(), CollectorRegistry()
    app = build_app(replace(door.parts, registry=registry, turns=Bounds(slots=1, each=1, waiting=3)), work)
    taken, stop, ready = bind("127.0.0.1", 0), asyncio.Event(), asyncio.Event()
    serving = asyncio.create_task(serve(app, taken, stop, ready=ready))
    await ready.wait()
    async with httpx2.AsyncClient(base_url=f"http://127.0.0.1:{taken.getsockname()[1]}", timeout=60) as http:
        first = ask(http, ward)
        await work.begun(1)
        gone = [ask(http, ward) for _ in range(3)]
        await waiting(registry, 3)
        for task in gone:
            task.cancel()
        await asyncio.gather(*gone, return_exceptions=True)
        await waiting(registry, 0)
        next_ = ask(http, ward)  # for which there would be no room
        await waiting(registry, 1)
        work.finish_first()
        assert (await first).status_code == 200
        await work.begun(2)
        work.finish_first()
        assert (await next_).status_code == 200
    stop.set()
    await serving
    assert work.order == ["ward", "ward"]


async def test_what_comes_while_a_request_waits_is_handed_on_after_its_body() -> None:
    pace = Pace(Bounds(slots=1, each=1, waiting=1), CollectorRegistry())
    sent, heard, told, reading = asyncio.Queue[Any](), list[Any](), list[Any](), asyncio.Event()

    async def receive() -> Any:
        if sent.empty():
            reading.set()
        return await sent.get()

    async def send(message: Any) -> None:
        told.append(message)

    async def reads(scope: Any, receive: Any, send: Any) -> None:
        heard.extend([await receive() for _ in range(4)])
        await send({"type": "http.response.start", "status": 200, "headers": []})

    messages = [{"type": "http.request", "body": b"a", "more_body": True}, {"type": "http.request", "body": b"b"},
                {"type": "http.extra", "n": 1}, {"type": "http.extra", "n": 2}]  # fmt: skip
    for message in messages[:3]:
        sent.put_nowait(message)
    held = await pace.slot("ward")
    scope = {"type": "http", "state": {"counted_as": "ward"}}
    asked = asyncio.create_task(InTurn(reads, pace)(scope, receive, send))
    await reading.wait()  # all that was sent is read, and the request waits
    held.give_back()
    sent.put_nowait(messages[3])
    await asked
    assert heard == messages
    assert [message["type"] for message in told] == ["http.response.start"]


Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def head(connection: Connection, path: str = "/healthz", *more: str) -> str:
    """The head of the answer."""
    reader, writer = connection
    lines: Sequence[str] = (f"GET {path} HTTP/1.1", "Host: localhost", *more)
    writer.write("".join(f"{line}\r\n" for line in (*lines, "")).encode())
    return (await reader.readuntil(b"\r\n\r\n")).decode()


async def test_one_address_holds_a_bounded_number_of_connections_and_has_its_room_back(door: FrontDoor) -> None:
    registry = CollectorRegistry()
    connections = Connections(registry, most=2)
    async with AsyncExitStack() as stack:
        port = await stack.enter_async_context(listening(door, connections))

        async def connected() -> Connection:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            stack.callback(writer.close)
            return reader, writer

        first, second = await connected(), await connected()
        assert "200 OK" in await head(first)
        assert "200 OK" in await head(second)
        reader, _ = await connected()
        told = (await reader.read()).decode()  # up to the end: it is closed
        assert told.startswith("HTTP/1.1 429 ")
        assert "Retry-After: 1" in told
        assert '"code":"TOO_MANY_REQUESTS"' in told
        assert registry.get_sample_value("sharewell_http_connections_refused_total") == 1
        assert "200 OK" in await head(first)  # those that are open work on
        # A connection that becomes a WebSocket is still one.
        key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="
        upgrade = ("Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13", key, "Origin: https://x")
        assert "403" in await head(second, "/graphql", *upgrade)
        while connections.held != {"127.0.0.1": 1}:
            await asyncio.sleep(0)
        assert "200 OK" in await head(await connected())
        first[1].close()
    assert connections.held == {}


def over_ipv6(host: str, *, both: bool = False) -> socket.socket:
    """A socket that listens there, and with `both` to IPv4 as well; where this machine cannot, the test is skipped."""
    try:
        return socket.create_server((host, 0), family=socket.AF_INET6, dualstack_ipv6=True) if both else bind(host, 0)
    except (CannotServe, OSError, ValueError) as error:
        pytest.skip(f"this machine does not listen at {host}: {error}")


async def test_a_peer_over_ipv6_is_counted_as_its_64_whatever_it_speaks(door: FrontDoor) -> None:
    registry = CollectorRegistry()
    connections = Connections(registry, most=2)
    async with AsyncExitStack() as stack:
        port = await stack.enter_async_context(listening(door, connections, over_ipv6("::1")))
        peers = [await asyncio.open_connection("::1", port) for _ in range(2)]
        for peer in peers:
            stack.callback(peer[1].close)
            assert "200 OK" in await head(peer)
        assert connections.held == {"::/64": 2}
        reader, writer = await asyncio.open_connection("::1", port)
        stack.callback(writer.close)
        assert (await reader.read()).startswith(b"HTTP/1.1 429 ")
        assert registry.get_sample_value("sharewell_http_connections_refused_total") == 1
        key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="
        upgrade = ("Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13", key, "Origin: https://x")
        assert "403" in await head(peers[1], "/graphql", *upgrade)
        while connections.held != {"::/64": 1}:
            await asyncio.sleep(0)
    assert connections.held == {}


async def test_a_peer_over_ipv4_is_its_address_also_where_the_gateway_listens_to_both(door: FrontDoor) -> None:
    connections = Connections(CollectorRegistry(), most=2)
    async with AsyncExitStack() as stack:
        port = await stack.enter_async_context(listening(door, connections, over_ipv6("::", both=True)))
        for address in ("127.0.0.1", "::1"):
            peer = await asyncio.open_connection(address, port)
            stack.callback(peer[1].close)
            assert "200 OK" in await head(peer)
        assert connections.held == {"127.0.0.1": 1, "::/64": 1}
