"""Rolling-origin backtests on published hospital data: the model against seasonal-naive and persistence.

Usage: forecasting_backtest.py DATA [--sets nj hhs divi nhs] [--every N]. DATA is the folder of published data that
tests find as ../shared/data. Prints one JSON line for each set, by horizon with --horizons.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from sharewell_workers.forecasting import Panel, backtest


@dataclass(frozen=True, slots=True, kw_only=True)
class Set:
    """One published signal: where it is, what is counted, how far ahead, and from how many newest days."""

    name: str
    file: str
    columns: dict[str, pl.Expr]
    horizons: range
    origins: int
    every: int  #: steps between origins


HHS = "us_hhs_facility/facility_weekly_panel.parquet"
NJ = "us_nj_hospitals/hospital_daily.parquet"
DIVI = "de_divi/state_daily.parquet"
NHS = "uk_nhs_trusts/winter_sitrep_daily.parquet"


def _hhs(value: str) -> dict[str, pl.Expr]:
    # The panel repeats a hospital's last row where the source hides or lacks one: history, but no lesson and no task.
    mark = pl.when("unchanged").then(pl.lit("carried_forward")).otherwise(pl.lit("reported"))
    return {"series": pl.col("hospital_id"), "group": pl.col("state"), "day": pl.col("collection_week"),
            "value": pl.col(value), "mark": mark}  # fmt: skip


def _nj(*values: str) -> dict[str, pl.Expr]:
    value = pl.sum_horizontal(*values, ignore_nulls=False)
    return {"series": pl.col("hosp_id"), "day": pl.col("date"), "value": value}


def _divi(value: str) -> dict[str, pl.Expr]:
    return {"series": pl.concat_str("state_id", "care_group_l2", separator=" "), "group": pl.col("care_group_l2"),
            "day": pl.col("date"), "value": pl.col(value)}  # fmt: skip


def _nhs(value: str) -> dict[str, pl.Expr]:
    return {"series": pl.col("trust_code"), "group": pl.col("region"), "day": pl.col("date"), "value": pl.col(value)}


SETS = {
    "nj": [
        Set(name="NJ ventilators in use", file=NJ, columns=_nj("ventilators_inuse"), horizons=range(1, 8),
            origins=30, every=1),
        Set(name="NJ critical and intensive care", file=NJ, horizons=range(1, 8), origins=30, every=1,
            columns=_nj("bed_inuse_criticalcare", "bed_inuse_intensivecare")),
        Set(name="NJ surgical and other beds", file=NJ, horizons=range(1, 8), origins=30, every=1,
            columns=_nj("bed_inuse_surgical", "bed_inuse_other")),
    ],
    "hhs": [
        Set(name="HHS adult ICU", file=HHS, columns=_hhs("adult_icu_occupied"), horizons=range(1, 5),
            origins=24, every=2),
        Set(name="HHS adult inpatients", file=HHS, columns=_hhs("adult_inpatient_occupied"), horizons=range(1, 5),
            origins=24, every=2),
    ],
    "divi": [
        Set(name="DIVI ICU beds occupied", file=DIVI, columns=_divi("icu_beds_occupied"), horizons=range(1, 15),
            origins=360, every=30),
        Set(name="DIVI ICU COVID patients", file=DIVI, columns=_divi("icu_covid_patients"), horizons=range(1, 15),
            origins=360, every=30),
    ],
    "nhs": [
        Set(name="NHS adult critical care", file=NHS, columns=_nhs("cc_adult_occupied"), horizons=range(1, 15),
            origins=100, every=10),
        Set(name="NHS general and acute", file=NHS, columns=_nhs("ga_beds_occupied"), horizons=range(1, 15),
            origins=100, every=10),
    ],
}  # fmt: skip


def measure(data: Path, chosen: list[Set], *, horizons: bool = False) -> list[dict[str, Any]]:
    """One record for each set."""
    return [record for one in chosen for record in _run(data, one, horizons)]


def _run(data: Path, one: Set, horizons: bool) -> list[dict[str, Any]]:
    panel = Panel.of(pl.read_parquet(data / one.file).select(**one.columns))
    grid = panel.grid()
    last = grid.value.shape[1] - 1 - one.horizons[-1]
    days = [grid.day(c) for c in range(last, max(0, last - one.origins), -one.every)]
    begun = time.perf_counter()
    report = backtest(panel, one.horizons, origins=days)
    seconds = (time.perf_counter() - begun) / len(report.origins)
    return [
        {
            "benchmark": "forecast.backtest", "set": one.name, "horizon": h or "all",
            "origins": len(report.origins), "tasks": report.of("model", h).tasks,
            "wis": round(report.of("model", h).wis, 3),
            "relative_to_seasonal_naive": round(report.relative("seasonal-naive", h), 3),
            "relative_to_persistence": round(report.relative("persistence", h), 3),
            "coverage_50_80_95": [round(c, 3) for c in report.of("model", h).coverage],
            "season_steps": report.season, "seconds_per_origin": round(seconds, 2),
        }
        for h in ((0, *one.horizons) if horizons else (0,))
    ]  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--sets", nargs="+", choices=sorted(SETS), default=sorted(SETS))
    parser.add_argument("--horizons", action="store_true", help="a line for each horizon too")
    chosen = parser.parse_args()
    for one in (s for name in chosen.sets for s in SETS[name]):
        for record in _run(chosen.data, one, chosen.horizons):
            print(json.dumps(record), flush=True)


if __name__ == "__main__":
    main()
