"""From the columns of a program to shipments on lanes and lots, and to uses."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from scipy.sparse import coo_array

from sharewell.domain.horizon_program import pools
from sharewell.domain.horizon_rows import Shipment
from sharewell.domain.horizon_walk import Uses
from sharewell_workers.solving.program import NotWhole
from sharewell_workers.solving.whole import Problem, minimise

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from sharewell.domain.horizon import Horizon
    from sharewell.domain.horizon_program import Program
    from sharewell.domain.horizon_rows import Way

Key = tuple[str, int, int, int]  #: item, lot end, day of departure, days on the way
Sums = dict[Key, dict[str, int]]
SECONDS = 60.0  #: far more than one day's assignment takes


def read_off(program: Program, values: np.ndarray) -> tuple[list[Shipment], Uses]:
    """Shipments and uses that the column `values` stand for; what is pooled is sent the shortest way."""
    units: dict[tuple[Way, int, int], int] = {}
    out: Sums = defaultdict(dict)
    into: Sums = defaultdict(dict)
    uses: Uses = {}
    horizon = program.horizon
    columns = list(zip(program.names, program.whole, strict=True))
    by_lane = {name[1].item for name, whole in columns if name[0] == "lane" and whole}
    for name, value in zip(program.names, np.rint(values).astype(int).tolist(), strict=True):
        if not value:
            continue
        kind, *rest = name
        if kind == "lane" and rest[0].item in by_lane:
            lane, until, day = rest
            units[lane, until, day] = value * horizon.item[lane.item].lot_size
        elif kind == "out" and rest[1] not in by_lane:
            site, item, until, day = rest
            out[item, until, day, -1][site] = value * horizon.item[item].lot_size
        elif kind == "in" and rest[1] not in by_lane:
            site, item, until, day, *days = rest
            into[item, until, day, *(days or [-1])][site] = value * horizon.item[item].lot_size
        elif kind == "use":
            site, item, _, serves, day = rest
            uses[site, day, item, serves] = uses.get((site, day, item, serves), 0) + value
    for (item, until, day), lanes in _by_day(program, out).items():
        leaves, arrives = out[item, until, day, -1], _arrivals(into, item, until, day)
        if pools(program, item):
            _stay(leaves, arrives)
        for lane, moved in _shortest(lanes, leaves, arrives).items():
            units[lane, until, day] = moved
    rows = [
        Shipment(item=lane.item, origin=lane.origin, destination=lane.destination, day=day, until=until, units=moved)
        for (lane, until, day), moved in units.items()
        if moved
    ]
    return fresh_last(horizon, sorted(rows), uses), uses


def _by_day(program: Program, out: Sums) -> dict[tuple[str, int, int], list[Way]]:
    lanes: dict[str, list[Way]] = defaultdict(list)
    for lane in program.stretch.lanes:
        lanes[lane.item].append(lane)
    return {(item, until, day): lanes[item] for item, until, day, _ in out}


def _arrivals(into: Sums, item: str, until: int, day: int) -> dict[tuple[str, int], int]:
    """Units by destination and days on the way; -1 days where all lanes take equally long."""
    return {
        (site, key[3]): units for key, sites in into.items() if key[:3] == (item, until, day)
        for site, units in sites.items()
    }  # fmt: skip


def _stay(out: dict[str, int], into: dict[tuple[str, int], int]) -> None:
    """What a site would send to itself through the pool stays where it is: the same, less a pointless journey."""
    for (site, days), arriving in list(into.items()):
        same = min(out.get(site, 0), arriving)
        if same:
            out[site] -= same
            into[site, days] = arriving - same


def _shortest(lanes: Iterable[Way], out: Mapping[str, int], into: Mapping[tuple[str, int], int]) -> dict[Way, int]:
    """Assign what leaves to what arrives along lanes of the least total length: a transport problem, so whole.

    Raises `NotWhole` where the lanes do not allow it.
    """
    senders = {site: row for row, site in enumerate(site for site, units in sorted(out.items()) if units)}
    takers = {key: row + len(senders) for row, key in enumerate(key for key, units in sorted(into.items()) if units)}
    open_lanes = [
        (lane, key)
        for lane in lanes
        for key in ((lane.destination, lane.days), (lane.destination, -1))
        if lane.origin in senders and key in takers
    ]
    if not open_lanes and not senders:
        return {}
    rows = [senders[lane.origin] for lane, _ in open_lanes] + [takers[key] for _, key in open_lanes]
    columns = 2 * list(range(len(open_lanes)))
    limits = np.array([out[site] for site in senders] + [into[key] for key in takers], dtype=float)
    problem = Problem(
        coo_array((np.ones(len(rows)), (rows, columns)), shape=(len(limits), len(open_lanes))).tocsc(),
        np.array([lane.metres + 1.0 for lane, _ in open_lanes]), np.zeros(len(open_lanes)),
        np.array([float(lane.cap) for lane, _ in open_lanes]), limits, limits, np.zeros(len(open_lanes), dtype=bool),
    )  # fmt: skip
    found = minimise(problem, SECONDS).values
    if found is None:
        raise NotWhole("what leaves on a day cannot arrive along the lanes.")
    return {lane: int(units) for (lane, _), units in zip(open_lanes, np.rint(found), strict=True) if units}


def fresh_last(horizon: Horizon, rows: list[Shipment], uses: Uses) -> list[Shipment]:
    """The same journeys with lots chosen anew, now that every site uses first what expires first.

    Using old units first leaves a site with units that last at least as long, so for each unit that was to leave
    there is one at least as fresh.
    """
    perishable = {item.item for item in horizon.items if item.is_used_up}
    kept = [row for row in rows if row.item not in perishable]
    stock: dict[tuple[str, str], dict[int, int]] = defaultdict(dict)
    arriving: dict[int, list[Shipment]] = defaultdict(list)
    used: dict[tuple[int, str, str], int] = defaultdict(int)
    for (site, day, item, _), units in uses.items():
        for part, each in horizon.recipe[item].items():
            used[day, site, part] += each * units
    for day in range(horizon.days):
        for lot in horizon.lots:
            if lot.since == day and lot.item in perishable:
                held = stock[lot.site, lot.item]
                held[lot.until] = held.get(lot.until, 0) + lot.units
        today = [row for row in rows if row.day == day and row.item in perishable]
        for row in arriving[day]:
            _add(stock, row)
        # What arrives on the day it leaves can go on that same day, so senders come before those they send to.
        for row in _in_order(horizon, today):
            for until, units in _take(stock[row.origin, row.item], row.until, row.units):
                sent = replace(row, until=until, units=units)
                kept.append(sent)
                days = horizon.lane[row.item, row.origin, row.destination].days
                _add(stock, sent) if not days else arriving[day + days].append(sent)
        for key in [key for key in used if key[0] == day]:
            _take(stock[key[1], key[2]], day + 1, used[key])
    return sorted(_merged(kept))


def _in_order(horizon: Horizon, rows: list[Shipment]) -> list[Shipment]:
    """Senders that wait for nobody first; where all wait for one another, as they come."""
    waiting, ordered = list(rows), list[Shipment]()
    while waiting:
        due = {
            (row.destination, row.item) for row in waiting
            if not horizon.lane[row.item, row.origin, row.destination].days
        }  # fmt: skip
        ready = [row for row in waiting if (row.origin, row.item) not in due] or waiting
        ordered += ready
        waiting = [row for row in waiting if row not in ready]
    return ordered


def _take(stock: dict[int, int], least: int, units: int) -> list[tuple[int, int]]:
    """Take `units` out of `stock`: those that end first, but not before `least`."""
    taken = []
    for until in sorted(stock):
        some = min(units, stock[until]) if until >= least else 0
        if some:
            stock[until] -= some
            units -= some
            taken.append((until, some))
    return taken


def _add(stock: dict[tuple[str, str], dict[int, int]], row: Shipment) -> None:
    held = stock[row.destination, row.item]
    held[row.until] = held.get(row.until, 0) + row.units


def _merged(rows: list[Shipment]) -> list[Shipment]:
    merged: dict[tuple[str, str, str, int, int], int] = {}
    for row in rows:
        key = (row.item, row.origin, row.destination, row.day, row.until)
        merged[key] = merged.get(key, 0) + row.units
    return [
        Shipment(item=item, origin=origin, destination=destination, day=day, until=until, units=units)
        for (item, origin, destination, day, until), units in merged.items()
    ]

