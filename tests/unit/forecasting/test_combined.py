"""What a weekly model is put together from: a straight line, two families of trees, and persistence."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from typer.testing import CliRunner

from sharewell.cli.forecast import app
from sharewell.domain.forecast import LEVELS
from sharewell_workers.forecasting import FittedModel, Panel, Recipe, features, fit, line, predict
from sharewell_workers.forecasting.features import Tasks
from sharewell_workers.forecasting.yardstick import Yardstick

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


def test_the_command_line_puts_weekly_models_together_from_all_of_it_and_daily_ones_not(
    wave: Wave, tmp_path: Path
) -> None:
    made = {}
    for step in (1, 7):
        file, out = tmp_path / f"{step}.csv", tmp_path / f"{step}.json"
        wave(20, 40, step=step).write_csv(file)
        assert CliRunner().invoke(app, ["fit", str(file), "-o", str(out), "--ahead", "2"]).exit_code == 0
        made[step] = FittedModel.from_bytes(out.read_bytes())
    assert [(bool(m.line), bool(m.drawn), m.recipe.steady) for m in made.values()] == [
        (False, False, 0),
        (True, True, 0.1),
    ]


def test_the_model_says_the_mean_of_both_families(panel: Panel, model: FittedModel) -> None:
    state = features.observe(panel.grid(), model.recipe, model.season)
    rows, _ = features.rows(state, Tasks(np.arange(20), np.full(20, state.last), np.full(20, 2)))
    searched, drawn = (
        one.raw(rows) for one in (replace(model, drawn=(), _cache={}), replace(model, boosters=(), _cache={}))
    )
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


def test_every_quantile_takes_its_share_of_the_hubs_persistence(panel: Panel, model: FittedModel) -> None:
    state = features.observe(panel.grid(), model.recipe, model.season)
    tasks = Tasks(np.tile(np.arange(20), 2), np.full(40, state.last), np.repeat([1, 3], 20))
    alone, mixed = (
        replace(model, recipe=replace(model.recipe, steady=share, whole_below=0.0)).quantiles(state, tasks)
        for share in (0.0, 0.25)
    )
    hubs = Yardstick.of(panel.grid())
    theirs = np.concatenate([hubs.quantiles("persistence", h, LEVELS) for h in (1, 3)])
    np.testing.assert_allclose(mixed, 0.75 * alone + 0.25 * theirs)


def test_where_persistence_has_seen_no_step_the_model_speaks_alone(wave: Wave, both: Recipe) -> None:
    rows = wave(20, 60)
    odd = pl.col("day").dt.ordinal_day() % 2 == 1  # of one series, only every other day was reported
    panel = Panel.of(rows.filter((pl.col("series") != "h003") | odd))
    models = [fit(panel, AHEAD, recipe=replace(both, steady=share)) for share in (0.0, 0.5)]
    alone, mixed = (predict(model, panel, panel.last_day, AHEAD).filter(pl.col("series") == "h003") for model in models)
    assert set(mixed["method"]) == {"model"}
    assert mixed["value"].equals(alone["value"])
