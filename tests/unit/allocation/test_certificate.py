"""The certificate proves what is best, and nothing else, without a solver."""

from __future__ import annotations

import ast
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from sharewell.domain import certificate
from sharewell.domain.allocation import (
    Certificate,
    Fairness,
    Instance,
    NotProven,
    PartProof,
    Plan,
    PlanRefused,
    Rule,
    check_certificate,
    check_plan,
    compose,
)
from sharewell_workers.solving import solve

Build = Callable[..., Instance]
Instances = Callable[..., st.SearchStrategy[Instance]]


def retold(instance: Instance, plan: Plan, moved: dict[tuple[str, str], int]) -> Plan:
    """`plan` with other movements and honest accounts of them, under the same proof and floors."""
    stated = {stage.part: (stage.value, stage.over) for stage in plan.stages if stage.name == "floor"}
    floors = [stated.get(part.index, (0, 1)) for part in instance.parts]
    return compose(instance, moved, floors, report=plan.solver, certificate=plan.certificate)


def moved_by(plan: Plan) -> dict[tuple[str, str], int]:
    return {(row.offer, row.request): row.quantity for row in plan.assignments}


def check_both(instance: Instance, plan: Plan) -> None:
    check_plan(instance, plan)
    check_certificate(instance, plan)


def test_a_valid_plan_that_favours_one_request_is_not_proven(an_instance: Build) -> None:
    instance = an_instance({"o": 4}, {"r": 4, "s": 4}, fairness=Fairness(rule=Rule.WELFARE))
    plan = solve(instance)
    check_certificate(instance, plan)
    biased = retold(instance, plan, {("o", "r"): 3, ("o", "s"): 1})
    with pytest.raises(NotProven, match="welfare: the plan reaches"):
        check_certificate(instance, biased)


def test_a_needless_detour_is_not_proven(an_instance: Build) -> None:
    instance = an_instance({"near": 1, "far": 1}, {"r": 1}, lanes={("near", "r"): 10, ("far", "r"): 20})
    plan = solve(instance)
    check_certificate(instance, plan)
    with pytest.raises(NotProven, match="distance: the plan reaches -20, the multipliers allow -10"):
        check_certificate(instance, retold(instance, plan, {("far", "r"): 1}))


def test_a_floor_stated_too_low_is_not_proven(an_instance: Build) -> None:
    instance = an_instance({"o": 4}, {"r": 4, "s": 4}, fairness=Fairness(theta=500))
    plan = solve(instance)
    check_certificate(instance, plan)
    lowered = replace(plan, stages=(replace(plan.stages[0], value=1, over=4), *plan.stages[1:]))
    with pytest.raises(NotProven, match="could all go above 1/4"):
        check_certificate(instance, lowered)


def test_a_floor_stated_too_high_is_not_proven(an_instance: Build) -> None:
    instance = an_instance({"o": 4}, {"r": 4, "s": 4}, fairness=Fairness(theta=500))
    plan = solve(instance)
    raised = replace(plan, stages=(replace(plan.stages[0], value=3, over=4), *plan.stages[1:]))
    with pytest.raises(NotProven, match="stays below 3/4"):
        check_certificate(instance, raised)


@pytest.mark.parametrize("units", [(9, 9), (4,), (2, 2, 0)])
def test_a_witness_that_breaks_limits_proves_nothing(an_instance: Build, units: tuple[int, ...]) -> None:
    instance = an_instance({"o": 4}, {"r": 4, "s": 4}, fairness=Fairness(theta=500))
    plan = solve(instance)
    (proof,) = plan.certificate.parts
    forged = replace(plan, certificate=Certificate(parts=(replace(proof, witness=units),)))
    with pytest.raises(NotProven, match="witness"):
        check_certificate(instance, forged)


def test_a_missing_proof_is_told(an_instance: Build) -> None:
    instance = an_instance({"o": 4}, {"r": 4})
    plan = solve(instance)
    for parts in ((), plan.certificate.parts * 2, (PartProof(part=0),)):
        with pytest.raises(NotProven):
            check_certificate(instance, replace(plan, certificate=Certificate(parts=parts)))


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_no_worse_plan_is_ever_proven(instances: Instances, data: st.DataObject) -> None:
    """Shift one unit of an optimal plan; whatever passes both checks must be worth the same in every stage."""
    instance = data.draw(instances(sides=4, most=4, rules=tuple(Rule)))
    plan = solve(instance)
    assume(plan.assignments)
    moved = moved_by(plan)
    source = data.draw(st.sampled_from(sorted(moved)))
    target = data.draw(st.sampled_from([(lane.offer, lane.request) for lane in instance.lanes]))
    moved[source] -= 1
    moved[target] = moved.get(target, 0) + 1
    moved = {key: units for key, units in moved.items() if units}
    other = retold(instance, plan, moved)
    try:
        check_both(instance, other)
    except (PlanRefused, NotProven):
        return
    assert other.stages == plan.stages


@settings(max_examples=150, deadline=None)
@given(data=st.data(), by=st.sampled_from([-1000, -1, 1, 1000]))
def test_changed_multipliers_do_not_prove_a_worse_plan(instances: Instances, data: st.DataObject, by: int) -> None:
    instance = data.draw(instances(sides=4, most=4, rules=tuple(Rule)))
    plan = solve(instance)
    assume(plan.certificate.parts)
    proof, *rest = plan.certificate.parts
    at = data.draw(st.integers(0, len(proof.multipliers) - 1))
    stage, rows = proof.multipliers[at]
    row = data.draw(st.integers(0, len(rows) - 1))
    changed = (stage, (*rows[:row], rows[row] + by, *rows[row + 1 :]))
    forged = replace(proof, multipliers=(*proof.multipliers[:at], changed, *proof.multipliers[at + 1 :]))
    worse = retold(instance, plan, dict(list(moved_by(plan).items())[1:]))
    with pytest.raises((PlanRefused, NotProven)):
        check_both(instance, replace(worse, certificate=Certificate(parts=(forged, *rest))))


def test_the_certificate_survives_being_written_and_read(an_instance: Build) -> None:
    instance = an_instance({"o": 4, "p": 1}, {"r": 4, "s": (4, 5)}, fairness=Fairness(theta=500))
    plan = solve(instance)
    assert Plan.from_json(plan.to_json()) == plan
    check_certificate(Instance.from_json(instance.to_json()), Plan.from_json(plan.to_json()))


def test_the_checker_computes_with_whole_numbers_only() -> None:
    for name in ("certificate", "face", "parts", "network", "moves", "allocation", "horizon_certificate"):
        source = Path(certificate.__file__).with_name(f"{name}.py").read_text(encoding="utf-8")
        for node in ast.walk(ast.parse(source)):
            assert not (isinstance(node, ast.Constant) and isinstance(node.value, float)), name
            assert not isinstance(node, ast.Div), name
