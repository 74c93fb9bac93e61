"""Rows and columns of what travels itself: devices, consumables, staff.

Balance of every site, item and lot end (units that end on the same day are alike), in units:
hand_t = hand_(t-1) - used up_(t-1) + own_t + arrived_t + home_t - gone back_t - shipped_t.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from sharewell.domain.horizon import Aim
from sharewell.domain.horizon_loads import came, carries, is_lumpy, load_rows
from sharewell.domain.horizon_program import Departures, Entries, Program, lane_costs, pools, ticket
from sharewell.domain.horizon_rows import UNLIMITED, Item, Standing, Way

if TYPE_CHECKING:
    from sharewell.domain.horizon_walk import Node

Shared = tuple[dict[str, list[int]], dict[str, list[int]]]  #: by site, groups of what leaves it, and what arrives
_NOTHING = partial(Standing, need=(), kept=(), gives=0, takes=0)


class Stock:
    """Writes the part of a program that is of things: first all rows, then the columns that stand in them."""

    def __init__(self, program: Program) -> None:
        self.program, self.horizon, self.alone = program, program.horizon, program.alone
        self.days = self.horizon.days
        self.nodes = [node for node in program.stretch.nodes if not self.horizon.item[node[1]].is_place]
        self.lanes = [lane for lane in program.stretch.lanes if not self.horizon.item[lane.item].is_place]
        self.sends = {(lane.origin, lane.item) for lane in self.lanes}
        self.gets = {(lane.destination, lane.item) for lane in self.lanes}
        self.lanes_from: dict[Node, list[Way]] = {node: [] for node in self.nodes}
        for lane in self.lanes:
            self.lanes_from[lane.origin, lane.item].append(lane)
        lots = [lot for node in self.nodes for lot in self.horizon.lots_of.get(node, ())]
        self.total = {item: sum(lot.units for lot in lots if lot.item == item) for item in {n[1] for n in self.nodes}}
        self.shared: dict[tuple[str, int, int], Shared] = {}  #: by item, lot end and days on the way
        self.useful_days: dict[tuple[str, int], list[tuple[int, list[int]]]] = {}
        self.most: dict[tuple[str, str, int, int], list[int]] = {}
        self.unlimited = {node for node in self.nodes if self._takes_anything(node)}
        self.ends = {item: sorted({lot.until for lot in lots if lot.item == item}) for item in self.total}

    def write(self) -> None:
        """Add everything."""
        for node in self.nodes:
            self._balance(node)
            self._limits(node)
            self._chains(node)
            self._need_rows(node)
        for node in self.nodes:
            for until in self.ends[node[1]]:
                self._hands(node, until)
            self._sums(node)
            self._needs(node)
        for item in sorted({lane.item for lane in self.lanes}):
            self._lanes(self.horizon.item[item], [lane for lane in self.lanes if lane.item == item])

    def _standing(self, node: Node) -> Standing:
        return self.horizon.standing.get(node) or _NOTHING(site=node[0], item=node[1])

    def _takes_anything(self, node: Node) -> bool:
        standing = self._standing(node)
        return standing.takes == standing.ceiling == UNLIMITED and node not in self.horizon.gate

    def _own(self, node: Node, until: int) -> list[int]:
        return self.alone.own.get((*node, until), [0] * self.days)

    def _balance(self, node: Node) -> None:
        for until in self.ends[node[1]]:
            starting = [0] * self.days
            for lot in self.horizon.lots_of.get(node, ()):
                starting[lot.since] += lot.units * (lot.until == until)
            for day in range(until):
                self.program.row(("balance", *node, until, day), starting[day], starting[day])

    def _limits(self, node: Node) -> None:
        """Caps of a day, the ceiling, and what is kept, where they bind at all."""
        standing, row = self._standing(node), self.program.row
        for day in range(self.days):
            gives, takes = self.horizon.most_given(node, day), self.horizon.most_taken(node, day)
            if gives < UNLIMITED and node in self.sends:
                row(("gives", *node, day), None, gives)
            if takes < UNLIMITED and node in self.gets:
                row(("takes", *node, day), None, takes)
            if node in self.sends and self.alone.keeps[node][day]:
                self._keep_row(node, day)
        if standing.ceiling < UNLIMITED and node in self.gets:
            row(("ceiling", *node), None, standing.ceiling)

    def _keep_row(self, node: Node, day: int) -> None:
        kept = self.alone.keeps[node][day]
        if self.horizon.item[node[1]].loan_days:  # what is kept are own units, not borrowed ones
            self.program.row(("keeps", *node, day), None, self.alone.walk.on_hand[node][day] - kept)
        else:
            self.program.row(("keeps", *node, day), kept, None)

    def _chains(self, node: Node) -> None:
        """Rows of sums that go on from day to day."""
        item = self.horizon.item[node[1]]
        if node not in self.sends:
            return
        for until in self.ends[item.item] if item.loan_days else ():
            for day in range(until):
                self.program.row(("away", *node, until, day), 0, 0)
        for day in range(self.days):
            if item.hold_days and not item.loan_days and node in self.gets:
                self.program.row(("held", *node, day), 0, 0)
            if item.is_used_up:
                self.program.row(("lent", *node, day), 0, 0)
        lumpy = [lane for lane in self.lanes_from[node] if is_lumpy(self.horizon, lane)]
        if lumpy and node in self.gets and not item.loan_days:
            load_rows(self.program, node, lumpy)

    def _need_rows(self, node: Node) -> None:
        """Rows that say what is lacking; and, where it matters who uses what, that use has to be there."""
        item, stated = self.horizon.item[node[1]], node[1] in self.horizon.stated
        for day, need in enumerate(self._standing(node).need):
            if need and (stated or self.alone.walk.short[node][day] or node in self.sends):
                self.program.row(("need", *node, day), need, need if stated else None)
        if not stated or node[1] not in self.horizon.recipe[node[1]]:  # of a kit nothing is there but its parts
            return
        for day in range(self.days):
            for until in self.ends[item.item] if item.is_used_up else [0]:
                if not until or day < until:
                    self.program.row(("use", *node, until, day), None, 0)

    def _hands(self, node: Node, until: int) -> None:
        """What is on hand of one lot end, and how much of the own is away."""
        at, item = self.program.at, self.horizon.item[node[1]]
        own = self._own(node, until)
        for day in range(until):
            entries = self.program.entries(
                (("balance", *node, until, day), 1), (("balance", *node, until, day + 1), -1),
                (("keeps", *node, day), int(not item.loan_days)),
                (("use", *node, until if item.is_used_up else 0, day), -1),
                (("need", *node, day), int(item.item not in self.horizon.stated)),
            )  # fmt: skip
            self.program.column(("hand", *node, until, day), 0, self.total[item.item], entries)
            chain = at("away", *node, until, day)
            if chain:
                entries = chain + at("away", *node, until, day + 1, sign=-1) + at("keeps", *node, day)
                self.program.column(("away", *node, until, day), 0, own[day], entries)

    def _sums(self, node: Node) -> None:
        """What was shipped less what came in, for the hold and for the pledge."""
        came(self.program, node, self.lanes_from[node], self.total[node[1]] * self.days * len(self.lanes))
        least = -self.total[node[1]] * self.days
        for chain, most in (("held", self.alone.supply), ("lent", self.alone.may_lack)):
            for day in range(self.days):
                entries = self.program.at(chain, *node, day)
                if entries:
                    entries += self.program.at(chain, *node, day + 1, sign=-1)
                    self.program.column((chain, *node, day), least, most[node][day], entries)

    def _needs(self, node: Node) -> None:
        """Columns of what is lacking and of the uses that prevent it."""
        for day, need in enumerate(self._standing(node).need):
            row = self.program.at("need", *node, day)
            if not row:
                continue
            for item in self.horizon.serving[node[1]] if node[1] in self.horizon.stated else ():
                self._uses((node[0], item), node[1], day, need)
            self.program.lacking(node, day, self.alone.walk.short[node][day], row)

    def _uses(self, node: Node, serves: str, day: int, need: int) -> None:
        if self.horizon.takes_more(node[1]):
            self._uses_together(node, serves, day, need)
            return
        at, item = self.program.at, self.horizon.item[node[1]]
        for until in self.ends.get(item.item, ()) if item.is_used_up else [0]:
            use = at("use", *node, until, day)
            if use:
                gone = at("balance", *node, until, day + 1) if item.is_used_up else []
                entries = use + gone + at("need", node[0], serves, day)
                self.program.column(("use", *node, until, serves, day), 0, need, entries)

    def _uses_together(self, node: Node, serves: str, day: int, need: int) -> None:
        """One whole column for units whose use takes several things, and of what is used up one for each lot end."""
        program, entries = self.program, self.program.at("need", node[0], serves, day)
        recipe = self.horizon.recipe[node[1]]
        ends = {part: self._there(node[0], part, day) for part in recipe}
        if not all(ends.values()):
            return
        for part, units in recipe.items():
            if not self.horizon.item[part].is_used_up:
                entries += program.at("use", node[0], part, 0, day, sign=units)
                continue
            row = program.row(("together", *node, serves, part, day), 0, 0)
            entries.append((row, -units))
            for until in ends[part]:
                taken = [*program.at("use", node[0], part, until, day), (row, 1)]
                taken += program.at("balance", node[0], part, until, day + 1)
                program.column(("taken", *node, serves, part, until, day), 0, units * need, taken)
        program.column(("use", *node, 0, serves, day), 0, need, entries, whole=True)

    def _there(self, site: str, part: str, day: int) -> list[int]:
        """Lot ends of which `part` can be used on `day`; 0 for what is not used up."""
        ends = self.ends.get(part, []) if self.horizon.item[part].is_used_up else [0]
        return [until for until in ends if self.program.at("use", site, part, until, day)]

    def _lanes(self, item: Item, lanes: list[Way]) -> None:
        if not pools(self.program, item.item):
            planned = {name[1] for name in self.program.row_at if name[0] == "change"}
            for lane in lanes:
                plain = lane.cap == UNLIMITED and not is_lumpy(self.horizon, lane) and not (planned and lane in planned)
                for until, days in self._useful_days(lane):
                    if plain:
                        self._plain(lane, until, days, item.lot_size)
                    else:
                        for day in days:
                            self._lane(item, lane, until, day)
            return
        for until, days in self._useful_days(lanes[0]):
            for day in days:
                self.program.row(("pool", item.item, until, day), 0, 0)
                self._pooled(item, lanes, until, day)

    def _useful_days(self, lane: Way) -> list[tuple[int, list[int]]]:
        """Lot ends, and for each the days of departure with which a unit can be of use."""
        if (lane.item, lane.days) not in self.useful_days:
            days = (
                (until, [day for day in range(until) if self.horizon.loan(lane, day, until) is not None])
                for until in self.ends[lane.item]
            )
            self.useful_days[lane.item, lane.days] = [row for row in days if row[1]]
        return self.useful_days[lane.item, lane.days]

    def _plain(self, lane: Way, until: int, days: list[int], size: int) -> None:
        """Columns of a lane that stands in no row of its own: all their entries are those of its two ends."""
        program = self.program
        leave, arrive = self.shared.setdefault((lane.item, until, lane.days), ({}, {}))
        if lane.origin not in leave:
            leave[lane.origin] = [program.group(self._leaving(lane, until, day, size)) for day in days]
        if lane.destination not in arrive:
            arrive[lane.destination] = [program.group(self._arriving(lane, until, day, size)) for day in days]
        groups = leave[lane.origin], arrive[lane.destination]
        by_day = Departures(len(program.called), lane, until, days)
        program.depart(by_day, self._most_by_day(lane, until, days), groups, self._prices(lane, size))

    def _prices(self, lane: Way, size: int) -> dict[Aim, int]:
        """What a lot along a plain lane costs, by aim."""
        prices = {Aim.MOVES: size, Aim.STABILITY: size, Aim.DISTANCE: size * lane.metres}
        if Aim.LOTTERY in self.program.costs:
            prices[Aim.LOTTERY] = size * ticket(self.horizon.seed, lane)
        return {aim: price for aim, price in prices.items() if aim in self.program.costs}

    def _lane(self, item: Item, lane: Way, until: int, day: int) -> None:
        program, size = self.program, item.lot_size
        if lane.cap < UNLIMITED and ("cap", lane, day) not in program.row_at:
            program.row(("cap", lane, day), None, lane.cap)
        entries = self._leaving(lane, until, day, size) + self._arriving(lane, until, day, size)
        entries += program.at("cap", lane, day, sign=size) + program.at("change", lane, day, sign=size)
        most = self._most(lane, day) // size
        if is_lumpy(self.horizon, lane):
            own = self._spare((lane.origin, lane.item), day)
            entries += carries(program, lane, day, size, most * size, own)
        column = program.column(("lane", lane, until, day), 0, most, entries, whole=True)
        program.cost(Aim.MOVES, column, size)
        lane_costs(program, column, lane, day, size)

    def _most(self, lane: Way, day: int) -> int:
        """Units that `lane` can carry on `day`."""
        origin, destination = (lane.origin, lane.item), (lane.destination, lane.item)
        own = self.horizon.item[lane.item].loan_days or (lane.origin, lane.item) not in self.gets
        has = self._spare((lane.origin, lane.item), day) if own else self.total[lane.item]
        ends = self.horizon.most_given(origin, day), self.horizon.most_taken(destination, day + lane.days)
        return min(has, lane.cap, *ends, self._standing(destination).ceiling)

    def _most_by_day(self, lane: Way, until: int, days: list[int]) -> list[int]:
        """The same in lots for each of `days`, on which a plain lane can be left."""
        size = self.horizon.item[lane.item].lot_size
        if (lane.destination, lane.item) not in self.unlimited:
            return [self._most(lane, day) // size for day in days]
        key = (lane.origin, lane.item, until, lane.days)  # the destination does not matter
        if key not in self.most:
            self.most[key] = [self._most(lane, day) // size for day in days]
        return self.most[key]

    def _spare(self, node: Node, day: int) -> int:
        """Units of its own that may have left a site by `day`."""
        if self.horizon.item[node[1]].is_used_up:
            return self.alone.may_lack[node][day]
        return self.alone.walk.on_hand[node][day] - self.alone.keeps[node][day]

    def _pooled(self, item: Item, lanes: list[Way], until: int, day: int) -> None:
        program, size = self.program, item.lot_size
        most = self.total[item.item] // size
        for origin, lane in sorted({lane.origin: lane for lane in lanes}.items()):
            entries = self._leaving(lane, until, day, size) + program.at("pool", item.item, until, day)
            column = program.column(("out", origin, item.item, until, day), 0, most, entries, whole=True)
            program.cost(Aim.MOVES, column, size)
        for destination, lane in sorted({lane.destination: lane for lane in lanes}.items()):
            entries = self._arriving(lane, until, day, size)
            entries += program.at("pool", item.item, until, day, sign=-1)
            program.column(("in", destination, item.item, until, day), 0, most, entries, whole=True)

    def _leaving(self, lane: Way, until: int, day: int, size: int) -> Entries:
        node, term = (lane.origin, lane.item), self.horizon.loan(lane, day, until)
        entries = self.program.entries(
            (("balance", *node, until, day), size), (("gives", *node, day), size), (("held", *node, day), -size),
            (("lent", *node, day), -size), (("away", *node, until, day), -size),
        )  # fmt: skip
        if self.horizon.item[lane.item].loan_days and term is not None:
            home = term[1]
            entries += self.program.entries(
                (("balance", *node, until, home), -size), (("away", *node, until, home), size)
            )
        return entries

    def _arriving(self, lane: Way, until: int, day: int, size: int) -> Entries:
        node, item = (lane.destination, lane.item), self.horizon.item[lane.item]
        arrival, term = day + lane.days, self.horizon.loan(lane, day, until)
        entries = self.program.entries(
            (("balance", *node, until, arrival), -size), (("takes", *node, arrival), size), (("ceiling", *node), size),
            (("held", *node, arrival + item.hold_days), size), (("lent", *node, arrival), size),
            (("came", *node, arrival), size),
        )  # fmt: skip
        if item.loan_days and term is not None:
            entries += self.program.at("balance", *node, until, term[0], sign=size)
        return entries
