"""Whole numbers: quantiles of counts are counts, hold the probability they claim, and do not score worse for it."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from sharewell.domain.forecast import LEVELS
from sharewell_workers.forecasting import Panel, Recipe, counts, features, fit, predict, scores
from sharewell_workers.forecasting.features import Tasks
from sharewell_workers.forecasting.naive import Naive

Floats = NDArray[np.float64]
START = date(2024, 1, 5)
STEPS, AHEAD = 110, (1, 2)


def intermittent(hospitals: int = 300, *, seed: int = 4) -> tuple[Panel, Floats]:
    """Weekly Poisson counts of small, drifting means, a third of them mostly zero, and what came after the panel."""
    random = np.random.default_rng(seed)
    mean = np.exp(random.uniform(-2, 1.5, hospitals))[:, None]
    drift = np.exp(np.cumsum(random.normal(0, 0.05, (hospitals, STEPS + len(AHEAD))), axis=1))
    came = random.poisson(mean * drift).astype(float)
    days = [START + timedelta(weeks=t) for t in range(STEPS)]
    rows = {
        "series": [f"h{i:03d}" for i in range(hospitals) for _ in days],
        "day": days * hospitals,
        "value": came[:, :STEPS].ravel(),
    }
    return Panel.of(pl.DataFrame(rows), step=7), came[:, STEPS:]


@pytest.fixture(scope="module", name="told")
def tell() -> tuple[Floats, Floats, Floats]:
    """Quantiles of a model as whole numbers, the same without rounding, and what came."""
    panel, came = intermittent()
    model = fit(panel, AHEAD, recipe=Recipe.for_step(7, max_rows=15_000))
    smooth = replace(model, recipe=replace(model.recipe, whole_below=0.0), _cache={})
    state = features.observe(panel.grid(steps=model.recipe.history), model.recipe, model.season)
    at = np.arange(len(came))
    found = [
        np.concatenate(
            [m.quantiles(state, Tasks(at, np.full(len(at), state.last), np.full(len(at), h))) for h in AHEAD]
        )
        for m in (model, smooth)
    ]
    return found[0], found[1], np.concatenate(list(came.T))


def test_small_quantiles_of_counts_are_whole_numbers(told: tuple[Floats, ...]) -> None:
    whole, smooth, _ = told
    small = whole < counts.BELOW
    assert small.mean() > 0.9
    assert (whole[small] == np.floor(whole[small])).all()
    assert (smooth != np.floor(smooth)).mean() > 0.5


def test_whole_numbers_score_no_worse_on_intermittent_counts(told: tuple[Floats, ...]) -> None:
    whole, smooth, came = told
    assert scores.wis(whole, came, LEVELS).mean() < scores.wis(smooth, came, LEVELS).mean()
    assert scores.log_wis(whole, came, LEVELS).mean() < scores.log_wis(smooth, came, LEVELS).mean()


def test_a_level_is_kept_in_both_senses_a_count_allows(told: tuple[Floats, ...]) -> None:
    """At least the level falls at or below the quantile, and no more than it falls short of it."""
    whole, _, came = told
    share = np.array(LEVELS) / 1000
    assert ((came[:, None] <= whole).mean(axis=0) >= share - 0.03).all()
    assert ((came[:, None] < whole).mean(axis=0) <= share + 0.03).all()


def test_naive_quantiles_of_counts_are_whole_numbers_too() -> None:
    panel, _ = intermittent(40)
    found = Naive.of(panel.grid()).quantiles("persistence", 1, LEVELS)
    small = found < counts.BELOW
    assert (found[small] == np.floor(found[small])).all()


def test_means_and_large_counts_keep_their_decimals() -> None:
    panel, _ = intermittent(40)
    halved = Panel.of(panel.frame.select("series", "day", value=pl.col("value") / 2 + 0.25), step=7)
    assert not halved.grid().whole.any()
    large = Panel.of(panel.frame.select("series", "day", value=pl.col("value") + 5000), step=7)
    made = predict(None, large, large.last_day, (1,))["value"].to_numpy()
    assert (made != np.floor(made)).any()


@given(arrays(float, (3, 7), elements=st.floats(0, 60)), arrays(bool, 3))
def test_rounding_keeps_order_and_moves_nothing_by_more_than_half_a_unit(
    values: Floats, whole: NDArray[np.bool_]
) -> None:
    rising = np.sort(values, axis=1)
    found = counts.rounded(rising, whole)
    assert (np.diff(found, axis=1) >= 0).all()
    assert (np.abs(found - rising) <= 0.5).all()
    assert np.array_equal(found[~whole], rising[~whole])
    assert np.array_equal(counts.rounded(found, whole), found)


@given(st.floats(0.05, 12), st.sampled_from(LEVELS))
def test_the_rounded_quantile_of_a_blurred_count_is_the_quantile_of_the_count(mean: float, level: int) -> None:
    """The smallest n with P(N <= n) >= level, found from N blurred evenly by half a unit either way."""
    n = np.arange(80)
    log = n * np.log(mean) - mean - np.cumsum(np.log(np.maximum(n, 1)))
    upto = np.cumsum(np.exp(log))
    blurred = np.interp(level / 1000, np.concatenate([[0.0], upto]), np.concatenate([[-0.5], n + 0.5]))
    found = counts.rounded(np.array([[blurred]]), np.array([True]), below=100.0)[0, 0]
    assert upto[int(found)] >= level / 1000 - 1e-9
    assert found == 0 or upto[int(found) - 1] < level / 1000 + 1e-9
