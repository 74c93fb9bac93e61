"""US HHS "Patient Impact and Hospital Capacity by Facility" (healthdata.gov anag-cw7u, frozen 3 May 2024).

One row a hospital and week, the week named by its first day, a Friday. Three dialects circulate: the original, an R
re-export and a pandas re-export; a file is in one of them. `-999999` hides a count of 1 to 3: it is not missing.

Figures follow from the weekly total and the days it covers, which are published for more rows than the averages and
are exact; the pandas re-export has averages that its author filled forward, so there the total alone counts.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import date
from typing import Any, Final

import polars as pl

from sharewell.domain.capacity import Mark
from sharewell.domain.checks import MAX_UNITS
from sharewell.domain.institutions import InstitutionDraft, InstitutionKind, InstitutionStatus
from sharewell.domain.quality import SUPPRESSED_VALUE, Flag
from sharewell.exchange import rules, table
from sharewell.exchange.codes import code_of, names_in, refuse_shared_codes
from sharewell.exchange.feed import Feed, FeedRefused
from sharewell.exchange.table import Table

FORMAT: Final = "hhs"
WEEK: Final = 7
SUPPRESSED: Final = -999_999
KEYS: Final = ("hospital_pk", "collection_week", "state", "hospital_name")
OPTIONAL: Final = ("is_metro_micro", "geocoded_hospital_address", "is_corrected")
_POINT: Final = r"^POINT \((-?\d{1,3}(?:\.\d+)?) (-?\d{1,2}(?:\.\d+)?)\)$"


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialect:
    """How a re-exporter writes what is missing and what is true."""

    name: str
    true: str
    false: str
    missing: frozenset[str]  #: words for a missing number; empty where the cell is blank
    averages_hold: bool = True  #: False where averages were filled forward


ORIGINAL: Final = Dialect(name="original", true="true", false="false", missing=frozenset())
R: Final = Dialect(name="r", true="TRUE", false="FALSE", missing=frozenset({"NA"}))
PANDAS: Final = Dialect(name="pandas", true="True", false="False", missing=frozenset(), averages_hold=False)
DIALECTS: Final = (ORIGINAL, R, PANDAS)

#: resource -> (measure -> column stem); the stem is followed by _7_day_sum, _7_day_avg and _7_day_coverage.
RESOURCES: Final = {
    "bed.adult": {
        "staffed": "all_adult_hospital_inpatient_beds",
        "occupied": "all_adult_hospital_inpatient_bed_occupied",
    },
    "icu.adult": {
        "staffed": "total_staffed_adult_icu_beds",
        "occupied": "staffed_adult_icu_bed_occupancy",
    },
}
ADMISSIONS: Final = {"bed.adult": "previous_day_admission_adult_covid_confirmed_7_day_sum"}


def read(data: bytes, *, latest: date) -> Feed:
    """Read a facility file whose weeks begin no later than `latest`. Raises `FeedRefused`."""
    cells = table.read(data, need=KEYS, want=_wanted)
    dialect = _dialect(cells)
    tally = rules.Tally()
    wide = _wide(cells, dialect, latest)
    sums = [name for name in cells.frame.columns if name.endswith("_7_day_sum")]
    corrected = "corrected" if "is_corrected" in cells else None
    figures = [name for name in cells.frame.columns if name not in ("row", *KEYS, *OPTIONAL)]
    once = rules.one_row_each(wide, figures, tally, restates=True, corrected=corrected)
    carried = _carried(once, sums, tally)
    source = _Source(cells=Table(cells.header, once), dialect=dialect, carried=carried, tally=tally)
    long = [_reports(source, resource) for resource in RESOURCES]
    present = [reports for reports in long if reports is not None]
    if not present:
        raise FeedRefused("the header has the columns of no resource, such as adult beds.", row=1)
    reports = rules.settle(pl.concat(present, how="diagonal"), tally)
    institutions = _institutions(once, dialect, tally)
    return Feed(
        format=FORMAT,
        dialect=dialect.name,
        sha256=hashlib.sha256(data).hexdigest(),
        institutions=institutions,
        reports=reports,
        quality=rules.quality(
            reports, tally, name=FORMAT, dialect=dialect.name, rows_read=len(cells), institutions=len(institutions)
        ),
    )


def _wanted(column: str) -> bool:
    stems = [stem for measures in RESOURCES.values() for stem in measures.values()]
    return (
        column in OPTIONAL
        or column.endswith("_7_day_sum")
        or column.removesuffix("_7_day_avg") in stems
        or column.removesuffix("_7_day_coverage") in stems
    )


def _dialect(cells: Table) -> Dialect:
    """Name the dialect by how the file spells truth, and refuse a file that spells it in two ways."""
    flags = [column for column in ("is_metro_micro", "is_corrected") if column in cells]
    spelling = {word: dialect for dialect in DIALECTS for word in (dialect.true, dialect.false)}
    words = [
        word
        for column in flags
        for word in cells.frame[column].unique(maintain_order=True).drop_nulls()
        if word in spelling
    ]
    if words:
        dialect = spelling[words[0]]
    else:
        dialect = (
            R if any((cells.frame[column] == "NA").any() for column in cells.header if column in cells) else ORIGINAL
        )
    for column in flags:
        foreign = cells.frame[column].is_in([dialect.true, dialect.false, *R.missing]).not_().fill_null(value=False)
        cells.refuse_where(
            foreign, column,
            lambda cell: f"{cell!r} is not {dialect.true} or {dialect.false} as elsewhere; it mixes two dialects.",
        )  # fmt: skip
    return dialect


def _wide(cells: Table, dialect: Dialect, latest: date) -> pl.DataFrame:
    """The file's rows with their key and more: row, institution_code, as_of, region, corrected, name."""
    pk = cells.required("hospital_pk", missing=dialect.missing)
    state = cells.text("state", missing=dialect.missing)
    cells.refuse_where(~state.str.contains("^[A-Z]{2}$"), "state", lambda cell: f"{cell!r} is not two capital letters.")
    codes = code_of("us-hhs", pk)
    refuse_shared_codes(cells, "hospital_pk", codes)
    corrected = cells.text("is_corrected") == dialect.true if "is_corrected" in cells else None
    return cells.frame.with_columns(
        institution_code=codes,
        as_of=cells.dates("collection_week", formats=("%Y-%m-%d", "%Y/%m/%d"), latest=latest),
        region=("us-" + state.str.to_lowercase()).fill_null("us"),
        corrected=corrected,
        name=names_in(cells, "hospital_name"),
    )


def _carried(once: pl.DataFrame, sums: list[str], tally: rules.Tally) -> pl.Series:
    """Rows whose every weekly total is that of the week before, where there are people to count."""
    occupied = RESOURCES["bed.adult"]["occupied"] + "_7_day_sum"
    repeated = rules.repeats_the_period_before(once, sums, period_days=WEEK)
    if occupied in once.columns:
        repeated &= (once[occupied].cast(pl.Float64, strict=False) > 0).fill_null(value=False)
    tally.add(Flag.CARRIED_FORWARD, once["row"].filter(repeated))
    return repeated


@dataclass(frozen=True, slots=True, kw_only=True)
class _Source:
    """The rows that count, and what is needed to read a figure of them."""

    cells: Table
    dialect: Dialect
    carried: pl.Series  #: rows that repeat the week before
    tally: rules.Tally

    def tell(self, flag: Flag, hit: pl.Series, resource: str) -> None:
        self.tally.add(flag, self.cells.frame["row"].filter(hit.fill_null(value=False)), resource=resource)

    def figures(self, resource: str, column: str, *, whole: bool = True) -> tuple[pl.Series, pl.Series]:
        """The numbers of `column`, and where they are suppressed; nothing at all for a column the file lacks."""
        if column not in self.cells:
            nothing = pl.Series(column, [None], dtype=pl.Float64).new_from_index(0, len(self.cells))
            return nothing, nothing.is_not_null()
        missing = self.dialect.missing
        numbers = self.cells.numbers(column, missing=missing, whole=whole, blank=not missing)
        hidden = (numbers == SUPPRESSED).fill_null(value=False)
        shown = numbers.set(hidden, None)
        rows = self.cells.frame["row"]
        return rules.sane(shown, rows, self.tally, resource=resource, most=MAX_UNITS * WEEK), hidden

    def coverage(self, column: str) -> pl.Series:
        """Days that a weekly figure covers."""
        missing = self.dialect.missing
        days = self.cells.numbers(column, missing=missing, blank=not missing)
        self.cells.refuse_where(
            (days < 0) | (days > WEEK), column, lambda cell: f"{cell!r} is not a number of days from 0 to 7."
        )
        return days.cast(pl.Int64)

    def marked(self, measure: str, numbers: pl.Series, hidden: pl.Series) -> list[pl.Series]:
        """The columns of a measure: its numbers, hidden ones by their rule, and its marks."""
        known = numbers.set(hidden, SUPPRESSED_VALUE)
        marks = rules.mark(known, f"{measure}_mark", self.carried).set(hidden, Mark.SUPPRESSED.value)
        return [known.alias(measure), marks]


def _reports(source: _Source, resource: str) -> pl.DataFrame | None:
    """The reports of one resource, or None where the file lacks its columns."""
    measures = RESOURCES[resource]
    wanted = [f"{stem}_7_day_{kind}" for stem in measures.values() for kind in ("sum", "coverage")]
    if not all(column in source.cells for column in wanted):
        source.tally.add_count(Flag.ABSENT_COLUMNS, 1, resource=resource)
        return None
    columns: list[pl.Series] = []
    for measure, stem in measures.items():
        columns += source.marked(measure, *_daily_mean(source, resource, stem))
    if resource in ADMISSIONS:  # a total over the covered days, not a mean
        admitted, hidden = source.figures(resource, ADMISSIONS[resource])
        columns += source.marked("admissions", admitted.cast(pl.Int64), hidden)
    covered = [source.coverage(f"{stem}_7_day_coverage").alias(stem) for stem in measures.values()]
    return source.cells.frame.select(
        "row", "institution_code", "as_of",
        resource=pl.lit(resource), period_days=pl.lit(WEEK), source=pl.lit(FORMAT),
        coverage=pl.DataFrame(covered).min_horizontal(),
    ).with_columns(columns)  # fmt: skip


def _daily_mean(source: _Source, resource: str, stem: str) -> tuple[pl.Series, pl.Series]:
    """The mean a day of one figure, half rounded up, and where neither total nor average shows it."""
    total, hidden_total = source.figures(resource, f"{stem}_7_day_sum")
    average, hidden_average = source.figures(resource, f"{stem}_7_day_avg", whole=False)
    coverage = source.coverage(f"{stem}_7_day_coverage")
    covered = (coverage > 0).fill_null(value=False)
    source.tell(Flag.NO_COVERAGE, (total != 0) & ~covered, resource)
    days = coverage.set(~covered, None)
    # Averages are published with one decimal, so an honest one is within 0.05 of what its total gives.
    differs = (total / days - average).abs() > 0.06
    holds = source.dialect.averages_hold
    source.tell(Flag.AVERAGE_DIFFERS if holds else Flag.FILLED_AVERAGE, differs, resource)
    mean = (2 * total.cast(pl.Int64) + days) // (2 * days)  # floor(total / days + 1/2) in whole numbers
    if holds:
        mean = mean.zip_with(mean.is_not_null(), (average + 0.5).floor().cast(pl.Int64))
    return mean, mean.is_null() & (hidden_total | hidden_average)


def _institutions(once: pl.DataFrame, dialect: Dialect, tally: rules.Tally) -> tuple[InstitutionDraft, ...]:
    """Each hospital as its newest row describes it."""
    names = once.group_by("institution_code").agg(pl.col("name").n_unique())
    tally.add_count(Flag.OTHER_NAME, int((names["name"] > 1).sum()))
    blank = [pl.lit(None, dtype=pl.String).alias(name) for name in OPTIONAL if name not in once.columns]
    newest = once.with_columns(blank).sort("as_of").unique("institution_code", keep="last").sort("institution_code")
    point = pl.col("geocoded_hospital_address")
    described = newest.select(
        "institution_code",
        pl.col("name").fill_null(pl.col("institution_code")),
        "region",
        point.str.extract(_POINT, 2).cast(pl.Float64).alias("latitude"),
        point.str.extract(_POINT, 1).cast(pl.Float64).alias("longitude"),
        # HHS's own split: in a metropolitan or micropolitan area, or outside both.
        pl.col("is_metro_micro").replace_strict(
            {dialect.true: "urban", dialect.false: "rural"}, default="general", return_dtype=pl.String
        ).fill_null("general"),
    )  # fmt: skip
    drafts = tuple(_institution(row) for row in described.iter_rows(named=True))
    tally.add_count(Flag.NOT_LOCATED, sum(draft.latitude is None for draft in drafts))
    return drafts


def _institution(row: dict[str, Any]) -> InstitutionDraft:
    latitude, longitude = row["latitude"], row["longitude"]
    on_earth = latitude is not None and longitude is not None and abs(latitude) <= 90 and abs(longitude) <= 180
    return InstitutionDraft(
        code=row["institution_code"],
        name=row["name"],
        kind=InstitutionKind.HOSPITAL,
        region=row["region"],
        latitude=latitude if on_earth else None,
        longitude=longitude if on_earth else None,
        equity_group=row["is_metro_micro"],
        status=InstitutionStatus.OBSERVED,
    )
