"""Who may be taken in: each wrong field is named."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sharewell.domain.errors import Invalid
from sharewell.domain.institutions import Institution, InstitutionDraft, InstitutionKind, InstitutionStatus

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def registered(**said: Any) -> Institution:
    usual: dict[str, Any] = {
        "code": "us-nj-3100642",
        "name": "Champignac General",
        "kind": InstitutionKind.HOSPITAL,
        "region": "us-nj",
    }
    return Institution.register(InstitutionDraft(**(usual | said)), id=UUID(int=1), at=NOON)


def test_an_institution_is_active_and_in_the_general_group_unless_said_otherwise() -> None:
    taken_in = registered()
    assert (taken_in.status, taken_in.equity_group, taken_in.registered_at) == (
        InstitutionStatus.ACTIVE, "general", NOON,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("said", "field"),
    [
        ({"code": "US NJ"}, "code"),
        ({"code": ""}, "code"),
        ({"name": "  "}, "name"),
        ({"name": "a\x00b"}, "name"),
        ({"region": "New Jersey"}, "region"),
        ({"equity_group": ""}, "equityGroup"),
        ({"latitude": 90.1, "longitude": 0.0}, "latitude"),
        ({"latitude": 0.0, "longitude": -180.1}, "longitude"),
        ({"latitude": 40.0}, "longitude"),
        ({"longitude": -74.0}, "longitude"),
    ],
)
def test_what_is_wrong_is_named(said: dict[str, Any], field: str) -> None:
    with pytest.raises(Invalid) as refused:
        registered(**said)
    assert refused.value.field == field


@given(st.floats(), st.floats())
def test_a_place_is_on_the_globe_or_refused(latitude: float, longitude: float) -> None:
    on_the_globe = abs(latitude) <= 90 and abs(longitude) <= 180  # False for NaN and the infinities
    if on_the_globe:
        assert registered(latitude=latitude, longitude=longitude).latitude == latitude
    else:
        with pytest.raises(Invalid):
            registered(latitude=latitude, longitude=longitude)


def test_a_number_that_is_none_is_no_place() -> None:
    with pytest.raises(Invalid) as refused:
        registered(latitude=math.nan, longitude=0.0)
    assert refused.value.field == "latitude"


def test_a_name_is_stored_clean() -> None:
    assert registered(name="  Hôpital ").name == "Hôpital"
