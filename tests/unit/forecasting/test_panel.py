"""Cleaning: what is mended, what is refused, and that it is all counted."""

from __future__ import annotations

import random
from datetime import date, timedelta

import numpy as np
import polars as pl
import pytest

from sharewell.domain.errors import Invalid
from sharewell_workers.forecasting import Panel
from sharewell_workers.forecasting.panel import describe
from sharewell_workers.forecasting.series import as_known_on

MONDAY = date(2024, 1, 1)


def frame(values: list[float | None], *, series: str = "a", step: int = 1, **more: object) -> pl.DataFrame:
    days = [MONDAY + timedelta(days=step * t) for t in range(len(values))]
    made = pl.DataFrame({"series": series, "day": days, "value": values}, schema_overrides={"value": pl.Float64})
    return made.with_columns(**{name: pl.lit(value) for name, value in more.items()})


def quality(panel: Panel, series: str = "a") -> dict[str, object]:
    return panel.quality.row(by_predicate=pl.col("series") == series, named=True)


def test_a_missing_column_is_named() -> None:
    with pytest.raises(Invalid, match="'day' is missing") as refusal:
        Panel.of(pl.DataFrame({"series": ["a"], "value": [1.0]}))
    assert refusal.value.field == "day"


def test_a_column_of_another_kind_is_refused_and_no_stack_reaches_the_user() -> None:
    with pytest.raises(Invalid, match="another kind"):
        Panel.of(pl.DataFrame({"series": ["a"], "day": ["someday"], "value": [1.0]}))


def test_an_unknown_mark_is_refused() -> None:
    with pytest.raises(Invalid, match="'guessed'"):
        Panel.of(frame([1.0], mark="guessed"))


def test_negative_and_endless_values_become_unknown_and_are_counted() -> None:
    panel = Panel.of(frame([1.0, -3.0, float("inf"), float("nan"), 2.0]))
    assert panel.frame["value"].to_list() == [1.0, None, None, None, 2.0]
    assert quality(panel)["refused"] == 3


def test_of_two_rows_for_one_day_the_later_one_holds_and_the_other_is_counted() -> None:
    panel = Panel.of(pl.concat([frame([1.0, 2.0]), frame([5.0])]))
    assert panel.frame["value"].to_list() == [5.0, 2.0]
    assert quality(panel)["duplicates"] == 1


def test_the_order_of_days_and_series_does_not_matter() -> None:
    rows = pl.concat([frame([1.0, 2.0, 3.0], series=s) for s in "cab"])
    order = list(range(rows.height))
    random.Random(5).shuffle(order)
    assert Panel.of(rows).digest() == Panel.of(rows[order]).digest()


def test_a_suppressed_count_is_taken_as_the_middle_of_one_to_three_not_as_zero() -> None:
    panel = Panel.of(frame([None, None], mark="suppressed"))
    assert panel.frame["value"].to_list() == [2.0, 2.0]
    assert quality(panel)["suppressed"] == 2
    assert panel.grid().firm.all()


def test_carried_forward_and_imputed_values_are_history_but_no_lesson() -> None:
    for mark in ("carried_forward", "imputed"):
        grid = Panel.of(frame([4.0, 4.0], mark=mark)).grid()
        assert np.array_equal(grid.value, [[4.0, 4.0]])
        assert not grid.firm.any()


def test_gaps_stay_unknown_on_the_calendar_and_are_counted() -> None:
    panel = Panel.of(frame([1.0, 2.0, 3.0, 4.0]).filter(pl.col("value") != 3.0))
    assert np.array_equal(panel.grid().value, [[1.0, 2.0, np.nan, 4.0]], equal_nan=True)
    assert quality(panel)["gaps"] == 1


def test_a_feed_that_stopped_is_counted_as_silent() -> None:
    panel = Panel.of(pl.concat([frame([1.0] * 10), frame([1.0] * 4, series="b")]))
    assert (quality(panel)["silent"], quality(panel, "b")["silent"]) == (0, 6)


def test_a_lone_spike_is_flagged_and_kept() -> None:
    panel = Panel.of(frame([10.0, 11.0, 10.0, 500.0, 10.0, 11.0, 10.0, 9.0]))
    assert quality(panel)["outliers"] == 1
    assert 500.0 in panel.frame["value"].to_list()


def test_weekly_series_are_recognised_and_stray_weekdays_moved_onto_theirs() -> None:
    stray = frame([9.0], series="b").with_columns(day=pl.lit(MONDAY + timedelta(days=5)))
    panel = Panel.of(pl.concat([frame([1.0, 2.0, 3.0], step=7), stray, frame([4.0, 4.0, 4.0], series="c", step=7)]))
    assert panel.step == 7
    assert panel.frame.filter(pl.col("series") == "b")["day"].to_list() == [MONDAY + timedelta(days=7)]
    assert quality(panel, "b")["moved"] == 1
    assert panel.grid().value.shape == (3, 3)


def test_a_step_other_than_a_day_or_a_week_is_refused() -> None:
    with pytest.raises(Invalid, match="daily"):
        Panel.of(frame([1.0]), step=30)


def test_an_all_null_series_and_a_series_of_one_value_do_not_trouble_the_others() -> None:
    panel = Panel.of(
        pl.concat([frame([None, None, None]), frame([1.0], series="b"), frame([1.0, 2.0, 3.0], series="c")])
    )
    grid = panel.grid()
    assert grid.names == ["a", "b", "c"]
    assert np.isnan(grid.value[0]).all()
    assert describe(panel)["observed"] == 4


def test_a_panel_cut_at_a_day_knows_nothing_later_but_keeps_every_series() -> None:
    panel = Panel.of(
        pl.concat([frame([1.0, 2.0, 3.0]), frame([7.0], series="b").with_columns(day=pl.lit(date(2024, 1, 3)))])
    )
    grid = panel.until(date(2024, 1, 2)).grid(date(2024, 1, 2))
    assert np.array_equal(grid.value, [[1.0, 2.0], [np.nan, np.nan]], equal_nan=True)


def test_vintages_show_the_table_as_it_was_on_a_day() -> None:
    vintages = pl.DataFrame(
        {
            "as_of": [date(2024, 1, 3), date(2024, 1, 3), date(2024, 1, 10)],
            "series": ["a", "a", "a"],
            "day": [date(2024, 1, 1), date(2024, 1, 2), date(2024, 1, 1)],
            "value": [5.0, 6.0, 8.0],
        }
    )
    assert as_known_on(vintages, date(2024, 1, 9)).sort("day")["value"].to_list() == [5.0, 6.0]
    assert as_known_on(vintages, date(2024, 1, 10)).sort("day")["value"].to_list() == [8.0, 6.0]
    assert as_known_on(vintages, date(2024, 1, 2)).is_empty()
    with pytest.raises(Invalid, match="as_of"):
        as_known_on(frame([1.0]), MONDAY)


def test_a_panel_without_any_row_is_possible_and_has_no_last_day() -> None:
    panel = Panel.of(frame([]))
    assert panel.quality.is_empty()
    with pytest.raises(Invalid, match="no rows"):
        _ = panel.last_day
