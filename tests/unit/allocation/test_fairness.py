"""Measures on numbers that can be worked out by hand, and receipts that show nobody is worse off."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sharewell.domain.allocation import Assignment, Instance, Rule
from sharewell.domain.fairness import (
    ceiling,
    fill_rates,
    gini,
    jain,
    measures,
    receipts,
)
from sharewell_workers.solving import solve

Build = Callable[..., Instance]
Instances = Callable[..., st.SearchStrategy[Instance]]
rates = st.lists(st.fractions(0, 1), min_size=1, max_size=20)


def test_gini_and_jain_of_known_vectors() -> None:
    assert gini([Fraction(1, 2)] * 4) == 0
    assert gini([Fraction(0), Fraction(0), Fraction(0), Fraction(1)]) == Fraction(3, 4)
    assert jain([Fraction(1, 2)] * 4) == 1
    assert jain([Fraction(0), Fraction(0), Fraction(0), Fraction(1)]) == Fraction(1, 4)
    assert [gini([]), jain([])] == [Fraction(0), Fraction(1)]
    assert [gini([Fraction(0)]), jain([Fraction(0)])] == [Fraction(0), Fraction(1)]


@given(xs=rates)
def test_gini_is_the_mean_difference_over_all_pairs(xs: list[Fraction]) -> None:
    if sum(xs):
        assert gini(xs) == sum(abs(a - b) for a in xs for b in xs) / (2 * len(xs) * sum(xs))


@given(xs=rates, factor=st.fractions(Fraction(1, 100), 1))
def test_neither_measure_depends_on_scale_or_order(xs: list[Fraction], factor: Fraction) -> None:
    scaled = [factor * x for x in reversed(xs)]
    assert gini(scaled) == gini(xs)
    assert jain(scaled) == jain(xs)


def test_what_one_run_changed_is_measured(an_instance: Build) -> None:
    instance = an_instance({"o": 3, "p": 1}, {"r": 4, "s": 4, "far": 2}, lanes={
        ("o", "r"): 1000, ("o", "s"): 3000, ("p", "s"): 2000,
    })  # fmt: skip
    found = measures(instance, solve(instance))
    assert found == {
        "shortage_without": 10, "shortage_with": 6, "units_moved": 4, "lanes_used": 3, "mean_metres": 1750,
        "smallest_fill": 0, "median_fill": 500, "gini": 333, "jain": 666, "donors_worse_off": 0,
        "beyond_all_sharing": 6, "beyond_reach": 6,
    }  # fmt: skip


def test_fill_rates_count_what_was_held_before(an_instance: Build) -> None:
    instance = an_instance({"o": 1}, {"r": 2})
    held = Instance.from_json({**instance.to_json(), "receivers": [{**instance.receivers[0].to_json(), "held": 2}]})
    assert fill_rates(held) == [Fraction(1, 2)]
    assert fill_rates(held, solve(held)) == [Fraction(3, 4)]


def test_the_ceiling_tells_lacking_units_from_lacking_lanes(an_instance: Build) -> None:
    instance = an_instance({"o": 9}, {"r": 4, "far": 2}, lanes={("o", "r"): 1})
    limit = ceiling(instance, solve(instance))
    assert (limit.needed, limit.sparable, limit.beyond_all, limit.beyond_reach) == (6, 9, 0, 2)


def test_receipts_say_what_each_side_gave_and_got(an_instance: Build) -> None:
    instance = an_instance({"o": 3}, {"r": 4, "far": 2}, lanes={("o", "r"): 1})
    by_name = {row.institution: row for row in receipts(instance, solve(instance))}
    assert by_name["at-o"].sentence == "You gave 3 of 5 and keep 2, at least the 2 you need yourself or said you keep."
    assert by_name["at-r"].sentence == "You lack 4 without sharing and 1 with it: 3 come to you."
    assert (by_name["at-far"].short_alone, by_name["at-far"].short_shared) == (2, 2)


@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_no_receipt_of_a_valid_plan_shows_anyone_worse_off(instances: Instances, data: st.DataObject) -> None:
    instance = data.draw(instances(sides=5, most=6, rules=tuple(Rule)))
    plan = solve(instance)
    assert not [row for row in receipts(instance, plan) if row.worse_off]
    assert measures(instance, plan)["donors_worse_off"] == 0


@pytest.mark.parametrize("units", [4, 5])
def test_a_receipt_shows_an_owner_below_what_it_keeps(an_instance: Build, units: int) -> None:
    instance = an_instance({"o": 3}, {"r": 9})
    plan = solve(instance)
    robbed = replace(plan, assignments=(Assignment(offer="o", request="r", quantity=units, reason=""),))
    assert [row.institution for row in receipts(instance, robbed) if row.worse_off] == ["at-o"]
