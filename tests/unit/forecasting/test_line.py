"""The straight line beside the trees, and the two families of trees that are averaged in weekly models."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from sharewell_workers.forecasting import FittedModel, Panel, Recipe, features, fit, line, predict
from sharewell_workers.forecasting.features import Tasks

Wave = Callable[..., pl.DataFrame]
AHEAD = (1, 2, 3)
NAMES = ["level", "mean4", "horizon"]


@pytest.fixture(scope="module")
def both(small: Recipe) -> Recipe:
    return replace(small, line=0.5, drawn=8)


@pytest.fixture(scope="module")
def model(panel: Panel, both: Recipe) -> FittedModel:
    return fit(panel, AHEAD, recipe=both)


def rows_of(seen: np.ndarray, horizon: np.ndarray) -> np.ndarray:
    return np.stack([np.ones(len(seen)), seen, horizon], axis=1).astype(np.float32)


def test_the_line_finds_how_far_a_series_returns_by_horizon_whatever_a_few_rows_do() -> None:
    random = np.random.default_rng(5)
    seen, horizon = random.normal(size=6000), np.tile([1.0, 2.0], 3000)
    came = np.where(horizon == 1, 0.3, 0.6) * seen + random.laplace(scale=0.5, size=6000)
    came[::50] = 40.0  # one in fifty is a slip of the pen
    found = line.learn(rows_of(seen, horizon), NAMES, (1, 2), came, None)
    np.testing.assert_allclose(np.ravel(found), [0.3, 0.6], atol=0.06)


def test_the_line_says_nothing_where_nothing_is_known_or_for_a_horizon_it_was_not_made_for() -> None:
    rows = rows_of(np.array([np.nan, 2.0, 2.0]), np.array([1.0, 1.0, 3.0]))
    np.testing.assert_array_equal(line.apply(((0.25,),), rows, NAMES, (1,)), [0.0, 0.5, 0.0])


def test_weights_decide_what_the_line_follows() -> None:
    seen = np.tile([1.0, -1.0, 2.0, -2.0], 100)
    came = np.where(np.arange(400) < 200, 0.5, -0.5) * seen
    found = line.learn(rows_of(seen, np.ones(400)), NAMES, (1,), came, np.where(np.arange(400) < 200, 9.0, 1.0))
    assert found[0][0] == pytest.approx(0.5, abs=0.05)


def test_weekly_models_average_two_families_and_start_one_from_a_line() -> None:
    weekly, daily = Recipe.for_step(7), Recipe.for_step(1)
    assert weekly.line > 0
    assert weekly.drawn > 0
    assert (daily.line, daily.drawn) == (0, 0)


def test_the_model_says_the_mean_of_both_families(panel: Panel, model: FittedModel) -> None:
    state = features.observe(panel.grid(), model.recipe, model.season)
    rows, _ = features.rows(state, Tasks(np.arange(20), np.full(20, state.last), np.full(20, 2)))
    searched, drawn = (replace(model, **{name: ()}, _cache={}).raw(rows) for name in ("drawn", "boosters"))
    assert not np.allclose(searched, drawn)
    np.testing.assert_allclose(model.raw(rows), (searched + drawn) / 2)


def test_both_families_and_the_line_are_stored_and_forecast_the_same(
    panel: Panel, both: Recipe, model: FittedModel
) -> None:
    assert fit(panel, AHEAD, recipe=both).to_bytes() == model.to_bytes()
    again = FittedModel.from_bytes(model.to_bytes())
    assert again == model
    assert predict(again, panel, panel.last_day, AHEAD).equals(predict(model, panel, panel.last_day, AHEAD))
    body = json.loads(model.to_bytes())
    assert len(body["line"]) == len(AHEAD)
    assert "[extra_trees: 1]" in body["drawn"][0][0]
    assert "[extra_trees: 0]" in body["boosters"][0][0]
