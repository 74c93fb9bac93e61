"""The quality report: for every series what is there, what is missing, what is odd, and what was changed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from sharewell.domain.capacity import Mark

if TYPE_CHECKING:
    from collections.abc import Sequence

#: Columns of the report, beside series, first, last (days of the first and last value) and unit (as it was sent).
COUNTS = (
    "rows",  # as sent
    "observed",  # steps with a value
    "gaps",  # steps without one between the first and the last
    "longest_gap",  # of these, most in a row
    "silent",  # steps since the last value, up to the panel's newest day
    "refused",  # rows with a value that cannot be: negative, endless, beyond all measure, bounds that cross
    "undated",  # rows without a day that can be
    "duplicates",  # rows that another row of the same day took the place of
    "moved",  # weekly rows that were moved to the usual weekday
    "outliers",
    "suppressed",
    "imputed",
    "carried_forward",
    "restated",  # values that changed after they were first known
    "movements",  # rows whose census holds units of others, or lacks units that are away
)


def report(rows: pl.DataFrame, counted: Sequence[pl.DataFrame], step: int) -> pl.DataFrame:
    """One row per series, in order; `counted` are counts by series from before the rows were merged."""
    observed = pl.col("value").is_not_null()
    seen_on = pl.col("day").filter(observed)
    last = rows["day"].max()
    told = rows.group_by("series").agg(
        observed=observed.sum(),
        first=seen_on.min(),
        last=seen_on.max(),
        longest_gap=seen_on.diff().max().dt.total_days() // step - 1,
        outliers=pl.col("outlier").sum(),
        movements=(pl.col("transferred") != 0).sum(),
        **{str(m): (pl.col("mark") == str(m)).sum() for m in Mark if m is not Mark.REPORTED},
    )
    steps = (pl.col("last") - pl.col("first")).dt.total_days() // step + 1
    silent = (pl.lit(last, dtype=pl.Date) - pl.col("last")).dt.total_days() // step
    told = told.with_columns(gaps=steps - pl.col("observed"), silent=silent)
    for more in counted:
        told = told.join(more, on="series", how="left")
    whole = [pl.col(n).fill_null(0).cast(pl.Int64) for n in COUNTS if n not in ("silent", "gaps")]
    whole += [pl.col(n).cast(pl.Int64) for n in ("gaps", "silent")]  # unknown for a series that never reported
    return told.with_columns(whole).select("series", "unit", "first", "last", *COUNTS).sort("series")
