"""A stranger works an adopted plan out again from its bundle, whoever signed it."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

import pytest

from sharewell.audit.keys import LogKey
from sharewell.domain import canonical, merkle
from sharewell.domain.audit import Decision, Json
from sharewell.domain.bundle import Bundle, NotRepeatable, verify_bundle
from sharewell.domain.checkpoint import Checkpoint, InclusionProof
from sharewell.domain.errors import Invalid
from sharewell.domain.instance import Instance, Lane, Owner, Receiver
from sharewell.domain.notes import sign_note
from sharewell.domain.plan import Assignment, Plan, Status
from sharewell.domain.recheck import recheck_plan, recheck_surge
from sharewell.domain.resources import ResourceKind
from sharewell.domain.urgent import UrgentQuestion, urgent_plan
from sharewell_workers.solving import solve

KEY = LogKey.from_seed("log.example/2026", bytes(range(32)))
INSTANCE = Instance(
    resource="ventilator",
    kind=ResourceKind.DEVICE,
    at=datetime(2026, 3, 1, 12, tzinfo=UTC),
    seed="north/ventilator/2026-03-01",
    owners=(Owner(offer="o1", institution="i1", quantity=4, stock=9, minimum_kept=2, own_need=3),),
    receivers=(
        Receiver(request="r1", institution="i2", need=3, urgency=5),
        Receiver(request="r2", institution="i3", need=3, urgency=2),
    ),
    lanes=(
        Lane(offer="o1", request="r1", cap=9, metres=10_000, hours=1),
        Lane(offer="o1", request="r2", cap=9, metres=90_000, hours=2),
    ),
)
PLAN = solve(INSTANCE)
QUESTION = UrgentQuestion(instance=INSTANCE, request="r1", next_run=INSTANCE.at + timedelta(hours=1))
AT_ONCE = urgent_plan(QUESTION)


def a_surge(hours: float = 72, **said: Json) -> Decision:
    """A declaration of surge mode as its entry has it."""
    until = INSTANCE.at + timedelta(hours=hours)
    details: dict[str, Json] = {
        "region": "us-nj", "resource": None, "reason": "disaster", "until": until.isoformat(), "renews": None,
        "hold_minutes": 120,
    }  # fmt: skip
    return Decision(
        id=UUID(int=2), kind="surge.declared", at=INSTANCE.at, actor="planner", institution=None,
        action="declareSurge", outcome="allowed", policy_set="", policies=(), subject_kind="surge", subject_id="s1",
        details=details | said, request_id="", nonce="00" * 16,
    )  # fmt: skip


def test_a_declaration_of_surge_mode_within_its_bounds_is_told() -> None:
    assert recheck_surge(a_surge(), {}) == (
        "it declares surge mode for us-nj, every resource, until 2026-03-04T12:00:00+00:00"
    )


@pytest.mark.parametrize(
    ("hours", "said"),
    [(72.5, {}), (0, {}), (1, {"hold_minutes": 119}), (1, {"reason": "other"}), (1, {"until": "soon"}),
     (1, {"until": "2026-03-01T13:00:00"})],
)  # fmt: skip
def test_a_declaration_that_goes_too_far_is_refused_whoever_signed_it(hours: float, said: dict[str, Json]) -> None:
    with pytest.raises(Invalid):
        recheck_surge(a_surge(hours, **said), {})


def a_bundle_of(
    plan: Plan, *, kind: str = "plan.adopted", answers: Instance | UrgentQuestion = INSTANCE, **said: int
) -> bytes:
    """An operator adopts `plan`, whatever it is, and puts that into a log of one entry."""
    bodies = [canonical.encode(answers.to_json()), canonical.encode(plan.to_json())]
    hashes = [hashlib.sha256(body).hexdigest() for body in bodies]
    numbers = {"needed": 6, "assigned": sum(row.quantity for row in plan.assignments)} | said
    entry = Decision(
        id=UUID(int=1),
        kind=kind,
        at=INSTANCE.at,
        actor="worker.allocate",
        institution=None,
        action="adoptPlan",
        outcome="allowed",
        policy_set="",
        policies=(),
        subject_kind="allocation",
        subject_id="a1",
        details={"instance_sha256": hashes[0], "plan_sha256": hashes[1], **numbers},
        request_id="",
        nonce="00" * 16,
    ).entry()
    head = Checkpoint(origin=KEY.key.name, size=1, root=merkle.hash_leaf(entry))
    return Bundle(
        origin=KEY.key.name,
        entry=entry,
        proof=InclusionProof(index=0, path=()),
        checkpoint=sign_note(head.text(), [KEY]),
        attachments=dict(zip(hashes, bodies, strict=True)),
    ).encode()


def test_an_adopted_plan_is_worked_out_again() -> None:
    verified = verify_bundle(a_bundle_of(PLAN), KEY.vkey)
    assert verified.checks[3] == (
        "its plan, 4 of 6 units of ventilator, keeps every rule, and no plan is better by them"
    )


def test_a_plan_that_was_not_proven_best_does_not_pass_for_it() -> None:
    found_in_time = replace(
        PLAN, solver=replace(PLAN.solver, status=Status.FEASIBLE), certificate=type(PLAN.certificate)()
    )
    assert verify_bundle(a_bundle_of(found_in_time), KEY.vkey).checks[3].endswith("was not claimed")


def test_a_plan_that_takes_more_than_its_owner_can_spare_is_not_verified() -> None:
    greedy = replace(
        PLAN,
        assignments=(
            Assignment(offer="o1", request="r1", quantity=3, reason="first come"),
            Assignment(offer="o1", request="r2", quantity=3, reason="first come"),
        ),
    )
    with pytest.raises(NotRepeatable):
        verify_bundle(a_bundle_of(greedy), KEY.vkey)


def test_a_feasible_plan_that_favours_somebody_is_not_verified() -> None:
    biased = replace(PLAN, assignments=(Assignment(offer="o1", request="r2", quantity=3, reason="a friend"),))
    with pytest.raises(NotRepeatable):
        verify_bundle(a_bundle_of(biased), KEY.vkey)


def test_a_plan_said_to_be_best_without_its_proof_is_not_verified() -> None:
    unproven = replace(PLAN, certificate=type(PLAN.certificate)())
    with pytest.raises(NotRepeatable):
        verify_bundle(a_bundle_of(unproven), KEY.vkey)


def test_an_entry_that_boasts_is_not_verified() -> None:
    with pytest.raises(NotRepeatable, match="assigns 4 of 6"):
        verify_bundle(a_bundle_of(PLAN, assigned=6), KEY.vkey)


def test_an_urgent_plan_is_worked_out_again() -> None:
    verified = verify_bundle(a_bundle_of(AT_ONCE, kind="urgent_plan.adopted", answers=QUESTION, needed=3), KEY.vkey)
    assert verified.checks[3] == "its urgent plan, 2 of 3 units of ventilator, is what the rule gives at once"


def test_an_urgent_plan_that_gives_more_than_the_rule_is_not_verified() -> None:
    kind = replace(AT_ONCE, assignments=(replace(AT_ONCE.assignments[0], quantity=3),), unfilled=())
    with pytest.raises(NotRepeatable, match="the rule gives 2 units"):
        verify_bundle(a_bundle_of(kind, kind="urgent_plan.adopted", answers=QUESTION, needed=3), KEY.vkey)


def test_an_urgent_plan_that_rests_on_other_expectations_is_not_verified() -> None:
    quiet = replace(QUESTION, instance=replace(INSTANCE, receivers=INSTANCE.receivers[:1], lanes=INSTANCE.lanes[:1]))
    with pytest.raises(NotRepeatable):
        verify_bundle(a_bundle_of(AT_ONCE, kind="urgent_plan.adopted", answers=quiet, needed=3), KEY.vkey)


def test_an_urgent_plan_does_not_pass_for_a_run() -> None:
    with pytest.raises(NotRepeatable):
        verify_bundle(a_bundle_of(AT_ONCE), KEY.vkey)
def test_a_plan_of_the_first_instance_format_is_still_worked_out_again() -> None:
    vectors = Path(__file__).parents[1] / "vectors" / "allocation"
    bodies = [(vectors / f"{name}-1.json").read_bytes().strip() for name in ("instance", "plan")]
    hashes = [hashlib.sha256(body).hexdigest() for body in bodies]
    plan = Plan.read(bodies[1])
    details: dict[str, canonical.Json] = {
        "instance_sha256": hashes[0], "plan_sha256": hashes[1], "needed": 10,
        "assigned": sum(row.quantity for row in plan.assignments),
    }  # fmt: skip
    decision = Decision(
        id=UUID(int=1), kind="plan.adopted", at=INSTANCE.at, actor="worker.allocate", institution=None,
        action="adoptPlan", outcome="allowed", policy_set="", policies=(), subject_kind="allocation", subject_id="a1",
        details=details, request_id="", nonce="0" * 32,
    )  # fmt: skip
    assert "no plan is better" in recheck_plan(decision, dict(zip(hashes, bodies, strict=True)))
