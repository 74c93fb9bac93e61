"""Champion and challenger: both are asked for the same past, and neither has seen it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import date, timedelta

import numpy as np
import polars as pl
import pytest

from sharewell.domain import forecast
from sharewell.domain.canonical import encode
from sharewell_workers.forecasting import Panel, Recipe, TooLittleHistory, fit
from sharewell_workers.forecasting.trial import METHODS, ORIGINS, compare

AHEAD = (1, 2, 3)
LAST = date(2024, 1, 1) + timedelta(days=59)


def ago(days: int) -> date:
    return LAST - timedelta(days=days)


def test_without_a_champion_the_naive_forecasts_are_asked_beside_it(panel: Panel, small: Recipe) -> None:
    found = compare(panel, AHEAD, recipe=small, seed=0, champion=None)
    assert found.origins == tuple(ago(3 + back) for back in reversed(range(ORIGINS)))
    assert len(found.observed) == 20 * ORIGINS * len(AHEAD)
    assert set(found.values) == set(METHODS)


def test_a_champion_is_asked_for_every_day_since_its_training_and_no_other(panel: Panel, small: Recipe) -> None:
    champion = fit(panel, AHEAD, recipe=small, origin=ago(5))
    found = compare(panel, AHEAD, recipe=small, seed=0, champion=champion)
    assert found.origins == tuple(ago(back) for back in (5, 4, 3, 2, 1))
    assert len(found.observed) == 20 * (3 + 3 + 3 + 2 + 1)
    assert found.champion == champion.hash


def test_with_recipe_and_data_unchanged_the_first_half_tells_nothing_apart(panel: Panel, small: Recipe) -> None:
    champion = fit(panel, AHEAD, recipe=small, origin=ago(6))
    found = compare(panel, AHEAD, recipe=small, seed=0, champion=champion)
    same = np.array([np.allclose(*pair) for pair in zip(found.values["model"], found.values["in-force"], strict=True)])
    first_half = np.array([day < found.origins[3] for day in found.made_on], dtype=bool)
    assert same[first_half].all()
    assert not same[~first_half].all(), "the stand-in of the second half has learnt from newer days"


def test_no_answer_depends_on_what_came_after_the_day_it_is_asked_on(
    panel: Panel, small: Recipe, wave: Callable[..., pl.DataFrame]
) -> None:
    champion = fit(panel, AHEAD, recipe=small, origin=ago(4))
    before = compare(panel, AHEAD, recipe=small, seed=0, champion=champion)
    other = wave(20, 60).with_columns(
        value=pl.when(pl.col("day") == LAST).then(pl.col("value") + 50).otherwise("value")
    )
    after = compare(Panel.of(other), AHEAD, recipe=small, seed=0, champion=champion)
    assert not np.array_equal(before.observed, after.observed)
    for method in METHODS:
        np.testing.assert_array_equal(before.values[method], after.values[method])


def test_a_champion_beyond_whose_training_nothing_came_cannot_be_tried(panel: Panel, small: Recipe) -> None:
    champion = fit(panel, AHEAD, recipe=small, origin=LAST)
    with pytest.raises(TooLittleHistory):
        compare(panel, AHEAD, recipe=small, seed=0, champion=champion)


def test_a_champion_with_other_levels_and_steps_is_compared_where_both_speak(panel: Panel, small: Recipe) -> None:
    champion = fit(panel, (1, 2), recipe=replace(small, levels=(*forecast.LEVELS[:-1], 950, 975)), origin=ago(5))
    found = compare(panel, AHEAD, recipe=small, seed=0, champion=champion)
    assert found.levels == forecast.LEVELS
    assert set(found.horizon.tolist()) == {1, 2}


def test_scores_are_those_of_the_domain_and_fit_into_an_entry(panel: Panel, small: Recipe) -> None:
    found = compare(panel, AHEAD, recipe=small, seed=0, champion=None)
    told = found.to_json()
    assert len(encode(told)) < 20_000
    for row in told["scores"]:
        at = (found.horizon == row["horizon"]) | (row["horizon"] == 0)
        values, observed = found.values[row["method"]][at], found.observed[at]
        scored = [
            forecast.wis(y, list(zip(found.levels, q, strict=True))) for y, q in zip(observed, values, strict=True)
        ]
        assert float(row["wis"]) == pytest.approx(float(np.mean(scored)), abs=1e-4)
        held = [low <= y <= high for y, low, high in zip(observed, values[:, 1], values[:, 5], strict=True)]
        assert float(row["coverage"]["800"]) == pytest.approx(np.mean(held), abs=1e-4)
        assert row["tasks"] == at.sum()
    total = {row["method"]: float(row["wis"]) for row in told["scores"] if row["horizon"] == 0}
    assert float(told["relative_wis"]["persistence"]) == pytest.approx(total["model"] / total["persistence"], abs=1e-4)


def test_asked_again_the_comparison_is_the_same_to_the_last_digit(panel: Panel, small: Recipe) -> None:
    one, two = (compare(panel, AHEAD, recipe=small, seed=0, champion=None) for _ in range(2))
    assert one.to_json() == two.to_json()
    for method in METHODS:
        np.testing.assert_array_equal(one.values[method], two.values[method])
