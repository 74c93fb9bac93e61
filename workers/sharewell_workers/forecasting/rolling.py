"""Arithmetic along time that never looks ahead: column t of every result depends on columns up to t only.

Missing values are NaN and are left out of sums, not counted as zero.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]


def carry(value: Floats, limit: int) -> tuple[Floats, Floats]:
    """Last known value at each step, at most `limit` steps old, and its age in steps (NaN where there is none)."""
    columns = np.arange(value.shape[1])
    seen = np.where(np.isnan(value), -1, columns)
    newest = np.maximum.accumulate(seen, axis=1)
    age = np.where(newest >= 0, columns - newest, np.nan)
    held = np.take_along_axis(value, np.maximum(newest, 0), axis=1)
    with np.errstate(invalid="ignore"):
        usable = age <= limit
    return np.where(usable, held, np.nan), np.where(usable, age, np.nan)


def shift(value: Floats, steps: int) -> Floats:
    """The value `steps` before; NaN before the beginning."""
    if steps == 0:
        return value
    moved = np.full_like(value, np.nan)
    if steps < value.shape[1]:
        moved[:, steps:] = value[:, :-steps]
    return moved


def window_sum(value: Floats, width: int) -> Floats:
    """Sum over the newest `width` steps, the present one included; needs no NaN."""
    total = np.cumsum(value, axis=1)
    lagged = np.zeros_like(total)
    if width < value.shape[1]:
        lagged[:, width:] = total[:, :-width]
    return total - lagged


def window_mean(value: Floats, width: int) -> Floats:
    """Mean of what is known in the newest `width` steps."""
    known = ~np.isnan(value)
    return _divide(window_sum(np.where(known, value, 0.0), width), window_sum(known.astype(float), width))


def window_spread(value: Floats, width: int) -> Floats:
    """Root mean square of what is known in the newest `width` steps."""
    mean = window_mean(value * value, width)
    return np.sqrt(np.maximum(mean, 0.0))  # cumulative sums may leave -1e-17


def window_slope(value: Floats, width: int) -> Floats:
    """Least-squares slope per step over the newest `width` steps, over what is known there."""
    known = ~np.isnan(value)
    # Counted from the first column, not centred: the past must not change in the last bit when a day is added.
    x = np.broadcast_to(np.arange(value.shape[1], dtype=float), value.shape)
    w = known.astype(float)
    y = np.where(known, value, 0.0)
    n, sx, sy = window_sum(w, width), window_sum(w * x, width), window_sum(y, width)
    sxx, sxy = window_sum(w * x * x, width), window_sum(x * y, width)
    return _divide(n * sxy - sx * sy, n * sxx - sx * sx, least=0.5)


def fading_mean(value: Floats, halflife: float) -> tuple[Floats, Floats]:
    """Exponentially fading mean of what is known so far, and the weight behind it."""
    keep = 0.5 ** (1 / halflife)
    total = np.zeros(value.shape[0])
    weight = np.zeros(value.shape[0])
    mean, mass = np.full_like(value, np.nan), np.zeros_like(value)
    for t in range(value.shape[1]):
        now = value[:, t]
        known = ~np.isnan(now)
        total = total * keep + np.where(known, now, 0.0)
        weight = weight * keep + known
        mean[:, t] = _divide(total, weight)
        mass[:, t] = weight
    return mean, mass


def group_mean(value: Floats, group: Ints, weight: Floats | None = None) -> Floats:
    """Mean over each series' group at each step (weighted where given), repeated for every member."""
    return group_table(value, group, weight)[group]


def group_table(value: Floats, group: Ints, weight: Floats | None = None) -> Floats:
    """Mean over each group at each step [G, T]; groups are numbered from 0."""
    w = ~np.isnan(value) * (1.0 if weight is None else weight)
    y = np.where(np.isnan(value), 0.0, value) * w
    count = int(group.max()) + 1 if group.size else 0
    sums, masses = np.zeros((count, value.shape[1])), np.zeros((count, value.shape[1]))
    np.add.at(sums, group, y)
    np.add.at(masses, group, w)
    return _divide(sums, masses)


def _divide(above: Floats, below: Floats, *, least: float = 1e-12) -> Floats:
    """Quotient, NaN where the divisor is not above `least`."""
    good = below > least
    return np.where(good, above / np.where(good, below, 1.0), np.nan)
