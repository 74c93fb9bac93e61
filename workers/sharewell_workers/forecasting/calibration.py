"""Conformal calibration: the shape of the bands is taken from how wrong the model has been, not from what it claims.

Trees give three quantiles: a middle and one on either side. Every outcome the model had not seen is measured in these
half-widths, and the quantiles of those measures, by horizon, say where any level lies: the conformal score of Romano,
Patterson & Candes (Conformalized Quantile Regression, NeurIPS 2019, arXiv:1905.03222) in its multiplicative form, for
all levels at once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]

TRAINED = (100, 500, 900)  #: levels of the three boosters, per mille
PRIOR_FACTOR = 1.2  #: quantile trees are too narrow; what is assumed before any outcome is seen
PRIOR_OUTCOMES = 100.0  #: how many outcomes that assumption is worth
MOST = 8.0  #: half-widths; beyond, an outcome says that something broke, not how wide bands should be
STILL = 0.1  #: volatilities; a narrower band is that of a series that does not move
LEAST_WIDTH = 0.02  #: of one volatility; a band without width cannot be stretched


def prior(levels: Sequence[int]) -> Floats:
    """Where each level lies if misses are logistic and the trees too narrow; in half-widths."""
    share = np.array(levels) / 1000
    outer = TRAINED[2] / 1000
    return np.asarray(PRIOR_FACTOR * np.log(share / (1 - share)) / np.log(outer / (1 - outer)))


def shape(
    trees: Floats,
    outcome: Floats,
    horizon: Ints,
    levels: Sequence[int],
    horizons: Sequence[int],
    weight: Floats | None = None,
) -> Floats:
    """Where each level lies, in half-widths from the middle, by horizon (rows) and level (columns).

    `trees` [N, 3] are predictions, `outcome` [N] what came, `weight` [N] how much each says. The shape of a horizon is
    drawn towards that of all horizons, and this towards `prior`, while outcomes are few. The median stays at 0.
    """
    ordered = np.sort(trees, axis=1)
    score = _score(ordered, outcome)
    w = np.ones(len(score)) if weight is None else weight
    # A series that never moves is told exactly; it says nothing of how far others stray.
    w = np.where(ordered[:, 2] - ordered[:, 0] < STILL, 0.0, w)
    pooled = _blend(score, w, prior(levels), levels)
    rows = [_blend(score[horizon == h], w[horizon == h], pooled, levels) for h in horizons]
    return np.maximum.accumulate(np.stack(rows), axis=1)


def unfold(trees: Floats, shape: Floats) -> Floats:
    """Quantiles [N, L] from predictions [N, 3] and each row's shape [N, L]; they rise along each row.

    Sorting the trees never worsens their pinball loss (Chernozhukov, Fernandez-Val & Galichon, Econometrica 78 (2010)
    1093-1125).
    """
    low, middle, high = np.sort(trees, axis=1).T[:, :, None]
    below, above = np.maximum(middle - low, LEAST_WIDTH), np.maximum(high - middle, LEAST_WIDTH)
    return np.asarray(middle + np.where(shape < 0, below, above) * shape)


def _score(trees: Floats, outcome: Floats) -> Floats:
    """How far from the middle each outcome fell, in half-widths of its side; negative below."""
    low, middle, high = trees.T
    below, above = np.maximum(middle - low, LEAST_WIDTH), np.maximum(high - middle, LEAST_WIDTH)
    miss = outcome - middle
    return np.asarray(np.clip(miss / np.where(miss < 0, below, above), -MOST, MOST))


def _blend(score: Floats, weight: Floats, guess: Floats, levels: Sequence[int]) -> Floats:
    """Quantiles of the scores about their median, weighed against a guess by how many there are."""
    if not weight.sum() > 0:
        return guess
    found = _quantiles(score, weight, np.array([500, *levels]) / 1000)
    effective = weight.sum() ** 2 / (weight**2).sum()
    return np.asarray((effective * (found[1:] - found[0]) + PRIOR_OUTCOMES * guess) / (effective + PRIOR_OUTCOMES))


def _quantiles(value: Floats, weight: Floats, at: Floats) -> Floats:
    """Weighted quantiles, linear between the middles of the steps."""
    order = np.argsort(value, kind="stable")
    total = np.cumsum(weight[order])
    return np.asarray(np.interp(at, (total - weight[order] / 2) / total[-1], value[order]))
