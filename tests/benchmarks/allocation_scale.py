"""How large an allocation may be: one resource with three stages, ten resources at once, parts, and plans made again.

Prints one JSON line a measure. Ratios are of processor seconds, which other programs of the machine disturb less than
those of the wall; where processes work together only the wall can tell.
"""

from __future__ import annotations

import json
import multiprocessing
import random
import resource as system
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from sharewell.domain.allocation import Instance, Lane, Owner, Receiver
from sharewell_workers.solving import Memory, solve

if TYPE_CHECKING:
    from tests.benchmarks import allocation as one
else:
    import allocation as one  # run as a script, a file's folder comes first

PROCESSES = 2
MOVED_ON = 0.01  #: share of the owners whose units have changed since the last plan


def measure() -> list[dict[str, Any]]:
    """Every record; takes minutes."""
    return list(_records())


def _records() -> Iterator[dict[str, Any]]:
    yield three_stages(5_000)
    yield made_again(10_000)
    yield in_parts(2, 12_000)
    yield ten_types(20_000)


def spent(work: Callable[[], one.Answer]) -> tuple[one.Answer, float, float]:
    """What `work` returns, the seconds of the wall, and those of the processor in this process."""
    begun = one.CPU()
    answer, wall = one.timed(work)
    return answer, wall, one.CPU() - begun


def three_stages(each: int) -> dict[str, Any]:
    """`each` owners and as many receivers: against raw highspy on the same programs, and the certificate's check."""
    solve(one.instance(80))  # the first call pays for loading the library
    made = one.instance(2 * each, halves=True)
    plan, solving, checked = one.checked_against(made)
    build, stages, raw = one.phases(made)
    return {
        "benchmark": "allocation.three_stages", "owners": len(made.owners), "receivers": len(made.receivers),
        "lanes": len(made.lanes), "solve_wall_s": plan.solver.milliseconds / 1000, "solve_cpu_s": round(solving, 2),
        **checked,
        "build_and_stages_to_raw_highspy_ratio": round((build + stages) / raw, 2), **one.outcome(made, plan),
    }  # fmt: skip


def made_again(institutions: int) -> dict[str, Any]:
    """A plan made again after a little changed, from where the last search ended and from nothing."""
    made, chance, memory = one.instance(institutions), random.Random(1), Memory()
    solve(made, memory=memory)
    changed = replace(
        made,
        owners=tuple(
            replace(row, quantity=max(1, row.quantity - 1), stock=row.stock - 1) if chance.random() < MOVED_ON else row
            for row in made.owners
        ),
    )
    cold, _, from_nothing = spent(lambda: solve(changed))
    warm, wall, from_last = spent(lambda: solve(changed, memory=memory))
    return {
        "benchmark": "allocation.made_again", "institutions": institutions, "lanes": len(made.lanes),
        "owners_changed_share": MOVED_ON, "from_nothing_cpu_s": round(from_nothing, 2),
        "from_last_cpu_s": round(from_last, 2), "from_last_wall_s": round(wall, 2),
        "from_nothing_to_from_last_ratio": round(from_nothing / from_last, 1), "same_plan": warm.hash == cold.hash,
        **one.outcome(changed, warm),
    }  # fmt: skip


def in_parts(parts: int, institutions: int) -> dict[str, Any]:
    """One instance of `parts` that no lane joins, in one process and in several."""
    made = _side_by_side([one.instance(institutions, seed=seed) for seed in range(parts)])
    alone, first, first_cpu = spent(lambda: solve(made, seconds=600))
    together, second, second_cpu = spent(lambda: solve(made, seconds=600, processes=PROCESSES))
    ended = system.getrusage(system.RUSAGE_CHILDREN)
    return {
        "benchmark": "allocation.in_parts", "institutions": parts * institutions, "lanes": len(made.lanes),
        "parts": len(made.parts), "processes": PROCESSES, "one_process_wall_s": round(first, 2),
        "several_processes_wall_s": round(second, 2), "speed_up": round(first / second, 2),
        "one_process_cpu_s": round(first_cpu, 2), "cpu_s_here": round(second_cpu, 2),
        "cpu_s_in_children": round(ended.ru_utime + ended.ru_stime, 2),
        "same_plan": alone.hash == together.hash, **one.outcome(made, together),
        "peak_mib": together.solver.peak_kilobytes // 1024,
    }  # fmt: skip


def _side_by_side(regions: list[Instance]) -> Instance:
    """All of `regions` as one instance; what is called alike in two of them is told apart."""
    owners: list[Owner] = []
    receivers: list[Receiver] = []
    lanes: list[Lane] = []
    for number, region in enumerate(regions):
        owners += (
            replace(row, offer=f"{number}.{row.offer}", institution=f"{number}.{row.institution}")
            for row in region.owners
        )
        receivers += (
            replace(row, request=f"{number}.{row.request}", institution=f"{number}.{row.institution}")
            for row in region.receivers
        )
        lanes += (
            replace(row, offer=f"{number}.{row.offer}", request=f"{number}.{row.request}") for row in region.lanes
        )
    return replace(regions[0], owners=tuple(owners), receivers=tuple(receivers), lanes=tuple(lanes))


def ten_types(institutions: int) -> dict[str, Any]:
    """Ten resources of which each of `institutions` lacks or spares units: made, solved and checked, two at a time."""
    with ProcessPoolExecutor(PROCESSES, mp_context=multiprocessing.get_context("spawn")) as pool:
        rows, took = one.timed(lambda: list(pool.map(_one_type, range(10), [institutions] * 10)))
    return {
        "benchmark": "allocation.ten_types", "institutions": institutions, "types": len(rows),
        "processes": PROCESSES, "lanes": sum(row["lanes"] for row in rows), "all_wall_s": round(took, 1),
        "all_cpu_s": round(sum(row["all_cpu_s"] for row in rows), 1),
        "solve_cpu_s": round(sum(row["solve_cpu_s"] for row in rows), 1),
        "check_cpu_s": round(sum(row["check_cpu_s"] for row in rows), 1),
        "status": sorted({row["status"] for row in rows}),
        "bound": sum(row["bound"] for row in rows), "gap_millionths": max(row["gap_millionths"] for row in rows),
        "peak_mib_each_process": max(row["peak_mib"] for row in rows),
    }  # fmt: skip


def _one_type(number: int, institutions: int) -> dict[str, Any]:
    begun = one.CPU()
    made = one.instance(institutions, seed=number, resource=f"type.{number}")
    plan, _, took = spent(lambda: solve(made, seconds=one.SECONDS))
    _, _, checking = spent(lambda: one.check_both(made, plan))
    return {
        "lanes": len(made.lanes), "solve_cpu_s": took, "check_cpu_s": checking, "all_cpu_s": one.CPU() - begun,
        **one.outcome(made, plan), "peak_mib": system.getrusage(system.RUSAGE_SELF).ru_maxrss // 1024,
    }  # fmt: skip


def main() -> None:
    for record in _records():
        print(json.dumps(record), flush=True)


if __name__ == "__main__":
    main()
