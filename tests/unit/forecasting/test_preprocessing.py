"""The stage between a feed and a model: units, intervals, vintages, movements, spikes, and the report of it all."""

from __future__ import annotations

from datetime import date, timedelta

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sharewell.domain.errors import Invalid
from sharewell_workers.forecasting import Panel, backtest, intervals, scores
from sharewell_workers.forecasting.recipe import Recipe

MONDAY = date(2024, 1, 1)


def frame(values: list[float | None], *, series: str = "a", step: int = 1, **more: object) -> pl.DataFrame:
    days = [MONDAY + timedelta(days=step * t) for t in range(len(values))]
    made = pl.DataFrame({"series": series, "day": days, "value": values}, schema_overrides={"value": pl.Float64})
    return made.with_columns(**{name: pl.lit(value) for name, value in more.items()})


def quality(panel: Panel, series: str = "a") -> dict[str, object]:
    return panel.quality.row(by_predicate=pl.col("series") == series, named=True)


# Units


def test_multiples_are_converted_and_the_report_tells_the_unit_they_came_in() -> None:
    panel = Panel.of(pl.concat([frame([2.0], unit="dozen"), frame([7.0], series="b", unit="count")]))
    assert panel.frame["value"].to_list() == [24.0, 7.0]
    assert (panel.unit, quality(panel)["unit"], quality(panel, "b")["unit"]) == ("count", "dozen", "count")


def test_a_rate_is_converted_by_the_size_of_its_series() -> None:
    panel = Panel.of(frame([2.5], unit="per_100k", size=4_000_000.0))
    assert panel.frame["value"].to_list() == [pytest.approx(100.0)]
    assert panel.unit == "count"


def test_values_are_told_in_the_unit_asked_for() -> None:
    assert Panel.of(frame([30.0], unit="count"), unit="dozen").frame["value"].to_list() == [2.5]


def test_a_unit_of_its_own_stays_what_it_is() -> None:
    assert Panel.of(frame([3.0], unit="{bed}")).unit == "{bed}"
    assert Panel.of(frame([3.0])).unit is None


@pytest.mark.parametrize(
    ("rows", "field", "advice"),
    [
        (pl.concat([frame([1.0], unit="L"), frame([1.0], unit="count")]), "unit", "'a' is told in L and count"),
        (pl.concat([frame([1.0], unit="L"), frame([1.0], series="b", unit="kg")]), "unit", "'a' is told in L and"),
        (frame([1.0], unit="percent"), "size", "needs the column size"),
    ],
)
def test_units_that_cannot_be_converted_are_refused_by_field(rows: pl.DataFrame, field: str, advice: str) -> None:
    with pytest.raises(Invalid, match=advice) as refusal:
        Panel.of(rows)
    assert refusal.value.field == field


def test_a_unit_asked_for_that_values_cannot_be_told_in_is_refused() -> None:
    with pytest.raises(Invalid, match="'count' cannot be told in 'L'"):
        Panel.of(frame([1.0], unit="count"), unit="L")


# Suppressed values


def test_a_suppressed_value_keeps_its_interval_all_the_way_to_the_grid() -> None:
    panel = Panel.of(pl.concat([frame([5.0]), frame([None], series="b", mark="suppressed")], how="diagonal"))
    grid = panel.grid()
    assert (grid.lower[:, 0].tolist(), grid.upper[:, 0].tolist()) == ([5.0, 1.0], [5.0, 3.0])
    assert grid.value[:, 0].tolist() == [5.0, 2.0]


def test_what_was_added_to_a_suppressed_value_moves_its_interval() -> None:
    """Two in bed, hidden and taken as the middle, and six who wait: from seven to nine, not from one to eight."""
    panel = Panel.of(frame([8.0, 2.0, 1.0, 0.0], mark="suppressed"))
    assert panel.frame.select("lower", "upper").rows() == [(7.0, 9.0), (1.0, 3.0), (1.0, 3.0), (0.0, 3.0)]


def test_bounds_that_the_source_sends_are_used_instead_of_one_to_three() -> None:
    panel = Panel.of(frame([None, 9.0], lower=1.0, upper=7.0))
    assert panel.frame.select("value", "lower", "upper").rows() == [(4.0, 1.0, 7.0), (9.0, 1.0, 9.0)]


def test_bounds_that_cross_are_refused_and_counted() -> None:
    panel = Panel.of(frame([None], lower=7.0, upper=1.0))
    assert panel.frame["value"].to_list() == [None]
    assert quality(panel)["refused"] == 1


def test_a_panel_without_hidden_values_carries_no_second_matrix() -> None:
    grid = Panel.of(frame([5.0, 6.0])).grid()
    assert grid.lower is grid.value
    assert grid.outcome is grid.value


def test_outcomes_in_an_interval_are_spread_over_it_when_misses_are_counted() -> None:
    grid = Panel.of(frame([None] * 6, mark="suppressed")).grid()
    assert grid.outcome.tolist() == [[1.0, 2.0, 3.0, 1.0, 2.0, 3.0]]


def test_a_quantile_inside_the_interval_of_the_outcome_is_no_miss_and_outside_it_misses_the_nearest_end() -> None:
    values, lower, upper = np.array([[0.0, 2.0, 5.0]]), np.array([1.0]), np.array([3.0])
    seen = intervals.nearest(values, lower, upper)
    assert seen.tolist() == [[1.0, 2.0, 3.0]]
    assert scores.wis(values, seen, (250, 500, 750))[0] == pytest.approx(2 * (0.25 * 1 + 0.25 * 2) / 3)


def test_a_band_is_credited_with_the_share_of_the_interval_it_holds() -> None:
    def share(low: float, high: float) -> float:
        values = np.array([[low, (low + high) / 2, high]])
        return float(scores.covered(values, (np.array([1.0]), np.array([3.0])), (250, 500, 750), 500)[0])

    assert share(0, 4) == 1
    assert share(0, 2.5) == pytest.approx(2 / 3)
    assert share(3, 9) == pytest.approx(1 / 3)
    assert share(4, 9) == share(0, 0.5) == share(1.2, 1.8) == 0


@given(low=st.floats(0, 20), width=st.floats(0, 20), first=st.integers(0, 20), count=st.integers(0, 5))
def test_the_share_held_is_the_mean_over_the_whole_numbers_of_the_interval(
    low: float, width: float, first: int, count: int
) -> None:
    held = [low - 1e-9 <= n <= low + width + 1e-9 for n in range(first, first + count + 1)]
    if count == 0:
        held = [low <= first <= low + width]
    ends = [np.array([float(x)]) for x in (low, low + width, first, first + count)]
    assert intervals.share_held(*ends)[0] == pytest.approx(sum(held) / len(held))


def test_a_backtest_over_hidden_values_does_not_call_the_middle_exact(small: Recipe) -> None:
    """All values hidden: every forecast of 1 to 3 is right, and none of its bands can be shown to be wrong or exact."""
    rows = pl.concat([frame([None] * 60, series=f"h{i}", mark="suppressed") for i in range(20)])
    report = backtest(Panel.of(rows), (1,), origins=3, recipe=small)
    assert report.of("persistence").wis < 0.2
    assert 0.3 < report.of("persistence").coverage[0] < 1


def test_a_grid_cut_at_a_column_is_the_grid_of_the_panel_cut_at_that_day() -> None:
    rows = [frame([4.0, None, 2.5, 6.0, 7.0], series="b"), frame([1.0, None, 3.0, None, 9.5], mark="suppressed")]
    panel = Panel.of(pl.concat(rows, how="diagonal"))
    for column in range(5):
        day = MONDAY + timedelta(days=column)
        cut, whole = panel.grid().until(column), panel.until(day).grid(day)
        assert (cut.end, cut.names) == (whole.end, whole.names)
        for name in ("value", "firm", "lower", "upper", "whole", "outcome"):
            np.testing.assert_array_equal(getattr(cut, name), getattr(whole, name))


# Vintages


def vintages(*told: tuple[int, int, float]) -> pl.DataFrame:
    """Rows of (day known, day, value), days counted from MONDAY."""
    known, day, value = zip(*told, strict=True)
    return pl.DataFrame(
        {
            "series": "a",
            "as_of": [MONDAY + timedelta(days=k) for k in known],
            "day": [MONDAY + timedelta(days=d) for d in day],
            "value": value,
        },
        schema_overrides={"value": pl.Float64},
    )


def test_a_restated_value_is_tagged_and_counted_and_is_no_duplicate() -> None:
    panel = Panel.of(vintages((2, 0, 5.0), (2, 1, 6.0), (9, 0, 8.0)))
    assert panel.frame.select("value", "restated").rows() == [(8.0, True), (6.0, False)]
    assert (quality(panel)["restated"], quality(panel)["duplicates"]) == (1, 0)


def test_a_value_that_comes_late_is_not_restated() -> None:
    late = pl.concat([vintages((2, 0, 5.0)).with_columns(value=pl.lit(None, pl.Float64)), vintages((3, 0, 5.0))])
    assert Panel.of(late).frame.select("value", "restated").rows() == [(5.0, False)]


def test_a_panel_may_be_asked_for_as_it_was_known_on_a_day() -> None:
    rows = vintages((2, 0, 5.0), (2, 1, 6.0), (9, 0, 8.0))
    before = Panel.of(rows, known_on=MONDAY + timedelta(days=8))
    assert before.frame.select("value", "restated").rows() == [(5.0, False), (6.0, False)]
    with pytest.raises(Invalid, match="as_of"):
        Panel.of(frame([1.0]), known_on=MONDAY)


@given(
    st.lists(st.tuples(st.integers(0, 9), st.integers(0, 4), st.integers(0, 3)), min_size=1, max_size=40),
    st.integers(0, 9),
)
def test_what_becomes_known_later_never_changes_the_view_of_a_day(told: list[tuple[int, int, int]], day: int) -> None:
    rows = vintages(*[(known, at, float(value)) for known, at, value in told])
    on = MONDAY + timedelta(days=day)
    view = Panel.of(rows, known_on=on, step=1)
    assert view.frame.equals(Panel.of(rows.filter(pl.col("as_of") <= on), known_on=on, step=1).frame)


# Movements between institutions


def moved(*told: tuple[str, str, int, float, int | None]) -> pl.DataFrame:
    """Movements (from, to, day, quantity, until), days counted from MONDAY."""
    made = pl.DataFrame(told, schema=["from", "to", "day", "quantity", "until"], orient="row")
    return made.with_columns(
        (pl.lit(MONDAY) + pl.duration(days=pl.col(n))).alias(n) if made[n].dtype != pl.Null
        else pl.lit(None, pl.Date).alias(n) for n in ("day", "until")
    )  # fmt: skip


def test_people_moved_count_where_they_came_from_until_their_stay_ends() -> None:
    """Three go from b to a on day 1 and their stay ends on day 3: a's census shows them, but they are b's demand."""
    census = pl.concat([frame([10.0, 13.0, 13.0, 10.0]), frame([8.0, 5.0, 5.0, 8.0], series="b")])
    panel = Panel.of(census, moved=moved(("b", "a", 1, 3.0, 3)))
    rows = {name: part.drop("series") for (name,), part in panel.frame.group_by("series")}
    assert rows["a"].select("value", "transferred").rows() == [(10, 0), (10, 3), (10, 3), (10, 0)]
    assert rows["b"].select("value", "transferred").rows() == [(8, 0), (8, -3), (8, -3), (8, 0)]
    assert quality(panel)["movements"] == quality(panel, "b")["movements"] == 2


def test_movements_add_up_with_those_the_rows_tell_already() -> None:
    rows = frame([10.0, 13.0, 15.0]).with_columns(transferred=pl.Series([0.0, 1.0, 1.0]))
    panel = Panel.of(rows, moved=moved(("b", "a", 1, 2.0, None), ("elsewhere", "a", 2, 2.0, None)))
    assert panel.frame.select("value", "transferred").rows() == [(10, 0), (10, 3), (10, 5)]


def test_demand_does_not_fall_below_zero_when_guests_outnumber_the_census() -> None:
    panel = Panel.of(frame([1.0]), moved=moved(("b", "a", 0, 3.0, None)))
    assert panel.frame["value"].to_list() == [0.0]
    assert panel.frame["transferred"].to_list() == [3.0]


def test_a_hidden_census_is_moved_with_its_bounds() -> None:
    panel = Panel.of(frame([None], mark="suppressed"), moved=moved(("a", "b", 0, 4.0, None)))
    assert panel.frame.select("value", "lower", "upper").rows() == [(6.0, 5.0, 7.0)]


@pytest.mark.parametrize(
    "wrong",
    [
        moved(("a", "b", 0, 1.0, None)).drop("quantity"),
        moved(("a", "b", 0, -1.0, None)),
        moved(("a", "b", 0, 1.0, None)).with_columns(day=pl.lit("someday")),
    ],
)
def test_movements_that_cannot_be_read_are_refused(wrong: pl.DataFrame) -> None:
    with pytest.raises(Invalid) as refusal:
        Panel.of(frame([1.0]), moved=wrong)
    assert refusal.value.field == "movements"


@given(
    st.lists(
        st.tuples(
            st.sampled_from("abcx"), st.sampled_from("abcx"), st.integers(-3, 12), st.integers(0, 9), st.integers(1, 9)
        ),
        max_size=12,
    )
)
def test_moving_people_about_never_changes_how_many_there_are(told: list[tuple[str, str, int, int, int]]) -> None:
    """Among sites that are all in the panel, demand adds up to census on every day."""
    ways = [(a, b, day, float(n), day + stay) for a, b, day, n, stay in told if "x" not in (a, b)]
    census = pl.concat([frame([100.0] * 10, series=s) for s in "abc"])
    panel = Panel.of(census, moved=moved(*ways) if ways else None)
    assert panel.frame.group_by("day").agg(pl.col("value").sum())["value"].to_list() == pytest.approx([300.0] * 10)
    assert panel.frame.select((pl.col("value") + pl.col("transferred") == 100).all()).item()


# Spikes and the report


def test_a_lone_spike_is_flagged_in_its_own_row_and_a_step_is_not() -> None:
    spike = Panel.of(frame([10.0, 11.0, 10.0, 500.0, 10.0, 11.0, 10.0, 9.0]))
    assert spike.frame.filter("outlier")["value"].to_list() == [500.0]
    step = Panel.of(frame([10.0, 11.0, 10.0, 11.0, 500.0, 501.0, 500.0, 501.0]))
    assert not step.frame["outlier"].any()


def test_the_report_tells_the_longest_silence_and_all_that_was_changed() -> None:
    rows = pl.concat(
        [
            frame([4.0, None, None, 4.0, None, 4.0], mark="reported"),
            frame([9.0], mark="carried_forward"),
            frame([-1.0], mark="reported").with_columns(day=pl.lit(None, pl.Date)),
        ]
    )
    told = quality(Panel.of(rows, step=1))
    assert told == {
        "series": "a", "unit": None, "first": MONDAY, "last": MONDAY + timedelta(days=5), "rows": 8, "observed": 3,
        "gaps": 3, "longest_gap": 2, "silent": 0, "refused": 1, "undated": 1, "duplicates": 1, "moved": 0,
        "outliers": 0, "suppressed": 0, "imputed": 0, "carried_forward": 1, "restated": 0, "movements": 0,
    }  # fmt: skip


@given(st.lists(st.one_of(st.none(), st.floats(-5, 600)), min_size=1, max_size=30))
def test_every_row_that_was_sent_is_accounted_for(values: list[float | None]) -> None:
    told = quality(Panel.of(frame(values), step=1))
    assert told["rows"] == len(values)
    assert told["observed"] == len(values) - sum(v is None or v < 0 for v in values)
    assert told["refused"] == sum(v is not None and v < 0 for v in values)
