"""Sums: they fit together, lie between what independence and lockstep would say, and hold what they claim."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, timedelta
from statistics import NormalDist

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from sharewell.domain.errors import Invalid
from sharewell.domain.forecast import LEVELS
from sharewell_workers.forecasting import Panel, Recipe, coherent, fit, predict
from sharewell_workers.forecasting.coherent import Ties

Floats = NDArray[np.float64]
Wave = Callable[..., pl.DataFrame]
NORMAL = np.array([NormalDist().inv_cdf(level / 1000) for level in LEVELS])
START = date(2024, 1, 1)
LAST = START + timedelta(days=59)


def shocks(random: np.random.Generator, group: NDArray[np.int64], tied: Ties, count: int) -> Floats:
    """Standard normal shocks [S, count], tied as said."""
    everyone = random.normal(size=(1, count))
    ours = random.normal(size=(int(group.max()) + 1, count))[group]
    own = random.normal(size=(len(group), count))
    shared = np.sqrt(tied.between) * everyone + np.sqrt(tied.within - tied.between) * ours
    return np.asarray(shared + np.sqrt(1 - tied.within) * own)


@pytest.mark.parametrize("truth", [Ties(0.0, 0.0), Ties(0.3, 0.1), Ties(0.6, 0.4), Ties(0.9, 0.9)])
def test_the_bands_of_sums_hold_what_they_claim_however_series_are_tied(truth: Ties) -> None:
    """Ties are learnt from sixty past misses, and two hundred outcomes are held against the bands."""
    random = np.random.default_rng(5)
    group = np.arange(60) % 4
    spread = np.exp(random.normal(0, 0.8, 60))
    middle = 10 * spread + 20
    held = np.zeros((200, 3))
    for turn in range(200):
        tied = coherent.ties(shocks(random, group, truth, 60), spread, group)
        made = coherent.scenarios(middle[:, None] + spread[:, None] * NORMAL, LEVELS, group, tied, seed=turn)
        bands = coherent.quantiles(coherent.total(made, group), LEVELS)
        came = middle + spread * shocks(random, group, truth, 1)[:, 0]
        seen = np.append(np.bincount(group, came), came.sum())
        held[turn] = [((bands[:, 3 - k] <= seen) & (seen <= bands[:, 3 + k])).mean() for k in (1, 2, 3)]
    assert held.mean(axis=0) == pytest.approx([0.5, 0.8, 0.95], abs=0.07)


def test_ties_are_found_again_in_past_misses_with_holes() -> None:
    random = np.random.default_rng(3)
    group, truth = np.arange(80) % 5, Ties(0.5, 0.2)
    miss = shocks(random, group, truth, 400) * random.uniform(0.1, 9, (80, 1))  # how large misses are does not matter
    miss[random.random(miss.shape) < 0.2] = np.nan
    found = coherent.ties(miss, np.ones(80), group)
    assert [found.within, found.between] == pytest.approx([0.5, 0.2], abs=0.06)


def test_where_nothing_can_be_learnt_some_dependence_is_assumed() -> None:
    nothing = np.full((3, 40), np.nan)
    assert coherent.ties(nothing, np.ones(3), np.zeros(3, dtype=int)) == Ties(*coherent.UNKNOWN)


@given(st.integers(1, 30), st.integers(1, 4), st.floats(0, 1), st.floats(0, 1), st.integers(0, 99))
def test_regions_add_up_to_the_whole_in_every_scenario_and_means_to_means(
    count: int, groups: int, one: float, other: float, seed: int
) -> None:
    random = np.random.default_rng(seed)
    group = np.unique(random.integers(0, groups, count), return_inverse=True)[1]
    told = np.sort(random.gamma(2, 5, (count, len(LEVELS))), axis=1)
    tied = Ties(max(one, other), min(one, other))
    made = coherent.scenarios(told, LEVELS, group, tied)
    sums = coherent.total(made, group)
    np.testing.assert_allclose(sums[:-1].sum(axis=0), sums[-1], rtol=1e-9)
    np.testing.assert_allclose(made.mean(axis=1).sum(), sums[-1].mean(), rtol=1e-9)
    found = coherent.quantiles(sums, LEVELS)
    assert (np.diff(found, axis=1) >= 0).all()
    assert (found >= 0).all()


@given(st.integers(0, 99), st.floats(0.05, 0.95))
def test_sums_are_wider_than_of_independent_series_and_no_wider_than_in_lockstep(seed: int, tie: float) -> None:
    random = np.random.default_rng(seed)
    told = 50 + random.uniform(1, 5, (40, 1)) * NORMAL
    group = np.zeros(40, dtype=np.int64)

    def width(tied: float) -> float:
        made = coherent.scenarios(told, LEVELS, group, Ties(tied, tied), seed=seed)
        found = coherent.quantiles(coherent.total(made, group), LEVELS)[-1]
        return float(found[-1] - found[0])

    lockstep = float((told[:, -1] - told[:, 0]).sum())
    assert 0.75 * width(0.0) < width(tie) <= 1.02 * lockstep
    assert width(1.0) == pytest.approx(lockstep, rel=0.03)
    assert width(0.0) < 0.35 * lockstep


def test_the_sum_of_one_series_is_that_series() -> None:
    told = np.array([[1.0, 2.0, 4.0, 8.0, 9.0, 15.0, 20.0]])
    made = coherent.scenarios(told, LEVELS, np.zeros(1, dtype=np.int64), Ties(0.3, 0.1))
    found = coherent.quantiles(coherent.total(made, np.zeros(1, dtype=np.int64)), LEVELS)
    np.testing.assert_allclose(found, np.vstack([told, told]), rtol=0.02)


# Through predict


def shared_wave(days: int = 150, count: int = 40) -> pl.DataFrame:
    """Hospitals in two regions whose beds rise and fall together by a random walk."""
    random = np.random.default_rng(11)
    walk = np.cumsum(random.normal(0, 0.04, (3, days)), axis=1)
    log = np.log(random.uniform(20, 90, count))[:, None] + walk[2] + 0.7 * walk[np.arange(count) % 2]
    came = random.poisson(np.exp(log))
    return pl.DataFrame(
        {
            "series": [f"h{i:02d}" for i in range(count) for _ in range(days)],
            "group": [f"us-{'nj' if i % 2 else 'ny'}" for i in range(count) for _ in range(days)],
            "day": [START + timedelta(days=t) for t in range(days)] * count,
            "value": came.ravel().astype(float),
        }
    )


def test_predict_returns_regions_and_everybody_and_their_bands_hold(small: Recipe) -> None:
    panel = Panel.of(shared_wave())
    model = fit(panel, (1, 3), recipe=small, origin=START + timedelta(days=100))
    of_all = panel.frame.group_by("day").agg(pl.col("value").sum())
    held, narrow = [], []
    for day in range(100, 146, 2):
        made = predict(model, panel, START + timedelta(days=day), (1, 3), sums=True)
        bands = made.filter(pl.col("series") == "all").join(of_all, left_on="target", right_on="day")
        wide = bands.pivot(on="level", index=["horizon", "value_right"], values="value")
        held += wide.select((pl.col("value_right").is_between(pl.col("100"), pl.col("900"))).alias("held"))[
            "held"
        ].to_list()
        alone = made.filter(~pl.col("series").is_in(["all", "region:us-nj", "region:us-ny"])).pivot(
            on="level", index=["series", "horizon"], values="value"
        )
        independent = np.sqrt(((alone["900"] - alone["100"]).to_numpy() ** 2).sum() / 2)
        narrow.append((wide["900"] - wide["100"]).to_numpy().mean() / independent)
    assert 0.6 < np.mean(held) < 0.97
    assert np.mean(narrow) > 1.5


def test_sums_have_rows_like_any_series_and_say_how_many_of_theirs_the_model_does_not_speak_for(
    wave: Wave, small: Recipe
) -> None:
    rows = pl.concat([wave(20, 60), pl.DataFrame({"series": "new", "group": "g0", "day": [LAST], "value": [9.0]})])
    panel = Panel.of(rows)
    model = fit(panel, (1, 2), recipe=small)
    made = predict(model, panel, LAST, (1, 2), sums=True)
    added = made.filter(pl.col("method") == "sum")
    assert added["series"].unique().sort().to_list() == ["all", "region:g0", "region:g1", "region:g2"]
    assert added.height == 4 * 2 * 7
    assert dict(added.select("series", "fallback").unique().iter_rows()) == {
        "all": "the model does not speak for 1 of 21 series",
        "region:g0": "the model does not speak for 1 of 8 series",
        "region:g1": None,
        "region:g2": None,
    }
    middle = made.filter((pl.col("level") == 500) & (pl.col("horizon") == 1) & (pl.col("method") != "sum"))[
        "value"
    ].sum()
    total = added.filter((pl.col("level") == 500) & (pl.col("horizon") == 1) & (pl.col("series") == "all"))[
        "value"
    ].item()
    assert total == pytest.approx(middle, rel=0.05)


def test_sums_are_the_same_every_time_and_leave_the_other_rows_alone(panel: Panel, small: Recipe) -> None:
    model = fit(panel, (1, 2), recipe=small)
    made = predict(model, panel, LAST, (1, 2), sums=True)
    assert made.equals(predict(model, panel, LAST, (1, 2), sums=True))
    assert made.filter(pl.col("method") != "sum").equals(predict(model, panel, LAST, (1, 2)))


def test_sums_need_no_model(panel: Panel) -> None:
    made = predict(None, panel, LAST, (1, 7), sums=True)
    assert made.filter(pl.col("series") == "all").height == 2 * 7


def test_a_series_with_the_name_of_a_sum_is_refused_when_sums_are_asked_for(wave: Wave) -> None:
    rows = wave(3, 20).with_columns(series=pl.col("series").replace("h000", "all"))
    with pytest.raises(Invalid, match="name of a sum"):
        predict(None, Panel.of(rows), LAST, (1,), sums=True)
