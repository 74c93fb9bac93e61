"""The rows of an instance: who can spare, who lacks, which lanes join them, and what is moved already."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from sharewell.domain import strict
from sharewell.domain.checks import MAX_UNITS
from sharewell.domain.errors import Invalid
from sharewell.domain.requests import RaiseReason
from sharewell.domain.reserves import MOST_CATEGORIES
from sharewell.domain.rule import VERSION
from sharewell.domain.strict import Record

if TYPE_CHECKING:
    from sharewell.domain.canonical import Json

MAX_METRES = 20_100_000  #: half the way round the Earth
MAX_WEIGHT = 2000  #: per mille; the largest equity weight
MAX_CREDIT = 1000 * MAX_UNITS  #: thousandths of a unit, either way


@dataclass(frozen=True, slots=True, kw_only=True)
class Owner:
    """One offer, and what its institution must keep."""

    offer: str
    institution: str
    quantity: int  #: units of the offer that may still be promised
    stock: int  #: units on hand of the institution, not promised to anyone; the same on each of its offers
    minimum_kept: int = 0  #: units the institution said it keeps whatever happens
    own_need: int = 0  #: units the institution itself is expected to need

    def to_json(self) -> dict[str, Json]:
        """Members as they stand in an instance."""
        return {
            "offer": self.offer, "institution": self.institution, "quantity": self.quantity, "stock": self.stock,
            "minimum_kept": self.minimum_kept, "own_need": self.own_need,
        }  # fmt: skip

    @classmethod
    def from_json(cls, value: object, path: str) -> Owner:
        """Read what `to_json` wrote."""
        names = ("offer", "institution", "quantity", "stock", "minimum_kept", "own_need")
        record = Record.of(value, path, names)
        units = {name: record.whole(name, most=MAX_UNITS) for name in names[2:]}
        return cls(offer=record.name("offer"), institution=record.name("institution"), **units)


@dataclass(frozen=True, slots=True, kw_only=True)
class Receiver:
    """One open request."""

    request: str
    institution: str
    need: int  #: units still lacking: asked for, and borne out by the forecast or the audited census
    urgency: int  #: 1 (can wait) to 5 (lives at stake now)
    asked: int = -1  #: units still open as asked, `need` or more; -1 stands for `need`
    held: int = 0  #: units this need has received in earlier runs; they count as filled
    weight: int = 1000  #: per mille; equity weight of a unit here
    credit: int = 0  #: its share, by need, of its institution's credit for earlier runs, in thousandths of a unit
    categories: tuple[str, ...] = ()  #: reserve categories it qualifies for, sorted
    raised: int = 0  #: units of `need` that count on the institution's word, above forecast and census
    raise_reason: RaiseReason | None = None  #: why; None where nothing is raised

    def __post_init__(self) -> None:
        if self.asked == -1:
            object.__setattr__(self, "asked", self.need)
        object.__setattr__(self, "categories", tuple(sorted(self.categories)))

    @property
    def whole_need(self) -> int:
        """Units of which `held` are there and `need` are lacking; what fill rates are measured against."""
        return self.held + self.need

    def to_json(self, version: int = VERSION) -> dict[str, Json]:
        """Members as they stand in an instance of `version`."""
        members: dict[str, Json] = {
            "request": self.request, "institution": self.institution, "need": self.need, "urgency": self.urgency,
            "asked": self.asked, "held": self.held, "weight": self.weight,
        }  # fmt: skip
        if version == 1:
            return members
        return members | {
            "credit": self.credit, "categories": list(self.categories), "raised": self.raised,
            "raise_reason": "" if self.raise_reason is None else self.raise_reason.value,
        }  # fmt: skip

    @classmethod
    def from_json(cls, value: object, path: str, version: int = VERSION) -> Receiver:
        """Read what `to_json` wrote."""
        names = ("request", "institution", "need", "urgency", "asked", "held", "weight")
        record = Record.of(value, path, names + (_ADDED_TO_RECEIVERS if version > 1 else ()))
        return cls(
            request=record.name("request"), institution=record.name("institution"),
            need=record.whole("need", most=MAX_UNITS), urgency=record.whole("urgency", least=1, most=5),
            asked=record.whole("asked", most=MAX_UNITS), held=record.whole("held", most=MAX_UNITS),
            weight=record.whole("weight", least=1000, most=MAX_WEIGHT),
            **(_added_to_receiver(record) if version > 1 else {}),
        )  # fmt: skip


_ADDED_TO_RECEIVERS = ("credit", "categories", "raised", "raise_reason")


def _added_to_receiver(record: Record) -> dict[str, Any]:
    """Members of a receiver that version 1 has not."""
    reason = record.members["raise_reason"]
    if reason != "" and reason not in list(RaiseReason):
        raise Invalid(
            f"{record.at('raise_reason')} must be empty or one of {', '.join(RaiseReason)}.",
            field=record.at("raise_reason"),
        )
    return {
        "credit": record.whole("credit", least=-MAX_CREDIT, most=MAX_CREDIT),
        "categories": record.each("categories", strict.identifier, most=MOST_CATEGORIES),
        "raised": record.whole("raised", most=MAX_UNITS),
        "raise_reason": RaiseReason(cast("str", reason)) if reason else None,
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class Lane:
    """A way along which units of an offer can reach a request in time."""

    offer: str
    request: str
    cap: int  #: units that can travel along it in this run
    metres: int
    hours: int

    def to_json(self) -> dict[str, Json]:
        """Members as they stand in an instance."""
        return {
            "offer": self.offer, "request": self.request, "cap": self.cap, "metres": self.metres, "hours": self.hours
        }  # fmt: skip

    def canonical(self) -> str:
        """The same as canonical JSON: identifiers have no character to escape."""
        return (
            f'{{"cap":{self.cap},"hours":{self.hours},"metres":{self.metres},"offer":"{self.offer}",'
            f'"request":"{self.request}"}}'
        )

    @classmethod
    def from_json(cls, value: object, path: str) -> Lane:
        """Read what `to_json` wrote."""
        record = Record.of(value, path, ("offer", "request", "cap", "metres", "hours"))
        return cls(
            offer=record.name("offer"), request=record.name("request"), cap=record.whole("cap", most=MAX_UNITS),
            metres=record.whole("metres", most=MAX_METRES), hours=record.whole("hours", most=100_000),
        )  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Movement:
    """Units that the plan in force moves from an offer to a request."""

    offer: str
    request: str
    quantity: int

    def to_json(self) -> dict[str, Json]:
        """Members as they stand in an instance."""
        return {"offer": self.offer, "request": self.request, "quantity": self.quantity}

    @classmethod
    def from_json(cls, value: object, path: str) -> Movement:
        """Read what `to_json` wrote."""
        record = Record.of(value, path, ("offer", "request", "quantity"))
        return cls(
            offer=record.name("offer"), request=record.name("request"),
            quantity=record.whole("quantity", least=1, most=MAX_UNITS),
        )  # fmt: skip
