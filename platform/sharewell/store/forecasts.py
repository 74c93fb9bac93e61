"""Forecasts in PostgreSQL: a run per resource and origin, and its quantiles by institution and day."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

from sharewell.domain.forecast import MILLI, Forecast, ForecastSum
from sharewell.store.bulk import add_rows
from sharewell.store.paging import IN_TURN, LIMIT, NEWEST, From, Listed, Page, Place, Sort, begins

if TYPE_CHECKING:
    import asyncpg

_RUN = """id, resource, step_days, origin, model, trial_id, known_at, data_sha256, code_sha256, series, fallbacks,
  adopted_at"""
ADD_RUN = f"""
insert into sharewell.forecast_run ({_RUN}, decision_id)
values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)
"""
RUN_BY_ORIGIN = f"select {_RUN} from sharewell.forecast_run where resource = $1 and data_sha256 = $2"
#: By its own id or that of its decision.
RUN_BY_ID = f"select {_RUN} from sharewell.forecast_run where id = $1 or decision_id = $1"
RUNS = f"""
select {_RUN} from sharewell.forecast_run
 where id < $1 and ($2::text is null or resource = $2) order by id desc limit $3
"""
FORECAST = "f.run_id, f.institution_id, f.resource, f.target, f.horizon, f.levels, f.quantiles, f.method, f.fallback"
#: Of a run or a trial, by its own id or that of its decision.
DECISION_OF = """
select decision_id from sharewell.forecast_run where id = $1 or decision_id = $1
 union all select decision_id from sharewell.forecast_trial where id = $1 or decision_id = $1
"""
OF_RUN = f"""
select {FORECAST}, r.origin from sharewell.forecast f join sharewell.forecast_run r on r.id = f.run_id
 where f.run_id = $1 order by f.institution_id, f.target
"""
#: Of each institution and day, the forecast of the newest run.
NEWEST_FOR_DAY = f"""
select distinct on (f.institution_id) {FORECAST}, r.origin
  from sharewell.forecast f join sharewell.forecast_run r on r.id = f.run_id
       join sharewell.institution i on i.id = f.institution_id
 where i.region = $1 and f.resource = $2 and f.target = $3 order by f.institution_id, f.run_id desc
"""
#: The decisions on the runs that `NEWEST_FOR_DAY` would have answered with at the moment $4.
BEHIND_A_PLAN = """
select decision_id from sharewell.forecast_run where id in (
  select distinct on (f.institution_id) f.run_id
    from sharewell.forecast f join sharewell.forecast_run r on r.id = f.run_id
         join sharewell.institution i on i.id = f.institution_id
   where i.region = $1 and f.resource = $2 and f.target = $3 and r.adopted_at <= $4
   order by f.institution_id, f.run_id desc)
 order by id
"""
PAGE = f"""
select * from (
  select distinct on (f.institution_id, f.resource, f.target) {FORECAST}, r.origin
    from sharewell.forecast f join sharewell.forecast_run r on r.id = f.run_id
   where f.institution_id = $1 and ($2::text is null or f.resource = $2) and f.target >= $3
   order by f.institution_id, f.resource, f.target, f.run_id desc) newest
 where (resource, target) > ($4, $5) order by resource, target limit $6
"""
#: Of one region ('': all together) or of each, the newest for each day, of daily series before weekly ones.
SUMS = """
select * from (
  select distinct on (s.region, s.target) s.region, s.resource, s.target, s.horizon, s.levels, s.quantiles, r.origin
    from sharewell.forecast_sum s join sharewell.forecast_run r on r.id = s.run_id
   where s.resource = $1 and ($2::text is null or s.region = $2) and s.target >= $3
   order by s.region, s.target, r.step_days, s.run_id desc) newest
 where (region, target) > ($4, $5) order by region, target limit $6
"""

#: What forecasts can be ordered by: never by what is expected, which says as much of an institution as its numbers.
SORTS: Final = {"resource": Sort("resource"), "target": Sort("target")}
SUM_SORTS: Final = {"region": Sort("region"), "target": Sort("target")}
RUN_SORTS: Final = {"adopted": IN_TURN, "origin": Sort("origin", "date", "origin")}


@dataclass(frozen=True, slots=True, kw_only=True)
class ForecastRun:
    """One model over all series of a resource that come as often, from one day on."""

    id: UUID
    resource: str
    step_days: int  #: 1 for daily series, 7 for weekly ones
    origin: date  #: last day whose value was known
    model: str  #: SHA-256 of the model, or the name of the naive method
    trial_id: UUID | None  #: the trial that put the model into force; None for a naive method
    known_at: datetime  #: when the history was read; it can be read again as of then
    data_sha256: str  #: hash of the series it was applied to
    code_sha256: str  #: hash of the code that made it
    series: int
    fallbacks: int  #: series answered by a naive method, each saying why
    adopted_at: datetime


class ForecastRepository:
    """What the models expect."""

    def __init__(self, conn: asyncpg.Connection[Any]) -> None:
        self._conn = conn

    async def add(self, run: ForecastRun, forecasts: list[Forecast], decision: UUID) -> None:
        await self._conn.execute(
            ADD_RUN, run.id, run.resource, run.step_days, run.origin, run.model, run.trial_id, run.known_at,
            run.data_sha256, run.code_sha256, run.series, run.fallbacks, run.adopted_at, decision,
        )  # fmt: skip
        await add_rows(
            self._conn, "sharewell.forecast",
            ["run_id", "institution_id", "resource", "target", "horizon", "levels", "quantiles", "method", "fallback"],
            [
                (run.id, f.institution, f.resource, f.target, f.horizon, [level for level, _ in f.quantiles],
                 [value / MILLI for _, value in f.quantiles], f.model, f.fallback or "")
                for f in forecasts
            ],
        )  # fmt: skip

    async def add_sums(self, run: UUID, sums: list[ForecastSum]) -> None:
        await self._conn.copy_records_to_table(
            "forecast_sum",
            schema_name="sharewell",
            columns=["run_id", "region", "resource", "target", "horizon", "levels", "quantiles"],
            records=[
                (run, s.region or "", s.resource, s.target, s.horizon, [level for level, _ in s.quantiles],
                 [value / MILLI for _, value in s.quantiles])
                for s in sums
            ],
        )  # fmt: skip

    async def sums(
        self, *, resource: str, region: str | None, since: date, after: tuple[str, date], first: int,
        place: Place | None = None,
    ) -> Page[ForecastSum]:  # fmt: skip
        """The newest of each region ("": all together; None: of each) and day from `since` on.

        In that order, or in that of `place`.
        """
        asked = Listed(SUMS, (resource, region, since, *begins(after, ("", date.min)), LIMIT))
        return await asked.page(self._conn, _sum, first, place)

    async def run_on(self, resource: str, data_sha256: str) -> ForecastRun | None:
        """The run that learned from exactly this data, if there is one."""
        row = await self._conn.fetchrow(RUN_BY_ORIGIN, resource, data_sha256)
        return None if row is None else ForecastRun(**row)

    async def run(self, id: UUID) -> ForecastRun | None:  # noqa: A002
        """The run with this id, or with the decision of this id."""
        row = await self._conn.fetchrow(RUN_BY_ID, id)
        return None if row is None else ForecastRun(**row)

    async def decision_of(self, id: UUID) -> UUID | None:  # noqa: A002
        """The decision of a run or a trial with this id."""
        decision: UUID | None = await self._conn.fetchval(DECISION_OF, id)
        return decision

    async def of_run(self, run: UUID) -> list[Forecast]:
        """Everything one run forecast, by institution and day."""
        return [read_forecast(row) for row in await self._conn.fetch(OF_RUN, run)]

    async def runs(
        self, *, before: UUID, resource: str | None, first: int, place: Place | None = None
    ) -> Page[ForecastRun]:
        """Newest first, or in the order of `place`."""
        asked = Listed(RUNS, (From(before, NEWEST), resource, LIMIT))
        return await asked.page(self._conn, lambda row: ForecastRun(**row), first, place)

    async def newest_for(self, region: str, resource: str, day: date) -> dict[UUID, Forecast]:
        """By institution, what is expected of `day`."""
        rows = await self._conn.fetch(NEWEST_FOR_DAY, region, resource, day)
        return {row["institution_id"]: read_forecast(row) for row in rows}

    async def behind_a_plan(self, region: str, resource: str, day: date, at: datetime) -> list[UUID]:
        """The decisions on the forecasts that a plan for `day` rested on, when its instance was made at `at`."""
        rows = await self._conn.fetch(BEHIND_A_PLAN, region, resource, day, at)
        return [row["decision_id"] for row in rows]

    async def page(
        self, *, institution: UUID, resource: str | None, since: date, after: tuple[str, date], first: int,
        place: Place | None = None,
    ) -> Page[Forecast]:  # fmt: skip
        """Newest forecast of each resource and day from `since` on, in that order or in that of `place`."""
        asked = Listed(PAGE, (institution, resource, since, *begins(after, ("", date.min)), LIMIT))
        return await asked.page(self._conn, read_forecast, first, place)


def read_forecast(row: asyncpg.Record) -> Forecast:
    """A forecast, from a row of `FORECAST` with the origin of its run."""
    return Forecast(
        institution=row["institution_id"], resource=row["resource"], signal="need", origin=row["origin"],
        target=row["target"], horizon=row["horizon"],
        quantiles=_quantiles(row), model=row["method"], fallback=row["fallback"] or None,
    )  # fmt: skip


def _sum(row: asyncpg.Record) -> ForecastSum:
    return ForecastSum(
        region=row["region"] or None, resource=row["resource"], origin=row["origin"], target=row["target"],
        horizon=row["horizon"], quantiles=_quantiles(row),
    )  # fmt: skip


def _quantiles(row: asyncpg.Record) -> tuple[tuple[int, int], ...]:
    return tuple((a, round(b * MILLI)) for a, b in zip(row["levels"], row["quantiles"], strict=True))
