"""Between the platform and the forecaster: reported points become panels, and rows of quantiles become forecasts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING
from uuid import UUID

import polars as pl

from sharewell.domain.capacity import Mark
from sharewell.domain.forecast import MILLI, Forecast, ForecastSum
from sharewell_workers.forecasting.panel import Panel
from sharewell_workers.forecasting.sums import SUM

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import date

    from sharewell.store.capacity import SeriesPoint
    from sharewell_workers.forecasting.model import FittedModel

ALL, REGION = "all", "region:"  #: how sums are named among series
HORIZONS = {1: tuple(range(1, 8)), 7: (1, 2, 3, 4)}  #: steps ahead, by days a step has


def panels_of(points: Sequence[SeriesPoint], country: str | None = None) -> list[Panel]:
    """All series of a resource as panels, the daily ones and the weekly ones apart; none where nothing was reported.

    `country`: whose holidays they keep, where an operator has said so.
    """
    by_step: dict[int, list[SeriesPoint]] = {1: [], 7: []}
    for point in points:
        by_step[7 if point.period_days == 7 else 1].append(point)
    return [Panel.of(frame_of(some), step=step, country=country) for step, some in by_step.items() if some]


def frame_of(points: Sequence[SeriesPoint]) -> pl.DataFrame:
    """Points as the rows that a panel is made of."""
    return pl.DataFrame(
        {
            "series": [str(point.institution) for point in points],
            "group": [point.region for point in points],
            "day": [point.day for point in points],
            "value": [None if point.need is None else float(point.need) for point in points],
            "mark": [str(point.mark) for point in points],
            "transferred": [float(point.transferred) for point in points],
        },
        schema={
            "series": pl.String, "group": pl.String, "day": pl.Date, "value": pl.Float64, "mark": pl.String,
            "transferred": pl.Float64,
        },
    )  # fmt: skip


def forecasts_of(rows: pl.DataFrame, resource: str, origin: date, model: FittedModel | None) -> list[Forecast]:
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Outlook:
    """What one run expects."""

    forecasts: list[Forecast]
    sums: list[ForecastSum]
    model: FittedModel | None  #: the one that was applied


def outlook_of(rows: pl.DataFrame, resource: str, origin: date, model: FittedModel | None) -> Outlook:
    """What `predict` answered, its sums apart from its series."""
    added_up = pl.col("method") == SUM
    return Outlook(
        forecasts=forecasts_of(rows.filter(~added_up), resource, origin, model),
        sums=sums_of(rows.filter(added_up), resource, origin), model=model,
    )  # fmt: skip


def sums_of(rows: pl.DataFrame, resource: str, origin: date) -> list[ForecastSum]:
    """Rows of one quantile each become one sum a region (None: all together) and day."""
    whole = rows.sort("series", "horizon", "level").group_by(["series", "target", "horizon"], maintain_order=True)
    return [
        ForecastSum(
            region=None if series == ALL else series.removeprefix(REGION), resource=resource, origin=origin,
            target=target, horizon=horizon,
            quantiles=tuple((lv, round(v * MILLI)) for lv, v in zip(levels, values, strict=True)),
        )
        for series, target, horizon, levels, values in whole.agg(pl.col("level"), pl.col("value")).iter_rows()
    ]  # fmt: skip


def came_since(panel: Panel, since: date) -> dict[tuple[UUID, date], float]:
    """What was reported of days after `since`, in thousandths of a unit; nothing that is only estimated."""
    rows = panel.frame.filter(
        (pl.col("day") > since) & (pl.col("mark") == str(Mark.REPORTED)) & pl.col("value").is_not_null()
    )
    return {(UUID(who), day): value * MILLI for who, day, value in rows.select("series", "day", "value").iter_rows()}
