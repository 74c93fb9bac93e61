"""What a run answers to a horizon: what leaves where on which day, what is used for what, and who stays short and why.

A schedule is only a claim. `horizon_check.check_schedule` says whether it is a valid one, `horizon_certificate` how
much better another could be at most.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property, partial
from typing import TYPE_CHECKING, ClassVar, cast

from sharewell.domain import canonical, strict
from sharewell.domain.checks import MAX_UNITS
from sharewell.domain.errors import Invalid
from sharewell.domain.horizon import Aim
from sharewell.domain.horizon_rows import MAX_DAYS, Row, Shipment
from sharewell.domain.instance import MAX_LANES, MAX_ROWS
from sharewell.domain.plan import Status
from sharewell.domain.strict import Record

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sharewell.domain.canonical import Json

FORMAT = "sharewell/schedule@1"
MAX_OVER = 10**9  #: largest common denominator of the multipliers of a stage


class Cause(StrEnum):
    """Why a site stays short of an item; a closed list, so that causes can be counted."""

    NO_LANE = "no_lane"  #: nothing of the kind can come here, or nobody can be sent away
    NOT_IN_TIME = "not_in_time"  #: every day it is short lies before the first possible arrival
    OWNERS_AT_FLOOR = "owners_at_floor"  #: all in reach keep what they have: pledge, own need
    ELSEWHERE = "elsewhere"  #: units in reach do more elsewhere by the aims, or a cap, hold or least load keeps them


@dataclass(frozen=True, slots=True, kw_only=True)
class Use(Row):
    """Units of a consumable, or of an item with substitutes, used on one day."""

    site: str
    day: int
    item: str
    serves: str  #: the item whose need they meet; `item` itself where nothing is replaced
    units: int

    NAMES = ("site", "item", "serves")
    WHOLE: ClassVar = {"day": (0, MAX_DAYS), "units": (0, MAX_UNITS)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Unmet:
    """What of one need stays open over the horizon."""

    site: str
    item: str
    units: int  #: unit-days; of places, thousandths
    code: Cause
    reason: str  #: the code as a sentence

    def to_json(self) -> dict[str, Json]:
        """Members as they stand in a schedule."""
        return {
            "site": self.site, "item": self.item, "units": self.units, "code": self.code.value, "reason": self.reason
        }  # fmt: skip

    @classmethod
    def from_json(cls, value: object, path: str) -> Unmet:
        """Read what `to_json` wrote."""
        record = Record.of(value, path, ("site", "item", "units", "code", "reason"))
        code = record.members["code"]
        if code not in list(Cause):
            raise Invalid(f"{path}.code must be one of {', '.join(Cause)}.", field=f"{path}.code")
        return cls(
            site=record.name("site"), item=record.name("item"), units=record.whole("units"),
            code=Cause(cast("str", code)), reason=record.text("reason"),
        )  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Reached:
    """What one stage reached in one stretch; smaller is better."""

    stretch: int  #: index into `stretches(horizon)`
    aim: Aim
    value: int
    bound: int  #: no schedule on the face of the stages before is below this, by the multipliers

    def to_json(self) -> dict[str, Json]:
        """Members as they stand in a schedule."""
        return {"stretch": self.stretch, "aim": self.aim.value, "value": self.value, "bound": self.bound}

    @classmethod
    def from_json(cls, value: object, path: str) -> Reached:
        """Read what `to_json` wrote."""
        record = Record.of(value, path, ("stretch", "aim", "value", "bound"))
        return cls(
            stretch=record.whole("stretch", most=MAX_ROWS), aim=_aim(record.members["aim"], f"{path}.aim"),
            value=record.whole("value"), bound=record.whole("bound"),
        )  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class StageProof:
    """Multipliers of one stage: whole numbers over a common denominator."""

    aim: Aim
    over: int  #: the denominator
    rows: tuple[int, ...]  #: one per row of the program, then one per stage before that is not proven best

    def to_json(self) -> dict[str, Json]:
        """Members as they stand in a schedule."""
        return {"aim": self.aim.value, "over": self.over, "rows": list(self.rows)}

    @classmethod
    def from_json(cls, value: object, path: str) -> StageProof:
        """Read what `to_json` wrote."""
        record = Record.of(value, path, ("aim", "over", "rows"))
        return cls(
            aim=_aim(record.members["aim"], f"{path}.aim"), over=record.whole("over", least=1, most=MAX_OVER),
            rows=record.each("rows", _signed, most=MAX_LANES),
        )  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class StretchProof:
    """Proof for one stretch, stage by stage."""

    stretch: int
    stages: tuple[StageProof, ...]

    def to_json(self) -> dict[str, Json]:
        """Members as they stand in a schedule."""
        return {"stretch": self.stretch, "stages": [stage.to_json() for stage in self.stages]}

    @classmethod
    def from_json(cls, value: object, path: str) -> StretchProof:
        """Read what `to_json` wrote."""
        record = Record.of(value, path, ("stretch", "stages"))
        return cls(
            stretch=record.whole("stretch", most=MAX_ROWS),
            stages=record.each("stages", StageProof.from_json, most=len(Aim)),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """Who searched, how it ended, and what it cost."""

    name: str
    version: str
    status: Status
    gap: int  #: millionths of the shortage by which a better schedule may have less, proven by the multipliers
    solver_gap: int  #: the same as the solver reports it; nothing but its word stands for it
    seed: str
    milliseconds: int = 0
    peak_kilobytes: int = 0

    def to_json(self) -> dict[str, Json]:
        """Members as they stand in a schedule."""
        return {
            "name": self.name, "version": self.version, "status": self.status.value, "gap": self.gap,
            "solver_gap": self.solver_gap, "seed": self.seed, "milliseconds": self.milliseconds,
            "peak_kilobytes": self.peak_kilobytes,
        }  # fmt: skip

    @classmethod
    def from_json(cls, value: object, path: str = "search") -> Search:
        """Read what `to_json` wrote."""
        whole = {"gap": 1_000_000, "solver_gap": 1_000_000, "milliseconds": 2**53 - 1, "peak_kilobytes": 2**53 - 1}
        record = Record.of(value, path, ("name", "version", "status", "seed", *whole))
        status = record.members["status"]
        if status not in list(Status):
            raise Invalid(f"{path}.status must be one of {', '.join(Status)}.", field=f"{path}.status")
        return cls(
            name=record.text("name", most=100), version=record.text("version", most=100),
            status=Status(cast("str", status)), seed=record.text("seed", most=200),
            **{name: record.whole(name, most=most) for name, most in whole.items()},
        )  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """The answer to one horizon. Rows are kept sorted."""

    instance_hash: str
    shipments: tuple[Shipment, ...]
    uses: tuple[Use, ...]
    unmet: tuple[Unmet, ...]
    stages: tuple[Reached, ...]
    search: Search
    proofs: tuple[StretchProof, ...] = field(default=(), repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "shipments", tuple(sorted(self.shipments)))
        object.__setattr__(
            self, "uses", tuple(sorted(self.uses, key=lambda row: (row.site, row.day, row.item, row.serves)))
        )
        object.__setattr__(self, "unmet", tuple(sorted(self.unmet, key=lambda row: (row.site, row.item))))

    @cached_property
    def hash(self) -> str:
        """SHA-256, in hex, of the canonical JSON of what is decided, without what was measured and the proofs."""
        decided = {name: value for name, value in self.to_json().items() if name not in ("search", "proofs")}
        return hashlib.sha256(canonical.encode(decided)).hexdigest()

    def total(self, aim: Aim) -> tuple[int, int]:
        """Value and proven bound of `aim` over all stretches: their sum, and of what is the worst of any, the worst."""
        rows = [row for row in self.stages if row.aim is aim]
        fold = partial(max, default=0) if aim is Aim.FILL else sum
        return fold(row.value for row in rows), fold(row.bound for row in rows)

    def to_json(self) -> dict[str, Json]:
        """The document that is stored and given to whoever checks it."""
        return {
            "format": FORMAT,
            "instance_hash": self.instance_hash,
            **{name: [row.to_json() for row in getattr(self, name)] for name in _ROWS},
            "search": self.search.to_json(),
        }

    @classmethod
    def from_json(cls, value: object) -> Schedule:
        """Read what `to_json` wrote; raises `Invalid` naming the path of what is wrong."""
        record = Record.of(value, "", ("format", "instance_hash", "search", *_ROWS))
        if record.members["format"] != FORMAT:
            raise Invalid(f"format must be {FORMAT}.", field="format")
        return cls(
            instance_hash=record.name("instance_hash"), search=Search.from_json(record.members["search"]),
            shipments=record.each("shipments", Shipment.from_json, most=MAX_LANES),
            uses=record.each("uses", Use.from_json, most=MAX_LANES),
            unmet=record.each("unmet", Unmet.from_json, most=MAX_LANES),
            stages=record.each("stages", Reached.from_json, most=MAX_ROWS),
            proofs=record.each("proofs", StretchProof.from_json, most=MAX_ROWS),
        )  # fmt: skip

    @classmethod
    def read(cls, data: bytes) -> Schedule:
        """Parse and read a document."""
        return cls.from_json(canonical.parse_loosely(data))


_ROWS = ("shipments", "uses", "unmet", "stages", "proofs")


def gap(value: int, bound: int) -> int:
    """Millionths of `value` by which `bound` lies below it, rounded up."""
    return -((bound - value) * 1_000_000 // value) if value > bound else 0


def worst_gap(pairs: Sequence[tuple[int, int]]) -> int:
    """The gap of the sums of `(value, bound)`."""
    return gap(sum(value for value, _ in pairs), sum(bound for _, bound in pairs))


def _aim(value: object, path: str) -> Aim:
    if value not in list(Aim):
        raise Invalid(f"{path} must be one of {', '.join(Aim)}.", field=path)
    return Aim(cast("str", value))


def _signed(value: object, path: str) -> int:
    return strict.whole(value, path, least=-(2**53) + 1)
