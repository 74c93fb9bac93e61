"""Scores of forecasts that were made and kept, once their days have come: as a backtest scores, beside naive ones."""

from __future__ import annotations

from datetime import date, timedelta
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from sharewell.domain.errors import Invalid
from sharewell_workers.forecasting.backtest import BANDS, METHODS, Answered, BacktestReport, summary
from sharewell_workers.forecasting.naive import Naive
from sharewell_workers.forecasting.recipe import Recipe
from sharewell_workers.forecasting.sums import SUM

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from sharewell_workers.forecasting.panel import Grid, Panel

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]

COLUMNS: dict[str, type[pl.DataType]] = {
    "series": pl.String, "target": pl.Date, "horizon": pl.Int64, "level": pl.Int64, "value": pl.Float64,
}  # fmt: skip


def conform(frame: pl.DataFrame) -> pl.DataFrame:
    """The columns of `COLUMNS` out of what `predict` wrote, sorted; other columns, and sums, are left out.

    Raises `Invalid` for a column that is missing or of another kind, a quantile told twice, or a forecast that lacks
    levels which others have.
    """
    missing = [name for name in COLUMNS if name not in frame.columns]
    if missing:
        raise Invalid(f"the forecasts have no column {missing[0]!r}; it takes {', '.join(COLUMNS)}.", field=missing[0])
    if "method" in frame.columns:
        frame = frame.filter(pl.col("method").ne_missing(SUM))
    try:
        rows = frame.select(pl.col(name).cast(kind) for name, kind in COLUMNS.items()).sort(*list(COLUMNS)[:4])
    except pl.exceptions.PolarsError as error:
        raise Invalid(f"a forecast has a value of another kind: {str(error).splitlines()[0]}", field="made") from None
    if rows.null_count().sum_horizontal().item():
        raise Invalid("a forecast has an empty cell; each row needs all of its values.", field="made")
    task = ["series", "target", "horizon"]
    if rows.select(*task, "level").is_duplicated().any():
        raise Invalid("a quantile is told twice; there is one row a series, target, horizon and level.", field="level")
    if rows.group_by(task).len()["len"].n_unique() > 1 or rows["level"].value_counts()["count"].n_unique() > 1:
        raise Invalid("some forecasts lack levels that others have.", field="level")
    return rows


def scored(made: pl.DataFrame, panel: Panel) -> BacktestReport:
    """Score what `predict` wrote (one row a series, target, horizon and level) against the values of `panel`.

    Forecasts for days without a reported value, of series that are not in the panel, or which a naive method could
    not have answered, are left out; if that leaves none, there are no scores. Raises `Invalid` as `conform` does.
    """
    rows = conform(made)
    levels = tuple(rows["level"].unique().sort())
    if any(not {(1000 - b) // 2, (1000 + b) // 2} <= set(levels) for b in BANDS):
        raise Invalid("scores need the levels of the 50, 80 and 95 % bands.", field="level")
    grid = panel.grid()
    place = {name: row for row, name in enumerate(grid.names)}
    step = pl.duration(days=panel.step) * pl.col("horizon")
    rows = rows.filter(pl.col("series").is_in(list(place))).with_columns(origin=pl.col("target") - step)
    answered = []
    for (origin,), told in rows.group_by("origin", maintain_order=True):
        assert isinstance(origin, date)
        answered += _answered(origin, told, panel, grid, place, levels)
    answered.sort(key=lambda a: (a.origin, a.horizon))
    return BacktestReport(
        origins=tuple(sorted({a.origin for a in answered})), season=grid.season, skipped=(), levels=levels,
        scores=summary(answered, levels) if answered else (), answered=tuple(answered),
    )  # fmt: skip


def _answered(
    origin: date, told: pl.DataFrame, panel: Panel, whole: Grid, place: dict[str, int], levels: tuple[int, ...]
) -> list[Answered]:
    """All tasks of one origin, by horizon."""
    if origin < whole.day(0):
        return []
    naive = Naive.of(panel.until(origin).grid(origin, steps=Recipe.for_step(panel.step).history))
    found = []
    for (h,), rows in told.group_by("horizon", maintain_order=True):
        assert isinstance(h, int)
        ours = rows["value"].to_numpy().reshape(-1, len(levels))
        at = np.array([place[name] for name in rows["series"].unique(maintain_order=True)])
        column = _column(whole, origin + timedelta(days=h * whole.step))
        if column is None:
            continue
        values = {m: naive.quantiles(m, h, levels)[at] for m in METHODS[1:]}
        fair = whole.firm[at, column] & ~np.any([np.isnan(v[:, 0]) for v in values.values()], axis=0)
        if fair.any():
            kept, rows_of = {"model": ours[fair]} | {m: v[fair] for m, v in values.items()}, at[fair]
            seen, low, high = (part[rows_of, column] for part in (whole.outcome, whole.lower, whole.upper))
            found.append(
                Answered(origin=origin, horizon=h, series=rows_of, observed=seen, lower=low, upper=high, values=kept)
            )
    return found


def _column(grid: Grid, day: date) -> int | None:
    """Where that day stands in the grid; None if it has not come, or lies before or between its days."""
    column = grid.value.shape[1] - 1 - (grid.end - day).days // grid.step
    return column if day <= grid.end and column >= 0 and grid.day(column) == day else None
