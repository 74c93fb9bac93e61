"""Has requests of known clients wait for their turn before they are worked on.

What a client takes its time over does not hold a slot: its body is read before, and the answer is sent after. Whoever
goes away while it waits is forgotten. Work that lasts leaves its slot to others, and a client has but a few such.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from functools import cache

from prometheus_client import CollectorRegistry, Gauge, Histogram
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from sharewell.domain.errors import Unavailable
from sharewell.gateway.answers import Answer
from sharewell.gateway.middleware import BodyTooLarge
from sharewell.gateway.turns import Bounds, Crowded, Slot, Turns

LONG_SECONDS = 1.0


@cache
def _figures(registry: CollectorRegistry) -> tuple[Gauge, Histogram]:
    """A registry takes each figure once, however many applications a process builds."""
    return (
        Gauge("sharewell_http_waiting", "Requests that wait for their turn.", registry=registry),
        Histogram("sharewell_http_waiting_seconds", "Time until a request had its turn.", registry=registry),
    )


class Pace:
    """The turns of one gateway, for all that is behind tokens."""

    def __init__(self, bounds: Bounds, registry: CollectorRegistry, *, long: float = LONG_SECONDS) -> None:
        self.turns, self.long = Turns(bounds), long
        self._waiting, self._seconds = _figures(registry)

    async def slot(self, client: str) -> Slot:
        """Wait for a turn. Raises `Crowded`."""
        begun = time.perf_counter()
        with self._waiting.track_inprogress():
            slot = await self.turns.take(client)
        self._seconds.observe(time.perf_counter() - begun)
        return slot

    @contextmanager
    def working(self, slot: Slot) -> Iterator[None]:
        """Hold the slot for the length of a block, as far as others need not have it."""
        aside = asyncio.get_running_loop().call_later(self.long, slot.step_aside)
        try:
            yield
        finally:
            aside.cancel()
            slot.give_back()

    @asynccontextmanager
    async def turn(self, client: str) -> AsyncIterator[None]:
        """Wait for a turn, and have it for the length of a block. Raises `Unavailable` where too many wait."""
        try:
            slot = await self.slot(client)
        except Crowded:
            raise Unavailable(_why(self.turns.bounds)) from None
        with self.working(slot):
            yield


class InTurn:
    """Lets requests through to `app` when it is their client's turn; `counted_as` in `scope["state"]` says whose.

    Raises `ClientDisconnect` where nobody waits for the answer any more before there was a turn.
    """

    def __init__(self, app: ASGIApp, pace: Pace) -> None:
        self._app, self._pace = app, pace

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":  # the operations of a socket take turns one by one, see `sockets`
            return await self._app(scope, receive, send)
        incoming, client = Incoming(receive), scope["state"]["counted_as"]
        await incoming.body()
        try:
            slot = self._pace.turns.at_once(client) or await self._wait(client, incoming)
        except Crowded:
            return await _crowded(self._pace.turns.bounds)(scope, receive, send)

        async def say(message: Message) -> None:
            if message["type"] == "http.response.start":  # all work is done by now, but for that of subscriptions
                slot.give_back()
            await send(message)

        with self._pace.working(slot):
            return await self._app(scope, incoming, say)

    async def _wait(self, client: str, incoming: Incoming) -> Slot:
        async def hang_up() -> None:
            with suppress(BodyTooLarge):  # nothing is heard of such a client any more
                await incoming.gone()
                patience.reschedule(0.0)  # which lies in the past

        try:
            async with asyncio.timeout(None) as patience:
                listening = asyncio.create_task(hang_up())
                try:
                    return await self._pace.slot(client)
                finally:
                    listening.cancel()
        except TimeoutError:
            raise ClientDisconnect from None


class Incoming:
    """What a client sends, some of it read ahead; called as `receive`, it hands on everything in order."""

    def __init__(self, receive: Receive) -> None:
        self._receive, self._ahead = receive, deque[Message]()

    async def __call__(self) -> Message:
        return self._ahead.popleft() if self._ahead else await self._receive()

    async def body(self) -> None:
        """Return once all of the body is here, or more than is taken: the application meets that when it reads it.

        Raises `ClientDisconnect`.
        """
        with suppress(BodyTooLarge):
            while (message := await self._read())["type"] == "http.request" and message.get("more_body", False):
                pass
            if message["type"] == "http.disconnect":
                raise ClientDisconnect

    async def gone(self) -> None:
        """Return once the client is gone."""
        while (await self._read())["type"] != "http.disconnect":
            pass

    async def _read(self) -> Message:
        message = await self._receive()
        self._ahead.append(message)
        return message


def _crowded(bounds: Bounds) -> Answer:
    """RFC 6585, 4; the unit is that of draft-ietf-httpapi-ratelimit-headers-10, 3.1."""
    headers = {
        "RateLimit-Policy": f'"waiting";q={bounds.each + bounds.waiting};qu="concurrent-requests"',
        "RateLimit": '"waiting";r=0', "Retry-After": "1",
    }  # fmt: skip
    return Answer(429, "TOO_MANY_REQUESTS", _why(bounds), headers=headers)


def _why(bounds: Bounds) -> str:
    return f"{bounds.each + bounds.waiting} of your requests are not answered yet; go on when some are."
