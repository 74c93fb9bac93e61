"""Rows and columns of places: people are sent to another site on the day they are admitted, and stay there.

What is occupied is in thousandths: of people admitted n days ago the share `stay[n]` per mille is still there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sharewell.domain.horizon import Aim
from sharewell.domain.horizon_loads import carries, is_lumpy
from sharewell.domain.horizon_program import Entries, Program, lane_costs, pools
from sharewell.domain.horizon_rows import UNLIMITED, Item, Ward, Way

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sharewell.domain.horizon_walk import Node


class Wards:
    """Writes the part of a program that is of places."""

    def __init__(self, program: Program) -> None:
        self.program, self.horizon, self.alone = program, program.horizon, program.alone
        self.days = self.horizon.days
        self.nodes = [node for node in program.stretch.nodes if self.horizon.item[node[1]].is_place]
        self.lanes = [lane for lane in program.stretch.lanes if self.horizon.item[lane.item].is_place]
        self.sends = {(lane.origin, lane.item) for lane in self.lanes}
        self.gets = {(lane.destination, lane.item) for lane in self.lanes}

    def write(self) -> None:
        """Add everything."""
        for node in self.nodes:
            self._beds(node, self.horizon.ward[node])
            self._limits(node, self.horizon.ward[node])
        for item in sorted({lane.item for lane in self.lanes}):
            self._lanes(self.horizon.item[item], [lane for lane in self.lanes if lane.item == item])

    def _beds(self, node: Node, ward: Ward) -> None:
        for day in range(self.days):
            beyond, most = ward.occupied[day] - 1000 * ward.beds[day], self.alone.walk.short[node][day]
            if node in self.gets or most:
                row = self.program.row(("beds", *node, day), beyond, None)
                self.program.lacking(node, day, most, [(row, 1)])

    def _limits(self, node: Node, ward: Ward) -> None:
        row = self.program.row
        if node not in self.gets:
            return
        for day in range(self.days):
            row(("received", *node, day), None, 1000 * (ward.beds[day] - self.alone.keeps[node][day]))
            takes = self.horizon.most_taken(node, day)
            if takes < UNLIMITED:
                row(("takes", *node, day), None, takes)
        if ward.ceiling < UNLIMITED:
            row(("ceiling", *node), None, ward.ceiling)

    def _lanes(self, item: Item, lanes: list[Way]) -> None:
        pooled = pools(self.program, item.item)
        admitted = self._admitted(lanes)
        for day in range(self.days):
            if pooled:
                self.program.row(("pool", item.item, day), 0, 0)
            for origin in sorted({lane.origin for lane in lanes}):
                self._out(item, origin, day, pooled=pooled)
            for destination, days in sorted({(lane.destination, lane.days) for lane in lanes}):
                if day + days < self.days:
                    self._in(item, destination, day, days, admitted[day], pooled=pooled)
        if not pooled:
            lumpy = any(is_lumpy(self.horizon, lane) for lane in lanes)
            for lane in lanes:
                for day in range(self.days - lane.days):
                    self._lane(lane, day, whole=lumpy)

    def _admitted(self, lanes: Sequence[Way]) -> list[int]:
        origins = sorted({(lane.origin, lane.item) for lane in lanes})
        return [sum(self._may_leave(node, day) for node in origins) for day in range(self.days)]

    def _may_leave(self, node: Node, day: int) -> int:
        return min(self.horizon.ward[node].arrivals[day], self.horizon.most_given(node, day))

    def _out(self, item: Item, origin: str, day: int, *, pooled: bool) -> None:
        program, node = self.program, (origin, item.item)
        if not pooled:
            program.row(("from", *node, day), 0, 0)
        entries = self._present(item, "beds", node, day, day, 1)
        entries += program.at("pool", item.item, day) if pooled else program.at("from", *node, day, sign=-1)
        most = self._may_leave(node, day)
        column = program.column(("out", *node, 0, day), 0, most, entries, whole=True)
        program.cost(Aim.MOVES, column, 1)

    def _in(self, item: Item, destination: str, day: int, days: int, most: int, *, pooled: bool) -> None:
        program, node = self.program, (destination, item.item)
        if not pooled:
            program.row(("to", *node, day, days), 0, 0)
        entries = self._present(item, "beds", node, day, day + days, -1)
        entries += self._present(item, "received", node, day, day + days, 1)
        entries += program.at("takes", *node, day + days) + program.at("ceiling", *node)
        entries += program.at("pool", item.item, day, sign=-1) + program.at("to", *node, day, days, sign=-1)
        program.column(("in", *node, 0, day, days), 0, most, entries, whole=True)

    def _present(self, item: Item, row: str, node: Node, admitted: int, since: int, sign: int) -> Entries:
        """Entries for one person admitted on a day, as long as they are at `node`."""
        entries: Entries = []
        for day in range(since, min(self.days, admitted + len(item.stay))):
            entries += self.program.at(row, *node, day, sign=sign * item.stay[day - admitted])
        return [(at, value) for at, value in entries if value]

    def _lane(self, lane: Way, day: int, *, whole: bool) -> None:
        """Where no lane is lumpy, whole people follow from whole numbers who leave and arrive (`read_off`)."""
        program = self.program
        most = min(lane.cap, self._may_leave((lane.origin, lane.item), day))
        entries = program.at("from", lane.origin, lane.item, day) + program.at("change", lane, day)
        entries += program.at("to", lane.destination, lane.item, day, lane.days)
        if most or ("change", lane, day) in program.row_at:
            entries += carries(program, lane, day, 1, most) if is_lumpy(self.horizon, lane) else []
            column = program.column(("lane", lane, 0, day), 0, most, entries, whole=whole)
            lane_costs(program, column, lane, day, 1)

