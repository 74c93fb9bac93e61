"""New and short series borrow from their group: better than their own few values alone, and honest about the width."""

from __future__ import annotations

from datetime import date, timedelta

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from sharewell.domain.forecast import LEVELS
from sharewell_workers.forecasting import Panel, borrow, predict, scores
from sharewell_workers.forecasting.naive import Naive

Floats = NDArray[np.float64]
START = date(2024, 1, 1)
DAYS, AHEAD = 60, (1, 3, 7)


def newcomers(known: int, *, young: int = 200, old: int = 160, size: bool = False) -> tuple[Panel, Floats]:
    """Two groups, one of small and one of large hospitals, with a weekly rhythm; newcomers reported `known` days."""
    random = np.random.default_rng(known + 7)
    beds = random.uniform(0.5, 1.5, young + old) * np.where(np.arange(young + old) % 2, 30, 6)
    days = np.arange(DAYS + max(AHEAD))
    mean = beds[:, None] * (1 + 0.1 * np.sin(days / 15)) * np.where(days % 7 > 4, 0.6, 1.1)
    came = random.poisson(mean).astype(float)
    first = np.where(np.arange(young + old) < young, DAYS - known, 0)
    rows = [
        (f"h{i:03d}", f"g{i % 2}", START + timedelta(days=t), came[i, t] if t >= first[i] else None, beds[i])
        for i in range(young + old) for t in range(min(DAYS - 1, int(first[i])), DAYS)
    ]  # fmt: skip
    frame = pl.DataFrame(
        rows, schema=["series", "group", "day", "value", "size"], orient="row", infer_schema_length=None
    )
    return Panel.of(frame if size else frame.drop("size"), step=1), came


def told(panel: Panel, came: Floats, young: int = 200) -> tuple[Floats, Floats, Floats]:
    """What the group says of newcomers, what the last value says, and what came."""
    grid = panel.grid()
    short = (~np.isnan(grid.value)).sum(axis=1) < borrow.SHORT
    assert short.sum() == young
    lent = borrow.Borrowers.of(grid, short)
    group = np.concatenate([lent.quantiles(h, LEVELS)[short] for h in AHEAD])
    last = np.concatenate([Naive.of(grid).quantiles("persistence", h, LEVELS)[short] for h in AHEAD])
    return group, last, np.concatenate([came[:young, DAYS - 1 + h] for h in AHEAD])


@pytest.mark.parametrize("known", [1, 2, 4])
def test_a_short_series_is_told_better_with_its_group_than_by_its_last_value(known: int) -> None:
    group, last, came = told(*newcomers(known))
    assert scores.wis(group, came, LEVELS).mean() < 0.85 * scores.wis(last, came, LEVELS).mean()


@pytest.mark.parametrize("known", [0, 1, 2, 4])
def test_the_bands_of_a_short_series_hold_what_they_claim(known: int) -> None:
    group, _, came = told(*newcomers(known))
    share = np.array(LEVELS) / 1000
    assert ((came[:, None] <= group).mean(axis=0) >= share - 0.06).all()
    assert ((came[:, None] < group).mean(axis=0) <= share + 0.06).all()


def test_each_value_of_its_own_narrows_the_band() -> None:
    widths = []
    for known in (0, 1, 4):
        group, _, _ = told(*newcomers(known))
        widths.append(float(np.mean(group[:, -1] - group[:, 0])))
    assert widths == sorted(widths, reverse=True)


def test_a_small_hospital_is_told_by_small_ones_and_in_the_rhythm_of_their_week() -> None:
    panel, _ = newcomers(0)
    made = predict(None, panel, panel.last_day, range(1, 8)).filter(
        (pl.col("level") == 500) & (pl.col("method") == "group")
    )
    middle = (
        made.join(panel.frame.select("series", "group").unique(), on="series")
        .group_by("group")
        .agg(pl.col("value").mean())
    )
    small, large = middle.sort("group")["value"]
    assert 3 * small < large
    by_day = made.group_by(pl.col("target").dt.weekday() > 5).agg(pl.col("value").mean()).sort("target")["value"]
    assert by_day[1] < 0.75 * by_day[0]


def test_a_size_makes_a_new_series_as_large_as_its_beds() -> None:
    panel, came = newcomers(0, size=True)
    plain, _ = newcomers(0)
    sized, _, seen = told(panel, came)
    unsized, _, _ = told(plain, came)
    assert scores.wis(sized, seen, LEVELS).mean() < 0.8 * scores.wis(unsized, seen, LEVELS).mean()


def test_a_group_of_newcomers_borrows_from_everybody() -> None:
    panel, _ = newcomers(0)
    alone = Panel.of(
        panel.frame.with_columns(group=pl.when(pl.col("series") == "h000").then(pl.lit("new")).otherwise("group"))
    )
    made = predict(None, alone, panel.last_day, (1,)).filter(pl.col("series") == "h000")
    assert made["method"].unique().to_list() == ["group"]


def test_beside_others_that_hardly_reported_the_newest_values_speak() -> None:
    rows = pl.DataFrame({"series": ["a", "b", "c"], "day": START, "value": [None, 4.0, 8.0]})
    made = predict(None, Panel.of(rows), START, (1,)).filter(pl.col("series") == "a")
    assert made["method"].unique().to_list() == ["group"]
    assert made.filter(pl.col("level") == 500)["value"].item() == 6.0


@given(st.integers(0, 4), st.integers(3, 12), st.integers(1, 20), st.integers(0, 10**6))
def test_borrowed_quantiles_rise_and_are_never_negative(known: int, members: int, horizon: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    root = np.sqrt(random.poisson(random.uniform(0, 9, (members, 1)), (members, 28)).astype(float))
    root[random.random(root.shape) < 0.2] = np.nan
    own = np.full((1, 28), np.nan)
    own[0, 28 - known :] = random.uniform(0, 5, known)
    found = borrow.Lender.of(root, 7).quantiles(own, horizon, LEVELS)
    assert np.isfinite(found).all()
    assert (found >= 0).all()
    assert (np.diff(found) >= 0).all()
