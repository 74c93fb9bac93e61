"""Sharing agreements in the API."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Annotated
from uuid import UUID

import strawberry

from sharewell.domain.agreements import SharedDetail
from sharewell.store.agreements import SORTS
from sharewell.store.paging import NEWEST
from sharewell_schema.context import Info, shown
from sharewell_schema.describe import argument, described, field, mutation, query
from sharewell_schema.institutions import Institution
from sharewell_schema.loaders import edge, fetch_edges
from sharewell_schema.mutations import OnBehalfOf, Receipt, key_field, paid, person_field, seen_field, wish
from sharewell_schema.ordering import Direction, Ordering
from sharewell_schema.paging import Connection, connection, how_many, read_id
from sharewell_schema.stretch import Stretch

described(
    SharedDetail, "What a sharing agreement shows beside what every institution sees.",
    counts="Exact counts of capacity reports, those from 1 to 10 too.",
    forecasts="Exact counts, and the forecasts of need.",
)  # fmt: skip
EDGES = {"giver": ("institutions", "giver"), "receiver": ("institutions", "receiver")}


@strawberry.type(
    description="One institution lets another see more of its numbers. In force from its start, or from when it was "
    "accepted if that is later, until it ends."
)
class Agreement:
    id: UUID = field("Its identifier.")
    giver: UUID = field("Identifier of the institution whose numbers are shown.", name="giverId")
    giver_edge: Institution | None = strawberry.field(
        resolver=edge("institutions", "giver"), name="giver", description="The institution whose numbers are shown."
    )
    receiver: UUID = field("Identifier of the institution that sees them.", name="receiverId")
    receiver_edge: Institution | None = strawberry.field(
        resolver=edge("institutions", "receiver"), name="receiver", description="The institution that sees them."
    )
    resource: str | None = field("Code of the resource; null for all.")
    detail: SharedDetail = field("What is shown.")
    starts_at: datetime = field("From when on.")
    until: datetime = field("Until when.")
    proposed_at: datetime = field("When the giver proposed it.")
    accepted_at: datetime | None = field("When the receiver accepted it; before, nothing is shown.")
    ended_at: datetime | None = field("When either ended, took back or declined it.")
    changed_by: UUID = field("Identifier of the decision that changed it last.", name="changedById")


@strawberry.input(description="What to show another institution.")
class ProposeAgreementInput:
    idempotency_key: str = key_field()
    on_behalf_of: OnBehalfOf | None = person_field()
    institution: UUID | None = field("Whose numbers; by default of the one the client acts for.", default=None)
    receiver: UUID = field("Identifier of the institution that is to see them.")
    resource: str | None = field("Code of the resource; all if left out.", default=None)
    detail: SharedDetail = field("What is shown.", default=SharedDetail.COUNTS)
    starts_at: datetime | None = field("From when on; at once if left out.", default=None)
    until: datetime = field("Until when, at most 366 days ahead.")


@strawberry.input(description="An agreement to accept.")
class AcceptAgreementInput:
    idempotency_key: str = key_field()
    on_behalf_of: OnBehalfOf | None = person_field()
    if_changed_by: UUID | None = seen_field()
    agreement: UUID = field("Which.")


@strawberry.input(description="An agreement to end, to take back or to decline.")
class EndAgreementInput:
    idempotency_key: str = key_field()
    on_behalf_of: OnBehalfOf | None = person_field()
    if_changed_by: UUID | None = seen_field()
    agreement: UUID = field("Which; what was seen by it cannot be unseen.")


@strawberry.type(description="What became of an agreement.")
class AgreementPayload:
    agreement: Agreement = field("The agreement as it is now.")
    decision: Receipt = field("The decision on record.")


class AgreementSort(StrEnum):
    """What agreements can be ordered by."""

    PROPOSED = "proposed"
    UNTIL = "until"


described(
    AgreementSort, "What agreements can be ordered by.",
    proposed="When they were proposed.", until="When they end by themselves.",
)  # fmt: skip


@strawberry.input(description="What agreements are ordered by; those that are alike in it go by their identifiers.")
class AgreementOrderInput:
    by: AgreementSort = field("What they are ordered by.")
    direction: Direction = field("Which end comes first.", default=Direction.ASC)


@strawberry.type
class AgreementQueries:
    @query("Sharing agreements, newest first.")
    async def agreements(
        self, info: Info,
        party: Annotated[
            UUID | None,
            argument("Only those by which it shows or sees something; by default the one the client acts for, if any."),
        ] = None,
        only_in_force: Annotated[bool, argument("Only those by which something is shown now.")] = False,
        order_by: Annotated[
            AgreementOrderInput | None, argument("In which order; by default the newest first.")
        ] = None,
        *, stretch: Stretch,
    ) -> Connection[Agreement] | None:  # fmt: skip
        ordering = Ordering.read(order_by, stretch, SORTS, ("proposed", Direction.DESC))
        page = await info.context.services.agreements.page(
            info.context.caller, before=read_id(ordering.usual(stretch), NEWEST),
            party=party or info.context.caller.institution,
            only_in_force=only_in_force, first=how_many(info, stretch), place=ordering.place,
        )  # fmt: skip
        await fetch_edges(info, page.items, EDGES)
        return connection(Agreement, page, stretch, ordering.key)


@strawberry.type
class AgreementMutations:
    @mutation("Offer to show another institution more of one's numbers. For whose numbers they are.")
    async def propose_agreement(
        self, info: Info, input: Annotated[ProposeAgreementInput, argument("What, to whom, until when.")]  # noqa: A002
    ) -> AgreementPayload | None:
        done = await info.context.services.agreements.propose(
            info.context.caller, info.context.acting_for(input.institution), input.receiver, resource=input.resource,
            detail=input.detail, starts_at=input.starts_at, until=input.until, wish=wish("proposeAgreement", input),
        )  # fmt: skip
        await fetch_edges(info, [done.subject], EDGES)
        return paid(AgreementPayload, done, agreement=shown(Agreement, done.subject))

    @mutation(
        "Accept to see what is offered, to use it for planning and care, and to pass it to nobody. For the receiver."
    )
    async def accept_agreement(
        self, info: Info, input: Annotated[AcceptAgreementInput, argument("Which.")]  # noqa: A002
    ) -> AgreementPayload | None:
        done = await info.context.services.agreements.accept(
            info.context.caller, input.agreement, wish("acceptAgreement", input)
        )
        await fetch_edges(info, [done.subject], EDGES)
        return paid(AgreementPayload, done, agreement=shown(Agreement, done.subject))

    @mutation("End an agreement, take it back or decline it, from now on and for ever. For either of the two.")
    async def end_agreement(
        self, info: Info, input: Annotated[EndAgreementInput, argument("Which.")]  # noqa: A002
    ) -> AgreementPayload | None:
        done = await info.context.services.agreements.end(
            info.context.caller, input.agreement, wish("endAgreement", input)
        )
        await fetch_edges(info, [done.subject], EDGES)
        return paid(AgreementPayload, done, agreement=shown(Agreement, done.subject))
