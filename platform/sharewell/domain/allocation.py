"""What a valid plan is: the check a regulator runs, and how an instance is drawn from offers and requests.

The solver proposes, this module disposes: nothing is adopted that `check_plan` refuses, whatever found it. It looks
at whole numbers only and needs no solver. That a plan is also the best one is proven by `certificate`.
"""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING

from sharewell.domain import explanation
from sharewell.domain.certificate import Certificate, NotProven, PartProof, check_certificate, check_floor, floor_units
from sharewell.domain.errors import Invalid
from sharewell.domain.instance import Fairness, Instance, Lane, Movement, Owner, Part, Receiver, Rule
from sharewell.domain.lanes import Reach
from sharewell.domain.moves import Moves
from sharewell.domain.network import Network, network
from sharewell.domain.plan import Assignment, Plan, Reason, SolverReport, Stage, Status, Unfilled
from sharewell.domain.reserves import Reserve
from sharewell.domain.snapshot import OfferRow, RequestRow, Standing, build_instance

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

__all__ = [
    "Assignment", "Certificate", "Fairness", "Instance", "Lane", "Movement", "NotProven", "OfferRow", "Owner",
    "PartProof", "Plan", "PlanRefused", "Reach", "Reason", "Receiver", "RequestRow", "Reserve", "Rule", "SolverReport",
    "Stage", "Standing", "Status", "Unfilled", "build_instance", "check_certificate", "check_plan", "compose",
]  # fmt: skip

MOST_TOLD = 20  #: violations spelled out; more are counted


class PlanRefused(Invalid):
    """The plan breaks a limit of its instance; `violations` says each one in words."""

    def __init__(self, violations: Sequence[str]) -> None:
        more = f" and {len(violations) - MOST_TOLD} more" if len(violations) > MOST_TOLD else ""
        super().__init__("; ".join(violations[:MOST_TOLD]) + more + ".", field="plan")
        self.violations = tuple(violations)


def check_plan(instance: Instance, plan: Plan) -> None:
    """Raise `PlanRefused`, listing the violations, unless `plan` is a valid answer to `instance`.

    Checked: (1) the plan speaks of this instance; (2) every movement follows a lane within its cap; (3) no owner falls
    below what it keeps, gives more than it offered, or gives while it is short itself; (4) no request gets more than
    its need; (5) every unit asked for is assigned or accounted for with a reason that holds; (6) no spare unit lies
    idle where any chain of swaps could bring it to an unfilled request; (7) stage values and the floor are as stated.
    """
    # Each round relies on the one before: only known rows have limits, only moves within limits have an account.
    for checks in ((_foreign,), (_owners, _receivers), (_accounting, _idle, _stages)):
        violations = [words for check in checks for words in check(instance, plan)]
        if violations:
            raise PlanRefused(violations)


def _foreign(instance: Instance, plan: Plan) -> Iterator[str]:
    if plan.instance_hash != instance.hash:
        yield f"the plan answers instance {plan.instance_hash[:12]}, not {instance.hash[:12]}"
    seen: set[tuple[str, str]] = set()
    for row in plan.assignments:
        name = f"{row.quantity} from offer {row.offer} to request {row.request}"
        lane = instance.lane.get((row.offer, row.request))
        if lane is None:
            yield f"{name}: there is no such lane"
        elif row.quantity > lane.cap:
            yield f"{name}: the lane carries at most {lane.cap}"
        if row.quantity < 1:
            yield f"{name}: a movement is of 1 unit or more"
        if (row.offer, row.request) in seen:
            yield f"{name}: the same lane is used in two rows"
        seen.add((row.offer, row.request))
    told = [row.request for row in plan.unfilled]
    for request in {request for request in told if told.count(request) > 1} if len(set(told)) < len(told) else ():
        yield f"request {request} is explained twice"
    for request in set(told) - set(instance.receiver):
        yield f"request {request} is explained but not part of the instance"


def _owners(instance: Instance, plan: Plan) -> Iterator[str]:
    given_by: dict[str, int] = {}
    for offer, units in plan.given.items():
        owner = instance.owner[offer]
        given_by[owner.institution] = given_by.get(owner.institution, 0) + units
        if units > owner.quantity:
            yield f"offer {offer} gives {units} and has {owner.quantity}"
    stock = {owner.institution: owner.stock for owner in instance.owners}
    for institution, units in given_by.items():
        if institution in instance.short:
            yield f"institution {institution} is short itself and gives {units}"
        if stock[institution] - units < instance.kept[institution]:
            yield (
                f"institution {institution} would be worse off: it gives {units} of {stock[institution]} and must keep "
                f"{instance.kept[institution]}"
            )


def _receivers(instance: Instance, plan: Plan) -> Iterator[str]:
    for request, units in plan.received.items():
        need = instance.receiver[request].need
        if units > need:
            yield f"request {request} gets {units} and needs {need}"


def _accounting(instance: Instance, plan: Plan) -> Iterator[str]:
    moved = moved_by(plan)
    floors = stated_floors(instance, plan)
    expected = {row.request: row for row in explanation.unfilled(instance, moved, floors)}
    told = {row.request: row for row in plan.unfilled}
    for request, row in expected.items():
        if request not in told:
            yield f"request {request} stays {row.quantity} short and no reason is given"
        elif told[request].quantity != row.quantity:
            yield f"request {request} stays {row.quantity} short, not {told[request].quantity}"
        elif told[request].code is not row.code:
            yield f"request {request} is short because of {row.code}, not {told[request].code}"
    for request in set(told) - set(expected):
        yield f"request {request} is filled and yet explained as short"


def _idle(instance: Instance, plan: Plan) -> Iterator[str]:
    request = Moves(instance, moved_by(plan)).idle()
    if request is not None:
        yield f"a spare unit could reach request {request}, which stays short"


def moved_by(plan: Plan) -> dict[tuple[str, str], int]:
    """Units by offer and request."""
    return {(row.offer, row.request): row.quantity for row in plan.assignments}


def stated_floors(instance: Instance, plan: Plan) -> list[tuple[int, int]]:
    """The floor of each part as the plan states it, as value and over; 0 where the rule has none."""
    stated = {row.part: (row.value, row.over) for row in plan.stages if row.name == "floor"}
    return [stated.get(part.index, (0, 1)) for part in instance.parts]


def compose(
    instance: Instance,
    moved: Mapping[tuple[str, str], int],
    floors: Sequence[tuple[int, int]],
    *,
    report: SolverReport,
    certificate: Certificate | None = None,
    programs: Sequence[Network] | None = None,
) -> Plan:
    """Make a plan of `moved` (offer, request -> units) and the floors found: reasons, remainders, stage values.

    `programs` are the networks of all parts, where the caller has them already.
    """
    return Plan(
        instance_hash=instance.hash,
        assignments=explanation.assignments(instance, moved),
        unfilled=explanation.unfilled(instance, moved, floors),
        stages=stages(instance, moved, floors, programs),
        solver=report,
        certificate=certificate or Certificate(),
    )


def stages(
    instance: Instance,
    moved: Mapping[tuple[str, str], int],
    floors: Sequence[tuple[int, int]],
    programs: Sequence[Network] | None = None,
) -> tuple[Stage, ...]:
    """What `moved` reaches in every stage of every part, given the floors found."""
    found = []
    for part, (value, over) in zip(instance.parts, floors, strict=True):
        if instance.fairness.rule is Rule.FLOOR:
            found.append(Stage(part=part.index, name="floor", value=value, over=over))
        program = network(instance, part) if programs is None else programs[part.index]
        values = program.stated([moved.get((lane.offer, lane.request), 0) for lane in part.lanes])
        found += [Stage(part=part.index, name=name, value=value) for name, value in values.items()]
    return tuple(found)


def gap(bound: int, value: int) -> int:
    """Millionths of `bound` by which `value` stays below it, rounded up."""
    return -((value - bound) * 1_000_000 // bound) if bound else 0


def _stages(instance: Instance, plan: Plan) -> Iterator[str]:
    moved = moved_by(plan)
    floors = stated_floors(instance, plan)
    stated = {(row.part, row.name): row for row in plan.stages}
    expected = stages(instance, moved, floors)
    if len(stated) != len(plan.stages) or set(stated) != {(row.part, row.name) for row in expected}:
        yield "the plan does not state every stage of every part once"
        return
    for row in expected:
        told = stated[row.part, row.name]
        if told != row:
            yield f"part {row.part}, {row.name}: reached is {row.value}/{row.over}, not {told.value}/{told.over}"
    if instance.fairness.rule is Rule.FLOOR:
        for part in instance.parts:
            yield from _floor(instance, plan, part, stated[part.index, "floor"])
    yield from _report(plan)


def _floor(instance: Instance, plan: Plan, part: Part, floor: Stage) -> Iterator[str]:
    for row, units in zip(part.receivers, floor_units(instance, part, floor.value, floor.over), strict=True):
        if plan.received.get(row.request, 0) < units:
            yield f"request {row.request} gets {plan.received.get(row.request, 0)}, below its floor of {units}"
    if instance.fairness.theta == 1000:
        least = min(Fraction(row.held + plan.received.get(row.request, 0), row.whole_need) for row in part.receivers)
        if least != Fraction(floor.value, floor.over):
            yield f"part {part.index}: the smallest fill rate is {least}, not {floor.value}/{floor.over}"
        return
    # Where less than the largest floor is guaranteed, the plan itself does not show how large that is.
    proof = next((row for row in plan.certificate.parts if row.part == part.index), PartProof(part=part.index))
    try:
        check_floor(instance, part, floor, (), proof)
    except NotProven as unproven:
        yield unproven.message.rstrip(".")


def _report(plan: Plan) -> Iterator[str]:
    reached, report = plan.total("welfare"), plan.solver
    if report.bound < reached:
        yield f"the plan reaches a welfare of {reached}, above its own bound {report.bound}"
    elif report.gap != gap(report.bound, reached):
        yield f"the gap to the bound is {gap(report.bound, reached)} millionths, not {report.gap}"
    if report.status is Status.OPTIMAL and report.bound != reached:
        yield f"the plan is called optimal, {report.bound - reached} below its bound"
