"""Movements between sites: people lie where there is a bed, but their need arose where they came from.

A site's demand is its census less those it took in from others, plus those it sent away. Only movements that change a
census count here: people who move to a place. A device that is lent serves the borrower's own need.
"""

from __future__ import annotations

import polars as pl

from sharewell.domain.errors import Invalid

COLUMNS = ("from", "to", "day", "quantity")


def take_out(rows: pl.DataFrame, moved: pl.DataFrame | None) -> pl.DataFrame:
    """Turn census into demand: take `transferred` units out of value, lower and upper, and keep the tag in the row.

    `moved` has the columns from, to (series; either may be outside the panel), day, quantity and optionally until (the
    day from which it no longer holds; null: it still does). It adds to the column transferred, where there is one:
    units present that belong elsewhere, negative for units away. Demand never falls below zero. Raises `Invalid` for
    movements that cannot be read.
    """
    rows = rows.with_columns(pl.col("transferred").fill_null(0.0))
    if moved is not None and moved.height:
        rows = rows.with_columns(pl.col("transferred") + _in_force(rows, moved))
    if not rows.select((pl.col("transferred") != 0).any()).item():
        return rows
    return rows.with_columns(
        (pl.col(n) - pl.col("transferred")).clip(lower_bound=0) for n in ("value", "lower", "upper")
    )


def _in_force(rows: pl.DataFrame, moved: pl.DataFrame) -> pl.Series:
    """Units at each row's site on its day that came from elsewhere, less those that went."""
    changes = _changes(moved).group_by("series", "day").agg(pl.col("units").sum()).sort("series", "day")
    running = changes.with_columns(pl.col("units").cum_sum().over("series")).sort("day")
    placed = rows.select("series", "day").with_row_index("_row").sort("day")
    found = placed.join_asof(running, on="day", by="series", strategy="backward").sort("_row")
    return found["units"].fill_null(0.0)


def _changes(moved: pl.DataFrame) -> pl.DataFrame:
    """One row for each change of a site's balance: when a movement begins and when it ends."""
    moved = _conform(moved)
    parts = [
        moved.select(series=site, day=day, units=sign * pl.col("quantity"))
        for site, sign in (("to", 1), ("from", -1))
        for day, sign in ((pl.col("day"), sign), (pl.col("until"), -sign))
    ]
    return pl.concat(parts).drop_nulls()


def _conform(moved: pl.DataFrame) -> pl.DataFrame:
    missing = [name for name in COLUMNS if name not in moved.columns]
    if missing:
        raise Invalid(f"movements have no column {missing[0]!r}; they need {', '.join(COLUMNS)}.", field="movements")
    until = pl.col("until") if "until" in moved.columns else pl.lit(None)
    try:
        read = moved.select(
            pl.col("from", "to").cast(pl.String), pl.col("day").cast(pl.Date), pl.col("quantity").cast(pl.Float64),
            until=until.cast(pl.Date),
        )  # fmt: skip
    except pl.exceptions.PolarsError as error:
        raise Invalid(f"movements cannot be read: {str(error).splitlines()[0]}", field="movements") from None
    if not read["quantity"].is_between(0, 1e9).all() or read["quantity"].null_count():
        raise Invalid("a movement's quantity must be a number of units, 0 or more.", field="movements")
    return read
