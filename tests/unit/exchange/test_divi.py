from __future__ import annotations

from collections.abc import Callable
from datetime import date, timedelta
from typing import Any

import pytest

from sharewell.domain.institutions import InstitutionKind
from sharewell.domain.quality import Flag
from sharewell.exchange import divi
from sharewell.exchange.feed import Feed, FeedRefused

Build = Callable[..., bytes]
Find = Callable[[Feed, str], dict[str, Any]]


def read(data: bytes) -> Feed:
    return divi.read(data, latest=date(2026, 1, 1))


def test_operable_beds_are_the_occupied_and_the_free(divi_file: Build, report_of: Find) -> None:
    icu = report_of(read(divi_file()), "icu.adult")
    assert (icu["staffed"], icu["occupied"], icu["admissions"], icu["period_days"], icu["coverage"]) == (
        360,
        300,
        3,
        1,
        1,
    )


def test_a_reserve_of_seven_days_is_no_surge_of_72_hours(divi_file: Build, report_of: Find) -> None:
    assert report_of(read(divi_file()), "icu.adult")["surge_72h"] is None


def test_na_is_missing_and_never_zero(divi_file: Build, report_of: Find) -> None:
    icu = report_of(read(divi_file([{"intensivbetten_frei": None, "faelle_covid_erstaufnahmen": None}])), "icu.adult")
    assert (icu["staffed"], icu["staffed_mark"], icu["occupied"], icu["admissions"]) == (None, None, 300, None)


@pytest.mark.parametrize(
    ("day", "source"),
    [
        ("2021-12-21", "divi"),
        ("2021-12-22", "divi-2021-12"),
        ("2023-05-03", "divi-2021-12"),
        ("2023-05-04", "divi-2023-05"),
    ],
)
def test_the_source_says_under_which_definition_a_day_was_counted(
    divi_file: Build, report_of: Find, day: str, source: str
) -> None:
    feed = read(divi_file([{"datum": day}]))
    assert report_of(feed, "icu.adult")["source"] == source
    assert feed.quality.count(Flag.NEW_DEFINITION) == (0 if source == "divi" else 1)


def test_the_total_of_all_laender_is_not_counted_again(divi_file: Build) -> None:
    feed = read(divi_file([{}, {"bundesland_id": "00", "bundesland_name": "Deutschland"}]))
    assert feed.reports["institution_code"].to_list() == ["de-divi-05"]
    assert [draft.code for draft in feed.institutions] == ["de-divi-05"]
    assert feed.quality.count(Flag.TOTAL_ROW) == 1


def test_a_land_is_one_institution_at_its_capital(divi_file: Build) -> None:
    (land,) = read(divi_file()).institutions
    assert (land.kind, land.region, land.name) == (InstitutionKind.REGION, "de", "Nordrhein-Westfalen")
    assert (land.latitude, land.longitude) == (51.23, 6.78)


def test_days_with_few_wards_reporting_are_pointed_out(divi_file: Build) -> None:
    days = [
        {"datum": str(date(2021, 3, 1) + timedelta(n)), "anzahl_meldebereiche": 31 if n == 15 else 40,
         "intensivbetten_belegt": 300 + n}
        for n in range(30)
    ]  # fmt: skip
    (few,) = [hit for hit in read(divi_file(days)).quality.flags if hit.flag is Flag.FEW_AREAS]
    assert (few.count, few.rows) == (1, (17,))


def test_a_day_that_repeats_every_figure_is_marked(divi_file: Build, report_of: Find) -> None:
    feed = read(divi_file([{}, {"datum": "2021-03-02"}, {"datum": "2021-03-03", "anzahl_meldebereiche": 41}]))
    assert feed.reports["occupied_mark"].to_list() == ["reported", "carried_forward", "reported"]


@pytest.mark.parametrize(
    ("changed", "column"),
    [
        ({"bundesland_id": "17"}, "bundesland_id"),
        ({"bundesland_id": "5"}, "bundesland_id"),
        ({"behandlungsgruppe": "Kinder"}, "behandlungsgruppe"),
        ({"behandlungsgruppe_level_2": "KINDER"}, "behandlungsgruppe_level_2"),
        ({"datum": "01.03.2021"}, "datum"),
        ({"intensivbetten_belegt": ""}, "intensivbetten_belegt"),
        ({"intensivbetten_frei": "keine"}, "intensivbetten_frei"),
    ],
)
def test_a_wrong_cell_is_refused_with_row_and_column(divi_file: Build, changed: dict[str, str], column: str) -> None:
    with pytest.raises(FeedRefused) as caught:
        read(divi_file([{"datum": "2021-02-28"}, changed]))
    assert (caught.value.row, caught.value.column) == (3, column)


def test_a_day_reported_in_two_ways_is_refused(divi_file: Build) -> None:
    with pytest.raises(FeedRefused, match="row 4: contradicts row 2"):
        read(divi_file([{}, {"bundesland_id": "06"}, {"intensivbetten_belegt": 301}]))


def test_a_row_twice_counts_once(divi_file: Build) -> None:
    feed = read(divi_file([{}, {}]))
    assert (feed.reports.height, feed.quality.count(Flag.DUPLICATE_ROW)) == (1, 1)
