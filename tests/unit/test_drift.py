"""The running check of forecasts: few false alarms by proof and by trial, soon an alarm where something has changed."""

from __future__ import annotations

import math
import random
from datetime import UTC, date, datetime, timedelta
from statistics import NormalDist, median
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sharewell.domain.drift import (
    ALARM,
    HELD_OF_WINDOW,
    LIFE,
    START,
    TOLERANCE,
    WINDOW,
    Outcome,
    Watch,
    WatchState,
    bet,
    judge,
    judgeable,
    place,
)
from sharewell.domain.forecast import LEVELS

DAY = date(2026, 1, 1)
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
NORMAL = NormalDist(100_000, 10_000)
BELL = tuple((level, round(NORMAL.inv_cdf(level / 1000))) for level in LEVELS)
YEAR = 365

ranks = st.floats(0, 1)
capitals = st.lists(st.floats(0, 1000), min_size=len(START), max_size=len(START)).map(tuple)


def watch(number: int = 1) -> Watch:
    return Watch(institution=UUID(int=number), resource="bed.adult", last_target=DAY, known_at=NOON)


def outcome(
    observed: float, after: int = 1, *, model: str = "m", quantiles: tuple[tuple[int, int], ...] = BELL
) -> Outcome:
    """What came `after` days, forecast the evening before."""
    at = NOON + timedelta(days=after)
    return Outcome(
        target=DAY + timedelta(days=after), observed=observed, quantiles=quantiles, model=model,
        forecast_at=at - timedelta(hours=12), known_at=at,
    )  # fmt: skip


def lived(number: int, days: int, *, shift: float = 0.0, spread: float = 1.0, since: int = 0) -> int | None:
    """The day on which a series first drifts: outcomes follow the forecast until `since`, and are off after it."""
    drawn = random.Random(number)
    one = watch(number)
    for day in range(1, days + 1):
        surprise = drawn.gauss(0, 1)
        if day > since:
            surprise = surprise * spread + shift
        one = judge(one, outcome(NORMAL.mean + NORMAL.stdev * surprise, day))
        if one.state is WatchState.DRIFTING:
            return day
    return None


@given(capitals, st.integers(2, 400))
def test_a_bet_on_a_calibrated_forecast_gains_nothing_on_average(capital: tuple[float, ...], cells: int) -> None:
    """The martingale property, up to the width of the cells: no more than is there, whatever is bet on what."""
    mean = sum(sum(bet(capital, (cell + 0.5) / cells)) for cell in range(cells)) / cells
    assert mean <= sum(capital) * (1 + 1e-9)


@given(capitals, ranks)
def test_capital_is_never_negative_and_never_lost_whole(capital: tuple[float, ...], rank: float) -> None:
    after = bet(capital, rank)
    assert all(one >= 0 and math.isfinite(one) for one in after)
    assert sum(after) >= capital[0] * 0.99


@pytest.mark.parametrize("more", [1.0, TOLERANCE])
def test_surprises_up_to_the_tolerance_gain_nothing_either(more: float) -> None:
    """Each tail `more` times as frequent as promised: the expected gain of any bet is still none."""
    cells = 20_000
    for account in range(1, len(START)):
        capital = tuple(1.0 if n == account else 0.0 for n in range(len(START)))
        paid = []
        for cell in range(cells):
            tail = (cell + 0.5) / cells / more  # of all tails as small as this, `more` times as many come
            rank = {1: 1 - tail, 2: tail, 3: tail / 2}[account]
            paid.append(sum(bet(capital, rank)))
        assert sum(paid) / cells <= 1 + 1e-3


def test_under_calibrated_forecasts_fewer_than_one_series_in_a_hundred_ever_drifts_in_a_year() -> None:
    alarms = [lived(number, YEAR) for number in range(500)]
    assert sum(day is not None for day in alarms) <= 500 / ALARM


@pytest.mark.parametrize(("change", "days"), [({"shift": 1.0}, 60), ({"shift": -1.0}, 60), ({"spread": 2.0}, 70)])
def test_a_change_by_a_standard_deviation_is_noticed_in_weeks_even_after_a_good_half_year(
    change: dict[str, float], days: int
) -> None:
    since = YEAR // 2
    found = [lived(number, since + 200, since=since, **change) for number in range(120)]
    noticed = [day - since for day in found if day is not None and day > since]
    assert len(noticed) >= 115
    assert median(noticed) <= days


def test_forecasts_that_are_too_careful_never_drift() -> None:
    assert all(lived(number, YEAR, spread=0.3) is None for number in range(100))


def test_a_series_that_drifted_is_back_once_its_bands_hold_again() -> None:
    one, day = watch(), 0
    while one.state is WatchState.HOLDING:
        day += 1
        one = judge(one, outcome(170_000, day))
    assert one.since == DAY + timedelta(days=day)
    assert one.capital == START
    for more in range(1, WINDOW + 1):
        assert one.state is WatchState.DRIFTING
        one = judge(one, outcome(100_000 if more > WINDOW - HELD_OF_WINDOW else 118_000, day + more))
    assert (one.state, one.since, one.capital) == (WatchState.HOLDING, None, START)
    assert one.missed == day + WINDOW - HELD_OF_WINDOW


def test_a_newer_model_is_given_a_window_of_its_own_to_recover_in() -> None:
    one, day = watch(), 0
    while one.state is WatchState.HOLDING:
        day += 1
        one = judge(one, outcome(170_000, day))
    for more in range(1, WINDOW):
        one = judge(one, outcome(100_000, day + more))
    one = judge(one, outcome(100_000, day + WINDOW, model="newer"))
    assert (one.state, one.recent) == (WatchState.DRIFTING, "1")


def test_after_a_year_in_which_nothing_was_won_the_capital_is_one_again() -> None:
    one = watch()
    for day in range(1, LIFE):
        one = judge(one, outcome(100_000, day))
    assert one.evidence < 1
    one = judge(one, outcome(100_000, LIFE))
    assert (one.capital, one.life) == (START, 0)


def test_only_outcomes_that_were_forecast_blind_are_judged() -> None:
    after_one = judge(watch(), outcome(100_000, 1))
    assert judgeable(None, outcome(1, 1))
    assert judgeable(after_one, outcome(1, 2))
    assert not judgeable(after_one, outcome(99, 1)), "the same day, corrected"
    early = outcome(1, 2)
    hindsight = Outcome(
        target=early.target, observed=1, quantiles=BELL, model="m", forecast_at=early.known_at, known_at=early.known_at
    )
    assert not judgeable(after_one, hindsight)
    made_before_the_last = Outcome(
        target=early.target, observed=1, quantiles=BELL, model="m", forecast_at=NOON, known_at=early.known_at
    )
    assert not judgeable(after_one, made_before_the_last), "it would be surprised by the same thing twice"


@given(st.integers(0, 40), st.floats(0, 1, exclude_min=True, exclude_max=True))
def test_an_outcome_is_placed_between_the_levels_it_fell_between(count: int, share: float) -> None:
    small = ((25, 0), (100, 0), (250, 1000), (500, 1000), (750, 2000), (900, 4000), (975, 6000))
    rank = place(outcome(count * 1000, quantiles=small), share)
    below = [level / 1000 for level, value in small if value < count * 1000]
    above = [level / 1000 for level, value in small if value > count * 1000]
    assert max(below, default=0) <= rank <= min(above, default=1)


@pytest.mark.parametrize("chance", [0.0, 0.05, 0.3, 0.5, 0.8, 0.97, 1.0])
def test_counts_that_meet_their_quantiles_exactly_gain_nothing(chance: float) -> None:
    """A quantity that is 1 with this chance and else 0, forecast as just that: several levels share each value."""
    coin = tuple((level, 1000 if level / 1000 > 1 - chance else 0) for level in LEVELS)
    drawn = random.Random(1)
    capital = (1.0, 1.0, 1.0, 1.0)
    paid = [
        sum(bet(capital, place(outcome(1000 * (drawn.random() < chance), quantiles=coin), drawn.random())))
        for _ in range(4000)
    ]
    assert sum(paid) / len(paid) <= sum(capital)


def test_the_adaptive_level_follows_the_misses() -> None:
    calm, wild = watch(), watch()
    for day in range(1, 50):
        calm, wild = judge(calm, outcome(100_000, day)), judge(wild, outcome(140_000, day))
    assert wild.level < 0.2 < calm.level
    assert (calm.missed, wild.missed) == (0, 49)


def test_the_same_outcome_is_judged_the_same_way_by_everybody() -> None:
    assert judge(watch(), outcome(95_000)) == judge(watch(), outcome(95_000))
    assert judge(watch(1), outcome(95_000)).capital != judge(watch(2), outcome(95_000)).capital
