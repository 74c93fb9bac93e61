"""Vintages: what was known on a day, and which values have been restated since they first appeared."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from sharewell.domain.errors import Invalid

if TYPE_CHECKING:
    from datetime import date


def as_known_on(frame: pl.DataFrame, day: date) -> pl.DataFrame:
    """Keep of a frame of vintages (column as_of) what was known at the end of `day`: the newest row per series and day.

    A row appears only when a value first appears or changes, so an unchanged value keeps its older row.
    """
    if "as_of" not in frame.columns:
        raise Invalid("the frame of vintages has no column as_of.", field="as_of")
    known = frame.filter(pl.col("as_of") <= day).sort("as_of", maintain_order=True)
    return known.unique(["series", "day"], keep="last", maintain_order=True).drop("as_of")


def newest(rows: pl.DataFrame, known_on: date | None, *, sent: bool) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The view of `known_on` (None: of the last day), tagged with restated; and how many values were, by series.

    `sent`: whether the sender told when each row became known. Rows without as_of count as known from the beginning.
    """
    if not sent:
        if known_on is not None:
            raise Invalid("the frame of vintages has no column as_of.", field="as_of")
        return rows.with_columns(restated=pl.lit(value=False)), rows.clear().select("series", restated=pl.lit(0))
    if known_on is not None:
        rows = rows.filter(pl.col("as_of").is_null() | (pl.col("as_of") <= known_on))
    rows = rows.sort("as_of", maintain_order=True, nulls_last=False)
    told = rows.select("series", "day", versions=pl.col("value").drop_nulls().n_unique().over("series", "day"))
    rows = rows.with_columns(restated=told["versions"] > 1)
    # Of the versions of a value the newest holds; two rows of one version are a duplicate, which is counted later.
    latest = pl.col("as_of").is_null() & pl.col("as_of").max().over("series", "day").is_null()
    rows = rows.filter(latest | (pl.col("as_of") == pl.col("as_of").max().over("series", "day")))
    counted = rows.unique(["series", "day"]).group_by("series").agg(pl.col("restated").sum())
    return rows, counted
