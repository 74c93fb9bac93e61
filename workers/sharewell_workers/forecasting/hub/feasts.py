"""What the feasts at the turn of the year do to a week's admissions: learnt from past winters, taken out, put back.

Between Christmas and Epiphany families meet, practices are closed and the old come to hospitals instead; a week later
they no longer do. A wave seen through those weeks seems to rise steeply and then to break. So values are told as those
of weeks without feasts, and forecasts put back what feasts bring (a calendar adjustment with one regressor, as in
Findley et al., J. Bus. Econ. Stat. 16 (1998) 127-152).
"""

from __future__ import annotations

from datetime import date, timedelta
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]

FIRST, LAST = (12, 26), (1, 6)  #: month and day between which feasts are felt, both included
AROUND = 4  #: weeks before and after New Year's that tell how the winter went without feasts
WAVE = 3  #: degree of the curve a wave describes over them, in logs
FAINT = 200.0  #: admissions of everyone in a week, below which a winter tells nothing
USUAL, SPREAD = 0.25, 0.15  #: what feasts are expected to bring a week that is full of them, in logs, and how surely
STRAYS = 0.15  #: how far off a single winter's answer is


def share(weeks: Sequence[date]) -> Floats:
    """[T] part of each week, named by its last day, in which feasts are felt."""
    days = [[_felt(week - timedelta(days=back)) for back in range(7)] for week in weeks]
    return np.asarray(np.array(days, dtype=float).reshape(-1, 7).mean(axis=1))


def learn(values: Floats, weeks: Sequence[date]) -> float:
    """How much more, in logs, a week full of feasts brings; from values [L, T] of places that are no sum of others.

    Each past winter answers by what stands out from a smooth wave; a single one is half believed.
    """
    years = range(weeks[0].year, weeks[-1].year + 1)
    told = [found for year in years if (found := _winter(values, weeks, year)) is not None]
    prior, each = SPREAD**-2, STRAYS**-2
    return (prior * USUAL + each * sum(told)) / (prior + each * len(told))


def _winter(values: Floats, weeks: Sequence[date], year: int) -> float | None:
    """What stood out at the turn to `year`; None where not all weeks around it are known, or too little happened."""
    middle = next((t for t, week in enumerate(weeks) if timedelta(0) <= week - date(year, 1, 1) < timedelta(7)), None)
    if middle is None or middle < AROUND or middle + AROUND >= values.shape[1]:
        return None
    span = slice(middle - AROUND, middle + AROUND + 1)
    some = values[:, span]
    sums = some[~np.isnan(some).any(axis=1)].sum(axis=0)
    if sums.min() < FAINT:
        return None
    curve = np.vander(np.linspace(-1, 1, 2 * AROUND + 1), WAVE + 1)
    found, *_ = np.linalg.lstsq(np.column_stack([curve, share(weeks[span])]), np.log(sums), rcond=None)
    return float(found[-1])


def _felt(day: date) -> bool:
    return (day.month, day.day) >= FIRST or (day.month, day.day) <= LAST
