"""Registrations at hand: what a client may do is read from the database, not from its token, and kept for seconds.

A token lives minutes and cannot be called back, so roles, institution and status are taken from the registration at
each use: a client that is disabled is out within `LIFE`, and a token never carries a right that was taken away.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta

from sharewell.domain.clients import Client

LIFE = timedelta(seconds=5)
MOST = 4096


class ClientDirectory:
    """Reads each client at most once in `life`."""

    def __init__(
        self,
        find: Callable[[str], Awaitable[Client | None]],
        now: Callable[[], datetime],
        *,
        life: timedelta = LIFE,
    ) -> None:
        self._find, self._now, self._life = find, now, life
        self._held: dict[str, tuple[datetime, Client]] = {}

    async def usable(self, client_id: str) -> Client | None:
        """The client, if it may act now. Raises `Unavailable` if the database is away and nothing is at hand."""
        at = self._now()
        held = self._held.get(client_id)
        if held is None or not held[0] <= at < held[0] + self._life:
            client = await self._find(client_id)
            if client is None:
                return None  # not kept: made-up names must not fill the memory
            if len(self._held) >= MOST:
                self._held.clear()
            held = self._held[client_id] = (at, client)
        return held[1] if held[1].usable(at=at) else None
