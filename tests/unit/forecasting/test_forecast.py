"""The noun: what a forecast may be, and how it is scored."""

from __future__ import annotations

import dataclasses
from datetime import date
from itertools import pairwise
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sharewell.domain import forecast as domain
from sharewell.domain.errors import Invalid
from sharewell.domain.forecast import HUB_LEVELS, LEVELS, Forecast

BEDS = Forecast(
    institution=UUID(int=1), resource="icu.adult", signal="need", origin=date(2024, 1, 1), target=date(2024, 1, 3),
    horizon=2, quantiles=((25, 1000), (250, 4000), (500, 5000), (750, 7000), (975, 12400)), model="a" * 64,
)  # fmt: skip
VALUES = st.floats(0, 1e5)


def test_a_forecast_gives_its_median_and_the_band_around_it() -> None:
    assert BEDS.median == 5000
    assert BEDS.band(950) == (1000, 12400)
    assert BEDS.band(500) == (4000, 7000)


def test_a_level_between_two_is_read_along_the_line_between_them() -> None:
    assert BEDS.at(375) == 4500


def test_a_level_beyond_the_tails_is_refused_rather_than_made_up() -> None:
    with pytest.raises(Invalid, match="25 to 975"):
        BEDS.at(990)


def test_units_are_rounded_up_because_half_a_bed_helps_nobody() -> None:
    assert BEDS.units(975) == 13
    assert BEDS.units() == 5


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"quantiles": ((25, 5), (500, 4), (975, 9))}, "quantiles"),
        ({"quantiles": ((25, -1), (500, 4), (975, 9))}, "quantiles"),
        ({"quantiles": ((500, 4), (25, 1), (975, 9))}, "quantiles"),
        ({"quantiles": ((25, 1), (400, 4), (975, 9))}, "quantiles"),
        ({"quantiles": ((500, 4),)}, "quantiles"),
        ({"quantiles": ((0, 1), (500, 4), (975, 9))}, "quantiles"),
        ({"target": date(2024, 1, 1)}, "target"),
        ({"target": date(2024, 1, 4)}, "horizon"),
        ({"horizon": 0}, "horizon"),
        ({"model": "best"}, "model"),
        ({"model": "persistence"}, "fallback"),
        ({"resource": "ICU beds"}, "resource"),
    ],
)
def test_an_impossible_forecast_is_refused_naming_the_field(change: dict[str, object], field: str) -> None:
    with pytest.raises(Invalid) as refusal:
        dataclasses.replace(BEDS, **change)  # type: ignore[arg-type]
    assert refusal.value.field == field


def test_a_naive_forecast_stands_if_it_says_why() -> None:
    naive = dataclasses.replace(BEDS, model="seasonal-naive", fallback="history is too short: 3 of 5 values")
    assert naive.median == 5000


def interval_score(observed: float, lower: float, upper: float, coverage: int) -> float:
    """Width of the band plus 2/alpha for every unit outside it, alpha = 1 - coverage/1000."""
    alpha = 1 - coverage / 1000
    outside = max(lower - observed, 0.0) + max(observed - upper, 0.0)
    return (upper - lower) + 2 / alpha * outside


@given(values=st.lists(VALUES, min_size=7, max_size=7).map(sorted), observed=VALUES)
def test_the_weighted_interval_score_is_the_sum_over_bands_of_bracher_et_al(
    values: list[float], observed: float
) -> None:
    quantiles = dict(zip(LEVELS, values, strict=True))
    bands = [(25, 975), (100, 900), (250, 750)]
    total = 0.5 * abs(observed - quantiles[500])
    for low, high in bands:
        share = high - low
        weight = (1 - share / 1000) / 2
        total += weight * interval_score(observed, quantiles[low], quantiles[high], share)
    expected = total / (len(bands) + 0.5)
    assert domain.wis(observed, quantiles.items()) == pytest.approx(expected, rel=1e-9, abs=1e-9)


@given(outcomes=st.lists(VALUES, min_size=1, max_size=40), level=st.sampled_from(HUB_LEVELS), other=VALUES)
def test_no_value_has_less_pinball_loss_than_the_quantile_of_what_came(
    outcomes: list[float], level: int, other: float
) -> None:
    ordered = sorted(outcomes)
    quantile = ordered[min(len(ordered) - 1, level * len(ordered) // 1000)]

    def loss(value: float) -> float:
        return sum(domain.pinball(y, value, level) for y in outcomes)

    assert loss(quantile) <= loss(other) * (1 + 1e-9) + 1e-6


def test_a_certain_and_right_forecast_scores_zero() -> None:
    assert domain.wis(4.0, [(level, 4.0) for level in LEVELS]) == 0


def test_coverage_counts_the_ends_of_the_band_as_inside() -> None:
    assert domain.coverage([(1, 1, 3), (3, 1, 3), (4, 1, 3), (0, 1, 3)]) == 0.5
    with pytest.raises(Invalid):
        domain.coverage([])


def test_the_hub_levels_are_the_23_that_mirror_each_other() -> None:
    assert len(HUB_LEVELS) == 23
    assert all(a < b for a, b in pairwise(HUB_LEVELS))
    assert {1000 - level for level in HUB_LEVELS} == set(HUB_LEVELS)
