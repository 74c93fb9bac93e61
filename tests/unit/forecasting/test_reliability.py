"""Shares below each level, and where in the forecasts outcomes fell."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from sharewell.domain.forecast import HUB_LEVELS, LEVELS
from sharewell_workers.forecasting import Panel, Recipe, backtest, reliability

COUNTS = arrays.arrays(np.float64, (9, len(LEVELS)), elements=st.integers(0, 6).map(float))
SEEN = arrays.arrays(np.float64, 9, elements=st.integers(0, 7).map(float))


@given(COUNTS, SEEN)
def test_every_outcome_is_counted_once_however_it_ties(values: np.ndarray, observed: np.ndarray) -> None:
    found = reliability.pit(np.sort(values, axis=1), observed, LEVELS)
    assert found.sum() == pytest.approx(1)
    assert (found >= 0).all()


@given(COUNTS, SEEN)
def test_the_histogram_adds_up_to_a_share_between_below_and_not_above(values: np.ndarray, observed: np.ndarray) -> None:
    rising = np.sort(values, axis=1)
    below, upto = reliability.shares(rising, observed)
    added = np.cumsum(reliability.pit(rising, observed, LEVELS))[:-1]
    assert (below <= upto).all()
    assert (added >= below - 1e-9).all()
    assert (added <= upto + 1e-9).all()


def test_right_forecasts_give_each_bin_its_width_even_for_small_counts() -> None:
    random = np.random.default_rng(4)
    drawn = random.poisson(0.4, 4000)
    quantiles = np.quantile(random.poisson(0.4, 100_000), np.array(LEVELS) / 1000, method="inverted_cdf")
    widths = np.diff([0, *LEVELS, 1000]) / 1000
    found = reliability.pit(np.tile(quantiles, (4000, 1)), drawn.astype(float), LEVELS)
    assert found == pytest.approx(widths, abs=0.06)
    below, upto = reliability.shares(np.tile(quantiles, (4000, 1)), drawn.astype(float))
    assert (below - 0.03 <= np.array(LEVELS) / 1000).all()
    assert (upto + 0.03 >= np.array(LEVELS) / 1000).all()


def test_bands_that_are_too_narrow_show_at_the_ends() -> None:
    random = np.random.default_rng(5)
    narrow = np.quantile(random.normal(0, 0.5, 100_000), np.array(HUB_LEVELS) / 1000)
    found = reliability.pit(np.tile(narrow, (2000, 1)), random.normal(0, 1, 2000), HUB_LEVELS)
    assert min(found[0], found[-1]) > 0.05


def test_a_backtest_tells_its_calibration_and_on_request_every_task(panel: Panel, small: Recipe) -> None:
    report = backtest(panel, (1, 2), origins=2, recipe=small, keep=True)
    score = report.of("model", 2)
    assert len(score.below) == len(score.upto) == len(report.levels)
    assert sum(score.pit) == pytest.approx(1)
    assert sum(len(task.observed) for task in report.answered) == report.of("model").tasks
    told = report.to_json()
    assert told["levels"] == list(small.levels)
    assert told["scores"][0]["below"] == [f"{share:.4f}" for share in report.of("model").below]
    assert backtest(panel, (1, 2), origins=2, recipe=small).answered == ()
