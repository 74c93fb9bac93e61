"""New and short series: their group speaks for them, as far as they cannot yet speak for themselves.

On square roots, a series is its group's course plus a level of its own. What is known of the level is drawn towards the
group's by how much the members differ and how restless they are (partial pooling; Gelman & Hill, Data Analysis
Using Regression and Multilevel/Hierarchical Models (2007), chapter 12), and the band is as wide as the members' misses.
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import NormalDist
from typing import TYPE_CHECKING

import numpy as np

from sharewell_workers.forecasting import counts

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from sharewell_workers.forecasting.panel import Grid

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]

SHORT = 5  #: values; a series with fewer borrows
WINDOW = {1: 28, 7: 13}  #: newest steps that are looked at, by step
RHYTHM = {1: 7, 7: 1}  #: steps after which the group's course repeats, by step
MEMBER = 8  #: values there that make a series a member others may borrow from
FEWEST = 3  #: members a group needs; a smaller one borrows from everybody
NODES = np.array([NormalDist().inv_cdf((k + 0.5) / 41) for k in range(41)])  #: a normal distribution, evenly cut
MOST_LEVELS = 100  #: levels of members that stand for all of a group


@dataclass(frozen=True, slots=True)
class Lender:
    """What a group can say of a series that has said little; in square roots."""

    course: Floats  #: [W] what the members have in common
    levels: Floats  #: members' own levels about it; at most MOST_LEVELS of them, sorted
    restless: float  #: variance of a member about its course and level
    pull: float  #: how many values of its own weigh as much as the group
    rhythm: int  #: steps

    @classmethod
    def of(cls, root: Floats, rhythm: int) -> Lender:
        """Learn from members' square roots [M, W], NaN where unknown."""
        level = np.zeros(len(root))
        course = np.zeros(root.shape[1])
        for _ in range(4):  # rows and columns of a table with holes, by turns; without holes the first turn is exact
            course = _bridged(_mean(root - level[:, None], 0))
            level = _mean(root - course, 1)
        rest = root - course - level[:, None]
        known = (~np.isnan(rest)).sum()
        restless = max(float(np.nansum(rest**2) / max(1, known - sum(root.shape))), 1e-3)
        differ = max(float(level.var(ddof=1)) - restless * len(root) / known, 1e-6)
        kept = np.sort(level)[np.linspace(0, len(level) - 1, min(len(level), MOST_LEVELS)).round().astype(int)]
        return cls(course, kept, restless, restless / differ, rhythm)

    def quantiles(self, own: Floats, horizon: int, levels: Sequence[int]) -> Floats:
        """Quantiles [N, L] of square roots `horizon` steps ahead, for series that have said `own` [N, W]."""
        n = (~np.isnan(own)).sum(axis=1)
        told = np.where(n > 0, _mean(own - self.course, 1), 0.0)
        middle = self.levels.mean()
        back = self.rhythm * -(-horizon // self.rhythm)
        drift = float(np.mean((self.course[back:] - self.course[:-back]) ** 2)) if back < len(self.course) else 0.0
        noise = np.sqrt(self.restless + drift) * NODES
        centre = self.course[len(self.course) - 1 + horizon - back] + middle + (told - middle) * n / (n + self.pull)
        found = np.empty((len(own), len(levels)))
        for count in np.unique(n):  # those who said equally much share one band
            unsure = (self.levels - middle) * np.sqrt(self.pull / (count + self.pull))
            found[n == count] = np.quantile(np.add.outer(unsure, noise), np.array(levels) / 1000)
        return np.asarray(np.maximum(centre[:, None] + found, 0.0))


@dataclass(frozen=True, slots=True)
class Borrowers:
    """The series that borrow, and who lends to them."""

    grid: Grid
    root: Floats  #: [S, W] square roots, for each unit of size where every series has one
    size: Floats  #: [S]
    lenders: list[tuple[Ints, Lender, bool]]  #: rows that borrow, from whom, and whether those have whole numbers only

    @classmethod
    def of(cls, grid: Grid, asked: NDArray[np.bool_]) -> Borrowers:
        """Find lenders for the series `asked` [S]. A group of fewer than FEWEST members borrows from everybody."""
        value = grid.value[:, -WINDOW[grid.step] :]
        sized = bool(np.isfinite(grid.size).all() and (grid.size > 0).all())
        size = grid.size if sized else np.ones(len(value))
        root = np.sqrt(value / size[:, None])
        member = ((~np.isnan(root)).sum(axis=1) >= MEMBER) & ~asked
        enough = np.bincount(grid.group, member, minlength=len(grid.groups)) >= FEWEST
        found = []
        for group in np.unique(np.where(enough[grid.group], grid.group, -1)[asked]):  # -1: everybody
            ours = member & (grid.group == group) if group >= 0 else member
            if ours.sum() >= FEWEST:
                own = (grid.group == group) if group >= 0 else ~enough[grid.group]
                lender = Lender.of(root[ours], RHYTHM[grid.step])
                found.append((np.flatnonzero(asked & own), lender, bool(grid.whole[ours].all())))
        return cls(grid, root, size, found)

    def quantiles(self, horizon: int, levels: Sequence[int]) -> Floats:
        """Quantiles [S, L] `horizon` steps ahead; NaN for those who do not borrow, and where nobody can lend."""
        result = np.full((len(self.root), len(levels)), np.nan)
        for at, lender, whole in self.lenders:
            values = lender.quantiles(self.root[at], horizon, levels) ** 2 * self.size[at, None]
            result[at] = counts.rounded(values, np.full(len(at), whole))
        return result


def newest(grid: Grid, levels: Sequence[int]) -> Floats:
    """Quantiles [S, L] of the last values in each series' group, or of all series where the group has none.

    The last resort, for a series that has never reported beside others that hardly have; NaN where nobody has.
    """
    known = ~np.isnan(grid.value)
    last = np.where(known.any(axis=1), grid.value.shape[1] - 1 - np.argmax(known[:, ::-1], axis=1), 0)
    value = grid.value[np.arange(len(last)), last]
    told = known.any(axis=1)
    result = np.full((len(value), len(levels)), np.nan)
    if told.any():
        result[:] = np.quantile(value[told], np.array(levels) / 1000)
    for group in np.unique(grid.group[told]):
        peers = value[told & (grid.group == group)]
        result[grid.group == group] = np.quantile(peers, np.array(levels) / 1000)
    return result


def _mean(value: Floats, axis: int) -> Floats:
    """Mean of what is known; NaN where nothing is."""
    known = ~np.isnan(value)
    count = known.sum(axis=axis)
    total = np.where(known, value, 0.0).sum(axis=axis)
    return np.asarray(np.where(count > 0, total / np.maximum(count, 1), np.nan))


def _bridged(course: Floats) -> Floats:
    """`course` with steps nobody reported on filled between their neighbours."""
    known = ~np.isnan(course)
    at = np.arange(len(course))
    return np.interp(at, at[known], course[known])
