"""From an instance to a plan, part by part: floor by max flow, then the stages of the rule by linear programs.

There is always a plan: shortage is what is left over, and a part whose time runs out gets the plan of its floor,
filled up as far as the units go, with the bound it did not reach.
"""

from __future__ import annotations

import resource
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sharewell.domain.allocation import compose, gap
from sharewell.domain.certificate import Certificate, PartProof, floor_units
from sharewell.domain.instance import Instance, Part, Rule
from sharewell.domain.network import network
from sharewell.domain.plan import Plan, SolverReport, Status
from sharewell.domain.welfare import welfare
from sharewell_workers.solving.flow import Floor, FlowNet, fill_up, largest_floor
from sharewell_workers.solving.highs import CutOff, solver_version
from sharewell_workers.solving.program import NotWhole, Program

if TYPE_CHECKING:
    import numpy as np

SECONDS = 60.0  #: time for one instance unless the caller says otherwise


@dataclass(slots=True)
class PartPlan:
    """What was found for one part."""

    moved: list[int]  #: units per lane
    floor: tuple[int, int]
    bound: int  #: no plan with this floor has more welfare
    proof: PartProof | None  #: None where the time ran out


def solve(instance: Instance, *, seconds: float = SECONDS) -> Plan:
    """Return a plan for `instance` within about `seconds`; it always exists and always passes `check_plan`.

    Raises `Invalid` only where the rule itself cannot be applied to the instance (leximin beyond its size).
    """
    started = time.monotonic()
    found = [_solve_part(instance, part, started + seconds) for part in instance.parts]
    moved = {
        (lane.offer, lane.request): units
        for part, plan in zip(instance.parts, found, strict=True)
        for lane, units in zip(part.lanes, plan.moved, strict=True)
        if units > 0
    }
    proofs = tuple(plan.proof for plan in found if plan.proof is not None)
    proven = len(proofs) == len(found)
    return compose(
        instance,
        moved,
        [plan.floor for plan in found],
        report=_report(instance, moved, sum(plan.bound for plan in found), proven=proven, started=started),
        certificate=Certificate(parts=proofs if proven else ()),
    )


def _solve_part(instance: Instance, part: Part, deadline: float) -> PartPlan:
    program = network(instance, part)
    net = FlowNet(instance, part, program)
    floor = Floor(0, 1, (), [0] * len(part.lanes))
    if instance.fairness.rule is Rule.FLOOR:
        floor = largest_floor(net)
    units = floor_units(instance, part, floor.value, floor.over)
    search = _Search(Program(program, units), deadline)
    try:
        for stage in program.costs:
            search.decide(stage)
    except (CutOff, NotWhole) as stopped:
        return _cut_short(net, floor, search, stopped)
    witness = tuple(floor.moved) if instance.fairness.theta < 1000 else ()
    proof = PartProof(part=part.index, blocking=floor.blocking, witness=witness, multipliers=tuple(search.proofs))
    return PartPlan(search.moved(), (floor.value, floor.over), search.bound, proof)


@dataclass(slots=True)
class _Search:
    """Stages decided so far in one part."""

    program: Program
    deadline: float
    values: np.ndarray | None = None
    bound: int = -1
    proofs: list[tuple[str, tuple[int, ...]]] = field(default_factory=list)

    def decide(self, stage: str) -> None:
        left = self.deadline - time.monotonic()
        if left <= 0:
            raise CutOff(None)
        self.values, rows = self.program.decide(stage, left)
        self.proofs.append((stage, tuple(rows.tolist())))
        if stage == "welfare":
            costs = self.program.network.costs[stage]
            self.bound = sum(cost * int(units) for cost, units in zip(costs, self.values, strict=True))

    def moved(self) -> list[int]:
        """Units per lane."""
        assert self.values is not None
        found: list[int] = self.values[: self.program.network.lane_count].tolist()
        return found


def _cut_short(net: FlowNet, floor: Floor, search: _Search, stopped: CutOff | NotWhole) -> PartPlan:
    """Keep the last stage that was decided, or else fill up the floor's own flow."""
    moved = fill_up(net, floor.moved) if search.values is None else search.moved()
    bound = search.bound
    if bound < 0:
        bound = search.program.ceiling("welfare", getattr(stopped, "rows", None))
    return PartPlan(moved, (floor.value, floor.over), bound, None)


def _report(
    instance: Instance, moved: dict[tuple[str, str], int], bound: int, *, proven: bool, started: float
) -> SolverReport:
    received: dict[str, int] = {}
    for (_, request), units in moved.items():
        received[request] = received.get(request, 0) + units
    reached = sum(
        welfare(instance.fairness, instance.receiver[request], units) for request, units in received.items()
    )
    return SolverReport(
        name="HiGHS",
        version=solver_version(),
        status=Status.OPTIMAL if proven else Status.FEASIBLE,
        bound=bound,
        gap=gap(bound, reached),
        seed=instance.seed,
        milliseconds=round((time.monotonic() - started) * 1000),
        peak_kilobytes=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss,
    )
