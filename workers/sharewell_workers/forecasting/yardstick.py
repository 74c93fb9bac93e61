"""The public forecast hubs' quantile baseline, by which everyone's models are measured, and its seasonal analogue.

The median is the last value; the spread is that of the series' own past one-step differences, mirrored, and summed
over the horizon by Monte Carlo, with the median put back on the last value and everything cut at zero. That is
`quantile_baseline` of the R package simplets (Reich Lab, University of Massachusetts), which makes COVIDhub-baseline
and FluSight-baseline: Cramer et al., PNAS 119(15) (2022) e2113561119, supplement. Draws here are few but stratified
and fixed, so that the same series gets the same answer every time.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from sharewell_workers.forecasting import rolling

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from sharewell_workers.forecasting.panel import Grid

    Floats = NDArray[np.float64]

DRAWS = 1000  #: sums a series; each uses every stratum of its differences once
SEED = 20211  #: of the order in which strata are summed; the same for all series


@dataclass(frozen=True, slots=True)
class Yardstick:
    """A grid seen by the hubs' baseline ("persistence") and by its seasonal analogue ("seasonal-naive")."""

    value: Floats  #: [S, T]
    held: Floats  #: [S, T] last known value, however old
    season: int  #: steps
    _strata: dict[int, Floats] = field(default_factory=dict, compare=False, repr=False)

    @classmethod
    def of(cls, grid: Grid, season: int | None = None) -> Yardstick:
        """Prepare `grid`; `season` in steps."""
        held, _ = rolling.carry(grid.value, grid.value.shape[1])
        return cls(grid.value, held, season or grid.season)

    def quantiles(self, method: str, horizon: int, levels: Sequence[int]) -> Floats:
        """Quantiles [S, L] of the values `horizon` steps after the last column; NaN where the method cannot speak.

        The seasonal analogue starts from the same place in the newest season that is known, and sums differences
        between seasons over as many seasons as it looks back.
        """
        laps = -(-horizon // self.season)
        back = self.value.shape[1] - 1 + horizon - laps * self.season
        if method == "persistence":
            return self._around(self.held[:, -1], 1, horizon, levels)
        if back < 0:
            return np.full((len(self.value), len(levels)), np.nan)
        return self._around(self.value[:, back], self.season, laps, levels)

    def _around(self, middle: Floats, lag: int, times: int, levels: Sequence[int]) -> Floats:
        """Quantiles around `middle` [S] of the sum of `times` differences over `lag` steps."""
        strata = self._differences(lag)
        random = np.random.Generator(np.random.PCG64(SEED))
        total = strata.copy()
        for _ in range(times - 1):
            total += strata[:, random.permutation(DRAWS)]
        found = np.quantile(total, np.array([500, *levels]) / 1000, axis=1).T
        return np.asarray(np.maximum(middle[:, None] + found[:, 1:] - found[:, :1], 0.0))

    def _differences(self, lag: int) -> Floats:
        """[S, DRAWS] evenly spaced quantiles of each series' differences over `lag` steps and their negatives."""
        if lag not in self._strata:
            moved = self.value - rolling.shift(self.value, lag)
            both = np.sort(np.concatenate([moved, -moved], axis=1), axis=1)  # NaN sorts last
            self._strata[lag] = _evenly(both, (~np.isnan(both)).sum(axis=1))
        return self._strata[lag]


def _evenly(ordered: Floats, count: NDArray[np.int_]) -> Floats:
    """Quantiles of the first `count` values of each ordered row, linear between them; NaN for an empty row."""
    place = np.linspace(0.0, 1.0, DRAWS)[None, :] * np.maximum(count - 1, 0)[:, None]
    below = np.floor(place).astype(np.int64)
    above = np.minimum(below + 1, np.maximum(count - 1, 0)[:, None])
    low, high = np.take_along_axis(ordered, below, axis=1), np.take_along_axis(ordered, above, axis=1)
    return np.asarray(low + (place - below) * (high - low))
