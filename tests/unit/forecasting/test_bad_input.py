"""Whatever a feed sends: a clear refusal that names the field, or a marked fallback; never a crash of the whole run."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from datetime import date, datetime, timedelta

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sharewell.domain.errors import Invalid
from sharewell_workers.forecasting import Panel, Recipe, TooLittleHistory, fit, predict

Wave = Callable[..., pl.DataFrame]
START = date(2024, 1, 1)
DAYS = 60
LAST = START + timedelta(days=DAYS - 1)
AHEAD = (1, 3)


def extra(series: str | None, days: range, value: float | None, group: str | None = "g0") -> pl.DataFrame:
    return pl.DataFrame(
        {"series": series, "group": group, "day": [START + timedelta(days=d) for d in days], "value": value},
        schema={"series": pl.String, "group": pl.String, "day": pl.Date, "value": pl.Float64},
    )


class Run:
    """One run over twenty good hospitals and something bad: cleaned, trained, forecast."""

    def __init__(self, rows: pl.DataFrame, recipe: Recipe, **more: object) -> None:
        self.panel = Panel.of(rows, **more)  # type: ignore[arg-type]
        self.model = fit(self.panel, AHEAD, recipe=recipe)
        self.made = predict(self.model, self.panel, self.panel.last_day, AHEAD, sums=True)
        assert np.isfinite(self.made["value"].to_numpy()).all()
        assert (self.made["value"] >= 0).all()

    def quality(self, series: str) -> dict[str, object]:
        return self.panel.quality.row(by_predicate=pl.col("series") == series, named=True)

    def told(self, series: str) -> tuple[str, str | None]:
        """Who forecasts the series, and why not the model."""
        found = self.made.filter(pl.col("series") == series).select("method", "fallback").unique().rows()
        assert len(found) == 1
        return found[0]

    def good(self) -> bool:
        """Whether all good hospitals are still told by the model."""
        ours = self.made.filter(pl.col("series").str.starts_with("h"))
        return set(ours["method"]) == {"model"} and ours["series"].n_unique() == 20


@pytest.fixture(scope="module", name="run")
def make_run(wave: Wave, small: Recipe) -> Callable[..., Run]:
    """A maker of runs: run(bad rows) over them and twenty good hospitals."""
    return lambda bad, **more: Run(pl.concat([wave(20, DAYS), bad], how="diagonal"), small, **more)


def test_a_series_of_a_group_nobody_knows_is_forecast_by_the_model_like_any(run: Callable[..., Run]) -> None:
    done = run(extra("stranger", range(DAYS), 7.0, "nowhere"))
    assert done.good()
    assert done.told("stranger") == ("model", None)
    assert "region:nowhere" in done.made["series"].to_list()


def test_a_model_speaks_for_series_and_groups_it_was_not_trained_on(run: Callable[..., Run], wave: Wave) -> None:
    done = run(extra("new", range(0), None))
    other = wave(5, DAYS, seed=9).select(
        (pl.lit("x") + pl.col("series")).alias("series"), pl.lit("elsewhere").alias("group"), "day", "value"
    )
    made = predict(done.model, Panel.of(other), LAST, AHEAD)
    assert made["series"].n_unique() == 5
    assert set(made["method"]) == {"model"}


def test_a_silent_series_without_a_group_is_told_by_everybody(run: Callable[..., Run]) -> None:
    done = run(extra("lost", range(DAYS), None, None))
    assert done.good()
    assert done.told("lost") == ("group", "no value has ever been reported; taken from its group")


def test_rows_without_a_series_are_left_out_and_counted(run: Callable[..., Run]) -> None:
    done = run(extra(None, range(5), 3.0))
    assert done.good()
    assert done.panel.unnamed == 5


def test_duplicated_rows_change_nothing_and_are_counted(run: Callable[..., Run], wave: Wave) -> None:
    once, twice = run(extra("x", range(0), None)), run(wave(20, DAYS))
    assert twice.made.equals(once.made)
    assert twice.panel.quality["duplicates"].sum() == 20 * DAYS


def test_dates_out_of_order_change_nothing(wave: Wave, small: Recipe) -> None:
    rows = wave(20, DAYS)
    order = list(range(rows.height))
    random.Random(3).shuffle(order)
    assert Run(rows[order], small).made.equals(Run(rows, small).made)
    assert Run(rows[order], small).model.hash == Run(rows, small).model.hash


def test_a_date_that_cannot_be_is_counted_and_does_not_move_the_newest_day(run: Callable[..., Run]) -> None:
    for wrong in (date(1, 1, 1), date(9999, 12, 31), date(2202, 3, 1), date(2031, 1, 1), None):
        bad = extra("typo", range(DAYS), 5.0)
        stray = bad.head(1).with_columns(day=pl.lit(wrong, pl.Date))
        done = run(pl.concat([bad, stray]))
        assert done.good()
        assert done.panel.last_day == LAST
        assert done.quality("typo")["undated"] == 1


def test_a_row_from_very_long_ago_does_not_fill_the_memory(run: Callable[..., Run]) -> None:
    done = run(extra("old", range(-40_000, -39_999), 5.0))
    assert done.good()
    assert done.panel.grid().value.shape[1] <= 3660


def test_negative_counts_become_unknown_and_are_counted(run: Callable[..., Run]) -> None:
    done = run(extra("negative", range(DAYS), -4.0))
    assert done.good()
    assert done.quality("negative")["refused"] == DAYS
    assert done.told("negative")[0] == "group"


def test_counts_beyond_all_measure_become_unknown_and_are_counted(run: Callable[..., Run]) -> None:
    for wrong in (1e300, math.inf, math.nan):
        done = run(extra("vast", range(DAYS), wrong))
        assert done.good()
        assert done.quality("vast")["refused"] == DAYS


def test_endless_movements_make_a_value_unknown_and_are_counted(run: Callable[..., Run]) -> None:
    for wrong in (math.inf, -math.inf, math.nan):
        done = run(extra("moved", range(DAYS), 5.0).with_columns(transferred=pl.lit(wrong)))
        assert done.good()
        assert done.quality("moved")["refused"] == DAYS
        assert done.told("moved")[0] == "group"


@pytest.mark.parametrize("name", ["series", "day", "value"])
def test_a_missing_column_is_refused_by_name(wave: Wave, name: str) -> None:
    with pytest.raises(Invalid, match=f"column '{name}' is missing") as refusal:
        Panel.of(wave(2, 5).drop(name))
    assert refusal.value.field == name


@pytest.mark.parametrize(
    ("name", "wrong"),
    [("value", "many"), ("day", "someday"), ("day", 20240101), ("value", datetime(2024, 1, 1)), ("size", "big")],  # noqa: DTZ001
)
def test_a_column_of_another_kind_is_refused_by_name(wave: Wave, name: str, wrong: object) -> None:
    with pytest.raises(Invalid, match=f"column '{name}' has values of another kind") as refusal:
        Panel.of(wave(2, 5).with_columns(pl.lit(wrong).alias(name)))
    assert refusal.value.field == name


def test_an_all_null_series_is_told_by_its_group_and_says_so(run: Callable[..., Run]) -> None:
    done = run(extra("null", range(DAYS), None))
    assert done.good()
    assert done.told("null") == ("group", "no value has ever been reported; taken from its group")


def test_a_one_week_series_borrows_from_its_group_until_it_has_five_values(run: Callable[..., Run]) -> None:
    done = run(pl.concat([extra("week", range(DAYS - 7, DAYS), 12.0), extra("days", range(DAYS - 3, DAYS), 12.0)]))
    assert done.good()
    assert done.told("week") == ("model", None)
    assert done.told("days") == ("group", "history is too short: 3 of 5 values")


def test_a_feed_that_stops_falls_back_to_its_last_value_and_says_since_when(run: Callable[..., Run]) -> None:
    done = run(extra("stopped", range(30), 14.0))
    assert done.good()
    method, why = done.told("stopped")
    assert (method, why) == ("persistence", "no value since 2024-01-30")
    assert done.quality("stopped")["silent"] == 30


def test_when_every_feed_stops_everybody_falls_back(wave: Wave, small: Recipe) -> None:
    panel = Panel.of(wave(20, DAYS))
    model = fit(panel, AHEAD, recipe=small)
    made = predict(model, panel, LAST + timedelta(days=20), AHEAD)
    assert "model" not in made["method"].to_list()
    assert made["series"].n_unique() == 20


def test_a_region_that_has_just_begun_to_report_is_told_that_it_is_too_early(wave: Wave, small: Recipe) -> None:
    with pytest.raises(TooLittleHistory, match="rows to learn from"):
        fit(Panel.of(wave(3, 6)), AHEAD, recipe=small)


def test_nothing_at_all_is_too_little_and_no_crash(wave: Wave, small: Recipe) -> None:
    empty = Panel.of(wave(1, 1).clear())
    with pytest.raises((Invalid, TooLittleHistory)):
        fit(empty, AHEAD, recipe=small)
    assert predict(fit(Panel.of(wave(20, DAYS)), AHEAD, recipe=small), empty, LAST, AHEAD, sums=True).is_empty()


NAMES = st.sampled_from(["h000", "h001", "x", "", "Ω", None])
DATES = st.one_of(
    st.none(),
    st.dates(START - timedelta(days=20), LAST + timedelta(days=20)),
    st.sampled_from([date(1, 1, 1), date(1899, 1, 1), date(2099, 1, 1), date(9999, 12, 31)]),
)
NUMBERS = st.one_of(
    st.none(),
    st.integers(0, 9).map(float),
    st.floats(),
    st.sampled_from([-1.0, 1e9, 1e300, math.inf, math.nan, 1e-300]),
)
COLUMNS = {
    "series": (pl.String, NAMES),
    "day": (pl.Date, DATES),
    "value": (pl.Float64, NUMBERS),
    "group": (pl.String, st.sampled_from(["g0", "us-nj", "us-ny", "", None])),
    "mark": (pl.String, st.sampled_from([None, "reported", "suppressed", "imputed", "carried_forward", "reported"])),
    "size": (pl.Float64, NUMBERS),
    "lower": (pl.Float64, NUMBERS),
    "upper": (pl.Float64, NUMBERS),
    "unit": (pl.String, st.sampled_from([None, None, "count", "dozen", "{bed}", "percent"])),
    "transferred": (pl.Float64, NUMBERS),
    "as_of": (pl.Date, DATES),
}


@st.composite
def dirt(draw: st.DrawFn) -> pl.DataFrame:
    """Rows no feed should send: any of the columns, in any order, with anything in them."""
    height = draw(st.integers(0, 30))
    some = draw(st.lists(st.sampled_from(sorted(set(COLUMNS) - {"series", "day", "value"})), unique=True))
    chosen = draw(st.permutations(["series", "day", "value", *some]))
    return pl.DataFrame(
        {n: draw(st.lists(COLUMNS[n][1], min_size=height, max_size=height)) for n in chosen},
        schema={n: COLUMNS[n][0] for n in chosen},
    )


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
)
@given(bad=dirt(), among=st.booleans(), step=st.sampled_from([None, 1, 7]))
def test_no_dirt_brings_a_run_down(wave: Wave, small: Recipe, bad: pl.DataFrame, among: bool, step: int | None) -> None:
    rows = pl.concat([wave(6, 40), bad], how="diagonal") if among else bad
    try:
        panel = Panel.of(rows, step=step)
        model = fit(panel, AHEAD, recipe=small) if among else None
        made = predict(model, panel, panel.last_day, AHEAD, sums=True)
    except (Invalid, TooLittleHistory):
        return
    assert np.isfinite(made["value"].to_numpy()).all()
    assert (made["value"] >= 0).all()
    wide = made.pivot(on="level", index=["series", "horizon"], values="value").drop("series", "horizon").to_numpy()
    assert (np.diff(wide) >= 0).all()
    dated = rows.drop_nulls("series").height
    assert panel.quality["rows"].sum() in {0, dated} or "as_of" in rows.columns
