"""Who speaks for a series, and that it says so: the model, a naive method, or the group."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, timedelta

import numpy as np
import polars as pl
import pytest

from sharewell.domain.errors import Invalid
from sharewell_workers.forecasting import FittedModel, Panel, Recipe, fit, predict
from sharewell_workers.forecasting.naive import Naive
from sharewell_workers.forecasting.predict import SCHEMA

Wave = Callable[..., pl.DataFrame]
START = date(2024, 1, 1)  # of the made-up series
AHEAD = (1, 2, 3)
LAST = START + timedelta(days=59)


def extra(series: str, days: range, value: float | None, group: str = "g0") -> pl.DataFrame:
    return pl.DataFrame(
        {"series": series, "group": group, "day": [START + timedelta(days=d) for d in days], "value": value},
        schema_overrides={"value": pl.Float64, "day": pl.Date},
    )


@pytest.fixture(scope="module")
def troubled(wave: Wave) -> Panel:
    """Good series beside a silent, a young, a stopped and a constant one."""
    return Panel.of(
        pl.concat(
            [
                wave(20, 60),
                extra("silent", range(60), None),
                extra("young", range(58, 60), 9.0),
                extra("stopped", range(30), 14.0),
                extra("zero", range(60), 0.0),
            ]
        )
    )


@pytest.fixture(scope="module")
def model(troubled: Panel, small: Recipe) -> FittedModel:
    return fit(troubled, AHEAD, recipe=small)


def row(made: pl.DataFrame, series: str) -> dict[str, object]:
    return made.filter((pl.col("series") == series) & (pl.col("horizon") == 1) & (pl.col("level") == 500)).row(
        0, named=True
    )


def test_every_series_gets_a_row_for_every_horizon_and_level(troubled: Panel, model: FittedModel) -> None:
    made = predict(model, troubled, LAST, AHEAD)
    assert dict(made.schema) == SCHEMA
    assert made.height == 24 * 3 * 7
    assert not made.select("series", "target", "level").is_duplicated().any()


def test_a_good_series_is_forecast_by_the_model(troubled: Panel, model: FittedModel) -> None:
    found = row(predict(model, troubled, LAST, AHEAD), "h001")
    assert (found["method"], found["fallback"], found["target"]) == ("model", None, LAST + timedelta(days=1))


@pytest.mark.parametrize(
    ("series", "reason"),
    [
        ("young", "history is too short: 2 of 5 values"),
        ("stopped", "no value since 2024-01-30"),
        ("silent", "no value has ever been reported; taken from its group"),
    ],
)
def test_a_series_the_model_cannot_speak_for_falls_back_and_says_why(
    troubled: Panel, model: FittedModel, series: str, reason: str
) -> None:
    found = row(predict(model, troubled, LAST, AHEAD), series)
    assert found["fallback"] == reason
    assert found["method"] != "model"


def test_a_silent_series_is_told_what_its_group_holds(troubled: Panel, model: FittedModel) -> None:
    found = row(predict(model, troubled, LAST, AHEAD), "silent")
    newest = (
        troubled.frame.filter((pl.col("group") == "g0") & pl.col("value").is_not_null())
        .group_by("series").agg(pl.col("value").sort_by("day").last())
    )  # fmt: skip
    assert found["method"] == "group"
    assert found["value"] == pytest.approx(newest["value"].median(), rel=0.35)


def test_a_band_widens_while_nothing_is_heard(troubled: Panel) -> None:
    def width(days_later: int) -> float:
        made = predict(None, troubled, START + timedelta(days=29 + days_later), (1,))
        found = made.filter((pl.col("series") == "stopped") & (pl.col("method") == "persistence"))
        values = dict(found.select("level", "value").iter_rows())
        return float(values[975] - values[25])

    assert width(2) < width(20)


def test_without_a_model_every_series_falls_back_for_the_reason_given(troubled: Panel) -> None:
    made = predict(None, troubled, LAST, AHEAD, reason="the newest training failed")
    assert "model" not in made["method"].to_list()
    assert set(made.filter(pl.col("series") != "silent")["fallback"].to_list()) == {"the newest training failed"}


def test_nothing_after_the_origin_is_looked_at(troubled: Panel, model: FittedModel) -> None:
    origin = START + timedelta(days=45)
    assert predict(model, troubled, origin, AHEAD).equals(predict(model, troubled.until(origin), origin, AHEAD))


def test_on_the_first_day_there_is_already_a_cautious_forecast(wave: Wave) -> None:
    made = predict(None, Panel.of(wave(20, 1), step=1), START, AHEAD)
    assert made.height == 20 * 3 * 7
    assert set(made["method"].to_list()) == {"persistence"}


def test_a_panel_in_which_nobody_ever_reported_gets_no_rows_rather_than_made_up_ones() -> None:
    made = predict(None, Panel.of(extra("silent", range(9), None)), START, AHEAD)
    assert made.is_empty()
    assert dict(made.schema) == SCHEMA


def test_an_empty_panel_gets_no_rows(wave: Wave) -> None:
    assert predict(None, Panel.of(wave(1, 1).clear()), START, AHEAD).is_empty()


@pytest.mark.parametrize(
    ("change", "field"),
    [({"horizons": (1, 9)}, "horizons"), ({"horizons": ()}, "horizons"), ({"levels": (250, 500, 750)}, "levels")],
)
def test_a_question_the_model_was_not_made_for_is_refused(
    troubled: Panel, model: FittedModel, change: dict[str, tuple[int, ...]], field: str
) -> None:
    with pytest.raises(Invalid) as refusal:
        predict(model, troubled, LAST, **({"horizons": AHEAD} | change))  # type: ignore[arg-type]
    assert refusal.value.field == field


def test_a_naive_method_can_be_asked_for_by_name_and_an_unknown_one_is_refused(panel: Panel) -> None:
    made = predict(None, panel, LAST, (1,), method="seasonal-naive")
    assert set(made["method"].to_list()) == {"seasonal-naive"}
    with pytest.raises(Invalid, match="one of seasonal-naive, persistence"):
        predict(None, panel, LAST, (1,), method="guess")


def test_a_daily_model_is_not_applied_to_weekly_series(model: FittedModel, wave: Wave) -> None:
    with pytest.raises(Invalid, match="steps"):
        predict(model, Panel.of(wave(3, 30, step=7)), LAST, AHEAD)


def test_the_seasonal_naive_median_is_the_value_of_the_same_weekday(panel: Panel) -> None:
    naive = Naive.of(panel.grid())
    week = panel.grid().value[:, -7:]
    for horizon in (1, 4, 7, 8):
        median = naive.quantiles("seasonal-naive", horizon, (250, 500, 750))[:, 1]
        np.testing.assert_allclose(median, week[:, (horizon - 1) % 7], atol=1e-9)


def test_the_persistent_median_is_the_last_value_and_its_band_grows_with_the_horizon(panel: Panel) -> None:
    naive = Naive.of(panel.grid())
    near, far = (naive.quantiles("persistence", h, (25, 500, 975)) for h in (1, 7))
    np.testing.assert_allclose(near[:, 1], panel.grid().value[:, -1], atol=1e-9)
    assert (far[:, 2] - far[:, 0]).mean() > (near[:, 2] - near[:, 0]).mean()


def test_a_weekly_rhythm_makes_the_season_the_better_guess_and_a_random_walk_the_last_value() -> None:
    days = [date(2024, 1, 1) + timedelta(days=d) for d in range(70)]
    rhythm = [10.0 if d.weekday() < 5 else 90.0 for d in days]
    walk = np.maximum(np.cumsum(np.random.default_rng(1).normal(0, 5, 70)) + 200, 0).tolist()
    for values, better in ((rhythm, "seasonal-naive"), (walk, "persistence")):
        panel = Panel.of(pl.DataFrame({"series": "a", "day": days, "value": values}))
        assert Naive.of(panel.grid()).better(3) == better
