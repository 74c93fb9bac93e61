"""Receipts of runs, what runs left open of requests, and the ledger of give and take, in PostgreSQL."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

from sharewell.domain.fairness import Receipt
from sharewell.domain.plan import Reason
from sharewell.domain.predicate import EVERYTHING, Predicate
from sharewell.domain.visibility import SMALL
from sharewell.store.paging import LIMIT, OLDEST, SEEN, From, Listed, Page, Place, Sort, narrowed, of_owner

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    import asyncpg

    from sharewell.domain.plan import Unfilled

MOST_OF_A_RUN = 1000  #: lines shown of one run at once

ADD = """
insert into sharewell.run_receipt (allocation_id, institution_id, adopted_at, resource, given, received, stock, kept,
                                   short_alone, short_shared, credit_before, credit_after)
values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)
"""
ADD_UNFILLED = """
insert into sharewell.unfilled (allocation_id, request_id, institution_id, quantity, code, reason)
values ($1, $2, $3, $4, $5, $6)
"""
OF_RUNS = f"""
select r.* from unnest($1::uuid[]) run (id) cross join lateral (
  select allocation_id, institution_id, given, received, stock, kept, short_alone, short_shared,
         credit_before, credit_after
    from sharewell.run_receipt
   where allocation_id = run.id and {SEEN}
   order by institution_id limit {MOST_OF_A_RUN}) r
"""
_UNFILLED = "allocation_id, request_id, institution_id, quantity, code, reason"
UNFILLED_OF_RUNS = f"""
select u.* from unnest($1::uuid[]) run (id) cross join lateral (
  select {_UNFILLED} from sharewell.unfilled
   where allocation_id = run.id and {SEEN}
   order by institution_id, request_id limit {MOST_OF_A_RUN}) u
"""
#: A request is left short by one run after another while it gets nothing; the newest counts.
UNFILLED_OF_REQUESTS = f"""
select u.* from unnest($1::uuid[]) asked (id) cross join lateral (
  select {_UNFILLED} from sharewell.unfilled where request_id = asked.id order by allocation_id desc limit 1) u
"""
BY_REASON = """
select allocation_id, code, count(*)::integer as requests, sum(quantity)::integer as units
  from sharewell.unfilled where allocation_id = any ($1::uuid[]) group by allocation_id, code order by units desc, code
"""
#: Runs in whose totals some institution's part is from $2 to $3.
SMALL_PARTS = """
select distinct allocation_id from sharewell.run_receipt
 where allocation_id = any ($1::uuid[])
   and (short_alone between $2 and $3 or received between $2 and $3 or short_shared between $2 and $3
        or given between $2 and $3 or stock - kept between $2 and $3)
"""
#: Runs of which some institution lacks from $2 to $3 for one of the reasons.
SMALL_PARTS_BY_REASON = """
select distinct allocation_id from (
  select allocation_id, sum(quantity) as units from sharewell.unfilled
   where allocation_id = any ($1::uuid[]) group by allocation_id, institution_id, code) part
 where units between $2 and $3
"""
#: By institution: what plans of the window proposed, and what really left and arrived in it. Orders go by the latter,
#: which is added up for all then; what plans proposed, as it stands here, is for the lines of the page alone.
LEDGER = f"""
select i.id as institution, g.units as given, t.units as received, (
    select array[count(*), coalesce(sum(given), 0), coalesce(sum(received), 0)]::integer[] from sharewell.run_receipt r
     where r.institution_id = i.id and r.adopted_at >= $3 and r.adopted_at < $4 and ($5::text is null or resource = $5)
  ) as planned
  from sharewell.institution i
  cross join lateral (
    select coalesce(sum(dispatched), 0)::integer as units from sharewell.transfer x
     where x.giver_id = i.id and x.dispatched_at >= $3 and x.dispatched_at < $4 and ($5::text is null or resource = $5)
  ) g
  cross join lateral (
    select coalesce(sum(received), 0)::integer as units from sharewell.transfer x
     where x.receiver_id = i.id and x.received_at >= $3 and x.received_at < $4 and ($5::text is null or resource = $5)
  ) t
 where i.id > $1 and ($2::uuid is null or i.id = $2) and {SEEN} order by i.id limit $6
"""

#: What the ledger can be ordered by; whoever sees a line is told its numbers exactly.
LEDGER_SORTS: Final = {
    "given": Sort("g.units", "integer", "given"), "received": Sort("t.units", "integer", "received"),
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftOpen:
    """What one run left open of one request."""

    allocation: UUID
    request: UUID
    institution: UUID
    quantity: int
    code: Reason
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ShortBy:
    """How much of a run stayed open for one reason."""

    code: Reason
    requests: int
    units: int


@dataclass(frozen=True, slots=True, kw_only=True)
class GiveAndTake:
    """One institution's line in the ledger of a window."""

    institution: UUID
    runs: int  #: in which it had a part
    planned_given: int
    planned_received: int
    given: int  #: units that really left
    received: int  #: units that really arrived


OWNER = [of_owner("institution_id")]


class ReceiptRepository:
    """What runs meant to whom."""

    def __init__(self, conn: asyncpg.Connection[Any]) -> None:
        self._conn = conn

    async def add(self, allocation: UUID, resource: str, at: datetime, receipts: Iterable[Receipt]) -> None:
        """Keep one run's receipts; the database refuses one by which anybody is worse off."""
        await self._conn.executemany(
            ADD,
            [(allocation, UUID(r.institution), at, resource, r.given, r.received, r.stock, r.kept, r.short_alone,
              r.short_shared, r.credit_before, r.credit_after) for r in receipts],
        )  # fmt: skip

    async def add_unfilled(self, allocation: UUID, rows: Iterable[tuple[UUID, Unfilled]]) -> None:
        """Keep what one run left open, each with the institution that asked."""
        await self._conn.executemany(
            ADD_UNFILLED,
            [(allocation, UUID(row.request), who, row.quantity, row.code, row.reason) for who, row in rows],
        )

    async def of_runs(self, runs: list[UUID], seen: Predicate = EVERYTHING) -> dict[UUID, list[Receipt]]:
        """By run, the receipts that `seen` lets through."""
        found: dict[UUID, list[Receipt]] = {run: [] for run in runs}
        for run, institution_id, *numbers in await self._conn.fetch(
            narrowed(OF_RUNS, seen, OWNER, 1), runs, *seen.values
        ):
            names = (
                "given", "received", "stock", "kept", "short_alone", "short_shared", "credit_before", "credit_after"
            )
            receipt = Receipt(institution=str(institution_id), **dict(zip(names, numbers, strict=True)))
            found[run].append(receipt)
        return found

    async def unfilled_of_runs(
        self, runs: list[UUID], seen: Predicate = EVERYTHING
    ) -> dict[UUID, list[LeftOpen]]:
        """By run, what it left open of the requests that `seen` lets through."""
        found: dict[UUID, list[LeftOpen]] = {run: [] for run in runs}
        for row in await self._conn.fetch(narrowed(UNFILLED_OF_RUNS, seen, OWNER, 1), runs, *seen.values):
            found[row["allocation_id"]].append(_left_open(row))
        return found

    async def unfilled_of_requests(self, requests: list[UUID]) -> dict[UUID, LeftOpen]:
        """By request, what the newest run that answered it left open."""
        rows = await self._conn.fetch(UNFILLED_OF_REQUESTS, requests)
        return {row["request_id"]: _left_open(row) for row in rows}

    async def by_reason(self, runs: list[UUID]) -> dict[UUID, list[ShortBy]]:
        """By run, how much stayed open for which reason; most units first."""
        found: dict[UUID, list[ShortBy]] = {run: [] for run in runs}
        for run, code, requests, units in await self._conn.fetch(BY_REASON, runs):
            found[run].append(ShortBy(code=Reason(code), requests=requests, units=units))
        return found

    async def with_small_parts(self, runs: list[UUID]) -> set[UUID]:
        """Of `runs`, those in whose totals some institution's part is a small count; see `domain.visibility`."""
        rows = await self._conn.fetch(SMALL_PARTS, runs, SMALL[0], SMALL[-1])
        return {row["allocation_id"] for row in rows}

    async def with_small_parts_by_reason(self, runs: list[UUID]) -> set[UUID]:
        """Of `runs`, those of which some institution lacks a small count for one of the reasons."""
        rows = await self._conn.fetch(SMALL_PARTS_BY_REASON, runs, SMALL[0], SMALL[-1])
        return {row["allocation_id"] for row in rows}

    async def ledger(
        self, *, after: UUID, institution: UUID | None, since: datetime, until: datetime, resource: str | None,
        first: int, seen: Predicate = EVERYTHING, place: Place | None = None,
    ) -> Page[GiveAndTake]:  # fmt: skip
        """Give and take by institution, in order of their ids or in that of `place`."""
        every = Listed(LEDGER, (From(after, OLDEST), institution, since, until, resource, LIMIT))
        asked = every.seen(seen, [of_owner("i.id")])
        return await asked.page(self._conn, _give_and_take, first, place)


def _give_and_take(row: asyncpg.Record) -> GiveAndTake:
    runs, given, received = row["planned"]
    return GiveAndTake(
        institution=row["institution"], runs=runs, planned_given=given, planned_received=received, given=row["given"],
        received=row["received"],
    )  # fmt: skip


def _left_open(row: asyncpg.Record) -> LeftOpen:
    return LeftOpen(
        allocation=row["allocation_id"], request=row["request_id"], institution=row["institution_id"],
        quantity=row["quantity"], code=Reason(row["code"]), reason=row["reason"],
    )  # fmt: skip
