"""What could be seen at each week: the newest weeks through the table of that time, corrected as is to be expected."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from sharewell_workers.forecasting.hub import epidemics, feasts, regions, reporting
from sharewell_workers.forecasting.hub.sight import REMEMBERED, WIDTH, View
from sharewell_workers.forecasting.hub.tables import WEEK

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import date

    from numpy.typing import NDArray

    from sharewell_workers.forecasting.hub.epidemics import World
    from sharewell_workers.forecasting.hub.tables import Tables

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]

AHEAD = 8  #: weeks past the newest that have a calendar
CARRIED = 4  #: weeks a place's last value may stand in for its newest
WHOLE_WINDOW = 13  #: weeks of a window that make the older ones dispensable


def seen(tables: Tables, table: int) -> View:
    """What could be seen at each week up to the newest of `table`, each through the first table that spoke of it."""
    last = int(tables.newest[table])
    weeks = tuple(tables.week(t) for t in range(last + 1 + AHEAD))
    regime = reporting.regimes(weeks[: last + 1])
    windows = np.full((last + 1, len(tables.places), WIDTH), np.nan)
    for t in range(last + 1):
        through = table if t == last else min(table, tables.first_with(t))
        begin = max(0, t - WIDTH + 1)
        windows[t, :, WIDTH - (t - begin + 1) :] = tables.values[through][:, begin : t + 1]
    windows = _broken(windows, regime)
    values = np.where(regime >= 0, tables.values[table][:, : last + 1], np.nan)
    fresh = np.array([week >= tables.published[0] - 2 * WEEK for week in weeks[: last + 1]])
    _correct(windows, values, reporting.completion(windows, fresh, regime), tables.parts)
    feast = _without_feasts(windows, values, weeks, tables.parts)
    return View(
        _narrowed(_carried(windows), reach(windows)), values, weeks, feast, regime, fresh,
        regions.of(tables.places), tables.parts,
    )  # fmt: skip


def final(tables: Tables, count: int, width: int) -> View:
    """The first `count` weeks of a signal whose numbers nobody will correct, in windows of `width`."""
    count = min(count, tables.values.shape[2])
    values, weeks = tables.values[-1][:, :count].copy(), tuple(tables.week(t) for t in range(count + AHEAD))
    regime = reporting.regimes(weeks[:count])
    windows = _sliding(values)
    feast = _without_feasts(windows, values, weeks, tables.parts)
    return View(
        _narrowed(_broken(windows, regime), width), values, weeks, feast, regime, np.zeros(count, dtype=bool),
        regions.of(tables.places), tables.parts,
    )  # fmt: skip


def invented(world: World, width: int) -> View:
    """All weeks of an invented world, whose last place is the sum of the others, in windows of `width`."""
    places, count = world.admissions.shape
    values, weeks, parts = world.admissions.copy(), epidemics.calendar(count + AHEAD), np.arange(places - 1)
    windows = _sliding(values)
    feast = _without_feasts(windows, values, weeks, parts)
    return View(
        _narrowed(windows, width), values, weeks, feast,
        np.zeros(count, dtype=np.int64), np.zeros(count, dtype=bool), world.region, parts,
    )  # fmt: skip


def reach(windows: Floats) -> int:
    """How many of the newest weeks any place knows at the end; windows of the past are cut to it, to be alike."""
    known = int((~np.isnan(windows[-1])).any(axis=0).sum())
    return WIDTH if known >= WHOLE_WINDOW else max(known, 1)


def _correct(windows: Floats, values: Floats, growth: Floats, parts: Ints) -> None:
    """Make the corrections that are to be expected, in windows as in what is known now."""
    for age in range(min(reporting.SETTLING, len(windows))):
        windows[:, :, WIDTH - 1 - age] *= growth[:, age]
        values[:, -1 - age] *= growth[-1, age]
    calm = reporting.odd_jump(windows, parts)
    windows[:, :, -1] *= calm[:, None]
    values[:, -1] *= calm[-1]


def _without_feasts(windows: Floats, values: Floats, weeks: Sequence[date], parts: Ints) -> Floats:
    """Take out what feasts bring, in windows as in what is known now; give it for each week, in logs."""
    count = values.shape[1]
    lately = slice(max(0, count - REMEMBERED), count)
    feast = feasts.learn(values[parts, lately], weeks[lately]) * feasts.share(weeks)
    values /= np.exp(feast[:count])
    windows /= np.exp(feast[np.maximum(_back(count), 0)])[:, None, :]
    return feast


def _carried(windows: Floats) -> Floats:
    """Windows whose newest week, where it is missing, repeats the last known of the few before it."""
    filled = windows.copy()
    for age in range(1, CARRIED):
        gap = np.isnan(filled[:, :, -1])
        filled[gap, -1] = windows[gap, -1 - age]
    return filled


def _sliding(values: Floats) -> Floats:
    """[T, L, K] windows of [L, T] values that nobody corrected."""
    padded = np.concatenate([np.full((len(values), WIDTH - 1), np.nan), values], axis=1)
    return np.lib.stride_tricks.sliding_window_view(padded, WIDTH, axis=1).transpose(1, 0, 2).copy()


def _broken(windows: Floats, regime: Ints) -> Floats:
    """Windows that hold nothing from another reporting regime than their newest week's."""
    back = _back(len(windows))
    apart = (back < 0) | (regime[np.maximum(back, 0)] != regime[:, None]) | (regime[:, None] < 0)
    return np.where(apart[:, None, :], np.nan, windows)


def _back(count: int) -> Ints:
    """[T, K] which week each place of a window speaks of; below 0 before the first."""
    return np.asarray(np.arange(count)[:, None] - np.arange(WIDTH)[::-1])


def _narrowed(windows: Floats, width: int) -> Floats:
    windows[:, :, : WIDTH - width] = np.nan
    return windows
