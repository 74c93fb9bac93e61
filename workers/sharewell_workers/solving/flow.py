"""The largest smallest fill rate of one part, exactly, by a few maximum flows; and a plan that needs no LP.

Newton's method on cuts (Radzik, "Fractional combinatorial optimization", 1998): start with a floor that is too high,
find by max flow the requests that cannot all have it, lower the floor to the largest those requests could have, repeat.
Every step is a valid upper bound, so the first floor that a flow reaches is the exact one, and the last set of
requests is its proof.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.sparse import coo_array, csr_array
from scipy.sparse.csgraph import breadth_first_order, maximum_flow

from sharewell.domain.certificate import within_reach

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sharewell.domain.instance import Instance, Part
    from sharewell.domain.network import Network

GRID = 2**42 - 1  #: steps of the search for a rate; two rates k/D with D <= 2e6 lie further apart, 64 bits suffice


@dataclass(frozen=True, slots=True)
class Floor:
    """The largest floor `value / over` of a part, the requests that block a larger one, and lane flows reaching it."""

    value: int
    over: int
    blocking: tuple[str, ...]
    moved: list[int]


@dataclass(frozen=True)
class FlowNet:
    """Part as a flow network: source, institutions that share stock, offers, receivers, sink, in this order."""

    instance: Instance
    part: Part
    program: Network

    @cached_property
    def lane_room(self) -> np.ndarray:
        """Units each lane can carry."""
        return np.array(self.part.room, dtype=np.int64)

    @cached_property
    def _supply(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Tails, heads and capacities of the arcs above the lanes; nodes: 0 source, then rows of the program."""
        receivers, end = len(self.part.receivers), self.program.supply_end
        heads = np.arange(receivers, end)
        tails = np.full(len(heads), -1, dtype=np.int64)
        tails[: len(self.part.owners)] = self.program.stock_row
        return tails + 1, heads + 1, np.array(self.program.row_upper[receivers:end], dtype=np.int64)

    @cached_property
    def _lanes(self) -> tuple[np.ndarray, np.ndarray]:
        return np.array(self.program.lane_offer) + 1, np.array(self.program.lane_receiver) + 1

    @property
    def sink(self) -> int:
        """Index of the last node."""
        return self.program.supply_end + 1

    def flow(self, wanted: np.ndarray, start: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Route as much of `wanted` (units per receiver) as fits, on top of the lane flows `start`.

        Returns the lane flows and, per receiver, whether it is on the sink's side of the smallest cut: where not all
        of `wanted` fits, these are the receivers that together want more than can reach them.
        """
        moved = np.zeros(len(self.part.lanes), dtype=np.int64) if start is None else start
        supply_tails, supply_heads, supply = self._supply
        offers, receivers = self._lanes
        used = self._used(moved)
        # A started flow may be undone, so what is used already stands as capacity of the arc turned round.
        tails = np.concatenate([supply_tails, offers, receivers, np.arange(1, len(wanted) + 1)])
        heads = np.concatenate([supply_heads, receivers, offers, np.full(len(wanted), self.sink)])
        room = np.concatenate([supply - used, self.lane_room - moved, moved, wanted])
        back_tails, back_heads, back = supply_heads[used > 0], supply_tails[used > 0], used[used > 0]
        arcs = (np.concatenate([tails, back_tails]), np.concatenate([heads, back_heads]))
        graph = _graph(arcs, np.concatenate([room, back]), self.sink)
        found = maximum_flow(graph, 0, self.sink).flow
        backwards = csr_array((graph - found).T)
        backwards.eliminate_zeros()
        short = np.zeros(self.sink + 1, dtype=bool)
        short[breadth_first_order(backwards, self.sink, return_predecessors=False)] = True
        return moved + np.asarray(found[offers, receivers]).ravel(), short[1 : len(wanted) + 1]

    def _used(self, moved: np.ndarray) -> np.ndarray:
        """Units of `moved` that pass each supply arc."""
        used = np.zeros(self.program.supply_end + 1, dtype=np.int64)  # the last for row -1, no shared stock
        np.add.at(used, self.program.lane_offer, moved)
        np.add.at(used, self.program.lane_stock, moved)
        return used[len(self.part.receivers) : -1]


def largest_floor(net: FlowNet) -> Floor:
    """Find the largest fill rate that every receiver of the part can have at once."""
    whole = np.array([row.whole_need for row in net.part.receivers], dtype=np.int64)
    held = np.array([row.held for row in net.part.receivers], dtype=np.int64)
    names = [row.request for row in net.part.receivers]
    value, over = 1, 1
    blocking: tuple[str, ...] = ()
    while True:
        wanted = np.maximum(0, (value * whole + over - 1) // over - held)
        moved, stuck = net.flow(wanted)
        if moved.sum() == wanted.sum():
            return Floor(value, over, blocking, moved.tolist())
        blocking = tuple(name for name, is_stuck in zip(names, stuck, strict=True) if is_stuck)
        units = within_reach(net.instance, net.part, set(blocking))
        value, over = _highest(whole[stuck], held[stuck], units)


def fill_up(net: FlowNet, moved: Sequence[int]) -> list[int]:
    """Let as many units as possible follow `moved` without taking any receiver's units away."""
    start = np.array(moved, dtype=np.int64)
    received = np.zeros(len(net.part.receivers), dtype=np.int64)
    np.add.at(received, net.program.lane_receiver, start)
    need = np.array([row.need for row in net.part.receivers], dtype=np.int64)
    more, _ = net.flow(need - received, start)
    return [int(units) for units in more]


def _highest(whole: np.ndarray, held: np.ndarray, units: int) -> tuple[int, int]:
    """Largest rate k/D, D in `whole`, at which the requests together want at most `units` beyond `held`."""

    def wanted(step: int) -> int:
        # Of every request: step / GRID of its whole need, rounded up, less what it holds.
        return int(np.maximum(0, (step * whole + GRID - 1) // GRID - held).sum())

    low, high = 0, GRID
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if wanted(middle) <= units else (low, middle)
    # The rate lies in [low, high) / GRID, where every D has at most one multiple: the largest below high.
    best = (0, 1)
    for d in sorted({int(value) for value in whole}):
        k = -(-high * d // GRID) - 1
        if k * best[1] > best[0] * d:
            best = (k, d)
    return best


def _graph(arcs: tuple[np.ndarray, np.ndarray], room: np.ndarray, sink: int) -> Any:
    return coo_array((room.astype(np.int32), arcs), shape=(sink + 1, sink + 1)).tocsr()
