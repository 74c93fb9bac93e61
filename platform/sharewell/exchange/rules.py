"""The rules that every feed's numbers pass, whatever the format: bounds, pairs, repeats, spikes; each hit is tallied.

Formats bring wide or long frames with a `row` column; what a rule does to what it hits is written in
`domain.quality.Flag`. Nothing here refuses a file, except for rows that contradict each other where a format allows
no restatement.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import polars as pl

from sharewell.domain.capacity import MEASURES, Mark
from sharewell.domain.checks import MAX_UNITS
from sharewell.domain.quality import (
    EXAMPLES,
    SUPPRESSED_HIGH,
    SUPPRESSED_VALUE,
    WORST_SERIES,
    Flag,
    FlagCount,
    QualityReport,
    ResourceQuality,
    SeriesGap,
)
from sharewell.exchange.feed import NATURAL_KEY, REPORT_SCHEMA, FeedRefused

ROW_KEY: Final = ("institution_code", "as_of")

#: occupied > 1.5 staffed + 10 is no overflow but a wrong number.
PLAUSIBLE_OVERFLOW: Final = (2 * pl.col("occupied")) <= (3 * pl.col("staffed") + 20)
SPIKE_UNITS: Final = 30  #: smaller jumps are everyday life
SPIKE_FACTOR: Final = 3


@dataclass(slots=True)
class Tally:
    """What the rules hit so far."""

    found: list[FlagCount] = field(default_factory=list)
    rows_left_out: int = 0

    def add(self, flag: Flag, rows: pl.Series, *, resource: str = "", whole_rows: bool = False) -> None:
        """Count a hit for each of `rows`; `whole_rows` says that the rows are gone."""
        if len(rows):
            first = tuple(int(row) for row in rows.head(EXAMPLES))
            self.found.append(FlagCount(flag=flag, count=len(rows), resource=resource, rows=first))
            self.rows_left_out += len(rows) if whole_rows else 0

    def add_count(self, flag: Flag, count: int, *, resource: str = "") -> None:
        """Count hits that belong to no row."""
        if count:
            self.found.append(FlagCount(flag=flag, count=count, resource=resource))


def sane(numbers: pl.Series, rows: pl.Series, tally: Tally, *, resource: str, most: int = MAX_UNITS) -> pl.Series:
    """Return `numbers` without those below zero or above `most`, which are tallied."""
    for flag, wrong in ((Flag.NEGATIVE, numbers < 0), (Flag.TOO_LARGE, numbers > most)):
        hit = wrong.fill_null(value=False)
        tally.add(flag, rows.filter(hit), resource=resource)
        numbers = numbers.set(hit, None)
    return numbers


def one_row_each(
    frame: pl.DataFrame, figures: Sequence[str], tally: Tally, *, restates: bool, corrected: str | None = None
) -> pl.DataFrame:
    """Leave one row an institution and period, judged by the text of `figures`.

    Rows that repeat another word for word go. Of rows that differ the one with `corrected` true counts, else the
    last, where the format `restates`; where it does not, the file is refused.
    """
    kept = frame.unique(subset=[*ROW_KEY, *figures], keep="first", maintain_order=True)
    if kept.height < frame.height:
        gone = frame["row"].filter(~frame["row"].is_in(kept["row"].implode()))
        tally.add(Flag.DUPLICATE_ROW, gone, whole_rows=True)
    twice = kept.select(pl.struct(ROW_KEY).is_duplicated()).to_series()
    if not twice.any():
        return kept
    if not restates:
        _refuse_second(kept.filter(twice))
    ordered = kept.sort(corrected, maintain_order=True, nulls_last=False) if corrected else kept
    single = ordered.unique(subset=ROW_KEY, keep="last", maintain_order=True).sort("row")
    gone = kept["row"].filter(~kept["row"].is_in(single["row"].implode()))
    tally.add(Flag.REPLACED_ROW, gone, whole_rows=True)
    return single


def _refuse_second(twice: pl.DataFrame) -> None:
    second = twice.filter(~pl.struct(ROW_KEY).is_first_distinct()).row(0, named=True)
    first = twice.filter(
        (pl.col("institution_code") == second["institution_code"]) & (pl.col("as_of") == second["as_of"])
    ).row(0, named=True)
    raise FeedRefused(
        f"contradicts row {first['row']}, which reports the same institution and day with other numbers.",
        row=second["row"],
    )


def repeats_the_period_before(frame: pl.DataFrame, figures: Sequence[str], *, period_days: int) -> pl.Series:
    """Tell for each row of `frame` (in row order) whether all `figures` equal those one period earlier."""
    said = pl.concat_str([pl.col(name).fill_null("") for name in figures], separator="\x1f").alias("said")
    ordered = frame.select("row", *ROW_KEY, said).sort(ROW_KEY)
    same = (pl.col(name) == pl.col(name).shift(1) for name in ("institution_code", "said"))
    follows = pl.col("as_of") == pl.col("as_of").shift(1) + pl.duration(days=period_days)
    repeated = ordered.select("row", repeats=pl.all_horizontal(*same, follows).fill_null(value=False))
    return repeated.sort("row")["repeats"]


def mark(numbers: pl.Series, name: str, carried: pl.Series | None = None) -> pl.Series:
    """Marks for `numbers`: reported, or carried forward where `carried`; null where there is no number."""
    reported = pl.Series(name, [Mark.REPORTED.value], dtype=pl.String).new_from_index(0, len(numbers))
    if carried is not None:
        reported = reported.set(carried, Mark.CARRIED_FORWARD.value)
    return reported.set(numbers.is_null(), None)


def settle(reports: pl.DataFrame, tally: Tally) -> pl.DataFrame:
    """Apply the rules on pairs to `reports` (long, columns of `REPORT_SCHEMA`; absent measures are blank).

    Returns the reports that say something, ordered by `NATURAL_KEY`, no number of which the domain would refuse.
    """
    blank = [pl.lit(None, dtype=kind).alias(name) for name, kind in REPORT_SCHEMA.items() if name not in reports]
    full = reports.with_columns(blank)
    for measure in MEASURES:
        full = _clear(full, pl.col(measure) > MAX_UNITS, [measure], Flag.TOO_LARGE, tally)
    full = full.select(pl.col(name).cast(kind) for name, kind in REPORT_SCHEMA.items())
    silent = pl.all_horizontal(pl.col(m).is_null() for m in MEASURES if m != "admissions")
    silent &= pl.col("admissions").fill_null(0) == 0
    _tally_by_resource(full.filter(silent), Flag.EMPTY_REPORT, tally)
    full = _narrow_suppressed(full.filter(~silent))
    full = _clear(full, (pl.col("staffed") == 0) & (pl.col("occupied") > 0), ["staffed"], Flag.ZERO_STAFFED, tally)
    full = _clear(full, ~PLAUSIBLE_OVERFLOW, ["staffed", "occupied"], Flag.CONTRADICTION, tally)
    full = _excess_waits(full, tally).filter(~silent)
    settled = full.filter(~silent).sort(NATURAL_KEY)
    _tally_spikes(settled, tally)
    return settled


def _narrow_suppressed(reports: pl.DataFrame) -> pl.DataFrame:
    """A hidden count lies in its interval and cannot pass what its pair says; see `domain.quality`."""
    hidden = {m: pl.col(f"{m}_mark") == Mark.SUPPRESSED.value for m in ("staffed", "occupied")}
    at_most = pl.when(pl.col("staffed") > 0).then(pl.col("staffed")).otherwise(SUPPRESSED_VALUE)
    at_least = pl.col("occupied").clip(SUPPRESSED_VALUE, SUPPRESSED_HIGH).fill_null(SUPPRESSED_VALUE)
    return reports.with_columns(
        occupied=pl.when(hidden["occupied"])
        .then(pl.min_horizontal(pl.lit(SUPPRESSED_VALUE), at_most))
        .otherwise(pl.col("occupied")),
        staffed=pl.when(hidden["staffed"]).then(at_least).otherwise(pl.col("staffed")),
    ).cast({"staffed": pl.Int32, "occupied": pl.Int32})


def _clear(reports: pl.DataFrame, hit: pl.Expr, measures: list[str], flag: Flag, tally: Tally) -> pl.DataFrame:
    hit = hit.fill_null(value=False)
    _tally_by_resource(reports.filter(hit), flag, tally)
    columns = [*measures, *(f"{measure}_mark" for measure in measures)]
    return reports.with_columns(pl.when(hit).then(None).otherwise(pl.col(column)).name.keep() for column in columns)


def _excess_waits(reports: pl.DataFrame, tally: Tally) -> pl.DataFrame:
    """People beyond the staffed units wait for one: need stays what was reported, and no bed holds two."""
    excess = (pl.col("occupied") - pl.col("staffed")).clip(0).fill_null(0)
    over = excess > 0
    _tally_by_resource(reports.filter(over), Flag.OVER_STAFFED, tally)
    return reports.with_columns(
        occupied=pl.col("occupied") - excess,
        waiting=pl.when(over).then(pl.col("waiting").fill_null(0) + excess).otherwise(pl.col("waiting")),
        waiting_mark=pl.when(over).then(pl.lit(Mark.IMPUTED.value)).otherwise(pl.col("waiting_mark")),
    )


def _tally_spikes(reports: pl.DataFrame, tally: Tally) -> None:
    """`reports` is in the order of `NATURAL_KEY`: a neighbour in the same series is one in time."""
    series = pl.struct("institution_code", "resource")
    inside = (series == series.shift(1)) & (series == series.shift(-1))
    for measure in ("staffed", "occupied"):
        here, before, after = pl.col(measure), pl.col(measure).shift(1), pl.col(measure).shift(-1)
        low, high = pl.min_horizontal(before, after), pl.max_horizontal(before, after)
        calm = inside & before.is_not_null() & after.is_not_null() & (2 * high <= 3 * low + 20)
        jump = ((here - high >= SPIKE_UNITS) & (here > SPIKE_FACTOR * high)) | (
            (low - here >= SPIKE_UNITS) & (low > SPIKE_FACTOR * here)
        )
        _tally_by_resource(reports.filter(calm & jump), Flag.SPIKE, tally)


def _tally_by_resource(hit: pl.DataFrame, flag: Flag, tally: Tally) -> None:
    for resource, rows in hit.sort("row").group_by("resource", maintain_order=True):
        tally.add(flag, rows["row"], resource=str(resource[0]))


def quality(
    reports: pl.DataFrame,
    tally: Tally,
    *,
    name: str,
    dialect: str,
    rows_read: int,
    institutions: int,
) -> QualityReport:
    """Sum up settled `reports` and what was tallied on the way."""
    first, last = reports["as_of"].min(), reports["as_of"].max()
    return QualityReport(
        format=name,
        dialect=dialect,
        rows_read=rows_read,
        rows_left_out=tally.rows_left_out,
        institutions=institutions,
        first_period=str(first or ""),
        last_period=str(last or ""),
        resources=tuple(
            _resource_quality(str(resource[0]), rows, last)
            for resource, rows in reports.group_by("resource", maintain_order=True)
        ),
        flags=tuple(_merged(tally.found)),
    )


def _resource_quality(resource: str, reports: pl.DataFrame, last: object) -> ResourceQuality:
    marks = pl.concat([reports[f"{measure}_mark"].alias("mark") for measure in MEASURES])
    values = {value: int((marks == value.value).sum()) for value in Mark}
    series = (
        reports.group_by("institution_code")
        .agg(reported=pl.len(), since=pl.col("as_of").min(), days=pl.col("period_days").first())
        .with_columns(expected=(pl.lit(last) - pl.col("since")).dt.total_days() // pl.col("days") + 1)
        .with_columns(permille=1000 * pl.col("reported") // pl.col("expected"))
        .sort("permille", "institution_code")
    )
    worst = series.filter(pl.col("reported") < pl.col("expected")).head(WORST_SERIES)
    return ResourceQuality(
        resource=resource,
        reports=reports.height,
        values=values,
        series=series.height,
        complete=int((series["reported"] >= series["expected"]).sum()),
        median_permille=int(series["permille"].to_list()[series.height // 2]),
        gaps=tuple(
            SeriesGap(institution=row["institution_code"], reported=row["reported"], expected=row["expected"])
            for row in worst.iter_rows(named=True)
        ),
    )


def _merged(found: list[FlagCount]) -> list[FlagCount]:
    """One entry for each flag and resource, in the order of `Flag`."""
    merged: dict[tuple[Flag, str], FlagCount] = {}
    for hit in found:
        key = (hit.flag, hit.resource)
        before = merged.get(key)
        rows = tuple(sorted({*(before.rows if before else ()), *hit.rows}))[:EXAMPLES]
        count = hit.count + (before.count if before else 0)
        merged[key] = FlagCount(flag=hit.flag, count=count, resource=hit.resource, rows=rows)
    order = list(Flag)
    return sorted(merged.values(), key=lambda hit: (order.index(hit.flag), hit.resource))
