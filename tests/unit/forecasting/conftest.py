"""Made-up series that look like hospitals in a wave, and a recipe small enough to fit many times."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, timedelta

import numpy as np
import polars as pl
import pytest

from sharewell_workers.forecasting import Panel, Recipe

START = date(2024, 1, 1)


def wave(hospitals: int, steps: int, *, seed: int = 1, step: int = 1) -> pl.DataFrame:
    """Occupied beds of hospitals of different size under one shared wave, with a weekly rhythm; Poisson counts."""
    random = np.random.default_rng(seed)
    size = random.uniform(5, 80, hospitals)[:, None]
    time = np.arange(steps)[None, :]
    mean = size * (1 + 0.6 * np.sin(time / 11)) * (1 + 0.1 * (time % 7 == 5))
    counts = random.poisson(mean)
    days = [START + timedelta(days=step * t) for t in range(steps)]
    return pl.DataFrame(
        {
            "series": [f"h{i:03d}" for i in range(hospitals) for _ in days],
            "group": [f"g{i % 3}" for i in range(hospitals) for _ in days],
            "day": days * hospitals,
            "value": counts.ravel().astype(float),
        }
    )


@pytest.fixture(scope="session", name="wave")
def make_wave() -> Callable[..., pl.DataFrame]:
    """A maker of made-up hospitals: wave(hospitals, steps, seed=1, step=1)."""
    return wave


@pytest.fixture(scope="session")
def small() -> Recipe:
    """A recipe that fits in a few hundredths of a second."""
    return Recipe(rounds=8, leaves=6, max_rows=1500, min_rows=100, min_leaf=20, lags=(1, 2, 7), windows=(3, 7))


@pytest.fixture(scope="session")
def panel() -> Panel:
    """Twenty hospitals, sixty days."""
    return Panel.of(wave(20, 60))
