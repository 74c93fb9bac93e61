"""What every reader of a published format answers with, and the one error it raises.

A `Feed` exists only after the whole file passed: nobody ever holds half a file. Storing it is left to services.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time
from types import MappingProxyType
from typing import Final

import polars as pl

from sharewell.domain.capacity import MEASURES, CapacityDraft, Mark
from sharewell.domain.errors import Invalid
from sharewell.domain.institutions import InstitutionDraft
from sharewell.domain.quality import QualityReport

#: One row an institution, resource and period. `as_of` is the first day of the period, at 00:00 UTC.
REPORT_SCHEMA: Final[dict[str, pl.DataType]] = {
    "row": pl.UInt32(),
    "institution_code": pl.String(),
    "resource": pl.String(),
    "as_of": pl.Date(),
    "period_days": pl.Int16(),
    "source": pl.String(),
    "coverage": pl.Int16(),
    **{measure: pl.Int32() for measure in MEASURES},
    **{f"{measure}_mark": pl.String() for measure in MEASURES},
}
#: What names a report in its format for ever; the same key with other numbers later is a restatement.
NATURAL_KEY: Final = ("institution_code", "resource", "as_of")


class FeedRefused(Invalid):
    """The file cannot be read as the format it is said to be."""

    def __init__(self, problem: str, *, row: int | None = None, column: str | None = None) -> None:
        self.row = row  #: as a spreadsheet counts: the header is row 1
        self.column = column
        self.problem = problem
        where = ", ".join([*([] if row is None else [f"row {row}"]), *([] if column is None else [f"column {column}"])])
        super().__init__(f"{where}: {problem}" if where else problem, field="file")


@dataclass(frozen=True, slots=True, kw_only=True)
class Feed:
    """One published file, read whole."""

    format: str
    dialect: str
    sha256: str  #: of the file's bytes, 64 hex digits
    companion_sha256: str = ""  #: of the second file some formats take, such as locations
    institutions: tuple[InstitutionDraft, ...] = field(repr=False)
    reports: pl.DataFrame = field(repr=False)  #: columns of `REPORT_SCHEMA`, ordered by `NATURAL_KEY`
    quality: QualityReport = field(repr=False)

    def drafts(self) -> Iterator[tuple[str, CapacityDraft]]:
        """Each report as (institution code, draft), in the order of `reports`."""
        for row in self.reports.iter_rows(named=True):
            yield row["institution_code"], CapacityDraft(
                resource=row["resource"], as_of=midnight(row["as_of"]), period_days=row["period_days"],
                source=row["source"], coverage=row["coverage"],
                marks=MappingProxyType({m: Mark(row[f"{m}_mark"]) for m in MEASURES if row[f"{m}_mark"]}),
                **{measure: row[measure] for measure in MEASURES},
            )  # fmt: skip


def midnight(day: date) -> datetime:
    """The first instant of `day` in UTC."""
    return datetime.combine(day, time(), UTC)
