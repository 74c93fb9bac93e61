"""The worth of units: falling, scale-free, weighted by urgency and equity, the same on every machine."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sharewell.domain.allocation import Fairness, Receiver, Rule
from sharewell.domain.welfare import TOP, price, steps, welfare

ALPHAS = st.sampled_from([0, 250, 500, 1000, 1500, 2000, 4000])


def a_receiver(need: int, *, held: int = 0, urgency: int = 5, weight: int = 2000) -> Receiver:
    return Receiver(request="r", institution="at-r", need=need, held=held, urgency=urgency, weight=weight)


@given(alpha=ALPHAS, need=st.integers(1, 5000), held=st.integers(0, 5000), urgency=st.integers(1, 5))
def test_steps_cover_the_need_with_prices_that_never_rise(alpha: int, need: int, held: int, urgency: int) -> None:
    found = steps(Fairness(alpha=alpha), a_receiver(need, held=held, urgency=urgency))
    assert sum(width for width, _ in found) == need
    assert all(width > 0 and 1 <= worth <= TOP for width, worth in found)
    assert all(one >= other for (_, one), (_, other) in pairwise(found))


@given(alpha=ALPHAS, need=st.integers(1, 10), held=st.integers(0, 5))
def test_small_needs_are_priced_unit_by_unit_as_the_formula_says(alpha: int, need: int, held: int) -> None:
    whole = need + held

    def worth(units: int) -> float:
        fill, power = units / whole + 0.1, 1 - alpha / 1000
        return whole * (math.log(fill) if power == 0 else fill**power / power)

    if whole > 10:
        return
    for unit in range(1, need + 1):
        exact = TOP * 0.1 ** (alpha / 1000) * (worth(held + unit) - worth(held + unit - 1))
        assert price(Fairness(alpha=alpha), a_receiver(need, held=held), unit) == pytest.approx(max(1, exact), abs=1.01)


def test_a_bucket_is_worth_as_much_per_unit_in_small_and_large_requests() -> None:
    small, large = a_receiver(10), a_receiver(1000)
    assert [worth for _, worth in steps(Fairness(), small)] == [worth for _, worth in steps(Fairness(), large)]


def test_urgency_and_equity_weigh_in_proportion() -> None:
    full = welfare(Fairness(), a_receiver(10), 10)
    assert welfare(Fairness(), a_receiver(10, urgency=1), 10) == pytest.approx(full / 5, rel=1e-3)
    assert welfare(Fairness(), a_receiver(10, weight=1000), 10) == pytest.approx(full / 2, rel=1e-3)


def test_the_utilitarian_rule_prices_every_unit_alike() -> None:
    prices = {worth for _, worth in steps(Fairness(rule=Rule.UTILITARIAN, alpha=2000), a_receiver(37, urgency=2))}
    assert len(prices) == 1


@given(units=st.integers(0, 30))
def test_welfare_is_the_sum_of_prices(units: int) -> None:
    receiver = a_receiver(30, held=4)
    prices = [price(Fairness(), receiver, unit) for unit in range(1, units + 1)]
    assert welfare(Fairness(), receiver, units) == sum(prices)


def test_a_unit_beyond_the_need_is_worth_nothing() -> None:
    assert price(Fairness(), a_receiver(3), 4) == 0
