"""Cleaning: turns a frame of reports as they came into one row per series and step, and says what it changed.

Nothing is dropped silently: every change is counted in the quality report, by series.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from sharewell.domain.capacity import Mark
from sharewell.domain.errors import Invalid

if TYPE_CHECKING:
    from datetime import date

SUPPRESSED_MIDPOINT = 2.0  #: a suppressed count is 1, 2 or 3; its middle is at most one off
OUTLIER_SPREADS = 6.0  #: a lone jump of this many robust spreads, up and back, is flagged

_TYPES: dict[str, pl.DataType | type[pl.DataType]] = {
    "series": pl.String, "group": pl.String, "day": pl.Date, "value": pl.Float64, "mark": pl.String,
}  # fmt: skip


def clean(frame: pl.DataFrame, *, step: int | None = None) -> tuple[pl.DataFrame, pl.DataFrame, int]:
    """Return (rows, quality report, step in days).

    `frame` needs the columns series, day and value; group and mark are optional, `size` (a static number such as
    population) is kept when given. Rows come back sorted by series and day with columns series, group, day, value,
    mark, size; value is null where nothing is known. Raises `Invalid` naming a column that is missing or unreadable.
    """
    rows = _conform(frame)
    step = step if step is not None else infer_step(rows)
    if step not in (1, 7):
        raise Invalid(f"step is {step} days; series are daily (1) or weekly (7).", field="step")
    rows, moved = _align(rows, step)
    rows = rows.with_columns(
        _bad=pl.col("value").is_not_null() & ~(pl.col("value").is_finite() & (pl.col("value") >= 0)),
    ).with_columns(value=pl.when("_bad").then(None).otherwise("value"))
    counted = rows.group_by("series").agg(
        rows=pl.len(), refused=pl.col("_bad").sum(), duplicates=pl.len() - pl.col("day").n_unique(),
    )  # fmt: skip
    rows = rows.unique(["series", "day"], keep="last", maintain_order=True).sort("series", "day").drop("_bad")
    hidden = (pl.col("mark") == Mark.SUPPRESSED) & pl.col("value").is_null()
    rows = rows.with_columns(value=pl.when(hidden).then(SUPPRESSED_MIDPOINT).otherwise("value"))
    # A series has one group and one size: its newest.
    rows = rows.with_columns(pl.col("group", "size").drop_nulls().last().over("series"))
    return rows, _quality(rows, counted.join(moved, on="series", how="left"), step), step


def as_known_on(frame: pl.DataFrame, day: date) -> pl.DataFrame:
    """Keep of a frame of vintages (column as_of) what was known at the end of `day`: the newest row per series and day.

    A row appears only when a value first appears or changes, so an unchanged value keeps its older row.
    """
    if "as_of" not in frame.columns:
        raise Invalid("the frame of vintages has no column as_of.", field="as_of")
    known = frame.filter(pl.col("as_of") <= day).sort("as_of", maintain_order=True)
    return known.unique(["series", "day"], keep="last", maintain_order=True).drop("as_of")


def infer_step(rows: pl.DataFrame) -> int:
    """Return 7 if the usual distance between a series' neighbouring days is a week or more, else 1."""
    days = rows.select("series", "day").unique().sort("series", "day")
    gaps = days.select(gap=pl.col("day").diff().over("series").dt.total_days()).drop_nulls()
    if gaps.is_empty():
        return 1
    usual = gaps["gap"].median()
    return 7 if isinstance(usual, float | int) and usual >= 7 else 1


def _conform(frame: pl.DataFrame) -> pl.DataFrame:
    for name in ("series", "day", "value"):
        if name not in frame.columns:
            raise Invalid(
                f"column {name!r} is missing; the frame has {', '.join(frame.columns) or 'none'}.", field=name
            )
    given = frame.with_columns(
        pl.lit(default).alias(name)
        for name, default in (("group", None), ("mark", None), ("size", None))
        if name not in frame.columns
    )
    try:
        rows = given.select(*(pl.col(n).cast(t) for n, t in _TYPES.items()), pl.col("size").cast(pl.Float64))
    except pl.exceptions.PolarsError as error:
        raise Invalid(f"a column has values of another kind: {str(error).splitlines()[0]}", field="value") from None
    marks = {str(mark) for mark in Mark}
    strange = set(rows["mark"].drop_nulls().unique().to_list()) - marks
    if strange:
        raise Invalid(f"mark is {min(strange)!r}; it must be one of {', '.join(sorted(marks))}.", field="mark")
    return rows.drop_nulls(["series", "day"]).with_columns(
        pl.col("group").fill_null("all"), pl.col("mark").fill_null(str(Mark.REPORTED))
    )


def _align(rows: pl.DataFrame, step: int) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Move weekly rows onto the weekday most rows have, at most six days forward; say how many moved."""
    if step == 1 or rows.is_empty():
        return rows, rows.select("series").unique().with_columns(moved=pl.lit(0))
    usual = rows["day"].dt.weekday().mode().sort()[0]
    forward = (usual - pl.col("day").dt.weekday()) % 7
    moved = rows.group_by("series").agg(moved=(forward != 0).sum())
    return rows.with_columns(pl.col("day") + pl.duration(days=forward)), moved


def _quality(rows: pl.DataFrame, counted: pl.DataFrame, step: int) -> pl.DataFrame:
    """One row per series: what is there, what is missing, what is odd."""
    observed = pl.col("value").is_not_null()
    change = pl.col("value").sqrt().diff()
    spread = (change.abs().median() * 1.4826).clip(lower_bound=0.25)
    rows = rows.with_columns(
        _odd=(
            (change / spread > OUTLIER_SPREADS) & (change.shift(-1) / spread < -OUTLIER_SPREADS)
            | (change / spread < -OUTLIER_SPREADS) & (change.shift(-1) / spread > OUTLIER_SPREADS)
        ).over("series")
    )
    marked = {str(m): (pl.col("mark") == str(m)).sum() for m in Mark if m is not Mark.REPORTED}
    last = rows["day"].max()
    seen = rows.group_by("series").agg(
        observed=observed.sum(),
        first=pl.col("day").filter(observed).min(),
        last=pl.col("day").filter(observed).max(),
        outliers=pl.col("_odd").sum(),
        **marked,
    )
    steps = (pl.col("last") - pl.col("first")).dt.total_days() // step + 1
    silent = (pl.lit(last, dtype=pl.Date) - pl.col("last")).dt.total_days() // step
    return (
        seen.with_columns(gaps=steps - pl.col("observed"), silent=silent)
        .join(counted, on="series", how="left")
        .with_columns(pl.col("moved").fill_null(0))
        .sort("series")
    )
