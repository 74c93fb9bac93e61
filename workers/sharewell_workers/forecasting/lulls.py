"""Weeks with holidays are quieter: by how much is learnt from any holidays seen, and holds for those not seen yet.

Wards empty before a feast and fill after it. Of daily series trees learn that by themselves, since years of days hold
each feast and its days before and after. In weeks there is one number a feast, and a season has not seen Christmas. So
all feasts are taken to be alike: each working day that a week loses to one lowers all series by the same share, values
are told as those of a week without feasts, and forecasts put the share back (a calendar adjustment with one regressor,
as in Findley et al., J. Bus. Econ. Stat. 16 (1998) 127-152).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from sharewell_workers.forecasting import calendars

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import date

    from numpy.typing import NDArray

    from sharewell_workers.forecasting.panel import Grid

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]

STARTS = (0, -6)  #: days from the day that names a week to its first; some name weeks by their last
USUAL = 0.03  #: how far feasts differ in what they do, and what they may well do; in logs


class Lull(NamedTuple):
    """What a holiday does to a week."""

    depth: float = 0.0  #: how much lower a week lies for each working day it loses, in logs
    start: int = 0  #: days from the day that names a week to its first

    def calm(self, days: Sequence[date], country: str | None) -> Floats:
        """[N] what is left, in weeks named by `days`, of what a week without holidays would bring."""
        if not self.depth or not country:
            return np.ones(len(days))
        return np.exp(-self.depth * calendars.days_lost(days, self.start, country))


NO_LULL = Lull()


def learn(grid: Grid, country: str) -> Lull:
    """How deep the lulls of a weekly grid are; none if no week with a holiday lies between two that are known.

    `country`: whose holidays are kept, or `calendars.OWN`.

    A week is held against the middle of its neighbours, over the series known in all three. How far weeks without
    holidays stray from it says how little a single feast proves.
    """
    days = [grid.day(column) for column in range(grid.value.shape[1])]
    value = np.where(grid.firm, grid.value, np.nan)
    codes, keeps = grid.homes(country)
    bend = np.stack([_bend(value[keeps == place]) for place in range(len(codes))])
    weight = _weights(value, keeps, len(codes))
    best, gain = NO_LULL, 0.0
    for start in STARTS:
        lost = np.stack([calendars.days_lost(days, start, code) if code else np.zeros(len(days)) for code in codes])
        x = lost[:, 1:-1] - (lost[:, :-2] + lost[:, 2:]) / 2
        known = ~np.isnan(bend)
        plain, told = known & (x == 0), known & (x != 0)
        if not plain.any() or not told.any():
            continue
        doubt = 1 + float(np.average(bend[plain] ** 2, weights=weight[plain])) / USUAL**2
        along, length = float((weight * bend * x)[told].sum()), float((weight * x * x)[told].sum()) + doubt
        depth = -along / length
        if depth > 0 and depth**2 * length > gain:
            best, gain = Lull(round(depth, 6), start), depth**2 * length
    return best


def _weights(value: Floats, keeps: Ints, count: int) -> Floats:
    """[H, T - 2] how much of all that is counted lies in the places that keep the same holidays."""
    sums = np.array([np.nansum(value[keeps == place]) for place in range(count)])
    share = sums / sums.sum() if sums.sum() else np.full(count, 1 / count)
    return np.broadcast_to(share[:, None], (count, value.shape[1] - 2))


def _bend(value: Floats) -> Floats:
    """[T - 2] log of each week's sum over the geometric middle of its neighbours' sums; NaN where nothing is known."""
    three = np.stack([value[:, :-2], value[:, 1:-1], value[:, 2:]])
    before, now, after = np.where(np.isnan(three).any(axis=0), 0.0, three).sum(axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        bend = np.log(now) - (np.log(before) + np.log(after)) / 2
    return np.where(np.isfinite(bend), bend, np.nan)
