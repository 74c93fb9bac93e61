from __future__ import annotations

import hashlib
from collections.abc import Callable
from datetime import date
from typing import Any

import polars as pl
import pytest

from sharewell.domain.quality import Flag
from sharewell.exchange import hhs
from sharewell.exchange.feed import Feed, FeedRefused

BEDS, IN_BEDS = "all_adult_hospital_inpatient_beds", "all_adult_hospital_inpatient_bed_occupied"
ICU, IN_ICU = "total_staffed_adult_icu_beds", "staffed_adult_icu_bed_occupancy"
ADMITTED = "previous_day_admission_adult_covid_confirmed_7_day_sum"
LATEST = date(2026, 1, 1)
HIDDEN = -999999

Build = Callable[..., bytes]
Find = Callable[[Feed, str], dict[str, Any]]


def read(data: bytes) -> Feed:
    return hhs.read(data, latest=LATEST)


@pytest.fixture(params=["original", "r", "pandas"])
def dialect(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_every_dialect_gives_the_same_reports(hhs_file: Build, dialect: str, report_of: Find) -> None:
    feed = read(hhs_file([{f"{ICU}_7_day_avg": None}], dialect=dialect))
    assert feed.dialect == dialect
    beds, icu = report_of(feed, "bed.adult"), report_of(feed, "icu.adult")
    assert (beds["staffed"], beds["occupied"], beds["admissions"]) == (100, 80, 9)
    assert (icu["staffed"], icu["occupied"], icu["admissions"]) == (10, 6, None)
    assert (beds["as_of"], beds["period_days"], beds["coverage"]) == (date(2022, 3, 4), 7, 7)
    assert beds["staffed_mark"] == beds["occupied_mark"] == beds["admissions_mark"] == "reported"


@pytest.mark.parametrize(("dialect", "known_as"), [("original", "original"), ("r", "r")])
def test_a_file_without_words_of_truth_shows_its_dialect_by_what_is_missing(
    hhs_file: Build, dialect: str, known_as: str
) -> None:
    data = hhs_file([{ADMITTED: None}], dialect=dialect, drop=["is_metro_micro", "is_corrected"])
    feed = read(data)
    assert (feed.dialect, feed.institutions[0].equity_group) == (known_as, "general")


def test_a_suppressed_number_is_neither_zero_nor_missing(hhs_file: Build, dialect: str, report_of: Find) -> None:
    hidden = {f"{IN_ICU}_7_day_avg": HIDDEN, f"{IN_ICU}_7_day_sum": HIDDEN, ADMITTED: HIDDEN}
    feed = read(hhs_file([hidden], dialect=dialect))
    icu, beds = report_of(feed, "icu.adult"), report_of(feed, "bed.adult")
    assert (icu["occupied"], icu["occupied_mark"]) == (2, "suppressed")
    assert (beds["admissions"], beds["admissions_mark"]) == (2, "suppressed")


@pytest.mark.parametrize(("staffed", "taken_as"), [(7, 1), (14, 2), (70, 2)])
def test_a_suppressed_number_stays_within_what_its_pair_allows(
    hhs_file: Build, report_of: Find, staffed: int, taken_as: int
) -> None:
    hidden = {
        f"{IN_ICU}_7_day_avg": HIDDEN, f"{IN_ICU}_7_day_sum": HIDDEN, f"{ICU}_7_day_sum": staffed,
        f"{ICU}_7_day_avg": staffed / 7,
    }  # fmt: skip
    assert report_of(read(hhs_file([hidden])), "icu.adult")["occupied"] == taken_as


def test_a_hidden_average_with_a_published_total_is_reported(hhs_file: Build, report_of: Find) -> None:
    row = {f"{IN_ICU}_7_day_avg": HIDDEN, f"{IN_ICU}_7_day_sum": 25}
    icu = report_of(read(hhs_file([row], dialect="r")), "icu.adult")
    assert (icu["occupied"], icu["occupied_mark"]) == (4, "reported")


@pytest.mark.parametrize(
    ("total", "days", "mean"), [(24, 7, 3), (25, 7, 4), (35, 2, 18), (7, 2, 4), (0, 7, 0), (3, 7, 0)]
)
def test_the_mean_a_day_rounds_half_up_over_the_covered_days(
    hhs_file: Build, report_of: Find, total: int, days: int, mean: int
) -> None:
    row = {
        f"{IN_BEDS}_7_day_sum": total, f"{IN_BEDS}_7_day_coverage": days, f"{IN_BEDS}_7_day_avg": total / days,
    }  # fmt: skip
    beds = report_of(read(hhs_file([row])), "bed.adult")
    assert (beds["occupied"], beds["coverage"]) == (mean, min(days, 7))


def test_an_average_stands_in_for_a_missing_total_unless_it_may_be_filled(hhs_file: Build, report_of: Find) -> None:
    row = {f"{IN_BEDS}_7_day_sum": None, f"{IN_BEDS}_7_day_avg": 80.5}
    assert report_of(read(hhs_file([row], dialect="original")), "bed.adult")["occupied"] == 81
    assert report_of(read(hhs_file([row], dialect="pandas")), "bed.adult")["occupied"] is None


def test_a_filled_forward_average_is_left_out_and_said_so(hhs_file: Build, report_of: Find) -> None:
    row = {f"{IN_ICU}_7_day_avg": 9.4}
    feed = read(hhs_file([row], dialect="pandas"))
    assert report_of(feed, "icu.adult")["occupied"] == 6
    assert feed.quality.count(Flag.FILLED_AVERAGE) == 1
    assert read(hhs_file([row], dialect="r")).quality.count(Flag.AVERAGE_DIFFERS) == 1


def test_a_total_that_covers_no_day_is_left_out(hhs_file: Build, report_of: Find) -> None:
    row = {f"{IN_BEDS}_7_day_coverage": 0, f"{IN_BEDS}_7_day_avg": None}
    feed = read(hhs_file([row]))
    assert report_of(feed, "bed.adult")["occupied"] is None
    assert feed.quality.count(Flag.NO_COVERAGE) == 1


@pytest.mark.parametrize(
    ("changed", "row", "column"),
    [
        ({"is_metro_micro": "TRUE"}, 3, "is_metro_micro"),
        ({f"{BEDS}_7_day_sum": "NA"}, 3, f"{BEDS}_7_day_sum"),
        ({f"{BEDS}_7_day_sum": "many"}, 3, f"{BEDS}_7_day_sum"),
        ({f"{BEDS}_7_day_sum": 700.5}, 3, f"{BEDS}_7_day_sum"),
        ({f"{BEDS}_7_day_coverage": 8}, 3, f"{BEDS}_7_day_coverage"),
        ({f"{BEDS}_7_day_coverage": -1}, 3, f"{BEDS}_7_day_coverage"),
        ({"collection_week": "2022-03-40"}, 3, "collection_week"),
        ({"collection_week": "2026-01-02"}, 3, "collection_week"),
        ({"hospital_pk": ""}, 3, "hospital_pk"),
        ({"hospital_pk": "--"}, 3, "hospital_pk"),
        ({"state": "Rhode Island"}, 3, "state"),
    ],
)  # fmt: skip
def test_a_wrong_cell_is_refused_with_row_and_column(
    hhs_file: Build, changed: dict[str, object], row: int, column: str
) -> None:
    with pytest.raises(FeedRefused) as caught:
        read(hhs_file([{}, {"hospital_pk": "990002", **changed}]))
    assert (caught.value.row, caught.value.column) == (row, column)


def test_a_blank_number_in_an_r_file_is_refused_as_a_mixture(hhs_file: Build) -> None:
    with pytest.raises(FeedRefused, match=f"row 3, column {BEDS}_7_day_sum: is blank .* mixes two dialects"):
        read(hhs_file([{}, {"hospital_pk": "990002", f"{BEDS}_7_day_sum": ""}], dialect="r"))


@pytest.mark.parametrize("column", ["hospital_pk", "collection_week", "state", "hospital_name"])
def test_a_file_without_a_key_column_is_refused(hhs_file: Build, column: str) -> None:
    with pytest.raises(FeedRefused) as caught:
        read(hhs_file(drop=[column]))
    assert (caught.value.row, caught.value.column) == (1, column)


def test_a_resource_whose_columns_are_absent_is_left_out_and_said_so(hhs_file: Build) -> None:
    feed = read(hhs_file(drop=[f"{ICU}_7_day_sum"]))
    assert feed.reports["resource"].to_list() == ["bed.adult"]
    assert feed.quality.count(Flag.ABSENT_COLUMNS) == 1


def test_a_file_with_the_columns_of_no_resource_is_refused(hhs_file: Build) -> None:
    with pytest.raises(FeedRefused, match="no resource"):
        read(hhs_file(drop=[f"{ICU}_7_day_sum", f"{BEDS}_7_day_coverage"]))


def test_more_people_than_beds_wait_for_one_and_need_stays_what_was_reported(hhs_file: Build, report_of: Find) -> None:
    row = {f"{IN_ICU}_7_day_sum": 91, f"{IN_ICU}_7_day_avg": 13.0}
    feed = read(hhs_file([row]))
    icu = report_of(feed, "icu.adult")
    assert (icu["staffed"], icu["occupied"], icu["waiting"], icu["waiting_mark"]) == (10, 10, 3, "imputed")
    assert feed.quality.count(Flag.OVER_STAFFED) == 1


def test_numbers_too_far_apart_to_be_an_overflow_are_left_out(hhs_file: Build, report_of: Find) -> None:
    row = {f"{IN_ICU}_7_day_sum": 7 * 60, f"{IN_ICU}_7_day_avg": 60.0}
    feed = read(hhs_file([row]))
    assert feed.reports["resource"].to_list() == ["bed.adult"]
    assert feed.quality.count(Flag.CONTRADICTION) == 1


def test_zero_staffed_beside_patients_means_not_reported(hhs_file: Build, report_of: Find) -> None:
    feed = read(hhs_file([{f"{BEDS}_7_day_sum": 0, f"{BEDS}_7_day_avg": 0.0}]))
    beds = report_of(feed, "bed.adult")
    assert (beds["staffed"], beds["occupied"]) == (None, 80)
    assert feed.quality.count(Flag.ZERO_STAFFED) == 1


@pytest.mark.parametrize(("number", "flag"), [(-5, Flag.NEGATIVE), (99_000_000, Flag.TOO_LARGE)])
def test_an_impossible_number_is_left_out_and_the_rest_kept(
    hhs_file: Build, report_of: Find, number: int, flag: Flag
) -> None:
    feed = read(hhs_file([{f"{BEDS}_7_day_sum": number, f"{BEDS}_7_day_avg": None}]))
    beds = report_of(feed, "bed.adult")
    assert (beds["staffed"], beds["staffed_mark"], beds["occupied"]) == (None, None, 80)
    assert feed.quality.count(flag) == 1


def test_a_row_twice_counts_once(hhs_file: Build) -> None:
    feed = read(hhs_file([{}, {}]))
    assert feed.reports.height == 2
    assert (feed.quality.count(Flag.DUPLICATE_ROW), feed.quality.rows_left_out) == (1, 1)


@pytest.mark.parametrize("corrected_first", [True, False])
def test_of_rows_that_differ_the_corrected_one_counts(hhs_file: Build, report_of: Find, corrected_first: bool) -> None:
    rows = [{"is_corrected": True, f"{IN_BEDS}_7_day_sum": 595, f"{IN_BEDS}_7_day_avg": 85.0}, {}]
    feed = read(hhs_file(rows if corrected_first else rows[::-1]))
    assert report_of(feed, "bed.adult")["occupied"] == 85
    assert feed.quality.count(Flag.REPLACED_ROW) == 1


def test_of_rows_that_differ_and_are_not_corrected_the_last_counts(hhs_file: Build, report_of: Find) -> None:
    feed = read(hhs_file([{f"{IN_BEDS}_7_day_sum": 595, f"{IN_BEDS}_7_day_avg": 85.0}, {}]))
    assert report_of(feed, "bed.adult")["occupied"] == 80


def test_a_week_that_repeats_the_one_before_is_marked(hhs_file: Build) -> None:
    weeks = [{"collection_week": f"2022-03-{day:02}"} for day in (4, 11, 25)]
    feed = read(hhs_file(weeks))
    marks = feed.reports.filter(pl.col("resource") == "bed.adult").sort("as_of")["occupied_mark"].to_list()
    assert marks == ["reported", "carried_forward", "reported"]
    assert feed.quality.count(Flag.CARRIED_FORWARD) == 1


def test_an_empty_hospital_that_stays_empty_is_not_carried_forward(hhs_file: Build) -> None:
    nobody = {f"{stem}_7_day_{kind}": 0 for stem in (IN_BEDS, IN_ICU) for kind in ("sum", "avg")} | {ADMITTED: 0}
    feed = read(hhs_file([{**nobody, "collection_week": f"2022-03-{day:02}"} for day in (4, 11)]))
    assert feed.quality.count(Flag.CARRIED_FORWARD) == 0


def test_a_hospital_is_described_by_its_newest_row(hhs_file: Build) -> None:
    rows = [
        {"collection_week": "2022-03-11", "hospital_name": "NEW NAME", "is_metro_micro": False},
        {"hospital_name": "OLD NAME"},
    ]
    feed = read(hhs_file(rows))
    (hospital,) = feed.institutions
    assert (hospital.code, hospital.name, hospital.region) == ("us-hhs-990001", "NEW NAME", "us-ri")
    assert (hospital.latitude, hospital.longitude, hospital.equity_group) == (41.82, -71.41, "rural")
    assert feed.quality.count(Flag.OTHER_NAME) == 1


@pytest.mark.parametrize("place", ["15", "POINT (-471.4 41.8)", "POINT (x y)", None])
def test_a_place_that_is_none_leaves_the_hospital_unlocated(hhs_file: Build, place: str | None) -> None:
    feed = read(hhs_file([{"geocoded_hospital_address": place}]))
    assert (feed.institutions[0].latitude, feed.institutions[0].longitude) == (None, None)
    assert feed.quality.count(Flag.NOT_LOCATED) == 1


def test_identifiers_that_would_share_a_code_are_refused(hhs_file: Build) -> None:
    with pytest.raises(FeedRefused, match="same code"):
        read(hhs_file([{"hospital_pk": "a.1"}, {"hospital_pk": "a-1"}]))


def test_the_hash_is_that_of_the_bytes(hhs_file: Build) -> None:
    data = hhs_file()
    assert read(data).sha256 == hashlib.sha256(data).hexdigest()
