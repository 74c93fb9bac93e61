"""One look at the end of the log for all followers of a process: what is new, kept for a while in memory.

Whoever keeps up reads from memory, whoever lags behind from the database, in windows. Nothing is queued for anybody: a
slow follower costs no more than its place.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_left
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from operator import attrgetter

import structlog

from sharewell.domain.errors import Unavailable
from sharewell.domain.happenings import FOLLOWED, Happening
from sharewell.store.database import Database

PAUSE_SECONDS = 0.2  #: between two looks; entries are sealed as often
WINDOW = 4096  #: entries looked through at once, and happenings kept in memory

log = structlog.stdlib.get_logger("sharewell.followers")


class Lookout:
    """Looks at the end of the log for as long as somebody follows it."""

    def __init__(self, database: Database, *, pause: float = PAUSE_SECONDS, window: int = WINDOW) -> None:
        self._database, self._pause, self._window = database, pause, window
        self._end = 0  # of the log, as of the last look
        self._since = 0  # from this index on `_recent` has all that is followed
        self._recent: list[Happening] = []
        self._followers = 0
        self._looking: asyncio.Task[None] | None = None
        self._moved = asyncio.Event()
        self.closing = asyncio.Event()  #: set where this process is about to end

    @asynccontextmanager
    async def kept(self) -> AsyncIterator[None]:
        """Look for as long as the block lasts. Raises `Unavailable` where there is nothing to be seen at first."""
        self._followers += 1
        try:
            if self._looking is None:
                await self._begin()
            yield
        finally:
            self._followers -= 1
            if not self._followers and self._looking is not None:
                self._looking.cancel()
                self._looking = None

    async def end(self) -> int:
        """Where the log ends now. Raises `Unavailable`."""
        async with self._database.transaction(read_only=True) as tx:
            return await tx.happenings.end()

    async def read(self, start: int, kinds: Collection[str], most: int) -> tuple[list[Happening], int]:
        """At most `most` happenings of `kinds` from `start` on, and where to read on. Raises `Unavailable`."""
        end = self._end
        if start >= self._since:
            found = [each for each in self._recent[self._first(start) :] if each.kind in kinds][:most]
        else:
            end = min(end, start + self._window)
            async with self._database.transaction(read_only=True) as tx:
                found = await tx.happenings.between(start, end, kinds, most)
        return found, found[-1].index + 1 if len(found) == most else max(start, end)

    async def moved(self, start: int, kinds: Collection[str]) -> None:
        """Wait until there is something of `kinds` from `start` on, or so much else that it is time to move on."""
        while not self._is_worth_reading(start, kinds):
            await self._moved.wait()

    def _is_worth_reading(self, start: int, kinds: Collection[str]) -> bool:
        if start < self._since or self._end - start > self._window // 2:
            return True
        return any(each.kind in kinds for each in self._recent[self._first(start) :])

    def _first(self, start: int) -> int:
        return bisect_left(self._recent, start, key=attrgetter("index"))

    async def _begin(self) -> None:
        end = await self.end()
        if self._looking is None:  # nobody else was quicker
            self._end = self._since = end
            self._recent.clear()
            self._looking = asyncio.create_task(self._look())

    async def _look(self) -> None:
        while True:
            await asyncio.sleep(self._pause)
            try:
                await self._step()
            except Unavailable as error:
                log.warning("followers wait", why=str(error.__cause__ or error))
            except Exception:  # whoever follows would wait for ever without it
                log.exception("the end of the log could not be looked at")

    async def _step(self) -> None:
        async with self._database.transaction(read_only=True) as tx:
            end, kept = await tx.happenings.end(), self._end
            if end == kept:
                return
            fresh = []
            if end - kept <= self._window:
                fresh = await tx.happenings.between(kept, end, FOLLOWED, self._window)
        if end - kept > self._window:  # too much at once: whoever needs it reads it from the database
            self._recent, self._since = [], end
        self._recent += fresh
        if len(self._recent) > 2 * self._window:
            self._since = self._recent[-self._window - 1].index + 1
            del self._recent[: -self._window]
        self._end = end
        self._moved.set()
        self._moved = asyncio.Event()
