"""Past misses, each measured by how wide its forecast was: what tells how series err together.

A model's are from days it was trained on as well. That makes them small, all alike, and sizes do not count here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from sharewell_workers.forecasting import features, naive
from sharewell_workers.forecasting.features import Tasks

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from sharewell_workers.forecasting.features import State
    from sharewell_workers.forecasting.model import FittedModel

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]

RECENT = 60  #: newest outcomes that are looked at
LEAST_WIDTH = 0.1  #: volatilities


def of_model(model: FittedModel, state: State, at: Ints, horizon: int) -> Floats:
    """Misses [N, <= RECENT] of the series `at` [N] for outcomes of the newest steps; NaN where there is none."""
    outcomes = np.arange(max(horizon, state.last + 1 - RECENT), state.last + 1)
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
