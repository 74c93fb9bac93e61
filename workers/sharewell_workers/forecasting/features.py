"""What the model sees of a series on a day: only that day and the past, on a scale on which series are alike.

Values are raised to `Recipe.power`, taken as differences from the last known value, and divided by the series' own
recent volatility, so one model can learn from a hospital of ten beds and one of a thousand. What needs all series at
once is worked out first and is small; the table of features then falls apart by series, and any part can be made alone.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from sharewell_workers.forecasting import calendars, rolling

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from sharewell_workers.forecasting.panel import Grid
    from sharewell_workers.forecasting.recipe import Recipe

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]

SCALE_PRIOR = 4.0  #: weight, in steps, of all series' volatility in one series' own
LEAST_SCALE = 0.05  #: volatility of a series that never moves


class Tasks(NamedTuple):
    """Forecasts to be made or learnt from, one an element."""

    series: Ints  #: row of the grid
    column: Ints  #: where it is made
    horizon: Ints  #: steps it looks ahead

    def some(self, chosen: Ints, first: int) -> Tasks:
        """Some of the tasks, for series numbered from `first` on."""
        return Tasks(self.series[chosen] - first, self.column[chosen], self.horizon[chosen])


@dataclass(frozen=True, slots=True)
class State:
    """Series as seen from every column of a grid. Column t knows of columns 0..t only."""

    grid: Grid
    recipe: Recipe
    season: int  #: steps
    power: Floats  #: [S, T] values, powered; NaN where unknown
    base: Floats  #: [S, T] last known value, powered
    scale: Floats  #: [S, T] volatility of one step, powered units
    count: Floats  #: [S, T] values known so far
    beside: dict[str, Floats]  #: [S, T] last known values of other signals, powered
    restless: Floats  #: [S, T] root mean square of the moves in the longest window, powered units
    peers: dict[str, Floats]  #: [G, T] mean moves of groups, and [1, T] of everyone
    _cache: dict[str, Any] = field(default_factory=dict, compare=False, repr=False)

    @property
    def last(self) -> int:
        """The newest column."""
        return int(self.grid.value.shape[1]) - 1

    @property
    def parts(self) -> tuple[list[str], NDArray[np.float32]]:
        """What depends on series and day, not on the horizon: names and values [S, T, F]; made when first asked for."""
        if "parts" not in self._cache:
            self._cache["parts"] = _table(self)
        names, table = self._cache["parts"]
        return names, table

    def of(self, series: slice) -> State:
        """Some series alone; they see of all others what they saw before."""
        cut = {name: getattr(self, name)[series] for name in ("power", "base", "scale", "count", "restless")}
        beside = {name: other[series] for name, other in self.beside.items()}
        return replace(self, grid=self.grid.of(series), beside=beside, _cache={}, **cut)

    def ready(self) -> NDArray[np.bool_]:
        """[S, T] where the model may speak: a fresh enough last value and enough of them."""
        return ~np.isnan(self.base) & (self.count >= self.recipe.min_observed)

    def calm(self, tasks: Tasks) -> Floats:
        """What holidays leave of each task's outcome: 1 where there are none."""
        columns, place = np.unique(tasks.column + tasks.horizon, return_inverse=True)
        calm, keeps = _calm(self.grid, self.recipe, columns)
        return calm[keeps[tasks.series], place]

    def spread(self, tasks: Tasks) -> Floats:
        """Volatility over each task's horizon, were the series a random walk; powered units."""
        return np.asarray(self.scale[tasks.series, tasks.column] * np.sqrt(tasks.horizon))


def observe(grid: Grid, recipe: Recipe, season: int | None = None) -> State:
    """Work out what can be seen of all series at all columns."""
    z = powered(grid, grid.value, recipe)
    base, _ = rolling.carry(z, recipe.carry)
    move = base - rolling.shift(base, 1)
    scale = volatility(np.where(np.isnan(z), np.nan, move), recipe.power, recipe.scale_halflife)
    count = np.cumsum(~np.isnan(z), axis=1).astype(float)
    restless = rolling.window_spread(move, recipe.windows[-1])
    unknown = np.full_like(z, np.nan)
    others = {name: grid.beside.get(name, unknown) ** recipe.power for name in recipe.signals}
    beside = {name: rolling.carry(other, recipe.carry)[0] for name, other in others.items()}
    peers = _peers(grid, base, "", (1, *recipe.windows[:3]))
    for name, other in beside.items():
        peers |= _peers(grid, other, name, (1, recipe.windows[1]))
    return State(grid, recipe, season or grid.season, z, base, scale, count, beside, restless, peers)


def powered(grid: Grid, value: Floats, recipe: Recipe) -> Floats:
    """`value` [S, T] of a grid as weeks without holidays would have it, on the scale that steadies its spread."""
    calm, keeps = _calm(grid, recipe, np.arange(value.shape[1]))
    return np.asarray((value / calm[keeps]) ** recipe.power)


def _calm(grid: Grid, recipe: Recipe, columns: Ints) -> tuple[Floats, Ints]:
    """[H, N] what holidays leave of each of `columns`, by whose holidays they are, and [S] whose a series keeps."""
    days = [grid.day(int(column)) for column in columns]
    codes, keeps = grid.homes(recipe.country)
    return np.stack([recipe.lull.calm(days, code) for code in codes]), keeps


def _table(state: State) -> tuple[list[str], NDArray[np.float32]]:
    z, base, scale, recipe = state.power, state.base, state.scale, state.recipe
    move = base - rolling.shift(base, 1)
    parts = _past(z, base, scale, recipe) | _moves(move, scale, recipe)
    for name, mean in state.peers.items():
        parts[name] = (mean[state.grid.group] if name.startswith("group") else mean) / scale
    for name, other in state.beside.items():
        parts |= {f"move{w} {name}": (other - rolling.shift(other, w)) / scale for w in (1, recipe.windows[1])}
        parts[f"over {name}"] = (base - other) / scale
    _, age = rolling.carry(z, recipe.carry)
    _, seen = rolling.carry(np.where(state.grid.firm, z, np.nan), z.shape[1])
    # A value that was carried forward is known today but tells of an earlier day.
    parts |= {"level": base, "scale": np.log(scale), "age": age, "unheard": seen}
    return list(parts), np.stack([part.astype(np.float32) for part in parts.values()], axis=2)


def volatility(move: Floats, power: float, halflife: float) -> Floats:
    """Fading root mean square of a series' moves, drawn towards that of all series while it is young."""
    own, weight = rolling.fading_mean(move * move, halflife)
    everyone = np.zeros(len(move), dtype=np.int64)
    pooled = rolling.group_mean(own, everyone, np.minimum(weight, SCALE_PRIOR))
    # Before anything has moved: the difference of two Poisson counts, by the delta method at a mean of one.
    pooled = np.where(np.isnan(pooled), 2 * power * power, pooled)
    mixed = (np.where(np.isnan(own), 0.0, own) * weight + SCALE_PRIOR * pooled) / (weight + SCALE_PRIOR)
    return np.maximum(np.sqrt(mixed), LEAST_SCALE)


def _past(z: Floats, base: Floats, scale: Floats, recipe: Recipe) -> dict[str, Floats]:
    """Where the series has been, seen from where it is."""
    parts = {f"lag{k}": (rolling.shift(base, k) - base) / scale for k in recipe.lags}
    for width in recipe.windows:
        parts[f"mean{width}"] = (rolling.window_mean(z, width) - base) / scale
        parts[f"slope{width}"] = rolling.window_slope(z, width) / scale
    usual, weight = rolling.fading_mean(z, 4 * recipe.scale_halflife)
    return parts | {
        "below_peak": (np.fmax.accumulate(z, axis=1) - base) / scale,
        "above_floor": (base - np.fmin.accumulate(z, axis=1)) / scale,
        "from_usual": (usual - base) / scale,
        "memory": weight,
    }


def _moves(move: Floats, scale: Floats, recipe: Recipe) -> dict[str, Floats]:
    """How restless the series is now, compared with its longer self."""
    return {f"restless{w}": rolling.window_spread(move, w) / scale for w in recipe.windows}


def _peers(grid: Grid, base: Floats, name: str, widths: Sequence[int]) -> dict[str, Floats]:
    """Where groups [G, T], and everyone [1, T], are heading: mean moves of a signal over short and longer spans."""
    everyone = np.zeros(len(base), dtype=np.int64)
    parts = {}
    for width in widths:
        trend = base - rolling.shift(base, width)
        parts[f"group{width} {name}".strip()] = rolling.group_table(trend, grid.group)
        parts[f"all{width} {name}".strip()] = rolling.group_table(trend, everyone)
    return parts


def rows(state: State, tasks: Tasks) -> tuple[NDArray[np.float32], list[str]]:
    """Features of each task, one row each, and their names."""
    at, column, horizon = tasks
    base, scale = state.base[at, column], state.scale[at, column]
    parts: dict[str, Floats] = {"horizon": horizon.astype(float)}
    # The same place in the newest season that is known, and in the one before.
    back = column + horizon - state.season * -(-horizon // state.season)
    for lap in (0, 1):
        parts[f"season{lap}"] = (_look(state.power, at, back - lap * state.season) - base) / scale
    # What the same span brought one season ago.
    parts["season_move"] = (_look(state.base, at, back) - _look(state.base, at, back - horizon)) / scale
    parts |= _calendar(state, at, column + horizon)
    ahead = np.stack([part.astype(np.float32) for part in parts.values()], axis=1)
    names, table = state.parts
    return np.concatenate([table[at, column], ahead], axis=1), names + list(parts)


def _look(value: Floats, at: Ints, column: Ints) -> Floats:
    found = value[at, np.maximum(column, 0)]
    return np.where(column >= 0, found, np.nan)


def _calendar(state: State, at: Ints, column: Ints) -> dict[str, Floats]:
    """Weekday of a daily target; season and Christmas of a weekly one, if history is long enough to learn them.

    Of days, also the holidays that the series `at` keep, if the recipe names any; weeks are seen without them, see
    `powered`.
    """
    columns, place = np.unique(column, return_inverse=True)
    days = [state.grid.day(int(c)) for c in columns]
    parts: dict[str, Floats] = {}
    if state.grid.step == 1:
        parts["weekday"] = np.array([float(d.weekday()) for d in days])
    elif state.recipe.calendar:
        parts["season_week"] = np.array([_season_week(d) for d in days])
        parts["to_christmas"] = np.array([weeks_to_christmas(d) for d in days])
    found = {name: part[place] for name, part in parts.items()}
    if state.recipe.country and state.grid.step == 1:
        codes, keeps = state.grid.homes(state.recipe.country)
        told = [calendars.features(days, code) for code in codes]
        found |= {name: np.stack([one[name] for one in told])[keeps[at], place] for name in told[0]}
    return found


def _season_week(day: date) -> float:
    """Weeks since the first of August, when respiratory seasons are at rest in the north."""
    start = date(day.year if day.month >= 8 else day.year - 1, 8, 1)
    return float((day - start).days // 7)


def weeks_to_christmas(day: date) -> float:
    """Weeks from `day` to the nearest 25 December, negative after it."""
    near = min((date(y, 12, 25) for y in (day.year - 1, day.year)), key=lambda d: abs(d - day))
    return (near - day) / timedelta(days=7)
