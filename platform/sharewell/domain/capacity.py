"""Capacity reports: what an institution says it has, when, from which source, and how sure each number is.

A report is never rewritten: a correction is a new report that names the one it corrects.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType
from uuid import UUID

from sharewell.domain import checks
from sharewell.domain.errors import Invalid

MEASURES = ("staffed", "occupied", "blocked", "surge_24h", "surge_72h", "waiting", "admissions")


class Mark(StrEnum):
    """Where a number comes from."""

    REPORTED = "reported"
    SUPPRESSED = "suppressed"  #: the source hides a small count; only its interval is known
    IMPUTED = "imputed"
    CARRIED_FORWARD = "carried_forward"


@dataclass(frozen=True, slots=True, kw_only=True)
class CapacityDraft:
    """What an institution, a device or a feed reports of one resource at one moment."""

    resource: str
    as_of: datetime  #: the moment the numbers were true, not when they were sent
    staffed: int | None = None  #: units that can be used now
    occupied: int | None = None  #: of these, units in use
    blocked: int | None = None  #: of the staffed, units closed for now
    surge_24h: int | None = None  #: units that could be added within 24 hours (EDXL-HAVE)
    surge_72h: int | None = None  #: units that could be added within 72 hours, the 24-hour ones included
    waiting: int | None = None  #: people or orders that need a unit and have none
    admissions: int | None = None  #: new needs that began in the period
    period_days: int = 1  #: days the numbers are the mean of
    source: str = "api"
    coverage: int | None = None  #: days of the period with a report
    marks: Mapping[str, Mark] = field(default_factory=lambda: MappingProxyType({}))
    corrects: UUID | None = None  #: the report this one corrects


@dataclass(frozen=True, slots=True, kw_only=True)
class CapacityReport:
    """A report as it was taken in."""

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
    period_days: int
    source: str
    coverage: int | None
    marks: Mapping[str, Mark]
    corrects: UUID | None
    recorded_at: datetime

    @classmethod
    def report(cls, draft: CapacityDraft, *, id: UUID, by: UUID, at: datetime) -> CapacityReport:  # noqa: A002
        """Take `draft` in as institution `by`'s, or raise `Invalid` for a number that cannot be."""
        numbers = {name: _optional_units(getattr(draft, name), name) for name in MEASURES}
        checks.moment(draft.as_of, "asOf")
        _refuse_the_impossible(numbers, draft, at)
        return cls(
            id=id, institution=by, resource=checks.code(draft.resource, "resource"), as_of=draft.as_of,
            period_days=checks.units(draft.period_days, "periodDays", least=1, most=31),
            source=checks.code(draft.source, "source"), coverage=draft.coverage,
            marks=MappingProxyType(dict(draft.marks)), corrects=draft.corrects, recorded_at=at, **numbers,
        )  # fmt: skip

    @property
    def withheld(self) -> tuple[()]:
        """Nothing: every number is told as it is; see `domain.visibility` for whoever is told less."""
        return ()

    @property
    def free(self) -> int | None:
        """Units staffed that are neither occupied nor blocked; None where either number is missing."""
        if self.staffed is None or self.occupied is None:
            return None
        return max(0, self.staffed - self.occupied - (self.blocked or 0))

    @property
    def need(self) -> int | None:
        """Units in use plus those waited for; None where use is not reported."""
        return None if self.occupied is None else self.occupied + (self.waiting or 0)


def _optional_units(value: int | None, name: str) -> int | None:
    return None if value is None else checks.units(value, camel(name))


def _refuse_the_impossible(numbers: Mapping[str, int | None], draft: CapacityDraft, at: datetime) -> None:
    staffed, occupied, blocked = numbers["staffed"], numbers["occupied"], numbers["blocked"] or 0
    surge_24h, surge_72h = numbers["surge_24h"], numbers["surge_72h"]
    if all(value is None for value in numbers.values()):
        raise Invalid("a report needs at least one number, such as staffed.", field="staffed")
    if staffed is not None and blocked > staffed:
        raise Invalid(f"blocked is {blocked}, more than the {staffed} staffed.", field="blocked")
    if staffed is not None and occupied is not None and occupied + blocked > staffed:
        raise Invalid(
            f"occupied {occupied} and blocked {blocked} exceed the {staffed} staffed; "
            "count those without a unit under waiting.",
            field="occupied",
        )
    if surge_24h is not None and surge_72h is not None and surge_24h > surge_72h:
        raise Invalid("surge72h includes what surge24h counts, so it cannot be smaller.", field="surge72h")
    if draft.as_of > at:
        raise Invalid("asOf lies in the future; report what was true, offer what will be.", field="asOf")
    if draft.coverage is not None and not 0 <= draft.coverage <= draft.period_days:
        raise Invalid(f"coverage counts days of the period: 0 to {draft.period_days}.", field="coverage")
    unknown = set(draft.marks) - set(MEASURES)
    if unknown:
        raise Invalid(f"marks names {min(unknown)!r}; it may name {', '.join(MEASURES)}.", field="marks")


def camel(name: str) -> str:
    """`surge_24h` as the API spells it: `surge24h`."""
    head, *rest = name.split("_")
    return head + "".join(part.capitalize() for part in rest)
