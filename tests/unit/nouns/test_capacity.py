"""Capacity reports: numbers that cannot be are refused with the field at fault, and the rest adds up."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sharewell.domain.capacity import MEASURES, CapacityDraft, CapacityReport, Mark, camel
from sharewell.domain.checks import MAX_UNITS
from sharewell.domain.errors import Invalid

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
CLINIC = UUID(int=1)
SMALL = st.none() | st.integers(0, 6)


def taken_in(**said: Any) -> CapacityReport:
    usual: dict[str, Any] = {"resource": "bed.adult", "as_of": NOON}
    return CapacityReport.report(CapacityDraft(**(usual | said)), id=UUID(int=2), by=CLINIC, at=NOON)


@pytest.mark.parametrize(
    ("said", "field"),
    [
        ({}, "staffed"),
        ({"staffed": 10, "blocked": 11}, "blocked"),
        ({"staffed": 10, "occupied": 11}, "occupied"),
        ({"staffed": 10, "occupied": 8, "blocked": 3}, "occupied"),
        ({"staffed": -1}, "staffed"),
        ({"occupied": MAX_UNITS + 1}, "occupied"),
        ({"staffed": 10, "surge_24h": -999_999}, "surge24h"),
        ({"staffed": 10, "surge_72h": True}, "surge72h"),
        ({"staffed": 10, "surge_24h": 5, "surge_72h": 4}, "surge72h"),
        ({"staffed": 10, "as_of": NOON + timedelta(microseconds=1)}, "asOf"),
        ({"staffed": 10, "as_of": NOON.replace(tzinfo=None)}, "asOf"),
        ({"staffed": 10, "period_days": 0}, "periodDays"),
        ({"staffed": 10, "period_days": 32}, "periodDays"),
        ({"staffed": 10, "period_days": 7, "coverage": 8}, "coverage"),
        ({"staffed": 10, "coverage": -1}, "coverage"),
        ({"staffed": 10, "resource": "Bed"}, "resource"),
        ({"staffed": 10, "source": "a feed"}, "source"),
        ({"staffed": 10, "marks": {"beds": Mark.REPORTED}}, "marks"),
    ],
)
def test_an_impossible_report_is_refused_and_the_field_is_named(said: dict[str, Any], field: str) -> None:
    with pytest.raises(Invalid) as refused:
        taken_in(**said)
    assert refused.value.field == field


@given(st.fixed_dictionaries(dict.fromkeys(MEASURES, SMALL)))
def test_a_report_is_taken_in_exactly_when_its_numbers_can_be(numbers: dict[str, int | None]) -> None:
    known = {name: value or 0 for name, value in numbers.items()}
    staffed, surges = numbers["staffed"], (numbers["surge_24h"], numbers["surge_72h"])
    in_use = known["blocked"] + known["occupied"]
    can_be = (
        any(value is not None for value in numbers.values())
        and (staffed is None or in_use <= staffed)
        and (None in surges or surges[0] <= surges[1])  # type: ignore[operator]  # neither is None here
    )
    if can_be:
        report = taken_in(**numbers)
        assert {name: getattr(report, name) for name in MEASURES} == numbers
    else:
        with pytest.raises(Invalid) as refused:
            taken_in(**numbers)
        assert refused.value.field in {camel(name) for name in MEASURES}


@given(staffed=st.integers(0, 50), occupied=st.integers(0, 50), blocked=SMALL, waiting=SMALL)
def test_what_is_free_and_what_is_in_use_add_up_to_what_is_staffed(
    staffed: int, occupied: int, blocked: int | None, waiting: int | None
) -> None:
    staffed = max(staffed, occupied + (blocked or 0))
    report = taken_in(staffed=staffed, occupied=occupied, blocked=blocked, waiting=waiting)
    assert report.free == staffed - occupied - (blocked or 0)
    assert report.need == occupied + (waiting or 0)


@pytest.mark.parametrize("said", [{"staffed": 10}, {"occupied": 10}, {"waiting": 3}])
def test_nothing_is_free_for_sure_where_a_number_is_missing(said: dict[str, int]) -> None:
    assert taken_in(**said).free is None


def test_no_need_is_known_where_use_is_not_reported() -> None:
    assert taken_in(staffed=10, waiting=3).need is None


def test_a_correction_is_a_report_of_its_own_that_names_the_other() -> None:
    wrong = taken_in(staffed=100)
    right = taken_in(staffed=10, corrects=wrong.id)
    assert (right.corrects, right.staffed, wrong.staffed) == (wrong.id, 10, 100)


def test_a_report_cannot_be_changed_in_place() -> None:
    report = taken_in(staffed=10, marks={"staffed": Mark.IMPUTED})
    with pytest.raises(AttributeError):
        report.staffed = 11  # type: ignore[misc]
    with pytest.raises(TypeError):
        report.marks["staffed"] = Mark.REPORTED  # type: ignore[index]


def test_marks_are_the_reports_own_whatever_becomes_of_the_draft() -> None:
    marks = {"staffed": Mark.REPORTED}
    report = taken_in(staffed=10, marks=marks)
    marks["staffed"] = Mark.IMPUTED
    assert report.marks == {"staffed": Mark.REPORTED}


def test_every_measure_is_a_field_of_draft_and_report() -> None:
    for measure in MEASURES:
        assert measure in CapacityDraft.__dataclass_fields__
        assert measure in CapacityReport.__dataclass_fields__
