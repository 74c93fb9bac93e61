"""Conformal calibration: how much wider (or narrower) the bands must be to have held the newest outcomes.

Each central band is stretched about its median by the factor that would have covered its share of outcomes the model
had not seen: the conformal score of Romano, Patterson & Candes (Conformalized Quantile Regression, NeurIPS 2019,
arXiv:1905.03222) in its multiplicative form, by horizon.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]

PRIOR_FACTOR = 1.1  #: raw quantile trees are too narrow; what is assumed before any outcome is seen
PRIOR_OUTCOMES = 50.0  #: how many outcomes that assumption is worth
LEAST, MOST = 0.8, 3.0
LEAST_WIDTH = 1e-3  #: of one volatility; a band without width cannot be stretched


def factors(
    quantiles: Floats, outcome: Floats, horizon: Ints, levels: Sequence[int], horizons: Sequence[int]
) -> Floats:
    """Stretch by horizon (rows) and level (columns), from predictions [N, L] and what came [N].

    Factors of a horizon are drawn towards those of all horizons, and these towards `PRIOR_FACTOR`, while outcomes
    are few. The median's factor is 1.
    """
    result = np.full((len(horizons), len(levels)), PRIOR_FACTOR)
    median = list(levels).index(500)
    for low, high in _bands(levels):
        share = (levels[high] - levels[low]) / 1000
        score = _score(quantiles[:, [low, median, high]], outcome)
        pooled = _blend(score, share, PRIOR_FACTOR)
        for row, h in enumerate(horizons):
            result[row, [low, high]] = _blend(score[horizon == h], share, pooled)
    result[:, median] = 1.0
    return np.asarray(np.clip(result, LEAST, MOST))


def stretch(quantiles: Floats, factor: Floats, levels: Sequence[int]) -> Floats:
    """Move predictions [N, L] away from their median by `factor` [N, L] and put them in rising order.

    Sorting never worsens the pinball loss (Chernozhukov, Fernandez-Val & Galichon, Econometrica 78 (2010) 1093-1125).
    """
    ordered = np.sort(quantiles, axis=1)
    median = ordered[:, [list(levels).index(500)]]
    return np.asarray(np.sort(median + (ordered - median) * factor, axis=1))


def _bands(levels: Sequence[int]) -> list[tuple[int, int]]:
    """Index pairs of levels that mirror each other about the median."""
    place = {level: i for i, level in enumerate(levels)}
    return [(i, place[1000 - level]) for level, i in place.items() if level < 500 and 1000 - level in place]


def _score(band: Floats, outcome: Floats) -> Floats:
    """How far out of the median each outcome fell, in half-widths of the band on its side."""
    low, median, high = np.sort(band, axis=1).T
    below, above = np.maximum(median - low, LEAST_WIDTH), np.maximum(high - median, LEAST_WIDTH)
    return np.asarray(np.where(outcome < median, (median - outcome) / below, (outcome - median) / above))


def _blend(score: Floats, share: float, prior: float) -> float:
    """The factor that covers `share` of the scores, weighed against a prior guess."""
    n = len(score)
    if n == 0:
        return prior
    # The finite-sample level of split conformal prediction: ceil((n + 1) * share) of n.
    own = float(np.quantile(score, min(1.0, share * (1 + 1 / n)), method="higher"))
    return (n * min(own, MOST) + PRIOR_OUTCOMES * prior) / (n + PRIOR_OUTCOMES)
