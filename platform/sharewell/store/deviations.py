"""Deviations in PostgreSQL, and how often each operator's transfers departed from their plans."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any
from uuid import UUID

from sharewell.domain.deviations import OF_THE_GIVER, Deviation, DeviationKind
from sharewell.domain.predicate import EVERYTHING, Predicate
from sharewell.store.paging import LIMIT, NEWEST, SEEN, From, Listed, Page, of_owner

if TYPE_CHECKING:
    import asyncpg

_COLUMNS = "id, kind, transfer_id, giver_id, receiver_id, resource, adopted, moved, detected_at, decision_id"
ADD = f"insert into sharewell.deviation ({_COLUMNS}) values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)"
#: A sweep that waited for another would not see what that has just found; so they look one after the other.
ALONE = "select pg_advisory_xact_lock(hashtextextended('deviations not dispatched', 0))"
BY_IDS = f"select {_COLUMNS} from sharewell.deviation where id = any ($1::uuid[])"
PAGE = f"""
select {_COLUMNS} from sharewell.deviation
 where id < $1 and {SEEN} and ($2::uuid is null or giver_id = $2 or receiver_id = $2)
   and ($3::text is null or kind = $3)
   and ($4::uuid is null or transfer_id = $4)
 order by id desc limit $5
"""
#: A transfer counts where it was first answered: confirmed, declined, sent unconfirmed, or taken out of its plan by a
#: client of the giver's own. It counts with the giver and the client that answered, and an override of somebody else is
#: not held against them.
TALLIES = """
select t.giver_id as institution, d.actor as client, count(*)::integer as decided,
       count(*) filter (where x.detected)::integer as detected,
       count(*) filter (where x.overridden)::integer as overridden,
       count(*) filter (where x.detected or x.overridden)::integer as departed
  from sharewell.transfer_step s join sharewell.transfer t on t.id = s.transfer_id
       cross join lateral (select actor from audit.decision where id = s.decision_id limit 1) d
       cross join lateral (
         select exists (select from sharewell.deviation v where v.transfer_id = t.id and v.kind = any ($3::text[]))
                  as detected,
                exists (select from sharewell.override o where o.transfer_id = t.id and o.client = d.actor)
                  as overridden) x
 where s.at >= $1 and s.at < $2 and s.state in ('confirmed', 'declined', 'dispatched', 'cancelled')
   and (s.state = 'confirmed' or not exists (
         select from sharewell.transfer_step c where c.transfer_id = t.id and c.state = 'confirmed'))
   and (s.state <> 'cancelled' or exists (
         select from oauth.client c where c.client_id = d.actor and c.institution = t.giver_id))
 group by t.giver_id, d.actor
"""


#: A deviation belongs to either party.
EITHER = [of_owner("giver_id"), of_owner("receiver_id")]


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatorTally:
    """What one client decided for one institution in a window, and how much of it went otherwise."""

    institution: UUID
    client: str
    decided: int
    detected: int  #: transfers with a deviation of the giver's
    overridden: int  #: transfers the same client overrode
    departed: int  #: either or both


class DeviationRepository:
    """What was done otherwise than adopted."""

    def __init__(self, conn: asyncpg.Connection[Any]) -> None:
        self._conn = conn

    async def alone(self) -> None:
        """Wait until no other sweep looks, and keep others out until this transaction ends."""
        await self._conn.execute(ALONE)

    async def add(self, deviation: Deviation) -> None:
        v = deviation
        await self._conn.execute(
            ADD, v.id, v.kind, v.transfer, v.giver, v.receiver, v.resource, v.adopted, v.moved, v.detected_at,
            v.decision,
        )  # fmt: skip

    async def by_ids(self, ids: list[UUID]) -> dict[UUID, Deviation]:
        return {row["id"]: _deviation(row) for row in await self._conn.fetch(BY_IDS, ids)}

    async def page(
        self, *, before: UUID, party: UUID | None, kind: str | None, transfer: UUID | None, first: int,
        seen: Predicate = EVERYTHING,
    ) -> Page[Deviation]:  # fmt: skip
        """Newest first."""
        asked = Listed(PAGE, (From(before, NEWEST), party, kind, transfer, LIMIT)).seen(seen, EITHER)
        return await asked.page(self._conn, _deviation, first)

    async def tallies(self, since: datetime, until: datetime) -> list[OperatorTally]:
        """Every operator that answered transfers in the window."""
        rows = await self._conn.fetch(TALLIES, since, until, sorted(OF_THE_GIVER))
        return [OperatorTally(**row) for row in rows]


def _deviation(row: asyncpg.Record) -> Deviation:
    return Deviation(
        id=row["id"], kind=DeviationKind(row["kind"]), transfer=row["transfer_id"], giver=row["giver_id"],
        receiver=row["receiver_id"], resource=row["resource"], adopted=row["adopted"], moved=row["moved"],
        detected_at=row["detected_at"], decision=row["decision_id"],
    )  # fmt: skip
