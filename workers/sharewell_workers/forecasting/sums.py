"""Rows for sums: what `coherent` says of regions and of everybody, for the answers that were given for each series."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from sharewell.domain.errors import Invalid
from sharewell_workers.forecasting import coherent, counts

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from sharewell_workers.forecasting.panel import Grid

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]
    Misses = Callable[[Ints, int], Floats]

EVERYBODY = "all"  #: the series that is the sum of all
SUM = "sum"  #: the method
MOST_SERIES = 1200  #: the widest series of a panel stand for all when ties are learnt
LEARNT = 3  #: horizons that ties are learnt for; others take those of the nearest


def name(group: str) -> str:
    """The series that is the sum of a region."""
    return f"region:{group}"


def add_up(
    values: Floats,
    method: NDArray[np.object_],
    grid: Grid,
    horizons: Sequence[int],
    levels: tuple[int, ...],
    misses: Misses,
) -> pl.DataFrame:
    """Sums by region, and of all, of the answers `values` [S, H, L] given by `method` [S, H].

    `misses` gives past misses of chosen series for a horizon. Columns: series, target, horizon, level, value, method
    and fallback (how many of a sum's series the model does not speak for). Series without an answer are left out.
    """
    told = np.flatnonzero(~np.isnan(values).any(axis=(1, 2)))
    names = _names(grid, told)
    if not len(told):
        return pl.DataFrame()
    group = np.unique(grid.group[told], return_inverse=True)[1]
    learnt = _learn(values[told], told, group, horizons, misses)
    pieces = []
    for place, horizon in enumerate(horizons):
        made = coherent.scenarios(values[told, place], levels, group, learnt[place], seed=horizon)
        found = coherent.quantiles(coherent.total(made, group), levels)
        whole = _all_of(grid.whole[told], group)
        pieces.append(
            _rows(grid, names, horizon, levels, counts.rounded(found, whole), _why(method[told, place], group))
        )
    return pl.concat(pieces)


def _names(grid: Grid, told: Ints) -> list[str]:
    names = [name(grid.groups[g]) for g in np.unique(grid.group[told])] + [EVERYBODY]
    taken = set(names) & set(grid.names)
    if taken:
        raise Invalid(f"series {min(taken)!r} has the name of a sum; call it something else.", field="series")
    return names


def _learn(values: Floats, told: Ints, group: Ints, horizons: Sequence[int], misses: Misses) -> list[coherent.Ties]:
    """Ties for each horizon, learnt from the series with the widest forecasts, which move sums most."""
    chosen = np.unique(np.linspace(0, len(horizons) - 1, min(LEARNT, len(horizons))).round().astype(int))
    found = {}
    for place in chosen.tolist():
        spread = values[:, place, -1] - values[:, place, 0]
        widest = np.sort(np.argsort(-spread, kind="stable")[:MOST_SERIES])
        found[place] = coherent.ties(
            misses(told[widest], horizons[place]), spread[widest], group[widest], horizons[place]
        )
    return [found[min(found, key=lambda c: (abs(c - place), c))] for place in range(len(horizons))]


def _all_of(whole: NDArray[np.bool_], group: Ints) -> NDArray[np.bool_]:
    """[G + 1] which sums have only whole numbers in them."""
    broken = np.bincount(group, ~whole)
    return np.append(broken == 0, broken.sum() == 0)


def _why(method: NDArray[np.object_], group: Ints) -> list[str | None]:
    other, size = np.bincount(group, method != "model"), np.bincount(group)
    parts = zip(np.append(other, other.sum()).astype(int), np.append(size, size.sum()), strict=True)
    return [f"the model does not speak for {few} of {many} series" if few else None for few, many in parts]


def _rows(
    grid: Grid, names: list[str], horizon: int, levels: tuple[int, ...], found: Floats, why: list[str | None]
) -> pl.DataFrame:
    many = len(levels)
    return pl.DataFrame(
        {
            "series": [one for one in names for _ in levels],
            "target": [grid.day(grid.value.shape[1] - 1 + horizon)] * (len(names) * many),
            "horizon": horizon,
            "level": list(levels) * len(names),
            "value": found.ravel(),
            "method": SUM,
            "fallback": pl.Series([text for text in why for _ in levels], dtype=pl.String),
        },
        schema_overrides={"horizon": pl.Int64},
    )
