"""How long an allocation takes, what of it is not the solver, and how much cheaper checking is than finding.

Institutions stand at random in a square as dense as New Jersey; half are crowded. Each request is joined to its 25
nearest owners with something to spare. Prints one JSON line a measure.
"""

from __future__ import annotations

import argparse
import gc
import json
import random
import resource
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

import highspy
import numpy as np

from sharewell.domain.allocation import (
    Instance,
    OfferRow,
    Plan,
    Reach,
    RequestRow,
    Standing,
    build_instance,
    check_certificate,
    check_plan,
)
from sharewell.domain.certificate import floor_units
from sharewell.domain.network import network
from sharewell.domain.resources import ResourceKind
from sharewell_workers.solving import solve
from sharewell_workers.solving.flow import FlowNet, largest_floor
from sharewell_workers.solving.program import Program

NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)
CPU = time.process_time  # other programs of the machine disturb it less than the wall's
SECONDS = 600.0  #: time for one plan
MANY = 50_000  #: lanes from which on solving once is long enough to be measured
KILOMETRES_EACH = 17.0  #: side of the square that one institution has to itself

Answer = TypeVar("Answer")


def instance(institutions: int, *, seed: int = 7, halves: bool = False, resource: str = "bed.adult") -> Instance:
    """A region of `institutions`, of which about half lack beds and together lack more than the others spare.

    With `halves`, every other one lacks and every other one spares.
    """
    chance = random.Random(seed)
    side = KILOMETRES_EACH * institutions**0.5 / 111
    offers, requests, standings = [], [], []
    for number in range(institutions):
        name = f"h{number:05d}"
        beds = chance.randint(20, 400)
        share = chance.uniform(0.75, 1.3)
        if halves:
            share = chance.uniform(0.75, 0.97) if number % 2 else chance.uniform(1.03, 1.3)
        need = round(beds * share)
        standings.append(
            Standing(
                institution=name, latitude=40 + chance.uniform(0, side), longitude=-74 - chance.uniform(0, side / 0.75),
                stock=beds, own_need=need,
            )
        )  # fmt: skip
        if need < beds:
            offers.append(OfferRow(id=f"o{number:05d}", institution=name, quantity=beds - need, minimum_kept=0,
                                   available_from=NOON, available_until=NOON + timedelta(days=1)))  # fmt: skip
        elif need > beds:
            requests.append(RequestRow(id=f"r{number:05d}", institution=name, quantity=need - beds,
                                       urgency=chance.randint(1, 5), needed_by=NOON + timedelta(hours=12),
                                       needed_until=NOON + timedelta(days=1)))  # fmt: skip
    return build_instance(
        resource=resource, kind=ResourceKind.PLACE, at=NOON, offers=offers, requests=requests, standings=standings,
        seed="bench", reach=Reach(metres=300_000, nearest=25),
    )  # fmt: skip


def measure(sizes: tuple[int, ...] = (80, 500)) -> list[dict[str, Any]]:
    """One record for each number of institutions."""
    return [_run(size) for size in sizes]


def _run(size: int) -> dict[str, Any]:
    made, drawing = timed(lambda: instance(size))
    solve(made)  # the first call pays for loading the library
    plan, solving, checked = checked_against(made)
    build, stages, raw = phases(made)
    return {
        "benchmark": "allocation.solve",
        "institutions": size,
        "lanes": len(made.lanes),
        "parts": len(made.parts),
        "draw_s": round(drawing, 3),
        "solve_cpu_s": round(solving, 4),
        **checked,
        "build_to_solver_ratio": round(build / stages, 2),
        "through_python_mip_to_raw_highspy_ratio": round(stages / raw, 2),
        **outcome(made, plan),
    }


def checked_against(made: Instance) -> tuple[Plan, float, dict[str, float]]:
    """A plan for `made`, the processor seconds to find it, and what checking it takes against that."""
    solved = [anew(made, lambda read: solve(read, seconds=SECONDS)) for _ in range(1 if len(made.lanes) > MANY else 5)]
    plan, solving = solved[0][0], min(took for _, took in solved)
    written = [Plan.from_json(plan.to_json()) for _ in range(6)]
    proving = min(anew(made, lambda read: check_certificate(read, written.pop()))[1] for _ in range(3))
    checking = min(anew(made, lambda read: check_both(read, written.pop()))[1] for _ in range(3))
    return plan, solving, {
        "check_cpu_s": round(checking, 4), "certificate_cpu_s": round(proving, 4),
        "solve_to_check_ratio": round(solving / checking, 1),
        "solve_to_certificate_ratio": round(solving / proving, 1),
    }  # fmt: skip


def check_both(made: Instance, plan: Plan) -> None:
    """Whether the plan is valid, and the best."""
    check_plan(made, plan)
    check_certificate(made, plan)


def anew(made: Instance, work: Callable[[Instance], Answer]) -> tuple[Answer, float]:
    """What `work` returns, and the processor seconds it took, for the same instance as it is when just read: its rows
    are there, and nothing that was worked out from them before.
    """
    read = Instance.from_json(made.to_json())
    gc.collect()  # of what others left, which is not to be looked through meanwhile
    return timed(lambda: work(read), CPU)


def outcome(made: Instance, plan: Plan) -> dict[str, Any]:
    return {
        "needed": sum(row.need for row in made.receivers),
        "assigned": sum(plan.received.values()),
        "status": plan.solver.status.value,
        "bound": plan.solver.bound,
        "gap_millionths": plan.solver.gap,
        "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
    }


def phases(made: Instance) -> tuple[float, float, float]:
    """Processor seconds for building the programs, for their stages through python-mip, and for the same stages raw."""
    build = stages = raw = 0.0
    for part in made.parts:
        program, took = timed(lambda part=part: network(made, part), CPU)  # type: ignore[misc]
        floor = largest_floor(FlowNet(made, part, program))
        floors = floor_units(made, part, floor.value, floor.over)
        search, more = timed(lambda: Program(program, floors), CPU)  # noqa: B023
        build += took + more
        rival = _RawHighs(Program(program, floors))
        for stage in program.costs:
            raw += rival.decide(stage)
            stages += timed(lambda: search.decide(stage, 600), CPU)[1]  # noqa: B023
            rival.follow(search)
    return build, stages, raw


class _RawHighs:
    """The same stages handed to highspy without anything between; only its own time counts."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.highs = highspy.Highs()  # type: ignore[no-untyped-call]
        self.highs.setOptionValue("output_flag", False)
        self.highs.setOptionValue("presolve", "off")
        self.highs.setOptionValue("threads", 1)

    def decide(self, stage: str) -> float:
        costs = np.array(self.program.network.costs[stage], dtype=np.float64)
        begun = CPU()
        self._load(costs)
        self.highs.run()
        return CPU() - begun

    def follow(self, other: Program) -> None:
        """Take over the face that the other one keeps, so that both decide the same programs."""
        self.program.bounds = other.bounds

    def _load(self, costs: np.ndarray) -> None:
        bounds, matrix = self.program.bounds, self.program.matrix
        lp = highspy.HighsLp()
        lp.num_row_, lp.num_col_ = matrix.shape
        lp.sense_ = highspy.ObjSense.kMaximize
        lp.col_cost_, lp.col_lower_, lp.col_upper_ = costs, bounds.lower.astype(float), bounds.upper.astype(float)
        lp.row_lower_, lp.row_upper_ = bounds.row_lower.astype(float), bounds.row_upper.astype(float)
        lp.a_matrix_.format_ = highspy.MatrixFormat.kColwise
        lp.a_matrix_.start_, lp.a_matrix_.index_ = matrix.indptr, matrix.indices
        lp.a_matrix_.value_ = matrix.data.astype(float)
        self.highs.passModel(lp)


def timed(work: Callable[[], Answer], clock: Callable[[], float] = time.perf_counter) -> tuple[Answer, float]:
    """What `work` returns, and the seconds it took by `clock`."""
    begun = clock()
    answer = work()
    return answer, clock() - begun


def lines(sizes: tuple[int, ...]) -> Iterator[str]:
    """The records as JSON, each as soon as it is known."""
    for size in sizes:
        yield json.dumps(_run(size))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--institutions", type=int, nargs="+", default=[80, 500], help="numbers of institutions")
    for record in lines(tuple(parser.parse_args().institutions)):
        print(record, flush=True)


if __name__ == "__main__":
    main()
