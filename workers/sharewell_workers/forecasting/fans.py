"""Fans: one series' past, what was forecast from some days of it, and what came. Which series are worth a look."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from sharewell.domain.errors import Invalid
from sharewell_workers.forecasting import scores

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from sharewell_workers.forecasting.backtest import BacktestReport
    from sharewell_workers.forecasting.panel import Panel

    Floats = NDArray[np.float64]

PAST = {1: 28, 7: 20}  #: steps of history before the first forecast, by step
LEAST = 1.0  #: units; a series that is smaller on average shows little, and is not chosen while there are others
SPREADS = 6  #: forecasts in one fan at most; they do not overlap


@dataclass(frozen=True, slots=True)
class Spread:
    """Forecasts of one series from one day."""

    origin: date
    targets: tuple[date, ...]
    levels: tuple[int, ...]  #: per mille
    values: Floats  #: [H, L]


@dataclass(frozen=True, slots=True)
class Fan:
    """One series with its forecasts; `days` and `values` hold what was reported, the days forecast included."""

    series: str
    why: str  #: why it is shown; empty where it was asked for
    days: tuple[date, ...]
    values: tuple[float, ...]
    spreads: tuple[Spread, ...]  #: oldest first


def told(report: BacktestReport, panel: Panel, names: Sequence[str]) -> pl.DataFrame:
    """What the model said of the series `names` in a backtest that kept its tasks, in the columns of `predict`."""
    every = panel.quality["series"].to_list()
    wanted = {every.index(name): name for name in names}
    rows = []
    for task in report.answered:
        target = task.origin + timedelta(days=panel.step * task.horizon)
        for place, series in enumerate(task.series.tolist()):
            if series in wanted:
                values = zip(report.levels, task.values["model"][place].tolist(), strict=True)
                rows += [(wanted[series], target, task.horizon, level, value) for level, value in values]
    schema = {"series": pl.String, "target": pl.Date, "horizon": pl.Int64, "level": pl.Int64, "value": pl.Float64}
    return pl.DataFrame(rows, schema=schema, orient="row")


def fans(made: pl.DataFrame, panel: Panel, names: dict[str, str]) -> list[Fan]:
    """Fans of the series in `names`, each with why it is shown, from forecasts in the columns of `predict`."""
    step = pl.duration(days=panel.step) * pl.col("horizon")
    rows = made.with_columns(origin=pl.col("target") - step).sort("origin", "target", "level")
    return [_fan(name, why, rows.filter(pl.col("series") == name), panel) for name, why in names.items()]


def check(names: Sequence[str], panel: Panel) -> None:
    """Raise `Invalid` for a name that is no series of the panel."""
    every = panel.quality["series"].to_list()
    for name in names:
        if name not in every:
            some = ", ".join(every[:3])
            raise Invalid(f"there is no series {name!r}; there are {len(every)}, such as {some}.", field="series")


def choose(report: BacktestReport, panel: Panel, count: int) -> dict[str, str]:
    """At most `count` series and why: the largest, the usual, and those the model was most wrong about, in turn.

    Wrong is the mean weighted interval score over the mean of what came, and one unit, so that neither large nor
    small series win for their size alone.
    """
    every = panel.quality["series"].to_list()
    number = np.concatenate([task.series for task in report.answered] or [np.zeros(0, dtype=np.int64)])
    if not len(number):
        return dict.fromkeys(every[:count], "")
    seen = np.concatenate([task.observed for task in report.answered])
    lost = np.concatenate([scores.wis(t.values["model"], t.observed, report.levels) for t in report.answered])
    tasks = np.maximum(np.bincount(number, minlength=len(every)), 1)
    level = np.bincount(number, seen, minlength=len(every)) / tasks
    wrong = np.bincount(number, lost, minlength=len(every)) / tasks / (level + 1)
    known = np.unique(number)
    known = known[level[known] >= LEAST] if (level[known] >= LEAST).any() else known
    usual = np.abs(wrong - np.median(wrong[known]))
    orders = {
        "among the largest": known[np.argsort(-level[known], kind="stable")],
        "forecast as well as most": known[np.argsort(usual[known], kind="stable")],
        "forecast worst": known[np.argsort(-wrong[known], kind="stable")],
    }
    chosen: dict[str, str] = {}
    for turn in range(min(count, len(known))):
        why, order = list(orders.items())[turn % len(orders)]
        chosen[next(every[row] for row in order if every[row] not in chosen)] = why
    return dict(sorted(chosen.items(), key=lambda item: list(orders).index(item[1])))


def _fan(name: str, why: str, rows: pl.DataFrame, panel: Panel) -> Fan:
    spreads = _apart([_spread(part) for part in rows.partition_by("origin", maintain_order=True)])
    values = panel.frame.filter((pl.col("series") == name) & pl.col("value").is_not_null())
    if spreads:
        first = spreads[0].origin - timedelta(days=PAST[panel.step] * panel.step)
        values = values.filter(pl.col("day").is_between(first, spreads[-1].targets[-1]))
    return Fan(name, why, tuple(values["day"]), tuple(values["value"]), tuple(spreads))


def _spread(rows: pl.DataFrame) -> Spread:
    targets, levels = rows["target"].unique(maintain_order=True), rows["level"].unique().sort()
    values = rows["value"].to_numpy().reshape(len(targets), len(levels))
    return Spread(rows["origin"][0], tuple(targets), tuple(levels), values)


def _apart(spreads: list[Spread]) -> list[Spread]:
    """The newest and, going back, those that end before the next begins."""
    kept: list[Spread] = []
    for spread in reversed(spreads):
        if len(kept) < SPREADS and (not kept or spread.targets[-1] <= kept[-1].origin):
            kept.append(spread)
    return kept[::-1]
