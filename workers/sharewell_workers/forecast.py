"""The forecast job: learn from all that is known of one resource, and adopt what the model expects.

The model is trained anew when it is a season old, and applied to the newest numbers in between. Same data, no work.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, Any
from uuid import UUID

import anyio.to_thread
import polars as pl
import structlog

from sharewell.domain.errors import Invalid
from sharewell.domain.forecast import MILLI, NAIVE, Forecast
from sharewell.wiring import worker_caller
from sharewell_workers.forecasting.backtest import backtest
from sharewell_workers.forecasting.model import FittedModel, TooLittleHistory, fit
from sharewell_workers.forecasting.panel import Panel
from sharewell_workers.forecasting.predict import predict

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sharewell.store.capacity import SeriesPoint
    from sharewell.wiring import Services
    from sharewell_workers.jobs import Job

log = structlog.get_logger(__name__)

HORIZONS = {1: tuple(range(1, 8)), 7: (1, 2, 3, 4)}  #: steps ahead, by days a step has
REFIT_AFTER = {1: 7, 7: 28}  #: days after which a model is trained anew
PAST_ORIGINS = 4  #: days of the past the backtest forecasts from


@dataclass(frozen=True, slots=True, kw_only=True)
class Outlook:
    """What one run found, ready to be adopted."""

    origin: date
    model: str
    model_body: bytes | None  #: None where the model was kept before, or where there is none
    backtest: dict[str, Any]
    forecasts: list[Forecast]


async def forecast(job: Job, services: Services) -> None:
    """Handle one job: payload `resource`. Doing it twice adopts once."""
    resource = str(job.payload["resource"])
    caller = worker_caller("forecast", job.request_id)
    for panel in panels_of(await services.forecasts.history(resource)):
        data_sha256 = panel.digest()
        if await services.forecasts.made_from(resource, data_sha256):
            log.info("forecast already made from these numbers", resource=resource, step_days=panel.step)
            continue
        kept = await _model_in_force(services, resource, panel)
        # Training holds the interpreter for long; in a thread the worker still answers its heartbeat.
        outlook = await anyio.to_thread.run_sync(look_ahead, panel, resource, kept)
        await services.forecasts.adopt(
            caller, resource=resource, step_days=panel.step, origin=outlook.origin, model=outlook.model,
            model_body=outlook.model_body, data_sha256=data_sha256, backtest=outlook.backtest,
            forecasts=outlook.forecasts,
        )  # fmt: skip
        log.info(
            "forecast adopted", resource=resource, origin=outlook.origin.isoformat(), step_days=panel.step,
            series=len({f.institution for f in outlook.forecasts}), model=outlook.model[:12],
        )  # fmt: skip


async def _model_in_force(services: Services, resource: str, panel: Panel) -> FittedModel | None:
    """The newest model of this resource, unless it is too old or made for another calendar."""
    body = await services.forecasts.newest_model(resource, panel.step)
    if body is None:
        return None
    try:
        model = FittedModel.from_bytes(body)
    except Invalid as error:
        log.warning("the model in force cannot be read and is replaced", why=error.message)
        return None
    age = (panel.last_day - model.origin).days
    return model if model.step == panel.step and 0 <= age < REFIT_AFTER[panel.step] else None


def panels_of(points: Sequence[SeriesPoint]) -> list[Panel]:
    """All series of a resource as panels, the daily ones and the weekly ones apart; none where nothing was reported."""
    by_step: dict[int, list[SeriesPoint]] = {1: [], 7: []}
    for point in points:
        by_step[7 if point.period_days == 7 else 1].append(point)
    return [Panel.of(_frame(some), step=step) for step, some in by_step.items() if some]


def _frame(points: Sequence[SeriesPoint]) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "series": [str(point.institution) for point in points],
            "group": [point.region for point in points],
            "day": [point.day for point in points],
            "value": [None if point.need is None else float(point.need) for point in points],
            "mark": [str(point.mark) for point in points],
        },
        schema={"series": pl.String, "group": pl.String, "day": pl.Date, "value": pl.Float64, "mark": pl.String},
    )


def look_ahead(panel: Panel, resource: str, kept: FittedModel | None) -> Outlook:
    """Forecast every series of `panel`, with `kept` if it is given and else with a model trained now."""
    origin, ahead = panel.last_day, HORIZONS[panel.step]
    model, body, scores, reason = kept, None, {}, ""
    if kept is None:
        try:
            model = fit(panel, ahead)
            body = model.to_bytes()
            scores = _scores(panel, ahead)
        except TooLittleHistory as few:
            reason = f"too little history to train on: {few}"
    rows = predict(model, panel, origin, ahead, reason=reason or "no trained model is in force")
    name = model.hash if model is not None else NAIVE[0]
    return Outlook(
        origin=origin, model=name, model_body=body, backtest=scores,
        forecasts=_forecasts(rows, resource, origin, model),
    )  # fmt: skip


def _scores(panel: Panel, ahead: Sequence[int]) -> dict[str, Any]:
    """How the same recipe did on past days, against the naive methods; empty where no past day can be scored."""
    try:
        return backtest(panel, ahead, origins=PAST_ORIGINS, refit_every=PAST_ORIGINS).to_json()
    except TooLittleHistory:
        return {}


def _forecasts(rows: pl.DataFrame, resource: str, origin: date, model: FittedModel | None) -> list[Forecast]:
    """Rows of one quantile each become one forecast a series and day."""
    whole = rows.sort("series", "horizon", "level").group_by(["series", "target", "horizon"], maintain_order=True)
    made = whole.agg(pl.col("level"), pl.col("value"), pl.col("method").first(), pl.col("fallback").first())
    return [
        Forecast(
            institution=UUID(series), resource=resource, signal="need", origin=origin, target=target,
            horizon=horizon,
            quantiles=tuple((lv, round(v * MILLI)) for lv, v in zip(levels, values, strict=True)),
            model=model.hash if method == "model" and model is not None else method, fallback=fallback,
        )
        for series, target, horizon, levels, values, method, fallback in made.iter_rows()
    ]  # fmt: skip
