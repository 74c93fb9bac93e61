"""From an instance to a plan, part by part: floor by max flow, then the stages of the rule by linear programs.

There is always a plan: shortage is what is left over, and a part whose time runs out before need is weighed gets the
plan of what was decided, filled up as far as the units go, with the bound it did not reach.
"""

from __future__ import annotations

import os
import resource
import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from sharewell.domain.allocation import compose, gap
from sharewell.domain.certificate import Certificate, PartProof, floor_units
from sharewell.domain.instance import Instance, Part, Rule
from sharewell.domain.moves import total
from sharewell.domain.network import Network, network
from sharewell.domain.plan import Plan, SolverReport, Status
from sharewell.domain.welfare import welfare
from sharewell_workers.solving.flow import Floor, FlowNet, fill_up, largest_floor
from sharewell_workers.solving.highs import CutOff, solver_version
from sharewell_workers.solving.memory import Memory
from sharewell_workers.solving.pool import each_part, worth_spreading
from sharewell_workers.solving.program import NotWhole, Program

if TYPE_CHECKING:
    import numpy as np

SECONDS = 60.0  #: time for one instance unless the caller says otherwise


@dataclass(slots=True)
class PartPlan:
    """What was found for one part."""

    program: Network | None  #: None where it stayed in another process
    moved: list[int]  #: units per lane
    floor: tuple[int, int]
    bound: int  #: no plan with this floor has more welfare
    proof: PartProof  #: of the stages that were decided
    proven: bool  #: whether those are all
    memory: Memory | None = None  #: what another process has kept
    process: int = field(default_factory=os.getpid)
    kilobytes: int = 0  #: largest memory of that process so far


def solve(instance: Instance, *, seconds: float = SECONDS, processes: int = 1, memory: Memory | None = None) -> Plan:
    """Return a plan for `instance` within about `seconds`; it always exists and always passes `check_plan`.

    With `processes`, parts of a large instance are solved at the same time. With `memory`, the search begins where it
    ended for an earlier instance of the same market, and leaves there where it ends now. Neither changes the plan.
    Raises `Invalid` only where the rule itself cannot be applied to the instance (leximin beyond its size).
    """
    started = time.monotonic()
    found = _solve_parts(instance, started + seconds, processes, memory)
    programs = [plan.program for plan in found if plan.program is not None]
    moved = {
        (lane.offer, lane.request): units
        for part, plan in zip(instance.parts, found, strict=True)
        for lane, units in zip(part.lanes, plan.moved, strict=True)
        if units > 0
    }
    return compose(
        instance,
        moved,
        [plan.floor for plan in found],
        report=_report(instance, moved, found, started),
        certificate=Certificate(parts=tuple(plan.proof for plan in found)),
        programs=programs if len(programs) == len(found) else None,
    )


def _solve_parts(instance: Instance, deadline: float, processes: int, memory: Memory | None) -> list[PartPlan]:
    # Where there is something to remember, starting there is faster than starting processes.
    if processes < 2 or (memory is not None and memory.columns) or not worth_spreading(instance.parts):
        return [_solve_part(instance, part, deadline, memory) for part in instance.parts]
    work = _solve_apart if memory is None else _solve_apart_and_remember
    found = each_part(work, instance, deadline, processes)
    for plan in found:
        if memory is not None and plan.memory is not None:
            memory.merge(plan.memory)
    return found


def _solve_apart(instance: Instance, index: int, deadline: float) -> PartPlan:
    """Solve one part in a process of its own. The program, larger than all that is found, stays there."""
    return replace(_solve_part(instance, instance.parts[index], deadline), program=None)


def _solve_apart_and_remember(instance: Instance, index: int, deadline: float) -> PartPlan:
    memory = Memory()
    return replace(_solve_part(instance, instance.parts[index], deadline, memory), program=None, memory=memory)


def _solve_part(instance: Instance, part: Part, deadline: float, memory: Memory | None = None) -> PartPlan:
    program = network(instance, part)
    net = FlowNet(instance, part, program)
    floor = Floor(0, 1, (), [0] * len(part.lanes))
    if instance.fairness.rule is Rule.FLOOR:
        floor = largest_floor(net)
    units = floor_units(instance, part, floor.value, floor.over)
    search = _Search(Program(program, units, memory=memory), deadline)
    stopped = search.run()
    witness = tuple(floor.moved) if instance.fairness.theta < 1000 else ()
    return PartPlan(
        program=program,
        moved=search.moved() if search.bound >= 0 else fill_up(net, search.moved() or floor.moved),
        floor=(floor.value, floor.over),
        bound=search.bound if search.bound >= 0 else search.program.ceiling("welfare", getattr(stopped, "rows", None)),
        proof=PartProof(part=part.index, blocking=floor.blocking, witness=witness, multipliers=tuple(search.proofs)),
        proven=stopped is None,
        kilobytes=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss,
    )


@dataclass(slots=True)
class _Search:
    """Stages decided so far in one part."""

    program: Program
    deadline: float
    values: np.ndarray | None = None
    bound: int = -1
    proofs: list[tuple[str, tuple[int, ...]]] = field(default_factory=list)

    def run(self) -> CutOff | NotWhole | None:
        """Decide every stage in order; return what stopped it, if anything did."""
        try:
            for stage in self.program.network.costs:
                self._decide(stage)
        except (CutOff, NotWhole) as stopped:
            return stopped
        return None

    def _decide(self, stage: str) -> None:
        left = self.deadline - time.monotonic()
        if left <= 0:
            raise CutOff(None)
        self.values, rows = self.program.decide(stage, left)
        self.proofs.append((stage, tuple(rows.tolist())))
        if stage == "welfare":
            costs = self.program.network.costs[stage]
            self.bound = sum(cost * int(units) for cost, units in zip(costs, self.values, strict=True))

    def moved(self) -> list[int]:
        """Units per lane; none where no stage is decided."""
        return [] if self.values is None else self.program.network.moved(self.values.tolist())


def _report(
    instance: Instance, moved: dict[tuple[str, str], int], found: list[PartPlan], started: float
) -> SolverReport:
    received = total((request, units) for (_, request), units in moved.items())
    reached = sum(welfare(instance.fairness, instance.receiver[name], units) for name, units in received.items())
    bound = sum(plan.bound for plan in found)
    kilobytes = {os.getpid(): resource.getrusage(resource.RUSAGE_SELF).ru_maxrss}
    for plan in found:
        kilobytes[plan.process] = max(kilobytes.get(plan.process, 0), plan.kilobytes)
    return SolverReport(
        name="HiGHS",
        version=solver_version(),
        status=Status.OPTIMAL if all(plan.proven for plan in found) else Status.FEASIBLE,
        bound=bound,
        gap=gap(bound, reached),
        seed=instance.seed,
        milliseconds=round((time.monotonic() - started) * 1000),
        peak_kilobytes=sum(kilobytes.values()),
    )
