"""Adopt forecasts that workers made, and read them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta
from typing import Any
from uuid import UUID

from sharewell.domain.forecast import Forecast
from sharewell.domain.policy import Action, Target
from sharewell.domain.principals import Caller
from sharewell.services.office import Done, Office, new_id
from sharewell.store.artifacts import keep_artifact
from sharewell.store.capacity import SeriesPoint
from sharewell.store.forecasts import ForecastRun
from sharewell.store.paging import Page

HISTORY = timedelta(days=800)  #: what lies further back says little of tomorrow


class ForecastService:
    """What the models expect."""

    def __init__(self, office: Office) -> None:
        self._office = office

    async def history(self, resource: str) -> list[SeriesPoint]:
        """What was needed so far, one point a series and day, known at this moment."""
        until = self._office.now()
        async with self._office.database.transaction(read_only=True) as tx:
            return await tx.capacity.series(resource, until=until, since=until - HISTORY)

    async def made_from(self, resource: str, data_sha256: str) -> ForecastRun | None:
        """The run that learned from exactly this data, if there is one: the same input need not be forecast twice."""
        async with self._office.database.transaction(read_only=True) as tx:
            return await tx.forecasts.run_on(resource, data_sha256)

    async def newest_model(self, resource: str, step_days: int) -> bytes | None:
        """The model that was trained last for this resource's daily (1) or weekly (7) series, or None."""
        async with self._office.database.transaction(read_only=True) as tx:
            return await tx.forecasts.newest_model(resource, step_days)

    async def adopt(
        self, caller: Caller, *, resource: str, step_days: int, origin: date, model: str, model_body: bytes | None,
        data_sha256: str, backtest: Mapping[str, Any], forecasts: Sequence[Forecast],
    ) -> Done[ForecastRun]:  # fmt: skip
        """Make `forecasts` the ones that plans are built on; the model is kept under its hash."""
        fallbacks = len({f.institution for f in forecasts if f.fallback})
        async with self._office.act(caller, Action.ADOPT_FORECAST, Target(kind="forecast", id="new")) as act:
            run = ForecastRun(
                id=new_id(), resource=resource, step_days=step_days, origin=origin, model=model,
                data_sha256=data_sha256, backtest=backtest, series=len({f.institution for f in forecasts}),
                fallbacks=fallbacks, adopted_at=act.at,
            )  # fmt: skip
            artifact = None if model_body is None else await keep_artifact(act.tx.conn, "model", model_body)
            decision = await act.record(
                "forecast.adopted", "forecast", run.id,
                {"resource": resource, "step_days": step_days, "origin": origin.isoformat(), "model": model,
                 "model_sha256": artifact or "", "data_sha256": data_sha256, "series": run.series,
                 "fallbacks": run.fallbacks, "backtest": dict(backtest)},
            )  # fmt: skip
            await act.tx.forecasts.add(run, list(forecasts), decision)
            return Done(run, decision, act.at)

    async def runs(
        self, caller: Caller, *, before: UUID, resource: str | None, first: int
    ) -> Page[ForecastRun]:
        await self._office.allow(caller, Action.VIEW_FORECAST, Target.list("forecast"))
        async with self._office.database.transaction(read_only=True) as tx:
            return await tx.forecasts.runs(before=before, resource=resource, first=first)

    async def page(
        self, caller: Caller, *, institution: UUID, resource: str | None, since: date | None,
        after: tuple[str, date], first: int,
    ) -> Page[Forecast]:  # fmt: skip
        """The newest forecast of each resource and day from `since` (today, if None) on."""
        await self._office.allow(caller, Action.VIEW_FORECAST, Target.list("forecast", owner=institution))
        since = since or _day(self._office.now())
        async with self._office.database.transaction(read_only=True) as tx:
            return await tx.forecasts.page(
                institution=institution, resource=resource, since=since, after=after, first=first
            )


def _day(at: datetime) -> date:
    return at.date()
