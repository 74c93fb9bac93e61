"""Decisions of a window in PostgreSQL, whole and in order of time, for whoever asks them anew."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

from sharewell.store.paging import LIMIT, Listed, begins

if TYPE_CHECKING:
    from datetime import datetime

    import asyncpg

#: How many there are, counted up to $3.
COUNT = "select count(*) from (select from audit.decision where at >= $1 and at < $2 limit $3) counted"
#: Of those from the time $1 on and before $2, the next $5 after the decision $4 of the time $3.
REPLAY = """
select d.id, d.at, e.body from audit.decision d join audit.entry e using (staged_id)
 where d.at >= $1 and d.at < $2 and (d.at, d.id) > ($3, $4) order by d.at, d.id limit $5
"""
#: The id that all others follow.
START: Final = UUID(int=0)


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

    async def page(
        self, since: datetime, until: datetime, place: tuple[datetime, UUID] | None, first: int
    ) -> list[asyncpg.Record]:
        """Id, time and entry of those that follow `place`, in order of time; or of those that precede it, last first.
        """
        asked = Listed(REPLAY, (since, until, *begins(place or (since, START), (since, START)), LIMIT)).paged(first)
        return await self._conn.fetch(asked.statement, *asked.given(first - 1))  # not one more than `first`

    async def headers(self, ids: list[UUID]) -> list[asyncpg.Record]:
        """Id, kind and institution of decisions."""
        return await self._conn.fetch(HEADERS, ids)
