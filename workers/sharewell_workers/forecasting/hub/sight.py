"""What the model sees of each place in each week, and what then came: rows to learn from and rows to forecast.

Every row is made from the newest weeks as they were known at the time, on a scale on which places are alike: fourth
roots of counts over what the place is used to (as Ray et al., arXiv:2407.19054, do).
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]

WIDTH = 16  #: newest weeks that are looked at
POWER = 0.25
USUAL = 0.95  #: quantile of a place's own counts that is its size
SETTLED = 6  #: first weeks of a history that teach nothing: too little lies behind them
REMEMBERED = 150  #: newest weeks that are learnt from: three years ago another strain met other people
PEAK = 30  #: weeks in which a wave's crest is remembered
SEASON = 52
LAGS = range(1, 9)


@dataclass(frozen=True, slots=True)
class View:
    """Places and weeks as they could be seen, week by week, and what is known of them now."""

    windows: Floats  #: [T, L, K] counts of the newest K weeks as known at each week, without what feasts bring
    values: Floats  #: [L, T] counts as known now, without it
    weeks: tuple[date, ...]  #: T + as many as are looked ahead
    feast: Floats  #: [T + as many] log of what feasts bring to each week
    regime: Ints  #: [T]
    fresh: NDArray[np.bool_]  #: [T] whether a week was seen through a table of its own time
    region: Ints  #: [L]
    parts: Ints  #: rows of the places that are no sum of others


@dataclass(frozen=True, slots=True)
class Rows:
    """Features [N, F], and of each row its week, place and horizon (weeks); `target` [N] is NaN where unknown."""

    features: NDArray[np.float32]
    target: Floats  #: change of the fourth root from the newest week known, over the root of the horizon
    week: Ints
    place: Ints
    horizon: Ints

    @classmethod
    def joined(cls, pieces: Iterable[Rows]) -> Rows:
        """All rows, one piece after the other."""
        columns = ((p.features, p.target, p.week, p.place, p.horizon) for p in pieces)
        return cls(*(np.concatenate(column) for column in zip(*columns, strict=True)))

    def taken(self, chosen: NDArray[np.bool_]) -> Rows:
        """The rows that are `chosen` [N]."""
        return Rows(
            self.features[chosen], self.target[chosen], self.week[chosen], self.place[chosen], self.horizon[chosen]
        )

    @property
    def known(self) -> Rows:
        """The rows whose outcome is known."""
        return self.taken(~np.isnan(self.target))


@dataclass(frozen=True, slots=True)
class Sight:
    """A view on the model's scale."""

    view: View
    size: Floats  #: [L] counts a place is used to
    base: Floats  #: [T, L] newest week, scaled
    now: Floats  #: [L, T] counts as known now, scaled
    table: NDArray[np.float32]  #: [T, L, F]

    @classmethod
    def of(cls, view: View) -> Sight:
        """Scale a view and work out its features."""
        size = np.nan_to_num(_quiet(np.nanquantile, view.values, USUAL, axis=1)) + 1.0
        scaled, now = (view.windows / size[:, None]) ** POWER, (view.values / size[:, None]) ** POWER
        parts = _shape(scaled) | _others(scaled, view) | _corrections(scaled, view) | _crests(scaled, now, view)
        table = np.stack(
            [np.broadcast_to(part, scaled.shape[:2]).astype(np.float32) for part in parts.values()], axis=2
        )
        return cls(view, size, scaled[:, :, -1], now, table)

    def rows(self, horizons: Sequence[int], weeks: Sequence[int] | None = None) -> Rows:
        """Rows of all places from `weeks` (default: all whose outcome is known), one horizon after the other."""
        return Rows.joined(self._rows(h, np.array(self._past(h) if weeks is None else weeks)) for h in horizons)

    def counts(self, rows: Rows, change: Floats) -> Floats:
        """Counts [N, Q] from changes [N, Q] on the scale of the target."""
        base, root = self.base[rows.week, rows.place], np.sqrt(rows.horizon)
        scaled = np.maximum(base[:, None] + root[:, None] * change, 0.0)
        usual = self.size[rows.place] * np.exp(self.view.feast[rows.week + rows.horizon])
        return np.asarray(scaled ** (1 / POWER) * usual[:, None])

    def _past(self, horizon: int) -> Ints:
        count = self.base.shape[0]
        begin = max(min(SETTLED, count // 4), count - REMEMBERED)
        return np.arange(begin, max(begin, self.base.shape[0] - horizon))

    def _rows(self, horizon: int, weeks: Ints) -> Rows:
        count, places = self.base.shape
        week, place = np.repeat(weeks, places), np.tile(np.arange(places), len(weeks))
        target = np.full(len(week), np.nan)
        known = week + horizon < count
        same = np.zeros(len(week), dtype=bool)
        same[known] = self.view.regime[week[known] + horizon] == self.view.regime[week[known]]
        root = np.sqrt(horizon)
        target[same] = (self.now[place[same], week[same] + horizon] - self.base[week[same], place[same]]) / root
        ahead = np.stack(self._ahead(horizon, week, place), axis=1).astype(np.float32)
        features = np.concatenate([self.table[week, place], ahead], axis=1)
        return Rows(features, target, week, place, np.full(len(week), horizon))

    def _ahead(self, horizon: int, week: Ints, place: Ints) -> list[Floats]:
        """What depends on the week that is forecast: the calendar, and what came a year before."""
        then, there = week + horizon - SEASON, week - SEASON
        a_year_ago = np.where(then >= 0, self.now[place, np.maximum(then, 0)], np.nan)
        before_it = np.where(there >= 0, self.now[place, np.maximum(there, 0)], np.nan)
        season, feast = np.array([_season(day) for day in self.view.weeks]), self.view.feast
        return [
            np.full(len(week), float(horizon)), season[week], season[week + horizon], feast[week],
            feast[week + horizon], np.log(self.size[place]), a_year_ago - before_it,
            a_year_ago - self.base[week, place],
        ]  # fmt: skip


def _shape(z: Floats) -> dict[str, Floats]:
    """Where a place comes from: differences, slopes, means, unrest."""
    now, moves = z[:, :, -1], np.diff(z, axis=2)
    parts = {"level": now, "bend": now - 2 * z[:, :, -2] + z[:, :, -3]}
    parts |= {f"since{k}": now - z[:, :, -1 - k] for k in LAGS}
    parts |= {f"slope{k}": _slope(z, k) for k in (3, 4, 6)}
    parts |= {f"mean{k}": _quiet(np.nanmean, z[:, :, -k:], axis=2) - now for k in (2, 3, 4, 6, 12)}
    parts |= {f"unrest{k}": _quiet(np.nanstd, moves[:, :, -k:], axis=2) for k in (6, 12)}
    parts["below_highest"] = _quiet(np.nanmax, z, axis=2) - now
    return parts | {"above_lowest": now - _quiet(np.nanmin, z, axis=2)}


def _others(z: Floats, view: View) -> dict[str, Floats]:
    """Where everyone, and the region, is and comes from."""
    everyone = _quiet(np.nanmean, z[:, view.parts], axis=1, keepdims=True)
    region = np.empty_like(z)
    for one in np.unique(view.region):
        region[:, view.region == one] = _quiet(np.nanmean, z[:, view.region == one], axis=1, keepdims=True)
    now, near = everyone[:, :, -1], region[:, :, -1]
    parts = {"everyone": now, "to_everyone": z[:, :, -1] - now, "to_region": near - z[:, :, -1]}
    parts |= {f"everyone_since{k}": now - everyone[:, :, -1 - k] for k in (1, 2, 3, 4, 6)}
    parts |= {f"everyone_slope{k}": _slope(everyone, k) for k in (3, 6)}
    parts["everyone_bend"] = now - 2 * everyone[:, :, -2] + everyone[:, :, -3]
    return parts | {f"region_since{k}": near - region[:, :, -1 - k] for k in (1, 2, 4)}


def _corrections(z: Floats, view: View) -> dict[str, Floats]:
    """How the first reports of the last three weeks were corrected, beyond what was expected."""
    count, places, width = z.shape
    found = np.full((3, count, places), np.nan)
    for age in (1, 2, 3):
        for t in range(age, count):
            if view.fresh[t - age]:
                found[age - 1, t] = z[t, :, width - 1 - age] - z[t - age, :, -1]
    everyone = _quiet(np.nanmean, found, axis=(0, 2))
    return {
        "corrected": found[0], "corrected_lately": _quiet(np.nanmean, found, axis=0),
        "corrected_everyone": everyone[:, None],
    }  # fmt: skip


def _crests(z: Floats, now: Floats, view: View) -> dict[str, Floats]:
    """How far below its last crest, and the highest ever, a place lies; and everyone."""
    base, count = z[:, :, -1], z.shape[0]
    filled = np.nan_to_num(now)
    everyone = np.nan_to_num(_quiet(np.nanmean, now[view.parts], axis=0))
    recent = [slice(max(0, t - PEAK), t + 1) for t in range(count)]
    crest = np.stack([filled[:, span].max(axis=1) for span in recent])
    theirs = np.array([everyone[t] - everyone[span].max() for t, span in enumerate(recent)])
    highest = np.maximum.accumulate(filled, axis=1).T
    return {"below_crest": base - crest, "below_ever": base - highest, "everyone_below_crest": theirs[:, None]}


def _slope(z: Floats, width: int) -> Floats:
    x = np.arange(width) - (width - 1) / 2
    return np.asarray((z[:, :, -width:] * x).sum(axis=2) / (x * x).sum())


def _quiet(measure: Callable[..., Any], value: Floats, *args: object, **named: object) -> Floats:
    """A measure over what is known; NaN, without a warning, where nothing is."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        return np.asarray(measure(value, *args, **named))


def _season(day: date) -> float:
    """Weeks since the first of August, when respiratory seasons are at rest in the north."""
    return (day - date(day.year if day.month >= 8 else day.year - 1, 8, 1)) / timedelta(days=7)
