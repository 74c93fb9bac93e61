"""Decisions of a window in PostgreSQL, whole and in order of time, for whoever asks them anew."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from datetime import datetime
    from uuid import UUID

    import asyncpg

#: How many there are, counted up to $3.
COUNT = "select count(*) from (select from audit.decision where at >= $1 and at < $2 limit $3) counted"
#: The next $4 after the decision $2 of the time $1, before the time $3.
REPLAY = """
select d.id, d.at, e.body from audit.decision d join audit.entry e using (staged_id)
 where (d.at, d.id) > ($1, $2) and d.at < $3 order by d.at, d.id limit $4
"""


#: Whose decisions those with these ids are, and of which kind.
HEADERS = "select id, kind, institution from audit.decision where id = any ($1::uuid[])"


class SimulationRepository:
    """What was decided, to be decided anew."""

    def __init__(self, conn: asyncpg.Connection[Any]) -> None:
        self._conn = conn

    async def count(self, since: datetime, until: datetime, most: int) -> int:
        """How many decisions the window holds, counted up to `most`."""
        found: int = await self._conn.fetchval(COUNT, since, until, most)
        return found

    async def page(self, after: tuple[datetime, UUID], until: datetime, first: int) -> list[asyncpg.Record]:
        """Id, time and entry of those that follow `after`, in order of time."""
        return await self._conn.fetch(REPLAY, *after, until, first)

    async def headers(self, ids: list[UUID]) -> list[asyncpg.Record]:
        """Id, kind and institution of decisions."""
        return await self._conn.fetch(HEADERS, ids)
