"""Whether reality stays inside what was forecast: a running check of each series, that raises few false alarms.

Each outcome is placed among the quantiles that were forecast for it. Under a calibrated forecast that place is
uniform, whatever came before, so money bet against it grows no more than by luck: a betting martingale (Vovk,
Gammerman & Shafer, Algorithmic Learning in a Random World, 2005, ch. 7). By Ville's inequality it ever multiplies by
`ALARM` with a chance of 1 / `ALARM` at most, however often one looks. Where it does, the series *drifts*. Forecasts
that are too careful never drift, and neither do those whose surprises are up to `TOLERANCE` times as frequent as
promised: no real forecast is calibrated to the last digit, and that alone is no reason to plan anew.

A new model is no new beginning: what is bet against is the practice of forecasting, whichever model speaks. The capital
starts anew after an alarm, and after `LIFE` outcomes once nothing is won, or a long good time would hide a bad one.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from enum import StrEnum
from itertools import pairwise
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import date, datetime
    from uuid import UUID

ALARM: Final = 100.0  #: capital, from 1, that marks a series; the chance of a false alarm in a life is one in this
TOLERANCE: Final = 1.25  #: how many times as frequent as promised surprises may be before they count against a forecast
LIFE: Final = 365  #: outcomes after which capital that won nothing is laid down and 1 taken up again
MOVED: Final = 0.01  #: share of the cash that goes to the bets at each outcome, and of the bets that comes back
START: Final = (1.0, 0.0, 0.0, 0.0)  #: cash, and what is bet on surprises above, below and on either side
WINDOW: Final = 14  #: newest outcomes that say whether a series that drifted is back
HELD_OF_WINDOW: Final = 11  #: of these, how many the 80 % band must have held
BAND: Final = 800  #: per mille
PACE: Final = 0.02  #: of the adaptive level, see `Watch.level`


class WatchState(StrEnum):
    """What is known of a series' forecasts."""

    HOLDING = "holding"
    DRIFTING = "drifting"


@dataclass(frozen=True, slots=True, kw_only=True)
class Watch:
    """The running check of one institution's forecasts of one resource."""

    institution: UUID
    resource: str
    state: WatchState = WatchState.HOLDING
    since: date | None = None  #: while it drifts: the day whose outcome gave it away
    last_target: date  #: newest day that was judged; each is judged once, and later corrections of it change nothing
    known_at: datetime  #: when that day's value became known
    model: str = ""  #: what made the newest forecast that was judged
    capital: tuple[float, ...] = START
    life: int = 0  #: outcomes since the capital was last 1
    #: The adaptive conformal level (Gibbs & Candes 2021, arXiv:2106.00170; 2024, JMLR 25): the share of misses to ask
    #: for so that a fifth of the outcomes miss. Well below 0.2, bands are too narrow for this series; above, too
    #: wide.
    level: float = 1 - BAND / 1000
    recent: str = ""  #: newest outcomes, oldest first: 1 where the 80 % band held it, 0 where not
    judged: int = 0  #: outcomes in all
    missed: int = 0  #: of these, outside the 80 % band

    @property
    def evidence(self) -> float:
        """How many times over the money is there that was bet against the forecasts; `ALARM` marks the series."""
        return sum(self.capital)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came on a day, and what had been forecast for it before."""

    target: date
    observed: float  #: thousandths of a unit
    quantiles: Sequence[tuple[int, int]]  #: (level per mille, value in thousandths), as in `Forecast`
    model: str
    forecast_at: datetime  #: when what the forecast rests on was read
    known_at: datetime  #: when the outcome became known


def judgeable(watch: Watch | None, outcome: Outcome) -> bool:
    """Tell whether `outcome` may be bet on: it is newer than all before, and its forecast was blind to it alone.

    A forecast made before the outcome of the last bet was known would be surprised by the same thing twice.
    """
    if outcome.forecast_at >= outcome.known_at:
        return False
    return watch is None or (outcome.target > watch.last_target and outcome.forecast_at >= watch.known_at)


def judge(watch: Watch, outcome: Outcome) -> Watch:
    """Return the watch after one more outcome; it must be `judgeable`."""
    rank = place(outcome, lot(watch, outcome))
    held = _held(outcome)
    fresh = watch.state is WatchState.DRIFTING and outcome.model != watch.model  # the newer model is judged on its own
    after = replace(
        watch, last_target=outcome.target, known_at=outcome.known_at, model=outcome.model,
        capital=bet(watch.capital, rank), life=watch.life + 1,
        level=watch.level + PACE * ((1 - BAND / 1000) - (not held)),
        recent=(("" if fresh else watch.recent) + ("1" if held else "0"))[-WINDOW:],
        judged=watch.judged + 1, missed=watch.missed + (not held),
    )  # fmt: skip
    return _marked(after)


def _marked(watch: Watch) -> Watch:
    if watch.evidence >= ALARM:
        since = watch.since or watch.last_target
        return replace(watch, state=WatchState.DRIFTING, since=since, capital=START, life=0, recent="")
    back = len(watch.recent) == WINDOW and watch.recent.count("1") >= HELD_OF_WINDOW
    if watch.state is WatchState.DRIFTING and back:
        return replace(watch, state=WatchState.HOLDING, since=None, capital=START, life=0)
    if watch.life >= LIFE and watch.evidence <= 1:
        return replace(watch, capital=START, life=0)
    return watch


def bet(capital: Sequence[float], rank: float) -> tuple[float, ...]:
    """Return the capital after an outcome at `rank`, 0 to 1 among what was forecast.

    Each bet pays 0.5 / sqrt(p), which is 1 on average where the tail chance p is uniform, and less where it is larger
    (Vovk's power martingale). Cash and bets exchange a little at each step, so that a change is noticed whenever it
    comes (the simple jumper; Vovk, Nouretdinov & Gammerman, Conformal test martingales, 2021).
    """
    cash, *bets = capital
    given, returned = cash * MOVED, sum(bets) * MOVED
    tails = (1 - rank, rank, 2 * min(rank, 1 - rank))
    placed = [(one * (1 - MOVED) + given / len(bets)) * _paid(tail) for one, tail in zip(bets, tails, strict=True)]
    return (cash - given + returned, *placed)


def _paid(tail: float) -> float:
    chance = min(1.0, max(TOLERANCE * tail, 1e-9))
    return float(0.5 / chance**0.5)


def place(outcome: Outcome, share: float) -> float:
    """Where the outcome lies among its forecast's quantiles, 0 to 1: at `share` of the gap it falls into.

    Counts meet quantiles exactly at times, and several at once where they are small; the gap then spans all levels
    whose value was met. With `share` uniform the place is uniform where the forecast is right, discrete or not (the
    randomised probability transform; Czado, Gneiting & Held, Biometrics 65 (2009) 1254-1261).
    """
    low = max((level for level, value in outcome.quantiles if value < outcome.observed), default=0)
    high = min((level for level, value in outcome.quantiles if value > outcome.observed), default=1000)
    return (low + (high - low) * share) / 1000


def lot(watch: Watch, outcome: Outcome) -> float:
    """A number in 0..1 that nobody chose, and that everybody draws again: from the hash of what is judged."""
    drawn = f"{watch.institution} {watch.resource} {outcome.target} {outcome.model}".encode()
    return (int.from_bytes(hashlib.sha256(drawn).digest()[:6]) + 0.5) / 2**48


def _held(outcome: Outcome) -> bool:
    """Whether the 80 % band held it, its ends read between levels where it has to be."""
    low, high = (1000 - BAND) // 2, (1000 + BAND) // 2
    return _value(outcome.quantiles, low) <= outcome.observed <= _value(outcome.quantiles, high)


def _value(quantiles: Sequence[tuple[int, int]], at: int) -> float:
    for (below, low), (above, high) in pairwise(quantiles):
        if below <= at <= above:
            return low + (high - low) * (at - below) / (above - below)
    return quantiles[0][1] if at < quantiles[0][0] else quantiles[-1][1]
