"""Weeks with holidays: what they lose is learnt from those seen, taken out, and put back where one comes."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sharewell_workers.forecasting import FittedModel, Panel, Recipe, calendars, features, fit, predict
from sharewell_workers.forecasting.lulls import NO_LULL, Lull, learn

FIRST, WEEKS = date(2024, 1, 6), 50  #: Saturdays; the last is 14 December


def weekly(depth: float, *, noise: float = 0.02, start: int = 0, hospitals: int = 20, first: date = FIRST) -> Panel:
    """Hospitals at rest whose weeks are `depth` (in logs) lower for each working day that they lose in the US."""
    random = np.random.default_rng(5)
    days = [first + timedelta(weeks=k) for k in range(WEEKS)]
    lost = calendars.days_lost(days, start, "US")
    level = random.uniform(50, 300, (hospitals, 1)) * np.exp(random.normal(0, noise, (hospitals, WEEKS)) - depth * lost)
    return Panel.of(
        pl.DataFrame(
            {
                "series": [f"h{i:02d}" for i in range(hospitals) for _ in days],
                "day": days * hospitals,
                "value": level.ravel(),
            }
        ),
        step=7,
        country="US",
    )


@settings(deadline=None, max_examples=20)
@given(depth=st.floats(0.02, 0.2), start=st.sampled_from([0, -6]))
def test_what_a_lost_day_costs_is_found_and_so_is_what_names_the_week(depth: float, start: int) -> None:
    found = learn(weekly(depth, noise=0.001, start=start).grid(), "US")
    assert found.start == start
    assert 0.5 * depth < found.depth < depth


def test_one_feast_proves_less_than_many_and_noise_nothing() -> None:
    panel = weekly(0.1, noise=0.001)
    one = learn(panel.until(date(2024, 6, 15)).grid(), "US")  # Memorial Day
    assert 0 < one.depth < learn(panel.grid(), "US").depth
    assert learn(weekly(0.0, noise=0.5, hospitals=3).grid(), "US").depth < 0.02


def test_each_series_lies_still_in_the_weeks_of_its_own_holidays() -> None:
    random = np.random.default_rng(5)
    days = [FIRST + timedelta(weeks=k) for k in range(WEEKS)]
    rows = [
        pl.DataFrame({"series": [f"{home}{n}"] * WEEKS, "group": [home] * WEEKS, "day": days, "value": level})
        for home, code in (("us-nj", "US"), ("de-by", "DE-BY"))
        for n in range(10)
        for level in [random.uniform(50, 300) * np.exp(-0.1 * calendars.days_lost(days, 0, code))]
    ]
    grid = Panel.of(pl.concat(rows), step=7).grid()
    found = learn(grid, calendars.OWN)
    assert learn(grid, "US").depth < 0.8 * found.depth
    assert 0.05 < found.depth < 0.1
    taken_out = features.powered(grid, grid.value, replace(Recipe.for_step(7), country=calendars.OWN, lull=found))
    moved, still = (np.abs(np.diff(np.log(z), axis=1)).max() for z in (np.sqrt(grid.value), taken_out))
    assert still < 0.5 * moved


def test_where_no_holiday_was_seen_there_is_no_lull() -> None:
    assert learn(weekly(0.1, first=FIRST).until(date(2024, 3, 2)).grid(), "US") == NO_LULL
    assert NO_LULL.calm([date(2024, 12, 21)], "US").tolist() == [1.0]
    assert Lull(0.1, 0).calm([date(2024, 12, 21)], None).tolist() == [1.0]


@pytest.fixture(scope="module")
def recipe(small: Recipe) -> Recipe:
    return replace(small, lags=(1, 2), windows=(2, 4))


def medians(model: FittedModel, panel: Panel) -> list[float]:
    made = predict(model, panel, panel.last_day, (1, 2, 3, 4)).filter(pl.col("level") == 500)
    return made.group_by("target").agg(pl.col("value").sum()).sort("target")["value"].to_list()


def test_a_christmas_nobody_has_seen_is_forecast_as_a_lull_and_the_week_after_new_year_is_not(recipe: Recipe) -> None:
    panel = weekly(0.1)
    knowing, blind = (medians(fit(panel, (1, 2, 3, 4), recipe=replace(recipe, country=c)), panel) for c in ("US", ""))
    told = np.array(knowing) / blind
    assert told[0] < 0.95  # 21 to 27 December
    assert told[1] < 0.95  # to 3 January
    assert told[2] == pytest.approx(1, abs=0.03)


def test_a_lull_at_the_day_of_the_forecast_is_not_taken_for_a_fall(recipe: Recipe) -> None:
    panel = weekly(0.1).until(date(2024, 11, 23))  # the week of Thanksgiving
    usual = np.sum(panel.until(date(2024, 11, 16)).grid().value[:, -1])
    model = fit(panel, (1, 2, 3, 4), recipe=recipe)
    assert medians(model, panel)[1] == pytest.approx(usual, rel=0.03)
    again = FittedModel.from_bytes(model.to_bytes())
    assert again == model
    assert again.recipe.lull == model.recipe.lull != NO_LULL
