"""Outliers: lone spikes, off and back at the next report. They are flagged, and kept: a spike may be an outbreak."""

from __future__ import annotations

import polars as pl

SPREADS = 6.0  #: a jump of this many robust spreads, up and back, is flagged
LEAST = 0.25  #: spread of square roots below which counts do not jump but rattle


def flag(rows: pl.DataFrame) -> pl.DataFrame:
    """Add the column outlier to rows sorted by series and day. The newest row is never one: nobody knows yet."""
    change = pl.col("value").sqrt().diff()
    spread = (change.abs().median() * 1.4826).clip(lower_bound=LEAST)
    here, next_ = change / spread, change.shift(-1) / spread
    odd = ((here > SPREADS) & (next_ < -SPREADS)) | ((here < -SPREADS) & (next_ > SPREADS))
    return rows.with_columns(outlier=odd.over("series").fill_null(value=False))
