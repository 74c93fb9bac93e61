"""Which decisions can be worked out again from their inputs, and how: the last check on a bundle.

A decision whose inputs are too large for its entry carries their SHA-256, and the bundle brings them along.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from sharewell.domain.allocation import check_certificate, check_plan
from sharewell.domain.audit import Decision
from sharewell.domain.errors import Invalid
from sharewell.domain.horizon import Horizon
from sharewell.domain.horizon_certificate import check_bounds
from sharewell.domain.horizon_check import check_schedule
from sharewell.domain.instance import Instance
from sharewell.domain.plan import Plan, Status
from sharewell.domain.schedule import Schedule
from sharewell.domain.surges import LONGEST, SHORT_HOLD, SurgeReason
from sharewell.domain.trial import verdict
from sharewell.domain.urgent import UrgentQuestion, check_urgent

#: Inputs by their SHA-256 in hex.
Attachments = Mapping[str, bytes]


@dataclass(frozen=True, slots=True, kw_only=True)
class Recheck:
    """How one kind of decision is worked out again."""

    inputs: tuple[str, ...]  #: keys of `details` that hold the SHA-256 of an attachment
    check: Callable[[Decision, Attachments], str]  #: says what holds; raises `Invalid` with what does not

    def hashes(self, decision: Decision) -> tuple[str, ...]:
        """The attachments that this decision needs. A detail that is missing counts as an empty hash."""
        return tuple(str(decision.details.get(name, "")) for name in self.inputs)


Rechecks = Mapping[str, Recheck]


def recheck_plan(decision: Decision, attachments: Attachments) -> str:
    """Work out anew that the plan is a valid answer to its instance and, where it says so, the best one.

    Raises `Invalid`: `PlanRefused` listing each rule that is broken, or `NotProven`.
    """
    instance_sha256, plan_sha256 = RECHECKS["plan.adopted"].hashes(decision)
    instance, plan = Instance.read(attachments[instance_sha256]), Plan.read(attachments[plan_sha256])
    needed = sum(row.need for row in instance.receivers)
    assigned = _assigned(decision, plan, needed)
    check_plan(instance, plan)
    said = f"its plan, {assigned} of {needed} units of {instance.resource}, keeps every rule"
    if plan.solver.status is not Status.OPTIMAL:
        return f"{said}; that no plan is better was not claimed"
    check_certificate(instance, plan)
    return f"{said}, and no plan is better by them"


def recheck_urgent_plan(decision: Decision, attachments: Attachments) -> str:
    """Work out anew that an urgent request got what the projected proportional rule gives.

    Raises `Invalid`: `PlanRefused` listing what differs.
    """
    question_sha256, plan_sha256 = RECHECKS["urgent_plan.adopted"].hashes(decision)
    question, plan = UrgentQuestion.read(attachments[question_sha256]), Plan.read(attachments[plan_sha256])
    need = question.receiver.need
    assigned = _assigned(decision, plan, need)
    check_urgent(question, plan)
    units = f"{assigned} of {need} units of {question.instance.resource}"
    return f"its urgent plan, {units}, is what the rule gives at once"


def recheck_schedule(decision: Decision, attachments: Attachments) -> str:
    """Work out anew that a schedule keeps every rule of its horizon, and how much better any other could be.

    Raises `Invalid`: `PlanRefused` listing each rule that is broken, or `NotProven`.
    """
    horizon_sha256, schedule_sha256 = RECHECKS["schedule.adopted"].hashes(decision)
    horizon, schedule = Horizon.read(attachments[horizon_sha256]), Schedule.read(attachments[schedule_sha256])
    moved = sum(row.units for row in schedule.shipments)
    if (decision.details.get("days"), decision.details.get("moved")) != (horizon.days, moved):
        raise Invalid(f"The schedule moves {moved} units in {horizon.days} days; the entry says otherwise.",
                      field="details")  # fmt: skip
    check_schedule(horizon, schedule)
    check_bounds(horizon, schedule)
    said = f"its schedule, {moved} units moved within {horizon.days} days, keeps every rule and leaves nobody worse off"
    if schedule.search.status is Status.OPTIMAL:
        return f"{said}, and no schedule is better by its aims"
    return f"{said}; that at most {schedule.search.gap} millionths of the shortage left could be avoided is proven"


def _assigned(decision: Decision, plan: Plan, needed: int) -> int:
    """Units the plan assigns; raises `Invalid` where the entry boasts."""
    assigned = sum(row.quantity for row in plan.assignments)
    if (decision.details.get("needed"), decision.details.get("assigned")) != (needed, assigned):
        raise Invalid(f"The plan assigns {assigned} of {needed} units; the entry says otherwise.", field="details")
    return assigned


def recheck_trial(decision: Decision, _: Attachments) -> str:
    """Work out anew, from the scores in the entry, that a model was adopted or kept out as the rule says.

    That the scores are what the model earns takes its data and code: `sharewell forecast rerun`. Raises `Invalid`.
    """
    try:
        backtest, reason = decision.details["backtest"], decision.details["reason"]
        outcome, why = verdict(backtest)  # type: ignore[arg-type]  # what is no such object is caught here
    except (AttributeError, IndexError, KeyError, TypeError, ValueError):
        raise Invalid("The entry does not hold the scores of a trial.", field="details") from None
    if (f"model.{outcome}", why) != (decision.kind, reason):
        raise Invalid(f"By its scores the model is {outcome}; the entry says otherwise.", field="details")
    return f"by the scores of both, its model is {outcome}"


def recheck_surge(decision: Decision, _: Attachments) -> str:
    """Work out anew that surge mode was declared within its bounds. Raises `Invalid`."""
    told = decision.details
    try:
        until = datetime.fromisoformat(str(told["until"]))
        within = decision.at < until <= decision.at + LONGEST
        whole = told["hold_minutes"] == SHORT_HOLD // timedelta(minutes=1) and told["reason"] in list(SurgeReason)
    except (KeyError, TypeError, ValueError):
        raise Invalid("The entry does not hold a declaration of surge mode.", field="details") from None
    if not within or not whole:
        raise Invalid("The declaration is longer, or shortens more, than surge mode may.", field="details")
    resource = told.get("resource") or "every resource"
    return f"it declares surge mode for {told['region']}, {resource}, until {until.isoformat()}"


#: By kind of decision. Kinds without a line here have nothing to be worked out again.
RECHECKS: Final[Rechecks] = {
    "plan.adopted": Recheck(inputs=("instance_sha256", "plan_sha256"), check=recheck_plan),
    "urgent_plan.adopted": Recheck(inputs=("instance_sha256", "plan_sha256"), check=recheck_urgent_plan),
    "schedule.adopted": Recheck(inputs=("instance_sha256", "schedule_sha256"), check=recheck_schedule),
    "model.adopted": Recheck(inputs=(), check=recheck_trial),
    "model.refused": Recheck(inputs=(), check=recheck_trial),
    "surge.declared": Recheck(inputs=(), check=recheck_surge),
}
