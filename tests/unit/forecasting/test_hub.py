"""Forecasts in the public hubs' form: what they may know, what they are made of, and that they are worth something."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from sharewell.domain.errors import Invalid
from sharewell.domain.forecast import HUB_LEVELS
from sharewell_workers.forecasting import hub
from sharewell_workers.forecasting.hub import epidemics, history, lessons, reporting, season
from sharewell_workers.forecasting.hub.tables import Tables
from sharewell_workers.forecasting.hub.windows import seen

WEEK = timedelta(days=7)
START = date(2025, 8, 2)
WEEKS = 40
PLACES = ("01", "02", "04", "05", "06", "08", "09", "10", "11", "12")
REFERENCE = START + 24 * WEEK
FIRST_REPORT = 0.8  #: share of the final count that the first report holds
QUICK = replace(season.RECIPE, seeds=2, rounds=30)


@pytest.fixture(autouse=True)
def few_worlds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Invent less than the product does: it takes seconds."""
    monkeypatch.setattr(lessons, "WORLDS", 3)


@pytest.fixture(scope="module")
def truth() -> pl.DataFrame:
    """A season of an invented world the model does not learn from, and the sum of its places."""
    counts = epidemics.world(77, 0).admissions[: len(PLACES), 40 : 40 + WEEKS]
    rows = [*zip(PLACES, counts, strict=True), ("US", counts.sum(axis=0))]
    return pl.concat(
        pl.DataFrame(
            {"location": [place] * WEEKS, "target_end_date": [START + WEEK * t for t in range(WEEKS)], "value": line}
        )
        for place, line in rows
    )


@pytest.fixture(scope="module")
def vintages(truth: pl.DataFrame) -> pl.DataFrame:
    """Each week first reported short on the Wednesday after it, and in full a week later."""
    first = truth.with_columns(
        as_of=pl.col("target_end_date") + timedelta(days=4), value=(pl.col("value") * FIRST_REPORT).round()
    )
    return pl.concat([first, truth.with_columns(as_of=pl.col("target_end_date") + timedelta(days=11))])


def _hub(truth: pl.DataFrame, vintages: pl.DataFrame) -> hub.Hub:
    return replace(hub.read(truth, vintages), recipe=QUICK)


def test_each_place_and_horizon_has_23_quantiles_that_rise_and_are_not_negative(
    truth: pl.DataFrame, vintages: pl.DataFrame
) -> None:
    made = _hub(truth, vintages).forecasts(REFERENCE)
    assert made.columns == ["reference_date", "location", "horizon", "target_end_date", "quantile", "value"]
    assert set(made["location"]) == {*PLACES, "US"}
    assert set(made["horizon"]) == {0, 1, 2, 3}
    assert made.height == 11 * 4 * 23
    assert sorted({round(q * 1000) for q in made["quantile"]}) == sorted(HUB_LEVELS)
    steps = made.with_columns(step=pl.col("value").diff().over("location", "horizon"))
    assert steps["step"].min() >= 0  # type: ignore[operator]
    assert made["value"].min() >= 0  # type: ignore[operator]
    ends = made.select((pl.col("target_end_date") - pl.col("reference_date")).dt.total_days() - 7 * pl.col("horizon"))
    assert set(ends.to_series()) == {0}


def test_nothing_published_after_the_wednesday_can_change_a_forecast(
    truth: pl.DataFrame, vintages: pl.DataFrame
) -> None:
    later = pl.col("as_of") > REFERENCE - timedelta(days=3)
    changed = vintages.with_columns(value=pl.when(later).then(99_999.0).otherwise("value"))
    cut = vintages.filter(~later)
    asis, other, without = (_hub(truth, rows).forecasts(REFERENCE) for rows in (vintages, changed, cut))
    assert asis.equals(other)
    assert asis.equals(without)


def test_the_final_truth_is_not_looked_at(truth: pl.DataFrame, vintages: pl.DataFrame) -> None:
    lie = truth.with_columns(value=pl.lit(5.0))
    assert _hub(lie, vintages).forecasts(REFERENCE).equals(_hub(truth, vintages).forecasts(REFERENCE))


def test_the_same_tables_and_seed_give_the_same_forecasts_whatever_the_order_of_rows(
    truth: pl.DataFrame, vintages: pl.DataFrame
) -> None:
    once, again = _hub(truth, vintages).forecasts(REFERENCE), _hub(truth, vintages.reverse()).forecasts(REFERENCE)
    assert once.equals(again)
    assert not once.equals(_hub(truth, vintages).forecasts(REFERENCE, seed=1))


def test_forecasts_are_worth_more_than_the_last_value(truth: pl.DataFrame, vintages: pl.DataFrame) -> None:
    ready, made, naive = _hub(truth, vintages), [], []
    for reference in (START + WEEK * t for t in range(14, 34, 4)):
        made.append(ready.forecasts(reference))
        known = vintages.filter(pl.col("as_of") <= reference - timedelta(days=3)).sort("as_of", "target_end_date")
        last = known.group_by("location").agg(last=pl.col("value").last())
        spread = 1 + 0.35 * (pl.col("quantile") - 0.5) * 2
        naive.append(made[-1].join(last, on="location").with_columns(value=pl.col("last") * spread).drop("last"))
    found = hub.scores(pl.concat(made), truth, pl.concat(naive))
    assert found["tasks"] == 5 * len(PLACES) * 4
    assert found["relative_wis"] < 0.8


def test_a_table_that_a_holiday_delayed_is_waited_for_unless_forbidden(
    truth: pl.DataFrame, vintages: pl.DataFrame
) -> None:
    wednesday = REFERENCE - timedelta(days=3)
    delayed = vintages.with_columns(
        as_of=pl.when(pl.col("as_of") == wednesday).then(wednesday + timedelta(days=1)).otherwise("as_of")
    )
    ready = _hub(truth, delayed)
    assert ready.late(REFERENCE) == 0
    assert ready.late(REFERENCE, strict=True) == 1
    made = ready.forecasts(REFERENCE, strict=True)
    assert set(made["horizon"]) == {0, 1, 2, 3}
    without = _hub(truth, delayed.filter(pl.col("as_of") <= wednesday)).forecasts(REFERENCE)
    assert made.equals(without)


def test_first_reports_are_grown_by_what_became_of_earlier_ones(truth: pl.DataFrame, vintages: pl.DataFrame) -> None:
    tables = Tables.of(vintages)
    view = seen(tables, tables.on(REFERENCE - timedelta(days=3)))
    final = truth.filter(pl.col("target_end_date") == REFERENCE - WEEK).sort("location")["value"].to_numpy()
    brought = np.exp(view.feast[view.values.shape[1] - 1])  # values are told without what the feasts bring
    assert view.values[:, -1].sum() * brought == pytest.approx(final.sum(), rel=0.05)


def test_a_jump_of_everyone_that_no_wave_makes_is_taken_out_of_the_newest_week() -> None:
    windows = np.full((1, 4, 16), 100.0)
    windows[0, :, -1] = 400.0
    calm = reporting.odd_jump(windows, np.arange(4))
    assert 400 * calm[0] == pytest.approx(100, rel=0.2)
    windows[0, :, -1] = 150.0
    assert reporting.odd_jump(windows, np.arange(4))[0] == 1.0


def test_weeks_of_voluntary_reporting_are_neither_learnt_from_nor_looked_at(vintages: pl.DataFrame) -> None:
    back = timedelta(days=7 * 52)
    moved = vintages.with_columns(pl.col("target_end_date") - back, pl.col("as_of") - back)
    tables = Tables.of(moved)
    view = seen(tables, len(tables.published) - 1)
    voluntary = np.array([t < len(view.regime) and view.regime[t] < 0 for t in range(len(view.regime))])
    assert voluntary.sum() == 14  # the season begins on 3 August, reports are due again from November
    assert np.isnan(view.values[:, voluntary]).all()
    first = int(np.flatnonzero(~voluntary)[0])
    assert np.isnan(view.windows[first][:, :-1]).all()


def test_while_reports_are_voluntary_they_are_all_there_is_and_are_used(
    truth: pl.DataFrame, vintages: pl.DataFrame
) -> None:
    back = timedelta(weeks=76)  # the reference date then lies in summer 2024
    moved = vintages.with_columns(pl.col("target_end_date") - back, pl.col("as_of") - back)
    assert _hub(truth, moved).forecasts(REFERENCE - back).height == 11 * 4 * 23


@pytest.mark.parametrize("name", ["as_of", "location", "target_end_date", "value"])
def test_a_missing_column_is_named(truth: pl.DataFrame, vintages: pl.DataFrame, name: str) -> None:
    with pytest.raises(Invalid, match=f"'{name}' is missing"):
        hub.read(truth, vintages.drop(name))


def test_a_day_no_week_ends_on_and_a_day_before_all_tables_are_refused(
    truth: pl.DataFrame, vintages: pl.DataFrame
) -> None:
    ready = _hub(truth, vintages)
    with pytest.raises(Invalid, match="no Saturday"):
        ready.forecasts(REFERENCE + timedelta(days=1))
    with pytest.raises(Invalid, match="no table was published by"):
        ready.forecasts(START - 3 * WEEK)


def test_negative_counts_repeated_rows_and_nameless_places_do_not_stop_a_season(
    truth: pl.DataFrame, vintages: pl.DataFrame
) -> None:
    dirt = pl.DataFrame(
        {
            "location": ["01", None, "02"], "target_end_date": [START + 5 * WEEK] * 3, "value": [-4.0, 7.0, None],
            "as_of": [START + 6 * WEEK] * 3,
        },
        schema_overrides={"value": pl.Float64},
    )  # fmt: skip
    rows = pl.concat([vintages, vintages.head(50), dirt.select(vintages.columns)])
    made = _hub(truth, rows).forecasts(REFERENCE)
    assert made.height == 11 * 4 * 23


def test_a_place_that_has_fallen_silent_is_left_out_and_the_others_are_forecast(
    truth: pl.DataFrame, vintages: pl.DataFrame
) -> None:
    gone = (pl.col("location") == "05") & (pl.col("target_end_date") > REFERENCE - 7 * WEEK)
    made = _hub(truth, vintages.filter(~gone)).forecasts(REFERENCE)
    assert "05" not in set(made["location"])
    assert made.height == 10 * 4 * 23


def test_three_weeks_of_history_are_enough_to_forecast(truth: pl.DataFrame, vintages: pl.DataFrame) -> None:
    made = _hub(truth, vintages).forecasts(START + 3 * WEEK)
    assert made.height == 11 * 4 * 23


def test_scores_are_those_of_the_published_scorer(
    truth: pl.DataFrame, vintages: pl.DataFrame, shared: Path, tmp_path: Path
) -> None:
    ready = _hub(truth, vintages)
    made = pl.concat(ready.forecasts(REFERENCE + WEEK * t) for t in range(3))
    base = made.with_columns(value=pl.col("value") * 1.3)
    for name, frame in (("base", base), ("made", made)):
        frame.with_columns(model=pl.lit(name)).write_parquet(tmp_path / f"{name}.parquet")
    truth.write_parquet(tmp_path / "truth.parquet")
    files = [str(tmp_path / f"{name}.parquet") for name in ("truth", "base", "made")]
    told = subprocess.run(
        [sys.executable, str(shared / "data" / "score_wis.py"), *files],
        capture_output=True, text=True, check=True, env=os.environ | {"POLARS_MAX_THREADS": "1"},
    ).stdout.splitlines()[-1]  # fmt: skip
    found = hub.scores(made, truth, base)
    said = dict(part.split("=", 1) for part in told.split() if "=" in part and not part.endswith("="))
    assert float(said["relWIS"]) == pytest.approx(found["relative_wis"], abs=1e-4)
    assert float(said["rel_logWIS"]) == pytest.approx(found["relative_log_wis"], abs=1e-4)
    assert float(said["cov50"]) == pytest.approx(found["coverage_50"], abs=1e-3)
    assert float(said["cov95"]) == pytest.approx(found["coverage_95"], abs=1e-3)


def test_a_file_that_agrees_with_the_truth_is_its_history_and_another_is_another_signal(truth: pl.DataFrame) -> None:
    older = truth.with_columns(pl.col("target_end_date") - timedelta(weeks=60))
    twice = truth.with_columns(value=pl.col("value") * 2 + 9)
    network = truth.filter(pl.col("location").is_in(["01", "US"])).select(
        weekendingdate="target_end_date", jurisdiction=pl.col("location").replace({"01": "AL", "US": "USA"}),
        totalconfflunewadm="value", totalconfc19newadm=pl.col("value") * 3 + 20,
    )  # fmt: skip
    same, other = history.sorted_out(truth, [older, twice, network])
    assert [frame.height for frame in same] == [older.height, 2 * WEEKS]
    assert [frame.height for frame in other] == [twice.height, 2 * WEEKS]
    assert set(same[1]["location"]) == {"01", "US"}


def test_older_weeks_make_the_history_longer_and_other_signals_are_learnt_from_once_settled(
    truth: pl.DataFrame, vintages: pl.DataFrame
) -> None:
    older = truth.with_columns(pl.col("target_end_date") - timedelta(weeks=WEEKS))
    other = pl.concat([older, truth]).with_columns(value=pl.col("value") * 2 + 9)
    ready = replace(hub.read(truth, vintages, [older, other]), recipe=QUICK)
    assert ready.tables.start == START - WEEKS * WEEK
    made = ready.forecasts(REFERENCE)
    late = pl.col("target_end_date") > REFERENCE - lessons.SETTLED
    changed = other.with_columns(value=pl.when(late).then(77_777.0).otherwise("value"))
    again = replace(hub.read(truth, vintages, [older, changed]), recipe=QUICK).forecasts(REFERENCE)
    assert not made.equals(_hub(truth, vintages).forecasts(REFERENCE))
    assert made.equals(again)
