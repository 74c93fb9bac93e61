from __future__ import annotations

import json
from collections.abc import Callable
from datetime import date
from typing import Any

import pytest

from sharewell.domain.institutions import InstitutionKind
from sharewell.domain.quality import Flag
from sharewell.exchange import nj
from sharewell.exchange.feed import Feed, FeedRefused

Build = Callable[..., bytes]
Find = Callable[[Feed, str], dict[str, Any]]
NAME = "Marsupilami Medical Center"
IN_USE = [f"bed_inuse_{category}" for category in ("criticalcare", "intensivecare", "other", "surgical")]


def read(data: bytes, locations: bytes | None = None) -> Feed:
    return nj.read(data, latest=date(2026, 1, 1), locations=locations)


def test_beds_are_those_in_use_and_those_available(nj_file: Build, report_of: Find) -> None:
    feed = read(nj_file())
    beds, icu, machines = (report_of(feed, resource) for resource in ("bed.adult", "icu.adult", "ventilator"))
    assert (beds["staffed"], beds["occupied"], beds["admissions"], beds["staffed_mark"]) == (85, 35, 4, "reported")
    assert (icu["staffed"], icu["occupied"], icu["admissions"]) == (15, 10, None)
    assert (machines["staffed"], machines["occupied"]) == (None, 7)


def test_a_blank_part_counts_as_zero_and_the_sum_is_marked(nj_file: Build, report_of: Find) -> None:
    feed = read(nj_file([{"bed_inuse_criticalcare": None, "active_confirmed": 31, "active_suspected": 0}]))
    icu = report_of(feed, "icu.adult")
    assert (icu["occupied"], icu["occupied_mark"], icu["staffed"], icu["staffed_mark"]) == (6, "imputed", 11, "imputed")
    assert feed.quality.count(Flag.PARTS_MISSING) == 2


def test_a_sum_without_any_part_is_missing(nj_file: Build, report_of: Find) -> None:
    blank = dict.fromkeys(IN_USE[:2])
    icu = report_of(read(nj_file([blank | {"bed_avail_criticalcare": 2}])), "bed.adult")
    assert icu["occupied_mark"] == "imputed"
    feed = read(nj_file([blank]))
    assert "icu.adult" not in feed.reports["resource"].to_list()


def test_patients_stand_in_where_no_bed_in_use_is_counted(nj_file: Build, report_of: Find) -> None:
    feed = read(nj_file([dict.fromkeys(IN_USE)]))
    beds = report_of(feed, "bed.adult")
    assert (beds["occupied"], beds["staffed"], beds["occupied_mark"]) == (35, 85, "imputed")
    assert feed.quality.count(Flag.CENSUS_USED) == 1


def test_beds_and_patients_that_disagree_are_pointed_out(nj_file: Build) -> None:
    assert read(nj_file([{"active_confirmed": 60}])).quality.count(Flag.CENSUS_DIFFERS) == 1
    assert read(nj_file()).quality.count(Flag.CENSUS_DIFFERS) == 0


def test_a_unit_that_reports_nothing_has_no_reports(nj_file: Build) -> None:
    numbers = {column: None for column in nj.NEED if column not in nj.KEYS}
    store = {**numbers, "hosp_id": "STORE", "hosp_name": "Palumbia Health - Central Supply", "admitted": 0}
    feed = read(nj_file([{}, store]))
    assert set(feed.reports["institution_code"]) == {"us-nj-9900001"}
    assert [draft.kind for draft in feed.institutions] == [InstitutionKind.HOSPITAL, InstitutionKind.STOCKPILE]
    assert feed.quality.count(Flag.EMPTY_REPORT) == 3


def test_a_negative_count_is_left_out(nj_file: Build, report_of: Find) -> None:
    feed = read(nj_file([{"ventilators_inuse": -3}]))
    assert "ventilator" not in feed.reports["resource"].to_list()
    assert feed.quality.count(Flag.NEGATIVE) == 1


def test_of_rows_that_differ_the_last_counts(nj_file: Build, report_of: Find) -> None:
    feed = read(nj_file([{"ventilators_inuse": 3}, {}]))
    assert report_of(feed, "ventilator")["occupied"] == 7
    assert feed.quality.count(Flag.REPLACED_ROW) == 1


def test_locations_come_by_name(nj_file: Build) -> None:
    located = json.dumps({NAME: {"lat": 40.7, "long": -74.1}}).encode()
    feed = read(nj_file(), located)
    assert (feed.institutions[0].latitude, feed.institutions[0].longitude) == (40.7, -74.1)
    assert feed.companion_sha256
    assert read(nj_file()).quality.count(Flag.NOT_LOCATED) == 1


@pytest.mark.parametrize(
    ("locations", "names"),
    [
        (b"", "not JSON"),
        (b"\xff", "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b"[]", "must be an object"),
        (b'{"A": [1, 2]}', "column A"),
        (b'{"A": {"lat": 91, "long": 0}}', "lat of the location"),
        (b'{"A": {"lat": 1}}', "long of the location"),
        (b'{"A": {"lat": "1", "long": 0}}', "lat of the location"),
        (b'{"A": {"lat": true, "long": 0}}', "lat of the location"),
        (b'{"A": {"lat": NaN, "long": 0}}', "not JSON"),
        (b'{"A": {"lat": 1e999, "long": 0}}', "lat of the location"),
    ],
)  # fmt: skip
def test_wrong_locations_are_refused(nj_file: Build, locations: bytes, names: str) -> None:
    with pytest.raises(FeedRefused, match=names):
        read(nj_file(), locations)


@pytest.mark.parametrize(
    ("changed", "column"),
    [
        ({"date": "4/10/2020"}, "date"),
        ({"hosp_id": ""}, "hosp_id"),
        ({"hosp_name": ""}, "hosp_name"),
        ({"admitted": "NA"}, "admitted"),
        ({"bed_inuse_other": "1.5"}, "bed_inuse_other"),
    ],
)
def test_a_wrong_cell_is_refused_with_row_and_column(nj_file: Build, changed: dict[str, str], column: str) -> None:
    with pytest.raises(FeedRefused) as caught:
        read(nj_file([{"date": "2020-04-09"}, changed]))
    assert (caught.value.row, caught.value.column) == (3, column)
