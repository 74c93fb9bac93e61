"""Bands that were too narrow are widened until they would have held their share, and the median stays."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sharewell.domain.forecast import LEVELS
from sharewell_workers.forecasting import calibration

NORMAL = np.array([-1.96, -1.2816, -0.6745, 0.0, 0.6745, 1.2816, 1.96])


def outcomes(count: int, spread: float) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    return np.random.default_rng(7).normal(0, spread, count)


@pytest.mark.parametrize("spread", [1.0, 1.5, 2.0])
def test_stretched_bands_hold_their_share_of_outcomes_like_those_they_were_set_on(spread: float) -> None:
    horizon = np.ones(4000, dtype=np.int64)
    raw = np.tile(NORMAL, (4000, 1))
    factor = calibration.factors(raw, outcomes(4000, spread), horizon, LEVELS, (1,))
    moved = calibration.stretch(raw, np.tile(factor, (4000, 1)), LEVELS)
    fresh = np.random.default_rng(8).normal(0, spread, 4000)
    for low, high, share in ((0, 6, 0.95), (1, 5, 0.8), (2, 4, 0.5)):
        held = np.mean((moved[:, low] <= fresh) & (fresh <= moved[:, high]))
        assert held == pytest.approx(share, abs=0.03)
    np.testing.assert_array_equal(moved[:, 3], 0.0)


def test_each_horizon_has_its_own_width() -> None:
    horizon = np.repeat([1, 2], 2000)
    came = outcomes(4000, 1.0) * np.where(horizon == 1, 1.0, 2.0)
    factor = calibration.factors(np.tile(NORMAL, (4000, 1)), came, horizon, LEVELS, (1, 2))
    assert factor[1, 6] > 1.6 * factor[0, 6]


def test_without_outcomes_a_modest_widening_is_assumed() -> None:
    empty = np.zeros((0, 7))
    factor = calibration.factors(empty, np.zeros(0), np.zeros(0, dtype=np.int64), LEVELS, (1, 2))
    assert set(factor[:, [0, 1, 2, 4, 5, 6]].ravel()) == {calibration.PRIOR_FACTOR}


@given(
    st.lists(st.lists(st.floats(-50, 50), min_size=7, max_size=7), min_size=1, max_size=5),
    st.lists(st.floats(0.8, 3), min_size=7, max_size=7),
)
def test_stretched_quantiles_always_rise(raw: list[list[float]], factor: list[float]) -> None:
    moved = calibration.stretch(np.array(raw), np.tile(factor, (len(raw), 1)), LEVELS)
    assert (np.diff(moved, axis=1) >= 0).all()
