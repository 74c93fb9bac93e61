"""Offers: a pledge of units of one's own to others, in a window, above a minimum the owner keeps."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import date, datetime
from enum import StrEnum
from uuid import UUID

from sharewell.domain import checks
from sharewell.domain.audit import UNDECIDED
from sharewell.domain.errors import Conflict, Invalid
from sharewell.domain.resources import Resource, ResourceKind


class OfferStatus(StrEnum):
    """Whether units of the offer may still be promised."""

    OPEN = "open"
    WITHDRAWN = "withdrawn"


@dataclass(frozen=True, slots=True, kw_only=True)
class OfferDraft:
    """What an institution pledges."""

    resource: str
    quantity: int
    available_from: datetime
    available_until: datetime
    minimum_kept: int = 0
    lot: str = ""
    expires_on: date | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """A pledge that stands."""

    id: UUID
    institution: UUID
    resource: str
    quantity: int  #: units promised, not units in stock
    promised: int  #: of these, units in transfers that are alive or done
    minimum_kept: int  #: units the owner keeps whatever happens
    available_from: datetime
    available_until: datetime  #: the last instant at which a transfer may leave the building
    lot: str
    expires_on: date | None
    status: OfferStatus
    published_at: datetime
    changed_by: UUID = UNDECIDED  #: the decision that changed it last, promises too

    @classmethod
    def publish(
        cls, draft: OfferDraft, *, id: UUID, by: UUID, resource: Resource, free: int | None, at: datetime  # noqa: A002
    ) -> Offer:
        """Pledge `draft` for institution `by`.

        `free` is what its newest capacity report shows as free less what its other open offers already pledge in
        the same window; None where it never reported, and then nothing can be pledged.
        Raises `Invalid` naming the field, or `Conflict` where the units are not there.
        """
        quantity = checks.units(draft.quantity, "quantity", least=1)
        kept = checks.units(draft.minimum_kept, "minimumKept")
        checks.window(draft.available_from, draft.available_until, ("availableFrom", "availableUntil"))
        if draft.available_until <= at:
            raise Invalid("availableUntil lies in the past.", field="availableUntil")
        _check_lot(draft, resource, at)
        if free is None:
            raise Conflict(
                f"no capacity of {resource.code} is reported yet; report what you have before you pledge it.",
                field="resource",
            )
        if quantity + kept > free:
            raise Conflict(
                f"{quantity} offered and {kept} kept are more than the {free} units of {resource.code} that are "
                "free and not pledged elsewhere; report newer capacity or offer fewer.",
                field="quantity",
            )
        return cls(
            id=id, institution=by, resource=resource.code, quantity=quantity, promised=0, minimum_kept=kept,
            available_from=draft.available_from, available_until=draft.available_until,
            lot=checks.text(draft.lot, "lot", most=20, optional=True), expires_on=draft.expires_on,
            status=OfferStatus.OPEN, published_at=at,
        )  # fmt: skip

    @property
    def remaining(self) -> int:
        """Units that may still be promised."""
        return self.quantity - self.promised if self.status is OfferStatus.OPEN else 0

    def withdraw(self) -> Offer:
        """Stop promising; what is promised already stays promised."""
        if self.status is not OfferStatus.OPEN:
            raise Conflict("the offer is withdrawn already.")
        return replace(self, status=OfferStatus.WITHDRAWN)


def _check_lot(draft: OfferDraft, resource: Resource, at: datetime) -> None:
    if resource.kind is not ResourceKind.CONSUMABLE:
        if draft.lot or draft.expires_on:
            raise Invalid(f"{resource.code} is no consumable; it has no lot and no expiry.", field="lot")
        return
    if draft.expires_on is None or not draft.lot.strip():
        raise Invalid("a consumable is offered by lot: send lot and expiresOn.", field="lot")
    if draft.expires_on < draft.available_until.date() or draft.expires_on < at.date():
        raise Invalid("the lot expires before the window ends.", field="expiresOn")
