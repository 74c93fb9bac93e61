"""Adopt forecasts that workers made, and read them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from uuid import UUID

from sharewell.domain.agreements import SharedDetail
from sharewell.domain.audit import Decision, format_time
from sharewell.domain.errors import StaleSnapshot
from sharewell.domain.forecast import Forecast, ForecastSum, fingerprint, fingerprint_of_sums
from sharewell.domain.policy import MANY, Action, Target
from sharewell.domain.principals import Caller
from sharewell.services.act import Done
from sharewell.services.agreements import shown_to
from sharewell.services.ids import new_id
from sharewell.services.office import Office
from sharewell.store.capacity import SeriesPoint
from sharewell.store.database import Transaction
from sharewell.store.forecasts import ForecastRun
from sharewell.store.paging import Page, Place

HISTORY = timedelta(days=800)  #: what lies further back says little of tomorrow
IN_FLIGHT = timedelta(minutes=10)  #: longer than any transaction takes to end


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """All series of a resource as they were known at one moment, and how to tell whether that was all of it."""

    resource: str
    known_at: datetime
    points: list[SeriesPoint]
    lately_from: UUID  #: ids of reports from here on were made shortly before the reading
    lately: int  #: how many of these were seen


class ForecastService:
    """What the models expect."""

    def __init__(self, office: Office) -> None:
        self._office = office

    async def history(self, resource: str, known_at: datetime | None = None) -> History:
        """What was needed so far, one point a series and day, as known at that moment, by default now."""
        until = known_at or self._office.now()
        lately_from = _earlier(new_id(), IN_FLIGHT)
        async with self._office.looking() as tx:
            points = await tx.capacity.series(resource, until=until, since=until - HISTORY)
            lately = await tx.capacity.lately(resource, lately_from, until)
        return History(resource=resource, known_at=until, points=points, lately_from=lately_from, lately=lately)

    async def made_from(self, resource: str, data_sha256: str) -> ForecastRun | None:
        """The run that was made from exactly this data, if there is one: the same need not be forecast twice."""
        async with self._office.looking() as tx:
            return await tx.forecasts.run_on(resource, data_sha256)

    async def adopt(
        self, caller: Caller, history: History, *, step_days: int, origin: date, model: str, trial: UUID | None,
        data_sha256: str, code_sha256: str, forecasts: Sequence[Forecast], sums: Sequence[ForecastSum] = (),
    ) -> Done[ForecastRun]:  # fmt: skip
        """Make `forecasts` the ones that plans are built on; `sums` are those of regions and of all of them.

        Raises `StaleSnapshot` where a report that belongs to the history came in after it was read.
        """
        async with self._office.act(caller, Action.ADOPT_FORECAST, Target(kind="forecast", id="new")) as act:
            await still_whole(act.tx, history)
            run = ForecastRun(
                id=new_id(), resource=history.resource, step_days=step_days, origin=origin, model=model,
                trial_id=trial, known_at=history.known_at, data_sha256=data_sha256, code_sha256=code_sha256,
                series=len({f.institution for f in forecasts}),
                fallbacks=len({f.institution for f in forecasts if f.fallback}), adopted_at=act.at,
            )  # fmt: skip
            decision = await act.record(
                "forecast.adopted", "forecast", run.id,
                {"resource": run.resource, "step_days": step_days, "origin": origin.isoformat(), "model": model,
                 "trial": str(trial or ""), "known_at": format_time(run.known_at), "data_sha256": data_sha256,
                 "code_sha256": code_sha256, "forecasts_sha256": fingerprint(forecasts),
                 "sums_sha256": fingerprint_of_sums(sums), "series": run.series,
                 "fallbacks": run.fallbacks},
            )  # fmt: skip
            await act.tx.forecasts.add(run, list(forecasts), decision)
            await act.tx.forecasts.add_sums(run.id, list(sums))
            return Done(run, decision, act.at)

    async def rerun(
        self, caller: Caller, again: Decision, *, same: bool, differs: Sequence[str], code: Mapping[str, str]
    ) -> Done[UUID]:
        """Put on record that what `again` decided was made once more: whether it came out the same, and what did not.

        `code`: names and versions of what made it now.
        """
        target = Target(kind="forecast", id=again.subject_id)
        async with self._office.act(caller, Action.RERUN_FORECAST, target) as act:
            decision = await act.record(
                "forecast.rerun", again.subject_kind, again.subject_id,
                {"decision": str(again.id), "kind": again.kind, "identical": same, "differs": list(differs),
                 "entry_sha256": hashlib.sha256(again.entry()).hexdigest(), "code": dict(code)},
            )  # fmt: skip
            return Done(again.id, decision, act.at)

    async def runs(
        self, caller: Caller, *, before: UUID, resource: str | None, first: int, place: Place | None = None
    ) -> Page[ForecastRun]:
        await self._office.allow(caller, Action.VIEW_FORECAST, Target.list("forecast"))
        async with self._office.reading(caller) as tx:
            return await tx.forecasts.runs(before=before, resource=resource, first=first, place=place)

    async def sums(
        self, caller: Caller, *, resource: str, region: str | None, since: date | None, after: tuple[str, date],
        first: int, place: Place | None = None,
    ) -> Page[ForecastSum]:  # fmt: skip
        """The newest sum of each region ("": all together; None: of each) and day from `since` (today, if None) on."""
        await self._office.allow(caller, Action.VIEW_FORECAST, Target(kind="forecast", id=MANY, region=region or None))
        since = since or _day(self._office.now())
        async with self._office.reading(caller) as tx:
            return await tx.forecasts.sums(
                resource=resource, region=region, since=since, after=after, first=first, place=place
            )

    async def page(
        self, caller: Caller, *, institution: UUID, resource: str | None, since: date | None,
        after: tuple[str, date], first: int, place: Place | None = None,
    ) -> Page[Forecast]:  # fmt: skip
        """The newest forecast of each resource and day from `since` (today, if None) on."""
        shown = await shown_to(self._office, caller, SharedDetail.FORECASTS, institution)
        target = Target.list("forecast", owner=institution, shared_with=shown.to(institution, resource))
        await self._office.allow(caller, Action.VIEW_FORECAST, target)
        since = since or _day(self._office.now())
        async with self._office.reading(caller) as tx:
            return await tx.forecasts.page(
                institution=institution, resource=resource, since=since, after=after, first=first, place=place
            )


async def still_whole(tx: Transaction, history: History) -> None:
    """Refuse what rests on a history that reports in flight were missing from: it could not be read again.

    A report carries the time at which it was taken in, and is seen a moment later, when its transaction has ended.
    """
    if await tx.capacity.lately(history.resource, history.lately_from, history.known_at) != history.lately:
        raise StaleSnapshot(f"reports of {history.resource} came in while their history was read.")


def _earlier(id: UUID, by: timedelta) -> UUID:  # noqa: A002
    """The first id of version 7 that could have been made `by` before this one."""
    milliseconds = (id.int >> 80) - int(by.total_seconds() * 1000)
    return UUID(int=milliseconds << 80)


def _day(at: datetime) -> date:
    return at.date()
