"""Backtests: honest about what was known, fair between methods, and good enough on real hospitals."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sharewell.domain import forecast as domain
from sharewell.domain.errors import Invalid
from sharewell.domain.forecast import LEVELS
from sharewell_workers.forecasting import (
    BacktestReport,
    Panel,
    Recipe,
    TooLittleHistory,
    backtest,
    fit,
    predict,
    scores,
)

Wave = Callable[..., pl.DataFrame]
START = date(2024, 1, 1)  # of the made-up series
AHEAD = (1, 3)


@pytest.fixture(scope="module")
def report(panel: Panel, small: Recipe) -> BacktestReport:
    return backtest(panel, AHEAD, origins=4, recipe=small)


def test_a_backtest_scores_all_methods_on_the_same_tasks(report: BacktestReport) -> None:
    for horizon, tasks in ((0, 160), (1, 80), (3, 80)):
        assert {report.of(m, horizon).tasks for m in ("model", "seasonal-naive", "persistence")} == {tasks}


def test_a_backtest_by_hand_gives_the_same_score(panel: Panel, small: Recipe, report: BacktestReport) -> None:
    truth = {(s, d): v for s, d, v in panel.frame.select("series", "day", "value").iter_rows()}
    total, tasks = 0.0, 0
    for origin in report.origins:
        known = panel.until(origin)
        made = predict(fit(known, AHEAD, recipe=small), known, origin, AHEAD)
        for (series, target), rows in made.group_by("series", "target"):
            total += domain.wis(truth[series, target], rows.select("level", "value").iter_rows())
            tasks += 1
    assert report.of("model").wis == pytest.approx(total / tasks)


def test_outcomes_do_not_reach_the_forecasts_that_are_scored_on_them(panel: Panel, small: Recipe, wave: Wave) -> None:
    day = START + timedelta(days=50)
    spoilt = Panel.of(wave(20, 60).with_columns(value=pl.when(pl.col("day") > day).then(0.0).otherwise("value")))
    assert fit(spoilt, AHEAD, recipe=small, origin=day).boosters == fit(panel, AHEAD, recipe=small, origin=day).boosters


def test_carried_forward_values_are_not_scored(small: Recipe, wave: Wave) -> None:
    rows = wave(20, 60).with_columns(mark=pl.lit("reported"))
    held = rows.with_columns(mark=pl.when(pl.col("series") == "h000").then(pl.lit("carried_forward")).otherwise("mark"))
    assert backtest(Panel.of(held), AHEAD, origins=2, recipe=small).of("model").tasks == 2 * 2 * 19


def test_a_report_has_no_floats_so_that_it_can_be_an_audit_entry(report: BacktestReport) -> None:
    def leaves(value: object) -> list[object]:
        if isinstance(value, dict):
            return [leaf for v in value.values() for leaf in leaves(v)]
        return [leaf for v in value for leaf in leaves(v)] if isinstance(value, list) else [value]

    found = report.to_json()
    assert {type(leaf) for leaf in leaves(found)} == {str, int}
    assert found["relative_wis"]["persistence"] == f"{report.relative('persistence'):.4f}"


def test_origins_without_enough_history_are_named_not_scored(panel: Panel, small: Recipe) -> None:
    early, late = START + timedelta(days=2), START + timedelta(days=40)
    report = backtest(panel, AHEAD, origins=[early, late], recipe=small)
    assert (report.skipped, report.origins) == ((early,), (late,))


def test_a_panel_with_no_usable_origin_says_so(small: Recipe, wave: Wave) -> None:
    with pytest.raises(TooLittleHistory):
        backtest(Panel.of(wave(3, 8)), AHEAD, recipe=small)


def test_a_backtest_needs_the_levels_of_the_bands_it_reports(panel: Panel, small: Recipe) -> None:
    with pytest.raises(Invalid, match="95"):
        backtest(panel, AHEAD, recipe=dataclasses.replace(small, levels=(250, 500, 750)))


@given(
    st.lists(st.lists(st.floats(0, 1e4), min_size=7, max_size=7).map(sorted), min_size=1, max_size=6),
    st.floats(0, 1e4),
)
def test_scores_on_arrays_are_those_of_the_domain(values: list[list[float]], observed: float) -> None:
    came = np.full(len(values), observed)
    got = scores.wis(np.array(values), came, LEVELS)
    expected = [domain.wis(observed, zip(LEVELS, row, strict=True)) for row in values]
    np.testing.assert_allclose(got, expected, rtol=1e-9, atol=1e-9)
    held = scores.covered(np.array(values), came, LEVELS, 950)
    assert held.mean() == pytest.approx(domain.coverage([(observed, row[0], row[-1]) for row in values]))


def test_on_real_new_jersey_hospitals_the_model_beats_both_naive_methods_and_its_bands_hold(shared: Path) -> None:
    file = shared / "data/us_nj_hospitals/hospital_daily.parquet"
    if not file.is_file():
        pytest.skip(f"there is no {file}")
    rows = pl.read_parquet(file).select(series="hosp_id", day="date", value="ventilators_inuse")
    origins = [date(2020, 4, 25) + timedelta(days=5 * k) for k in range(5)]
    report = backtest(Panel.of(rows), range(1, 8), origins=origins)
    assert report.relative("seasonal-naive") < 0.75
    assert report.relative("persistence") < 0.95
    assert report.of("model").coverage[2] > 0.90


def vintages(rows: pl.DataFrame) -> pl.DataFrame:
    """Every value known on its own day at four fifths, and in full three days later."""
    first = rows.with_columns(pl.col("value") * 0.8, as_of=pl.col("day"))
    return pl.concat([first, rows.with_columns(as_of=pl.col("day") + pl.duration(days=3))])


def as_known(rows: pl.DataFrame) -> Callable[[date], Panel]:
    return lambda day: Panel.of(rows, known_on=day)


def test_values_that_were_never_restated_are_looked_back_on_as_they_are(
    wave: Callable[..., pl.DataFrame], small: Recipe
) -> None:
    rows = wave(20, 60).with_columns(as_of=pl.col("day"))
    now = Panel.of(rows)
    plain = backtest(now, (1, 2), origins=2, recipe=small)
    assert backtest(now, (1, 2), origins=2, recipe=small, known=as_known(rows)) == plain


def test_a_restatement_after_the_day_of_a_forecast_does_not_reach_it(
    wave: Callable[..., pl.DataFrame], small: Recipe
) -> None:
    rows = vintages(wave(20, 60))
    origin = date(2024, 2, 20)
    late = (pl.col("as_of") > origin) & (pl.col("day") <= origin)
    other = rows.with_columns(pl.when(late).then(pl.col("value") * 3).otherwise("value"))
    one, two = (
        backtest(Panel.of(r), (1,), origins=[origin], recipe=small, keep=True, known=as_known(r)) for r in (rows, other)
    )
    assert np.array_equal(one.answered[0].values["model"], two.answered[0].values["model"])
    assert np.array_equal(one.answered[0].observed, two.answered[0].observed)
    leaking = backtest(Panel.of(rows), (1,), origins=[origin], recipe=small, keep=True)
    assert not np.array_equal(leaking.answered[0].values["model"], one.answered[0].values["model"])


def test_a_day_on_which_nothing_was_known_yet_is_skipped(wave: Callable[..., pl.DataFrame], small: Recipe) -> None:
    rows = wave(20, 60).with_columns(as_of=pl.lit(date(2024, 2, 20)))
    report = backtest(
        Panel.of(rows), (1,), origins=[date(2024, 2, 10), date(2024, 2, 22)], recipe=small,
        known=as_known(rows),
    )  # fmt: skip
    assert (report.skipped, report.origins) == ((date(2024, 2, 10),), (date(2024, 2, 22),))
