"""Horizons in PostgreSQL: what one is drawn from, in a handful of statements, and the schedules that were adopted."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import TYPE_CHECKING, Any
from uuid import UUID

import orjson

from sharewell.domain.errors import NotFound, StaleSnapshot
from sharewell.domain.horizon_records import UnderWay
from sharewell.domain.predicate import EVERYTHING, Predicate
from sharewell.domain.schedule import Cause
from sharewell.domain.transfers import TransferState
from sharewell.store.bulk import add_rows
from sharewell.store.capacity import COLUMNS as REPORT
from sharewell.store.capacity import STANDS, read_report
from sharewell.store.forecasts import FORECAST, read_forecast
from sharewell.store.paging import LIMIT, NEWEST, SEEN, From, Listed, Page, narrowed, of_owner

if TYPE_CHECKING:
    import asyncpg

    from sharewell.domain.capacity import CapacityReport
    from sharewell.domain.forecast import Forecast
    from sharewell.domain.horizon_walk import Node

MOST_ROWS = 2000  #: lines shown of one schedule at once

#: Newest report of each institution and resource.
REPORTS = f"""
select r.* from sharewell.institution i cross join unnest($2::text[]) k (code) cross join lateral (
  select {REPORT} from sharewell.capacity_report c
   where c.institution_id = i.id and c.resource = k.code and {STANDS}
   order by as_of desc, id desc limit 1) r
 where i.region = $1
"""
#: Of each institution, resource and day, the forecast of the newest run.
FORECASTS = f"""
select newest.* from sharewell.institution i cross join unnest($2::text[]) k (code) cross join lateral (
  select distinct on (f.target) {FORECAST}, r.origin
    from sharewell.forecast f join sharewell.forecast_run r on r.id = f.run_id
   where f.institution_id = i.id and f.resource = k.code and f.target between $3 and $4
   order by f.target, f.run_id desc) newest
 where i.region = $1
"""
#: What earlier plans move and is not back: whether the receiver's newest report has it, and whether it is taken off
#: the giver's stock (while the window of the offer lasts; then the giver's own reports tell).
UNDER_WAY = """
select * from (
select t.giver_id, t.receiver_id, t.resource, least(t.quantity, t.dispatched, t.received)::integer as units,
       least(t.quantity, t.dispatched)::integer as promised, t.state, q.needed_by, q.needed_until, t.return_due_at,
       o.available_until > $3 as counted,
       t.state in ('received', 'return_due') and exists (
        select from sharewell.capacity_report c
         where c.institution_id = t.receiver_id and c.resource = t.resource and c.as_of >= t.changed_at) as reported
  from sharewell.transfer t join sharewell.request q on q.id = t.request_id join sharewell.offer o on o.id = t.offer_id
       join sharewell.institution i on i.id = t.receiver_id
 where i.region = $1 and t.resource = any ($2::text[])
   and t.state in ('held', 'confirmed', 'dispatched', 'received', 'return_due')
) moving where counted or not reported or return_due_at is not null
"""
#: The newest schedule of a region that has any of these resources.
IN_FORCE = """
select starts_at, days, schedule_sha256 from sharewell.horizon
 where region = $1 and resources && $2::text[] order by id desc limit 1
"""
_COLUMNS = """id, region, resources, days, level, hold_days, starts_at, instance_sha256, schedule_sha256, sites, lanes,
  measures, stages, search, adopted_at"""
ADD = f"""
insert into sharewell.horizon ({_COLUMNS}, decision_id)
values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12::text::jsonb, $13::text::jsonb, $14::text::jsonb, $15, $16)
on conflict (instance_sha256) do nothing returning true
"""
ANSWERED = "select true from sharewell.horizon where instance_sha256 = $1"
BY_ID = f"select {_COLUMNS} from sharewell.horizon where id = $1"
PAGE = f"""
select {_COLUMNS} from sharewell.horizon where id < $1 and ($2::text is null or region = $2) order by id desc limit $3
"""
RUNS = "select id from sharewell.allocation where horizon_id = $1 order by resource"
OWNER = [of_owner("institution_id")]
#: A movement is seen as part of what either party gave or got.
EITHER = [of_owner("giver_id"), of_owner("receiver_id")]
#: Of one schedule.
DAYS = f"""
select institution_id, resource, day, need, short_alone, short_shared, given, received
  from sharewell.horizon_day
 where horizon_id = $1 and ($2::text is null or resource = $2) and {SEEN}
 order by institution_id, resource, day limit {MOST_ROWS}
"""
#: Of all that take part, day by day; names nobody.
TOTALS = """
select resource, day, sum(need)::bigint as need, sum(short_alone)::bigint as short_alone,
       sum(short_shared)::bigint as short_shared, sum(given)::bigint as given, sum(received)::bigint as received
  from sharewell.horizon_day where horizon_id = $1 group by resource, day order by resource, day
"""
MOVEMENTS = f"""
select resource, day, arrives, giver_id, receiver_id, units, held, metres from sharewell.horizon_movement
 where horizon_id = $1 and ($2::text is null or resource = $2) and {SEEN}
 order by place limit {MOST_ROWS}
"""
UNMET = f"""
select institution_id, resource, thousandths, code, reason, asked from sharewell.horizon_unmet
 where horizon_id = $1 and ($2::text is null or resource = $2) and {SEEN}
 order by institution_id, resource limit {MOST_ROWS}
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class HorizonRun:
    """One adopted schedule."""

    id: UUID
    region: str
    resources: Sequence[str]
    days: int
    level: int  #: per mille; the quantile of forecasts that counted as need
    hold_days: int
    starts_at: datetime  #: when day 0 began
    instance_sha256: str
    schedule_sha256: str
    sites: int
    lanes: int
    measures: Mapping[str, Any]  #: as `horizon_measures.share_table`
    stages: Sequence[Mapping[str, Any]]  #: aim, value, bound over all stretches
    search: Mapping[str, Any]  #: who searched, how it ended, time, memory
    adopted_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class HorizonDay:
    """One institution's day with one resource; need and shortage in thousandths of a unit."""

    institution: UUID
    resource: str
    day: int
    need: int
    short_alone: int
    short_shared: int
    given: int
    received: int


@dataclass(frozen=True, slots=True, kw_only=True)
class HorizonTotal:
    """One day with one resource, of all institutions together; need and shortage in thousandths of a unit."""

    resource: str
    day: int
    need: int
    short_alone: int
    short_shared: int
    given: int
    received: int


@dataclass(frozen=True, slots=True, kw_only=True)
class HorizonMovement:
    """Units, or people, that leave on one day."""

    resource: str
    day: int
    arrives: int
    giver: UUID
    receiver: UUID
    units: int
    held: int  #: of these, held for requests when the schedule was adopted
    metres: int


@dataclass(frozen=True, slots=True, kw_only=True)
class HorizonUnmet:
    """What of one institution's need stays open over all days, and why."""

    institution: UUID
    resource: str
    thousandths: int
    code: Cause
    reason: str
    asked: int  #: units its open requests asked for


class HorizonRepository:
    """Schedules for the days ahead."""

    def __init__(self, conn: asyncpg.Connection[Any]) -> None:
        self._conn = conn

    async def reports(self, region: str, resources: list[str]) -> dict[Node, CapacityReport]:
        """The newest by institution and resource."""
        rows = await self._conn.fetch(REPORTS, region, resources)
        return {(str(row["institution_id"]), row["resource"]): read_report(row) for row in rows}

    async def forecasts(
        self, region: str, resources: list[str], first: date, last: date
    ) -> dict[Node, dict[date, Forecast]]:
        """What is expected of each day from `first` to `last`, by institution and resource."""
        found: dict[Node, dict[date, Forecast]] = defaultdict(dict)
        for row in await self._conn.fetch(FORECASTS, region, resources, first, last):
            found[str(row["institution_id"]), row["resource"]][row["target"]] = read_forecast(row)
        return dict(found)

    async def under_way(
        self, region: str, resources: list[str], at: datetime
    ) -> tuple[list[UnderWay], dict[Node, int]]:
        """What earlier plans move, and the units they take off each giver's stock."""
        promised: dict[Node, int] = defaultdict(int)
        moving = []
        for row in await self._conn.fetch(UNDER_WAY, region, resources, at):
            giver, resource = str(row["giver_id"]), row["resource"]
            promised[giver, resource] += row["promised"] if row["counted"] else 0
            moving.append(
                UnderWay(
                    giver=giver, receiver=str(row["receiver_id"]), resource=resource, units=row["units"],
                    state=TransferState(row["state"]), needed_by=row["needed_by"], needed_until=row["needed_until"],
                    return_due_at=row["return_due_at"], reported=row["reported"], counted=row["counted"],
                )
            )  # fmt: skip
        return moving, dict(promised)

    async def in_force(self, region: str, resources: list[str]) -> tuple[datetime, int, str] | None:
        """When the newest schedule of the region begins, its length, and its hash; None where there is none."""
        row = await self._conn.fetchrow(IN_FORCE, region, resources)
        return None if row is None else (row["starts_at"], row["days"], row["schedule_sha256"])

    async def add(self, run: HorizonRun, decision: UUID) -> None:
        """Store it; raises `StaleSnapshot` where a schedule for the same instance is adopted already."""
        r = run
        if not await self._conn.fetchval(
            ADD, r.id, r.region, list(r.resources), r.days, r.level, r.hold_days, r.starts_at, r.instance_sha256,
            r.schedule_sha256, r.sites, r.lanes, _json(r.measures), _json(r.stages), _json(r.search), r.adopted_at,
            decision,
        ):  # fmt: skip
            raise StaleSnapshot("a schedule for this very instance is adopted already.")

    async def add_rows(
        self, run: UUID, days: Sequence[HorizonDay], movements: Sequence[HorizonMovement], unmet: Sequence[HorizonUnmet]
    ) -> None:
        """Keep what it means; the database refuses a day on which anybody is worse off."""
        await self._add(
            "horizon_day",
            ["institution_id", "resource", "day", "need", "short_alone", "short_shared", "given", "received"],
            [(run, d.institution, d.resource, d.day, d.need, d.short_alone, d.short_shared, d.given, d.received)
             for d in days],
        )  # fmt: skip
        await self._add(
            "horizon_movement",
            ["place", "resource", "day", "arrives", "giver_id", "receiver_id", "units", "held", "metres"],
            [(run, place, m.resource, m.day, m.arrives, m.giver, m.receiver, m.units, m.held, m.metres)
             for place, m in enumerate(movements)],
        )  # fmt: skip
        await self._add(
            "horizon_unmet", ["institution_id", "resource", "thousandths", "code", "reason", "asked"],
            [(run, u.institution, u.resource, u.thousandths, u.code, u.reason, u.asked) for u in unmet],
        )  # fmt: skip

    async def _add(self, table: str, columns: list[str], rows: list[tuple[object, ...]]) -> None:
        await add_rows(self._conn, f"sharewell.{table}", ["horizon_id", *columns], rows)

    async def answers(self, instance_sha256: str) -> bool:
        """Tell whether a schedule for this instance is adopted already."""
        return bool(await self._conn.fetchval(ANSWERED, instance_sha256))

    async def get(self, id: UUID) -> HorizonRun:  # noqa: A002
        row = await self._conn.fetchrow(BY_ID, id)
        if row is None:
            raise NotFound(f"no horizon has the id {id}.", field="horizon")
        return _run(row)

    async def page(self, *, before: UUID, region: str | None, first: int) -> Page[HorizonRun]:
        """Newest first."""
        asked = Listed(PAGE, (From(before, NEWEST), region, LIMIT))
        return await asked.page(self._conn, _run, first)

    async def runs(self, id: UUID) -> list[UUID]:  # noqa: A002
        """The runs that day 0 of a schedule is, one for each resource with requests."""
        return [row["id"] for row in await self._conn.fetch(RUNS, id)]

    async def days(
        self, id: UUID, resource: str | None, seen: Predicate = EVERYTHING  # noqa: A002
    ) -> list[HorizonDay]:
        rows = await self._conn.fetch(narrowed(DAYS, seen, OWNER, 2), id, resource, *seen.values)
        return [HorizonDay(institution=who, **_rest(row)) for row in rows for who in [row["institution_id"]]]

    async def totals(self, id: UUID) -> list[HorizonTotal]:  # noqa: A002
        return [HorizonTotal(**row) for row in await self._conn.fetch(TOTALS, id)]

    async def movements(
        self, id: UUID, resource: str | None, seen: Predicate = EVERYTHING  # noqa: A002
    ) -> list[HorizonMovement]:
        """In order of resource, origin and destination."""
        return [
            HorizonMovement(giver=row["giver_id"], receiver=row["receiver_id"], **_rest(row))
            for row in await self._conn.fetch(narrowed(MOVEMENTS, seen, EITHER, 2), id, resource, *seen.values)
        ]

    async def unmet(
        self, id: UUID, resource: str | None, seen: Predicate = EVERYTHING  # noqa: A002
    ) -> list[HorizonUnmet]:
        return [
            HorizonUnmet(institution=row["institution_id"], **_rest(row) | {"code": Cause(row["code"])})
            for row in await self._conn.fetch(narrowed(UNMET, seen, OWNER, 2), id, resource, *seen.values)
        ]


def _rest(row: asyncpg.Record) -> dict[str, Any]:
    """Columns that are called as their fields are."""
    return {name: value for name, value in row.items() if not name.endswith("_id")}


def _json(value: object) -> str:
    return orjson.dumps(value).decode()


def _run(row: asyncpg.Record) -> HorizonRun:
    documents = {name: orjson.loads(row[name]) for name in ("measures", "stages", "search")}
    return HorizonRun(**dict(row) | documents)
