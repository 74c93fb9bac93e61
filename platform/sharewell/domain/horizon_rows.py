"""The rows of a horizon: items, what sites hold and need day by day, lanes, and what may stand in for what.

Every series has one whole number per day of the horizon. A number that may be left without a limit is written as
`UNLIMITED`, so that no member is ever missing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Self, cast

from sharewell.domain import strict
from sharewell.domain.checks import MAX_UNITS
from sharewell.domain.errors import Invalid
from sharewell.domain.instance import MAX_METRES
from sharewell.domain.resources import ResourceKind

if TYPE_CHECKING:
    from sharewell.domain.canonical import Json

UNLIMITED = MAX_UNITS  #: stands for no cap: more than any site holds of anything
MAX_DAYS = 400  #: longest horizon
MAX_THOUSANDTHS = 1000 * MAX_UNITS
MAX_CHARGE = 1_000_000  #: of a lane and day


class Row:
    """What all rows share: members are written and read by name, kind and limit."""

    WHOLE: ClassVar[dict[str, tuple[int, int]]] = {}  #: member -> least and most
    SERIES: ClassVar[dict[str, int]] = {}  #: member -> most of each day's number
    NAMES: ClassVar[tuple[str, ...]] = ()

    def to_json(self) -> dict[str, Json]:
        """Members as they stand in a document."""
        series = {name: list(getattr(self, name)) for name in self.SERIES}
        return {name: getattr(self, name) for name in (*self.NAMES, *self.WHOLE)} | series

    @classmethod
    def from_json(cls, value: object, path: str) -> Self:
        """Read what `to_json` wrote."""
        return cls._read(strict.Record.of(value, path, (*cls.NAMES, *cls.WHOLE, *cls.SERIES)))

    @classmethod
    def _read(cls, record: strict.Record, **more: object) -> Self:
        members: dict[str, object] = {name: record.name(name) for name in cls.NAMES}
        members |= {name: record.whole(name, least=low, most=high) for name, (low, high) in cls.WHOLE.items()}
        members |= {name: record.each(name, _day(high), most=MAX_DAYS) for name, high in cls.SERIES.items()}
        return cls(**members, **more)

    def check(self, path: str, days: int) -> None:
        """Raise `Invalid`, naming the member below `path`, unless all are in their limits and series `days` long."""
        for name in self.NAMES:
            strict.identifier(getattr(self, name), f"{path}.{name}")
        for name, (low, high) in self.WHOLE.items():
            strict.whole(getattr(self, name), f"{path}.{name}", least=low, most=high)
        for name, high in self.SERIES.items():
            series = getattr(self, name)
            if len(series) != days:
                raise Invalid(f"{path}.{name} must have one number for each of {days} days.", field=f"{path}.{name}")
            for day, number in enumerate(series):
                strict.whole(number, f"{path}.{name}[{day}]", most=high)


def _day(most: int):  # type: ignore[no-untyped-def]  # noqa: ANN202  a reader for `Record.each`
    return lambda value, path: strict.whole(value, path, most=most)


@dataclass(frozen=True, slots=True, kw_only=True)
class Item(Row):
    """One resource that is shared, and how its units behave."""

    item: str
    kind: ResourceKind
    loan_days: int = 0  #: days of use after which a unit goes back to its owner; 0: it stays where it was sent
    home_by_end: int = 0  #: 1: a lent unit is home when the horizon ends, however short the loan gets
    hold_days: int = 0  #: days for which units received are not shipped on
    lot_size: int = 1  #: units are shipped in multiples of this
    make: str = "any"  #: only sites that take this make get units; `any` fits everywhere
    stay: tuple[int, ...] = ()  #: of places: share of patients, per mille, still there n days after admission

    NAMES = ("item", "make")
    WHOLE: ClassVar = {
        "loan_days": (0, MAX_DAYS), "home_by_end": (0, 1), "hold_days": (0, MAX_DAYS), "lot_size": (1, MAX_UNITS)
    }  # fmt: skip

    def to_json(self) -> dict[str, Json]:
        """Members as they stand in a document."""
        return {"kind": self.kind.value, "stay": list(self.stay), **Row.to_json(self)}

    @classmethod
    def from_json(cls, value: object, path: str) -> Item:
        """Read what `to_json` wrote."""
        record = strict.Record.of(value, path, ("kind", "stay", *cls.NAMES, *cls.WHOLE))
        kind = record.members["kind"]
        if kind not in list(ResourceKind):
            raise Invalid(f"{path}.kind must be one of {', '.join(ResourceKind)}.", field=f"{path}.kind")
        stay = record.each("stay", _day(1000), most=MAX_DAYS)
        return cls._read(record, kind=ResourceKind(cast("str", kind)), stay=stay)

    @property
    def is_place(self) -> bool:
        """Whether people move and units do not."""
        return self.kind is ResourceKind.PLACE

    @property
    def is_used_up(self) -> bool:
        """Whether a unit is gone once it is used."""
        return self.kind is ResourceKind.CONSUMABLE


@dataclass(frozen=True, slots=True, kw_only=True)
class Site(Row):
    """One institution, and which makes it can use."""

    site: str
    makes: tuple[str, ...] = ()  #: makes it has the fittings for; `any` always fits

    NAMES = ("site",)

    def to_json(self) -> dict[str, Json]:
        """Members as they stand in a document."""
        return {"site": self.site, "makes": list(self.makes)}

    @classmethod
    def from_json(cls, value: object, path: str) -> Site:
        """Read what `to_json` wrote."""
        record = strict.Record.of(value, path, ("site", "makes"))
        return cls(site=record.name("site"), makes=record.each("makes", strict.identifier, most=1000))


@dataclass(frozen=True, slots=True, kw_only=True)
class Lot(Row):
    """Units a site has of its own: a stock, a delivery to come, a lot that expires, staff in their window."""

    site: str
    item: str
    units: int
    since: int  #: first day on which they are there
    until: int  #: first day on which they are not (expired, or their window over); the horizon's length for lasting

    NAMES = ("site", "item")
    WHOLE: ClassVar = {"units": (0, MAX_UNITS), "since": (0, MAX_DAYS), "until": (1, MAX_DAYS)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing(Row):
    """What a site needs of an item that travels, and under which limits it shares it."""

    site: str
    item: str
    need: tuple[int, ...]  #: units needed each day
    kept: tuple[int, ...]  #: units it keeps each day as far as it has them: its own need at the quantile it chose
    urgency: int = 3  #: weight of a unit short, 1 to 5
    pledge: int = 200  #: per mille of its stock it is willing to have used elsewhere
    gives: int = UNLIMITED  #: most units shipped a day
    takes: int = UNLIMITED  #: most units received a day
    ceiling: int = UNLIMITED  #: most units received over the horizon

    NAMES = ("site", "item")
    WHOLE: ClassVar = {
        "urgency": (1, 5), "pledge": (0, 1000), "gives": (0, UNLIMITED), "takes": (0, UNLIMITED),
        "ceiling": (0, UNLIMITED),
    }  # fmt: skip
    SERIES: ClassVar = {"need": MAX_UNITS, "kept": MAX_UNITS}


@dataclass(frozen=True, slots=True, kw_only=True)
class Ward(Row):
    """Places of a site: the people move. Occupied is in thousandths, for a share of those admitted has left again."""

    site: str
    item: str
    beds: tuple[int, ...]
    occupied: tuple[int, ...]  #: thousandths of beds needed each day if nobody is moved
    arrivals: tuple[int, ...]  #: people admitted each day who may be sent elsewhere
    kept: tuple[int, ...]  #: beds no received patient lies in
    urgency: int = 3
    pledge: int = 200  #: per mille of its beds in which received patients may lie
    gives: int = UNLIMITED  #: most people sent a day
    takes: int = UNLIMITED  #: most people received a day
    ceiling: int = UNLIMITED  #: most people received over the horizon

    NAMES = ("site", "item")
    WHOLE = Standing.WHOLE
    SERIES: ClassVar = {
        "beds": MAX_UNITS, "occupied": MAX_THOUSANDTHS, "arrivals": MAX_UNITS, "kept": MAX_UNITS
    }  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate(Row):
    """Limits of a site and item that differ from day to day, beside those of its standing or ward."""

    site: str
    item: str
    gives: tuple[int, ...]  #: most units, or people, that leave on each day
    takes: tuple[int, ...]  #: most that arrive on each day

    NAMES = ("site", "item")
    SERIES: ClassVar = {"gives": UNLIMITED, "takes": UNLIMITED}


@dataclass(frozen=True, slots=True, kw_only=True)
class Way(Row):
    """A lane for one item between two sites."""

    item: str
    origin: str
    destination: str
    days: int  #: from departure to arrival
    metres: int
    cap: int = UNLIMITED  #: most units a day
    least: int = 0  #: fewest units on a day on which it carries any
    charge: int = 0  #: cost of a day on which it carries anything, however much; in the money of the region

    NAMES = ("item", "origin", "destination")
    WHOLE: ClassVar = {
        "days": (0, MAX_DAYS), "metres": (0, MAX_METRES), "cap": (0, UNLIMITED), "least": (0, UNLIMITED),
        "charge": (0, MAX_CHARGE),
    }  # fmt: skip

    def canonical(self) -> str:
        """What `to_json` gives as canonical JSON: identifiers have no character to escape."""
        return (
            f'{{"cap":{self.cap},"charge":{self.charge},"days":{self.days},"destination":"{self.destination}",'
            f'"item":"{self.item}","least":{self.least},"metres":{self.metres},"origin":"{self.origin}"}}'
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Substitute(Row):
    """Units of `item` may meet a need of `serves`."""

    item: str
    serves: str

    NAMES = ("item", "serves")


@dataclass(frozen=True, slots=True, kw_only=True)
class Part(Row):
    """What one unit of `item` in use takes for a day: of a kit, what it is made of; else what is fitted to it."""

    item: str
    part: str
    units: int

    NAMES = ("item", "part")
    WHOLE: ClassVar = {"units": (1, MAX_UNITS)}


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Shipment(Row):
    """Units, or people, that leave on one day."""

    item: str
    origin: str
    destination: str
    day: int
    until: int  #: which of the origin's units: those of the lot that ends on this day; 0 for people
    units: int

    NAMES = ("item", "origin", "destination")
    WHOLE: ClassVar = {"day": (0, MAX_DAYS), "until": (0, MAX_DAYS), "units": (0, MAX_UNITS)}
