"""Preprocessing: turns a frame of reports as they came into one row per series and step, and says what it changed.

Nothing is dropped silently: every change is tagged in its row or counted in the quality report, by series. Each
concern has a file of its own: units, restatements, intervals, movements, outliers, quality.
"""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING, NamedTuple

import polars as pl

from sharewell.domain.capacity import Mark
from sharewell.domain.errors import Invalid
from sharewell_workers.forecasting import intervals, movements, outliers, quality, restatements, units
from sharewell_workers.forecasting.restatements import as_known_on

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["Cleaned", "as_known_on", "clean", "infer_step"]

MOST = 1e9  #: units; a count beyond this is an error of the sender
EARLIEST, LATEST = date(1900, 1, 1), date(2199, 12, 31)  #: days outside are misread
LONELY = 0.05  #: share of the rows that may lie after a silence of more than a year without counting as misdated

_NEEDED = {"series": pl.String, "day": pl.Date, "value": pl.Float64}
_OPTIONAL = {
    "group": pl.String, "mark": pl.String, "size": pl.Float64, "lower": pl.Float64, "upper": pl.Float64,
    "unit": pl.String, "transferred": pl.Float64, "as_of": pl.Date,
}  # fmt: skip


class Cleaned(NamedTuple):
    """What the stage hands on."""

    rows: pl.DataFrame  #: sorted by series and day
    quality: pl.DataFrame  #: one row a series; see `quality.report`
    step: int  #: days
    unit: str | None  #: of all values
    unnamed: int  #: rows that named no series and are left out


def clean(
    frame: pl.DataFrame,
    *,
    step: int | None = None,
    unit: str | None = None,
    moved: pl.DataFrame | None = None,
    known_on: date | None = None,
) -> Cleaned:
    """Align, convert, bound and tag `frame`, which needs the columns series, day and value.

    Optional columns: group, mark, size (a static number such as population), lower and upper (where only an interval
    is known), unit, transferred (units of `value` that belong to another site, see `movements`) and as_of (vintages).
    `moved` lists movements between sites; `known_on` is the day whose knowledge counts; `unit` is what values are
    converted to. Rows come back with series, group, day, value (null where nothing is known), lower, upper, mark, size,
    transferred, restated, outlier. Raises `Invalid` naming a column that is missing or unreadable, or units that
    cannot be converted.
    """
    rows, unnamed = _conform(frame)
    rows, restated = restatements.newest(rows, known_on, sent="as_of" in frame.columns)
    rows, reported_in, unit = units.convert(rows, unit)
    step = step if step is not None else infer_step(rows)
    if step not in (1, 7):
        raise Invalid(f"step is {step} days; series are daily (1) or weekly (7).", field="step")
    rows = _align(_date(rows), step)
    rows = _refuse(rows)
    counted = _counted(rows)
    rows = _one_a_day(rows)
    rows = movements.take_out(intervals.bound(rows), moved)
    rows = outliers.flag(_settle(rows)).select(
        "series", "group", "day", "value", "lower", "upper", "mark", "size", "transferred", "restated", "outlier"
    )
    told = quality.report(rows, [counted, restated, reported_in], step)
    return Cleaned(rows, told, step, unit, unnamed)


def infer_step(rows: pl.DataFrame) -> int:
    """Return 7 if the usual distance between a series' neighbouring days is a week or more, else 1."""
    days = rows.select("series", "day").drop_nulls().unique().sort("series", "day")
    gaps = days.select(gap=pl.col("day").diff().over("series").dt.total_days()).drop_nulls()
    if gaps.is_empty():
        return 1
    usual = gaps["gap"].median()
    return 7 if isinstance(usual, float | int) and usual >= 7 else 1


def _conform(frame: pl.DataFrame) -> tuple[pl.DataFrame, int]:
    """The columns we know, in the types we expect, and how many rows named no series."""
    for name in _NEEDED:
        if name not in frame.columns:
            raise Invalid(
                f"column {name!r} is missing; the frame has {', '.join(frame.columns) or 'none'}.", field=name
            )
    known = _NEEDED | {name: kind for name, kind in _OPTIONAL.items() if name in frame.columns}
    rows = pl.DataFrame([_read(frame[name], kind) for name, kind in known.items()])
    rows = rows.with_columns(pl.lit(None, kind).alias(n) for n, kind in _OPTIONAL.items() if n not in known)
    marks = {str(mark) for mark in Mark}
    strange = set(rows["mark"].drop_nulls().unique().to_list()) - marks
    if strange:
        raise Invalid(f"mark is {min(strange)!r}; it must be one of {', '.join(sorted(marks))}.", field="mark")
    named = rows.drop_nulls("series").with_columns(
        pl.col("group").fill_null("all"), pl.col("mark").fill_null(str(Mark.REPORTED))
    )
    return named, rows.height - named.height


def _read(column: pl.Series, kind: type[pl.DataType]) -> pl.Series:
    """`column` as `kind`; a number is not taken for a date, nor a moment for a count."""
    wrong = column.dtype.is_numeric() if kind is pl.Date else column.dtype.is_temporal() and kind is pl.Float64
    if wrong and not column.is_null().all():
        raise Invalid(f"column {column.name!r} has values of another kind: {column.dtype}.", field=column.name)
    try:
        return column.cast(kind)
    except pl.exceptions.PolarsError as error:
        why = str(error).splitlines()[0]
        raise Invalid(f"column {column.name!r} has values of another kind: {why}", field=column.name) from None


def _date(rows: pl.DataFrame) -> pl.DataFrame:
    """Take the day from rows whose day cannot be: out of all range, or alone a year after everybody else's."""
    possible = pl.col("day").is_between(EARLIEST, LATEST)
    days = rows.filter(possible).group_by("day").len().sort("day")
    gap = days["day"].diff().dt.total_days()
    after = pl.lit(value=False)
    for place in (gap > 366).arg_true():
        if int(days["len"][place:].sum()) < LONELY * int(days["len"].sum()):
            after = pl.col("day") >= days["day"][place]
            break
    return rows.with_columns(day=pl.when(possible & ~after).then("day"))


def _align(rows: pl.DataFrame, step: int) -> pl.DataFrame:
    """Move weekly rows onto the weekday most rows have, at most six days forward, and tag those that moved."""
    usual = rows["day"].dt.weekday().drop_nulls().mode().sort()
    if step == 1 or usual.is_empty():
        return rows.with_columns(shifted=pl.lit(value=False))
    forward = (int(usual[0]) - pl.col("day").dt.weekday()) % 7
    return rows.with_columns(pl.col("day") + pl.duration(days=forward), shifted=forward.fill_null(0) != 0)


def _refuse(rows: pl.DataFrame) -> pl.DataFrame:
    """Values that cannot be become unknown, and their rows are tagged."""
    bad = pl.any_horizontal(
        (pl.col(n).is_not_null() & ~pl.col(n).is_between(0, MOST)).fill_null(value=False)
        for n in ("value", "lower", "upper")
    )
    crossed = (pl.col("lower") > pl.col("upper")).fill_null(value=False)
    lost = ~pl.col("transferred").is_between(-MOST, MOST).fill_null(value=True)
    rows = rows.with_columns(refused=bad | crossed | lost)
    names = ("value", "lower", "upper", "transferred")
    return rows.with_columns(pl.when(~pl.col("refused")).then(n).alias(n) for n in names)


def _counted(rows: pl.DataFrame) -> pl.DataFrame:
    """What can only be counted before rows are merged."""
    dated = pl.col("day").is_not_null()
    return rows.group_by("series").agg(
        rows=pl.len(), refused=pl.col("refused").sum(), undated=(~dated).sum(), moved=pl.col("shifted").sum(),
        duplicates=dated.sum() - pl.col("day").drop_nulls().n_unique(),
    )  # fmt: skip


def _one_a_day(rows: pl.DataFrame) -> pl.DataFrame:
    """Of two rows for one day the later holds. A series that has no row left keeps one, empty, on the newest day."""
    dated = rows.drop_nulls("day").unique(["series", "day"], keep="last", maintain_order=True)
    lost = rows.select("series", "group", "size").unique("series", keep="last", maintain_order=True)
    lost = lost.join(dated.select("series").unique(), on="series", how="anti")
    newest = dated["day"].max()
    if lost.is_empty() or newest is None:
        return dated.sort("series", "day")
    empty = lost.with_columns(
        day=pl.lit(newest, pl.Date), mark=pl.lit(str(Mark.REPORTED)), restated=pl.lit(value=False)
    )
    return pl.concat([dated, empty], how="diagonal").sort("series", "day")


def _settle(rows: pl.DataFrame) -> pl.DataFrame:
    """A series has one group and one size: its newest."""
    newest = [pl.col(name).drop_nulls().last().over("series") for name in _varying(rows, ("group", "size"))]
    return rows.with_columns(newest)


def _varying(rows: pl.DataFrame, names: Iterable[str]) -> list[str]:
    return [name for name in names if rows[name].n_unique() > 1]
