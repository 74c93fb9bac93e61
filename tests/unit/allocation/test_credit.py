"""Credit for those short-changed before: who gets less today comes first tomorrow."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sharewell.domain.allocation import Fairness, Instance, Rule, check_certificate, check_plan
from sharewell.domain.credit import before, carried, spread
from sharewell.domain.fairness import receipts
from sharewell.domain.welfare import LEAST_LEAN, MOST_LEAN, lean, price
from sharewell_workers.solving import solve

Build = Callable[..., Instance]
Instances = Callable[..., st.SearchStrategy[Instance]]


def turns(an_instance: Build, fairness: Fairness, runs: int) -> Counter[str]:
    """Who gets the one unit there is, run after run, credit carried on."""
    winners: Counter[str] = Counter()
    owed: dict[str, int] = {}
    for _ in range(runs):
        instance = an_instance({"o": 1}, {"r": 1, "s": 1}, fairness=fairness)
        rows = tuple(replace(row, credit=owed.get(row.institution, 0)) for row in instance.receivers)
        instance = replace(instance, receivers=rows)
        plan = solve(instance)
        check_plan(instance, plan)
        check_certificate(instance, plan)
        winners.update(plan.received)
        owed |= carried(instance, plan)
    return winners


@pytest.mark.parametrize("rule", [Rule.FLOOR, Rule.LEXIMIN, Rule.WELFARE])
def test_equals_take_turns_where_runs_are_remembered(an_instance: Build, rule: Rule) -> None:
    assert len(turns(an_instance, Fairness(rule=rule), 6)) == 1  # the same lottery, the same winner
    assert sorted(turns(an_instance, Fairness(rule=rule, memory=800, credit=500), 6).values()) == [3, 3]


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_what_some_gain_in_credit_others_lose(instances: Instances, data: st.DataObject) -> None:
    drawn = data.draw(instances(sides=4, most=4))
    fresh = tuple(replace(row, credit=0) for row in drawn.receivers)
    instance = replace(drawn, receivers=fresh, fairness=replace(drawn.fairness, memory=800))
    after = carried(instance, solve(instance))
    assert abs(sum(after.values())) <= len(after)  # but for rounding


def test_an_institution_that_no_unit_can_reach_keeps_its_credit(an_instance: Build) -> None:
    instance = an_instance({"o": 1}, {"r": 2, "far": 5}, lanes={("o", "r"): 1}, fairness=Fairness(memory=500))
    rows = tuple(replace(row, credit=4000) for row in instance.receivers)
    instance = replace(instance, receivers=rows)
    assert carried(instance, solve(instance)) == {"at-far": 4000, "at-r": 2000}


def test_without_memory_credit_stays_as_it_is(an_instance: Build) -> None:
    instance = an_instance({"o": 1}, {"r": 2})
    assert carried(instance, solve(instance)) == before(instance) == {"at-r": 0}


@settings(max_examples=200, deadline=None)
@given(credit=st.integers(-(10**9), 10**9), needs=st.lists(st.integers(0, 1000), min_size=1, max_size=8))
def test_splitting_a_need_into_requests_gains_no_credit(credit: int, needs: list[int]) -> None:
    assert sum(spread(credit, needs)) == credit


@pytest.mark.parametrize(("credit", "expected"), [(10**9, MOST_LEAN), (-(10**9), LEAST_LEAN), (1000, 250), (0, 0)])
def test_credit_weighs_within_limits(an_instance: Build, credit: int, expected: int) -> None:
    (row,) = an_instance({}, {"r": 4}).receivers
    assert lean(Fairness(credit=1000), replace(row, credit=credit)) == expected
    assert lean(Fairness(), replace(row, credit=credit)) == 0


@pytest.mark.parametrize(("credit", "times"), [(8000, 2), (2000, 1.5), (0, 1), (-1000, 0.75), (-8000, 0.5)])
def test_credit_scales_the_worth_of_every_unit(an_instance: Build, credit: int, times: float) -> None:
    (row,) = an_instance({}, {"r": (4, 5)}).receivers
    fairness = Fairness(credit=1000)
    for unit in range(1, 5):
        plain = price(fairness, row, unit)
        assert abs(price(fairness, replace(row, credit=credit), unit) - times * plain) <= 2


def test_a_receipt_says_what_earlier_runs_count_for(an_instance: Build) -> None:
    fairness = Fairness(memory=1000, credit=500)
    instance = an_instance({"o": 1}, {"r": 1, "s": 1}, fairness=fairness)
    told = {row.institution: row for row in receipts(instance, solve(instance))}
    after = {name: row.credit_after for name, row in told.items() if name != "at-o"}
    assert sorted(after.values()) == [-500, 500]
    assert any("Your credit for earlier runs was 0.000 units and is now 0.500." in r.sentence for r in told.values())
