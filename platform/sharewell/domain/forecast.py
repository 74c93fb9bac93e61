"""What a forecast is, and how it is scored once the day has come. Finding one is the workers' trade.

Levels are per mille and values thousandths of a unit, both whole numbers, so that a forecast can be an audit entry
byte for byte: the 0.025 quantile of 12.4 beds is `(25, 12400)`.

Sources: pinball loss, Koenker & Bassett, Econometrica 46 (1978) 33-50; weighted interval score, Bracher et al., PLoS
Comput. Biol. 17(2) (2021) e1008618; propriety of both, Gneiting & Raftery, JASA 102 (2007) 359-378.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

from sharewell.domain import checks
from sharewell.domain.errors import Invalid

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import date
    from uuid import UUID

LEVELS = (25, 100, 250, 500, 750, 900, 975)  #: per mille; the 50, 80 and 95 % bands around the median
HUB_LEVELS = (10, 25, *range(50, 1000, 50), 975, 990)  #: the 23 quantiles of the public forecast hubs
MILLI = 1000  #: thousandths in one unit
NAIVE = ("seasonal-naive", "persistence")  #: yardsticks, and fallbacks where no trained model can speak
GROUP = "group"  #: the last values of its group, for a series that never reported

_MODEL = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """One quantity of one institution on one future day, as a row of quantiles."""

    institution: UUID
    resource: str
    signal: str  #: what is counted of the resource, such as `need` or `occupied`
    origin: date  #: last day whose value was known
    target: date  #: the day the values speak of
    horizon: int  #: steps from origin to target
    quantiles: tuple[tuple[int, int], ...]  #: (level per mille, value in thousandths of a unit), levels rising
    model: str  #: SHA-256 of the trained model in hex, or one of `NAIVE` or `GROUP`
    fallback: str | None = None  #: why the trained model was not used; None where it was

    def __post_init__(self) -> None:
        checks.code(self.resource, "resource")
        checks.code(self.signal, "signal")
        checks.units(self.horizon, "horizon", least=1, most=3660)
        _check_days(self.origin, self.target, self.horizon)
        _check_quantiles(self.quantiles)
        _check_model(self.model, self.fallback)

    @property
    def series(self) -> tuple[UUID, str]:
        """Whose it is and of what: what a running check of forecasts is kept by."""
        return self.institution, self.resource

    @property
    def median(self) -> int:
        """Thousandths of a unit that reality should exceed half of the time."""
        return self.at(500)

    def at(self, level: int) -> int:
        """Value at `level` per mille, read between the two nearest levels along a straight line.

        Raises `Invalid` outside the forecast's own levels: tails are not made up.
        """
        for (below, low), (above, high) in pairwise(self.quantiles):
            if below <= level <= above:
                return low + (high - low) * (level - below) // (above - below)
        first, last = self.quantiles[0][0], self.quantiles[-1][0]
        raise Invalid(f"level is {level}; this forecast speaks of {first} to {last} per mille.", field="level")

    def band(self, coverage: int) -> tuple[int, int]:
        """Lower and upper value of the central band that should hold `coverage` per mille of outcomes."""
        return self.at((1000 - coverage) // 2), self.at((1000 + coverage) // 2)

    def units(self, level: int = 500) -> int:
        """Whole units that suffice at `level`: the value rounded up."""
        return -(-self.at(level) // MILLI)


def _check_days(origin: date, target: date, horizon: int) -> None:
    if target <= origin:
        raise Invalid(f"target {target} must lie after origin {origin}.", field="target")
    if (target - origin).days % horizon:
        raise Invalid(f"target lies no whole number of days a step for horizon {horizon}.", field="horizon")


def _check_quantiles(quantiles: tuple[tuple[int, int], ...]) -> None:
    levels = [level for level, _ in quantiles]
    if 500 not in levels or len(levels) < 3:
        raise Invalid("quantiles must hold the median (500) and at least two more levels.", field="quantiles")
    if any(not 0 < level < 1000 for level in levels) or any(a >= b for a, b in pairwise(levels)):
        raise Invalid("quantile levels must rise strictly between 0 and 1000 per mille.", field="quantiles")
    values = [value for _, value in quantiles]
    if values[0] < 0:
        raise Invalid("a quantity cannot be negative; the lowest quantile is.", field="quantiles")
    if any(a > b for a, b in pairwise(values)):
        raise Invalid("quantile values must not fall as their level rises.", field="quantiles")


def _check_model(model: str, fallback: str | None) -> None:
    plain = (*NAIVE, GROUP)
    if model in plain and not fallback:
        raise Invalid(f"a {model} forecast must say why no trained model was used.", field="fallback")
    if model not in plain and not _MODEL.fullmatch(model):
        raise Invalid(f"model must be a SHA-256 in hex or one of {', '.join(plain)}.", field="model")


@dataclass(frozen=True, slots=True, kw_only=True)
class ForecastSum:
    """What a region, or everybody, is expected to need of a resource on one day: coherent with its institutions'."""

    region: str | None  #: None: all regions together
    resource: str
    origin: date
    target: date
    horizon: int
    quantiles: tuple[tuple[int, int], ...]  #: as in `Forecast`

    def __post_init__(self) -> None:
        checks.code(self.resource, "resource")
        _check_days(self.origin, self.target, self.horizon)
        _check_quantiles(self.quantiles)


def fingerprint(forecasts: Iterable[Forecast]) -> str:
    """SHA-256 of forecasts, one line each in a fixed order: the same values give the same hash, whoever made them."""
    return _digest(
        f"{f.institution} {f.resource} {f.signal} {f.origin} {f.target} {f.horizon} {f.model} {f.fallback or ''}|"
        f"{' '.join(f'{level}:{value}' for level, value in f.quantiles)}\n"
        for f in forecasts
    )


def line_of(forecast: Forecast) -> str:
    """One forecast as a line that can be compared: whose, which day, who answered, and the quantiles."""
    values = " ".join(f"{level}:{value}" for level, value in forecast.quantiles)
    return f"{forecast.institution} {forecast.target} {forecast.model} [{forecast.fallback or ''}] {values}"


def fingerprint_of_sums(sums: Iterable[ForecastSum]) -> str:
    """SHA-256 of sums, one line each in a fixed order."""
    return _digest(
        f"{s.region or ''} {s.resource} {s.origin} {s.target} {s.horizon}|"
        f"{' '.join(f'{level}:{value}' for level, value in s.quantiles)}\n"
        for s in sums
    )


def _digest(lines: Iterable[str]) -> str:
    return hashlib.sha256("".join(sorted(lines)).encode()).hexdigest()


def pinball(observed: float, value: float, level: int) -> float:
    """Loss of predicting `value` as the quantile at `level` per mille when `observed` came; same unit as both."""
    tau = level / 1000
    return tau * (observed - value) if observed >= value else (1 - tau) * (value - observed)


def wis(observed: float, quantiles: Iterable[tuple[int, float]]) -> float:
    """Weighted interval score: twice the mean pinball loss over the levels; 0 is perfect, unit as observed.

    For levels symmetric about a median this equals the interval form of Bracher et al., with weights half of each
    band's miss rate. Raises `Invalid` if there are no quantiles.
    """
    losses = [pinball(observed, value, level) for level, value in quantiles]
    if not losses:
        raise Invalid("a score needs at least one quantile.", field="quantiles")
    return 2 * sum(losses) / len(losses)


def coverage(outcomes: Sequence[tuple[float, float, float]]) -> float:
    """Share of `(observed, lower, upper)` in which the band held what came, ends included; 0..1."""
    if not outcomes:
        raise Invalid("coverage needs at least one outcome.", field="outcomes")
    return sum(lower <= observed <= upper for observed, lower, upper in outcomes) / len(outcomes)
