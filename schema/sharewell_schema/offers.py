"""Offers in the API."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from enum import StrEnum
from typing import Annotated
from uuid import UUID

import strawberry

from sharewell.domain import checks
from sharewell.domain.offers import OfferDraft, OfferStatus
from sharewell.store.offers import SORTS, WRITTEN, OfferFilter, OfferList
from sharewell.store.paging import NEWEST
from sharewell_schema.context import Info, shown
from sharewell_schema.describe import argument, described, field, mutation, query
from sharewell_schema.filters import codes, some
from sharewell_schema.institutions import Institution
from sharewell_schema.loaders import edge, fetch_edges
from sharewell_schema.mutations import OnBehalfOf, Receipt, key_field, paid, person_field, seen_field, wish
from sharewell_schema.ordering import Direction, Ordering
from sharewell_schema.paging import Connection, connection, how_many, read_id
from sharewell_schema.plain import finished, plain, plain_one
from sharewell_schema.resources import Resource
from sharewell_schema.stretch import Stretch

described(
    OfferStatus, "Whether units of an offer may still be promised.",
    open="Until its window ends, what remains may be promised.", withdrawn="No further unit is promised.",
)  # fmt: skip
LONGEST = timedelta(days=100 * 366)  #: of a window that is asked for
EDGES = {"institution": ("institutions", "institution"), "resourceLine": ("resources", "resource")}


@strawberry.federation.type(
    keys=["id"], description="A pledge of units to others, in a window, above a minimum the owner keeps.",
)
class Offer:
    id: UUID = field("Its identifier.")
    institution: UUID = field("Identifier of the institution that pledges.", name="institutionId")
    institution_edge: Institution | None = strawberry.field(
        resolver=edge("institutions", "institution"), name="institution", description="The institution that pledges."
    )
    resource: str = field("Code of the resource pledged.")
    resource_edge: Resource | None = strawberry.field(
        resolver=edge("resources", "resource"), name="resourceLine",
        description="The catalogue's line for the resource pledged.",
    )  # fmt: skip
    quantity: int = field("Units pledged; not units in stock.")
    promised: int = field("Of these, units in transfers that are alive or done.")
    remaining: int = field("Units that may still be promised.")
    minimum_kept: int = field("Free units the owner keeps whatever happens.")
    available_from: datetime = field("From when a transfer may leave the building.")
    available_until: datetime = field("The last instant at which a transfer may leave the building.")
    lot: str = field("Lot or batch of a consumable; empty for all else.")
    expires_on: date | None = field("Day on which the lot of a consumable expires.")
    status: OfferStatus = field("Whether units may still be promised.")
    published_at: datetime = field("When it was published.")
    changed_by: UUID = field("Identifier of the decision that changed it, or what is promised of it, last.",
                             name="changedById")  # fmt: skip


class OfferSort(StrEnum):
    """What offers can be ordered by."""

    PUBLISHED = "published"
    AVAILABLE_UNTIL = "available_until"
    QUANTITY = "quantity"
    EXPIRES_ON = "expires_on"


described(
    OfferSort, "What offers can be ordered by.", published="When they were published.",
    available_until="When the last transfer may leave.", quantity="Units pledged.",
    expires_on="When the lot expires; what does not expire counts as later than all that does.",
)  # fmt: skip


@strawberry.input(description="A stretch of time.")
class WithinInput:
    since: datetime = field("Its first instant.")
    until: datetime = field("Its last instant.")


@strawberry.input(description="Which offers a list has: those that fulfil all that is said.")
class OfferFilterInput:
    resources: list[str] | None = field("Of one of the resources with these codes, up to 100.", default=None)
    institutions: list[UUID] | None = field("Of one of these institutions, up to 100.", default=None)
    region: str | None = field("Of institutions of this region.", default=None)
    status: OfferStatus | None = field("That stand so.", default=None)
    available_at: datetime | None = field("Whose window has this instant.", default=None)
    available_within: WithinInput | None = field("Whose window has some instant of this.", default=None)
    expires_before: date | None = field("Whose lot expires before this day.", default=None)
    remaining_at_least: int | None = field("With as many units that may still be promised, 1 or more.", default=None)

    def read(self) -> OfferFilter:
        """What of it is asked for, checked."""
        within = self.available_within
        if within is not None:
            checks.window(within.since, within.until, ("since", "until"), most=LONGEST)
        return OfferFilter(
            resources=codes(self.resources, "resources"), institutions=some(self.institutions, "institutions"),
            region=None if self.region is None else checks.code(self.region, "region"), status=self.status,
            available_at=None if self.available_at is None else checks.moment(self.available_at, "availableAt"),
            available_within=None if within is None else (within.since, within.until),
            expires_before=self.expires_before,
            remaining_at_least=None if self.remaining_at_least is None
            else checks.units(self.remaining_at_least, "remainingAtLeast", least=1),
        )  # fmt: skip


@strawberry.input(description="What offers are ordered by; those that are alike in it go by their identifiers.")
class OfferOrderInput:
    by: OfferSort = field("What they are ordered by.")
    direction: Direction = field("Which end comes first.", default=Direction.ASC)


@strawberry.input(description="Units an institution pledges to others.")
class PublishOfferInput:
    idempotency_key: str = key_field()
    on_behalf_of: OnBehalfOf | None = person_field()
    institution: UUID | None = field("Whose units; by default of the institution the client acts for.", default=None)
    resource: str = field("Code of the resource, such as `bed.adult`.")
    quantity: int = field("Units pledged, 1 or more; with the minimum kept, no more than are free.")
    available_from: datetime = field("From when a transfer may leave the building.")
    available_until: datetime = field("The last instant at which one may leave, at most 366 days later.")
    minimum_kept: int = field("Free units the owner keeps whatever happens.", default=0)
    lot: str = field("Lot or batch, up to 20 characters; for a consumable, and only for one.", default="")
    expires_on: date | None = field("Day the lot expires; for a consumable, and only for one.", default=None)


@strawberry.type(description="What became of publishOffer.")
class PublishOfferPayload:
    offer: Offer = field("The offer as it stands.")
    decision: Receipt = field("The decision on record.")


@strawberry.input(description="An offer to withdraw.")
class WithdrawOfferInput:
    idempotency_key: str = key_field()
    on_behalf_of: OnBehalfOf | None = person_field()
    if_changed_by: UUID | None = seen_field()
    offer: UUID = field("Which offer.")


@strawberry.type(description="What became of withdrawOffer.")
class WithdrawOfferPayload:
    offer: Offer = field("The offer as it is now; what was promised stays promised.")
    decision: Receipt = field("The decision on record.")


@strawberry.type
class OfferQueries:
    @query("One offer.")
    async def offer(self, info: Info, id: Annotated[UUID, argument("Its identifier.")]) -> Offer | None:  # noqa: A002
        if (selected := plain_one(info, WRITTEN)) is not None:
            written = await info.context.services.offers.write_one(info.context.caller, selected, id)
            return finished(Offer, written)
        return shown(Offer, await info.context.services.offers.get(info.context.caller, id))

    @query("What is pledged, newest first.")
    async def offers(
        self, info: Info,
        institution: Annotated[UUID | None, argument("Only of this institution.")] = None,
        resource: Annotated[str | None, argument("Only of the resource with this code.")] = None,
        only_open: Annotated[bool, argument("Only those with units left that may still be promised.")] = False,
        filter: Annotated[OfferFilterInput | None, argument("Only those that fulfil all of this.")] = None,  # noqa: A002
        order_by: Annotated[
            OfferOrderInput | None, argument("In which order; by default the newest first.")
        ] = None,
        *, stretch: Stretch,
    ) -> Connection[Offer] | None:  # fmt: skip
        ordering = Ordering.read(order_by, stretch, SORTS, ("published", Direction.DESC))
        asked = OfferList(
            before=read_id(ordering.usual(stretch), NEWEST), institution=institution,
            resource=None if resource is None else checks.code(resource, "resource"), only_open=only_open,
            first=how_many(info, stretch),
            matching=(filter or OfferFilterInput()).read(), place=ordering.place,
        )  # fmt: skip
        if ordering.place is None and (selected := plain(info, WRITTEN)) is not None:
            written = await info.context.services.offers.write_page(info.context.caller, selected.wanted, **asked)
            return selected.told(written, stretch)
        page = await info.context.services.offers.page(info.context.caller, **asked)
        await fetch_edges(info, page.items, EDGES)
        return connection(Offer, page, stretch, ordering.key)


@strawberry.type
class OfferMutations:
    @mutation("Pledge units to others. What is free is taken from the newest capacity report.")
    async def publish_offer(
        self, info: Info, input: Annotated[PublishOfferInput, argument("The pledge.")]  # noqa: A002
    ) -> PublishOfferPayload | None:
        draft = OfferDraft(
            resource=input.resource, quantity=input.quantity, available_from=input.available_from,
            available_until=input.available_until, minimum_kept=input.minimum_kept, lot=input.lot,
            expires_on=input.expires_on,
        )  # fmt: skip
        institution = info.context.acting_for(input.institution)
        done = await info.context.services.offers.publish(
            info.context.caller, institution, draft, wish("publishOffer", input)
        )
        return paid(PublishOfferPayload, done, offer=done.subject)

    @mutation("Stop an offer from being promised further.")
    async def withdraw_offer(
        self, info: Info, input: Annotated[WithdrawOfferInput, argument("Which offer.")]  # noqa: A002
    ) -> WithdrawOfferPayload | None:
        done = await info.context.services.offers.withdraw(
            info.context.caller, input.offer, wish("withdrawOffer", input)
        )
        return paid(WithdrawOfferPayload, done, offer=done.subject)
