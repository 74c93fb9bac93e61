"""One season's forecasts: what was known on a Wednesday, made into 23 quantiles for every place and horizon."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from sharewell.domain.errors import Invalid
from sharewell.domain.forecast import HUB_LEVELS
from sharewell_workers.forecasting.hub import bags, history, lessons, tables, windows
from sharewell_workers.forecasting.hub.sight import Rows, Sight
from sharewell_workers.forecasting.hub.tables import WEEK, Tables
from sharewell_workers.forecasting.recipe import Recipe

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]

HORIZONS = (0, 1, 2, 3)
KNOWN_BEFORE = timedelta(days=3)  #: forecasts may use what was public so long before the reference date
RECIPE = Recipe(
    levels=HUB_LEVELS, power=0.25, rounds=150, leaves=16, rate=0.06, min_leaf=60, feature_fraction=0.5, seeds=12,
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
        sight = Sight.of(windows.seen(self.tables, table))
        steps = [h + 1 + late for h in HORIZONS]
        wanted = sight.rows(steps, [len(sight.base) - 1])
        quantiles = bags.forecast(lessons.gather(sight, self.beside, steps, seed), wanted, self.recipe, seed)
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
