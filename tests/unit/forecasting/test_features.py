"""Nothing looks ahead, and the rolling arithmetic is what a plain loop would say."""

from __future__ import annotations

from datetime import timedelta

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from sharewell_workers.forecasting import Panel, Recipe, features, rolling
from sharewell_workers.forecasting.features import Tasks

MATRICES = hnp.arrays(
    np.float64,
    st.tuples(st.integers(1, 4), st.integers(1, 30)),
    elements=st.one_of(st.floats(0, 1000), st.just(float("nan"))),
)
WIDTHS = st.integers(1, 9)


def known(values: np.ndarray[tuple[int], np.dtype[np.float64]]) -> list[float]:
    return [float(v) for v in values if not np.isnan(v)]


@given(MATRICES, WIDTHS)
def test_a_window_mean_is_the_mean_of_what_is_known_in_the_window(
    value: np.ndarray[tuple[int, int], np.dtype[np.float64]], width: int
) -> None:
    result = rolling.window_mean(value, width)
    for s, t in np.ndindex(value.shape):
        inside = known(value[s, max(0, t - width + 1) : t + 1])
        expected = np.mean(inside) if inside else np.nan
        assert result[s, t] == pytest.approx(expected, abs=1e-6, nan_ok=True)


@given(MATRICES, st.integers(2, 9))
def test_a_window_slope_is_the_least_squares_line(
    value: np.ndarray[tuple[int, int], np.dtype[np.float64]], width: int
) -> None:
    result = rolling.window_slope(value, width)
    for s, t in np.ndindex(value.shape):
        steps = [u for u in range(max(0, t - width + 1), t + 1) if not np.isnan(value[s, u])]
        expected = np.polyfit(steps, value[s, steps], 1)[0] if len(steps) > 1 else np.nan
        assert result[s, t] == pytest.approx(expected, abs=1e-4, nan_ok=True)


@given(MATRICES, st.integers(0, 5))
def test_a_value_is_carried_no_further_than_allowed(
    value: np.ndarray[tuple[int, int], np.dtype[np.float64]], limit: int
) -> None:
    held, age = rolling.carry(value, limit)
    for s, t in np.ndindex(value.shape):
        back = next((k for k in range(limit + 1) if t - k >= 0 and not np.isnan(value[s, t - k])), None)
        assert age[s, t] == pytest.approx(np.nan if back is None else back, nan_ok=True)
        assert held[s, t] == pytest.approx(np.nan if back is None else value[s, t - back], nan_ok=True)


@settings(deadline=None, max_examples=30)
@given(MATRICES, st.data())
def test_what_is_seen_on_a_day_does_not_change_when_later_values_come(
    value: np.ndarray[tuple[int, int], np.dtype[np.float64]], data: st.DataObject
) -> None:
    count, width = value.shape
    cut = data.draw(st.integers(1, width))
    panel = _panel(value)
    recipe = Recipe(lags=(1, 3), windows=(2, 7))
    whole = panel.grid()
    end = whole.end - timedelta(days=width - cut)
    past = features.observe(panel.until(end).grid(end, steps=cut), recipe, 7)
    later = features.observe(whole, recipe, 7)
    tasks = Tasks(np.arange(count), np.full(count, cut - 1), np.full(count, 2))
    now, names = features.rows(past, tasks)
    then, _ = features.rows(later, tasks)
    assert names.count("weekday") == 1
    assert now.shape == (count, len(names))
    np.testing.assert_array_equal(now, then)
    np.testing.assert_array_equal(past.scale, later.scale[:, :cut])


def test_the_same_weekday_a_week_before_the_target_is_seen() -> None:
    value = np.arange(1.0, 29.0)[None, :] ** 2
    state = features.observe(_panel(value).grid(), Recipe(), 7)
    tasks = Tasks(np.array([0, 0]), np.array([20, 20]), np.array([1, 7]))
    rows, names = features.rows(state, tasks)
    seen = rows[:, names.index("season0")] * state.scale[0, 20] + state.base[0, 20]
    assert seen == pytest.approx([15.0, 21.0], rel=1e-5)  # square roots of columns 14 and 20


def _panel(value: np.ndarray[tuple[int, int], np.dtype[np.float64]]) -> Panel:
    count, width = value.shape
    days = pl.date_range(pl.date(2024, 1, 1), pl.date(2024, 1, 1) + pl.duration(days=width - 1), eager=True)
    return Panel.of(
        pl.DataFrame(
            {
                "series": [f"s{i}" for i in range(count) for _ in range(width)],
                "group": [f"g{i % 2}" for i in range(count) for _ in range(width)],
                "day": days.to_list() * count,
                "value": value.ravel(),
            }
        ).fill_nan(None),
        step=1,
    )
