"""How good a published file was: what was kept, what was changed or left out, by which rule, and where to look.

Everything here is counts, codes and row numbers, so that a report can be shown to anyone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Self

from sharewell.domain.canonical import Json
from sharewell.domain.capacity import Mark

#: A count that the source hides is known to lie in this interval, ends included, and is taken as its midpoint.
SUPPRESSED_LOW: Final = 1
SUPPRESSED_HIGH: Final = 3
SUPPRESSED_VALUE: Final = 2

EXAMPLES: Final = 3  #: row numbers kept for each flag
WORST_SERIES: Final = 20  #: series with gaps that a report names


class Treatment(StrEnum):
    """What happens to that which a rule hits."""

    KEPT = "kept"
    CHANGED = "changed"
    LEFT_OUT = "left out"


class Flag(StrEnum):
    """A rule that hit: its code, what happens to what it hits, and the sentence a person reads after the count."""

    treatment: Treatment
    sentence: str

    def __new__(cls, code: str, treatment: Treatment, sentence: str) -> Self:
        flag = str.__new__(cls, code)
        flag._value_ = code
        flag.treatment, flag.sentence = treatment, sentence
        return flag

    TOTAL_ROW = "total-row", Treatment.LEFT_OUT, "rows with the total of all regions, which would count units twice"
    DUPLICATE_ROW = "duplicate-row", Treatment.LEFT_OUT, "rows that repeat another row word for word"
    REPLACED_ROW = (
        "replaced-row", Treatment.LEFT_OUT,
        "rows of an institution and period that another row of the file restates",
    )  # fmt: skip
    EMPTY_REPORT = "empty-report", Treatment.LEFT_OUT, "rows that say nothing about the resource"
    NEGATIVE = "negative", Treatment.LEFT_OUT, "numbers below zero"
    TOO_LARGE = "too-large", Treatment.LEFT_OUT, "numbers larger than any institution can hold"
    NO_COVERAGE = "no-coverage", Treatment.LEFT_OUT, "weekly totals of which no day is covered"
    FILLED_AVERAGE = (
        "filled-average", Treatment.LEFT_OUT,
        "weekly averages that do not follow from their total, which an author of the file filled in",
    )  # fmt: skip
    AVERAGE_DIFFERS = (
        "average-differs",
        Treatment.KEPT,
        "weekly averages that disagree with their total; the total counts",
    )
    ZERO_STAFFED = (
        "zero-staffed", Treatment.LEFT_OUT,
        "zeros under staffed beside people in beds, which mean that staffed was not reported",
    )  # fmt: skip
    CONTRADICTION = (
        "contradiction", Treatment.LEFT_OUT,
        "pairs of staffed and occupied so far apart that one of them must be wrong",
    )  # fmt: skip
    OVER_STAFFED = (
        "over-staffed",
        Treatment.CHANGED,
        "reports with more people than staffed units; the excess is waiting",
    )
    PARTS_MISSING = "parts-missing", Treatment.CHANGED, "sums with a blank part, which is taken as zero"
    CENSUS_USED = "census-used", Treatment.CHANGED, "blank bed counts for which the count of patients stands in"
    CENSUS_DIFFERS = "census-differs", Treatment.KEPT, "rows whose beds in use and patients differ by more than a tenth"
    CARRIED_FORWARD = "carried-forward", Treatment.CHANGED, "rows that repeat every figure of the period before; marked"
    SPIKE = "spike", Treatment.KEPT, "numbers far from both neighbours in time, which agree with each other"
    FEW_AREAS = "few-areas", Treatment.KEPT, "days on which fewer than four in five of the usual wards reported"
    NEW_DEFINITION = (
        "new-definition",
        Treatment.KEPT,
        "rows under a later definition of the source; their source says which",
    )
    OTHER_NAME = "other-name", Treatment.KEPT, "institutions with several names in the file; the newest counts"
    NOT_LOCATED = "not-located", Treatment.KEPT, "institutions without a usable location"
    ABSENT_COLUMNS = "absent-columns", Treatment.LEFT_OUT, "resources whose columns the file does not have"


@dataclass(frozen=True, slots=True, kw_only=True)
class FlagCount:
    """How often a rule hit, and the first rows where it did."""

    flag: Flag
    count: int
    resource: str = ""  #: empty where the rule looks at whole rows
    rows: tuple[int, ...] = ()  #: as a spreadsheet counts: the header is row 1

    @property
    def sentence(self) -> str:
        where = f" in {self.resource}" if self.resource else ""
        rows = f" (row {', '.join(map(str, self.rows))}{', …' if self.count > len(self.rows) else ''})"
        return f"{self.flag.treatment}: {self.count}{where} — {self.flag.sentence}{rows if self.rows else ''}."


@dataclass(frozen=True, slots=True, kw_only=True)
class SeriesGap:
    """A series that lacks periods between its first report and the last of the file."""

    institution: str  #: code
    reported: int
    expected: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ResourceQuality:
    """What one resource got from the file."""

    resource: str
    reports: int
    values: Mapping[Mark, int]
    series: int  #: institutions with at least one report
    complete: int  #: series without a gap
    median_permille: int  #: reported of expected periods, median over the series
    gaps: tuple[SeriesGap, ...] = ()  #: the worst, at most `WORST_SERIES`

    def sentences(self) -> list[str]:
        marks = ", ".join(f"{count} {mark.replace('_', ' ')}" for mark, count in self.values.items() if count)
        known = f"{self.resource}: {self.reports} reports of {self.series} institutions; values: {marks or 'none'}."
        if self.complete == self.series:
            return [known, f"{self.resource}: no series has a gap."]
        worst = self.gaps[0]
        return [
            known,
            (
                f"{self.resource}: {self.series - self.complete} series have gaps (median completeness "
                f"{self.median_permille / 10:.1f} %); the widest is {worst.institution} with {worst.reported} "
                f"of {worst.expected} periods."
            ),
        ]


@dataclass(frozen=True, slots=True, kw_only=True)
class QualityReport:
    """What became of one file."""

    format: str
    dialect: str
    rows_read: int
    rows_left_out: int  #: whole rows; single numbers left out are counted by their flags
    institutions: int
    first_period: str  #: ISO date, empty where nothing was kept
    last_period: str
    resources: tuple[ResourceQuality, ...]
    flags: tuple[FlagCount, ...]

    def count(self, flag: Flag) -> int:
        """How often `flag` was raised over all resources."""
        return sum(found.count for found in self.flags if found.flag is flag)

    def sentences(self) -> list[str]:
        """The report in words, one sentence a line."""
        rows = f"Read {self.rows_read} rows of {self.format} ({self.dialect}); left out {self.rows_left_out} of them."
        span = f"Periods {self.first_period} to {self.last_period}, {self.institutions} institutions."
        hidden = sum(resource.values.get(Mark.SUPPRESSED, 0) for resource in self.resources)
        rule = (
            f"A suppressed number lies between {SUPPRESSED_LOW} and {SUPPRESSED_HIGH} and is taken as "
            f"{SUPPRESSED_VALUE}, or as the nearest number its pair allows."
        )
        return [
            rows,
            *([span] if self.first_period else ["Nothing was kept."]),
            *(sentence for resource in self.resources for sentence in resource.sentences()),
            *([rule] if hidden else []),
            *(found.sentence for found in self.flags),
        ]

    def to_json(self) -> dict[str, Json]:
        """The report as JSON of strings and whole numbers, for the store and for programs."""
        return {
            "format": self.format,
            "dialect": self.dialect,
            "rowsRead": self.rows_read,
            "rowsLeftOut": self.rows_left_out,
            "institutions": self.institutions,
            "firstPeriod": self.first_period,
            "lastPeriod": self.last_period,
            "resources": [_resource_json(resource) for resource in self.resources],
            "flags": [
                {
                    "flag": found.flag.value,
                    "treatment": found.flag.treatment.value,
                    "sentence": found.sentence,
                    "resource": found.resource,
                    "count": found.count,
                    "rows": list(found.rows),
                }
                for found in self.flags
            ],
        }


def _resource_json(quality: ResourceQuality) -> dict[str, Json]:
    return {
        "resource": quality.resource,
        "reports": quality.reports,
        "values": {mark.value: count for mark, count in quality.values.items()},
        "series": quality.series,
        "complete": quality.complete,
        "medianPermille": quality.median_permille,
        "gaps": [
            {"institution": gap.institution, "reported": gap.reported, "expected": gap.expected} for gap in quality.gaps
        ],
    }
