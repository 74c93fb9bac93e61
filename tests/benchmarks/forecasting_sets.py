"""Published hospital data as panels for backtests: where each signal is, what is counted, and what lies beside it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import polars as pl

from sharewell_workers.forecasting import Panel


@dataclass(frozen=True, slots=True, kw_only=True)
class Set:
    """One published signal: where it is, what is counted, how far ahead, and from how many newest days."""

    name: str
    file: str
    columns: dict[str, pl.Expr]
    value: str | tuple[str, ...]  #: the column that is forecast, or those whose sum is
    beside: tuple[str, ...] = ()  #: columns of other signals that the model may look at
    country: str  #: whose holidays are kept
    horizons: range
    origins: int
    every: int  #: steps between origins

    def panel(self, data: Path) -> Panel:
        """The signal, and what lies beside it, from the folder of published data."""
        rows = pl.read_parquet(data / self.file)
        panel = self._of(rows, self.value)
        return panel.seen_with(**{name: self._of(rows, name, panel.step) for name in self.beside})

    def _of(self, rows: pl.DataFrame, value: str | tuple[str, ...], step: int | None = None) -> Panel:
        counted = pl.sum_horizontal(*([value] if isinstance(value, str) else value), ignore_nulls=False)
        frame = rows.select(**self.columns, value=counted.cast(pl.Float64)).sort("series", "day")
        if "mark" in self.columns:
            # A hospital that has never reported stands in the HHS panel as zero.
            begun = pl.col("value").cum_max().over("series") > 0
            frame = frame.with_columns(value=pl.when(begun).then("value"))
        return Panel.of(frame, step=step, country=self.country)


# The panel repeats a hospital's last row where the source hides or lacks one: history, but no lesson and no task.
HHS = {
    "series": pl.col("hospital_id"), "group": pl.col("state"), "day": pl.col("collection_week"),
    "mark": pl.when("unchanged").then(pl.lit("carried_forward")).otherwise(pl.lit("reported")),
}  # fmt: skip
NJ = {"series": pl.col("hosp_id"), "day": pl.col("date")}
DIVI = {
    "series": pl.concat_str("state_id", "care_group_l2", separator=" "), "group": pl.col("care_group_l2"),
    "day": pl.col("date"),
}  # fmt: skip
NHS = {"series": pl.col("trust_code"), "group": pl.col("region"), "day": pl.col("date")}


def _hhs(name: str, value: str, *beside: str) -> Set:
    return Set(
        name=name, file="us_hhs_facility/facility_weekly_panel.parquet", columns=HHS, value=value, beside=beside,
        country="US", horizons=range(1, 5), origins=24, every=2,
    )  # fmt: skip


def _nj(name: str, *value: str) -> Set:
    return Set(
        name=name, file="us_nj_hospitals/hospital_daily.parquet", columns=NJ, value=value, country="US",
        horizons=range(1, 8), origins=30, every=1,
    )  # fmt: skip


def _divi(name: str, value: str, *beside: str) -> Set:
    return Set(
        name=name, file="de_divi/state_daily.parquet", columns=DIVI, value=value, beside=beside, country="DE",
        horizons=range(1, 15), origins=360, every=30,
    )  # fmt: skip


def _nhs(name: str, value: str, *beside: str) -> Set:
    return Set(
        name=name, file="uk_nhs_trusts/winter_sitrep_daily.parquet", columns=NHS, value=value, beside=beside,
        country="GB", horizons=range(1, 15), origins=100, every=10,
    )  # fmt: skip


SETS = {
    "nj": [
        _nj("NJ ventilators in use", "ventilators_inuse"),
        _nj("NJ critical and intensive care", "bed_inuse_criticalcare", "bed_inuse_intensivecare"),
        _nj("NJ surgical and other beds", "bed_inuse_surgical", "bed_inuse_other"),
    ],
    "hhs": [
        _hhs("HHS adult ICU", "adult_icu_occupied", "adult_covid_occupied", "adult_icu_covid_occupied",
             "adult_inpatient_occupied", "adult_icu_beds"),
        _hhs("HHS adult inpatients", "adult_inpatient_occupied", "adult_covid_occupied", "adult_icu_occupied",
             "adult_inpatient_beds"),
    ],
    "divi": [
        _divi("DIVI ICU beds occupied", "icu_beds_occupied", "icu_covid_patients", "icu_beds_free"),
        _divi("DIVI ICU COVID patients", "icu_covid_patients", "icu_beds_occupied", "icu_covid_admissions"),
        _divi("DIVI ICU beds free", "icu_beds_free", "icu_beds_occupied", "free_invasive_vent_capacity"),
        _divi("DIVI free ventilation", "free_invasive_vent_capacity", "icu_beds_occupied", "icu_beds_free"),
    ],
    "nhs": [
        _nhs("NHS adult critical care", "cc_adult_occupied", "cc_adult_open", "ga_beds_occupied"),
        _nhs("NHS general and acute", "ga_beds_occupied", "ga_beds_open", "cc_adult_occupied"),
    ],
}  # fmt: skip
