"""A straight line beside the trees: how far the past draws a series back, or carries it on, by horizon.

Trees tell a slope in steps and need many rows for each; that a series returns by a share towards its last means is one
number a horizon. The line is given to the trees as a feature, and a part of it they need not learn (`Recipe.line`). It
goes through zero, so that it cannot take what all series did together for a law. Fitted by iteratively reweighted least
squares towards the least absolute deviation (Schlossmacher, J. Am. Stat. Assoc. 68 (1973) 857-859), with a ridge.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Rows = NDArray[np.float32]
    Line = tuple[tuple[float, ...], ...]  # by horizon, and input

INPUTS = ("lag", "mean", "slope", "from_usual", "move")  #: how the names begin of features that the line sees
FAR = 4.0  #: volatilities; what lies further out is seen as this far
NEAR = 0.3  #: volatilities; smaller misses weigh as much as this one
TURNS = 6  #: of reweighting
RIDGE = 0.001  #: per row


def learn(rows: Rows, names: Sequence[str], horizons: Sequence[int], target: Floats, weight: Floats | None) -> Line:
    """Slopes by horizon and input, from `rows` [N, F] of features called `names`, `target` [N] and `weight` [N]."""
    ahead, seen = rows[:, names.index("horizon")], _seen(rows, names)
    weighed = np.ones(len(rows)) if weight is None else weight
    found = []
    for h in horizons:
        mine = ahead == h
        slopes = _slopes(seen[mine], target[mine], weighed[mine])
        found.append(tuple(round(float(slope), 6) for slope in slopes))
    return tuple(found)


def apply(line: Line, rows: Rows, names: Sequence[str], horizons: Sequence[int]) -> Floats:
    """[N] what the line says of each row; 0 for a horizon that it was not made for."""
    ahead, seen = rows[:, names.index("horizon")], _seen(rows, names)
    said = np.zeros(len(rows))
    for h, slopes in zip(horizons, line, strict=True):
        mine = ahead == h
        said[mine] = (seen[mine] * np.array(slopes)).sum(axis=1)
    return said


def _seen(rows: Rows, names: Sequence[str]) -> Floats:
    """[N, I] inputs; 0, where the series is now, for what is unknown."""
    places = [place for place, name in enumerate(names) if name.startswith(INPUTS)]
    return np.asarray(np.clip(np.nan_to_num(rows[:, places].astype(float), nan=0.0), -FAR, FAR))


def _slopes(seen: Floats, target: Floats, weight: Floats) -> Floats:
    slopes = np.zeros(seen.shape[1])
    if not weight.sum() > 0:
        return slopes
    ridge = RIDGE * float(weight.sum()) * np.eye(len(slopes))
    for _ in range(TURNS):
        pull = weight / np.maximum(np.abs(target - (seen * slopes).sum(axis=1)), NEAR)
        # Not by a matrix product: its last bits depend on how many threads the library takes.
        square, along = np.einsum("ni,n,nj->ij", seen, pull, seen), np.einsum("ni,n,n->i", seen, pull, target)
        slopes = np.linalg.solve(square + ridge, along)
    return slopes
