"""Schedules over a horizon: published cases, a system that is short as a whole, and size. One JSON line a case.

Every schedule is checked and its bounds are proven before its line is printed; gaps are millionths of the shortage.
Published data is looked for in SHAREWELL_SHARED; cases without it say so.
"""

from __future__ import annotations

import argparse
import gc
import json
import math
import os
import random
import resource
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import maximum_flow

from sharewell.domain.errors import Invalid
from sharewell.domain.horizon import Aim, Horizon
from sharewell.domain.horizon_certificate import check_bounds
from sharewell.domain.horizon_check import check_schedule
from sharewell.domain.horizon_measures import share_table
from sharewell.domain.horizon_rows import Item, Lot, Part, Site, Standing, Way
from sharewell.domain.horizon_walk import alone
from sharewell.domain.resources import ResourceKind
from sharewell.domain.schedule import Schedule
from sharewell_workers.solving import solve_horizon
from sharewell_workers.solving.published import new_jersey, ventilators

START = datetime(2026, 1, 31, tzinfo=UTC)
DATA = Path(os.environ.get("SHAREWELL_SHARED", "../shared")) / "data"
METRES_EACH = 17_000.0  #: side of the square that one institution has to itself


def measure() -> list[dict[str, Any]]:
    """One record for each case."""
    return [case() for case in CASES.values()]


def _solved(name: str, made: Horizon, seconds: float, processes: int = 1) -> tuple[Schedule, dict[str, Any]]:
    begun, spent = time.perf_counter(), _cpu_seconds()
    schedule = solve_horizon(made, seconds=seconds, processes=processes)
    solved, spent = time.perf_counter(), _cpu_seconds() - spent
    checking, proving = _checked(made, schedule)
    table = share_table(made, schedule)
    of_children = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    return schedule, {
        "benchmark": f"allocation.horizon.{name}", "sites": len(made.sites), "days": made.days,
        "items": len(made.items), "lanes": len(made.lanes),
        "alone": sum(item["alone"] for item in table["items"].values()),
        "shared": sum(item["shared"] for item in table["items"].values()),
        "moved": sum(item["moved"] for item in table["items"].values()),
        "worse_off": sum(item["worse_off"] for item in table["items"].values()),
        "weighted_value": table["weighted_shared"], "weighted_bound": table["weighted_least"],
        "moves_bound": sum(row.bound for row in schedule.stages if row.aim is Aim.MOVES),
        "status": schedule.search.status.value, "gap": schedule.search.gap, "solver_gap": schedule.search.solver_gap,
        "solve_s": round(solved - begun, 2), "solve_cpu_s": round(spent, 2), "check_cpu_s": round(checking, 3),
        "certificate_cpu_s": round(proving, 3), "solve_to_check_ratio": round(spent / checking, 1),
        "solve_to_certificate_ratio": round(spent / proving, 1),
        "peak_mib": max(schedule.search.peak_kilobytes, of_children) // 1024,
    }  # fmt: skip


def _checked(made: Horizon, schedule: Schedule) -> tuple[float, float]:
    """Processor seconds of both checks, and of that of the bounds alone; each on documents that were just read."""
    return _least(made, schedule, check_schedule, check_bounds), _least(made, schedule, check_bounds)


def _least(made: Horizon, schedule: Schedule, *checks: Callable[[Horizon, Schedule], None]) -> float:
    times = []
    for _ in range(3):
        horizon, answer = Horizon.from_json(made.to_json()), Schedule.from_json(schedule.to_json())
        gc.collect()  # of what others left, which is not to be looked through meanwhile
        begun = time.process_time()
        for check in checks:
            check(horizon, answer)
        times.append(time.process_time() - begun)
    return min(times)


def _cpu_seconds() -> float:
    """Of this process and those it waited for: what a busy machine does not stretch."""
    rows = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(row.ru_utime + row.ru_stime for row in rows)


def _published(name: str, make: Callable[[Path], Horizon], seconds: float) -> dict[str, Any]:
    try:
        made = make(DATA)
    except Invalid as why:
        return {"benchmark": f"allocation.horizon.{name}", "skipped": why.message}
    return _solved(name, made, seconds)[1]


def new_jersey_case() -> dict[str, Any]:
    """75 hospitals, 50 days, everybody in reach of everybody."""
    return _published("new_jersey", new_jersey, 60)


def fewest_moves() -> dict[str, Any]:
    """The same with as few people moved as take 88 % of the overflow away."""

    def case(data: Path) -> Horizon:
        made = new_jersey(data)
        over = sum(sum(short) for short in alone(made).walk.short.values())
        return replace(made, enough=over * 12 // 100)

    return _published("new_jersey_fewest_moves", case, 60)


def near_only() -> dict[str, Any]:
    """The same with lanes of at most 60 km."""
    return _published("new_jersey_60_km", lambda data: new_jersey(data, lane_metres=60_000), 120)


def ventilators_case() -> dict[str, Any]:
    """Fifty states, a pledge of 20 %, 3 days on the way, 10 days held."""
    return _published("ventilators", ventilators, 60)


def system_short(sites: int = 40, days: int = 28) -> dict[str, Any]:
    """A region that lacks a sixth of what it uses up: what sharing can fix, against a maximum flow."""
    made = _short_region(sites, days)
    _, record = _solved("system_short", made, 60)
    need = sum(sum(row.need) for row in made.standings)
    most = need - record["alone"]
    exact = (_most_used(made) - most) / record["alone"]
    return record | {
        "needed": need, "supply": sum(lot.units for lot in made.lots),
        "fixed_per_cent": round(100 * (1 - record["shared"] / record["alone"]), 3),
        "redistributable_per_cent": round(100 * (1 - record["weighted_bound"] / record["alone"]), 3),
        "exact_by_max_flow_per_cent": round(100 * exact, 3),
    }  # fmt: skip


def _short_region(sites: int, days: int) -> Horizon:
    chance = random.Random(7)
    places = _places(chance, sites)
    standings, lots = [], []
    for name in places:
        size, peak = chance.randint(10, 80), days * 0.5 + chance.gauss(0, 2)
        need = tuple(round(size * (0.3 + math.exp(-(((day - peak) / 6) ** 2)))) for day in range(days))
        standings.append(
            Standing(site=name, item="oxygen", need=need, kept=(0,) * days, pledge=1000, urgency=1)
        )
        for since in range(0, days, 7):
            units = round(sum(need[since : since + 7]) * chance.uniform(0.6, 1.07))
            lots.append(Lot(site=name, item="oxygen", units=units, since=since, until=days))
    return Horizon(
        start=START, days=days, seed="bench", aims=(Aim.SHORTAGE, Aim.MOVES),
        items=(Item(item="oxygen", kind=ResourceKind.CONSUMABLE),), sites=tuple(Site(site=name) for name in places),
        lots=tuple(lots), standings=tuple(standings), lanes=tuple(_lanes(places, "oxygen", 10, days=1)),
    )  # fmt: skip


def _most_used(made: Horizon) -> int:
    """Units that can be used at all: a maximum flow from lots through sites and days to needs."""
    at = {row.site: place for place, row in enumerate(made.sites)}
    node = {(site, day): 2 + at[site] * made.days + day for site in at for day in range(made.days)}
    arcs = [(0, node[lot.site, lot.since], lot.units) for lot in made.lots]
    arcs += [(node[row.site, day], 1, need) for row in made.standings for day, need in enumerate(row.need)]
    arcs += [(node[site, day], node[site, day + 1], 10**8) for site in at for day in range(made.days - 1)]
    for lane in made.lanes:
        for day in range(made.days - lane.days):
            arcs.append((node[lane.origin, day], node[lane.destination, day + lane.days], 10**8))
    tails, heads, room = (np.array(column) for column in zip(*arcs, strict=True))
    size = 2 + len(node)
    graph = coo_array((room.astype(np.int32), (tails, heads)), shape=(size, size)).tocsr()
    return int(maximum_flow(graph, 0, 1).flow_value)


def many(sites: int = 500, days: int = 8, items: int = 8, processes: int = 2) -> dict[str, Any]:
    """Size: devices (half of them held), lent ones, staff and consumables, each with 15 lanes a site."""
    _, record = _solved("many", _many(sites, days, items), 300, processes)
    return record | {"processes": processes}


def _many(sites: int, days: int, items: int) -> Horizon:
    chance = random.Random(11)
    places = _places(chance, sites)
    kinds: list[dict[str, Any]] = [
        {"kind": ResourceKind.DEVICE}, {"kind": ResourceKind.DEVICE, "hold_days": 2},
        {"kind": ResourceKind.CONSUMABLE}, {"kind": ResourceKind.STAFF, "loan_days": 2},
    ]  # fmt: skip
    rows = [Item(item=f"i{number}", **kinds[number % len(kinds)]) for number in range(items)]
    standings, lots, lanes = list[Standing](), list[Lot](), list[Way]()
    for item in rows:
        for name in places:
            size, crowded = chance.randint(5, 60), chance.random() < 0.4
            need = tuple(round(size * chance.uniform(0.9, 1.6) if crowded else size * 0.7) for _ in range(days))
            kept = tuple(min(size, units + 1) for units in need)
            standings.append(Standing(site=name, item=item.item, need=need, kept=kept, urgency=chance.randint(1, 5)))
            units = size * days if item.is_used_up else size
            lots.append(Lot(site=name, item=item.item, units=units, since=0, until=days))
        lanes += _lanes(places, item.item, 15, days=1)
    return Horizon(
        start=START, days=days, seed="bench", items=tuple(rows), sites=tuple(Site(site=name) for name in places),
        lots=tuple(lots), standings=tuple(standings), lanes=tuple(lanes),
    )  # fmt: skip


def together(sites: int = 30, days: int = 8) -> dict[str, Any]:
    """Whole numbers everywhere: kits, fittings, lanes with a least load and a charge."""
    made = _many(sites, days, 3)
    chance = random.Random(3)
    kits = [
        Standing(site=row.site, item="team", need=tuple(chance.randint(0, 3) for _ in range(days)), kept=(0,) * days,
                 urgency=5)
        for row in made.sites
    ]  # fmt: skip
    made = replace(
        made, aims=(Aim.SHORTAGE, Aim.CHARGES, Aim.DISTANCE),
        items=(*made.items, Item(item="team", kind=ResourceKind.DEVICE)), standings=(*made.standings, *kits),
        kits=(Part(item="team", part="i0", units=1), Part(item="team", part="i1", units=2)),
        fittings=(Part(item="i0", part="i2", units=1),),
        lanes=tuple(replace(row, least=4, charge=100 + row.metres // 1000) for row in made.lanes),
    )  # fmt: skip
    schedule, record = _solved("together", made, 30)
    reached, bound = schedule.total(Aim.CHARGES)
    return record | {"charges": reached, "charges_bound": bound}


def _places(chance: random.Random, sites: int) -> dict[str, tuple[float, float]]:
    side = METRES_EACH * sites**0.5
    return {f"h{number:03}": (chance.uniform(0, side), chance.uniform(0, side)) for number in range(sites)}


def _lanes(places: dict[str, tuple[float, float]], item: str, nearest: int, days: int) -> Iterator[Way]:
    for name, spot in places.items():
        others = sorted((math.dist(spot, other), origin) for origin, other in places.items() if origin != name)
        for metres, origin in others[:nearest]:
            yield Way(item=item, origin=origin, destination=name, days=days, metres=round(metres))


CASES: dict[str, Callable[[], dict[str, Any]]] = {
    "new_jersey": new_jersey_case, "fewest_moves": fewest_moves, "near_only": near_only,
    "ventilators": ventilators_case, "system_short": system_short, "many": many,
    "together": together,
}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("case", nargs="*", choices=list(CASES), default=list(CASES))
    for name in parser.parse_args().case:
        print(json.dumps(CASES[name]()), flush=True)


if __name__ == "__main__":
    main()
