"""Credit for those short-changed before, in PostgreSQL: what each run left, never rewritten; the newest counts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from uuid import UUID

    import asyncpg

ADD = """
insert into sharewell.credit (allocation_id, institution_id, resource, thousandths, decision_id)
values ($1, $2, $3, $4, $5)
"""
#: Runs have ids that rise with time.
NEWEST = """
select i.id as institution_id, c.thousandths from unnest($2::uuid[]) i (id), lateral (
  select thousandths from sharewell.credit where resource = $1 and institution_id = i.id
   order by allocation_id desc limit 1) c
"""


class CreditRepository:
    """What institutions are owed for earlier runs."""

    def __init__(self, conn: asyncpg.Connection[Any]) -> None:
        self._conn = conn

    async def add(self, allocation: UUID, resource: str, after: Mapping[UUID, int], decision: UUID) -> None:
        """Keep what `allocation` leaves to each institution, in thousandths of a unit."""
        rows = [(allocation, who, resource, units, decision) for who, units in after.items()]
        await self._conn.executemany(ADD, rows)

    async def newest(self, resource: str, institutions: Collection[UUID]) -> dict[UUID, int]:
        """Credit by institution; those without any are left out."""
        rows = await self._conn.fetch(NEWEST, resource, list(institutions))
        return {row["institution_id"]: row["thousandths"] for row in rows}
