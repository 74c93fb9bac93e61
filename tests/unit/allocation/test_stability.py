"""Stability against the plan in force: after distance, before the lottery, and proven like every stage."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sharewell.domain.allocation import (
    Fairness,
    Instance,
    Movement,
    NotProven,
    Plan,
    Reason,
    Reserve,
    Rule,
    check_certificate,
    check_plan,
    compose,
)
from sharewell.domain.errors import Invalid
from sharewell_workers.solving import solve

Build = Callable[..., Instance]
Instances = Callable[..., st.SearchStrategy[Instance]]
SQUARE = ({"o": 2, "p": 2}, {"r": 2, "s": 2})


def in_force(**moves: int) -> tuple[Movement, ...]:
    """in_force(or_=2) moves 2 from o to r."""
    return tuple(Movement(offer=name[0], request=name[1], quantity=units) for name, units in moves.items())


def moved(plan: Plan) -> Mapping[tuple[str, str], int]:
    return {(row.offer, row.request): row.quantity for row in plan.assignments}


def value(plan: Plan, stage: str) -> int:
    return plan.total(stage)


@pytest.mark.parametrize("crossed", [False, True])
def test_of_plans_that_tie_in_distance_the_one_in_force_is_kept(an_instance: Build, crossed: bool) -> None:
    before = in_force(os=2, pr=2) if crossed else in_force(or_=2, ps=2)
    instance = an_instance(*SQUARE, in_force=before)
    plan = solve(instance)
    assert moved(plan) == {(row.offer, row.request): row.quantity for row in before}
    assert value(plan, "stability") == 0
    check_plan(instance, plan)
    check_certificate(instance, plan)


def test_a_nearer_unit_is_worth_a_change_and_the_change_is_counted(an_instance: Build) -> None:
    lanes = {("o", "r"): 2000, ("p", "r"): 1000}
    plan = solve(an_instance({"o": 2, "p": 2}, {"r": 2}, lanes=lanes, in_force=in_force(or_=2)))
    assert moved(plan) == {("p", "r"): 2}
    assert value(plan, "stability") == 4  # two units moved no longer, two moved anew


def test_the_stages_are_decided_in_the_order_of_the_rule(an_instance: Build) -> None:
    reserves = (Reserve(category="rural", share=100),)
    everything = an_instance(*SQUARE, in_force=in_force(or_=1), reserves=reserves)
    order = ["floor", "reserve", "welfare", "distance", "stability", "lottery"]
    assert [stage.name for stage in solve(everything).stages] == order
    assert [stage.name for stage in solve(an_instance(*SQUARE)).stages] == ["floor", "welfare", "distance", "lottery"]


def test_what_lies_beyond_a_lane_counts_as_changed(an_instance: Build) -> None:
    plan = solve(an_instance({"o": 1}, {"r": 3}, in_force=in_force(or_=3)))
    assert value(plan, "stability") == 2


def test_a_plan_that_departs_without_need_is_not_proven(an_instance: Build) -> None:
    instance = an_instance(*SQUARE, in_force=in_force(or_=2, ps=2))
    plan = solve(instance)
    other = compose(
        instance, {("o", "s"): 2, ("p", "r"): 2}, [(1, 1)], report=plan.solver, certificate=plan.certificate
    )
    check_plan(instance, other)
    with pytest.raises(NotProven, match="stability: the plan reaches -4, the multipliers allow 4"):
        check_certificate(instance, other)


def test_a_request_that_loses_to_the_plan_in_force_is_told_so(an_instance: Build) -> None:
    fairness = Fairness(rule=Rule.WELFARE, alpha=0)
    instance = an_instance({"o": 1}, {"r": 1, "s": 1}, fairness=fairness, in_force=in_force(os=1))
    (row,) = solve(instance).unfilled
    assert (row.request, row.code) == ("r", Reason.IN_FORCE)
    assert "plan in force" in row.reason


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_deciding_the_same_again_changes_nothing(instances: Instances, data: st.DataObject) -> None:
    """Whatever the seed: a plan that is in force is the answer to its own instance."""
    instance = data.draw(instances(sides=4, most=4, rules=tuple(Rule)))
    first = solve(instance)
    rows = tuple(Movement(offer=a.offer, request=a.request, quantity=a.quantity) for a in first.assignments)
    again = solve(replace(instance, in_force=rows, seed="another"))
    assert moved(again) == moved(first)
    assert value(again, "stability") == 0


@pytest.mark.parametrize("row", [("x", "r", 1), ("o", "x", 1), ("o", "r", 0)])
def test_a_movement_of_nothing_known_is_refused(an_instance: Build, row: tuple[str, str, int]) -> None:
    offer, request, quantity = row
    with pytest.raises(Invalid, match="in_force"):
        an_instance(*SQUARE, in_force=(Movement(offer=offer, request=request, quantity=quantity),))


def test_a_movement_stands_once(an_instance: Build) -> None:
    with pytest.raises(Invalid, match="stands twice"):
        an_instance(*SQUARE, in_force=in_force(or_=1) * 2)
