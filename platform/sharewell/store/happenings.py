"""Entries of the log in PostgreSQL as followers read them: in the log's order, from a place, by kind."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sharewell.domain.happenings import Happening

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from uuid import UUID

    import asyncpg

#: Where the newest signed tree ends: what is not under a signature is not told.
END = "select coalesce(max(size), 0) from audit.checkpoint"
#: Entries of some kinds from one index on and before another.
BETWEEN = """
select l.log_index as index, d.id as decision, d.kind, d.at, d.institution, d.subject_kind, d.subject_id as subject
  from audit.leaf l join audit.header d using (staged_id)
 where l.log_index >= $1 and l.log_index < $2 and d.kind = any ($3::text[]) order by l.log_index limit $4
"""
#: Transfers that took a step by these decisions.
TRANSFERS = """
select distinct decision_id, transfer_id as id from sharewell.transfer_step where decision_id = any ($1::uuid[])
"""
#: Requests whose newest change is by these decisions, and those that steps by them gave units to or took some from.
REQUESTS = """
select decision_id, id from sharewell.request where decision_id = any ($1::uuid[])
union
select s.decision_id, t.request_id from sharewell.transfer_step s join sharewell.transfer t on t.id = s.transfer_id
 where s.decision_id = any ($1::uuid[]) and s.state in ('held', 'declined', 'expired', 'cancelled', 'received')
"""
RUNS = "select decision_id, id from sharewell.allocation where decision_id = any ($1::uuid[])"
DEVIATIONS = "select decision_id, id from sharewell.deviation where decision_id = any ($1::uuid[])"


class HappeningRepository:
    """What happens."""

    def __init__(self, conn: asyncpg.Connection[Any]) -> None:
        self._conn = conn

    async def end(self) -> int:
        """How many entries the newest signed tree has."""
        return int(await self._conn.fetchval(END))

    async def between(self, start: int, end: int, kinds: Collection[str], most: int) -> list[Happening]:
        """The first entries of `kinds` from index `start` on and before `end`."""
        rows = await self._conn.fetch(BETWEEN, start, end, sorted(kinds), most)
        return [Happening(**row) for row in rows]

    async def transfers(self, decisions: Sequence[UUID]) -> list[tuple[UUID, UUID]]:
        """Decision and transfer, where the one moved the other a step."""
        return [(row["decision_id"], row["id"]) for row in await self._conn.fetch(TRANSFERS, decisions)]

    async def requests(self, decisions: Sequence[UUID]) -> list[tuple[UUID, UUID]]:
        """Decision and request, where the one changed the other. Of what a plan left empty only its newest change."""
        return [(row["decision_id"], row["id"]) for row in await self._conn.fetch(REQUESTS, decisions)]

    async def runs(self, decisions: Sequence[UUID]) -> list[tuple[UUID, UUID]]:
        """Decision and run, where the one adopted the other's plan."""
        return [(row["decision_id"], row["id"]) for row in await self._conn.fetch(RUNS, decisions)]

    async def deviations(self, decisions: Sequence[UUID]) -> list[tuple[UUID, UUID]]:
        """Decision and deviation, where the one put the other on record."""
        return [(row["decision_id"], row["id"]) for row in await self._conn.fetch(DEVIATIONS, decisions)]
