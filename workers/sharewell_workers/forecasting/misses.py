"""Past misses, each measured by how wide its forecast was: what tells how series err together.

On days it was trained on, a model has seen what they had in common, and its misses hide it. So they are those of a
lighter model of the same kind that has not seen the newest third.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from sharewell_workers.forecasting import features, naive
from sharewell_workers.forecasting.features import Tasks
from sharewell_workers.forecasting.model import TooLittleHistory, fit

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from sharewell_workers.forecasting.features import State
    from sharewell_workers.forecasting.model import FittedModel
    from sharewell_workers.forecasting.panel import Grid, Panel

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]

RECENT = 60  #: newest outcomes that are looked at
LEAST_WIDTH = 0.1  #: volatilities
LIGHTER_ROWS = 10_000  #: that the lighter model is trained on at most


def unseen(model: FittedModel, panel: Panel, grid: Grid) -> Callable[[Ints, int], Floats]:
    """A source of misses (see `of_model`) for `grid`, the newest steps of `panel`, on days that were not trained on.

    Where history is too short to leave some out, they are those of `model` itself.
    """
    held = min(RECENT, grid.value.shape[1] // 3)
    rows = min(model.recipe.max_rows, LIGHTER_ROWS)
    lighter = replace(model.recipe, seeds=1, max_rows=rows, calibration_steps=0)
    try:
        until = grid.day(grid.value.shape[1] - 1 - held)
        past = fit(panel, model.horizons, seed=model.seed, recipe=lighter, origin=until)
    except TooLittleHistory:
        past, held = model, RECENT
    state = features.observe(grid, past.recipe, past.season)
    return lambda at, horizon: of_model(past, state, at, horizon, held)


def of_model(model: FittedModel, state: State, at: Ints, horizon: int, newest: int = RECENT) -> Floats:
    """Misses [N, <= newest] of the series `at` [N] for outcomes of the newest steps; NaN where there is none."""
    outcomes = np.arange(max(horizon, state.last + 1 - newest), state.last + 1)
    able = state.grid.firm[np.ix_(at, outcomes)] & state.ready()[np.ix_(at, outcomes - horizon)]
    row, column = np.nonzero(able)
    result = np.full(able.shape, np.nan)
    if len(row):
        tasks = Tasks(at[row], outcomes[column] - horizon, np.full(len(row), horizon))
        rows, _ = features.rows(state, tasks)
        said, trained = np.sort(model.raw(rows), axis=1), model.recipe.trained
        low, middle, high = said[:, 0], said[:, trained.index(500)], said[:, -1]
        came = state.power[tasks.series, outcomes[column]] - state.base[tasks.series, tasks.column]
        result[row, column] = (came / state.spread(tasks) - middle) / np.maximum((high - low) / 2, LEAST_WIDTH)
    return result


def of_naive(told: naive.Naive, method: str, at: Ints, horizon: int) -> Floats:
    """The same of a naive method."""
    last = told.root.shape[1] - 1
    outcomes = range(max(horizon, last + 1 - RECENT), last + 1)
    found = [
        (told.came[:, t] - told.point(method, horizon, t - horizon)) / told.scale[:, t - horizon] for t in outcomes
    ]
    misses = np.stack(found, axis=1)[at] if found else np.zeros((len(at), 0))
    return np.where(told.grid.firm[np.ix_(at, np.array(outcomes, dtype=np.int64))], misses, np.nan)
