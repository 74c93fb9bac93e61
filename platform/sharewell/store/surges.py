"""Surge modes in PostgreSQL: the row says what was declared, the log whether it is signed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sharewell.domain.errors import NotFound
from sharewell.domain.surges import SurgeEnding, SurgeMode, SurgeReason
from sharewell.store.paging import LIMIT, NEWEST, From, Listed, Page

if TYPE_CHECKING:
    from datetime import datetime
    from uuid import UUID

    import asyncpg

_STORED = "id, region, resource, reason, declared_at, until, renews, client, ended_at, ending, decision_id, ended_by"
_COLUMNS = f"""{_STORED},
  coalesce((select l.log_index < (select max(size) from audit.checkpoint)
              from audit.staged d join audit.leaf l on l.staged_id = d.staged_id
             where d.id = s.decision_id), false) as signed"""
ADD = f"insert into sharewell.surge_mode ({_STORED}) values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)"
END = "update sharewell.surge_mode set ended_at = $2, ending = $3, ended_by = $4 where id = $1"
BY_ID = f"select {_COLUMNS} from sharewell.surge_mode s where id = $1"
BY_IDS = f"select {_COLUMNS} from sharewell.surge_mode s where id = any ($1::uuid[])"
BY_ID_LOCKED = f"{BY_ID} for update of s"
#: Two declarations for one region come one after the other: the second renews the first.
ALONE = "select pg_advisory_xact_lock(hashtextextended('surge mode ' || $1, 0))"
#: The one that a declaration for the same region and resource would take the place of.
OPEN_FOR = f"""
select {_COLUMNS} from sharewell.surge_mode s
 where region = $1 and resource is not distinct from $2 and ended_at is null for update of s
"""
#: That of the resource itself before that of all resources; one that is not signed yet is not there, and the one it
#: renews stays until it is.
IN_FORCE = f"""
with declared as (
  select id, renews from sharewell.surge_mode
   where region = $1 and (resource = $2 or resource is null) and ended_at is null and until > $3)
select * from (
  select {_COLUMNS} from sharewell.surge_mode s
   where id in (select id from declared union all select renews from declared) and until > $3) found
 where signed order by resource is null, ended_at is not null, id limit 1
"""
OVER = f"""
select {_COLUMNS} from sharewell.surge_mode s where ended_at is null and until <= $1 order by id for update of s
"""
PAGE = f"""
select {_COLUMNS} from sharewell.surge_mode s
 where id < $1 and ($2::text is null or region = $2) and (not $3 or (ended_at is null and until > $4))
 order by id desc limit $5
"""
REMARKS = """
select s.id, r.body from sharewell.surge_mode s join sharewell.remark r using (decision_id)
 where s.id = any ($1::uuid[])
"""


class SurgeRepository:
    """Which surge modes are and were in force."""

    def __init__(self, conn: asyncpg.Connection[Any]) -> None:
        self._conn = conn

    async def add(self, surge: SurgeMode) -> None:
        s = surge
        await self._conn.execute(
            ADD, s.id, s.region, s.resource, s.reason, s.declared_at, s.until, s.renews, s.client, s.ended_at,
            s.ending, s.decision, s.ended_by,
        )  # fmt: skip

    async def end(self, id: UUID, ending: SurgeEnding, at: datetime, decision: UUID) -> None:  # noqa: A002
        await self._conn.execute(END, id, at, ending, decision)

    async def get(self, id: UUID, *, lock: bool = False) -> SurgeMode:  # noqa: A002
        row = await self._conn.fetchrow(BY_ID_LOCKED if lock else BY_ID, id)
        if row is None:
            raise NotFound(f"no surge mode has the id {id}.", field="surge")
        return _surge(row)

    async def by_ids(self, ids: list[UUID]) -> dict[UUID, SurgeMode]:
        return {row["id"]: _surge(row) for row in await self._conn.fetch(BY_IDS, ids)}

    async def open_for(self, region: str, resource: str | None) -> SurgeMode | None:
        """The one for just this region and resource that has not ended, locked; and nobody else declares meanwhile."""
        await self._conn.execute(ALONE, region)
        row = await self._conn.fetchrow(OPEN_FOR, region, resource)
        return None if row is None else _surge(row)

    async def in_force(self, region: str, resource: str, at: datetime) -> SurgeMode | None:
        """The one that shortens approvals of this resource at `at`."""
        row = await self._conn.fetchrow(IN_FORCE, region, resource, at)
        return None if row is None else _surge(row)

    async def over(self, at: datetime) -> list[SurgeMode]:
        """Those whose time is over and whose end is not on record yet, locked."""
        return [_surge(row) for row in await self._conn.fetch(OVER, at)]

    async def page(
        self, *, before: UUID, region: str | None, only_current: bool, at: datetime, first: int
    ) -> Page[SurgeMode]:
        """Newest first."""
        asked = Listed(PAGE, (From(before, NEWEST), region, only_current, at, LIMIT))
        return await asked.page(self._conn, _surge, first)

    async def remarks(self, ids: list[UUID]) -> dict[UUID, str]:
        """What was written about their declaration, by surge mode."""
        return {row["id"]: row["body"] for row in await self._conn.fetch(REMARKS, ids)}


def _surge(row: asyncpg.Record) -> SurgeMode:
    return SurgeMode(
        id=row["id"], region=row["region"], resource=row["resource"], reason=SurgeReason(row["reason"]),
        declared_at=row["declared_at"], until=row["until"], renews=row["renews"], client=row["client"],
        ended_at=row["ended_at"], ending=None if row["ending"] is None else SurgeEnding(row["ending"]),
        decision=row["decision_id"], ended_by=row["ended_by"], signed=row["signed"],
    )  # fmt: skip
