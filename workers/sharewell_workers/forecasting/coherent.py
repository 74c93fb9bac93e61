"""Sums that fit together: what regions and everybody will need, from forecasts of each and how they err together.

Every series' quantiles are cut into equally likely values, and these are put into an order that series share as far as
they shared past misses: the Schaake shuffle (Clark et al., J. Hydrometeorol. 5(1) (2004) 243-262), bottom-up as in
Ben Taieb, Taylor & Hyndman (J. Am. Stat. Assoc. 116 (2021) 27-43). The order is drawn from two shared factors, one of
everybody and one of each region, since there are more series than past days to learn every pair from. Members of a
region add up to it, and regions to the whole, in every scenario; so do their means.
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import NormalDist
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]

SCENARIOS = 400
LEAST_DATES = 8  #: fewer past misses of a series than this say nothing of its ties
CAUTION = 0.84  #: standard errors of a variance that are added; four times in five the truth is below
UNKNOWN = (0.3, 0.1)  #: correlations that are assumed where nothing can be learnt


@dataclass(frozen=True, slots=True)
class Ties:
    """How misses go together: correlation of two series of one group, and of two groups."""

    within: float
    between: float


def ties(miss: Floats, spread: Floats, group: Ints, horizon: int = 1) -> Ties:
    """Learn from past misses [S, T] of a horizon, NaN where unknown, of series with forecasts as wide as `spread` [S].

    The correlations are those that make the misses of sums, weighted as now, as large as they were, and larger by what
    so few days may have hidden: misses `horizon` steps ahead overlap, and of T of them T / horizon tell something new.
    """
    known = ~np.isnan(miss)
    usable = (known.sum(axis=1) >= LEAST_DATES) & (spread > 0)
    if usable.sum() < 2:
        return Ties(*UNKNOWN)
    w, z, known, group = spread[usable], miss[usable], known[usable], group[usable]
    size = np.sqrt(np.nansum(z**2, axis=1) / known.sum(axis=1))
    z = np.where(known, z / np.maximum(size, 1e-9)[:, None], 0.0) * w[:, None]
    w_here = known * w[:, None]
    place = np.unique(group, return_inverse=True)[1]
    told, most = _by_group(z, place), _by_group(w_here, place)
    alone = (w_here**2).sum()
    caution = 1 + CAUTION * np.sqrt(2 * horizon / max(1, int(known.any(axis=0).sum())))
    within = _share(caution * ((told**2).sum() - alone), (most**2).sum() - alone, UNKNOWN[0])
    across, at_most = ((part.sum(axis=0) ** 2 - (part**2).sum(axis=0)).sum() for part in (told, most))
    between = _share(caution * across, at_most, 0.0)
    return Ties(max(within, between), min(within, between) if len(most) > 1 else within)


def scenarios(quantiles: Floats, levels: Sequence[int], group: Ints, tied: Ties, *, seed: int = 0) -> Floats:
    """Equally likely values [S, SCENARIOS] of each series from quantiles [S, L], ordered together as `tied` says."""
    random = np.random.Generator(np.random.PCG64(seed))
    groups = int(group.max()) + 1 if len(group) else 0
    spaced = np.array([NormalDist().inv_cdf((k + 0.5) / SCENARIOS) for k in range(SCENARIOS)])
    everyone = random.permutation(spaced)
    ours = np.stack([random.permutation(spaced) for _ in range(groups)]) if groups else np.zeros((0, SCENARIOS))
    own = random.standard_normal((len(group), SCENARIOS), dtype=np.float32)
    shared = np.sqrt(tied.between) * everyone + np.sqrt(tied.within - tied.between) * ours
    order = np.argsort(shared.astype(np.float32)[group] + np.float32(np.sqrt(1 - tied.within)) * own, axis=1)
    values = np.maximum(quantiles @ _cut(levels), 0.0)
    made = np.empty_like(values)
    np.put_along_axis(made, order, values, axis=1)
    return made


def total(made: Floats, group: Ints) -> Floats:
    """Scenarios [G + 1, SCENARIOS] of every group in order, then of all."""
    regions = _by_group(made, group)
    return np.vstack([regions, regions.sum(axis=0)])


def quantiles(made: Floats, levels: Sequence[int]) -> Floats:
    """Quantiles [N, L] of scenarios [N, SCENARIOS]; of the scenarios of one series, its own."""
    return np.asarray(np.quantile(made, np.array(levels) / 1000, axis=1, method="hazen").T)


def _by_group(value: Floats, group: Ints) -> Floats:
    order = np.argsort(group, kind="stable")
    first = np.flatnonzero(np.diff(group[order], prepend=-1))
    return np.asarray(np.add.reduceat(value[order], first, axis=0))


def _share(above: float, below: float, otherwise: float) -> float:
    """A correlation from sums of products; negative ones count as none."""
    return float(np.clip(above / below, 0.0, 0.99)) if below > 1e-9 else otherwise


def _cut(levels: Sequence[int]) -> Floats:
    """The matrix [L, SCENARIOS] that turns quantiles into equally likely values, linear in normal scores.

    Beyond the outer levels the last two go on in a straight line.
    """
    known = np.array([NormalDist().inv_cdf(level / 1000) for level in levels])
    asked = np.array([NormalDist().inv_cdf((k + 0.5) / SCENARIOS) for k in range(SCENARIOS)])
    matrix = np.zeros((len(known), len(asked)))
    if len(known) == 1:
        return matrix + 1.0
    left = np.clip(np.searchsorted(known, asked) - 1, 0, len(known) - 2)
    share = (asked - known[left]) / (known[left + 1] - known[left])
    column = np.arange(len(asked))
    matrix[left, column] = 1 - share
    matrix[left + 1, column] += share
    return matrix
