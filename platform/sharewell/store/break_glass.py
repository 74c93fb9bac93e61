"""Broken glasses in PostgreSQL."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sharewell.domain.break_glass import BrokenGlass, GlassEnding, GlassReason
from sharewell.domain.errors import NotFound
from sharewell.store.paging import LIMIT, NEWEST, From, Listed, Page

if TYPE_CHECKING:
    from datetime import datetime
    from uuid import UUID

    import asyncpg

_STORED = "id, version, reason, broken_at, until, client, person, ended_at, ending, decision_id, ended_by"
_COLUMNS = f"{_STORED}, through"  # which the database takes from the decision
ADD = f"insert into sharewell.break_glass ({_STORED}) values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)"
END = "update sharewell.break_glass set ended_at = $2, ending = $3, ended_by = $4 where id = $1"
BY_ID = f"select {_COLUMNS} from sharewell.break_glass where id = $1"
BY_ID_LOCKED = f"{BY_ID} for update"
#: By the order of the log, for ids begin with the time of a process, and clocks differ.
LAST = f"select {_COLUMNS} from sharewell.break_glass order by turn desc limit 1"
OVER = f"select {_COLUMNS} from sharewell.break_glass where ended_at is null and until <= $1 for update"
PAGE = f"""
select {_COLUMNS} from sharewell.break_glass
 where id < $1 and (not $2 or (ended_at is null and until > $3)) order by id desc limit $4
"""
REMARKS = """
select g.id, r.body from sharewell.break_glass g join sharewell.remark r using (decision_id)
 where g.id = any ($1::uuid[])
"""


class BreakGlassRepository:
    """Which glasses are and were broken."""

    def __init__(self, conn: asyncpg.Connection[Any]) -> None:
        self._conn = conn

    async def add(self, glass: BrokenGlass) -> None:
        g = glass
        await self._conn.execute(
            ADD, g.id, g.version, g.reason, g.broken_at, g.until, g.client, g.person, g.ended_at, g.ending, g.decision,
            g.ended_by,
        )  # fmt: skip

    async def end(self, id: UUID, ending: GlassEnding, at: datetime, decision: UUID) -> None:  # noqa: A002
        await self._conn.execute(END, id, at, ending, decision)

    async def get(self, id: UUID, *, lock: bool = False) -> BrokenGlass:  # noqa: A002
        row = await self._conn.fetchrow(BY_ID_LOCKED if lock else BY_ID, id)
        if row is None:
            raise NotFound(f"no broken glass has the id {id}.", field="glass")
        return _glass(row)

    async def last(self) -> BrokenGlass | None:
        """The one that was broken last, ended or not."""
        row = await self._conn.fetchrow(LAST)
        return None if row is None else _glass(row)

    async def over(self, at: datetime) -> list[BrokenGlass]:
        """Those whose time is over and whose end is not on record yet, locked."""
        return [_glass(row) for row in await self._conn.fetch(OVER, at)]

    async def page(self, *, before: UUID, only_current: bool, at: datetime, first: int) -> Page[BrokenGlass]:
        """Newest first."""
        asked = Listed(PAGE, (From(before, NEWEST), only_current, at, LIMIT))
        return await asked.page(self._conn, _glass, first)

    async def remarks(self, ids: list[UUID]) -> dict[UUID, str]:
        """What was written beside the reason, by broken glass."""
        return {row["id"]: row["body"] for row in await self._conn.fetch(REMARKS, ids)}


def _glass(row: asyncpg.Record) -> BrokenGlass:
    return BrokenGlass(
        id=row["id"], version=row["version"], reason=GlassReason(row["reason"]), broken_at=row["broken_at"],
        until=row["until"], client=row["client"], person=row["person"], ended_at=row["ended_at"],
        ending=None if row["ending"] is None else GlassEnding(row["ending"]), decision=row["decision_id"],
        ended_by=row["ended_by"], through=row["through"],
    )  # fmt: skip
