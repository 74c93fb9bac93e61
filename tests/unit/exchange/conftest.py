"""Small made-up files in each published format, for tests to change one thing in."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, TypeAlias

import polars as pl
import pytest

from sharewell.exchange.feed import Feed

Row: TypeAlias = Mapping[str, Any]
Build: TypeAlias = Callable[..., bytes]

LATEST = date(2026, 1, 1)
BEDS, IN_BEDS = "all_adult_hospital_inpatient_beds", "all_adult_hospital_inpatient_bed_occupied"
ICU, IN_ICU = "total_staffed_adult_icu_beds", "staffed_adult_icu_bed_occupancy"
ADMITTED = "previous_day_admission_adult_covid_confirmed_7_day_sum"


@dataclass(frozen=True)
class Spelling:
    """How a dialect of the HHS file writes a cell."""

    missing: str
    true: str
    false: str
    decimals: bool  #: whole numbers as 12.0

    def cell(self, value: object) -> str:
        if value is None:
            return self.missing
        if isinstance(value, bool):
            return self.true if value else self.false
        if isinstance(value, int) and self.decimals:
            return f"{value}.0"
        return str(value)


SPELLINGS = {
    "original": Spelling("", "true", "false", decimals=False),
    "r": Spelling("NA", "TRUE", "FALSE", decimals=False),
    "pandas": Spelling("", "True", "False", decimals=True),
}
ORDINARY: Row = {
    "hospital_pk": "990001", "collection_week": "2022-03-04", "state": "RI", "ccn": "990001",
    "hospital_name": "MARSUPILAMI GENERAL", "is_metro_micro": True,
    "geocoded_hospital_address": "POINT (-71.41 41.82)", "is_corrected": False,
    f"{BEDS}_7_day_avg": 100.0, f"{BEDS}_7_day_sum": 700, f"{BEDS}_7_day_coverage": 7,
    f"{IN_BEDS}_7_day_avg": 80.0, f"{IN_BEDS}_7_day_sum": 560, f"{IN_BEDS}_7_day_coverage": 7,
    f"{ICU}_7_day_avg": 10.0, f"{ICU}_7_day_sum": 70, f"{ICU}_7_day_coverage": 7,
    f"{IN_ICU}_7_day_avg": 6.0, f"{IN_ICU}_7_day_sum": 42, f"{IN_ICU}_7_day_coverage": 7,
    ADMITTED: 9,
}  # fmt: skip


@pytest.fixture
def hhs_file() -> Build:
    """Write an HHS facility file: each row says what differs from an ordinary one."""

    def build(rows: Sequence[Row] = ({},), *, dialect: str = "original", drop: Sequence[str] = ()) -> bytes:
        spelling = SPELLINGS[dialect]
        columns = [column for column in ORDINARY if column not in drop]
        lines = [
            ",".join(spelling.cell(value) for value in ({**ORDINARY, **row}[column] for column in columns))
            for row in rows
        ]
        return "\n".join([",".join(columns), *lines, ""]).encode()

    return build


DIVI_COLUMNS = (
    "datum", "bundesland_id", "bundesland_name", "behandlungsgruppe", "behandlungsgruppe_level_2",
    "anzahl_meldebereiche", "faelle_covid_erstaufnahmen", "intensivbetten_belegt", "intensivbetten_frei",
    "intensivbetten_7_tage_notfallreserve",
)  # fmt: skip
DIVI_ROW: Row = {
    "datum": "2021-03-01", "bundesland_id": "05", "bundesland_name": "Nordrhein-Westfalen",
    "behandlungsgruppe": "Erwachsene", "behandlungsgruppe_level_2": "ERWACHSENE", "anzahl_meldebereiche": 40,
    "faelle_covid_erstaufnahmen": 3, "intensivbetten_belegt": 300, "intensivbetten_frei": 60,
    "intensivbetten_7_tage_notfallreserve": 90,
}  # fmt: skip


@pytest.fixture
def divi_file() -> Build:
    """Write a DIVI file of the Länder."""

    def build(rows: Sequence[Row] = ({},)) -> bytes:
        lines = [
            ",".join("NA" if value is None else str(value) for value in {**DIVI_ROW, **row}.values()) for row in rows
        ]
        return "\n".join([",".join(DIVI_COLUMNS), *lines, ""]).encode()

    return build


NJ_ROW: Row = {
    "hosp_id": "9900001", "hosp_name": "Marsupilami Medical Center", "date": "2020-04-10",
    "active_confirmed": 30, "active_suspected": 5, "admitted": 4,
    "bed_avail_criticalcare": 2, "bed_avail_intensivecare": 3, "bed_avail_other": 5, "bed_avail_surgical": 40,
    "bed_inuse_criticalcare": 4, "bed_inuse_intensivecare": 6, "bed_inuse_other": 0, "bed_inuse_surgical": 25,
    "ventilators_inuse": 7,
}  # fmt: skip


@pytest.fixture
def nj_file() -> Build:
    """Write a New Jersey census."""

    def build(rows: Sequence[Row] = ({},)) -> bytes:
        lines = [",".join("" if value is None else str(value) for value in {**NJ_ROW, **row}.values()) for row in rows]
        return "\n".join([",".join(NJ_ROW), *lines, ""]).encode()

    return build


@pytest.fixture
def latest() -> date:
    return LATEST


@pytest.fixture
def report_of() -> Callable[[Feed, str], dict[str, Any]]:
    """The single report of a resource in a feed, as a dictionary."""

    def find(feed: Feed, resource: str) -> dict[str, Any]:
        (row,) = feed.reports.filter(pl.col("resource") == resource).to_dicts()
        return row

    return find
