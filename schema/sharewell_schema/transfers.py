"""Transfers in the API."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Annotated
from uuid import UUID

import strawberry

from sharewell.domain import checks
from sharewell.domain.transfers import DeclineReason, TransferState
from sharewell.store.paging import NEWEST
from sharewell.store.transfers import SORTS, WRITTEN, TransferFilter, TransferList
from sharewell_schema.allocations import Allocation
from sharewell_schema.context import Info, shown
from sharewell_schema.describe import argument, described, field, mutation, query
from sharewell_schema.filters import codes, some
from sharewell_schema.institutions import Institution
from sharewell_schema.loaders import edge, fetch_edges
from sharewell_schema.mutations import REMARK, OnBehalfOf, Receipt, key_field, paid, person_field, seen_field, wish
from sharewell_schema.offers import Offer
from sharewell_schema.ordering import Direction, Ordering
from sharewell_schema.paging import Connection, connection, how_many, read_id
from sharewell_schema.plain import finished, plain, plain_one
from sharewell_schema.requests import Request
from sharewell_schema.resources import Resource
from sharewell_schema.stretch import Stretch

described(
    TransferState, "Where a transfer stands.",
    proposed="In a plan that is being adopted.",
    held="Units are reserved until the hold ends; the giver confirms or declines.",
    confirmed="The giver stands by its pledge.", declined="The giver took its pledge back, with a reason.",
    expired="The hold ended before the giver answered; the units are free again.",
    cancelled="An override took it out of its plan.",
    dispatched="The units (or, for a place, the people) have left.", received="They have arrived.",
    return_due="A loan whose end has come.", returned="The units are back with the giver.",
)  # fmt: skip
described(
    DeclineReason, "Why a giver declines; a closed list, so that deviations from plans can be counted.",
    own_need_rose="The giver needs the units itself.", unit_unavailable="The units are out of order or gone.",
    transport_unavailable="Nothing and nobody can carry them.",
    receiver_no_longer_needs="The receiver says it needs them no more.",
    clinically_unsuitable="The units do not fit the people they are for.",
)  # fmt: skip
EDGES = {
    "offer": ("offers", "offer"),
    "request": ("requests", "request"),
    "giver": ("institutions", "giver"),
    "receiver": ("institutions", "receiver"),
    "resourceLine": ("resources", "resource"),
    "allocation": ("allocations", "allocation"),
    "steps": ("steps", "id"),
}


@strawberry.type(description="A step that a transfer took.")
class TransferStep:
    state: TransferState = field("Where it stood after the step.")
    at: datetime = field("When it took the step.")
    decision: UUID = field("Identifier of the decision on record for it.", name="decisionId")
    remark: str | None = field("What was written beside a coded reason, if anything was, and while it is kept.")


@strawberry.federation.type(keys=["id"], description="Units of one offer on their way to one request.")
class Transfer:
    id: UUID = field("Its identifier.")
    offer: UUID = field("Identifier of the offer the units are from.", name="offerId")
    offer_edge: Offer | None = strawberry.field(
        resolver=edge("offers", "offer"), name="offer", description="The offer; null where you may not see it."
    )
    request: UUID = field("Identifier of the request the units are for.", name="requestId")
    request_edge: Request | None = strawberry.field(
        resolver=edge("requests", "request"), name="request", description="The request; null where you may not see it."
    )
    giver: UUID = field("Identifier of the institution that gives.", name="giverId")
    giver_edge: Institution | None = strawberry.field(
        resolver=edge("institutions", "giver"), name="giver", description="The institution that gives."
    )
    receiver: UUID = field("Identifier of the institution that receives.", name="receiverId")
    receiver_edge: Institution | None = strawberry.field(
        resolver=edge("institutions", "receiver"), name="receiver", description="The institution that receives."
    )
    resource: str = field("Code of the resource.")
    resource_edge: Resource | None = strawberry.field(
        resolver=edge("resources", "resource"), name="resourceLine", description="The catalogue's line for it."
    )
    quantity: int = field("Units adopted: as many as the plan moves.")
    dispatched: int | None = field("Units that really left; null while none have.")
    dispatched_at: datetime | None = field("When they left.")
    received: int | None = field("Units that really arrived; null while none have.")
    received_at: datetime | None = field("When they arrived.")
    state: TransferState = field("Where the transfer stands.")
    reason: str = field("Why the plan makes this transfer, in words.")
    allocation: UUID = field("Identifier of the run whose plan proposed it.", name="allocationId")
    allocation_edge: Allocation | None = strawberry.field(
        resolver=edge("allocations", "allocation"), name="allocation", description="The run whose plan proposed it."
    )
    hold_until: datetime = field("Until when the giver may confirm; after that the units are free again.")
    decline_reason: DeclineReason | None = field("Why the giver declined.")
    return_due_at: datetime | None = field("When a received loan is due back.")
    changed_at: datetime = field("When it took its newest step.")
    changed_by: UUID = field("Identifier of the decision that changed it last.", name="changedById")
    steps: list[TransferStep] | None = strawberry.field(
        resolver=edge("steps", "id"), description="Every step it took, oldest first."
    )


@strawberry.input(description="A transfer whose giver stands by its pledge.")
class ConfirmTransferInput:
    idempotency_key: str = key_field()
    on_behalf_of: OnBehalfOf | None = person_field()
    if_changed_by: UUID | None = seen_field()
    transfer: UUID = field("Which transfer; it must be HELD, and its hold not over.")


@strawberry.input(description="A transfer whose giver takes its pledge back.")
class DeclineTransferInput:
    idempotency_key: str = key_field()
    on_behalf_of: OnBehalfOf | None = person_field()
    if_changed_by: UUID | None = seen_field()
    transfer: UUID = field("Which transfer; it must be HELD or CONFIRMED.")
    reason: DeclineReason = field("Why.")
    remark: str | None = field(REMARK, default=None)


@strawberry.input(description="A transfer whose units have left.")
class DispatchTransferInput:
    idempotency_key: str = key_field()
    on_behalf_of: OnBehalfOf | None = person_field()
    if_changed_by: UUID | None = seen_field()
    transfer: UUID = field("Which transfer; it must be CONFIRMED.")
    units: int | None = field(
        "How many have really left, 1 or more; by default as many as adopted. Any other number is recorded as a "
        "deviation, and what is missing is asked for anew.", default=None,
    )  # fmt: skip


@strawberry.input(description="A transfer whose units have arrived.")
class ReceiveTransferInput:
    idempotency_key: str = key_field()
    on_behalf_of: OnBehalfOf | None = person_field()
    if_changed_by: UUID | None = seen_field()
    transfer: UUID = field("Which transfer; it must be DISPATCHED.")
    units: int | None = field(
        "How many have really arrived, 1 or more; by default as many as left. Any other number is recorded as a "
        "deviation, and what is missing is asked for anew.", default=None,
    )  # fmt: skip


@strawberry.input(description="A transfer whose units are back with the giver.")
class ReturnTransferInput:
    idempotency_key: str = key_field()
    on_behalf_of: OnBehalfOf | None = person_field()
    if_changed_by: UUID | None = seen_field()
    transfer: UUID = field("Which transfer; it must be RECEIVED or RETURN_DUE, and no consumable.")


class TransferSort(StrEnum):
    """What transfers can be ordered by."""

    PROPOSED = "proposed"
    CHANGED = "changed"
    QUANTITY = "quantity"


described(
    TransferSort, "What transfers can be ordered by.", proposed="When they were proposed.",
    changed="When they came to where they stand.", quantity="Units.",
)  # fmt: skip


@strawberry.input(description="Which transfers a list has: those that fulfil all that is said.")
class TransferFilterInput:
    resources: list[str] | None = field("Of one of the resources with these codes, up to 100.", default=None)
    states: list[TransferState] | None = field("That stand at one of these.", default=None)
    giver: UUID | None = field("That this institution gives.", default=None)
    receiver: UUID | None = field("That this institution receives.", default=None)
    changed_since: datetime | None = field("That came to where they stand at this instant or later.", default=None)

    def read(self) -> TransferFilter:
        """What of it is asked for, checked."""
        since = self.changed_since
        return TransferFilter(
            resources=codes(self.resources, "resources"), states=some(self.states, "states"), giver=self.giver,
            receiver=self.receiver, changed_since=None if since is None else checks.moment(since, "changedSince"),
        )


@strawberry.input(description="What transfers are ordered by; those that are alike in it go by their identifiers.")
class TransferOrderInput:
    by: TransferSort = field("What they are ordered by.")
    direction: Direction = field("Which end comes first.", default=Direction.ASC)


@strawberry.type(description="What became of a step of a transfer.")
class TransferPayload:
    transfer: Transfer = field("The transfer as it is now.")
    decision: Receipt = field("The decision on record.")


@strawberry.type
class TransferQueries:
    @query("One transfer.")
    async def transfer(self, info: Info, id: Annotated[UUID, argument("Its identifier.")]) -> Transfer | None:  # noqa: A002
        if (selected := plain_one(info, WRITTEN)) is not None:
            written = await info.context.services.transfers.write_one(info.context.caller, selected, id)
            return finished(Transfer, written)
        return shown(Transfer, await info.context.services.transfers.get(info.context.caller, id))

    @query("What is on its way, newest first.")
    async def transfers(
        self, info: Info,
        party: Annotated[
            UUID | None,
            argument("Only those this institution gives or receives; by default all that you see."),
        ] = None,
        state: Annotated[TransferState | None, argument("Only those that stand here.")] = None,
        allocation: Annotated[UUID | None, argument("Only those this run proposed.")] = None,
        filter: Annotated[TransferFilterInput | None, argument("Only those that fulfil all of this.")] = None,  # noqa: A002
        order_by: Annotated[
            TransferOrderInput | None, argument("In which order; by default the newest first.")
        ] = None,
        *, stretch: Stretch,
    ) -> Connection[Transfer] | None:  # fmt: skip
        ordering = Ordering.read(order_by, stretch, SORTS, ("proposed", Direction.DESC))
        asked = TransferList(
            before=read_id(ordering.usual(stretch), NEWEST), party=party, state=state, allocation=allocation,
            first=how_many(info, stretch),
            matching=(filter or TransferFilterInput()).read(), place=ordering.place,
        )  # fmt: skip
        if ordering.place is None and (selected := plain(info, WRITTEN)) is not None:
            written = await info.context.services.transfers.write_page(info.context.caller, selected.wanted, **asked)
            return selected.told(written, stretch)
        page = await info.context.services.transfers.page(info.context.caller, **asked)
        await fetch_edges(info, page.items, EDGES)
        return connection(Transfer, page, stretch, ordering.key)


@strawberry.type
class TransferMutations:
    @mutation("Stand by the pledge that a transfer draws on. For its giver.")
    async def confirm_transfer(
        self, info: Info, input: Annotated[ConfirmTransferInput, argument("Which transfer.")]  # noqa: A002
    ) -> TransferPayload | None:
        done = await info.context.services.transfers.confirm(
            info.context.caller, input.transfer, wish("confirmTransfer", input)
        )
        return paid(TransferPayload, done, transfer=done.subject)

    @mutation("Take a pledge back before anything has left; the request is open again. For the giver.")
    async def decline_transfer(
        self, info: Info, input: Annotated[DeclineTransferInput, argument("Which transfer, and why.")]  # noqa: A002
    ) -> TransferPayload | None:
        done = await info.context.services.transfers.decline(
            info.context.caller, input.transfer, input.reason, wish("declineTransfer", input), remark=input.remark
        )
        return paid(TransferPayload, done, transfer=done.subject)

    @mutation("Record that the units have left. For the giver.")
    async def dispatch_transfer(
        self, info: Info, input: Annotated[DispatchTransferInput, argument("Which transfer.")]  # noqa: A002
    ) -> TransferPayload | None:
        done = await info.context.services.transfers.dispatch(
            info.context.caller, input.transfer, wish("dispatchTransfer", input), units=input.units
        )
        return paid(TransferPayload, done, transfer=done.subject)

    @mutation("Record that the units have arrived. For the receiver.")
    async def receive_transfer(
        self, info: Info, input: Annotated[ReceiveTransferInput, argument("Which transfer.")]  # noqa: A002
    ) -> TransferPayload | None:
        done = await info.context.services.transfers.receive(
            info.context.caller, input.transfer, wish("receiveTransfer", input), units=input.units
        )
        return paid(TransferPayload, done, transfer=done.subject)

    @mutation("Record that a loan is back with its giver. For either party.")
    async def return_transfer(
        self, info: Info, input: Annotated[ReturnTransferInput, argument("Which transfer.")]  # noqa: A002
    ) -> TransferPayload | None:
        done = await info.context.services.transfers.give_back(
            info.context.caller, input.transfer, wish("returnTransfer", input)
        )
        return paid(TransferPayload, done, transfer=done.subject)
