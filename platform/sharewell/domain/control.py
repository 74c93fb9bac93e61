"""The control chart of departures from plans: whose share of departed transfers chance does not explain.

It is Shewhart's p chart with limits of three sigma for each operator's own number of transfers (Montgomery,
Introduction to Statistical Quality Control, ch. 7, fraction nonconforming with variable sample size):
p +- 3 sqrt(p (1 - p) / n), p the share of all together. The normal approximation in it fails where few departures are
to be expected: where one in a hundred departs, one of eight lies outside, though chance alone brings that about in one
such case of thirteen. Below `LEAST_EXPECTED` departures or non-departures the limits are therefore the exact binomial
ones, with the chance of three sigma, `TAIL`, on either side. Wilson's interval is not used: it says how well an
operator's own share is known, and not what chance brings at the share of all.

Whether a point lies outside is decided in whole numbers, with no rounding; limits are told per mille.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction
from math import comb, isqrt
from typing import Final, Generic, TypeVar

from sharewell.domain.errors import Invalid

SIGMAS: Final = 3
TAIL: Final = Fraction(135, 100_000)  #: chance of a normal value beyond three sigma on one side
LEAST_EXPECTED: Final = 5  #: departures, and non-departures, from which on the normal approximation will do

Name = TypeVar("Name", bound=Hashable)


class Limits(StrEnum):
    """How an operator's limits were found."""

    THREE_SIGMA = "three_sigma"
    BINOMIAL = "binomial"


class Signal(StrEnum):
    """Where a point lies."""

    WITHIN = "within"
    ABOVE = "above"  #: more departures than chance explains
    BELOW = "below"  #: fewer than chance explains: something to learn from, or departures that are not recorded


@dataclass(frozen=True, slots=True)
class Tally:
    """What one operator did in a window."""

    decided: int  #: transfers it answered
    departed: int  #: of these, transfers that did not go as adopted

    def __post_init__(self) -> None:
        if not 0 <= self.departed <= self.decided:
            raise Invalid(f"departed is {self.departed}; it must be 0 to {self.decided}.", field="departed")


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One operator on the chart; shares are per mille."""

    tally: Tally
    rate: int
    lower: int  #: departures below this share are fewer than chance explains
    upper: int  #: departures above this share are more
    limits: Limits
    signal: Signal


@dataclass(frozen=True, slots=True)
class Chart(Generic[Name]):
    """All operators of one window."""

    whole: Tally
    points: Mapping[Name, Point]

    @property
    def centre(self) -> int:
        """Per mille of all transfers decided that departed."""
        return self.whole.departed * 1000 // max(1, self.whole.decided)


def chart(tallies: Mapping[Name, Tally]) -> Chart[Name]:
    """Place every operator that decided anything; the centre is the share of all together."""
    whole = Tally(sum(t.decided for t in tallies.values()), sum(t.departed for t in tallies.values()))
    return Chart(whole, {name: _point(tally, whole) for name, tally in tallies.items() if tally.decided})


def _point(tally: Tally, whole: Tally) -> Point:
    share, n = Fraction(whole.departed, whole.decided), tally.decided
    if min(share, 1 - share) * n >= LEAST_EXPECTED:
        limits, (lower, upper) = Limits.THREE_SIGMA, _three_sigma(share, n)
        signal = _beyond_three_sigma(tally, share)
    else:
        least, most = binomial_limits(share, n)
        limits, lower, upper = Limits.BINOMIAL, -(-least * 1000 // n), most * 1000 // n
        signal = _signal(tally.departed > most, tally.departed < least)
    return Point(
        tally=tally, rate=tally.departed * 1000 // n, lower=lower, upper=upper, limits=limits, signal=signal
    )


def _beyond_three_sigma(tally: Tally, share: Fraction) -> Signal:
    """Compare squares, so that no root is rounded."""
    away = Fraction(tally.departed, tally.decided) - share
    outside = away * away > SIGMAS**2 * share * (1 - share) / tally.decided
    return _signal(outside and away > 0, outside and away < 0)


def _three_sigma(share: Fraction, n: int) -> tuple[int, int]:
    """Both limits per mille, the lower rounded up and the upper down, so that what is told is never too wide."""
    spread = SIGMAS**2 * share * (1 - share) / n * 10**12
    root = isqrt(spread.numerator // spread.denominator)  # millionths, rounded down
    centre = share * 10**6
    lower, upper = max(Fraction(0), centre - root), min(Fraction(10**6), centre + root)
    return -int(-lower // 1000), int(upper // 1000)


def binomial_limits(share: Fraction, n: int) -> tuple[int, int]:
    """The fewest and the most of `n` that chance explains at `share`: beyond either lies at most `TAIL`, exactly."""
    d, q, whole = share.numerator, share.denominator - share.numerator, share.denominator**n
    allowed = TAIL.numerator * whole // TAIL.denominator
    return _beyond(d, q, n, allowed), n - _beyond(q, d, n, allowed)


def _beyond(d: int, q: int, n: int, allowed: int) -> int:
    """The largest number below which at most `allowed` of the ways (d + q)^n lead; d ways to each departure."""
    if d == 0:
        return 0
    ways = 0
    for k in range(n + 1):
        ways += comb(n, k) * d**k * q ** (n - k)
        if ways > allowed:
            return k
    return n


def _signal(above: bool, below: bool) -> Signal:
    return Signal.ABOVE if above else Signal.BELOW if below else Signal.WITHIN
