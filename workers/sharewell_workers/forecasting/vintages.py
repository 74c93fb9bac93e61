"""What was known when: tables that were corrected later, seen as they stood on each day of the past.

A model that learns from final numbers learns from a world nobody lived in. Here every past step is seen through the
table of its own time, and how first reports were corrected since is itself a feature.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from sharewell.domain.errors import Invalid
from sharewell_workers.forecasting import features, rolling
from sharewell_workers.forecasting.features import State
from sharewell_workers.forecasting.panel import Panel
from sharewell_workers.forecasting.series import as_known_on

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from sharewell_workers.forecasting.panel import Grid
    from sharewell_workers.forecasting.recipe import Recipe

    Floats = NDArray[np.float64]

SETTLING = 6  #: steps over which corrections of first reports are followed
MOST_CORRECTED = 0.5  #: a correction by more than this share is a change of definition, not of knowledge


@dataclass(frozen=True, slots=True)
class Vintages:
    """Weekly rows (as_of, series, day, value, and group if given): each holds from `as_of` until a newer one comes."""

    frame: pl.DataFrame
    _seen: dict[tuple[date, date], State] = field(default_factory=dict, compare=False, repr=False)

    @classmethod
    def of(cls, frame: pl.DataFrame) -> Vintages:
        """Check and order `frame`. Raises `Invalid` naming a column that is missing or has values of another kind."""
        kinds: dict[str, pl.DataType | type[pl.DataType]] = {
            "as_of": pl.Date, "series": pl.String, "day": pl.Date, "value": pl.Float64,
        }  # fmt: skip
        for name in kinds:
            if name not in frame.columns:
                raise Invalid(
                    f"column {name!r} is missing; the frame has {', '.join(frame.columns) or 'none'}.", field=name
                )
        try:
            rows = frame.select(
                *(pl.col(n).cast(t) for n, t in kinds.items()),
                (pl.col("group") if "group" in frame.columns else pl.lit("all")).cast(pl.String).alias("group"),
            )
        except pl.exceptions.PolarsError as error:
            raise Invalid(f"a column has values of another kind: {str(error).splitlines()[0]}", field="value") from None
        return cls(rows.drop_nulls(["as_of", "series", "day"]).sort("as_of", "series", "day", maintain_order=True))

    @property
    def series(self) -> list[str]:
        """Every series that ever appears, sorted."""
        return sorted(self.frame["series"].unique().to_list())

    def known_on(self, day: date) -> Panel:
        """The panel as it stood at the end of `day`."""
        return Panel.of(as_known_on(self.frame, day), step=7)

    def newest_step(self, day: date) -> date | None:
        """The newest step that at least half of the series had reported by `day`; None if there is none."""
        known = as_known_on(self.frame, day).drop_nulls("value").group_by("day").len()
        full = known.filter(pl.col("len") * 2 >= known["len"].max())["day"].max()
        return full if isinstance(full, date) else None

    def observe(self, until: date, cut: date, delay: timedelta, recipe: Recipe, season: int = 52) -> State:
        """What could be seen at each step up to `until`, each through the table `delay` after it, the last at `cut`.

        Steps before the first table are seen through the first table. Outcomes are those known at `cut`.
        """
        first = self.frame["as_of"].min()
        start = self.frame.filter(pl.col("as_of") <= cut)["day"].min()
        if not isinstance(first, date) or not isinstance(start, date) or start > until:
            raise Invalid(f"nothing was known on {cut}.", field="vintages")
        steps = [start + timedelta(days=7 * t) for t in range((until - start).days // 7 + 1)]
        newest = self._state(cut, until, start, recipe, season)
        tables = [min(day + delay, cut) for day in steps[:-1]] + [cut]
        old = [t for t, table in enumerate(tables) if table < first]
        state = _empty_like(newest)
        if old:
            _copy(self._state(first, steps[old[-1]], start, recipe, season), state, range(len(old)))
        reported = np.full_like(state.power, np.nan)
        corrected = np.full((SETTLING, *state.power.shape), np.nan)
        for t in range(len(old), len(steps)):
            seen = self._state(tables[t], steps[t], start, recipe, season) if t + 1 < len(steps) else newest
            _copy(seen, state, range(t, t + 1))
            reported[:, t] = seen.power[:, t]
            for k in range(1, min(SETTLING, t - len(old)) + 1):
                corrected[k - 1, :, t] = _correction(reported[:, t - k], seen.power[:, t - k])
        return _with_corrections(replace(state, power=newest.power, grid=newest.grid), corrected)

    def _state(self, table: date, until: date, start: date, recipe: Recipe, season: int) -> State:
        """What the table of one day shows of the steps `start..until`; kept, since many forecasts look back at it."""
        if (table, until) not in self._seen:
            rows = as_known_on(self.frame, table)
            missing = pl.DataFrame({"series": self.series}).with_columns(
                day=pl.lit(start), value=pl.lit(None, dtype=pl.Float64), group=pl.lit(None, dtype=pl.String)
            )
            panel = Panel.of(pl.concat([missing, rows.select(missing.columns)]), step=7)
            grid = _from(panel.grid(until), start)
            self._seen[table, until] = features.observe(grid, recipe, season)
        return self._seen[table, until]


def _from(grid: Grid, start: date) -> Grid:
    """The grid with its first column at `start`."""
    width = (grid.end - start).days // grid.step + 1
    missing = width - grid.value.shape[1]
    if missing <= 0:
        return replace(grid, value=grid.value[:, -width:], firm=grid.firm[:, -width:])
    blank = np.full((len(grid.names), missing), np.nan)
    return replace(
        grid, value=np.concatenate([blank, grid.value], axis=1),
        firm=np.concatenate([np.zeros(blank.shape, dtype=bool), grid.firm], axis=1),
    )  # fmt: skip


def _empty_like(state: State) -> State:
    return replace(
        state, base=np.full_like(state.base, np.nan), scale=np.full_like(state.scale, np.nan),
        count=np.zeros_like(state.count), power=np.full_like(state.power, np.nan),
        table=np.full_like(state.table, np.nan),
    )  # fmt: skip


def _copy(seen: State, into: State, columns: range) -> None:
    span = slice(columns.start, columns.stop)
    into.base[:, span], into.scale[:, span] = seen.base[:, span], seen.scale[:, span]
    into.count[:, span], into.table[:, span] = seen.count[:, span], seen.table[:, span]


def _correction(first: Floats, now: Floats) -> Floats:
    """By which share a first report was corrected since, on the powered scale."""
    known = first > 0
    share = np.where(known, now / np.where(known, first, 1.0) - 1, np.nan)
    return np.asarray(np.clip(share, -MOST_CORRECTED, MOST_CORRECTED))


def _with_corrections(state: State, corrected: Floats) -> State:
    """Add how first reports of the last steps were corrected: the newest, the series' own mean, everyone's mean."""
    own = rolling.mean_of(corrected)
    everyone = rolling.group_mean(own, np.zeros(len(own), dtype=np.int64))
    parts = {
        "corrected": corrected[0], "corrected_own": own * state.base / state.scale,
        "corrected_all": everyone * state.base / state.scale, "corrected_share": everyone,
    }  # fmt: skip
    more = np.stack([part.astype(np.float32) for part in parts.values()], axis=2)
    return replace(state, table=np.concatenate([state.table, more], axis=2), names=state.names + list(parts))
