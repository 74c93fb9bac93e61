"""The checks every noun makes: what passes comes out clean, what does not names its field."""

from __future__ import annotations

import unicodedata
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sharewell.domain import checks
from sharewell.domain.errors import Invalid

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
YEAR = timedelta(days=366)
NEEDED = ("neededBy", "neededUntil")
ZONES = st.sampled_from([UTC, timezone(timedelta(hours=14)), timezone(-timedelta(hours=12))])
MOMENTS = st.datetimes(datetime(1900, 1, 2), datetime(2199, 12, 30), timezones=ZONES)  # noqa: DTZ001 - the zone is drawn


@given(st.integers(0, checks.MAX_UNITS))
def test_a_whole_number_in_range_passes_unchanged(value: int) -> None:
    assert checks.units(value, "quantity") == value


@pytest.mark.parametrize("value", [-1, checks.MAX_UNITS + 1, 2**63, True, False, 3.0, "3", None])
def test_what_is_no_whole_number_in_range_is_refused_by_field(value: object) -> None:
    with pytest.raises(Invalid) as refused:
        checks.units(value, "quantity")
    assert refused.value.field == "quantity"
    assert f"from 0 to {checks.MAX_UNITS}" in refused.value.message


@given(st.text(max_size=300))
def test_text_comes_out_clean_and_short_or_is_refused_by_field(value: str) -> None:
    clean = unicodedata.normalize("NFC", value).strip()
    if 1 <= len(clean) <= checks.MAX_TEXT and not {"Cc", "Cs", "Co"} & set(map(unicodedata.category, clean)):
        assert checks.text(value, "name") == clean == checks.text(clean, "name")
    else:
        with pytest.raises(Invalid) as refused:
            checks.text(value, "name")
        assert refused.value.field == "name"


@pytest.mark.parametrize("value", ["", "   ", "a\x00b", "a\nb", "a\x7fb", "\ue000", "é" * 201, "\ud800"])
def test_blank_long_or_unprintable_text_is_refused(value: str) -> None:
    with pytest.raises(Invalid):
        checks.text(value, "name")


def test_only_optional_text_may_be_empty() -> None:
    assert checks.text("  ", "lot", optional=True) == ""


@pytest.mark.parametrize("value", ["bed.adult", "us-nj", "us-nj-3100642", "a", "0", "x" * 64])
def test_a_lower_case_code_passes(value: str) -> None:
    assert checks.code(value, "code") == value


@pytest.mark.parametrize(
    "value", ["", "Bed", "bed adult", "bed..adult", ".bed", "bed-", "bed\n", "bed\x00", "bèd", "x" * 65, "a_b", "³"]
)
def test_anything_else_is_no_code(value: str) -> None:
    with pytest.raises(Invalid) as refused:
        checks.code(value, "code")
    assert refused.value.field == "code"


def test_a_time_without_its_zone_is_refused_and_says_what_would_be_right() -> None:
    with pytest.raises(Invalid, match="send an RFC 3339 time") as refused:
        checks.moment(NOON.replace(tzinfo=None), "asOf")
    assert refused.value.field == "asOf"


@given(MOMENTS, MOMENTS)
def test_a_window_passes_exactly_when_it_has_length_and_is_no_longer_than_a_year(
    start: datetime, end: datetime
) -> None:
    if timedelta(0) < end - start <= YEAR:
        checks.window(start, end, NEEDED)
    else:
        with pytest.raises(Invalid) as refused:
            checks.window(start, end, NEEDED)
        assert refused.value.field == "neededUntil"


@given(st.datetimes(timezones=ZONES))
def test_a_moment_that_passes_is_one_the_database_can_hold(at: datetime) -> None:
    if 1900 <= at.year < 2200:
        assert 1899 <= checks.moment(at, "asOf").astimezone(UTC).year <= 2200
    else:
        with pytest.raises(Invalid) as refused:
            checks.moment(at, "asOf")
        assert refused.value.field == "asOf"


@pytest.mark.parametrize("at", [datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)])
def test_a_window_at_either_end_of_time_is_refused_like_any_other(at: datetime) -> None:
    with pytest.raises(Invalid) as refused:
        checks.window(at, at, NEEDED)
    assert refused.value.field == "neededBy"


@pytest.mark.parametrize(("naive", "field"), [("start", "availableFrom"), ("end", "availableUntil")])
def test_either_end_of_a_window_without_a_zone_is_named(naive: str, field: str) -> None:
    ends = {"start": NOON, "end": NOON + timedelta(days=1)}
    ends[naive] = ends[naive].replace(tzinfo=None)
    with pytest.raises(Invalid) as refused:
        checks.window(ends["start"], ends["end"], ("availableFrom", "availableUntil"))
    assert refused.value.field == field
