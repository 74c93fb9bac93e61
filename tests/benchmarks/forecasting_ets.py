"""AutoETS of statsforecast, one series at a time, as the statistician's answer to the same tasks.

Needs the extra `bench`. Only some series are asked: a choice of model for each takes up to seconds.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from sharewell.domain.forecast import LEVELS
from sharewell_workers.forecasting import rolling
from sharewell_workers.forecasting.panel import Grid

Floats = NDArray[np.float64]

NEWEST = 200  #: steps it learns from
FARTHEST = 14  #: steps ahead that are asked for at once


def ets(grid: Grid, rows: NDArray[np.int64], horizon: int, most: int) -> Floats:
    """Quantiles [N, L] of `rows` of `grid`, `horizon` steps ahead; NaN for all but every so-manieth series."""
    every = max(1, len(grid.names) // most)
    result = np.full((len(rows), len(LEVELS)), np.nan)
    for place in np.flatnonzero(rows % every == 0).tolist():
        held, _ = rolling.carry(grid.value[rows[place] : rows[place] + 1, -NEWEST:], NEWEST)
        past = held[0, ~np.isnan(held[0])]
        if len(past) >= 3 * 7:
            result[place] = _ahead(grid.step, tuple(past.tolist()))[horizon - 1]
    found: Floats = np.maximum(result, 0.0)
    return found


@lru_cache(maxsize=100_000)  # one fit answers all horizons
def _ahead(step: int, past: tuple[float, ...]) -> Floats:
    """Quantiles [H, L] after `past`: weekly seasons in daily series, none in weekly ones, which are too short."""
    from statsforecast.models import AutoETS  # noqa: PLC0415  an extra

    model = AutoETS(season_length=7, model="ZZZ") if step == 1 else AutoETS(season_length=1, model="ZZN")
    made: dict[str, Floats] = model.forecast(y=np.array(past), h=FARTHEST, level=[50, 80, 95])
    bounds = {250: "lo-50", 750: "hi-50", 100: "lo-80", 900: "hi-80", 25: "lo-95", 975: "hi-95", 500: "mean"}
    return np.stack([made[bounds[level]] for level in LEVELS], axis=1)
