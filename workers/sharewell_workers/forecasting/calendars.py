"""Holidays of a country: how far a day lies from the one before it and from the next, and what a week loses to them.

Of days, counters rather than a yes or no: wards empty before a feast and fill after it, and a tree finds how long.
The dates come from the package `holidays` (docs/decisions/0007-holidays.md); nothing else touches it.
"""

from __future__ import annotations

import re
from datetime import date, timedelta
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from sharewell.domain.errors import Invalid

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

REACH = 10  #: days: a holiday further off than this is told as this far
NEAR = 3  #: days: holidays this near count as one stretch
SATURDAY = 5  #: `date.weekday`
ENOUGH = 8  #: holidays in the days that are trained on; from fewer, nothing general can be learnt
WORKED = {"US": ("Martin Luther King", "Washington", "Juneteenth", "Columbus", "Veterans")}
"""Words in the names of public holidays on which most people work, by country; elsewhere all are kept.

Of workers with paid holidays a third have Martin Luther King Day off and nearly all Thanksgiving (US Bureau of Labor
Statistics, National Compensation Survey, Holiday Profiles, 2017 and 2018).
"""

OWN = "own"  #: in place of a country: each series has that of its group
LAENDER = ["SH", "HH", "NI", "HB", "NW", "HE", "RP", "BW", "BY", "SL", "BE", "BB", "MV", "SN", "ST", "TH"]
#: Parts by their official number.
NUMBERED = {"DE": {f"{number:02}": part for number, part in enumerate(LAENDER, 1)}}


def features(days: Sequence[date], country: str) -> dict[str, Floats]:
    """Return counters [N] of days for `days`: to_holiday, since_holiday and holidays_near.

    `country` is an ISO 3166 code, of a country ("DE") or a part of one ("DE-BY"), or empty where no holidays are kept;
    raises `Invalid` if unknown.
    """
    if not days:
        return {name: np.zeros(0) for name in ("to_holiday", "since_holiday", "holidays_near")}
    near = holidays_between(country, _off(min(days), -99), _off(max(days), 99)) if country else []
    known = np.array([day.toordinal() for day in near], dtype=np.int64)
    asked = np.array([day.toordinal() for day in days])
    after = np.searchsorted(known, asked)  # the first holiday that is not before the day
    edged = np.concatenate([[-(10**9)], known, [10**9]])
    until = np.minimum(edged[after + 1] - asked, REACH)
    past = asked - np.where(edged[after + 1] == asked, asked, edged[after])
    around = np.searchsorted(known, asked + NEAR, side="right") - np.searchsorted(known, asked - NEAR)
    return {
        "to_holiday": until.astype(float),
        "since_holiday": np.minimum(past, REACH).astype(float),
        "holidays_near": around.astype(float),
    }


def days_lost(days: Sequence[date], start: int, country: str) -> Floats:
    """[N] working days that holidays take from the weeks which begin `start` days after each of `days`.

    A day between a holiday and another free day goes with them. Holidays on which most people work (`WORKED`), or at a
    weekend, take none.
    """
    if not days:
        return np.zeros(0)
    known = np.array([day.toordinal() for day in _lost(country, min(days).year - 1, max(days).year + 1)])
    first = np.array([day.toordinal() for day in days]) + start
    return (np.searchsorted(known, first + 7) - np.searchsorted(known, first)).astype(float)


def holidays_between(country: str, first: date, last: date) -> list[date]:
    """Public holidays of `country` from `first` to `last`, both included, in order."""
    whole = _dates(country, first.year, last.year)
    return [day for day in whole if first <= day <= last]


def choice(asked: str | None, own: str | None, homes: Iterable[str], first: date, last: date, step: int) -> str:
    """Whose holidays a model trained on `first` to `last` should know: those `asked` for, else the panel's `own`.

    `homes` are those of its groups, where each has its `OWN`. Empty where there are none, or, in daily series, too few
    of them in those days to learn anything from.
    """
    country = own if asked is None else asked
    kept = {home for home in homes if home} if country == OWN else {country} - {None, ""}
    enough = step > 1 or any(len(holidays_between(home or "", first, last)) >= ENOUGH for home in kept)
    return country if country and kept and enough else ""


def country_of(regions: Iterable[str]) -> str | None:
    """Whose holidays `regions` keep: the country or part of one that is the home of all, `OWN` where homes differ.

    None where no region names any.
    """
    found = {home(name) for name in regions}
    if not found - {""}:
        return None
    return found.pop() if len(found) == 1 else OWN


@lru_cache(maxsize=1024)
def home(region: str) -> str:
    """Whose holidays a region keeps, by the country and part of it that its name begins with; empty if by none.

    Parts go by ISO 3166-2 or, German ones, by their official number: `de-by` and `de-09` keep Bavaria's holidays. So do
    `us-nj` and `us` those of the whole, since on those of single states most people work.
    """
    named = re.fullmatch(r"([a-z]{2})(?:-([a-z0-9]{1,3}))?(?:-.+)?", region.lower())
    nation, part = (named[1].upper(), (named[2] or "").upper()) if named else ("", "")
    if nation not in _parts():
        return ""
    part = NUMBERED.get(nation, {}).get(part, part)
    return f"{nation}-{part}" if nation not in WORKED and part in _parts()[nation] else nation


def checked(country: str) -> str:
    """Return `country` in capitals. Raises `Invalid` naming the field if nothing is known of its holidays."""
    _dates(country.upper(), 2024, 2024)
    return country.upper()


@lru_cache(maxsize=64)
def _dates(country: str, first: int, last: int) -> tuple[date, ...]:
    return tuple(_named(country, first, last))


@lru_cache(maxsize=64)
def _lost(country: str, first: int, last: int) -> tuple[date, ...]:
    worked = WORKED.get(country.partition("-")[0], ())
    kept = {day for day, name in _named(country, first, last).items() if not any(word in name for word in worked)}

    def free(day: date) -> bool:
        return day.weekday() >= SATURDAY or day in kept

    near = sorted({_off(day, k) for day in kept for k in (-1, 0, 1)})
    lost = (day for day in near if day.weekday() < SATURDAY)
    return tuple(day for day in lost if day in kept or (free(_off(day, -1)) and free(_off(day, 1))))


def _named(country: str, first: int, last: int) -> dict[date, str]:
    """Names of the holidays of the years `first` to `last`, in order."""
    import holidays  # noqa: PLC0415  a tenth of a second and 20 MiB: only those who ask for a country pay for it

    nation, _, part = country.partition("-")
    try:
        found = holidays.country_holidays(nation, subdiv=part or None, years=range(first, last + 1))
    except NotImplementedError:
        wanted = "an ISO 3166 code such as DE, US or US-NJ"
        raise Invalid(f"no holidays are known for {country!r}; it must be {wanted}.", field="country") from None
    return {day: found[day] for day in sorted(found) if first <= day.year <= last}


@lru_cache(maxsize=1)
def _parts() -> dict[str, list[str]]:
    """Countries whose holidays are known, and the parts of each that have their own."""
    import holidays  # noqa: PLC0415

    return holidays.list_supported_countries(include_aliases=False)


def _off(day: date, days: int) -> date:
    return day + timedelta(days=days)
