"""What forecasts in the hubs' form were worth, against a hub's own baseline on the tasks both answered."""

from __future__ import annotations

import numpy as np
import polars as pl

from sharewell.domain.forecast import HUB_LEVELS
from sharewell_workers.forecasting import scores as arithmetic
from sharewell_workers.forecasting.hub.tables import WHOLE

TASK = ("reference_date", "location", "horizon")


def scores(made: pl.DataFrame, truth: pl.DataFrame, baseline: pl.DataFrame) -> dict[str, float]:
    """Mean scores of `made` over the places and dates `baseline` speaks of too, and over the baseline's.

    Both have the hubs' columns; `truth` has location, target_end_date, value. The row that sums all places is left
    out. Keys: tasks, wis, log_wis, relative_wis, relative_log_wis, coverage_50, coverage_95.
    """
    both = _scored(made, truth).join(_scored(baseline, truth), on=TASK, suffix="_base")
    if both.is_empty():
        return {"tasks": 0}
    mean = both.select(pl.mean("wis", "wis_base", "log", "log_base", "in50", "in95")).row(0, named=True)
    return {
        "tasks": both.height, "wis": mean["wis"], "log_wis": mean["log"],
        "relative_wis": mean["wis"] / mean["wis_base"], "relative_log_wis": mean["log"] / mean["log_base"],
        "coverage_50": mean["in50"], "coverage_95": mean["in95"],
    }  # fmt: skip


def _scored(made: pl.DataFrame, truth: pl.DataFrame) -> pl.DataFrame:
    """One row a task that has all 23 quantiles and an outcome, with its scores."""
    told = made.select(
        "reference_date", pl.col("location").cast(pl.String), pl.col("horizon").cast(pl.Int64), "target_end_date",
        pl.col("value").cast(pl.Float64), level=(pl.col("quantile").cast(pl.Float64) * 1000).round().cast(pl.Int64),
    ).filter(pl.col("level").is_in(HUB_LEVELS) & (pl.col("location") != WHOLE))  # fmt: skip
    wide = told.sort("level").group_by(*TASK, "target_end_date").agg("value")
    came = truth.select(
        pl.col("location").cast(pl.String), "target_end_date", came=pl.col("value").cast(pl.Float64)
    ).drop_nulls()
    whole = wide.filter(pl.col("value").list.len() == len(HUB_LEVELS))
    tasks = whole.join(came, on=["location", "target_end_date"]).sort(TASK)
    values, observed = np.array(tasks["value"].to_list()).reshape(-1, len(HUB_LEVELS)), tasks["came"].to_numpy()
    return tasks.select(TASK).with_columns(
        wis=arithmetic.wis(values, observed, HUB_LEVELS), log=arithmetic.log_wis(values, observed, HUB_LEVELS),
        in50=arithmetic.covered(values, observed, HUB_LEVELS, 500),
        in95=arithmetic.covered(values, observed, HUB_LEVELS, 950),
    )  # fmt: skip
