"""One connected part of a horizon as a program in whole numbers; searcher and checker build the same one from it.

Minimise costs * x with lower <= x <= upper and row_lower <= A x <= row_upper; where `whole` says so x is to be whole.
Where nothing but the sums matter (every origin reaches every destination in the same time, without caps, and no aim
looks at single lanes) the lanes of an item are *pooled*: what leaves on a day arrives, whoever sends it to whom.
The rows of each kind of item are written in `horizon_stock` and `horizon_wards`.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

from sharewell.domain.horizon import PER_LANE, URGENCY_WEIGHTS, Aim, Horizon
from sharewell.domain.horizon_loads import is_lumpy
from sharewell.domain.horizon_rows import UNLIMITED, Way

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sharewell.domain.horizon_walk import Alone, Node

TICKETS = 1024  #: in the lottery
Entries = list[tuple[int, int]]  #: row and coefficient
Name = tuple[Any, ...]  #: of a row or column: its kind, then what it is about
Groups = tuple[list[int], list[int]]  #: two groups of entries for each of some columns


@dataclass(frozen=True, slots=True)
class Stretch:
    """Sites and items joined by lanes, by standing in for one another or by use together; decided independently."""

    index: int
    nodes: tuple[Node, ...]
    lanes: tuple[Way, ...]


class Departures(NamedTuple):
    """Columns that follow one another: units of one lot end along one lane, by day of departure."""

    first: int  #: column
    lane: Way
    until: int
    days: Sequence[int]

    def name(self, column: int) -> Name:
        """Of one of the columns."""
        return ("lane", self.lane, self.until, self.days[column - self.first])


@dataclass
class Program:
    """The program of one stretch, column by column; a missing row limit is None.

    Entries are written in groups. A column has those of one group, or of two that it shares with others: what leaves
    one site on a day does so whatever the destination.
    """

    horizon: Horizon
    alone: Alone
    stretch: Stretch
    lower: list[int] = field(default_factory=list)
    upper: list[int] = field(default_factory=list)
    whole: list[bool] = field(default_factory=list)
    one: list[int] = field(default_factory=list)  #: group of each column
    other: list[int] = field(default_factory=list)  #: its second group; -1 where it has none
    starts: list[int] = field(default_factory=lambda: [0])  #: by group, the place of its first entry in those below
    rows: list[int] = field(default_factory=list)
    values: list[int] = field(default_factory=list)
    row_lower: list[int | None] = field(default_factory=list)
    row_upper: list[int | None] = field(default_factory=list)
    row_at: dict[Name, int] = field(default_factory=dict)
    costs: dict[Aim, list[int]] = field(default_factory=dict)  #: by aim, in order; of every column once finished
    fills: Entries = field(default_factory=list)  #: of the column of the worst fill
    most_short: int = 0  #: weighted shortage without sharing
    called: list[Name | Departures] = field(default_factory=list)  #: name of each column, or those it is one of

    @cached_property
    def names(self) -> list[Name]:
        """Of columns; the first part says the kind. To be asked for once all are written."""
        return [name.name(at) if isinstance(name, Departures) else name for at, name in enumerate(self.called)]

    def row(self, name: Name, low: int | None, high: int | None) -> int:
        """Add a row; `row_at` finds it by name."""
        self.row_at[name] = at = len(self.row_lower)
        self.row_lower.append(low)
        self.row_upper.append(high)
        return at

    def group(self, entries: Entries) -> int:
        """Add entries for columns to share."""
        self.rows += [at for at, _ in entries]
        self.values += [value for _, value in entries]
        self.starts.append(len(self.rows))
        return len(self.starts) - 2

    def column(
        self, name: Name, low: int, high: int, entries: Entries, *, whole: bool = False
    ) -> int:  # fmt: skip
        """Add a column with its `entries`."""
        self.one.append(self.group(entries))
        self.other.append(-1)
        self.called.append(name)
        self.lower.append(low)
        self.upper.append(high)
        self.whole.append(whole)
        return len(self.called) - 1

    def depart(self, by_day: Departures, most: list[int], groups: Groups, prices: Mapping[Aim, int]) -> None:
        """Add the whole columns of `by_day`, of at most `most` units, which share `groups` and cost `prices`."""
        count = len(most)
        self.called += [by_day] * count
        self.one += groups[0]
        self.other += groups[1]
        self.lower += [0] * count
        self.upper += most
        self.whole += [True] * count
        for aim, price in prices.items():
            costs = self.costs[aim]
            if len(costs) < by_day.first:
                costs += [0] * (by_day.first - len(costs))
            costs += [price] * count

    def at(self, *name: Any, sign: int = 1) -> Entries:
        """The entry of a row, or none where there is no such row."""
        found = self.row_at.get(name)
        return [] if found is None else [(found, sign)]

    def entries(self, *signs: tuple[Name, int]) -> Entries:
        """The entries of all these rows, as far as there are such rows and no sign is 0."""
        return [(found, sign) for name, sign in signs if sign and (found := self.row_at.get(name)) is not None]

    def cost(self, aim: Aim, column: int, price: int) -> None:
        """Let `column` cost `price` in the stage of `aim`, if the horizon has it."""
        if aim in self.costs and price:
            costs = self.costs[aim]
            costs += [0] * (column + 1 - len(costs))
            costs[column] += price

    def lacking(self, node: Node, day: int, most: int, entries: Entries) -> None:
        """Add what `node` lacks on `day`, at most `most`: nobody is worse off on any day."""
        standing = self.horizon.standing.get(node) or self.horizon.ward[node]
        weight = URGENCY_WEIGHTS[standing.urgency - 1]
        if Aim.FILL in self.costs:
            if ("fill", *node) not in self.row_at:
                self.row(("fill", *node), None, 0)
                self.fills.append((self.row_at["fill", *node], -whole_need(self.horizon, node)))
            entries = entries + self.at("fill", *node, sign=1000)
        if self.horizon.enough:
            entries = entries + self.at("enough", sign=weight)
        column = self.column(("short", *node, day), 0, most, entries)
        self.most_short += weight * most
        if not self.horizon.enough:
            self.cost(Aim.SHORTAGE, column, weight)


def stretches(horizon: Horizon) -> tuple[Stretch, ...]:
    """The connected parts that have lanes, in the order of their first site and item."""
    parent: dict[Node, Node] = {}

    def root(node: Node) -> Node:
        while parent.setdefault(node, node) != node:
            parent[node] = node = parent[parent[node]]
        return node

    nodes = sorted({*horizon.standing, *horizon.lots_of, *horizon.ward})
    pairs = {(row.item, row.serves) for row in horizon.substitutes}
    pairs |= {(item, part) for item, recipe in horizon.recipe.items() for part in recipe if part != item}
    for item, other in sorted(pairs):
        for site in horizon.site:
            if (site, item) in horizon.lots_of or (site, item) in horizon.standing:
                parent[root((site, item))] = root((site, other))
    for lane in horizon.lanes:
        parent[root((lane.origin, lane.item))] = root((lane.destination, lane.item))
    joined: dict[Node, tuple[list[Node], list[Way]]] = {}
    for node in nodes:
        joined.setdefault(root(node), ([], []))[0].append(node)
    for lane in horizon.lanes:
        joined[root((lane.origin, lane.item))][1].append(lane)
    with_lanes = [(tuple(members), tuple(lanes)) for members, lanes in joined.values() if lanes]
    return tuple(Stretch(index, *both) for index, both in enumerate(with_lanes))


def pools(program: Program, item: str) -> bool:
    """Whether the lanes of `item` in this stretch may be pooled."""
    lanes = [lane for lane in program.stretch.lanes if lane.item == item]
    origins, destinations = {lane.origin for lane in lanes}, {lane.destination for lane in lanes}
    everywhere = len(lanes) == len(origins) * len(destinations) - len(origins & destinations)
    alike = len({lane.days for lane in lanes}) == 1 and all(lane.cap == UNLIMITED for lane in lanes)
    alike = alike and not any(is_lumpy(program.horizon, lane) for lane in lanes)
    return everywhere and alike and len(lanes) > 2 and not PER_LANE & set(program.horizon.aims)


def begin(program: Program) -> None:
    """Write the rows that columns of every kind stand in."""
    horizon = program.horizon
    program.costs = {aim: [] for aim in horizon.aims}
    if horizon.enough:
        program.row(("enough",), None, horizon.enough)
    if Aim.STABILITY not in program.costs:
        return
    lanes = set(program.stretch.lanes)
    planned: dict[tuple[Way, int], int] = {}
    for row in horizon.in_force:
        key = (horizon.lane[row.item, row.origin, row.destination], row.day)
        planned[key] = planned.get(key, 0) + row.units
    for (lane, day), units in planned.items():
        if lane in lanes:
            program.row(("change", lane, day), units, units)


def finish(program: Program) -> None:
    """Write the columns that sum up others: the worst fill, what exceeds enough, what differs from before."""
    if Aim.FILL in program.costs:
        program.cost(Aim.FILL, program.column(("worst",), 0, 1000, program.fills, whole=True), 1)
    if program.horizon.enough:
        excess = program.column(("excess",), 0, program.most_short, program.at("enough", sign=-1))
        program.cost(Aim.SHORTAGE, excess, 1)
    for name in [name for name in program.row_at if name[0] == "change"]:
        for sign in (-1, 1):
            changed = program.column((*name, sign), 0, 2 * UNLIMITED, program.at(*name, sign=sign))
            program.cost(Aim.STABILITY, changed, 1)
    for costs in program.costs.values():
        costs.extend([0] * (len(program.called) - len(costs)))


def whole_need(horizon: Horizon, node: Node) -> int:
    """What `node` needs over the horizon, in the unit in which it lacks it."""
    standing = horizon.standing.get(node)
    return sum(standing.need) if standing else sum(horizon.ward[node].occupied)


def ticket(seed: str, lane: Way) -> int:
    """A number from 1 to `TICKETS` for a lane, drawn by SHA-256 from the published seed; low ones win."""
    text = f"{seed}|{lane.item}|{lane.origin}|{lane.destination}"
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") % TICKETS + 1


def lane_costs(program: Program, column: int, lane: Way, day: int, units: int) -> None:
    """Costs of `units` in `column` along `lane`, except moves, which are counted where they leave."""
    program.cost(Aim.DISTANCE, column, units * lane.metres)
    if Aim.LOTTERY in program.costs:
        program.cost(Aim.LOTTERY, column, units * ticket(program.horizon.seed, lane))
    if Aim.STABILITY in program.costs and ("change", lane, day) not in program.row_at:
        program.cost(Aim.STABILITY, column, units)  # nothing was planned there, so any unit is a change
