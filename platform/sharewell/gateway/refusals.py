"""Refused credentials on their way into the audit log, so that nobody can fill it by being refused.

Each refusal has its own entry, written before the answer, up to a rate for each address and one for all together.
Beyond, the answer is a 429, and the refusal is counted: by a figure for the operator at once, and within a minute by
one entry in the log that says how many there were, in which span, at which endpoints and for which reasons.
"""

from __future__ import annotations

import asyncio
from collections import Counter as Tally
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import datetime
from functools import cache

import structlog
from prometheus_client import CollectorRegistry, Counter

from sharewell.domain.errors import Unavailable
from sharewell.domain.rates import Allowance
from sharewell.gateway.rates import Buckets, Knock
from sharewell.services.access import Beyond, Refusal

PAUSE_SECONDS = 60.0
EVERYBODY = "everybody"

log = structlog.stdlib.get_logger("sharewell.gateway")


@cache
def _figure(registry: CollectorRegistry) -> Counter:
    """A registry takes each figure once, however many applications a process builds."""
    return Counter(
        "sharewell_refusals_beyond_rate", "Refusals counted in the log together, not one by one.", registry=registry
    )


class Refusals:
    """Records refusals, one by one as long as there are few."""

    def __init__(
        self,
        *,
        record: Callable[[Refusal], Awaitable[None]],
        record_beyond: Callable[[Beyond], Awaitable[None]],
        buckets: Buckets,
        registry: CollectorRegistry,
        now: Callable[[], datetime],
        pause: float = PAUSE_SECONDS,
    ) -> None:
        self._record, self._record_beyond, self._buckets = record, record_beyond, buckets
        self._figure, self._now, self._pause = _figure(registry), now, pause
        self._since: datetime | None = None
        self._tally: Tally[tuple[str, str]] = Tally()
        self._timer: asyncio.Task[None] | None = None

    async def note(self, refusal: Refusal, peer: str) -> Allowance | None:
        """Return None once the refusal is on record; where it is beyond the rate, what to tell `peer` instead.

        Raises `Unavailable` if it cannot be recorded.
        """
        allowance = self._buckets.take(peer, Knock.REFUSED)
        if not allowance.pause:
            # Only a refusal that its address may still have counts against all: one flood leaves others their entries.
            allowance = self._buckets.take(EVERYBODY, Knock.REFUSALS)
        if not allowance.pause:
            await self._record(refusal)
            return None
        self._count(refusal)
        return allowance

    async def flush(self) -> None:
        """Put what was counted on record. What cannot be recorded now stays counted."""
        since, tally = self._since, self._tally
        if since is None:
            return
        self._since, self._tally = None, Tally()
        places: Tally[str] = Tally()
        reasons: Tally[str] = Tally()
        for (place, reason), times in tally.items():
            places[place] += times
            reasons[reason] += times
        beyond = Beyond(times=tally.total(), since=since, until=self._now(), endpoints=places, reasons=reasons)
        try:
            await self._record_beyond(beyond)
        except Unavailable:
            self._tally.update(tally)
            self._since = since
            self._later()

    async def close(self) -> None:
        """Record what is left; the process ends."""
        if self._timer is not None:
            self._timer.cancel()
            with suppress(asyncio.CancelledError):
                await self._timer
        await self.flush()
        if self._timer is not None:
            self._timer.cancel()

    def _count(self, refusal: Refusal) -> None:
        self._figure.inc()
        # Routes and reasons are words of ours, so there are never many of them.
        self._tally[str(refusal.details.get("endpoint", "unknown")), refusal.reason] += 1
        if self._since is None:
            self._since = self._now()
            self._later()

    def _later(self) -> None:
        self._timer = asyncio.create_task(self._wait())

    async def _wait(self) -> None:
        await asyncio.sleep(self._pause)
        await self.flush()
