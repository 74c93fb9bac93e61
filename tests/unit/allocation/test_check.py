"""What `check_plan` refuses: every limit broken by hand, and any change of a found plan."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from sharewell.domain.allocation import (
    Assignment,
    Instance,
    Owner,
    Plan,
    PlanRefused,
    Reason,
    Receiver,
    Rule,
    SolverReport,
    Status,
    Unfilled,
    check_plan,
    compose,
)
from sharewell.domain.welfare import welfare
from sharewell_workers.solving import solve

Build = Callable[..., Instance]
Instances = Callable[..., st.SearchStrategy[Instance]]


def honest(instance: Instance, moved: dict[tuple[str, str], int], floor: tuple[int, int] = (0, 1)) -> Plan:
    """A plan of `moved` whose accounts are right, whatever it does."""
    received: dict[str, int] = {}
    for (_, request), units in moved.items():
        received[request] = received.get(request, 0) + units
    worth = sum(welfare(instance.fairness, instance.receiver[name], units) for name, units in received.items())
    report = SolverReport(name="hand", version="1", status=Status.FEASIBLE, bound=worth, gap=0, seed=instance.seed)
    return compose(instance, moved, [floor] * len(instance.parts), report=report)


def test_an_honest_plan_within_every_limit_passes(an_instance: Build) -> None:
    instance = an_instance({"o": 3}, {"r": 5})
    check_plan(instance, honest(instance, {("o", "r"): 3}, (3, 5)))


@pytest.mark.parametrize(
    ("changes", "moved", "words"),
    [
        ({}, {("o", "r"): 4}, "offer o gives 4 and has 3"),
        ({"caps": {("o", "r"): 2}}, {("o", "r"): 3}, "the lane carries at most 2"),
        ({"needs": {"r": 2}}, {("o", "r"): 3}, "request r gets 3 and needs 2"),
        (
            {"owners": (Owner(offer="o", institution="at-o", quantity=3, stock=4, minimum_kept=2),)},
            {("o", "r"): 3},
            "institution at-o would be worse off: it gives 3 of 4 and must keep 2",
        ),
        (
            {"owners": (Owner(offer="o", institution="at-o", quantity=3, stock=4, own_need=3),)},
            {("o", "r"): 2},
            "institution at-o would be worse off: it gives 2 of 4 and must keep 3",
        ),
        (
            {"receivers": (
                Receiver(request="r", institution="at-r", need=5, urgency=3),
                Receiver(request="s", institution="at-o", need=1, urgency=1),
            )},
            {("o", "r"): 1},
            "institution at-o is short itself and gives 1",
        ),
        ({}, {("o", "r"): 2}, "a spare unit could reach request r, which stays short"),
    ],
)  # fmt: skip
def test_a_broken_limit_is_named_in_words(
    an_instance: Build, changes: dict[str, Any], moved: dict[tuple[str, str], int], words: str
) -> None:
    instance = an_instance({"o": 3}, **({"needs": {"r": 5}} | changes))
    with pytest.raises(PlanRefused, match=words):
        check_plan(instance, honest(instance, moved))


def test_two_offers_of_one_institution_share_what_it_may_give(an_instance: Build) -> None:
    owners = tuple(Owner(offer=name, institution="at-o", quantity=3, stock=5, minimum_kept=1) for name in ("a", "b"))
    instance = an_instance({"a": 3, "b": 3}, {"r": 6}, owners=owners)
    check_plan(instance, honest(instance, {("a", "r"): 3, ("b", "r"): 1}, (2, 3)))
    with pytest.raises(PlanRefused, match="it gives 5 of 5 and must keep 1"):
        check_plan(instance, honest(instance, {("a", "r"): 3, ("b", "r"): 2}, (5, 6)))


def test_an_idle_unit_is_found_behind_a_chain_of_swaps(an_instance: Build) -> None:
    # The spare unit of p could go to s, whose unit from o could go to r, which has none.
    instance = an_instance({"o": 1, "p": 1}, {"r": 1, "s": 1}, lanes={("o", "r"): 1, ("o", "s"): 1, ("p", "s"): 1})
    with pytest.raises(PlanRefused, match="a spare unit could reach request r"):
        check_plan(instance, honest(instance, {("o", "s"): 1}))
    check_plan(instance, honest(instance, {("o", "r"): 1, ("p", "s"): 1}, (1, 1)))


def test_every_violation_is_listed(an_instance: Build) -> None:
    instance = an_instance({"o": 3}, {"r": 2})
    with pytest.raises(PlanRefused) as refused:
        check_plan(instance, honest(instance, {("o", "r"): 4}))
    assert any("gives 4 and has 3" in words for words in refused.value.violations)
    assert any("gets 4 and needs 2" in words for words in refused.value.violations)


def test_a_plan_for_another_instance_is_refused(an_instance: Build) -> None:
    plan = solve(an_instance({"o": 3}, {"r": 5}))
    with pytest.raises(PlanRefused, match="the plan answers instance"):
        check_plan(an_instance({"o": 3}, {"r": 5}, seed="houba"), plan)


def _more(plan: Plan, by: int) -> Plan:
    first, *rest = plan.assignments
    return replace(plan, assignments=(replace(first, quantity=first.quantity + by), *rest))


def _stage(plan: Plan, **changes: Any) -> Plan:
    first, *rest = plan.stages
    return replace(plan, stages=(replace(first, **changes), *rest))


def _short(plan: Plan, **changes: Any) -> Plan:
    first, *rest = plan.unfilled
    return replace(plan, unfilled=(replace(first, **changes), *rest))


def _report(plan: Plan, **changes: Any) -> Plan:
    return replace(plan, solver=replace(plan.solver, **changes))


MUTATIONS: dict[str, Callable[[Plan], Plan]] = {
    "another instance": lambda p: replace(p, instance_hash="0" * 64),
    "one unit more": lambda p: _more(p, 1),
    "one unit less": lambda p: _more(p, -1),
    "a negative movement": lambda p: _more(p, -1000),
    "a movement dropped": lambda p: replace(p, assignments=p.assignments[1:]),
    "a movement twice": lambda p: replace(p, assignments=(*p.assignments, p.assignments[0])),
    "an unknown offer": lambda p: replace(
        p, assignments=(*p.assignments, Assignment(offer="x", request="r0", quantity=1, reason=""))
    ),
    "an unknown request": lambda p: replace(
        p, assignments=(*p.assignments, Assignment(offer="o0", request="x", quantity=1, reason=""))
    ),
    "a shortage not told": lambda p: replace(p, unfilled=p.unfilled[1:]),
    "a shortage told twice": lambda p: replace(p, unfilled=(*p.unfilled, p.unfilled[0])),
    "a shortage invented": lambda p: replace(
        p, unfilled=(*p.unfilled, Unfilled(request="x", quantity=1, code=Reason.LOTTERY, reason=""))
    ),
    "a shortage made smaller": lambda p: _short(p, quantity=p.unfilled[0].quantity - 1),
    "another reason": lambda p: _short(
        p, code=Reason.LOTTERY if p.unfilled[0].code is not Reason.LOTTERY else Reason.NO_LANE
    ),
    "a stage dropped": lambda p: replace(p, stages=p.stages[1:]),
    "a stage twice": lambda p: replace(p, stages=(*p.stages, p.stages[0])),
    "a stage value higher": lambda p: _stage(p, value=p.stages[0].value + 1),
    "a floor of another part": lambda p: _stage(p, part=p.stages[0].part + 1),
    "a bound below the plan": lambda p: _report(p, bound=p.solver.bound - 1),
    "a bound above, called optimal": lambda p: _report(p, bound=p.solver.bound + 1),
    "a gap that is none": lambda p: _report(p, gap=p.solver.gap + 1),
}


@pytest.mark.parametrize("mutation", sorted(MUTATIONS))
@settings(max_examples=15, deadline=None)
@given(data=st.data())
def test_any_change_of_a_found_plan_is_refused(instances: Instances, mutation: str, data: st.DataObject) -> None:
    instance = data.draw(instances(sides=4, most=4, rules=tuple(Rule)))
    plan = solve(instance)
    assume(plan.assignments and plan.unfilled)
    with pytest.raises(PlanRefused):
        check_plan(instance, MUTATIONS[mutation](plan))
