"""What a reader sees of counts that are another institution's: exact, or withheld, that is told as a range.

A count from 1 to 10 points at people, so whoever is not entitled to exact numbers is told that it lies from 1 to 10.
Numbers that add up could be subtracted, so a report is taken apart into *cells* that nothing ties to each other (units
in use, blocked, free, ...), each cell is told by its own value alone, and every other number is the sum of what is told
of its cells. All that a reader can conclude is then what it is told: any value in the range of one cell goes with any
in the others'. A total over institutions is again the sum of what the reader is told of each, so no difference of
answers tells more. There is no noise, so asking again tells nothing either. A run's totals are exact or not told at
all: not where the part of any institution in them is such a count, so that there is none to be worked out from them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from sharewell.domain.capacity import MEASURES, CapacityReport, Mark
from sharewell.domain.policy import Action

SMALL: Final = range(1, 11)  #: counts that are withheld from whoever is not entitled to exact ones


@dataclass(frozen=True, slots=True)
class Entitled:
    """Who is told some fields of a type exactly."""

    act: Action  #: whoever may do this
    fields: tuple[str, ...]


_DOCUMENTS: Final = Action.VIEW_RUN_DOCUMENTS
#: By type of the API, what is told exactly to whom alone; `docs/policies.md` says what everybody else is told.
ENTITLED: Final[Mapping[str, Entitled]] = {
    "CapacityReport": Entitled(Action.VIEW_EXACT_CAPACITY, (*MEASURES, "free", "need")),
    "RegionCapacity": Entitled(Action.VIEW_EXACT_CAPACITY, ("staffed", "occupied", "blocked", "free", "waiting")),
    "Allocation": Entitled(_DOCUMENTS, ("needed", "assigned", "measures", "ceiling", "short_by", "stages")),
    "PlanAnswers": Entitled(_DOCUMENTS, ("units_open", "units_accepted", "units_lost")),
    "SolverReport": Entitled(_DOCUMENTS, ("bound",)),
    "Horizon": Entitled(_DOCUMENTS, ("sentence", "by_day", "by_resource", "stages")),
    "Transfer": Entitled(Action.VIEW_EXACT_CAPACITY, ("reason",)),
}


@dataclass(frozen=True, slots=True)
class Between:
    """All that is told of a total; exact where both ends are the same."""

    at_least: int
    at_most: int

    @property
    def exact(self) -> int | None:
        """The total, where it is told."""
        return self.at_least if self.at_least == self.at_most else None


@dataclass(frozen=True, slots=True)
class Withheld:
    """A number that is not told, and what is told instead."""

    count: str  #: a measure, `free` or `need`
    at_least: int
    at_most: int


@dataclass(frozen=True, slots=True, kw_only=True)
class VeiledReport:
    """A capacity report as somebody sees it who is not entitled to exact numbers; the fields of `CapacityReport`."""

    id: UUID
    institution: UUID
    resource: str
    as_of: datetime
    staffed: int | None
    occupied: int | None
    blocked: int | None
    surge_24h: int | None
    surge_72h: int | None
    waiting: int | None
    admissions: int | None
    free: int | None
    need: int | None
    period_days: int
    source: str
    coverage: int | None
    marks: Mapping[str, Mark]
    corrects: UUID | None
    recorded_at: datetime
    withheld: Sequence[Withheld]

    @classmethod
    def of(cls, report: CapacityReport) -> VeiledReport:
        """What of `report` is told. A mark goes with its number: that a source hides less says what is hidden here."""
        ranges, withheld = told(report), []
        numbers: dict[str, Any] = dict.fromkeys(ENTITLED["CapacityReport"].fields)
        for name, (low, high) in ranges.items():
            if low == high:
                numbers[name] = low
            else:
                withheld.append(Withheld(name, low, high))
        hidden = {one.count for one in withheld}
        return cls(
            id=report.id, institution=report.institution, resource=report.resource, as_of=report.as_of,
            period_days=report.period_days, source=report.source, coverage=report.coverage,
            marks={name: mark for name, mark in report.marks.items() if name not in hidden},
            corrects=report.corrects, recorded_at=report.recorded_at, withheld=tuple(withheld), **numbers,
        )  # fmt: skip


def told(report: CapacityReport) -> dict[str, tuple[int, int]]:
    """By name, the least and the most that whoever is not entitled is told of each number that there is."""
    ends = {name: (SMALL[0], SMALL[-1]) if count in SMALL else (count, count) for name, count in cells(report).items()}
    ranges = {}
    for name, parts in SUMS.items():
        if getattr(report, name) is not None:
            low = high = 0
            for part in parts:
                if part in ends:
                    low, high = low + ends[part][0], high + ends[part][1]
            ranges[name] = low, high
    return ranges


@dataclass(frozen=True, slots=True, kw_only=True)
class RegionCapacity:
    """What the newest reports of a region add up to for one resource, for one reader."""

    region: str
    resource: str
    institutions: int  #: that reported any of it
    oldest: datetime  #: the earliest of the moments they speak of
    staffed: Between
    occupied: Between
    blocked: Between
    free: Between
    waiting: Between


def region_totals(region: str, reports: Sequence[CapacityReport | VeiledReport]) -> list[RegionCapacity]:
    """By resource, the sum of what a reader is told of each report; what one does not state counts for nothing."""
    of: dict[str, list[CapacityReport | VeiledReport]] = {}
    for report in reports:
        of.setdefault(report.resource, []).append(report)
    return [
        RegionCapacity(
            region=region, resource=resource, institutions=len(rows), oldest=min(row.as_of for row in rows),
            **{name: _total(rows, name) for name in ENTITLED["RegionCapacity"].fields},
        )
        for resource, rows in sorted(of.items())
    ]  # fmt: skip


def _total(reports: Sequence[CapacityReport | VeiledReport], name: str) -> Between:
    exact = sum(getattr(report, name) or 0 for report in reports)
    ranges = [one for report in reports for one in report.withheld if one.count == name]
    return Between(exact + sum(one.at_least for one in ranges), exact + sum(one.at_most for one in ranges))


#: Of each number, the cells it is the sum of; those that a report has not count for nothing.
SUMS: Final[Mapping[str, Sequence[str]]] = {
    "staffed": ("occupied", "blocked", "rest"),
    "occupied": ("occupied",),
    "blocked": ("blocked",),
    "surge_24h": ("surge_24h",),
    "surge_72h": ("surge_24h", "later"),
    "waiting": ("waiting",),
    "admissions": ("admissions",),
    "free": ("rest",),
    "need": ("occupied", "waiting"),
}


def cells(report: CapacityReport) -> dict[str, int]:
    """The counts of `report` that are not tied to each other: each may be any whole number, whatever the others are.

    `rest`: of the staffed, what is neither occupied nor blocked; `later`: units that could be added after a day.
    """
    apart = ("occupied", "blocked", "surge_24h", "waiting", "admissions")
    found = {name: count for name in apart if (count := getattr(report, name)) is not None}
    if report.staffed is not None:
        found["rest"] = report.staffed - found.get("occupied", 0) - found.get("blocked", 0)
    if report.surge_72h is not None:
        found["later"] = report.surge_72h - found.get("surge_24h", 0)
    return found


def coarse(measures: Mapping[str, Any]) -> dict[str, Any]:
    """A run's measures with shares in steps of 50 per mille: the exact share of a small need tells the need."""
    return {name: value // STEP * STEP if name in SHARES else value for name, value in measures.items()}


STEP: Final = 50
SHARES: Final = ("smallest_fill", "median_fill", "gini", "jain")


def for_the_receiver(reason: str) -> str:
    """A transfer's reason without what its giver has, keeps and could spare; see `domain.explanation`."""
    before, clause, after = reason.partition(KEEPS)
    return f"{before}.{after.partition('.')[2]}" if clause else reason


KEEPS: Final = "; the owner keeps "  #: begins the clause on the giver in a transfer's reason, up to the next full stop
