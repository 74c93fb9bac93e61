"""Sharing agreements: what they show whom and when, each rule on its own."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sharewell.domain.agreements import LONGEST, Agreement, SharedDetail, Shown
from sharewell.domain.errors import Conflict, Invalid

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
HOUSE, ONE, TWO = (UUID(int=number) for number in (1, 2, 3))
DAY = timedelta(days=1)


def proposed(**more: Any) -> Agreement:
    usual: dict[str, Any] = {
        "id": UUID(int=9), "giver": ONE, "receiver": HOUSE, "resource": "bed.adult", "detail": SharedDetail.COUNTS,
        "starts_at": None, "until": NOON + DAY, "at": NOON,
    }  # fmt: skip
    return Agreement.propose(**(usual | more))


def test_it_shows_nothing_until_it_is_accepted_and_nothing_once_it_is_over() -> None:
    agreement = proposed()
    assert not agreement.shows(SharedDetail.COUNTS, NOON)
    agreement = agreement.accept(at=NOON)
    assert agreement.shows(SharedDetail.COUNTS, NOON)
    assert agreement.shows(SharedDetail.COUNTS, NOON + DAY - timedelta(microseconds=1))
    assert not agreement.shows(SharedDetail.COUNTS, NOON + DAY)
    assert not agreement.end(at=NOON).shows(SharedDetail.COUNTS, NOON)


def test_counts_are_no_forecasts_and_forecasts_are_counts_too() -> None:
    assert not proposed().accept(at=NOON).shows(SharedDetail.FORECASTS, NOON)
    both = proposed(detail=SharedDetail.FORECASTS).accept(at=NOON)
    assert all(both.shows(detail, NOON) for detail in SharedDetail)


def test_it_is_accepted_once_and_ended_once_and_not_after_its_time() -> None:
    accepted = proposed().accept(at=NOON)
    ended = accepted.end(at=NOON)
    for agreement, at in ((accepted, NOON), (ended, NOON), (proposed(), NOON + DAY)):
        with pytest.raises(Conflict):
            agreement.accept(at=at)
    for agreement, at in ((ended, NOON), (accepted, NOON + DAY)):
        with pytest.raises(Conflict):
            agreement.end(at=at)


@pytest.mark.parametrize(
    ("more", "field"),
    [
        ({"receiver": ONE}, "receiver"),
        ({"until": NOON}, "until"),
        ({"until": NOON + LONGEST + timedelta(seconds=1)}, "until"),
        ({"starts_at": NOON - timedelta(seconds=1)}, "startsAt"),
        ({"starts_at": NOON + 2 * DAY}, "until"),
        ({"starts_at": NOON.replace(tzinfo=None)}, "startsAt"),
        ({"resource": "not a code!"}, "resource"),
    ],
)
def test_what_cannot_be_agreed_is_refused_by_the_name_of_its_field(more: dict[str, Any], field: str) -> None:
    with pytest.raises(Invalid) as refused:
        proposed(**more)
    assert refused.value.field == field


agreements = st.builds(
    lambda giver, resource, detail, starts, length, accepted, ended: Agreement(
        id=UUID(int=9), giver=giver, receiver=HOUSE, resource=resource, detail=detail, starts_at=NOON + starts * DAY,
        until=NOON + (starts + length) * DAY, proposed_at=NOON, accepted_at=NOON if accepted else None,
        ended_at=NOON if ended else None,
    ),
    st.sampled_from([ONE, TWO]), st.sampled_from(["bed.adult", "ventilator", None]), st.sampled_from(SharedDetail),
    st.integers(-2, 2), st.integers(1, 3), st.booleans(), st.booleans(),
)  # fmt: skip


@given(
    st.lists(agreements, max_size=4), st.sampled_from(SharedDetail), st.sampled_from([ONE, TWO, HOUSE]),
    st.sampled_from(["bed.adult", "ventilator", None]),
)  # fmt: skip
def test_something_is_shown_exactly_where_one_agreement_in_force_covers_it(
    several: list[Agreement], detail: SharedDetail, giver: UUID, resource: str | None
) -> None:
    covering = [
        one for one in several
        if one.giver == giver and one.resource in (None, resource) and one.shows(detail, NOON)
    ]  # fmt: skip
    shown = Shown.of(HOUSE, several, detail, NOON)
    assert shown.to(giver, resource) == (frozenset({HOUSE}) if covering else frozenset())
    assert shown.to(None, resource) == frozenset()
    assert Shown.of(None, [], detail, NOON).to(giver, resource) == frozenset()
