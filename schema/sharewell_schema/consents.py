"""Standing consents in the API."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Annotated
from uuid import UUID

import strawberry

from sharewell.store.consents import SORTS
from sharewell.store.paging import NEWEST
from sharewell_schema.context import Info, shown
from sharewell_schema.describe import argument, described, field, mutation, query
from sharewell_schema.institutions import Institution
from sharewell_schema.loaders import fetch_edges
from sharewell_schema.mutations import OnBehalfOf, Receipt, key_field, paid, person_field, seen_field, wish
from sharewell_schema.ordering import Direction, Ordering
from sharewell_schema.paging import Connection, connection, how_many, read_id
from sharewell_schema.receipts import EDGES, institution_edge
from sharewell_schema.stretch import Stretch


@strawberry.type(
    description="An owner lets what plans take from its pledges of a resource be confirmed at once while surge mode "
    "is in force. It may still decline each before it leaves."
)
class Consent:
    id: UUID = field("Its identifier.")
    institution: UUID = field("Identifier of the institution.", name="institutionId")
    institution_edge: Institution | None = institution_edge()
    resource: str = field("Code of the resource.")
    given_at: datetime = field("When it was given.")
    until: datetime = field("Until when it stands.")
    withdrawn_at: datetime | None = field("When it was taken back.")
    changed_by: UUID = field("Identifier of the decision that changed it last.", name="changedById")


@strawberry.input(description="Consent to be given.")
class GiveConsentInput:
    idempotency_key: str = key_field()
    on_behalf_of: OnBehalfOf | None = person_field()
    institution: UUID | None = field("Who consents; by default the institution the client acts for.", default=None)
    resource: str = field("Code of the resource.")
    until: datetime = field("Until when it stands, at most 366 days ahead.")


@strawberry.input(description="Consent to be taken back.")
class WithdrawConsentInput:
    idempotency_key: str = key_field()
    on_behalf_of: OnBehalfOf | None = person_field()
    if_changed_by: UUID | None = seen_field()
    consent: UUID = field("Which; what it confirmed already stays confirmed.")


@strawberry.type(description="What became of a consent.")
class ConsentPayload:
    consent: Consent = field("The consent as it is now.")
    decision: Receipt = field("The decision on record.")


class ConsentSort(StrEnum):
    """What consents can be ordered by."""

    GIVEN = "given"
    UNTIL = "until"


described(
    ConsentSort, "What consents can be ordered by.",
    given="When they were given.", until="When they end by themselves.",
)  # fmt: skip


@strawberry.input(description="What consents are ordered by; those that are alike in it go by their identifiers.")
class ConsentOrderInput:
    by: ConsentSort = field("What they are ordered by.")
    direction: Direction = field("Which end comes first.", default=Direction.ASC)


@strawberry.type
class ConsentQueries:
    @query("Standing consents, newest first.")
    async def consents(
        self, info: Info,
        institution: Annotated[
            UUID | None, argument("Only of this institution; by default of all that you see.")
        ] = None,
        only_standing: Annotated[bool, argument("Only those that count.")] = False,
        order_by: Annotated[
            ConsentOrderInput | None, argument("In which order; by default the newest first.")
        ] = None,
        *, stretch: Stretch,
    ) -> Connection[Consent] | None:  # fmt: skip
        ordering = Ordering.read(order_by, stretch, SORTS, ("given", Direction.DESC))
        page = await info.context.services.consents.page(
            info.context.caller, before=read_id(ordering.usual(stretch), NEWEST),
            institution=institution, only_standing=only_standing,
            first=how_many(info, stretch), place=ordering.place,
        )  # fmt: skip
        await fetch_edges(info, page.items, EDGES)
        return connection(Consent, page, stretch, ordering.key)


@strawberry.type
class ConsentMutations:
    @mutation("Let what plans take from one's pledges be confirmed at once, in surge mode only. For the owner.")
    async def give_consent(
        self, info: Info, input: Annotated[GiveConsentInput, argument("For what, until when.")]  # noqa: A002
    ) -> ConsentPayload | None:
        institution = info.context.acting_for(input.institution)
        done = await info.context.services.consents.give(
            info.context.caller, institution, input.resource, input.until, wish("giveConsent", input)
        )
        return paid(ConsentPayload, done, consent=shown(Consent, done.subject))

    @mutation("Take a standing consent back. For the owner.")
    async def withdraw_consent(
        self, info: Info, input: Annotated[WithdrawConsentInput, argument("Which.")]  # noqa: A002
    ) -> ConsentPayload | None:
        done = await info.context.services.consents.withdraw(
            info.context.caller, input.consent, wish("withdrawConsent", input)
        )
        return paid(ConsentPayload, done, consent=shown(Consent, done.subject))
