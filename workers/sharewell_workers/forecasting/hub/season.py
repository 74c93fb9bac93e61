"""One season's forecasts: what was known on a Wednesday, made into 23 quantiles for every place and horizon."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from sharewell.domain.errors import Invalid
from sharewell.domain.forecast import HUB_LEVELS
from sharewell_workers.forecasting.hub import bags, epidemics, history, regions, reporting, tables
from sharewell_workers.forecasting.hub.bags import Lessons
from sharewell_workers.forecasting.hub.sight import WIDTH, Rows, Sight, View
from sharewell_workers.forecasting.hub.tables import WEEK, Tables
from sharewell_workers.forecasting.recipe import Recipe

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]

HORIZONS = (0, 1, 2, 3)
KNOWN_BEFORE = timedelta(days=3)  #: forecasts may use what was public so long before the reference date
AHEAD = 8  #: weeks past the newest that have a calendar
CARRIED = 4  #: weeks a place's last value may stand in for its newest
SETTLED = timedelta(weeks=12)  #: after which another signal's numbers are as good as final
WORLDS = 18  #: invented
INVENTED = 1.5  #: invented rows for each real one
MOST_LIVED = 20_000  #: rows of another signal
LEAST_INVENTED, MOST_INVENTED = 30_000, 45_000
WHOLE_WINDOW = 13  #: weeks of a window that make the older ones dispensable
RECIPE = Recipe(
    levels=HUB_LEVELS, power=0.25, rounds=150, leaves=16, rate=0.06, min_leaf=60, feature_fraction=0.5, seeds=6,
    size_weight=0.0, recency_halflife=0.0, calendar=True,
)  # fmt: skip
SCHEMA = {
    "reference_date": pl.Date, "location": pl.String, "horizon": pl.Int64, "target_end_date": pl.Date,
    "quantile": pl.Float64, "value": pl.Float64,
}  # fmt: skip


def read(truth: pl.DataFrame, vintages: pl.DataFrame, others: Sequence[pl.DataFrame] = ()) -> Hub:
    """Read a hub's files; `others` hold older weeks or other illnesses. Raises `Invalid` naming the column at fault.

    `truth` says which of the other files speak of the same signal; what was known at the time stands in `vintages`.
    """
    tables.read(truth, history.COLUMNS)
    rows = tables.read(vintages, list(tables.VINTAGE))
    older, beside = history.sorted_out(truth, others)
    return Hub(
        Tables.of(tables.with_history(rows, older) if older else rows),
        tuple(Tables.of(frame.with_columns(as_of=pl.lit(date.min))) for frame in beside),
    )


@dataclass(frozen=True, slots=True)
class Hub:
    """A season's tables, ready to be forecast from any of its reference dates."""

    tables: Tables
    beside: tuple[Tables, ...] = ()  #: other signals; their numbers are final ones, so only settled weeks are used
    recipe: Recipe = RECIPE

    def forecasts(self, reference: date, *, seed: int = 0, strict: bool = False) -> pl.DataFrame:
        """Forecasts in the hubs' columns for one reference date, made from what was public three days before it.

        Where a holiday delayed the table of that week, the one that came until the reference date is used, as the hubs
        allowed; `strict` forbids it. Places without a value in the newest weeks are left out. Raises `Invalid` if
        `reference` is no day weeks end on, or if nothing had been published.
        """
        if (reference - self.tables.start) % WEEK:
            raise Invalid(f"{reference} is no {self.tables.start:%A}, on which weeks end here.", field="dates")
        table, late = self._table(reference, strict=strict)
        sight = Sight.of(self._view(table))
        steps = [h + 1 + late for h in HORIZONS]
        wanted = sight.rows(steps, [len(sight.base) - 1])
        quantiles = bags.forecast(self._lessons(sight, steps, seed), wanted, self.recipe, seed)
        return self._rows(reference, wanted, sight.counts(wanted, quantiles), late)

    def late(self, reference: date, *, strict: bool = False) -> int:
        """Weeks by which the newest known one lies further back than usual."""
        return self._table(reference, strict=strict)[1]

    def _table(self, reference: date, *, strict: bool) -> tuple[int, int]:
        due = (reference - WEEK - self.tables.start).days // 7
        table = self.tables.on(reference - KNOWN_BEFORE)
        if not strict and self.tables.newest[table] < due:
            table = self.tables.on(reference)
        return table, max(0, due - int(self.tables.newest[table]))

    def _view(self, table: int) -> View:
        """What could be seen at each week up to the newest of `table`, each through the first table that spoke of it.

        The corrections that are to be expected are made, in windows as in what is known now.
        """
        last = int(self.tables.newest[table])
        weeks = tuple(self.tables.week(t) for t in range(last + 1 + AHEAD))
        regime = reporting.regimes(weeks[: last + 1])
        windows = np.full((last + 1, len(self.tables.places), WIDTH), np.nan)
        for t in range(last + 1):
            through = table if t == last else min(table, self.tables.first_with(t))
            begin = max(0, t - WIDTH + 1)
            windows[t, :, WIDTH - (t - begin + 1) :] = self.tables.values[through][:, begin : t + 1]
        windows = _broken(windows, regime)
        values = np.where(regime >= 0, self.tables.values[table][:, : last + 1], np.nan)
        fresh = np.array([week >= self.tables.published[0] - 2 * WEEK for week in weeks[: last + 1]])
        self._corrected(windows, values, fresh, regime)
        return View(
            _narrowed(_carried(windows), _reach(windows)), values, weeks, regime, fresh,
            regions.of(self.tables.places), self.tables.parts,
        )  # fmt: skip

    def _corrected(self, windows: Floats, values: Floats, fresh: NDArray[np.bool_], regime: Ints) -> None:
        growth = reporting.completion(windows, fresh, regime)
        for age in range(min(reporting.SETTLING, len(windows))):
            windows[:, :, WIDTH - 1 - age] *= growth[:, age]
            values[:, -1 - age] *= growth[-1, age]
        calm = reporting.odd_jump(windows, self.tables.parts)
        windows[:, :, -1] *= calm[:, None]
        values[:, -1] *= calm[-1]

    def _lessons(self, sight: Sight, steps: Sequence[int], seed: int) -> Lessons:
        """Real rows, and invented ones cut to what can be seen now."""
        real = sight.rows(steps).known
        stretches = [(len(sight.base) - 1 - real.week) // bags.STRETCH]
        pieces = [real]
        reach = _reach(sight.view.windows)
        want = min(max(INVENTED * len(real.week), LEAST_INVENTED), MOST_INVENTED)
        for number, other in enumerate(self.beside):
            settled = (sight.view.weeks[len(sight.base) - 1] - SETTLED - other.start).days // 7 + 1
            if settled < 2 * WIDTH:
                continue  # too little to learn from
            lived = _lived(other, settled, steps, reach)
            chance = np.random.Generator(np.random.PCG64([seed, 100 + number]))
            lived = lived.taken(chance.random(len(lived.week)) < MOST_LIVED / max(len(lived.week), 1))
            pieces.append(lived)
            stretches.append(500 + 100 * number + lived.week // bags.STRETCH)
        for number in range(WORLDS):
            drawn, rank = _invented(seed, number, tuple(steps), reach)
            invented = drawn.taken(rank < want / WORLDS)
            pieces.append(invented)
            stretches.append(1000 * (number + 1) + invented.week // bags.STRETCH)
        rows = Rows.joined(pieces)
        return Lessons(rows, np.concatenate(stretches), np.arange(len(rows.week)) < len(real.week))

    def _rows(self, reference: date, wanted: Rows, values: Floats, late: int) -> pl.DataFrame:
        good = np.flatnonzero(~np.isnan(values).any(axis=1))
        levels, horizon = len(self.recipe.levels), wanted.horizon[good] - 1 - late
        made = pl.DataFrame(
            {
                "reference_date": [reference] * (len(good) * levels),
                "location": np.repeat([self.tables.places[i] for i in wanted.place[good]], levels),
                "horizon": np.repeat(horizon, levels),
                "target_end_date": [reference + WEEK * int(h) for h in np.repeat(horizon, levels)],
                "quantile": np.tile(np.array(self.recipe.levels) / 1000, len(good)),
                "value": np.maximum.accumulate(values[good], axis=1).ravel(),
            },
            schema=SCHEMA,
        )
        return made.sort("location", "horizon", "quantile")


def _carried(windows: Floats) -> Floats:
    """Windows whose newest week, where it is missing, repeats the last known of the few before it."""
    filled = windows.copy()
    for age in range(1, CARRIED):
        gap = np.isnan(filled[:, :, -1])
        filled[gap, -1] = windows[gap, -1 - age]
    return filled


def _reach(windows: Floats) -> int:
    """How many of the newest weeks any place knows at the end; windows of the past are cut to it, to be alike."""
    known = int((~np.isnan(windows[-1])).any(axis=0).sum())
    return WIDTH if known >= WHOLE_WINDOW else max(known, 1)


def _lived(other: Tables, count: int, steps: Sequence[int], reach: int) -> Rows:
    """All rows of another signal's first `count` weeks."""
    count = min(count, other.values.shape[2])
    values, weeks = other.values[-1][:, :count], tuple(other.week(t) for t in range(count + AHEAD))
    regime = reporting.regimes(weeks[:count])
    view = View(
        _narrowed(_broken(_sliding(values), regime), reach), values, weeks, regime, np.zeros(count, dtype=bool),
        regions.of(other.places), other.parts,
    )  # fmt: skip
    return Sight.of(view).rows(steps).known


def _sliding(values: Floats) -> Floats:
    """[T, L, K] windows of [L, T] values that nobody corrected."""
    padded = np.concatenate([np.full((len(values), WIDTH - 1), np.nan), values], axis=1)
    return np.lib.stride_tricks.sliding_window_view(padded, WIDTH, axis=1).transpose(1, 0, 2).copy()


def _broken(windows: Floats, regime: Ints) -> Floats:
    """Windows that hold nothing from another reporting regime than their newest week's."""
    count = len(windows)
    back = np.arange(count)[:, None] - np.arange(WIDTH)[::-1]
    apart = (back < 0) | (regime[np.maximum(back, 0)] != regime[:, None]) | (regime[:, None] < 0)
    return np.where(apart[:, None, :], np.nan, windows)


def _narrowed(windows: Floats, reach: int) -> Floats:
    windows[:, :, : WIDTH - reach] = np.nan
    return windows


@lru_cache(maxsize=2 * WORLDS)
def _invented(seed: int, number: int, steps: tuple[int, ...], reach: int) -> tuple[Rows, Floats]:
    """Rows drawn from one invented world, as many as are ever wanted, and a rank by which fewer can be taken."""
    made = epidemics.world(seed, number)
    places, count = made.admissions.shape
    start = date(2019, 8, 3)  # the worlds' seasons rest in August
    view = View(
        _narrowed(_sliding(made.admissions), reach), made.admissions,
        tuple(start + WEEK * t for t in range(count + AHEAD)),
        np.zeros(count, dtype=np.int64), np.zeros(count, dtype=bool), made.region, np.arange(places - 1),
    )  # fmt: skip
    rows = Sight.of(view).rows(steps).known
    rank = np.random.Generator(np.random.PCG64([seed, number])).random(len(rows.week)) * len(rows.week)
    drawn = rank < MOST_INVENTED / WORLDS
    return rows.taken(drawn), rank[drawn]
