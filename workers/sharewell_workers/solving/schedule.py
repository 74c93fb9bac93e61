"""From a horizon to a schedule: stretch by stretch, one after the other or in processes of their own."""

from __future__ import annotations

import multiprocessing
import resource
import time
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from typing import TYPE_CHECKING

from sharewell.domain.horizon import Aim, Horizon
from sharewell.domain.horizon_measures import unmet
from sharewell.domain.horizon_program import stretches
from sharewell.domain.horizon_walk import Uses, alone, walk
from sharewell.domain.plan import Status
from sharewell.domain.schedule import Reached, Schedule, Search, Use, gap, worst_gap
from sharewell_workers.solving.highs import solver_version
from sharewell_workers.solving.search import Found, search

if TYPE_CHECKING:
    from sharewell.domain.horizon_walk import Alone

SECONDS = 60.0  #: time for one horizon unless the caller says otherwise


def solve_horizon(horizon: Horizon, *, seconds: float = SECONDS, processes: int = 1) -> Schedule:
    """Return a schedule for `horizon` within about `seconds`; it always exists and passes `check_schedule`.

    With `processes` above 1, stretches are searched side by side. The same horizon gives the same schedule on the
    same solver release unless the time runs out.
    """
    started = time.monotonic()
    by_itself = alone(horizon)
    found = list(_search_all(horizon, by_itself, started + seconds, processes))
    shipments = [row for part in found for row in part.shipments]
    uses: Uses = dict(by_itself.walk.uses)
    for part, row in zip(stretches(horizon), found, strict=True):
        nodes = set(part.nodes)
        uses = {key: units for key, units in uses.items() if (key[0], key[2]) not in nodes} | row.uses
    reached = [stage for part in found for stage in part.reached]
    return Schedule(
        instance_hash=horizon.hash,
        shipments=tuple(shipments),
        uses=tuple(
            Use(site=site, day=day, item=item, serves=serves, units=units)
            for (site, day, item, serves), units in uses.items()
        ),
        unmet=unmet(horizon, by_itself, walk(horizon, shipments, uses)),
        stages=tuple(reached),
        search=_told(horizon, found, reached, started),
        proofs=tuple(part.proof for part in found),
    )


def _search_all(horizon: Horizon, by_itself: Alone, deadline: float, processes: int) -> list[Found]:
    parts = stretches(horizon)
    if processes == 1 or len(parts) < 2:
        found = []
        for number, part in enumerate(parts):
            # A fair share of what is left, so that an early stretch does not starve the later ones.
            share = (deadline - time.monotonic()) / (len(parts) - number)
            found.append(search(horizon, by_itself, part, share))
        return found
    with ProcessPoolExecutor(processes, mp_context=multiprocessing.get_context("spawn")) as pool:
        return list(pool.map(partial(_search_one, horizon, deadline, processes), range(len(parts))))


def _search_one(horizon: Horizon, deadline: float, processes: int, number: int) -> Found:
    """In a process of its own, where the monotonic clock is the same."""
    parts = stretches(horizon)
    share = (deadline - time.monotonic()) * min(1.0, processes / (len(parts) - number))
    return search(horizon, alone(horizon), parts[number], share)


def _told(horizon: Horizon, found: list[Found], reached: list[Reached], started: float) -> Search:
    best = all(row.value == row.bound for row in reached)
    first = [row for row in reached if row.aim is horizon.aims[0]]
    # The solver speaks of the first aim; where it proved less than the multipliers, theirs is the better bound.
    words = [
        (row.value, max(row.bound, _up(part.solver_bound))) for row, part in zip(first, found, strict=True)
    ]
    return Search(
        name="HiGHS",
        version=solver_version(),
        status=Status.OPTIMAL if best else Status.FEASIBLE,
        gap=worst_gap([(row.value, row.bound) for row in reached if row.aim is Aim.SHORTAGE]),
        solver_gap=sum_gap(words),
        seed=horizon.seed,
        milliseconds=round((time.monotonic() - started) * 1000),
        peak_kilobytes=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss,
    )


def sum_gap(pairs: list[tuple[int, int]]) -> int:
    """The gap of the sums, no bound above its value."""
    return gap(sum(value for value, _ in pairs), sum(min(value, bound) for value, bound in pairs))


def _up(bound: float) -> int:
    """The whole number no whole value is below, given a bound that is right to six digits."""
    return 0 if bound < 0 else -int(-(bound - 1e-6 * max(1.0, bound)) // 1)
