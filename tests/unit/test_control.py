"""The control chart: exact where it matters, and silent where chance explains it all."""

from __future__ import annotations

from fractions import Fraction
from math import comb, sqrt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sharewell.domain.control import LEAST_EXPECTED, TAIL, Limits, Point, Signal, Tally, binomial_limits, chart
from sharewell.domain.errors import Invalid

shares = st.fractions(0, 1, max_denominator=60)
tallies = st.integers(0, 60).flatmap(lambda n: st.builds(Tally, st.just(n), st.integers(0, n)))


def point(own: Tally, others: Tally) -> Point:
    return chart({"own": own, "others": others}).points["own"]


def beyond(share: Fraction, n: int, outside: range) -> Fraction:
    """Chance that a binomial count lies in `outside`, summed as the textbook writes it."""
    return sum((comb(n, k) * share**k * (1 - share) ** (n - k) for k in outside), Fraction(0))


@given(shares, st.integers(1, 40))
def test_beyond_the_exact_limits_lies_no_more_than_the_tail_and_they_are_the_narrowest(share: Fraction, n: int) -> None:
    least, most = binomial_limits(share, n)
    assert 0 <= least <= most <= n
    assert beyond(share, n, range(least)) <= TAIL
    assert beyond(share, n, range(most + 1, n + 1)) <= TAIL
    assert least == n or beyond(share, n, range(least + 1)) > TAIL
    assert most == 0 or beyond(share, n, range(most, n + 1)) > TAIL


@given(shares, st.integers(1, 40))
def test_the_exact_limits_of_departing_are_those_of_not_departing_mirrored(share: Fraction, n: int) -> None:
    least, most = binomial_limits(share, n)
    assert binomial_limits(1 - share, n) == (n - most, n - least)


@given(st.dictionaries(st.text(max_size=3), tallies, max_size=6))
def test_a_chart_has_a_point_for_everybody_that_decided_and_its_centre_is_that_of_all(found: dict[str, Tally]) -> None:
    made = chart(found)
    assert set(made.points) == {name for name, tally in found.items() if tally.decided}
    assert (made.whole.decided, made.whole.departed) == (
        sum(t.decided for t in found.values()), sum(t.departed for t in found.values()),
    )  # fmt: skip
    for one in made.points.values():
        assert 0 <= one.lower <= 1000
        assert 0 <= one.upper <= 1000
        if one.limits is Limits.BINOMIAL:
            inside = one.lower * one.tally.decided <= one.tally.departed * 1000 + 999
            assert one.signal is not Signal.WITHIN or inside


@given(tallies, tallies)
def test_three_sigma_speaks_exactly_where_the_textbook_formula_does(own: Tally, others: Tally) -> None:
    made = chart({"own": own, "others": others})
    for one in made.points.values():
        if one.limits is not Limits.THREE_SIGMA:
            continue
        p, n = made.whole.departed / made.whole.decided, one.tally.decided
        rate, spread = one.tally.departed / n, 3 * sqrt(p * (1 - p) / n)
        assert min(p, 1 - p) * n >= LEAST_EXPECTED - 1e-9
        if abs(abs(rate - p) - spread) > 1e-9:
            assert (one.signal is Signal.WITHIN) == (abs(rate - p) < spread)
        assert one.lower == pytest.approx(max(0, p - spread) * 1000, abs=1.01)
        assert one.upper == pytest.approx(min(1, p + spread) * 1000, abs=1.01)


def test_a_worked_example_of_the_formula() -> None:
    # p = 150/1000; n = 100: 0.15 +- 3 sqrt(0.15 0.85 / 100) = 0.15 +- 0.10712
    one = point(Tally(100, 26), Tally(900, 124))
    assert (one.limits, one.lower, one.upper, one.rate, one.signal) == (
        Limits.THREE_SIGMA, 43, 257, 260, Signal.ABOVE,
    )  # fmt: skip
    assert point(Tally(100, 25), Tally(900, 125)).signal is Signal.WITHIN
    assert point(Tally(100, 4), Tally(900, 146)).signal is Signal.BELOW


def test_one_departure_among_few_transfers_is_not_held_against_anybody() -> None:
    # Of all, one in a hundred departs. The formula would put the limit at 11.5 %, below one in eight; but in every
    # thirteenth set of eight there is at least one.
    one = point(Tally(8, 1), Tally(992, 9))
    assert (one.limits, one.signal) == (Limits.BINOMIAL, Signal.WITHIN)
    assert 0.01 + 3 * sqrt(0.01 * 0.99 / 8) < 1 / 8
    assert 1 / 14 < 1 - 0.99**8 < 1 / 12


def test_everybody_and_nobody_departing_is_no_signal() -> None:
    assert point(Tally(5, 0), Tally(50, 0)).signal is Signal.WITHIN
    assert point(Tally(5, 5), Tally(50, 50)).signal is Signal.WITHIN
    assert chart({}).centre == 0
    assert chart({"idle": Tally(0, 0)}).points == {}


def test_many_transfers_of_a_rare_departure_are_charted_at_once() -> None:
    one = point(Tally(4_000, 12), Tally(996_000, 988))
    assert (one.limits, one.signal) == (Limits.BINOMIAL, Signal.ABOVE)


@pytest.mark.parametrize(("decided", "departed"), [(1, 2), (0, 1), (3, -1)])
def test_more_cannot_depart_than_was_decided(decided: int, departed: int) -> None:
    with pytest.raises(Invalid, match="departed is"):
        Tally(decided, departed)
