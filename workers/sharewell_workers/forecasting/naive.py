"""Forecasts without a model: the last value, or the value one season ago, with bands from how wrong that has been.

They are the yardstick of every backtest and the fallback where the model cannot speak. Bands are learnt on square
roots, in volatilities of each series, over all series; the public forecast hubs' baseline is made the same way.
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import NormalDist
from typing import TYPE_CHECKING

import numpy as np

from sharewell_workers.forecasting import counts, features, rolling

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from sharewell_workers.forecasting.panel import Grid

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]

HALFLIFE = 14.0  #: steps, of a series' volatility
RESIDUAL_STEPS = 60  #: newest outcomes the bands are learnt from
FEW = 30  #: fewer misses than this say nothing; the bands are then those of a random walk of Poisson counts


@dataclass(frozen=True, slots=True)
class Naive:
    """A grid seen by the two naive methods."""

    grid: Grid
    season: int
    root: Floats  #: [S, T] square roots
    came: Floats  #: [S, T] square roots of what stands for outcomes; differs where values are suppressed
    held: Floats  #: [S, T] last known value, however old
    age: Floats  #: [S, T]
    scale: Floats  #: [S, T]

    @classmethod
    def of(cls, grid: Grid, season: int | None = None) -> Naive:
        """Prepare `grid`; `season` in steps."""
        root = np.sqrt(grid.value)
        held, age = rolling.carry(root, root.shape[1])
        move = np.where(np.isnan(root), np.nan, held - rolling.shift(held, 1))
        came = root if grid.lower is grid.value else np.sqrt(grid.outcome)
        return cls(grid, season or grid.season, root, came, held, age, features.volatility(move, 0.5, HALFLIFE))

    def point(self, method: str, horizon: int, column: int) -> Floats:
        """Square root of what `method` says at `column` for `horizon` steps ahead, by series; NaN where unknown."""
        if method == "persistence":
            return self.held[:, column]
        back = column + horizon - self.season * -(-horizon // self.season)
        return self.root[:, back] if back >= 0 else np.full(len(self.root), np.nan)

    def quantiles(self, method: str, horizon: int, levels: Sequence[int]) -> Floats:
        """Quantiles [S, L] of the values `horizon` steps after the last column; NaN where the method cannot speak."""
        last = self.root.shape[1] - 1
        stale = np.where(np.isnan(self.age[:, last]), 0.0, self.age[:, last]) if method == "persistence" else 0.0
        spread = self.scale[:, last] * np.sqrt(horizon + stale)
        middle = self.point(method, horizon, last)
        band = np.quantile(self._misses(method, horizon), np.array(levels) / 1000)
        values = np.maximum(middle[:, None] + spread[:, None] * band[None, :], 0.0) ** 2
        return counts.rounded(values, self.grid.whole)

    def better(self, horizon: int) -> str:
        """The method that has been less wrong over the newest outcomes; seasonal-naive on a tie."""
        last, seasonal = [
            np.abs(self._history(m, horizon)).mean() if self._history(m, horizon).size >= FEW else np.inf
            for m in ("persistence", "seasonal-naive")
        ]
        return "seasonal-naive" if seasonal <= last and np.isfinite(seasonal) else "persistence"

    def _misses(self, method: str, horizon: int) -> Floats:
        """Past misses over sqrt(horizon) volatilities, mirrored, so that the median is the point itself."""
        past = self._history(method, horizon)
        if past.size < FEW:
            return np.array([NormalDist().inv_cdf((k + 0.5) / 400) for k in range(400)])
        return np.concatenate([past, -past])

    def _history(self, method: str, horizon: int) -> Floats:
        width = self.root.shape[1]
        found = [np.zeros(0)]
        for outcome in range(max(horizon, width - RESIDUAL_STEPS), width):
            miss = self.came[:, outcome] - self.point(method, horizon, outcome - horizon)
            miss = miss / (self.scale[:, outcome - horizon] * np.sqrt(horizon))
            found.append(miss[self.grid.firm[:, outcome] & ~np.isnan(miss)])
        return np.concatenate(found)
