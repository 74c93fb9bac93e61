"""Make a decision once more from its dossier, and say whether it comes out the same to the byte, or what differs.

What is made again: the ruling of the policies, by the set in force then; a plan or a schedule, by its certificate and
by a new search; the answer to an urgent request; forecasts, from the data they name by its hash.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

from sharewell.authz import Authorizer, PolicyError
from sharewell.domain import canonical
from sharewell.domain.audit import ALLOWED, Decision
from sharewell.domain.code import code_version
from sharewell.domain.dossier import Dossier
from sharewell.domain.errors import Invalid
from sharewell.domain.horizon import Horizon
from sharewell.domain.inquiry import ASKED, Inquiry
from sharewell.domain.instance import Instance
from sharewell.domain.plan import Plan, Status
from sharewell.domain.recheck import RECHECKS, Attachments
from sharewell.domain.schedule import Schedule
from sharewell.domain.urgent import UrgentQuestion, urgent_plan
from sharewell_workers.rerun import Evidence, Finding, rerun
from sharewell_workers.solving import cores, solve, solve_horizon

OF_THE_SEARCH: Final = ("milliseconds", "peak_kilobytes")  #: members of a plan's report that no two searches share
SECONDS: Final = 60.0


def make_again(dossier: Dossier, *, seconds: float = SECONDS) -> Iterator[Finding]:
    """Compare, one finding after the other. That the entry is in the log is what its bundle proves, and not told here.

    Raises `Invalid` where the dossier does not hold what it claims to.
    """
    decision, attachments = dossier.decision, dossier.contents.attachments
    yield _code(decision)
    yield _ruling(decision, dossier)
    recheck = RECHECKS.get(decision.kind)
    if recheck is not None:
        yield _rechecked(decision, attachments)
    if decision.kind in ("plan.adopted", "urgent_plan.adopted"):
        yield from _plan(decision, attachments, seconds)
    if decision.kind == "schedule.adopted":
        yield _schedule(decision, attachments, seconds)
    if decision.kind.startswith("model."):
        yield Finding(None, "training: made anew by `sharewell forecast rerun`, with the history as it was known then")
    for body in dossier.forecasts:
        yield from _forecast(Evidence.from_bytes(json.dumps(body).encode()))


def _code(decision: Decision) -> Finding:
    asked: Any = decision.details.get(ASKED)
    then, now = str(asked.get("code", "")) if isinstance(asked, Mapping) else "", code_version()
    if not then:
        return Finding(None, "code: the entry does not name it")
    return Finding(None, f"code: the same, {now}" if then == now else f"code: {then} then, {now} now")


def _ruling(decision: Decision, dossier: Dossier) -> Finding:
    """Ask the policies of then what they were asked then."""
    inquiry = Inquiry.of(decision)
    if inquiry is None:
        return Finding(None, "ruling: the entry does not hold what the policies were asked, if any were")
    files = dossier.policy_files()
    if files is None:
        return Finding(None, f"ruling: the policy set {decision.policy_set[:12]} did not come along")
    try:
        asked = Authorizer.load(files)
    except PolicyError as why:
        return Finding(None, f"ruling: this release cannot read the policies of then: {why}")
    found = asked.ask(inquiry.caller, inquiry.action, inquiry.target, inquiry.context)
    then = _ruled(decision.outcome == ALLOWED, decision.policies, decision.policy_set)
    now = _ruled(found.allowed, found.policies, found.policy_set)
    told = f"{'permitted' if found.allowed else 'refused'} by {', '.join(found.policies) or 'no policy'}"
    if now == then:
        return Finding(True, f"ruling: byte-identical, {told}, of the set {found.policy_set[:12]}")
    return Finding(False, f"ruling: {now.decode()} now, {then.decode()} on record")


def _ruled(allowed: bool, policies: tuple[str, ...], policy_set: str) -> bytes:
    return canonical.encode({"allowed": allowed, "policies": policies, "policy_set": policy_set})


def _rechecked(decision: Decision, attachments: Attachments) -> Finding:
    try:
        return Finding(True, f"recheck: {RECHECKS[decision.kind].check(decision, attachments)}")
    except Invalid as why:
        return Finding(False, f"recheck: {why.message}")


def _plan(decision: Decision, attachments: Attachments, seconds: float) -> Iterator[Finding]:
    """Search anew, and compare with what was adopted."""
    instance_sha256, plan_sha256 = RECHECKS[decision.kind].hashes(decision)
    try:
        then = Plan.read(attachments[plan_sha256])
        now = _found(decision.kind, attachments[instance_sha256], seconds)
    except KeyError:
        raise Invalid("the bundle does not bring the instance and the plan.", field="attachments") from None
    one, other = _comparable(now), _comparable(then)
    if one == other:
        left_out = " and ".join(OF_THE_SEARCH)
        yield Finding(True, f"plan: byte-identical when found anew, but for {left_out} of the search")
        return
    apart = _movements(now) ^ _movements(then)
    ours, theirs = json.loads(one), json.loads(other)
    parts = sorted(name for name in ours.keys() | theirs.keys() if ours.get(name) != theirs.get(name))
    moved = f"{len(apart)} movements differ" if apart else "the same units move"
    # Of plans that move the same units none is the better; another proof of it, or of a shorter search, is told.
    yield Finding(not apart, f"plan: found anew, {moved}; it differs in {', '.join(parts)}")
    yield Finding(None, f"  solver {then.solver.name} {then.solver.version} then, {now.solver.version} now")


def _schedule(decision: Decision, attachments: Attachments, seconds: float) -> Finding:
    """Search anew. Where either search ran out of time, another schedule is no contradiction."""
    horizon_sha256, schedule_sha256 = RECHECKS[decision.kind].hashes(decision)
    try:
        then = Schedule.read(attachments[schedule_sha256])
        now = solve_horizon(Horizon.read(attachments[horizon_sha256]), seconds=seconds)
    except KeyError:
        raise Invalid("the bundle does not bring the horizon and the schedule.", field="attachments") from None
    apart = set(then.shipments) ^ set(now.shipments)
    if not apart:
        return Finding(True, "schedule: found anew, the same units move on the same days")
    ended = {then.search.status, now.search.status} == {Status.OPTIMAL}
    why = "both searches ended" if ended else "a search ran out of time"
    return Finding(False if ended else None, f"schedule: found anew, {len(apart)} shipments differ; {why}")


def _found(kind: str, body: bytes, seconds: float) -> Plan:
    if kind == "urgent_plan.adopted":
        return urgent_plan(UrgentQuestion.read(body))
    return solve(Instance.read(body), seconds=seconds, processes=cores())


def _movements(plan: Plan) -> set[tuple[str, str, int]]:
    return {(row.offer, row.request, row.quantity) for row in plan.assignments}


def _comparable(plan: Plan) -> bytes:
    body: dict[str, Any] = dict(plan.to_json())
    body["solver"] = {name: value for name, value in body["solver"].items() if name not in OF_THE_SEARCH}
    return canonical.encode(body)


def _forecast(evidence: Evidence) -> Iterator[Finding]:
    decision = evidence.decision
    yield Finding(None, f"forecast of {decision.details.get('origin')}, decision {decision.id}")
    for finding in rerun(evidence):
        yield Finding(finding.same, f"  {finding.said}")
