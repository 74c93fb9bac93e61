"""Capacity reports in PostgreSQL: added, never changed. Of those that nothing corrects, the newest as-of counts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

import orjson
from asyncpg import UniqueViolationError

from sharewell.domain.capacity import CapacityReport, Mark
from sharewell.domain.errors import Conflict, NotFound
from sharewell.domain.predicate import EVERYTHING, Predicate
from sharewell.store.paging import IN_TURN, LIMIT, NEWEST, SEEN, From, Listed, Page, Place, Sort, of_owner

if TYPE_CHECKING:
    from collections.abc import Sequence

    import asyncpg

COLUMNS = """id, institution_id, resource, as_of, period_days, staffed, occupied, blocked, surge_24h, surge_72h,
  waiting, admissions, source, coverage, marks, corrects, recorded_at"""
ADD = f"""
insert into sharewell.capacity_report ({COLUMNS}, decision_id)
values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15::text::jsonb, $16, $17, $18)
"""
BY_ID = f"select {COLUMNS} from sharewell.capacity_report where id = $1"
BY_IDS = f"select {COLUMNS} from sharewell.capacity_report where id = any ($1::uuid[])"
#: What no later report takes the place of.
STANDS = "not exists (select from sharewell.capacity_report n where n.corrects = c.id)"
LATEST = f"""
select {COLUMNS} from sharewell.capacity_report c where institution_id = $1 and resource = $2 and {STANDS}
 order by as_of desc, id desc limit 1
"""
LATEST_IN_REGION = f"""
select r.* from sharewell.institution i cross join lateral (
  select {COLUMNS} from sharewell.capacity_report c
   where c.institution_id = i.id and c.resource = $2 and {STANDS}
   order by as_of desc, id desc limit 1) r
 where i.region = $1
"""
#: Of each institution of a region and each resource, or $2 alone, what counts; by resource.
NEWEST_OF_REGION = f"""
select r.* from sharewell.resource line cross join sharewell.institution i cross join lateral (
  select {COLUMNS} from sharewell.capacity_report c
   where c.institution_id = i.id and c.resource = line.code and {STANDS}
   order by as_of desc, id desc limit 1) r
 where i.region = $1 and ($2::text is null or line.code = $2) order by r.resource, r.institution_id
"""
FREE_TO_PLEDGE = "select sharewell.units_free_to_pledge($1, $2, $3, $4)"
#: Regions and resources that anybody reported of late.
MARKETS = """
select distinct i.region, c.resource from sharewell.capacity_report c
  join sharewell.institution i on i.id = c.institution_id
 where c.as_of > $1::timestamptz - interval '30 days' order by 1, 2
"""
PAGE = f"""
select {COLUMNS} from sharewell.capacity_report
 where id < $1 and {SEEN} and ($2::uuid is null or institution_id = $2) and ($3::text is null or resource = $3)
 order by id desc limit $4
"""
OWNER = [of_owner("institution_id")]
#: What reports can be ordered by: nothing of their numbers, which most readers are not told exactly.
SORTS: Final[Mapping[str, Sort]] = {"recorded": IN_TURN, "as_of": Sort("as_of", "timestamptz", "as_of")}
#: People who lie in another institution's place, as known at $2: the giver's guests from the moment they came, missing
#: at the receiver from the moment they left, until their stay ends; at the latest when the need they moved for does.
_STAYS = """
stay as (
  select t.giver_id, t.receiver_id, t.quantity, min(s.at) filter (where s.state = 'dispatched') as left_at,
         min(s.at) filter (where s.state = 'received') as came_at,
         least(min(s.at) filter (where s.state = 'returned'), min(q.needed_until)) as over_at
    from sharewell.transfer t join sharewell.transfer_step s on s.transfer_id = t.id
         join sharewell.request q on q.id = t.request_id join sharewell.resource r on r.code = t.resource
   where t.resource = $1 and r.kind = 'place' and s.at <= $2 and q.needed_until > $3
   group by t.id
), moved as (
  select giver_id as institution_id, quantity as units, came_at as since, over_at from stay
   union all
  select receiver_id, -quantity, left_at, over_at from stay
), transferred as (
  select c.id, sum(m.units)::integer as units
    from moved m join sharewell.capacity_report c on c.institution_id = m.institution_id and c.resource = $1
     and c.as_of >= m.since and c.as_of < m.over_at
   group by c.id
)
"""
#: One value a series and day, as known at $2: the newest report of that day that no other had corrected by then.
SERIES = f"""
with {_STAYS}
select distinct on (c.institution_id, c.as_of::date) c.institution_id, c.as_of::date as day,
       c.occupied + coalesce(c.waiting, 0) as need, coalesce(c.marks ->> 'occupied', 'reported') as mark,
       c.period_days, i.region, coalesce(g.units, 0) as transferred, c.recorded_at
  from sharewell.capacity_report c join sharewell.institution i on i.id = c.institution_id
       left join transferred g on g.id = c.id
 where c.resource = $1 and c.as_of <= $2 and c.as_of > $3 and c.recorded_at <= $2
   and not exists (select from sharewell.capacity_report n where n.corrects = c.id and n.recorded_at <= $2)
 order by c.institution_id, c.as_of::date, c.as_of desc, c.id desc
"""
#: Reports and steps of transfers that count in what was read at $3, of those taken in lately: from the id $2 on, made
#: in order of time.
LATELY = """
select (select count(*) from sharewell.capacity_report where id >= $2 and resource = $1 and recorded_at <= $3)
     + (select count(*) from sharewell.transfer_step s join sharewell.transfer t on t.id = s.transfer_id
         where s.decision_id >= $2 and t.resource = $1 and s.at <= $3)
"""


@dataclass(frozen=True, slots=True)
class SeriesPoint:
    """What one institution needed on one day, as far as it was known."""

    institution: UUID
    day: date
    need: int | None  #: in use and waited for; None where use was not reported
    mark: Mark
    period_days: int
    region: str
    transferred: int  #: of these, people moved here from elsewhere; below zero: people of theirs who lie elsewhere
    recorded_at: datetime  #: when it was taken in


class CapacityRepository:
    """What everyone reported."""

    def __init__(self, conn: asyncpg.Connection[Any]) -> None:
        self._conn = conn

    async def add(self, reports: Sequence[CapacityReport], decision: UUID) -> None:
        """Store them; raises `Conflict` where the report that one corrects is corrected already."""
        rows = [
            (r.id, r.institution, r.resource, r.as_of, r.period_days, r.staffed, r.occupied, r.blocked, r.surge_24h,
             r.surge_72h, r.waiting, r.admissions, r.source, r.coverage, orjson.dumps(dict(r.marks)).decode(),
             r.corrects, r.recorded_at, decision)
            for r in reports
        ]  # fmt: skip
        try:
            await self._conn.executemany(ADD, rows)
        except UniqueViolationError as error:
            raise Conflict("that report is corrected already; correct the newest one.", field="corrects") from error

    async def get(self, id: UUID) -> CapacityReport:  # noqa: A002
        row = await self._conn.fetchrow(BY_ID, id)
        if row is None:
            raise NotFound(f"no capacity report has the id {id}.", field="capacityReport")
        return read_report(row)

    async def by_ids(self, ids: list[UUID]) -> dict[UUID, CapacityReport]:
        return {row["id"]: read_report(row) for row in await self._conn.fetch(BY_IDS, ids)}

    async def latest(self, institution: UUID, resource: str) -> CapacityReport | None:
        row = await self._conn.fetchrow(LATEST, institution, resource)
        return None if row is None else read_report(row)

    async def latest_in_region(self, region: str, resource: str) -> dict[UUID, CapacityReport]:
        rows = await self._conn.fetch(LATEST_IN_REGION, region, resource)
        return {row["institution_id"]: read_report(row) for row in rows}

    async def newest_of_region(self, region: str, resource: str | None) -> list[CapacityReport]:
        """What counts of everyone in the region, of `resource` or of all, by resource and institution."""
        return [read_report(row) for row in await self._conn.fetch(NEWEST_OF_REGION, region, resource)]

    async def free_to_pledge(self, institution: UUID, resource: str, start: datetime, end: datetime) -> int | None:
        """Units free in the newest report less those pledged in windows that overlap; None if never reported."""
        free: int | None = await self._conn.fetchval(FREE_TO_PLEDGE, institution, resource, start, end)
        return free

    async def series(self, resource: str, *, until: datetime, since: datetime) -> list[SeriesPoint]:
        """One point a series and day, in that order, of every institution, as all of it was known at `until`."""
        rows = await self._conn.fetch(SERIES, resource, until, since)
        return [SeriesPoint(who, day, need, Mark(mark), *rest) for who, day, need, mark, *rest in rows]

    async def lately(self, resource: str, since: UUID, until: datetime) -> int:
        """How many reports and transfer steps, from the id `since` on, were on record at `until`, for all we see."""
        count: int = await self._conn.fetchval(LATELY, resource, since, until)
        return count

    async def markets(self, *, before: datetime) -> list[tuple[str, str]]:
        """Each (region, resource) reported in the thirty days before `before`."""
        return [(row["region"], row["resource"]) for row in await self._conn.fetch(MARKETS, before)]

    async def page(
        self, *, before: UUID, institution: UUID | None, resource: str | None, first: int,
        seen: Predicate = EVERYTHING, place: Place | None = None,
    ) -> Page[CapacityReport]:  # fmt: skip
        """Newest record first, or in the order of `place`."""
        every = Listed(PAGE, (From(before, NEWEST), institution, resource, LIMIT))
        return await every.seen(seen, OWNER).page(self._conn, read_report, first, place)


def read_report(row: asyncpg.Record) -> CapacityReport:
    """A report, from a row of `COLUMNS`."""
    marks = orjson.loads(row["marks"])
    return CapacityReport(
        id=row["id"], institution=row["institution_id"], resource=row["resource"], as_of=row["as_of"],
        period_days=row["period_days"], staffed=row["staffed"], occupied=row["occupied"], blocked=row["blocked"],
        surge_24h=row["surge_24h"], surge_72h=row["surge_72h"], waiting=row["waiting"],
        admissions=row["admissions"], source=row["source"], coverage=row["coverage"],
        marks={name: Mark(mark) for name, mark in marks.items()}, corrects=row["corrects"],
        recorded_at=row["recorded_at"],
    )  # fmt: skip
