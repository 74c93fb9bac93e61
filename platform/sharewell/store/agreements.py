"""Sharing agreements in PostgreSQL."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from sharewell.domain.agreements import Agreement, SharedDetail
from sharewell.domain.errors import NotFound
from sharewell.domain.predicate import EVERYTHING, Predicate
from sharewell.store.paging import IN_TURN, LIMIT, NEWEST, SEEN, From, Listed, Page, Place, Sort, of_parties

if TYPE_CHECKING:
    from datetime import datetime
    from uuid import UUID

    import asyncpg

_COLUMNS = """id, giver_id, receiver_id, resource, detail, starts_at, until, proposed_at, accepted_at, ended_at,
  decision_id"""
ADD = f"""
insert into sharewell.agreement ({_COLUMNS}) values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
"""
UPDATE = "update sharewell.agreement set accepted_at = $2, ended_at = $3, decision_id = $4 where id = $1"
BY_ID = f"select {_COLUMNS} from sharewell.agreement where id = $1"
BY_ID_LOCKED = f"{BY_ID} for update"
#: What others show $1 at $2; of $3 alone, unless that is null.
IN_FORCE_FOR = f"""
select {_COLUMNS} from sharewell.agreement
 where receiver_id = $1 and accepted_at is not null and ended_at is null and starts_at <= $2 and until > $2
   and ($3::uuid is null or giver_id = $3)
"""
#: What $1 shows others at $2.
IN_FORCE_BY = f"""
select {_COLUMNS} from sharewell.agreement
 where giver_id = $1 and accepted_at is not null and ended_at is null and starts_at <= $2 and until > $2
"""
PAGE = f"""
select {_COLUMNS} from sharewell.agreement
 where id < $1 and {SEEN} and ($2::uuid is null or giver_id = $2 or receiver_id = $2)
   and (not $3 or (accepted_at is not null and ended_at is null and starts_at <= $4 and until > $4))
 order by id desc limit $5
"""

#: What they can be ordered by; each is told to whoever sees the row.
SORTS: Final = {"proposed": IN_TURN, "until": Sort("until", "timestamptz", "until")}


class AgreementRepository:
    """Who shows whom what."""

    def __init__(self, conn: asyncpg.Connection[Any]) -> None:
        self._conn = conn

    async def add(self, agreement: Agreement, decision: UUID) -> None:
        a = agreement
        await self._conn.execute(
            ADD, a.id, a.giver, a.receiver, a.resource, a.detail, a.starts_at, a.until, a.proposed_at, a.accepted_at,
            a.ended_at, decision,
        )  # fmt: skip

    async def update(self, agreement: Agreement, decision: UUID) -> None:
        """Keep that it was accepted or ended."""
        await self._conn.execute(UPDATE, agreement.id, agreement.accepted_at, agreement.ended_at, decision)

    async def get(self, id: UUID, *, lock: bool = False) -> Agreement:  # noqa: A002
        row = await self._conn.fetchrow(BY_ID_LOCKED if lock else BY_ID, id)
        if row is None:
            raise NotFound(f"no agreement has the id {id}.", field="agreement")
        return _agreement(row)

    async def in_force_for(self, receiver: UUID, at: datetime, giver: UUID | None = None) -> list[Agreement]:
        """What `giver`, or everybody, shows `receiver` at `at`."""
        return [_agreement(row) for row in await self._conn.fetch(IN_FORCE_FOR, receiver, at, giver)]

    async def in_force_by(self, giver: UUID, at: datetime) -> list[Agreement]:
        """What `giver` shows others at `at`."""
        return [_agreement(row) for row in await self._conn.fetch(IN_FORCE_BY, giver, at)]

    async def page(
        self, *, before: UUID, institution: UUID | None, only_in_force: bool, at: datetime, first: int,
        seen: Predicate = EVERYTHING, place: Place | None = None,
    ) -> Page[Agreement]:  # fmt: skip
        """Newest first, or in the order of `place`."""
        every = Listed(PAGE, (From(before, NEWEST), institution, only_in_force, at, LIMIT))
        asked = every.seen(seen, [of_parties("giver_id", "receiver_id")])
        return await asked.page(self._conn, _agreement, first, place)


def _agreement(row: asyncpg.Record) -> Agreement:
    return Agreement(
        id=row["id"], giver=row["giver_id"], receiver=row["receiver_id"], resource=row["resource"],
        detail=SharedDetail(row["detail"]), starts_at=row["starts_at"], until=row["until"],
        proposed_at=row["proposed_at"], accepted_at=row["accepted_at"], ended_at=row["ended_at"],
        changed_by=row["decision_id"],
    )  # fmt: skip
