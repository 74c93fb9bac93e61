"""Older weeks, and weeks of other illnesses: files beside a hub's own, told apart by what they say.

A file has a hub's columns, or those of the weekly hospital respiratory data of the US National Healthcare Safety
Network (weekendingdate, jurisdiction, one column an illness). What agrees with the truth where both speak is the same
signal and makes its history longer; anything else is another signal, to learn from how its waves went.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from sharewell.domain.errors import Invalid
from sharewell_workers.forecasting.hub import regions, tables

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

COLUMNS = ("location", "target_end_date", "value")
NETWORK = ("weekendingdate", "jurisdiction")
ILLNESSES = ("totalconfflunewadm", "totalconfc19newadm", "totalconfrsvnewadm")
AGREES = 0.2  #: median relative difference under which two files speak of the same signal
FAINT = 5.0  #: admissions below which a relative difference says little


def sorted_out(truth: pl.DataFrame, files: Sequence[pl.DataFrame]) -> tuple[list[pl.DataFrame], list[pl.DataFrame]]:
    """Frames (location, target_end_date, value) of the truth's own signal, and of others.

    Raises `Invalid` for a file that has neither form.
    """
    same: list[pl.DataFrame] = []
    other: list[pl.DataFrame] = []
    for frame in (part for file in files for part in _frames(file)):
        (same if _agrees(truth, frame) else other).append(frame)
    return same, other


def _frames(file: pl.DataFrame) -> Iterable[pl.DataFrame]:
    if not set(NETWORK) <= set(file.columns):
        yield tables.read(file, COLUMNS)
        return
    found = [name for name in ILLNESSES if name in file.columns]
    if not found:
        raise Invalid(f"the network's file has none of the columns {', '.join(ILLNESSES)}.", field="history")
    place = pl.col("jurisdiction").replace_strict(regions.CODES, default=None, return_dtype=pl.String)
    for name in found:
        named = file.select(location=place, target_end_date="weekendingdate", value=name)
        yield tables.read(named, COLUMNS).drop_nulls()


def _agrees(truth: pl.DataFrame, frame: pl.DataFrame) -> bool:
    """Whether `frame` says the same as `truth` where both speak; True where they nowhere do."""
    both = tables.read(truth, COLUMNS).join(frame, on=["location", "target_end_date"], suffix="_other").drop_nulls()
    off = (pl.col("value") - pl.col("value_other")).abs() / (pl.col("value") + FAINT)
    middle = both.select(off.median()).item()
    return middle is None or middle < AGREES
