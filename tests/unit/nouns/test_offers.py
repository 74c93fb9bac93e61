"""What may be pledged: units that are free above what is kept, in a window that is not over, of lots that last."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sharewell.domain.checks import MAX_UNITS
from sharewell.domain.errors import Conflict, Invalid
from sharewell.domain.offers import Offer, OfferDraft, OfferStatus
from sharewell.domain.resources import Resource, ResourceKind, catalogue

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
LINES = {line.kind: line for line in catalogue()}
DURABLE = st.sampled_from([kind for kind in ResourceKind if kind is not ResourceKind.CONSUMABLE])
TODAY = NOON.date()


def published(
    kind: ResourceKind = ResourceKind.PLACE, *, free: int | None = 100, at: datetime = NOON, **said: Any
) -> Offer:
    resource: Resource = LINES[kind]
    usual: dict[str, Any] = {
        "resource": resource.code, "quantity": 5, "available_from": NOON,
        "available_until": NOON + timedelta(days=2),
    }  # fmt: skip
    if kind is ResourceKind.CONSUMABLE:
        usual |= {"lot": "L-77", "expires_on": TODAY + timedelta(days=30)}
    draft = OfferDraft(**(usual | said))
    return Offer.publish(draft, id=UUID(int=2), by=UUID(int=1), resource=resource, free=free, at=at)


@given(st.integers(1, 20), st.integers(0, 20), st.integers(-5, 40))
def test_a_pledge_stands_exactly_when_it_and_what_is_kept_are_free(quantity: int, kept: int, free: int) -> None:
    if quantity + kept <= free:
        offer = published(quantity=quantity, minimum_kept=kept, free=free)
        assert (offer.remaining, offer.promised, offer.status) == (quantity, 0, OfferStatus.OPEN)
    else:
        with pytest.raises(Conflict) as refused:
            published(quantity=quantity, minimum_kept=kept, free=free)
        assert refused.value.field == "quantity"


def test_nothing_can_be_pledged_before_anything_was_reported() -> None:
    with pytest.raises(Conflict, match="report what you have") as refused:
        published(free=None)
    assert refused.value.field == "resource"


@pytest.mark.parametrize(
    ("said", "field"),
    [
        ({"quantity": 0}, "quantity"),
        ({"quantity": -3}, "quantity"),
        ({"quantity": MAX_UNITS + 1}, "quantity"),
        ({"minimum_kept": -1}, "minimumKept"),
        ({"available_until": NOON}, "availableUntil"),
        ({"available_until": NOON + timedelta(days=367)}, "availableUntil"),
        ({"available_from": NOON.replace(tzinfo=None)}, "availableFrom"),
        ({"available_until": (NOON + timedelta(days=2)).replace(tzinfo=None)}, "availableUntil"),
        ({"lot": "L-77"}, "lot"),
        ({"expires_on": TODAY}, "lot"),
    ],
)
def test_what_is_wrong_is_named(said: dict[str, Any], field: str) -> None:
    with pytest.raises(Invalid) as refused:
        published(**said)
    assert refused.value.field == field


@given(st.timedeltas(timedelta(0), timedelta(days=400)))
def test_a_window_that_is_over_cannot_be_offered_any_more(late: timedelta) -> None:
    until = NOON + timedelta(days=2)
    with pytest.raises(Invalid) as refused:
        published(at=until + late)
    assert refused.value.field == "availableUntil"


@given(st.integers(-3, 5), st.integers(-3, 5))
def test_a_lot_must_last_until_the_window_ends(expires: int, ends: int) -> None:
    until, expiry = NOON + timedelta(days=ends), TODAY + timedelta(days=expires)
    said: dict[str, Any] = {
        "available_from": min(NOON, until) - timedelta(days=1),
        "available_until": until,
        "expires_on": expiry,
    }
    if until > NOON and expiry >= until.date():
        offer = published(ResourceKind.CONSUMABLE, **said)
        assert (offer.lot, offer.expires_on) == ("L-77", expiry)
    else:
        with pytest.raises(Invalid) as refused:
            published(ResourceKind.CONSUMABLE, **said)
        assert refused.value.field == ("expiresOn" if until > NOON else "availableUntil")


@pytest.mark.parametrize("said", [{"lot": ""}, {"expires_on": None}, {"lot": "   "}, {"lot": "L" * 21}])
def test_a_consumable_is_offered_by_lot(said: dict[str, Any]) -> None:
    with pytest.raises(Invalid) as refused:
        published(ResourceKind.CONSUMABLE, **said)
    assert refused.value.field == "lot"


@given(DURABLE, st.sampled_from([{"lot": "L-77"}, {"expires_on": date(2027, 1, 1)}]))
def test_nothing_but_a_consumable_has_a_lot_or_an_expiry(kind: ResourceKind, said: dict[str, Any]) -> None:
    with pytest.raises(Invalid, match="is no consumable"):
        published(kind, **said)


@given(st.integers(0, 5))
def test_withdrawing_leaves_what_is_promised_promised_and_promises_no_more(promised: int) -> None:
    offer = replace(published(quantity=5), promised=promised)
    assert offer.remaining == 5 - promised
    withdrawn = offer.withdraw()
    assert (withdrawn.status, withdrawn.promised, withdrawn.remaining) == (OfferStatus.WITHDRAWN, promised, 0)
    with pytest.raises(Conflict, match="withdrawn already"):
        withdrawn.withdraw()
