"""Units: all values of a panel are counted in one unit. What can be converted is; what cannot is refused by name.

Multiples and rates are known here. Any other word, such as `{bed}`, is a unit that converts to nothing else.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from sharewell.domain.errors import Invalid

if TYPE_CHECKING:
    from collections.abc import Mapping

#: unit: (what it is a multiple of, how many of these)
MULTIPLES: Mapping[str, tuple[str, float]] = {
    "count": ("count", 1.0), "dozen": ("count", 12.0), "hundred": ("count", 100.0), "thousand": ("count", 1000.0),
    "mL": ("L", 0.001), "L": ("L", 1.0), "g": ("kg", 0.001), "kg": ("kg", 1.0),
}  # fmt: skip
#: unit: how many of the count one of them is, for each one of the series' `size` (population, staffed beds)
RATES: Mapping[str, float] = {"per_100k": 1e-5, "percent": 0.01, "fraction": 1.0}


def convert(rows: pl.DataFrame, wanted: str | None) -> tuple[pl.DataFrame, pl.DataFrame, str | None]:
    """Put value, lower and upper into one unit: `wanted`, or the one that the rows' units are multiples of.

    Returns the rows, the unit each series came in, and the unit they are in now (None where nobody said). A row
    without a unit has its series' other unit. Raises `Invalid` for units that cannot be converted into each other, and
    for a rate of a series without a size.
    """
    rows = rows.with_columns(pl.col("unit").fill_null(pl.col("unit").drop_nulls().first().over("series")))
    units = rows["unit"].drop_nulls().unique().sort().to_list()
    came = rows.group_by("series").agg(pl.col("unit").drop_nulls().unique().sort().str.join(" "))
    came = came.with_columns(pl.col("unit").replace("", None))
    if not units:
        return rows, came, wanted
    _of_one_kind(rows, units)
    target = wanted if wanted is not None else _base(units[0]) if len(units) > 1 or units[0] in RATES else units[0]
    if _base(target) != _base(units[0]) or target in RATES:
        raise Invalid(f"values in {units[0]!r} cannot be told in {target!r}.", field="unit")
    if (
        set(units) & set(RATES)
        and rows.select((pl.col("unit").is_in(list(RATES)) & pl.col("size").is_null()).any()).item()
    ):
        raise Invalid("a rate needs the column size: how many people or beds it is a rate of.", field="size")
    size = pl.when(pl.col("unit").is_in(list(RATES))).then(pl.col("size")).otherwise(1.0)
    each = pl.col("unit").replace_strict({u: _worth(u) / _worth(target) for u in units}, default=1.0) * size
    if units == [target]:
        return rows, came, target
    return rows.with_columns(pl.col("value", "lower", "upper") * each), came, target


def _of_one_kind(rows: pl.DataFrame, units: list[str]) -> None:
    kinds = {u: _base(u) for u in units}
    if len(set(kinds.values())) < 2:
        return
    kind = rows.drop_nulls("unit").select("series", "unit", kind=pl.col("unit").replace_strict(kinds))
    mixed = (
        kind.group_by("series").agg(pl.col("unit").unique().sort(), n=pl.col("kind").n_unique()).filter(pl.col("n") > 1)
    )
    if mixed.height:
        name, found, _ = mixed.sort("series").row(0)
        raise Invalid(
            f"series {name!r} is told in {' and '.join(found)}, which cannot be converted into each other.",
            field="unit",
        )
    first = kind.sort("series", "unit").unique("kind", keep="first", maintain_order=True).rows(named=True)
    (one, two), text = first[:2], "series {!r} is told in {} and series {!r} in {}; send one resource at a time."
    raise Invalid(text.format(one["series"], one["unit"], two["series"], two["unit"]), field="unit")


def _base(unit: str) -> str:
    return "count" if unit in RATES else MULTIPLES.get(unit, (unit, 1.0))[0]


def _worth(unit: str) -> float:
    return RATES.get(unit) or MULTIPLES.get(unit, (unit, 1.0))[1]
