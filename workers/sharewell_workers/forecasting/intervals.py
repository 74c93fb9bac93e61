"""Suppressed values: known only to lie between two numbers; never taken as zero, never scored as if they were exact.

History uses the middle. Where such a value is an outcome, a forecast is right as far as the interval lets it be: each
quantile is compared with the nearest number in the interval, which is a proper score of the censored outcome (the
threshold-weighted CRPS without weight on the interval: Gneiting & Ranjan, J. Bus. Econ. Stat. 29(3) (2011) 411-422).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from sharewell.domain.capacity import Mark

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

HIDDEN = (1.0, 3.0)  #: what a suppressed count may be where its source does not say


def bound(rows: pl.DataFrame) -> pl.DataFrame:
    """Give every row a lower and an upper bound, equal where the value is exact, and hidden values their middle.

    Bounds that were sent hold, widened to contain the value; a suppressed value without any lies in 1 to 3. Where more
    was added to it than that, such as people who wait, only the hidden part is open: one unit less, or one more.
    """
    sent = pl.col("lower").is_not_null() & pl.col("upper").is_not_null()
    suppressed = pl.col("mark") == str(Mark.SUPPRESSED)
    if not rows.select((sent | suppressed).any()).item():
        return rows.with_columns(lower=pl.col("value"), upper=pl.col("value"))
    added = pl.when(pl.col("value") > HIDDEN[1]).then(pl.col("value") - sum(HIDDEN) / 2).otherwise(0.0)
    low = pl.when(sent).then("lower").when(suppressed).then(HIDDEN[0] + added)
    high = pl.when(sent).then("upper").when(suppressed).then(HIDDEN[1] + added)
    return rows.with_columns(
        # A bound is what was sent, but never crosses the value; without either, both are the value.
        lower=pl.min_horizontal(low, "value"), upper=pl.max_horizontal(high, "value")
    ).with_columns(value=pl.coalesce("value", (pl.col("lower") + pl.col("upper")) / 2))  # fmt: skip


def spread(lower: Floats, upper: Floats) -> Floats:
    """Numbers [S, T] spread evenly over each cell's interval, by place: they stand for outcomes where misses count.

    Thirds of the cells take the lower end, the middle and the upper end. Exact cells keep their value.
    """
    if lower is upper:
        return lower
    turn = np.add.outer(np.arange(lower.shape[0]), np.arange(lower.shape[1])) % 3
    return np.asarray(lower + (upper - lower) * turn / 2)


def nearest(values: Floats, lower: Floats, upper: Floats) -> Floats:
    """What each of `values` [N, L] is compared with: the nearest number from `lower` [N] to `upper` [N]."""
    return np.clip(values, lower[:, None], upper[:, None])


def share_held(low: Floats, high: Floats, lower: Floats, upper: Floats) -> Floats:
    """How much of each outcome's interval the band from `low` to `high` holds, ends included: 0 to 1.

    Of an interval of whole numbers, the share of these numbers; exact outcomes are held (1) or not (0).
    """
    first, last = np.maximum(np.ceil(low - 1e-9), lower), np.minimum(np.floor(high + 1e-9), upper)
    whole = np.clip((last - first + 1) / (upper - lower + 1), 0.0, 1.0)
    exact = (low <= lower) & (lower <= high)
    return np.asarray(np.where(lower == upper, exact, whole))
