"""Slows down whoever goes on although it was told to wait, so that refusing costs less than it costs to be refused.

The first answers of status 429 to a client are sent at once, and where no client is proven, to an address. Beyond,
each is held back for a while: over one connection nothing else can be asked meanwhile, so a client that sends its next
request when the last is answered spins no faster than that. Those have no line in the log each; a line every few
seconds counts them, by client and route.
"""

from __future__ import annotations

import asyncio
import contextvars
from collections import Counter as Tally
from collections.abc import Callable
from functools import cache
from http import HTTPStatus
from time import monotonic

import structlog
from prometheus_client import CollectorRegistry, Counter
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from sharewell.domain.rates import Rate
from sharewell.gateway.rates import Buckets

AT_ONCE = "at-once"
RATE = Rate(each_second=1, at_once=20)  #: of 429s to one client or address that are not held back
MOST_HELD = 1024
LINE_SECONDS = 10.0

log = structlog.stdlib.get_logger("sharewell.gateway")


@cache
def _figure(registry: CollectorRegistry) -> Counter:
    """A registry takes each figure once, however many applications a process builds."""
    return Counter("sharewell_http_braked", "Answers of status 429 that were held back.", registry=registry)


class Brake:
    """What is held back in one gateway."""

    def __init__(
        self, registry: CollectorRegistry, *, seconds: float, most: int = MOST_HELD,
        clock: Callable[[], float] = monotonic, pause: float = LINE_SECONDS,
    ) -> None:  # fmt: skip
        self._figure, self._seconds, self._most, self._pause = _figure(registry), seconds, most, pause
        self._buckets = Buckets(clock, {AT_ONCE: RATE})
        self._held = 0
        self._tally: Tally[tuple[str, str | None]] = Tally()
        self._timer: asyncio.TimerHandle | None = None

    async def slow(self, scope: Scope, message: Message) -> None:
        """Wait, if whoever asked goes on too fast; `braked` in the scope's state is for how many seconds."""
        state = scope["state"]
        # Behind one address may be many clients; an address is no client's name.
        who = f"client {state['counted_as']}" if state.get("counted_as") else state["peer"]
        if not self._seconds or not self._buckets.take(who, AT_ONCE).pause:
            return
        self._count(scope)
        state["braked"] = 0.0
        if self._held >= self._most:  # a client that has to connect again is slowed down by that
            MutableHeaders(scope=message)["Connection"] = "close"
            return
        self._held += 1
        try:
            await asyncio.sleep(self._seconds)
            state["braked"] = self._seconds
        finally:
            self._held -= 1

    def _count(self, scope: Scope) -> None:
        self._figure.inc()
        # Both are few: a route is a word of ours, and a client is named only where its token is good.
        self._tally[getattr(scope.get("route"), "path", "unknown"), scope["state"].get("principal")] += 1
        if self._timer is None:
            # The line is of many requests, so it bears the id of none.
            nobodys = contextvars.Context()
            self._timer = asyncio.get_running_loop().call_later(self._pause, self.tell, context=nobodys)

    def tell(self) -> None:
        """Log what was counted."""
        if self._timer is not None:
            self._timer.cancel()
        tally, self._tally, self._timer = self._tally, Tally(), None
        for (route, client), times in tally.items():
            log.info("held back", route=route, client=client, status=429, times=times)


class Braked:
    """Puts the brake before answers of status 429."""

    def __init__(self, app: ASGIApp, brake: Brake) -> None:
        self.app, self._brake = app, brake

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def say(message: Message) -> None:
            if message["type"] == "http.response.start" and message["status"] == HTTPStatus.TOO_MANY_REQUESTS:
                await self._brake.slow(scope, message)
            await send(message)

        await self.app(scope, receive, say if scope["type"] == "http" else send)
