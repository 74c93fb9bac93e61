"""The trained model: reproducible to the byte, rising in its quantiles, never negative, and only data when stored."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from dataclasses import replace
from datetime import date, timedelta

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sharewell.domain.errors import Invalid
from sharewell.domain.forecast import HUB_LEVELS
from sharewell_workers.forecasting import FittedModel, Panel, Recipe, TooLittleHistory, features, fit, line, predict
from sharewell_workers.forecasting.features import Tasks
from sharewell_workers.forecasting.model import _sample as sample

Wave = Callable[..., pl.DataFrame]
AHEAD = (1, 2, 3)


@pytest.fixture(scope="module")
def model(panel: Panel, small: Recipe) -> FittedModel:
    return fit(panel, AHEAD, recipe=small, seed=3)


def test_the_same_panel_and_seed_give_the_same_bytes(panel: Panel, small: Recipe, model: FittedModel) -> None:
    assert fit(panel, AHEAD, recipe=small, seed=3).to_bytes() == model.to_bytes()


def test_another_seed_or_one_changed_value_gives_another_hash(
    panel: Panel, small: Recipe, model: FittedModel, wave: Wave
) -> None:
    changed = wave(20, 60).with_columns(
        value=pl.when(pl.int_range(pl.len()) == 700).then(pl.col("value") + 1).otherwise("value")
    )
    hashes = {
        model.hash,
        fit(panel, AHEAD, recipe=small, seed=4).hash,
        fit(Panel.of(changed), AHEAD, recipe=small, seed=3).hash,
    }
    assert len(hashes) == 3


def test_the_order_of_series_changes_neither_model_nor_forecast(
    panel: Panel, small: Recipe, model: FittedModel, wave: Wave
) -> None:
    rows = wave(20, 60)
    order = list(range(rows.height))
    random.Random(2).shuffle(order)
    shuffled = Panel.of(rows[order])
    assert fit(shuffled, AHEAD, recipe=small, seed=3).hash == model.hash
    ours = predict(model, panel, panel.last_day, AHEAD)
    assert predict(model, shuffled, panel.last_day, AHEAD).equals(ours)


def test_a_stored_model_forecasts_as_the_one_that_was_trained(panel: Panel, model: FittedModel) -> None:
    again = FittedModel.from_bytes(model.to_bytes())
    assert again == model
    assert again.hash == model.hash
    assert predict(again, panel, panel.last_day, AHEAD).equals(predict(model, panel, panel.last_day, AHEAD))


def test_a_stored_model_is_json_with_the_names_of_its_features_and_the_hash_of_its_data(
    panel: Panel, model: FittedModel
) -> None:
    body = json.loads(model.to_bytes())
    assert body["data"] == panel.digest()
    assert "horizon" in body["features"]
    assert body["boosters"][0][0].startswith("tree")


@pytest.mark.parametrize("damage", [b"", b"[]", b"{}", b'{"format":"other/1"}', b"\x80\x04."])
def test_bytes_that_are_no_model_are_refused(damage: bytes) -> None:
    with pytest.raises(Invalid, match="no forecast model"):
        FittedModel.from_bytes(damage)


def test_a_model_with_a_broken_booster_is_refused(model: FittedModel) -> None:
    body = json.loads(model.to_bytes())
    body["boosters"][0][0] = "tree\nnonsense"
    with pytest.raises(Invalid):
        FittedModel.from_bytes(json.dumps(body).encode())


def test_training_until_a_day_ignores_everything_after_it(panel: Panel, small: Recipe) -> None:
    day = date(2024, 2, 10)
    assert fit(panel, AHEAD, recipe=small, origin=day).hash == fit(panel.until(day), AHEAD, recipe=small).hash


def test_a_panel_too_short_to_train_on_says_so(small: Recipe, wave: Wave) -> None:
    with pytest.raises(TooLittleHistory, match="rows to learn from"):
        fit(Panel.of(wave(5, 6)), AHEAD, recipe=small)


@pytest.mark.parametrize("levels", [(250, 750), (500, 250), (0, 500), (500, 1000)])
def test_levels_without_a_median_or_out_of_order_are_refused(panel: Panel, levels: tuple[int, ...]) -> None:
    with pytest.raises(Invalid) as refusal:
        fit(panel, AHEAD, levels=levels)
    assert refusal.value.field == "levels"


@pytest.mark.parametrize("horizons", [(), (0, 1), (-1,)])
def test_horizons_that_do_not_look_ahead_are_refused(panel: Panel, horizons: tuple[int, ...]) -> None:
    with pytest.raises(Invalid) as refusal:
        fit(panel, horizons)
    assert refusal.value.field == "horizons"


def test_a_panel_gone_through_in_parts_gives_the_same_model(
    panel: Panel, small: Recipe, model: FittedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sharewell_workers.forecasting.engine.MOST_CELLS", 420)  # seven series of sixty days
    assert fit(panel, AHEAD, recipe=small, seed=3).hash == model.hash
    made = predict(model, panel, panel.last_day, AHEAD)
    monkeypatch.undo()
    assert made.equals(predict(model, panel, panel.last_day, AHEAD))


@pytest.mark.parametrize("trained", [HUB_LEVELS, (25, 100, 250, 500, 750, 900, 975)])
def test_any_levels_can_be_trained_and_any_told(panel: Panel, small: Recipe, trained: tuple[int, ...]) -> None:
    direct = fit(panel, AHEAD, recipe=replace(small, trained=trained), levels=HUB_LEVELS)
    assert len(direct.boosters[0]) == len(trained)
    made = predict(direct, panel, panel.last_day, AHEAD)
    assert made.height == 20 * 3 * 23
    some = fit(panel, AHEAD, recipe=replace(small, trained=trained), levels=(100, 500, 900))
    whole = made.filter(pl.col("level").is_in([100, 500, 900]))
    assert predict(some, panel, panel.last_day, AHEAD).equals(whole)


@pytest.mark.parametrize("trained", [(100, 900), (900, 500, 100), (500,)])
def test_levels_to_train_need_the_median_and_both_sides(panel: Panel, small: Recipe, trained: tuple[int, ...]) -> None:
    with pytest.raises(Invalid) as refusal:
        fit(panel, AHEAD, recipe=replace(small, trained=trained))
    assert refusal.value.field == "trained"


def test_signals_beside_enter_the_model_and_its_hash(panel: Panel, small: Recipe, wave: Wave) -> None:
    sister = Panel.of(wave(20, 60, seed=9))
    both = fit(panel.seen_with(admissions=sister), AHEAD, recipe=small)
    assert "move1 admissions" in both.features
    assert both.recipe.signals == ("admissions",)
    other = fit(panel.seen_with(admissions=Panel.of(wave(20, 60, seed=10))), AHEAD, recipe=small)
    assert len({both.data, other.data, panel.digest()}) == 3


def test_a_signal_that_stops_coming_is_missing_and_no_error(panel: Panel, small: Recipe, wave: Wave) -> None:
    both = fit(panel.seen_with(admissions=Panel.of(wave(20, 60, seed=9))), AHEAD, recipe=small)
    made = predict(both, panel, panel.last_day, AHEAD)
    assert made.height == 20 * 3 * 7
    assert set(made["method"]) == {"model"}


def test_a_signal_beside_must_have_the_same_step(panel: Panel, wave: Wave) -> None:
    with pytest.raises(Invalid) as refusal:
        panel.seen_with(weekly=Panel.of(wave(3, 20, step=7)))
    assert refusal.value.field == "step"


def test_several_seeds_are_averaged(panel: Panel, small: Recipe) -> None:
    bagged = fit(panel, AHEAD, recipe=Recipe.from_json(small.to_json() | {"seeds": 2}))
    assert len(bagged.boosters) == 2
    assert bagged.boosters[0] != bagged.boosters[1]


def test_each_seed_learns_from_rows_of_its_own(panel: Panel, small: Recipe) -> None:
    few = replace(small, seeds=2, max_rows=200)
    state = features.observe(panel.grid(), few)
    one, other = (sample(fit(panel, AHEAD, recipe=few), state, 0, state.last, most=200, bag=bag) for bag in (0, 1))
    assert len(one.series) == len(other.series) == 200
    assert (np.stack(one) != np.stack(other)).any()
    assert fit(panel, AHEAD, recipe=few).trained_rows == 400


def test_a_line_draws_the_median_and_all_levels_with_it_unless_of_counts(small: Recipe, wave: Wave) -> None:
    panel = Panel.of(wave(20, 60).with_columns(pl.col("value") + 0.5))
    assert not fit(Panel.of(wave(20, 60)), AHEAD, recipe=replace(small, line=0.5)).slopes
    plain, drawn = (fit(panel, AHEAD, recipe=replace(small, line=share)) for share in (0.0, 0.5))
    state = features.observe(panel.grid(), plain.recipe, plain.season)
    tasks = Tasks(np.arange(20), np.full(20, state.last), np.full(20, 2))
    rows, names = features.rows(state, tasks)
    straight = line.say(drawn.slopes, rows, names, AHEAD)
    before, after = plain.raw(rows), drawn.raw(rows)
    assert drawn.boosters == plain.boosters
    np.testing.assert_allclose(after[:, 1], (before[:, 1] + straight) / 2, atol=1e-12)
    np.testing.assert_allclose(np.diff(after, axis=1), np.diff(before, axis=1), atol=1e-12)
    assert FittedModel.from_bytes(drawn.to_bytes()) == drawn


def test_a_median_moves_from_the_last_value_as_far_as_steps_were_seen(panel: Panel, small: Recipe) -> None:
    plain, careful = (fit(panel, AHEAD, recipe=replace(small, moved_steps=steps)) for steps in (0.0, 14.0))
    rows = np.random.default_rng(1).normal(0, 1, (30, len(plain.features))).astype(np.float32)
    seen = len(np.unique(np.add(*sample(plain, features.observe(panel.grid(), small), 0, 59, most=1500)[1:])))
    assert careful.doubt == pytest.approx(14 / (14 + seen))
    np.testing.assert_allclose(careful.raw(rows)[:, 1], plain.raw(rows)[:, 1] * seen / (14 + seen), atol=1e-12)
    assert fit(panel, AHEAD, recipe=replace(small, moved_steps=14.0), origin=date(2024, 2, 1)).doubt > careful.doubt


@settings(deadline=None, max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 10**6), holes=st.floats(0, 0.6), spike=st.floats(0, 1e6))
def test_quantiles_rise_with_their_level_and_are_never_negative_whatever_the_history(
    small: Recipe, seed: int, holes: float, spike: float, wave: Wave
) -> None:
    random_ = np.random.default_rng(seed)
    rows = wave(12, 40, seed=seed)
    value = rows["value"].to_numpy().copy()
    value[random_.random(len(value)) < holes] = np.nan
    value[random_.integers(len(value))] = spike
    broken = Panel.of(rows.with_columns(value=pl.Series(value)).fill_nan(None))
    model = fit(broken, AHEAD, recipe=small)
    made = predict(model, broken, broken.last_day, AHEAD).sort("series", "horizon", "level")
    assert made.height == 12 * 3 * 7
    assert made["value"].is_finite().all()
    assert made["value"].min() >= 0  # type: ignore[operator]
    steps = made.select(pl.col("value").diff().over("series", "horizon")).drop_nulls().to_series()
    assert steps.min() >= 0  # type: ignore[operator]


def test_a_model_trained_earlier_speaks_from_the_newest_values(panel: Panel, small: Recipe) -> None:
    old = fit(panel, AHEAD, recipe=small, origin=date(2024, 2, 15))
    made = predict(old, panel, panel.last_day, AHEAD)
    assert set(made["target"].to_list()) == {panel.last_day + timedelta(days=h) for h in AHEAD}
    assert made["fallback"].null_count() == made.height


def climbing(hospitals: int, weeks: int) -> Panel:
    """Hospitals that all gain a twentieth every week, each with noise of its own."""
    random = np.random.default_rng(8)
    beds = (
        random.uniform(30, 90, (hospitals, 1))
        * 1.05 ** np.arange(weeks)
        * random.uniform(0.97, 1.03, (hospitals, weeks))
    )
    days = [date(2024, 1, 6) + timedelta(weeks=k) for k in range(weeks)]
    names = [f"h{i:02d}" for i in range(hospitals) for _ in days]
    return Panel.of(pl.DataFrame({"series": names, "day": days * hospitals, "value": beds.ravel()}), step=7)


def test_what_all_did_together_is_believed_as_far_as_weeks_were_seen(small: Recipe) -> None:
    panel = climbing(20, 30)
    last = panel.grid().value[:, -1].sum()
    grown = []
    for steps in (0.0, 30.0, 1e9):
        model = fit(panel, (3,), recipe=replace(small, lags=(1, 2), windows=(2, 4), common_steps=steps))
        made = predict(model, panel, panel.last_day, (3,)).filter(pl.col("level") == 500)
        grown.append(made["value"].sum() / last)
    assert grown[0] > grown[1] > grown[2]
    assert grown[0] == pytest.approx(1.05**3, abs=0.05)
    assert grown[2] == pytest.approx(1, abs=0.02)


def test_what_one_series_does_alone_is_no_common_course(small: Recipe) -> None:
    alone = climbing(1, 120)
    believing, doubting = (fit(alone, AHEAD, recipe=replace(small, common_steps=steps)) for steps in (0.0, 40.0))
    assert believing.boosters == doubting.boosters


def test_bands_lean_with_the_course_of_a_few_weeks_only_as_far_as_it_is_believed(small: Recipe) -> None:
    panel = climbing(60, 40)
    short = replace(small, lags=(1, 2), windows=(2, 4), calibration_steps=4)
    lean = []
    for steps in (0.0, 20.0, 1e9):
        shape = np.array(fit(panel, (1, 3), recipe=replace(short, common_steps=steps)).shape)
        lean.append(np.abs(shape + shape[:, ::-1]).max())
    assert lean[0] > lean[1] > lean[2]
    assert lean[2] < 1e-5


def test_trees_whose_splits_are_drawn_are_others_and_the_same_each_time(panel: Panel, small: Recipe) -> None:
    searched, drawn, again = (fit(panel, AHEAD, recipe=replace(small, drawn=how)) for how in (False, True, True))
    assert drawn.boosters != searched.boosters
    assert drawn.hash == again.hash
