"""The line beside the trees: the slopes outcomes were made with, whatever a few outcomes do; nothing without them."""

from __future__ import annotations

import numpy as np
import pytest

from sharewell_workers.forecasting import Recipe, line
from sharewell_workers.forecasting.trees import Lessons

NAMES = [
    "lag1",
    "level",
    "mean4",
    "group1 covid",
    "horizon",
]  #: of these, a line is drawn over the first, third, fourth


def rows(count: int, *, seed: int = 2) -> np.ndarray:
    random = np.random.default_rng(seed)
    made = random.normal(0, 1, (count, len(NAMES)))
    made[:, -1] = random.integers(1, 3, count)
    return made.astype(np.float32)


def made_with(slopes: dict[int, tuple[float, float, float]], seen: np.ndarray) -> np.ndarray:
    table = np.array([slopes[int(h)] for h in seen[:, -1]])
    return np.asarray((np.clip(seen[:, [0, 2, 3]], -line.MOST, line.MOST) * table).sum(axis=1), dtype=float)


def test_each_horizon_gets_the_slopes_its_outcomes_were_made_with_though_one_in_ten_is_wild() -> None:
    truth = {1: (0.5, -0.2, 0.0), 2: (0.1, 0.4, 0.3)}
    seen = rows(6000)
    came = made_with(truth, seen)
    came[::10] += 1000.0
    found = line.fit(Lessons(seen, came, None, Recipe()), NAMES, (1, 2))
    np.testing.assert_allclose(found, [truth[1], truth[2]], atol=0.06)
    fresh = rows(50, seed=3)
    np.testing.assert_allclose(line.say(found, fresh, NAMES, (1, 2)), made_with(truth, fresh), atol=0.3)


def test_a_row_says_the_same_alone_and_among_others_and_nothing_where_nothing_is_known() -> None:
    found = line.fit(
        Lessons(rows(900), made_with({1: (0.3, 0.1, 0.2), 2: (0.2,) * 3}, rows(900)), None, Recipe()), NAMES, (1, 2)
    )
    asked = rows(40, seed=4)
    asked[7, :-1] = np.nan
    together = line.say(found, asked, NAMES, (1, 2))
    alone = [line.say(found, asked[place : place + 1], NAMES, (1, 2))[0] for place in range(40)]
    np.testing.assert_array_equal(together, alone)
    assert together[7] == 0.0


def test_a_horizon_without_outcomes_has_no_slope() -> None:
    seen = rows(500)
    found = line.fit(Lessons(seen, np.ones(500), np.ones(500), Recipe()), NAMES, (1, 2, 5))
    assert found[2] == (0.0, 0.0, 0.0)


@pytest.mark.parametrize("weight", [0.0, 1.0])
def test_rows_count_by_their_weight(weight: float) -> None:
    seen = rows(2000)
    half = np.arange(2000) < 1000
    came = np.where(
        half, made_with({1: (0.4,) * 3, 2: (0.4,) * 3}, seen), made_with({1: (-0.4,) * 3, 2: (-0.4,) * 3}, seen)
    )
    found = line.fit(Lessons(seen, came, np.where(half, 1.0, 0.01 + weight * 2), Recipe()), NAMES, (1, 2))
    assert (np.array(found) > 0).all() == (weight == 0.0)
