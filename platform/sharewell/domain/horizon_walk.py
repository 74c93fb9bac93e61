"""Walking a horizon day by day in whole numbers: what every site holds, uses and lacks, given what is shipped.

One day goes: units whose time is over are gone; own lots, arrivals and loans come in and loans go back; shipments
leave; what is left is on hand for the day's use. Of what is used up, units that expire first are used first. This is
what a schedule *means*; neither the program nor a solver has part in it.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from sharewell.domain.horizon import Horizon
    from sharewell.domain.horizon_rows import Shipment

Node = tuple[str, str]  #: site and item
Uses = dict[tuple[str, int, str, str], int]  #: site, day, item, item whose need it meets -> units


@dataclass(slots=True)
class Walk:
    """What came of the days; series are indexed by day."""

    on_hand: dict[Node, list[int]]  #: units there when the day's use begins
    short: dict[Node, list[int]]  #: units lacking; of places, thousandths of people beyond the beds
    received: dict[Node, list[int]]  #: units arrived; of places, thousandths of received people who are there
    away: dict[tuple[str, str, int], list[int]]  #: own units lent out, by site, item and end of their lot
    uses: Uses
    violations: list[str] = field(default_factory=list)

    def total_short(self, node: Node) -> int:
        """Unit-days lacking over the horizon."""
        return sum(self.short.get(node, ()))


def walk(
    horizon: Horizon, shipments: Iterable[Shipment] = (), uses: Uses | None = None, only: Iterable[Node] | None = None
) -> Walk:
    """Play `shipments` and `uses`; impossible ones are told in `violations`.

    `uses` states the use of consumables, of items with substitutes or fittings, of kits and their parts. Without it (a
    site alone) each site meets each need with the item itself first, items that take more than themselves after the
    others, then lets what is left stand in, in the order of the substitutes' names. `only` are the sites and items to
    look at, where not all; shipments and uses then have to be among them.
    """
    shipments = tuple(shipments)
    result = Walk({}, {}, {}, {}, {} if uses is None else uses)
    nodes = sorted({*horizon.standing, *horizon.lots_of, *horizon.ward} if only is None else only)
    things = [row for row in shipments if not horizon.item[row.item].is_place]
    _Things(horizon, result, nodes, things, automatic=uses is None).play()
    wards = [node for node in nodes if node in horizon.ward]
    _people(horizon, result, wards, [row for row in shipments if horizon.item[row.item].is_place])
    return result


class _Things:
    """Everything that travels itself."""

    def __init__(
        self, horizon: Horizon, result: Walk, nodes: list[Node], shipments: list[Shipment], *, automatic: bool
    ) -> None:
        self.horizon, self.result, self.automatic = horizon, result, automatic
        self.nodes = [node for node in nodes if not horizon.item[node[1]].is_place]
        self.stock: dict[Node, dict[int, int]] = {node: {} for node in self.nodes}
        self.changes: list[list[tuple[Node, int, int]]] = [[] for _ in range(horizon.days)]
        self.leaving: list[list[Shipment]] = [[] for _ in range(horizon.days)]
        self.sites: dict[str, list[Node]] = defaultdict(list)
        for node in sorted(self.nodes, key=lambda node: (horizon.takes_more(node[1]), node)):
            self.sites[node[0]].append(node)
            for series in (result.on_hand, result.short, result.received):
                series[node] = [0] * horizon.days
        self._schedule(shipments)

    def _schedule(self, shipments: list[Shipment]) -> None:
        for node in self.nodes:
            for lot in self.horizon.lots_of.get(node, ()):
                self.changes[lot.since].append((node, lot.until, lot.units))
        for row in shipments:
            lane = self.horizon.lane[row.item, row.origin, row.destination]
            term = self.horizon.loan(lane, row.day, row.until)
            self.leaving[row.day].append(row)
            if term is None:
                self.result.violations.append(f"{named(row)} could not be used for a single day")
                continue
            there = (row.destination, row.item)
            self._change(row.day + lane.days, there, row.until, row.units)
            self.result.received[there][row.day + lane.days] += row.units
            if self.horizon.item[row.item].loan_days:
                self._lend(row, term)

    def _lend(self, row: Shipment, term: tuple[int, int]) -> None:
        back, home = term
        self._change(back, (row.destination, row.item), row.until, -row.units)
        self._change(home, (row.origin, row.item), row.until, row.units)
        away = self.result.away.setdefault((row.origin, row.item, row.until), [0] * self.horizon.days)
        for day in range(row.day, min(home, self.horizon.days)):
            away[day] += row.units

    def _change(self, day: int, node: Node, until: int, units: int) -> None:
        if day < min(until, self.horizon.days):
            self.changes[day].append((node, until, units))

    def play(self) -> None:
        for day in range(self.horizon.days):
            for stock in self.stock.values():
                stock.pop(day, None)
            for node, until, units in self.changes[day]:
                self.stock[node][until] = self.stock[node].get(until, 0) + units
            for row in self.leaving[day]:
                stock = self.stock[row.origin, row.item]
                stock[row.until] = stock.get(row.until, 0) - row.units
            self._count(day)
            for nodes in self.sites.values():
                self._use(day, nodes)

    def _count(self, day: int) -> None:
        for node, stock in self.stock.items():
            for until, units in stock.items():
                if units < 0:
                    self.result.violations.append(
                        f"{node[0]} ships {-units} more of {node[1]} (there until day {until}) on day {day} than it has"
                    )
                    stock[until] = 0
            self.result.on_hand[node][day] = sum(stock.values())

    def _use(self, day: int, nodes: list[Node]) -> None:
        lacking = {node: self._need(node, day) for node in nodes}
        left = {node: self.result.on_hand[node][day] for node in nodes}
        for site, item in nodes:
            if self.automatic or item not in self.horizon.stated:
                self._meet(day, (site, item), (site, item), lacking, left)
        for row in self.horizon.substitutes if self.automatic else ():
            self._meet(day, (nodes[0][0], row.item), (nodes[0][0], row.serves), lacking, left)
        if not self.automatic:
            self._as_stated(day, nodes, lacking, left)
        for node in nodes:
            self.result.short[node][day] = lacking[node]
            if self.horizon.item[node[1]].is_used_up:
                self._use_up(node, self.result.on_hand[node][day] - left[node])

    def _meet(self, day: int, giver: Node, taker: Node, lacking: dict[Node, int], left: dict[Node, int]) -> None:
        units = min(self._ready(giver, left), lacking.get(taker, 0))
        if units:
            self._take(giver, units, left)
            lacking[taker] -= units
            if self.automatic and giver[1] in self.horizon.stated:
                self.result.uses[giver[0], day, giver[1], taker[1]] = units

    def _ready(self, node: Node, left: dict[Node, int]) -> int:
        """Units that can be used, with all that one takes."""
        site, item = node
        return min(left.get((site, part), 0) // units for part, units in self.horizon.recipe[item].items())

    def _take(self, node: Node, units: int, left: dict[Node, int]) -> None:
        for part, each in self.horizon.recipe[node[1]].items():
            left[node[0], part] -= each * units

    def _as_stated(self, day: int, nodes: list[Node], lacking: dict[Node, int], left: dict[Node, int]) -> None:
        for site, serves in nodes:
            if serves not in self.horizon.stated:
                continue
            for item in self.horizon.serving[serves]:
                units = self.result.uses.get((site, day, item, serves), 0)
                if not units:
                    continue
                if units > self._ready((site, item), left) or units > lacking[site, serves]:
                    has = "has all parts for" if self.horizon.takes_more(item) else "has"
                    self.result.violations.append(
                        f"{site} uses {units} of {item} for {serves} on day {day}, more than it {has} or needs"
                    )
                    continue
                self._take((site, item), units, left)
                lacking[site, serves] -= units

    def _need(self, node: Node, day: int) -> int:
        standing = self.horizon.standing.get(node)
        return standing.need[day] if standing else 0

    def _use_up(self, node: Node, units: int) -> None:
        stock = self.stock[node]
        for until in sorted(stock):
            taken = min(units, stock[until])
            stock[until] -= taken
            units -= taken


def _people(horizon: Horizon, result: Walk, nodes: list[Node], shipments: list[Shipment]) -> None:
    occupied = {node: list(horizon.ward[node].occupied) for node in nodes}
    for node in nodes:
        result.received[node] = [0] * horizon.days
    for row in shipments:
        stay = horizon.item[row.item].stay
        lane = horizon.lane[row.item, row.origin, row.destination]
        for day, share in enumerate(stay[: horizon.days - row.day], start=row.day):
            occupied[row.origin, row.item][day] -= share * row.units
            if day >= row.day + lane.days:
                occupied[row.destination, row.item][day] += share * row.units
                result.received[row.destination, row.item][day] += share * row.units
    for node in nodes:
        people = zip(occupied[node], horizon.ward[node].beds, strict=True)
        result.short[node] = [max(0, there - 1000 * beds) for there, beds in people]


@dataclass(frozen=True, slots=True)
class Alone:
    """What each site would have and lack without sharing, and from it what it keeps."""

    walk: Walk
    supply: Mapping[Node, list[int]]  #: own units that have been there by each day
    own: Mapping[tuple[str, str, int], list[int]]  #: own units there each day, by end of their lot; none used up
    keeps: Mapping[Node, list[int]]  #: units on hand (of places: beds) that stay at the site each day
    may_lack: Mapping[Node, list[int]]  #: units by which what was shipped may exceed what came in, by each day


def alone(horizon: Horizon) -> Alone:
    """Work out the standalone outcome."""
    by_itself = walk(horizon)
    own: dict[tuple[str, str, int], list[int]] = {}
    supply: dict[Node, list[int]] = {node: [0] * horizon.days for node in horizon.standing}
    for lot in horizon.lots:
        series = own.setdefault((lot.site, lot.item, lot.until), [0] * horizon.days)
        for day in range(lot.since, lot.until):
            series[day] += lot.units
        for day in range(lot.since, horizon.days):
            supply.setdefault((lot.site, lot.item), [0] * horizon.days)[day] += lot.units
    keeps, may_lack = {}, {}
    for node, standing in horizon.standing.items():
        there = by_itself.on_hand[node]
        keeps[node] = [min(units, kept) for units, kept in zip(there, standing.kept, strict=True)]
        if horizon.item[node[1]].is_used_up:
            may_lack[node] = [standing.pledge * units // 1000 for units in supply[node]]
        else:
            pledged = (units - standing.pledge * units // 1000 for units in there)
            keeps[node] = list(map(max, keeps[node], pledged))
    for node, ward in horizon.ward.items():
        shared = (min(ward.pledge * n // 1000, max(0, n - k)) for n, k in zip(ward.beds, ward.kept, strict=True))
        keeps[node] = [n - units for n, units in zip(ward.beds, shared, strict=True)]
    return Alone(by_itself, supply, own, keeps, may_lack)


def named(row: Shipment) -> str:
    """The shipment in words."""
    return f"{row.units} of {row.item} from {row.origin} to {row.destination} on day {row.day}"
