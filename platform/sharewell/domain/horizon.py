"""What a schedule is decided on: several items at several sites, day by day, over a planning horizon.

Beside `instance` (one resource at one moment) this is the model with time in it: stock is carried, loans come back,
lots expire, staff have windows, patients stay for days, and shipments are under way. Row order never matters.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from typing import TYPE_CHECKING, cast

from sharewell.domain import canonical, strict
from sharewell.domain.errors import Invalid
from sharewell.domain.horizon_recipes import Recipe, check_recipes, recipes
from sharewell.domain.horizon_rows import (
    MAX_DAYS,
    MAX_THOUSANDTHS,
    Gate,
    Item,
    Lot,
    Part,
    Row,
    Shipment,
    Site,
    Standing,
    Substitute,
    Ward,
    Way,
)
from sharewell.domain.instance import MAX_LANES, MAX_ROWS, MAX_TOTAL, hash_with_lanes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from datetime import datetime

    from sharewell.domain.canonical import Json

FORMAT = "sharewell/horizon@2"
FIRST = "sharewell/horizon@1"  #: without gates; what has none is still written so, and keeps its hash
URGENCY_WEIGHTS = (1, 2, 3, 4, 5)  #: worth of a unit short for a day, at urgency 1 to 5


class Aim(StrEnum):
    """What is made as small as possible; a horizon lists its aims in the order in which they are decided."""

    FILL = "fill"  #: the largest share of a need, per mille, that any site is short over the horizon
    SHORTAGE = "shortage"  #: unit-days short, weighted by urgency; of places in thousandths
    MOVES = "moves"  #: units shipped, or people moved
    DISTANCE = "distance"  #: unit-metres
    CHARGES = "charges"  #: what lanes cost for every day on which they carry anything, however much
    STABILITY = "stability"  #: units by which lanes differ from the schedule in force, day by day
    LOTTERY = "lottery"  #: tickets drawn from the seed


PER_LANE = frozenset({Aim.DISTANCE, Aim.CHARGES, Aim.STABILITY, Aim.LOTTERY})  #: aims that look at single lanes

ROWS: Mapping[str, tuple[type[Row], int, Callable[..., tuple[object, ...]]]] = {
    "items": (Item, 1000, lambda row: (row.item,)),
    "sites": (Site, MAX_ROWS, lambda row: (row.site,)),
    "lots": (Lot, MAX_ROWS, lambda row: (row.site, row.item, row.since, row.until)),
    "standings": (Standing, MAX_ROWS, lambda row: (row.site, row.item)),
    "wards": (Ward, MAX_ROWS, lambda row: (row.site, row.item)),
    "lanes": (Way, MAX_LANES, lambda row: (row.item, row.origin, row.destination)),
    "substitutes": (Substitute, 1000, lambda row: (row.item, row.serves)),
    "kits": (Part, 1000, lambda row: (row.item, row.part)),
    "fittings": (Part, 1000, lambda row: (row.item, row.part)),
    "in_force": (
        Shipment, MAX_LANES, lambda row: (row.item, row.origin, row.destination, row.day, row.until),
    ),
    "gates": (Gate, MAX_ROWS, lambda row: (row.site, row.item)),
}  # fmt: skip  #: list -> kind of row, most rows, and what makes two rows the same
ROWS_OF: Mapping[str, tuple[str, ...]] = {
    FORMAT: tuple(ROWS), FIRST: tuple(name for name in ROWS if name != "gates")
}  # fmt: skip  #: format -> lists that a document of it has


@dataclass(frozen=True, kw_only=True)
class Horizon:
    """Items, sites and lanes over `days` days. Building one checks it; `Invalid` names the row and field at fault."""

    start: datetime  #: when day 0 begins
    days: int
    seed: str  #: published before the run; decides ties
    items: tuple[Item, ...]
    sites: tuple[Site, ...]
    lots: tuple[Lot, ...] = ()
    standings: tuple[Standing, ...] = ()
    wards: tuple[Ward, ...] = ()
    lanes: tuple[Way, ...] = ()
    substitutes: tuple[Substitute, ...] = ()
    kits: tuple[Part, ...] = ()  #: what each kit is made of
    fittings: tuple[Part, ...] = ()  #: consumables that a device, or somebody, in use uses up a day
    in_force: tuple[Shipment, ...] = ()  #: of the schedule in force, days counted from this start
    gates: tuple[Gate, ...] = ()  #: limits that differ from day to day
    aims: tuple[Aim, ...] = (Aim.SHORTAGE, Aim.DISTANCE)
    enough: int = 0  #: shortage, in the unit of that aim and in each part, below which the next aim comes first

    def __post_init__(self) -> None:
        for name, (_, _, key) in ROWS.items():
            object.__setattr__(self, name, tuple(sorted(getattr(self, name), key=key)))
        object.__setattr__(self, "aims", tuple(Aim(aim) for aim in self.aims))
        _check(self)

    @cached_property
    def hash(self) -> str:
        """SHA-256, in hex, of the canonical JSON."""
        return hash_with_lanes(self._members([]), [lane.canonical() for lane in self.lanes])

    @cached_property
    def item(self) -> Mapping[str, Item]:
        """Items by name."""
        return {row.item: row for row in self.items}

    @cached_property
    def site(self) -> Mapping[str, Site]:
        """Sites by name."""
        return {row.site: row for row in self.sites}

    @cached_property
    def standing(self) -> Mapping[tuple[str, str], Standing]:
        """Standings by site and item."""
        return {(row.site, row.item): row for row in self.standings}

    @cached_property
    def ward(self) -> Mapping[tuple[str, str], Ward]:
        """Wards by site and item."""
        return {(row.site, row.item): row for row in self.wards}

    @cached_property
    def lane(self) -> Mapping[tuple[str, str, str], Way]:
        """Lanes by item, origin and destination."""
        return {(row.item, row.origin, row.destination): row for row in self.lanes}

    @cached_property
    def gate(self) -> Mapping[tuple[str, str], Gate]:
        """Gates by site and item."""
        return {(row.site, row.item): row for row in self.gates}

    def most_given(self, node: tuple[str, str], day: int) -> int:
        """Most units, or people, that may leave the site on `day`, by its standing or ward and by its gate."""
        limits, gate = self.standing.get(node) or self.ward.get(node), self.gate.get(node)
        most = 0 if limits is None else limits.gives
        return most if gate is None else min(most, gate.gives[day])

    def most_taken(self, node: tuple[str, str], day: int) -> int:
        """Most that may arrive on `day`."""
        limits, gate = self.standing.get(node) or self.ward.get(node), self.gate.get(node)
        most = 0 if limits is None else limits.takes
        return most if gate is None else min(most, gate.takes[day])

    @property
    def format(self) -> str:
        """The oldest format that has room for all of it."""
        return FORMAT if self.gates else FIRST

    @cached_property
    def lots_of(self) -> Mapping[tuple[str, str], tuple[Lot, ...]]:
        """Lots by site and item."""
        found: dict[tuple[str, str], list[Lot]] = {}
        for row in self.lots:
            found.setdefault((row.site, row.item), []).append(row)
        return {key: tuple(rows) for key, rows in found.items()}

    @cached_property
    def serving(self) -> Mapping[str, tuple[str, ...]]:
        """Items that may meet a need of each item, itself first, then substitutes by name."""
        return {
            row.item: (row.item, *(other.item for other in self.substitutes if other.serves == row.item))
            for row in self.items
        }

    @cached_property
    def recipe(self) -> Mapping[str, Recipe]:
        """What one unit of each item in use takes at its site for a day."""
        return recipes(self)

    def takes_more(self, item: str) -> bool:
        """Whether the use of a unit takes more than itself: of kits, and of what has fittings."""
        return self.recipe[item] != {item: 1}

    @cached_property
    def stated(self) -> frozenset[str]:
        """Items whose use a schedule states; all else is used as far as it is there and needed."""
        chosen = {name for row in self.substitutes for name in (row.item, row.serves)}
        chosen |= {name for row in (*self.kits, *self.fittings) for name in (row.item, row.part)}
        return frozenset(chosen | {row.item for row in self.items if row.is_used_up})

    def loan(self, lane: Way, day: int, until: int) -> tuple[int, int] | None:
        """First day after the loan at the destination, and day home, of a unit that leaves on `day`.

        A unit that stays is gone from the destination on `until` and never home, told as `(until, days)`. None where
        the unit could not be used for a single day.
        """
        item, arrival = self.item[lane.item], day + lane.days
        if not item.loan_days:
            return (until, self.days) if arrival < min(until, self.days) else None
        latest = until if until < self.days or item.home_by_end else self.days + lane.days
        back = min(arrival + item.loan_days, latest - lane.days)
        return (back, back + lane.days) if arrival < min(back, self.days) else None

    def to_json(self) -> dict[str, Json]:
        """The document that is hashed, stored and given to whoever checks the schedule."""
        return self._members([row.to_json() for row in self.lanes])

    def _members(self, lanes: list[Json]) -> dict[str, Json]:
        return {
            "format": self.format,
            "start": strict.moment_text(self.start),
            "days": self.days,
            "seed": self.seed,
            "aims": [aim.value for aim in self.aims],
            "enough": self.enough,
            **{n: [row.to_json() for row in getattr(self, n)] for n in ROWS_OF[self.format] if n != "lanes"},
            "lanes": lanes,
        }

    @classmethod
    def from_json(cls, value: object) -> Horizon:
        """Read what `to_json` wrote; raises `Invalid` naming the path of what is wrong."""
        told = value.get("format") if isinstance(value, dict) else FORMAT
        if told not in list(ROWS_OF):
            raise Invalid(f"format must be {' or '.join(ROWS_OF)}.", field="format")
        lists = ROWS_OF[told]
        record = strict.Record.of(value, "", ("format", "start", "days", "seed", "aims", "enough", *lists))
        rows = {name: record.each(name, ROWS[name][0].from_json, most=ROWS[name][1]) for name in lists}
        return cls(
            start=record.moment("start"), days=record.whole("days", least=1, most=MAX_DAYS),
            seed=record.text("seed", most=200), aims=record.each("aims", _aim, most=len(Aim)),
            enough=record.whole("enough"), **rows,  # type: ignore[arg-type]  # read by the kinds in ROWS
        )  # fmt: skip

    @classmethod
    def read(cls, data: bytes) -> Horizon:
        """Parse and read a document."""
        return cls.from_json(canonical.parse_loosely(data))


def _aim(value: object, path: str) -> Aim:
    if value not in list(Aim):
        raise Invalid(f"{path} must be one of {', '.join(Aim)}.", field=path)
    return Aim(cast("str", value))


def _check(horizon: Horizon) -> None:
    strict.whole(horizon.days, "days", least=1, most=MAX_DAYS)
    strict.whole(horizon.enough, "enough")
    if len(set(horizon.aims)) != len(horizon.aims) or Aim.SHORTAGE not in horizon.aims:
        raise Invalid("aims must have shortage, and none of them twice.", field="aims")
    for name, (_, _, key) in ROWS.items():
        last: tuple[object, ...] | None = None
        for row in getattr(horizon, name):
            path = f"{name}[{','.join(map(str, key(row)))}]"
            if key(row) == last:
                raise Invalid(f"{path} stands twice.", field=path)
            row.check(path, horizon.days)
            _check_known(horizon, row, path)
            last = key(row)
    _check_items(horizon)
    _check_lots(horizon)
    _check_lanes(horizon)
    _check_substitutes(horizon)
    check_recipes(horizon)
    _check_totals(horizon)


def _check_known(horizon: Horizon, row: Row, path: str) -> None:
    for name in row.NAMES:
        known: Mapping[str, object] | None = {
            "item": horizon.item, "serves": horizon.item, "part": horizon.item, "site": horizon.site,
            "origin": horizon.site, "destination": horizon.site,
        }.get(name)  # fmt: skip
        value = getattr(row, name)
        if known is not None and value not in known:
            raise Invalid(f"{path}.{name} {value} is not part of this horizon.", field=f"{path}.{name}")


def _check_items(horizon: Horizon) -> None:
    for row in horizon.items:
        path = f"items[{row.item}]"
        for day, share in enumerate(row.stay):
            strict.whole(share, f"{path}.stay[{day}]", most=1000)
        if row.is_place != bool(row.stay) or list(row.stay) != sorted(row.stay, reverse=True):
            raise Invalid(f"{path}.stay must be falling shares for places, else empty.", field=f"{path}.stay")
        if (row.is_place or row.is_used_up) and (row.loan_days or row.home_by_end):
            raise Invalid(f"{path}.loan_days must be 0: only devices and staff come back.", field=f"{path}.loan_days")
        if row.home_by_end and not row.loan_days:
            raise Invalid(f"{path}.home_by_end is for loans; loan_days is 0.", field=f"{path}.home_by_end")
        if row.is_place and (row.lot_size > 1 or row.hold_days):
            raise Invalid(f"{path}: people are moved one by one, and once.", field=path)


def _check_lots(horizon: Horizon) -> None:
    for row in horizon.lots:
        path = f"lots[{row.site},{row.item},{row.since},{row.until}]"
        if horizon.item[row.item].is_place:
            raise Invalid(f"{path}.item is a place; its beds stand in wards.", field=f"{path}.item")
        if not row.since < row.until <= horizon.days:
            raise Invalid(f"{path}.until must be after since, and {horizon.days} at most.", field=f"{path}.until")
    for name, place in (("standings", False), ("wards", True)):
        for standing in getattr(horizon, name):
            if horizon.item[standing.item].is_place is not place:
                path = f"{name}[{standing.site},{standing.item}].item"
                raise Invalid(f"{path}: places stand in wards, everything else in standings.", field=path)


def _check_lanes(horizon: Horizon) -> None:
    for row in horizon.lanes:
        path = f"lanes[{row.item},{row.origin},{row.destination}]"
        rows = horizon.ward if horizon.item[row.item].is_place else horizon.standing
        make = horizon.item[row.item].make
        if row.origin == row.destination:
            raise Invalid(f"{path} joins a site to itself.", field=path)
        for end in ("origin", "destination"):
            if (getattr(row, end), row.item) not in rows:
                raise Invalid(f"{path}.{end} has no standing or ward for this item.", field=f"{path}.{end}")
        if make not in ("any", *horizon.site[row.destination].makes):
            raise Invalid(f"{path}.destination cannot use make {make}.", field=f"{path}.destination")
    for gate in horizon.gates:
        if (gate.site, gate.item) not in (horizon.ward if horizon.item[gate.item].is_place else horizon.standing):
            path = f"gates[{gate.site},{gate.item}]"
            raise Invalid(f"{path} has no standing or ward for this item.", field=path)
    for shipment in horizon.in_force:
        if (shipment.item, shipment.origin, shipment.destination) not in horizon.lane:
            path = f"in_force[{shipment.item},{shipment.origin},{shipment.destination}]"
            raise Invalid(f"{path} follows no lane of this horizon.", field=path)


def _check_substitutes(horizon: Horizon) -> None:
    after: dict[str, list[str]] = {}
    for row in horizon.substitutes:
        if horizon.item[row.item].kind is not horizon.item[row.serves].kind or horizon.item[row.item].is_place:
            path = f"substitutes[{row.item},{row.serves}]"
            raise Invalid(f"{path}: only things of the same kind, and no places, stand in for another.", field=path)
        after.setdefault(row.item, []).append(row.serves)
    for start, next_ones in after.items():
        reached, ahead = set[str](), list(next_ones)
        while ahead:
            here = ahead.pop()
            if here == start:
                raise Invalid(f"substitutes: {start} would stand in for itself in a circle.", field="substitutes")
            if here not in reached:
                reached.add(here)
                ahead += after.get(here, ())


def _check_totals(horizon: Horizon) -> None:
    sums: Iterable[tuple[str, int, int]] = (
        ("lots", sum(row.units for row in horizon.lots), MAX_TOTAL),
        ("standings", sum(sum(row.need) for row in horizon.standings), MAX_TOTAL),
        ("wards", sum(sum(row.occupied) for row in horizon.wards), 100 * MAX_THOUSANDTHS),
    )
    for name, total, most in sums:
        if total > most:
            raise Invalid(f"{name} add up to more than {most}; count in larger units.", field=name)
