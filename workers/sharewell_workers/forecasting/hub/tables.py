"""Tables as they were published: what each of them said of every place and week, and which one was there on a day.

A row of the input speaks from its day of publication on, until a newer one speaks of the same place and week.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from datetime import date, timedelta
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from sharewell.domain.errors import Invalid

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]

WEEK = timedelta(days=7)
WHOLE = "US"  #: the row that is the sum of all others
VINTAGE = {"as_of": pl.Date, "location": pl.String, "target_end_date": pl.Date, "value": pl.Float64}


@dataclass(frozen=True, slots=True)
class Tables:
    """Every table that was published, one below the other; each is whole, with what had not changed since the last."""

    places: tuple[str, ...]  #: L, sorted
    start: date  #: end of the first week
    published: tuple[date, ...]  #: P, rising
    values: Floats  #: [P, L, T]; NaN where the table says nothing
    newest: Ints  #: [P] newest week at least half of the places had reported by then

    @classmethod
    def of(cls, frame: pl.DataFrame) -> Tables:
        """Read rows (as_of, location, target_end_date, value). Raises `Invalid` naming the column that is at fault."""
        rows = _checked(frame)
        places, start = tuple(sorted(rows["location"].unique())), rows["target_end_date"].min()
        published = tuple(sorted(rows["as_of"].unique()))
        assert isinstance(start, date)
        rows = rows.with_columns(
            _week=(pl.col("target_end_date") - start).dt.total_days() // 7,
            _place=pl.col("location").replace_strict({p: i for i, p in enumerate(places)}, return_dtype=pl.Int64),
        )
        last = rows["_week"].max()
        assert isinstance(last, int)
        known = np.full((len(places), last + 1), np.nan)
        whole, newest = np.empty((len(published), *known.shape)), np.zeros(len(published), dtype=np.int64)
        for turn, part in enumerate(rows.partition_by("as_of", maintain_order=True)):
            known[part["_place"].to_numpy(), part["_week"].to_numpy()] = part["value"].to_numpy()
            whole[turn] = known
            full = np.flatnonzero(2 * (~np.isnan(known)).sum(axis=0) >= len(places))
            newest[turn] = full.max() if len(full) else -1
        return cls(places, start, published, whole, np.maximum.accumulate(newest))

    def week(self, column: int) -> date:
        """Saturday, or whichever day weeks end on, of a column."""
        return self.start + WEEK * int(column)

    def on(self, day: date) -> int:
        """Which table stood at the end of `day`. Raises `Invalid` if none had been published."""
        found = bisect_right(self.published, day) - 1
        if found < 0 or self.newest[found] < 0:
            raise Invalid(f"no table was published by {day}; the first is of {self.published[0]}.", field="vintages")
        return found

    def first_with(self, column: int) -> int:
        """The first table that spoke of a week."""
        return int(np.searchsorted(self.newest, column))

    @property
    def parts(self) -> Ints:
        """Rows of the places that are no sum of others."""
        return np.flatnonzero(np.array(self.places) != WHOLE)


def with_history(frame: pl.DataFrame, history: Sequence[pl.DataFrame]) -> pl.DataFrame:
    """Add weeks older than any of `frame`, from files of the same shape, as if the first table had known them."""
    first, begin = frame["as_of"].min(), frame["target_end_date"].min()
    older = [
        read(part, [name for name in VINTAGE if name != "as_of"])
        .filter(pl.col("target_end_date") < begin)
        .with_columns(as_of=pl.lit(first, dtype=pl.Date))
        .select(*VINTAGE)
        for part in history
    ]
    return pl.concat([*older, frame])


def read(frame: pl.DataFrame, names: Sequence[str]) -> pl.DataFrame:
    """The columns `names`, in their kinds, without rows that name no place. Raises `Invalid` naming the column."""
    for name in names:
        if name not in frame.columns:
            raise Invalid(f"column {name!r} is missing; the file has {', '.join(frame.columns) or 'none'}.", field=name)
        try:
            frame = frame.with_columns(pl.col(name).cast(VINTAGE[name]))
        except pl.exceptions.PolarsError as error:
            why = str(error).splitlines()[0]
            raise Invalid(f"column {name!r} has values of another kind: {why}", field=name) from None
    return frame.select(*names).drop_nulls([name for name in names if name != "value"])


def _checked(frame: pl.DataFrame) -> pl.DataFrame:
    rows = read(frame, list(VINTAGE))
    if rows.is_empty():
        raise Invalid("the tables have no rows.", field="vintages")
    stray = rows.filter(pl.col("target_end_date").dt.weekday() != rows["target_end_date"].dt.weekday().mode().min())
    if not stray.is_empty():
        raise Invalid(f"weeks end on one weekday; {stray['target_end_date'][0]} is another.", field="target_end_date")
    good = pl.col("value").is_finite() & (pl.col("value") >= 0)
    return rows.with_columns(value=pl.when(good).then("value")).unique(
        ["as_of", "location", "target_end_date"], keep="last", maintain_order=True
    ).sort("as_of", maintain_order=True)  # fmt: skip
