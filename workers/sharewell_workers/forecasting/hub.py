"""Forecasts in the form of the public hubs: 23 quantiles, a Saturday as reference, horizons of 0 to 3 weeks.

A hub's reference date is the Saturday that ends the week in which forecasts are due. What may be used is what was
public on the Wednesday before it; the newest week in that table ended the Saturday before, so horizon 0 is one step.
Conventions: the FluSight and COVID-19 forecast hubs of the CDC, model output of type quantile.
"""

from __future__ import annotations

import hashlib
from datetime import date, timedelta
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from sharewell.domain.errors import Invalid
from sharewell.domain.forecast import HUB_LEVELS
from sharewell_workers.forecasting import scores
from sharewell_workers.forecasting.features import Tasks
from sharewell_workers.forecasting.model import FittedModel, TooLittleHistory, learn
from sharewell_workers.forecasting.predict import predict
from sharewell_workers.forecasting.recipe import Recipe
from sharewell_workers.forecasting.vintages import Vintages

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sharewell_workers.forecasting.features import State

WEEK = timedelta(days=7)
HORIZONS = (0, 1, 2, 3)
SCHEMA = {
    "reference_date": pl.Date, "location": pl.String, "horizon": pl.Int64, "target_end_date": pl.Date,
    "quantile": pl.Float64, "value": pl.Float64,
}  # fmt: skip


def read_vintages(frame: pl.DataFrame, history: pl.DataFrame | None = None) -> Vintages:
    """Vintages from a hub's columns as_of, location, target_end_date, value; rows without a location are left out.

    `history` (location, target_end_date, value) adds older weeks, taken as known from the first table on; weeks
    the vintages speak of themselves are not taken from it.
    """
    rows = _renamed(frame, ("as_of", "location", "target_end_date", "value"))
    if history is not None:
        older = _renamed(history, ("location", "target_end_date", "value"))
        first, begin = rows["as_of"].min(), rows["day"].min()
        older = older.filter(pl.col("day") < begin).with_columns(as_of=pl.lit(first, dtype=rows.schema["as_of"]))
        rows = pl.concat([older.select(rows.columns).cast(rows.schema), rows])
    return Vintages.of(rows)


def forecasts(
    vintages: Vintages,
    reference: date,
    *,
    seed: int = 0,
    recipe: Recipe | None = None,
    known_before: timedelta = timedelta(days=3),
    wait: bool = False,
) -> pl.DataFrame:
    """Forecasts for one reference date in the hubs' columns, from tables published `known_before` it or earlier.

    With `wait`, a table that a holiday delayed is waited for until the reference date itself. Locations with too
    little history get naive forecasts. Raises `Invalid` if nothing at all was known.
    """
    recipe = recipe or Recipe.for_hub()
    cut = reference - known_before
    newest = vintages.newest_step(cut)
    if wait and (newest is None or newest < reference - WEEK):
        cut, newest = reference, vintages.newest_step(reference)
    if newest is None:
        raise Invalid(f"no table was published by {cut}; the first one is newer.", field="vintages")
    late = max(0, (reference - WEEK - newest).days // 7)
    ahead = tuple(h + 1 + late for h in HORIZONS)
    delay = WEEK - known_before
    naive = predict(None, vintages.known_on(cut), newest, ahead, levels=recipe.levels, method="persistence")
    made = [naive.select("series", "horizon", "level", "value")]
    try:
        state = vintages.observe(newest, cut, delay, recipe)
        model = learn(state, ahead, seed=seed, data=data_hash(vintages, cut))
        made.insert(0, _by_model(model, state))
    except TooLittleHistory:
        pass  # the naive forecasts stand
    return _hub_rows(pl.concat(made), reference, late)


def score(made: pl.DataFrame, truth: pl.DataFrame, baseline: pl.DataFrame) -> dict[str, float]:
    """Mean scores of `made` over tasks it shares with `baseline`, states only, and relative to it.

    Both have the hubs' columns, `truth` has location, target_end_date and value.
    """
    keys = ["reference_date", "location", "horizon"]
    both = _scored(made, truth).join(_scored(baseline, truth), on=keys, suffix="_base")
    mean = both.select(pl.mean("wis", "wis_base", "log", "log_base", "in50", "in95")).row(0, named=True)
    return {
        "tasks": both.height, "wis": mean["wis"], "relative_wis": mean["wis"] / mean["wis_base"],
        "relative_log_wis": mean["log"] / mean["log_base"], "coverage_50": mean["in50"], "coverage_95": mean["in95"],
    }  # fmt: skip


def data_hash(vintages: Vintages, cut: date) -> str:
    """SHA-256 over all rows published by `cut`."""
    text = vintages.frame.filter(pl.col("as_of") <= cut).write_csv(float_precision=6)
    return hashlib.sha256(text.encode()).hexdigest()


def _renamed(frame: pl.DataFrame, names: Sequence[str]) -> pl.DataFrame:
    for name in names:
        if name not in frame.columns:
            raise Invalid(f"column {name!r} is missing; the file has {', '.join(frame.columns) or 'none'}.", field=name)
    rows = frame.select(*names).rename({"location": "series", "target_end_date": "day"})
    return rows.with_columns(pl.col("series").cast(pl.String)).drop_nulls("series")


def _by_model(model: FittedModel, state: State) -> pl.DataFrame:
    at = np.flatnonzero(state.ready()[:, -1])
    levels = model.recipe.levels
    pieces = []
    for h in model.horizons:
        values = model.quantiles(state, Tasks(at, np.full(len(at), state.last), np.full(len(at), h)))
        pieces.append(
            pl.DataFrame(
                {
                    "series": np.repeat([state.grid.names[i] for i in at], len(levels)),
                    "horizon": np.full(values.size, h, dtype=np.int64),
                    "level": np.tile(np.array(levels, dtype=np.int64), len(at)),
                    "value": values.ravel(),
                },
                schema={"series": pl.String, "horizon": pl.Int64, "level": pl.Int64, "value": pl.Float64},
            )
        )
    return pl.concat(pieces)


def _hub_rows(made: pl.DataFrame, reference: date, late: int) -> pl.DataFrame:
    """The first of several answers to a task, in the hubs' columns and order."""
    rows = made.unique(["series", "horizon", "level"], keep="first", maintain_order=True)
    step = pl.col("horizon") - 1 - late
    return (
        rows.select(
            reference_date=pl.lit(reference), location="series", horizon=step,
            target_end_date=pl.lit(reference) + pl.duration(days=7 * step), quantile=pl.col("level") / 1000,
            value="value",
        )
        .cast(SCHEMA)  # type: ignore[arg-type]
        .sort("location", "horizon", "quantile")
    )  # fmt: skip


def _scored(made: pl.DataFrame, truth: pl.DataFrame) -> pl.DataFrame:
    """One row a task that has all 23 quantiles, with its scores."""
    told = made.with_columns(
        pl.col("location").cast(pl.String), pl.col("horizon").cast(pl.Int64),
        level=(pl.col("quantile").cast(pl.Float64) * 1000).round().cast(pl.Int64),
    ).filter(pl.col("level").is_in(HUB_LEVELS) & (pl.col("location") != "US"))  # fmt: skip
    wide = told.sort("level").group_by("reference_date", "location", "horizon", "target_end_date").agg(
        pl.col("value").cast(pl.Float64)
    ).filter(pl.col("value").list.len() == len(HUB_LEVELS))  # fmt: skip
    came = truth.select(
        pl.col("location").cast(pl.String), "target_end_date", came=pl.col("value").cast(pl.Float64)
    ).drop_nulls()
    tasks = wide.join(came, on=["location", "target_end_date"]).sort("reference_date", "location", "horizon")
    values = np.array(tasks["value"].to_list(), dtype=float).reshape(-1, len(HUB_LEVELS))
    observed = tasks["came"].to_numpy()
    return tasks.select("reference_date", "location", "horizon").with_columns(
        wis=scores.wis(values, observed, HUB_LEVELS), log=scores.log_wis(values, observed, HUB_LEVELS),
        in50=scores.covered(values, observed, HUB_LEVELS, 500), in95=scores.covered(values, observed, HUB_LEVELS, 950),
    )  # fmt: skip
