"""Registrations at hand: what a client or person may do is read from the database, not from a token, and kept briefly.

Roles, institution and status are taken from the registration at each use: whoever is disabled is out within `LIFE`, and
a token never carries a right that was taken away. What was called back before its end is known as quickly.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import Generic, Protocol, TypeVar

LIFE = timedelta(seconds=5)
MOST = 4096


class Registration(Protocol):
    """Something that may act, or not."""

    def usable(self, *, at: datetime) -> bool:
        """Whether it may act at this moment."""


Held = TypeVar("Held", bound=Registration)
Name = TypeVar("Name")


class Directory(Generic[Name, Held]):
    """Reads each registration at most once in `life`."""

    def __init__(
        self,
        find: Callable[[Name], Awaitable[Held | None]],
        now: Callable[[], datetime],
        *,
        life: timedelta = LIFE,
    ) -> None:
        self._find, self._now, self._life = find, now, life
        self._held: dict[Name, tuple[datetime, Held]] = {}

    async def usable(self, name: Name) -> Held | None:
        """The registration, if it may act now. Raises `Unavailable` if the database is away and nothing is at hand."""
        at = self._now()
        held = self._held.get(name)
        if held is None or not held[0] <= at < held[0] + self._life:
            found = await self._find(name)
            if found is None:
                return None  # not kept: made-up names must not fill the memory
            if len(self._held) >= MOST:
                self._held.clear()
            held = self._held[name] = (at, found)
        return held[1] if held[1].usable(at=at) else None


class CalledBack:
    """Which tokens were called back: read at most once in `life`."""

    def __init__(
        self, read: Callable[[], Awaitable[frozenset[str]]], now: Callable[[], datetime], *, life: timedelta = LIFE
    ) -> None:
        self._read, self._now, self._life = read, now, life
        self._names: frozenset[str] = frozenset()
        self._at: datetime | None = None

    async def holds(self, *names: str | None) -> bool:
        """Whether any of `names` was called back."""
        at = self._now()
        if self._at is None or not self._at <= at < self._at + self._life:
            self._names, self._at = await self._read(), at
        return not self._names.isdisjoint(names)

    def look_again(self) -> None:
        """Something was called back just now, by this very process."""
        self._at = None
