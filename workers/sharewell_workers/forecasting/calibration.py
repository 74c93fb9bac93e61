"""Conformal calibration: the shape of the bands is taken from how wrong the model has been, not from what it claims.

Trees give quantiles at a few levels: a ladder whose rungs have fixed heights, the middle one 0 and the outer ones -1
and 1. Every outcome the model had not seen is measured by how high it stands on its own ladder, and the quantiles of
these heights, by volume and horizon, say where any level lies: the conformal score of Romano, Patterson & Candes
(Conformalized Quantile Regression, NeurIPS 2019, arXiv:1905.03222) in its multiplicative form, for all levels at once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]

TRAINED = (100, 500, 900)  #: levels of the boosters unless a recipe names others, per mille
PRIOR_FACTOR = 1.2  #: quantile trees are too narrow; what is assumed before any outcome is seen
PRIOR_OUTCOMES = 100.0  #: how many outcomes that assumption is worth
MOST = 8.0  #: heights; beyond, an outcome says that something broke, not how wide bands should be
STILL = 0.1  #: volatilities; a narrower ladder is that of a series that does not move
LEAST_WIDTH = 0.02  #: of one volatility, from middle to outer rung; a band without width cannot be stretched


def heights(trained: Sequence[int]) -> Floats:
    """How high the rungs at levels `trained` lie, spaced as logistic quantiles; the median among them lies at 0."""
    share = np.array(trained) / 1000
    rung = np.log(share / (1 - share))
    return np.asarray(rung / np.abs(rung).max())


def prior(levels: Sequence[int], trained: Sequence[int] = TRAINED) -> Floats:
    """Where each level lies if misses are logistic and the trees too narrow; in heights."""
    share, outer = np.array(levels) / 1000, np.array(trained) / 1000
    return np.asarray(PRIOR_FACTOR * np.log(share / (1 - share)) / np.abs(np.log(outer / (1 - outer))).max())


def shape(
    trees: Floats,
    outcome: Floats,
    horizon: Ints,
    levels: Sequence[int],
    horizons: Sequence[int],
    weight: Floats | None = None,
    *,
    trained: Sequence[int] = TRAINED,
    guess: Floats | None = None,
    still: bool = False,
    doubt: float = 0.0,
) -> Floats:
    """Where each level lies, in heights from the middle, by horizon (rows) and level (columns).

    `trees` [N, K] are predictions at the levels `trained`, `outcome` [N] what came, `weight` [N] how much each says.
    The shape of a horizon is drawn towards that of all horizons, and this towards `guess` [L], by default `prior`,
    while outcomes are few. The median stays at 0. A series that never moves is told exactly and says nothing of how far
    others stray: unless `still`, ladders narrower than `STILL` do not count. `doubt` is the share that is not believed
    of how the two sides differ, and of how one horizon differs from all.
    """
    score = _climb(trees, outcome, heights(trained))
    w = np.ones(len(score)) if weight is None else weight
    if not still:
        w = np.where(np.ptp(trees, axis=1) < STILL, 0.0, w)
    overlap = float(horizon.mean()) if len(horizon) else 1.0
    pooled = _blend(score, w, prior(levels, trained) if guess is None else guess, levels, overlap, doubt)
    rows = [_blend(score[horizon == h], w[horizon == h], pooled, levels, max(h, 1), doubt) for h in horizons]
    return np.maximum.accumulate((1 - doubt) * np.stack(rows) + doubt * pooled, axis=1)


def unfold(trees: Floats, shape: Floats, trained: Sequence[int] = TRAINED) -> Floats:
    """Quantiles [N, L] from predictions [N, K] and each row's shape [N, L]; they rise along each row."""
    rungs, at = _ladder(trees, heights(trained))
    return _through(shape, np.broadcast_to(at, rungs.shape), rungs, int(np.flatnonzero(at == 0.0)[0]))


def _ladder(trees: Floats, at: Floats) -> tuple[Floats, Floats]:
    """Rungs in order and not too narrow, and their heights.

    Sorting the trees never worsens their pinball loss (Chernozhukov, Fernandez-Val & Galichon, Econometrica 78 (2010)
    1093-1125).
    """
    ordered, middle = np.sort(trees, axis=1), int(np.flatnonzero(at == 0.0)[0])
    rise = np.maximum(np.diff(ordered, axis=1), LEAST_WIDTH * np.diff(at))
    above, below = np.cumsum(rise[:, middle:], axis=1), np.cumsum(rise[:, :middle][:, ::-1], axis=1)[:, ::-1]
    centre = ordered[:, middle : middle + 1]
    return np.concatenate([centre - below, centre, centre + above], axis=1), at


def _climb(trees: Floats, outcome: Floats, at: Floats) -> Floats:
    """How high each outcome stands on its ladder."""
    rungs, at = _ladder(trees, at)
    middle = int(np.flatnonzero(at == 0.0)[0])
    score = _through(outcome[:, None], rungs, np.broadcast_to(at, rungs.shape), middle)
    return np.asarray(np.clip(score[:, 0], -MOST, MOST))


def _through(x: Floats, start: Floats, end: Floats, middle: int) -> Floats:
    """Where the lines through the knots (`start`, `end`) [N, K] take `x` [N, M].

    Beyond the outer knots it goes on as from the middle to them: the last piece alone would be too noisy.
    """
    result = np.repeat(end[:, middle : middle + 1], x.shape[1], axis=1)
    for k in range(start.shape[1] - 1):
        low, high = start[:, k : k + 1], start[:, k + 1 : k + 2]
        slope = (end[:, k + 1 : k + 2] - end[:, k : k + 1]) / (high - low)
        result += slope * (np.clip(x, low, high) - (low if k >= middle else high))
    for outer, side in ((0, np.minimum), (-1, np.maximum)):
        slope = (end[:, outer] - end[:, middle]) / (start[:, outer] - start[:, middle])
        result += slope[:, None] * side(x - start[:, outer][:, None], 0.0)
    return np.asarray(result)


def _blend(score: Floats, weight: Floats, guess: Floats, levels: Sequence[int], overlap: float, doubt: float) -> Floats:
    """Quantiles of the scores about their median, weighed against a guess by how many there are.

    Outcomes `overlap` steps ahead share all but one of these steps with the next day's, so that only one in `overlap`
    is news. Levels are moved outwards by one outcome, as conformal intervals must be to hold their share. Scores
    mirrored about their median count for half of what is doubted of the sides.
    """
    if not weight.sum() > 0:
        return guess
    effective = weight.sum() ** 2 / (weight**2).sum() / overlap
    wanted = np.array([500, *levels]) / 1000
    outwards = np.clip(0.5 + (wanted - 0.5) * (1 + 1 / effective), 0.0, 1.0)
    found = _quantiles(score, weight, outwards)
    away = found[1:] - found[0]
    if doubt:
        mirrored = found[0] - _quantiles(score, weight, 1 - outwards[1:])
        away = (1 - doubt / 2) * away + doubt / 2 * mirrored
    return np.asarray((effective * away + PRIOR_OUTCOMES * guess) / (effective + PRIOR_OUTCOMES))


def _quantiles(value: Floats, weight: Floats, at: Floats) -> Floats:
    """Weighted quantiles, linear between the middles of the steps."""
    order = np.argsort(value, kind="stable")
    total = np.cumsum(weight[order])
    return np.asarray(np.interp(at, (total - weight[order] / 2) / total[-1], value[order]))
