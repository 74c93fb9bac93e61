"""The feasts at the turn of the year: what they bring is learnt from past winters, taken out, and put back."""

from __future__ import annotations

from datetime import date, timedelta

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sharewell_workers.forecasting.hub import epidemics, feasts, windows
from sharewell_workers.forecasting.hub.sight import Sight, View
from sharewell_workers.forecasting.hub.tables import Tables

WEEK = timedelta(days=7)
START = date(2022, 8, 6)
PLACES = ("01", "02", "04", "05")


def waves(brought: float, years: int, *, crest: float = 24.0, sharp: float = 0.02) -> tuple[list[date], np.ndarray]:
    """Weeks, and admissions [L, T] of places with one smooth wave a year and `brought` (in logs) by the feasts."""
    weeks = [START + WEEK * t for t in range(52 * years)]
    season = np.arange(len(weeks)) % 52
    level = np.array([300.0, 500.0, 900.0, 2000.0])[:, None]
    return weeks, level * np.exp(-sharp * (season - crest) ** 2 / 2 + brought * feasts.share(weeks))


def test_a_week_holds_as_much_of_the_feasts_as_it_has_of_their_days() -> None:
    weeks = [date(2024, 12, 21), date(2024, 12, 28), date(2025, 1, 4), date(2025, 1, 11), date(2025, 1, 18)]
    assert feasts.share(weeks) == pytest.approx([0, 3 / 7, 1, 2 / 7, 0])
    assert len(feasts.share([])) == 0


@settings(deadline=None, max_examples=30)
@given(
    brought=st.floats(-0.1, 0.6), years=st.integers(1, 3), crest=st.floats(20, 30), sharp=st.floats(0.002, 0.03),
)  # fmt: skip
def test_what_feasts_bring_is_told_from_the_wave_and_believed_more_with_each_winter(
    brought: float, years: int, crest: float, sharp: float
) -> None:
    weeks, values = waves(brought, years, crest=crest, sharp=sharp)
    found = feasts.learn(values, weeks)
    share = years / (years + 1)  # one winter is worth what was expected beforehand
    assert found == pytest.approx(share * brought + (1 - share) * feasts.USUAL, abs=0.01)


def test_a_winter_that_is_not_over_or_in_which_nobody_fell_ill_tells_nothing() -> None:
    weeks, values = waves(0.5, 1)
    assert feasts.learn(values[:, :24], weeks[:24]) == feasts.USUAL
    assert feasts.learn(values / 1000, weeks) == feasts.USUAL
    assert feasts.learn(np.where(np.arange(52) == 22, np.nan, values), weeks) == feasts.USUAL


def seen(brought: float, until: int) -> View:
    """What can be seen of waves in tables that are published a few days after each week and never corrected."""
    weeks, values = waves(brought, 2)
    rows = pl.DataFrame(
        {
            "as_of": [week + timedelta(days=4) for week in weeks] * len(PLACES),
            "location": np.repeat(PLACES, len(weeks)),
            "target_end_date": weeks * len(PLACES),
            "value": values.ravel(),
        }
    )
    tables = Tables.of(rows)
    return windows.seen(tables, tables.on(weeks[until] + timedelta(days=4)))


def test_weeks_are_seen_as_if_there_had_been_no_feasts() -> None:
    second_new_year = 52 + 22
    plain, festive = seen(0.0, second_new_year), seen(0.4, second_new_year)
    known = ~np.isnan(plain.windows)
    raw = np.exp(0.4 * feasts.share(plain.weeks)).max()
    apart = np.abs(np.log(festive.windows[known] / plain.windows[known])).max()
    assert raw > 1.4
    assert apart < 0.25, "half of the feasts' 0.4 is believed after one winter, and so is half of what was expected"
    assert festive.feast.max() > plain.feast.max()


def test_what_feasts_bring_is_put_back_into_the_weeks_that_have_them() -> None:
    view = seen(0.4, 52 + 19)
    sight = Sight.of(view)
    newest = len(sight.base) - 1
    rows = sight.rows([1, 2, 3, 4], [newest])
    still = sight.counts(rows, np.zeros((len(rows.week), 1)))[:, 0].reshape(4, len(PLACES))
    assert still / view.windows[newest, :, -1] == pytest.approx(
        np.exp(view.feast[newest + 1 : newest + 5])[:, None] * np.ones(len(PLACES))
    )
    assert view.feast[newest + 1] == 0 < view.feast[newest + 2]


def test_invented_worlds_have_feasts_that_can_be_found() -> None:
    found = [
        feasts.learn(world.admissions[:-1], epidemics.calendar(epidemics.WEEKS))
        for world in (epidemics.world(3, number) for number in range(4))
    ]
    assert len(set(found)) == 4
    assert all(-0.1 < one < epidemics.MOST_FEAST for one in found)
