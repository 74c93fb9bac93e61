"""The running check of each series' forecasts in PostgreSQL: one row a series, carried on with each new outcome."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

from sharewell.domain.drift import Outcome, Watch, WatchState
from sharewell.domain.forecast import MILLI
from sharewell.domain.predicate import EVERYTHING, Predicate
from sharewell.store.paging import LIMIT, OLDEST, SEEN, Listed, Page, Place, Sort, begins, of_owner

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime

    import asyncpg

_COLUMNS = """institution_id, resource, state, since, last_target, known_at, model, capital, life, level, recent,
  judged, missed"""
#: Two jobs for one resource judge one after the other.
ALONE = "select pg_advisory_xact_lock(hashtextextended('forecast-watch ' || $1, 0))"
OF_RESOURCE = f"select {_COLUMNS} from sharewell.forecast_watch where resource = $1"
BY_KEYS = f"""
select w.* from unnest($1::uuid[], $2::text[]) key (institution_id, resource)
  cross join lateral (
    select {_COLUMNS} from sharewell.forecast_watch w
     where w.institution_id = key.institution_id and w.resource = key.resource limit 1) w
"""
SAVE = f"""
insert into sharewell.forecast_watch ({_COLUMNS}, marked_by)
values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13,
  coalesce($14::uuid, (select marked_by from sharewell.forecast_watch where institution_id = $1 and resource = $2)))
on conflict (institution_id, resource) do update
   set state = excluded.state, since = excluded.since, last_target = excluded.last_target,
       known_at = excluded.known_at, model = excluded.model, capital = excluded.capital, life = excluded.life,
       level = excluded.level, recent = excluded.recent, judged = excluded.judged, missed = excluded.missed,
       marked_by = excluded.marked_by
"""
DRIFTING = f"""
select {_COLUMNS} from sharewell.forecast_watch
 where state = 'drifting' and {SEEN} and ($1::uuid is null or institution_id = $1)
   and ($2::text is null or resource = $2)
   and (resource, institution_id) > ($3, $4) order by resource, institution_id limit $5
"""
#: Of days since $2 that are not judged yet: when their values became known, and what was forecast last before that.
#: A weekly series is forecast for the weekday that most report on; a value belongs to the first such day from its own.
OUTCOMES = """
select c.institution_id, i.region, f.target, c.recorded_at as known_at, f.levels, f.quantiles, f.method as model,
       f.forecast_at
  from (select distinct on (institution_id, as_of::date) institution_id, as_of::date as day, recorded_at
          from sharewell.capacity_report c
         where resource = $1 and as_of > $2 and (period_days = 7) = ($3 = 7)
           and not exists (select from sharewell.capacity_report n where n.corrects = c.id)
         order by institution_id, as_of::date, as_of desc, id desc) c
  join sharewell.institution i on i.id = c.institution_id
  left join sharewell.forecast_watch w on w.institution_id = c.institution_id and w.resource = $1
  cross join lateral (
    select f.target, f.levels, f.quantiles, f.method, r.known_at as forecast_at
      from sharewell.forecast f join sharewell.forecast_run r on r.id = f.run_id
     where f.institution_id = c.institution_id and f.resource = $1 and r.step_days = $3
       and f.target >= c.day and f.target < c.day + $3::integer and r.known_at < c.recorded_at
     order by f.run_id desc, f.target limit 1) f
 where w.last_target is null or f.target > w.last_target
 order by c.institution_id, f.target
"""

#: What they can be ordered by; each is told to whoever sees the row.
SORTS: Final = {
    "resource": Sort("resource"),
    "since": Sort("since", "date", "since"),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class OpenOutcome:
    """A forecast whose day has come; what came is for the caller to say."""

    institution: UUID
    region: str
    outcome: Outcome  #: `observed` is not known here


class DriftRepository:
    """Who is watched, and how it stands."""

    def __init__(self, conn: asyncpg.Connection[Any]) -> None:
        self._conn = conn

    async def alone(self, resource: str) -> None:
        """Wait until nobody else judges this resource, and keep others out until this transaction ends."""
        await self._conn.execute(ALONE, resource)

    async def open_outcomes(self, resource: str, step_days: int, since: datetime) -> list[OpenOutcome]:
        """Outcomes of days not judged yet, by institution and day."""
        rows = await self._conn.fetch(OUTCOMES, resource, since, step_days)
        return [OpenOutcome(row["institution_id"], row["region"], _outcome(row)) for row in rows]

    async def of_resource(self, resource: str) -> dict[UUID, Watch]:
        rows = await self._conn.fetch(OF_RESOURCE, resource)
        return {row["institution_id"]: _watch(row) for row in rows}

    async def by_keys(self, keys: Sequence[tuple[UUID, str]]) -> dict[tuple[UUID, str], Watch]:
        """By institution and resource; those never judged are left out."""
        rows = await self._conn.fetch(BY_KEYS, [who for who, _ in keys], [what for _, what in keys])
        return {(row["institution_id"], row["resource"]): _watch(row) for row in rows}

    async def save(self, watches: Iterable[tuple[Watch, UUID | None]]) -> None:
        """Carry them on, each with the decision that marked it now, if one did."""
        await self._conn.executemany(
            SAVE,
            [(w.institution, w.resource, w.state, w.since, w.last_target, w.known_at, w.model, w.capital, w.life,
              w.level, w.recent, w.judged, w.missed, decision) for w, decision in watches],
        )  # fmt: skip

    async def drifting(
        self, *, institution: UUID | None, resource: str | None, after: tuple[str, UUID], first: int,
        seen: Predicate = EVERYTHING, place: Place | None = None,
    ) -> Page[Watch]:  # fmt: skip
        """Series that drift, by resource and institution or in the order of `place`."""
        every = Listed(DRIFTING, (institution, resource, *begins(after, ("", OLDEST)), LIMIT))
        asked = every.seen(seen, [of_owner("institution_id")])
        return await asked.page(self._conn, _watch, first, place)


def _watch(row: asyncpg.Record) -> Watch:
    plain = {**row, "state": WatchState(row["state"]), "capital": tuple(row["capital"])}
    return Watch(institution=plain.pop("institution_id"), **plain)


def _outcome(row: asyncpg.Record) -> Outcome:
    return Outcome(
        target=row["target"], observed=0, model=row["model"], forecast_at=row["forecast_at"], known_at=row["known_at"],
        quantiles=tuple((a, round(b * MILLI)) for a, b in zip(row["levels"], row["quantiles"], strict=True)),
    )  # fmt: skip
