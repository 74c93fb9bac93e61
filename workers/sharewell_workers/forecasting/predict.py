"""Forecasts for every series: from the model where it can speak, from a naive method, marked as such, where not."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from sharewell.domain.errors import Invalid
from sharewell.domain.forecast import GROUP, LEVELS, NAIVE
from sharewell_workers.forecasting import borrow, features, misses, rolling
from sharewell_workers.forecasting.engine import HERE
from sharewell_workers.forecasting.features import Tasks
from sharewell_workers.forecasting.naive import Naive
from sharewell_workers.forecasting.sums import add_up

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import date

    from numpy.typing import NDArray

    from sharewell_workers.forecasting.engine import Engine
    from sharewell_workers.forecasting.features import State
    from sharewell_workers.forecasting.model import FittedModel
    from sharewell_workers.forecasting.panel import Grid, Panel
    from sharewell_workers.forecasting.sums import Misses

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]

SCHEMA = {
    "series": pl.String, "target": pl.Date, "horizon": pl.Int64, "level": pl.Int64, "value": pl.Float64,
    "method": pl.String, "fallback": pl.String,
}  # fmt: skip
NO_MODEL = "no trained model is in force"


def predict(
    model: FittedModel | None,
    panel: Panel,
    origin: date,
    horizons: Sequence[int],
    *,
    levels: Sequence[int] | None = None,
    method: str | None = None,
    reason: str = NO_MODEL,
    sums: bool = False,
    engine: Engine = HERE,
) -> pl.DataFrame:
    """Quantiles of every series for `horizons` steps after `origin`, from what was known at `origin`.

    Columns: series, target, horizon, level (per mille), value, method ("model", "seasonal-naive", "persistence",
    "group"), fallback (why not the model; null for it). `model` None means naive forecasts throughout, for `reason`:
    by the naive `method` where it can speak, by default whichever has lately been less wrong.
    With `sums`, rows of the series `region:NAME` for every group and `all` follow, made by the method "sum".
    A model may be older than `origin`: it is applied to the newest values. Series of a group in which nobody ever
    reported get no rows. Raises `Invalid` if the model was made for another step, other horizons or levels.
    """
    ahead = sorted(set(horizons))
    wanted = tuple(levels) if levels is not None else (model.recipe.levels if model else LEVELS)
    _check(model, panel, ahead, wanted)
    grid = panel.until(origin).grid(origin, steps=model.recipe.history if model else None)
    answers = _Answers.blank(grid, ahead, wanted)
    why = _why_not(model, grid, reason)
    state = features.observe(grid, model.recipe, model.season) if model is not None else None
    if model is not None and state is not None:
        _by_model(answers, model, state, np.array([not w for w in why], dtype=bool), engine)
    _by_naive(answers, model.season if model else None, method)
    made = answers.frame(why)
    if not sums or made.is_empty():
        return made
    return pl.concat([made, _sums(answers, model, panel, method)])


@dataclass(frozen=True, slots=True)
class _Answers:
    """A table to be filled in: who answers for a series and horizon, and what."""

    grid: Grid
    horizons: list[int]
    levels: tuple[int, ...]
    values: Floats  #: [S, H, L], NaN while unanswered
    method: NDArray[np.object_]  #: [S, H]

    @classmethod
    def blank(cls, grid: Grid, horizons: list[int], levels: tuple[int, ...]) -> _Answers:
        shape = (len(grid.names), len(horizons))
        return cls(grid, horizons, levels, np.full((*shape, len(levels)), np.nan), np.full(shape, "", dtype=object))

    def fill(self, place: int, method: str, found: Floats) -> None:
        """Let `method` answer with `found` [S, L] whatever is still open at one horizon and it can speak for."""
        able = np.isnan(self.values[:, place, 0]) & ~np.isnan(found[:, 0])
        self.values[able, place] = found[able]
        self.method[able, place] = method

    def add_up(self, missed: Misses) -> pl.DataFrame:
        """Rows of the sums."""
        return add_up(self.values, self.method, self.grid, self.horizons, self.levels, missed)

    def frame(self, why: list[str]) -> pl.DataFrame:
        """The answered rows, long."""
        series, ahead, level = np.indices(self.values.shape).reshape(3, -1)
        last = self.grid.value.shape[1] - 1
        targets = pl.Series([self.grid.day(last + h) for h in self.horizons], dtype=pl.Date)
        columns = {
            "series": pl.Series(self.grid.names, dtype=pl.String).gather(series),
            "target": targets.gather(ahead),
            "horizon": np.array(self.horizons, dtype=np.int64)[ahead],
            "level": np.array(self.levels, dtype=np.int64)[level],
            "value": self.values.ravel(),
            "method": pl.Series(self.method[series, ahead].tolist(), dtype=pl.String),
            "fallback": pl.Series([w or None for w in why], dtype=pl.String).gather(series),
        }
        return pl.DataFrame(columns, schema=SCHEMA).filter(pl.col("value").is_not_nan())


def _check(model: FittedModel | None, panel: Panel, horizons: list[int], levels: tuple[int, ...]) -> None:
    if not horizons or horizons[0] < 1:
        raise Invalid("horizons must be whole steps of 1 or more.", field="horizons")
    if model is None:
        return
    if model.step != panel.step:
        raise Invalid(f"the model steps {model.step} days, the panel {panel.step}.", field="step")
    if not set(horizons) <= set(model.horizons):
        raise Invalid(f"the model looks {model.horizons} steps ahead, not {tuple(horizons)}.", field="horizons")
    if levels != model.recipe.levels:
        raise Invalid(f"the model has levels {model.recipe.levels}, not {levels}.", field="levels")


def _why_not(model: FittedModel | None, grid: Grid, reason: str) -> list[str]:
    """For each series, why the model does not speak for it; empty where it does."""
    count = (~np.isnan(grid.value)).sum(axis=1)
    _, age = rolling.carry(grid.value, grid.value.shape[1])
    least, carry = (model.recipe.min_observed, model.recipe.carry) if model else (0, 0)
    last = grid.value.shape[1] - 1
    texts = []
    for known, old in zip(count, age[:, -1], strict=True):
        if known == 0:
            texts.append("no value has ever been reported; taken from its group")
        elif model is None:
            texts.append(reason)
        elif old > carry:
            texts.append(f"no value since {grid.day(last - int(old))}")
        elif known < least:
            texts.append(f"history is too short: {known} of {least} values")
        else:
            texts.append("")
    return texts


def _by_model(answers: _Answers, model: FittedModel, state: State, able: NDArray[np.bool_], engine: Engine) -> None:
    at = np.flatnonzero(able)
    if not len(at):
        return
    ahead = np.array(answers.horizons, dtype=np.int64)
    tasks = Tasks(np.tile(at, len(ahead)), np.full(len(at) * len(ahead), state.last), np.repeat(ahead, len(at)))
    found = model.quantiles(state, tasks, engine).reshape(len(ahead), len(at), -1)
    answers.values[at] = found.transpose(1, 0, 2)
    answers.method[at] = "model"


def _by_naive(answers: _Answers, season: int | None, method: str | None) -> None:
    """Fill what is still open: short series by their group, others by the better naive method or by persistence."""
    if method is not None and method not in NAIVE:
        raise Invalid(f"method is {method!r}; it must be one of {', '.join(NAIVE)}.", field="method")
    if not np.isnan(answers.values).any():
        return
    grid, levels = answers.grid, answers.levels
    naive = Naive.of(grid, season)
    short = (~np.isnan(grid.value)).sum(axis=1) < (1 if method else borrow.SHORT)
    borrowers = borrow.Borrowers.of(grid, short)
    for place, h in enumerate(answers.horizons):
        answers.fill(place, GROUP, borrowers.quantiles(h, levels))
        for name in (method or naive.better(h), "persistence"):
            answers.fill(place, name, naive.quantiles(name, h, levels))
        answers.fill(place, GROUP, borrow.newest(grid, levels))


def _sums(answers: _Answers, model: FittedModel | None, panel: Panel, method: str | None) -> pl.DataFrame:
    """Sums of what was answered; series are tied as the model's past misses were, or else the naive method's."""
    if model is not None and (answers.method == "model").any():
        return answers.add_up(misses.unseen(model, panel, answers.grid))
    naive = Naive.of(answers.grid)
    return answers.add_up(lambda at, h: misses.of_naive(naive, method or naive.better(h), at, h))
