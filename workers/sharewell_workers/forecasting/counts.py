"""Counts: where a series has whole numbers only, so are the quantiles of what comes, as long as they are small.

A model that is smooth between whole numbers tells the quantiles of a count blurred by half a unit either way. The
count at or below which it falls with the probability asked for is then the blurred quantile rounded, halves downwards
(Machado & Santos Silva, J. Am. Stat. Assoc. 100 (2005) 1226-1237, with the jitter centred): P(Y <= q) >= level holds.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

BELOW = 20.0  #: of quantiles; beyond, half a unit more or less says nothing


def are_whole(value: Floats, lower: Floats, upper: Floats) -> NDArray[np.bool_]:
    """[S] of which series every exactly known value [S, T] is a whole number; none where nothing is known exactly."""
    exact = ~np.isnan(value) if lower is upper else lower == upper
    with np.errstate(invalid="ignore"):
        broken = exact & (value != np.floor(value))
    return np.asarray(exact.any(axis=1) & ~broken.any(axis=1))


def rounded(values: Floats, whole: NDArray[np.bool_], below: float = BELOW) -> Floats:
    """`values` [N, L] of quantiles with those under `below` as whole numbers in the rows that are `whole` [N].

    Rising rows stay rising, and nothing moves by more than half a unit.
    """
    near = np.ceil(values - 0.5)
    return np.asarray(np.where(whole[:, None] & (values < below), np.maximum(near, 0.0), values))
