"""What a run answers: units from offers to requests, and for each request left short, why.

A plan is only a claim. `allocation.check_plan` says whether it is a valid one, `certificate` whether it is the best.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import cached_property
from typing import TYPE_CHECKING, cast

from sharewell.domain import canonical
from sharewell.domain.certificate import Certificate
from sharewell.domain.checks import MAX_UNITS
from sharewell.domain.errors import Invalid
from sharewell.domain.instance import MAX_LANES, MAX_ROWS
from sharewell.domain.strict import Record

if TYPE_CHECKING:
    from sharewell.domain.canonical import Json

FORMAT = "sharewell/plan@1"
SHARES = ("floor", "projected_proportional")  #: stages whose values are shares, so no sums


class Reason(StrEnum):
    """Why a request stays short; a closed list, so that reasons can be counted."""

    NO_LANE = "no_lane"  #: no owner is in reach in time
    OWNERS_AT_MINIMUM = "owners_at_minimum"  #: owners are in reach, and none has a unit above what it keeps
    SUPPLY_EXHAUSTED = "supply_exhausted"  #: every unit in reach went to this request, and it was not enough
    LANE_CAP = "lane_cap"  #: units are there, but the lanes are full
    OUTCOMPETED = "outcompeted"  #: the units in reach do more elsewhere, by the rule of the run
    RESERVED = "reserved"  #: the units in reach are kept for a category that the request does not qualify for
    FARTHER = "farther"  #: an equal claim was nearer to the units
    IN_FORCE = "in_force"  #: an equal claim at equal distance is what the plan in force moves units to already
    LOTTERY = "lottery"  #: an equal claim at equal distance won by the published seed
    KEPT_BACK = "kept_back"  #: between runs only: units stay for needs that are expected before the next run
    LATER = "later"  #: over a horizon only: units are foreseen for it on a later day
    ABOVE_NEED = "above_need"  #: the forecast or the audited census does not bear out the rest of what was asked


class Status(StrEnum):
    """How the search ended."""

    OPTIMAL = "optimal"  #: no plan is better by the rule of the run
    FEASIBLE = "feasible"  #: valid, and as fair in its smallest fill rate, but the search ended before the proof


@dataclass(frozen=True, slots=True, kw_only=True)
class Assignment:
    """Units of one offer for one request."""

    offer: str
    request: str
    quantity: int
    reason: str  #: a sentence for both sides

    def to_json(self) -> dict[str, Json]:
        """Members as they stand in a plan."""
        return {"offer": self.offer, "request": self.request, "quantity": self.quantity, "reason": self.reason}

    @classmethod
    def from_json(cls, value: object, path: str) -> Assignment:
        """Read what `to_json` wrote."""
        record = Record.of(value, path, ("offer", "request", "quantity", "reason"))
        return cls(
            offer=record.name("offer"), request=record.name("request"),
            quantity=record.whole("quantity", most=MAX_UNITS), reason=record.text("reason"),
        )  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Unfilled:
    """What of one request stays open, and why."""

    request: str
    quantity: int  #: units asked for and not assigned
    code: Reason
    reason: str  #: the code as a sentence about this request, naming needs and never names

    def to_json(self) -> dict[str, Json]:
        """Members as they stand in a plan."""
        return {"request": self.request, "quantity": self.quantity, "code": self.code.value, "reason": self.reason}

    @classmethod
    def from_json(cls, value: object, path: str) -> Unfilled:
        """Read what `to_json` wrote."""
        record = Record.of(value, path, ("request", "quantity", "code", "reason"))
        code = record.members["code"]
        if code not in list(Reason):
            raise Invalid(f"{path}.code must be one of {', '.join(Reason)}.", field=f"{path}.code")
        return cls(
            request=record.name("request"), quantity=record.whole("quantity", most=MAX_UNITS),
            code=Reason(cast("str", code)), reason=record.text("reason"),
        )  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """What one stage reached in one connected part: `value / over`."""

    part: int  #: index into `Instance.parts`
    #: `floor`, `reserve`, `leximin`, `welfare`, `distance`, `stability` or `lottery`; between runs
    #: `projected_proportional`
    name: str
    value: int
    over: int = 1

    def to_json(self) -> dict[str, Json]:
        """Members as they stand in a plan."""
        return {"part": self.part, "name": self.name, "value": self.value, "over": self.over}

    @classmethod
    def from_json(cls, value: object, path: str) -> Stage:
        """Read what `to_json` wrote."""
        record = Record.of(value, path, ("part", "name", "value", "over"))
        return cls(
            part=record.whole("part", most=MAX_ROWS), name=record.name("name"), value=record.whole("value"),
            over=record.whole("over", least=1),
        )  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class SolverReport:
    """Who searched, how it ended, and what it cost."""

    name: str
    version: str
    status: Status
    bound: int  #: no plan with the same floors has more welfare than this
    gap: int  #: millionths of the bound by which the plan's welfare stays below it
    seed: str
    milliseconds: int = 0
    peak_kilobytes: int = 0  #: largest memory so far of the solving processes together

    def to_json(self) -> dict[str, Json]:
        """Members as they stand in a plan."""
        return {
            "name": self.name, "version": self.version, "status": self.status.value, "bound": self.bound,
            "gap": self.gap, "seed": self.seed, "milliseconds": self.milliseconds,
            "peak_kilobytes": self.peak_kilobytes,
        }  # fmt: skip

    @classmethod
    def from_json(cls, value: object, path: str = "solver") -> SolverReport:
        """Read what `to_json` wrote."""
        names = ("name", "version", "status", "bound", "gap", "seed", "milliseconds", "peak_kilobytes")
        record = Record.of(value, path, names)
        status = record.members["status"]
        if status not in list(Status):
            raise Invalid(f"{path}.status must be one of {', '.join(Status)}.", field=f"{path}.status")
        return cls(
            name=record.text("name", most=100), version=record.text("version", most=100),
            status=Status(cast("str", status)), bound=record.whole("bound"),
            gap=record.whole("gap", most=1_000_000), seed=record.text("seed", most=200),
            milliseconds=record.whole("milliseconds"), peak_kilobytes=record.whole("peak_kilobytes"),
        )  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The answer to one instance. Rows are kept sorted by identifier."""

    instance_hash: str
    assignments: tuple[Assignment, ...]
    unfilled: tuple[Unfilled, ...]
    stages: tuple[Stage, ...]
    solver: SolverReport
    certificate: Certificate = field(default_factory=Certificate, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(
            self, "assignments", tuple(sorted(self.assignments, key=lambda row: (row.offer, row.request)))
        )
        object.__setattr__(self, "unfilled", tuple(sorted(self.unfilled, key=lambda row: row.request)))

    @cached_property
    def hash(self) -> str:
        """SHA-256, in hex, of the canonical JSON of what is decided.

        What was measured on the way and the proof are left out, so that the same instance solved by the same solver
        has the same plan hash on every machine.
        """
        decided = {name: value for name, value in self.to_json().items() if name not in ("solver", "certificate")}
        return hashlib.sha256(canonical.encode(decided)).hexdigest()

    @cached_property
    def received(self) -> dict[str, int]:
        """Units assigned to each request that gets any."""
        received: dict[str, int] = {}
        for row in self.assignments:
            received[row.request] = received.get(row.request, 0) + row.quantity
        return received

    @cached_property
    def given(self) -> dict[str, int]:
        """Units assigned from each offer that gives any."""
        given: dict[str, int] = {}
        for row in self.assignments:
            given[row.offer] = given.get(row.offer, 0) + row.quantity
        return given

    def total(self, stage: str) -> int:
        """Sum over all parts of what `stage` reached."""
        return sum(row.value for row in self.stages if row.name == stage)

    @property
    def reached(self) -> list[dict[str, Json]]:
        """What each stage reached over all parts, in the order they were decided: the smallest share, or the sum."""
        rows: dict[str, Stage] = {}
        for row in self.stages:
            last = rows.get(row.name)
            if last is None or row.value * last.over < last.value * row.over:
                rows[row.name] = row
        sums = {name: replace(row, value=self.total(name)) for name, row in rows.items() if name not in SHARES}
        return [{"name": row.name, "value": row.value, "over": row.over} for row in (rows | sums).values()]

    def to_json(self) -> dict[str, Json]:
        """The document that is stored and given to whoever checks it."""
        return {
            "format": FORMAT,
            "instance_hash": self.instance_hash,
            "assignments": [row.to_json() for row in self.assignments],
            "unfilled": [row.to_json() for row in self.unfilled],
            "stages": [row.to_json() for row in self.stages],
            "solver": self.solver.to_json(),
            "certificate": self.certificate.to_json(),
        }

    @classmethod
    def from_json(cls, value: object) -> Plan:
        """Read what `to_json` wrote; raises `Invalid` naming the path of what is wrong."""
        names = ("format", "instance_hash", "assignments", "unfilled", "stages", "solver", "certificate")
        record = Record.of(value, "", names)
        if record.members["format"] != FORMAT:
            raise Invalid(f"format must be {FORMAT}.", field="format")
        return cls(
            instance_hash=record.name("instance_hash"),
            assignments=record.each("assignments", Assignment.from_json, most=MAX_LANES),
            unfilled=record.each("unfilled", Unfilled.from_json, most=MAX_ROWS),
            stages=record.each("stages", Stage.from_json, most=MAX_ROWS),
            solver=SolverReport.from_json(record.members["solver"]),
            certificate=Certificate.from_json(record.members["certificate"]),
        )

    @classmethod
    def read(cls, data: bytes) -> Plan:
        """Parse and read a document."""
        return cls.from_json(canonical.parse_loosely(data))
