"""Bands take their shape from misses: they hold their share of outcomes like those they were set on."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sharewell.domain.forecast import HUB_LEVELS, LEVELS
from sharewell_workers.forecasting import calibration

TREES = np.array([-1.2816, 0.0, 1.2816])  # what three boosters would say of standard normal outcomes


def outcomes(count: int, spread: float, *, seed: int = 7) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    return np.random.default_rng(seed).normal(0, spread, count)


@pytest.mark.parametrize("spread", [0.7, 1.0, 2.0])
def test_bands_hold_their_share_of_outcomes_like_those_they_were_set_on(spread: float) -> None:
    said = np.tile(TREES, (8000, 1))
    shape = calibration.shape(said, outcomes(8000, spread), np.ones(8000, dtype=np.int64), HUB_LEVELS, (1,))
    bands = calibration.unfold(said, np.tile(shape, (8000, 1)))
    fresh = outcomes(8000, spread, seed=8)
    for place, level in enumerate(HUB_LEVELS):
        assert np.mean(fresh <= bands[:, place]) == pytest.approx(level / 1000, abs=0.025)


def test_each_horizon_has_its_own_width() -> None:
    horizon = np.repeat([1, 2], 2000)
    came = outcomes(4000, 1.0) * np.where(horizon == 1, 1.0, 2.0)
    shape = calibration.shape(np.tile(TREES, (4000, 1)), came, horizon, LEVELS, (1, 2))
    assert shape[1, 6] > 1.6 * shape[0, 6]


def test_the_sides_may_differ() -> None:
    came = np.abs(outcomes(4000, 1.0)) ** 2 - 0.45  # about half below the middle, far tail above
    shape = calibration.shape(np.tile(TREES, (4000, 1)), came, np.ones(4000, dtype=np.int64), LEVELS, (1,))
    assert shape[0, 6] > 3 * -shape[0, 0]


def test_of_sides_that_differ_what_is_doubted_is_shared_and_the_band_stays_as_wide() -> None:
    came = np.abs(outcomes(4000, 1.0)) ** 2 - 0.45
    said, horizon = np.tile(TREES, (4000, 1)), np.ones(4000, dtype=np.int64)
    leaning, halfway, even = (
        calibration.shape(said, came, horizon, LEVELS, (1,), doubt=doubt)[0] for doubt in (0.0, 0.5, 1.0)
    )
    np.testing.assert_allclose(even, -even[::-1])
    assert leaning[-1] > halfway[-1] > even[-1]
    for found in (halfway, even):
        np.testing.assert_allclose(found - found[::-1], leaning - leaning[::-1], rtol=0.01)


def test_of_horizons_that_differ_what_is_doubted_is_taken_from_all() -> None:
    horizon = np.repeat([1, 2], 2000)
    came = outcomes(4000, 1.0) * np.where(horizon == 1, 1.0, 2.0)
    near, far = calibration.shape(np.tile(TREES, (4000, 1)), came, horizon, LEVELS, (1, 2), doubt=1.0)
    np.testing.assert_array_equal(near, far)


def test_the_median_is_never_moved() -> None:
    shape = calibration.shape(
        np.tile(TREES, (500, 1)), outcomes(500, 1) + 5, np.ones(500, dtype=np.int64), LEVELS, (1,)
    )
    assert shape[0, 3] == 0.0


def test_without_outcomes_the_shape_assumed_is_wider_than_the_trees_claim() -> None:
    empty = calibration.shape(np.zeros((0, 3)), np.zeros(0), np.zeros(0, dtype=np.int64), LEVELS, (1, 2))
    np.testing.assert_array_equal(empty, np.tile(calibration.prior(LEVELS), (2, 1)))
    assert calibration.prior(calibration.TRAINED) == pytest.approx(
        [-calibration.PRIOR_FACTOR, 0, calibration.PRIOR_FACTOR]
    )


def test_series_that_never_move_do_not_narrow_the_bands_of_those_that_do() -> None:
    moving = np.tile(TREES, (1000, 1))
    still = np.zeros((9000, 3))
    together = calibration.shape(
        np.concatenate([moving, still]), np.concatenate([outcomes(1000, 1.0), np.zeros(9000)]),
        np.ones(10_000, dtype=np.int64), LEVELS, (1,),
    )  # fmt: skip
    alone = calibration.shape(moving, outcomes(1000, 1.0), np.ones(1000, dtype=np.int64), LEVELS, (1,))
    np.testing.assert_allclose(together, alone)


def test_outcomes_with_more_weight_say_more() -> None:
    came = np.concatenate([outcomes(2000, 1.0), outcomes(2000, 3.0)])
    weight = np.repeat([1.0, 0.01], 2000)
    said, horizon = np.tile(TREES, (4000, 1)), np.ones(4000, dtype=np.int64)
    recent = calibration.shape(said, came, horizon, LEVELS, (1,), weight)
    assert recent[0, 6] < 0.75 * calibration.shape(said, came, horizon, LEVELS, (1,))[0, 6]


@given(
    st.lists(st.lists(st.floats(-50, 50), min_size=3, max_size=3), min_size=1, max_size=30),
    st.lists(st.floats(-50, 50), min_size=30, max_size=30),
)
def test_quantiles_always_rise_whatever_the_trees_said_and_whatever_came(
    said: list[list[float]], came: list[float]
) -> None:
    trees = np.array(said)
    horizon = np.ones(len(trees), dtype=np.int64)
    shape = calibration.shape(trees, np.array(came[: len(trees)]), horizon, HUB_LEVELS, (1,))
    assert (np.diff(calibration.unfold(trees, np.tile(shape, (len(trees), 1))), axis=1) >= 0).all()
