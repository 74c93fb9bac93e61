"""A straight line beside the trees: by how much a series returns to its means, and follows its group and other signals.

Trees see steps where there is a slope, and need many rows to tell a gentle one; a line with one slope a feature and
horizon errs otherwise, so the two err less together. Slopes are those of least absolute misses, found by least squares
whose weights are the inverse of the last misses (Schlossmacher, J. Am. Stat. Assoc. 68 (1973) 857-859). The line goes
through zero: what stands where it always stood is forecast to stay there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from sharewell_workers.forecasting.trees import Lessons

    Floats = NDArray[np.float64]
    Slopes = tuple[tuple[float, ...], ...]

SEEN = ("lag", "mean", "from_usual", "move", "group")  #: how names of features begin that a line is drawn over
MOST = 3.0  #: volatilities; features and outcomes beyond are taken for this
PRIOR_ROWS = 50.0  #: rows of no slope in which each feature is one volatility; they keep slopes of like features apart
ROUNDS = 12
LEAST_MISS = 0.1  #: volatilities; smaller misses weigh no more


def fit(lessons: Lessons, names: Sequence[str], horizons: Sequence[int]) -> Slopes:
    """Slopes by horizon and feature of `SEEN`; of a horizon without rows they are zero."""
    seen, ahead = _seen(lessons.rows, names)
    came = np.clip(lessons.target, -MOST, MOST)
    weight = np.ones(len(came)) if lessons.weight is None else lessons.weight
    return tuple(_slopes(seen[ahead == h], came[ahead == h], weight[ahead == h]) for h in horizons)


def say(slopes: Slopes, rows: NDArray[np.float32], names: Sequence[str], horizons: Sequence[int]) -> Floats:
    """Medians [N] for `rows` [N, F], in volatilities over the horizon from the last known value."""
    seen, ahead = _seen(rows, names)
    table = np.array(slopes)[np.minimum(np.searchsorted(horizons, ahead), len(horizons) - 1)]
    return np.asarray(
        (seen * table).sum(axis=1)
    )  # no matrix product: a row must say the same whatever stands beside it


def _seen(rows: NDArray[np.float32], names: Sequence[str]) -> tuple[Floats, NDArray[np.float32]]:
    """What a line is drawn over [N, K], zero where it is unknown, and the horizon [N]."""
    chosen = [place for place, name in enumerate(names) if name.startswith(SEEN)]
    return np.clip(np.nan_to_num(rows[:, chosen].astype(float)), -MOST, MOST), rows[:, list(names).index("horizon")]


def _slopes(seen: Floats, came: Floats, weight: Floats) -> tuple[float, ...]:
    slope = np.zeros(seen.shape[1])
    if not len(came):
        return tuple(slope.tolist())
    pull = weight
    for _ in range(ROUNDS):
        pulled = seen * pull[:, None]
        square = pulled.T @ seen + PRIOR_ROWS * pull.mean() * np.eye(len(slope))
        slope = np.linalg.solve(square, pulled.T @ came)
        pull = weight / np.maximum(np.abs(came - seen @ slope), LEAST_MISS)
    return tuple(np.round(slope, 6).tolist())
