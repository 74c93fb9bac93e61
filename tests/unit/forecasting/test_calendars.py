"""Holidays: how far a day lies from them, whose they are, and when they are too few to learn from."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import date, timedelta

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sharewell.cli.worker import worker
from sharewell.domain.errors import Invalid
from sharewell.settings import SettingsError
from sharewell_workers.forecasting import FittedModel, Panel, Recipe, calendars, features, fit, predict

Wave = Callable[..., pl.DataFrame]


def counters(day: date, country: str = "DE") -> dict[str, float]:
    return {name: float(found[0]) for name, found in calendars.features([day], country).items()}


def lost(first: date, country: str = "US") -> float:
    return float(calendars.days_lost([first], 0, country)[0])


def test_days_are_counted_to_the_next_holiday_and_from_the_last() -> None:
    assert counters(date(2024, 12, 23)) == {"to_holiday": 2, "since_holiday": 10, "holidays_near": 2}
    assert counters(date(2024, 12, 25)) == {"to_holiday": 0, "since_holiday": 0, "holidays_near": 2}
    assert counters(date(2024, 12, 28)) == {"to_holiday": 4, "since_holiday": 2, "holidays_near": 2}


def test_a_week_loses_its_holidays_and_the_day_between_one_and_the_weekend() -> None:
    assert lost(date(2024, 11, 23)) == 2  # Thanksgiving and the Friday after it
    assert lost(date(2024, 11, 22)) == 1  # the week ends on the Thursday
    assert lost(date(2024, 11, 16)) == 0
    assert lost(date(2024, 3, 25), "DE") == lost(date(2024, 4, 1), "DE") == 1  # Good Friday and Easter Monday
    assert lost(date(2024, 12, 23), "DE") == 3  # the two days of Christmas, and the Friday


def test_a_week_loses_nothing_to_a_feast_at_a_weekend_or_one_on_which_most_people_work() -> None:
    assert lost(date(2022, 12, 25), "DE") == 1  # the second day is a Monday, the first a Sunday
    assert lost(date(2024, 10, 12)) == 0  # Columbus Day
    assert lost(date(2024, 11, 8)) == 0  # Veterans Day


def test_a_week_may_be_named_by_its_last_day() -> None:
    assert calendars.days_lost([date(2024, 11, 29)], -6, "US")[0] == lost(date(2024, 11, 23))


def test_a_holiday_far_off_is_told_as_just_far_off() -> None:
    assert counters(date(2024, 8, 1))["to_holiday"] == counters(date(2024, 8, 12))["to_holiday"] == 10


def test_countries_and_their_parts_keep_different_holidays() -> None:
    epiphany = date(2024, 1, 6)
    assert counters(epiphany, country="DE-BY")["to_holiday"] == 0
    assert counters(epiphany, country="DE")["to_holiday"] > 0
    assert counters(date(2024, 7, 4), country="US")["to_holiday"] == 0
    assert counters(date(2024, 7, 4), country="GB")["to_holiday"] > 0


@pytest.mark.parametrize("country", ["XX", "DE-ZZ", "Germany", ""])
def test_a_country_nothing_is_known_of_is_refused_by_name(country: str) -> None:
    with pytest.raises(Invalid, match="ISO 3166") as refusal:
        calendars.checked(country)
    assert refusal.value.field == "country"


def test_a_country_may_be_written_small() -> None:
    assert calendars.checked("de-by") == "DE-BY"


@pytest.mark.parametrize(
    ("region", "home"),
    [
        ("de-by", "DE-BY"), ("de-09", "DE-BY"), ("DE-16-erfurt", "DE-TH"), ("de", "DE"), ("de-99", "DE"),
        ("es-ct", "ES-CT"), ("us-nj", "US"), ("us-nj-newark", "US"), ("US", "US"),
        ("xx-1", ""), ("north", ""), ("", ""), ("de by", ""),
    ],
)  # fmt: skip
def test_a_region_keeps_the_holidays_that_its_name_begins_with(region: str, home: str) -> None:
    assert calendars.home(region) == home
    assert not home or calendars.checked(home) == home


def test_regions_tell_their_country_if_they_agree_and_each_its_own_if_not() -> None:
    assert calendars.country_of(["us-nj", "us-ny", "US"]) == "US"
    assert calendars.country_of(["de-by", "de-09"]) == "DE-BY"
    assert calendars.country_of(["us-nj", "de-05"]) == calendars.OWN
    assert calendars.country_of(["de-by", "north"]) == calendars.OWN
    assert calendars.country_of(["north", "south"]) is None
    assert calendars.country_of(["xx-1"]) is None
    assert calendars.country_of(["g1", "g2"]) is None
    assert calendars.country_of([]) is None


YEARS = (date(2023, 1, 1), date(2024, 12, 31))


def test_a_season_of_days_has_too_few_holidays_to_learn_from_and_two_years_have_enough() -> None:
    spring = (date(2024, 4, 4), date(2024, 5, 24))
    assert calendars.choice("DE", None, [], *spring, 1) == ""
    assert calendars.choice("DE", None, [], *spring, 7) == "DE"  # all feasts of weeks are one
    assert calendars.choice("DE", None, [], *YEARS, 1) == "DE"


def test_the_country_asked_for_goes_before_the_panels_own_and_none_may_be_asked_for() -> None:
    assert calendars.choice("US-NJ", "DE", [], *YEARS, 1) == "US-NJ"
    assert calendars.choice(None, "DE", [], *YEARS, 1) == "DE"
    assert calendars.choice("", "DE", [], *YEARS, 1) == ""
    assert calendars.choice(None, None, [], *YEARS, 1) == ""
    assert calendars.choice(None, calendars.OWN, ["", "DE-BY"], *YEARS, 1) == calendars.OWN
    assert calendars.choice(None, calendars.OWN, [""], *YEARS, 1) == ""


def test_a_panel_of_one_country_teaches_its_holidays_and_the_model_says_so(wave: Wave, small: Recipe) -> None:
    rows = wave(6, 400).with_columns(group=pl.lit("de-x") + pl.col("group").str.tail(1))
    recipe = replace(small, train_steps=400)
    assert fit(Panel.of(rows), (1,), recipe=replace(small, train_steps=60)).recipe.country == ""
    taught = fit(Panel.of(rows), (1,), recipe=recipe)
    assert taught.recipe.country == "DE"
    assert {"to_holiday", "since_holiday", "holidays_near"} < set(taught.features)
    untaught = fit(Panel.of(rows), (1,), recipe=replace(recipe, country=""))
    assert "to_holiday" not in untaught.features
    assert untaught.hash != taught.hash
    assert fit(Panel.of(rows, country="us-nj"), (1,), recipe=recipe).recipe.country == "US-NJ"


def test_series_keep_the_holidays_of_their_own_regions(wave: Wave, small: Recipe) -> None:
    part = pl.when(pl.col("group") == "g0").then(pl.lit("de-by")).otherwise(pl.lit("de-be"))
    rows = wave(6, 400).with_columns(group=part)
    panel = Panel.of(rows)
    assert panel.country == calendars.OWN
    recipe = replace(small, train_steps=400)
    taught = fit(panel, (1,), recipe=recipe)
    assert taught.recipe.country == calendars.OWN
    assert FittedModel.from_bytes(taught.to_bytes()).recipe.country == calendars.OWN
    grid = panel.grid()
    state = features.observe(grid, taught.recipe)
    codes, keeps = grid.homes(calendars.OWN)
    assert codes == ["DE-BE", "DE-BY"]
    days = [grid.day(column) for column in range(grid.value.shape[1])]
    for code, only in (("DE-BY", "DE-BE"), ("DE-BE", "DE-BY")):
        theirs = {day for day in days if counters(day, code)["to_holiday"] == 0 < counters(day, only)["to_holiday"]}
        assert theirs, "there is a holiday that only they keep"
        column = days.index(min(theirs))
        tasks = features.Tasks(np.arange(6), np.full(6, column - 1), np.ones(6, dtype=np.int64))
        told, names = features.rows(state, tasks)
        kept = told[:, names.index("to_holiday")] == 0
        assert list(kept) == [codes[place] == code for place in keeps]
    made = predict(taught, panel, panel.last_day, (1,))
    assert set(made["method"]) == {"model"}


def test_no_day_gets_no_counters() -> None:
    assert all(len(found) == 0 for found in calendars.features([], "DE").values())
    assert len(calendars.days_lost([], 0, "DE")) == 0


@given(
    day=st.dates(date(1990, 1, 1), date(2045, 12, 31)),
    more=st.integers(0, 400),
    country=st.sampled_from(["DE", "US", "GB", "PH"]),
)
def test_a_day_has_the_same_counters_in_whatever_company(day: date, more: int, country: str) -> None:
    alone = calendars.features([day], country)
    among = calendars.features([day - timedelta(days=more), day, day + timedelta(days=more)], country)
    for name, found in alone.items():
        assert found[0] == among[name][1]
        assert found[0] >= 0


def test_the_library_is_loaded_only_by_those_who_ask_for_a_country() -> None:
    told = "import sys, sharewell_workers.forecasting as f; assert 'holidays' not in sys.modules, 'loaded'"
    subprocess.run([sys.executable, "-c", told], check=True, timeout=300)


def test_a_worker_is_told_at_its_start_that_nothing_is_known_of_its_country(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHAREWELL_COUNTRY", "XX")
    with pytest.raises(SettingsError, match="SHAREWELL_COUNTRY: no holidays are known for 'XX'"):
        worker(jobs="forecast")
