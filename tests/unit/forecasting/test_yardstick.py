"""The hubs' baseline is what its published definition says, worked out here the slow way."""

from __future__ import annotations

from datetime import date

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sharewell.domain.forecast import HUB_LEVELS, LEVELS
from sharewell_workers.forecasting import Panel
from sharewell_workers.forecasting.panel import Grid
from sharewell_workers.forecasting.yardstick import DRAWS, Yardstick

FIRST = date(2024, 1, 1)


def laid(*series: list[float | None]) -> Grid:
    rows = [
        {"series": f"s{i}", "day": FIRST.replace(day=1 + t), "value": value}
        for i, values in enumerate(series)
        for t, value in enumerate(values)
    ]
    return Panel.of(pl.DataFrame(rows, schema_overrides={"value": pl.Float64}), step=1).grid()


def test_one_step_ahead_it_is_the_last_value_and_the_quantiles_of_mirrored_differences() -> None:
    values = [10.0, 14.0, 13.0, 20.0, 18.0, 18.5, 30.0, 26.0]
    moved = np.diff(values)
    wanted = 26.0 + np.quantile(np.concatenate([moved, -moved]), np.array(LEVELS) / 1000)
    found = Yardstick.of(laid([*values])).quantiles("persistence", 1, LEVELS)[0]
    np.testing.assert_allclose(found, wanted, atol=0.3)  # differences are drawn as strata, not one by one
    assert found[3] == 26.0


def test_several_steps_ahead_it_is_the_sum_of_as_many_draws() -> None:
    values = [50.0, 54.0, 53.0, 60.0, 58.0, 58.5, 70.0, 66.0, 61.0, 64.0]
    moved = np.diff(values)
    chance = np.random.default_rng(5).uniform(size=(200_000, 4))
    draws = np.quantile(np.concatenate([moved, -moved]), chance).sum(axis=1)
    wanted = 64.0 + np.quantile(draws, np.array(LEVELS) / 1000) - np.median(draws)
    found = Yardstick.of(laid([*values])).quantiles("persistence", 4, LEVELS)[0]
    np.testing.assert_allclose(found, wanted, atol=1.5)


def test_the_seasonal_analogue_starts_a_season_ago_and_uses_differences_between_seasons() -> None:
    week = [10.0, 20.0, 30.0, 40.0, 50.0, 60.0, 70.0]
    values = week + [v + 5 for v in week] + [v + 5 for v in week]
    found = Yardstick.of(laid([*values]), 7).quantiles("seasonal-naive", 2, LEVELS)[0]
    assert found[3] == 25.0
    np.testing.assert_allclose(found[[0, 6]], [20.0, 30.0])


def test_a_series_knows_nothing_of_the_others() -> None:
    calm, wild = [5.0, 6.0, 5.0, 6.0, 5.0], [5.0, 60.0, 2.0, 90.0, 5.0]
    together = Yardstick.of(laid([*calm], [*wild])).quantiles("persistence", 3, LEVELS)
    np.testing.assert_array_equal(together[0], Yardstick.of(laid([*calm])).quantiles("persistence", 3, LEVELS)[0])


def test_gaps_are_no_differences_and_the_last_value_may_be_old() -> None:
    found = Yardstick.of(laid([5.0, 6.0, None, 9.0, None])).quantiles("persistence", 1, LEVELS)[0]
    np.testing.assert_allclose(found[[0, 3, 6]], [8.0, 9.0, 10.0], atol=0.1)


@pytest.mark.parametrize("method", ["persistence", "seasonal-naive"])
def test_without_two_values_in_a_row_it_does_not_speak(method: str) -> None:
    assert np.isnan(Yardstick.of(laid([5.0, None, 7.0], [1.0, 2.0, 3.0])).quantiles(method, 1, LEVELS)[0]).all()


@settings(deadline=None, max_examples=30)
@given(st.lists(st.floats(0, 1e5), min_size=3, max_size=30), st.integers(1, 14))
def test_quantiles_rise_are_never_negative_and_the_same_every_time(values: list[float], horizon: int) -> None:
    grid = laid([*values])
    found = Yardstick.of(grid).quantiles("persistence", horizon, HUB_LEVELS)
    assert (np.diff(found) >= 0).all()
    assert found.min() >= 0
    np.testing.assert_array_equal(found, Yardstick.of(grid).quantiles("persistence", horizon, HUB_LEVELS))
    assert DRAWS % 2 == 0
