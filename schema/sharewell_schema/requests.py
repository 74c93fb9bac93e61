"""Requests in the API."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Annotated
from uuid import UUID

import strawberry

from sharewell.domain import checks
from sharewell.domain.requests import RaiseReason, RequestDraft, RequestReason, RequestStatus
from sharewell.store.paging import NEWEST
from sharewell.store.requests import SORTS, WRITTEN, RequestFilter, RequestList
from sharewell_schema.context import Info, shown
from sharewell_schema.describe import argument, described, field, mutation, query
from sharewell_schema.filters import codes, some
from sharewell_schema.institutions import Institution
from sharewell_schema.loaders import edge, fetch_edges
from sharewell_schema.mutations import OnBehalfOf, Receipt, key_field, paid, person_field, seen_field, wish
from sharewell_schema.ordering import Direction, Ordering
from sharewell_schema.paging import Connection, connection, how_many, read_id
from sharewell_schema.plain import finished, plain, plain_one
from sharewell_schema.receipts import Unfilled
from sharewell_schema.resources import Resource
from sharewell_schema.stretch import Stretch

described(
    RequestReason, "Why units are needed; a closed list, so that reasons can be counted.",
    surge="More people need them now than usual.",
    forecast_shortage="A forecast expects the need to exceed what is there.",
    stock_out="The stock has run out or will.", equipment_failure="Equipment failed.",
    staff_absence="Staff are absent.", disaster="A disaster struck or is expected.",
)  # fmt: skip
described(
    RaiseReason, "Why more counts as needed than forecast and census bear out; a closed list, so that it is counted.",
    incoming_patients="Patients are on their way and in no report yet.",
    equipment_failed="Equipment failed since the newest report.",
    staff_absent="Staff are absent since the newest report.",
    supply_failed="A delivery that the stock was planned on does not come.", disaster="No forecast knows of it.",
    not_reported="The institution has no report or forecast that would show the need.",
)  # fmt: skip
described(
    RequestStatus, "How far a request has come.",
    open="No plan has answered it yet.", approved="A plan approves all or part; the rest lives on as a remainder.",
    fulfilled="All that was approved has arrived.",
    superseded="Every giver took its pledge back; what is needed lives on in its remainders.",
    cancelled="Taken back before a plan answered it.", expired="The time the units were needed in is over.",
)  # fmt: skip
EDGES = {
    "institution": ("institutions", "institution"),
    "resourceLine": ("resources", "resource"),
    "remainderOf": ("requests", "remainder_of"),
    "unfilled": ("unfilled", "id"),
}


@strawberry.federation.type(
    keys=["id"], description="A need on record. Requested, approved and fulfilled are three numbers.",
)
class Request:
    id: UUID = field("Its identifier.")
    institution: UUID = field("Identifier of the institution that asks.", name="institutionId")
    institution_edge: Institution | None = strawberry.field(
        resolver=edge("institutions", "institution"), name="institution", description="The institution that asks."
    )
    resource: str = field("Code of the resource asked for.")
    resource_edge: Resource | None = strawberry.field(
        resolver=edge("resources", "resource"), name="resourceLine",
        description="The catalogue's line for the resource asked for.",
    )  # fmt: skip
    requested: int = field("Units asked for.")
    approved: int = field("Units a plan assigned to it.")
    fulfilled: int = field("Units that have arrived.")
    urgency: int = field("From 1 (can wait) to 5 (lives at stake now).")
    needed_by: datetime = field("When the units are needed.")
    needed_until: datetime = field("When they are needed no more.")
    reason: RequestReason = field("Why they are needed.")
    status: RequestStatus = field("How far the request has come.")
    remainder_of: UUID | None = field("Identifier of the request whose unfilled part this is.", name="remainderOfId")
    remainder_of_edge: Request | None = strawberry.field(
        resolver=edge("requests", "remainder_of"), name="remainderOf",
        description="The request whose unfilled part this is.",
    )  # fmt: skip
    raised: int = field("Units that count as needed on the institution's word, where forecast and census fall short.")
    raise_reason: RaiseReason | None = field("Why; null where nothing is raised.")
    note: str = field("Why it was cut or refused, in words; empty while nothing was.")
    unfilled: Unfilled | None = strawberry.field(
        resolver=edge("unfilled", "id"),
        description="What the newest run that answered it left open, and why; null where it left nothing.",
    )  # fmt: skip
    opened_at: datetime = field("When it was opened.")
    changed_by: UUID = field("Identifier of the decision that changed it last.", name="changedById")


@strawberry.input(description="Units an institution lacks.")
class OpenRequestInput:
    idempotency_key: str = key_field()
    on_behalf_of: OnBehalfOf | None = person_field()
    institution: UUID | None = field("Who lacks them; by default the institution the client acts for.", default=None)
    resource: str = field("Code of the resource, such as `bed.adult`.")
    quantity: int = field("Units asked for, 1 or more.")
    urgency: int = field("From 1 (can wait) to 5 (lives at stake now).")
    needed_by: datetime = field("When the units are needed: from yesterday to 92 days ahead.")
    needed_until: datetime = field("When they are needed no more, at most 366 days later.")
    reason: RequestReason = field("Why they are needed.")
    raised: int = field(
        "Units of the quantity to count as needed even where forecast and census do not show them. It is on record and "
        "seen by all who see the request.", default=0,
    )  # fmt: skip
    raise_reason: RaiseReason | None = field("Why; required where units are raised, and only there.", default=None)


class RequestSort(StrEnum):
    """What requests can be ordered by."""

    OPENED = "opened"
    NEEDED_BY = "needed_by"
    URGENCY = "urgency"


described(
    RequestSort, "What requests can be ordered by.", opened="When they were opened.",
    needed_by="When the units are needed.", urgency="How urgent they are.",
)  # fmt: skip


@strawberry.input(description="Which requests a list has: those that fulfil all that is said.")
class RequestFilterInput:
    resources: list[str] | None = field("For one of the resources with these codes, up to 100.", default=None)
    institutions: list[UUID] | None = field("Of one of these institutions, as far as you see theirs.", default=None)
    region: str | None = field("Of institutions of this region.", default=None)
    statuses: list[RequestStatus] | None = field("That have come just this far.", default=None)
    reasons: list[RequestReason] | None = field("For one of these reasons.", default=None)
    urgency_at_least: int | None = field("As urgent as this, 1 to 5, or more.", default=None)
    needed_before: datetime | None = field("Whose units are needed before this instant.", default=None)

    def read(self) -> RequestFilter:
        """What of it is asked for, checked."""
        urgency = self.urgency_at_least
        return RequestFilter(
            resources=codes(self.resources, "resources"), institutions=some(self.institutions, "institutions"),
            region=None if self.region is None else checks.code(self.region, "region"),
            statuses=some(self.statuses, "statuses"), reasons=some(self.reasons, "reasons"),
            urgency_at_least=None if urgency is None else checks.units(urgency, "urgencyAtLeast", least=1, most=5),
            needed_before=None if self.needed_before is None else checks.moment(self.needed_before, "neededBefore"),
        )  # fmt: skip


@strawberry.input(description="What requests are ordered by; those that are alike in it go by their identifiers.")
class RequestOrderInput:
    by: RequestSort = field("What they are ordered by.")
    direction: Direction = field("Which end comes first.", default=Direction.ASC)


@strawberry.type(description="What became of openRequest.")
class OpenRequestPayload:
    request: Request = field("The request as it stands.")
    decision: Receipt = field("The decision on record.")


@strawberry.input(description="A request to cancel.")
class CancelRequestInput:
    idempotency_key: str = key_field()
    on_behalf_of: OnBehalfOf | None = person_field()
    if_changed_by: UUID | None = seen_field()
    request: UUID = field("Which request.")


@strawberry.type(description="What became of cancelRequest.")
class CancelRequestPayload:
    request: Request = field("The request as it is now.")
    decision: Receipt = field("The decision on record.")


@strawberry.type
class RequestQueries:
    @query("One request.")
    async def request(self, info: Info, id: Annotated[UUID, argument("Its identifier.")]) -> Request | None:  # noqa: A002
        if (selected := plain_one(info, WRITTEN)) is not None:
            written = await info.context.services.requests.write_one(info.context.caller, selected, id)
            return finished(Request, written)
        return shown(Request, await info.context.services.requests.get(info.context.caller, id))

    @query("What is asked for, newest first.")
    async def requests(
        self, info: Info,
        institution: Annotated[
            UUID | None, argument("Only of this institution; by default of all that you see.")
        ] = None,
        resource: Annotated[str | None, argument("Only of the resource with this code.")] = None,
        status: Annotated[RequestStatus | None, argument("Only those that have come this far.")] = None,
        filter: Annotated[RequestFilterInput | None, argument("Only those that fulfil all of this.")] = None,  # noqa: A002
        order_by: Annotated[
            RequestOrderInput | None, argument("In which order; by default the newest first.")
        ] = None,
        *, stretch: Stretch,
    ) -> Connection[Request] | None:  # fmt: skip
        ordering = Ordering.read(order_by, stretch, SORTS, ("opened", Direction.DESC))
        asked = RequestList(
            before=read_id(ordering.usual(stretch), NEWEST), institution=institution,
            resource=None if resource is None else checks.code(resource, "resource"), status=status,
            first=how_many(info, stretch),
            matching=(filter or RequestFilterInput()).read(), place=ordering.place,
        )  # fmt: skip
        if ordering.place is None and (selected := plain(info, WRITTEN)) is not None:
            written = await info.context.services.requests.write_page(info.context.caller, selected.wanted, **asked)
            return selected.told(written, stretch)
        page = await info.context.services.requests.page(info.context.caller, **asked)
        await fetch_edges(info, page.items, EDGES)
        return connection(Request, page, stretch, ordering.key)


@strawberry.type
class RequestMutations:
    @mutation(
        "Ask for units. The next plan answers, and says why where it grants less; at urgency 5 a share is granted at "
        "once, without waiting for it."
    )
    async def open_request(
        self, info: Info, input: Annotated[OpenRequestInput, argument("The need.")]  # noqa: A002
    ) -> OpenRequestPayload | None:
        draft = RequestDraft(
            resource=input.resource, quantity=input.quantity, needed_by=input.needed_by,
            needed_until=input.needed_until, urgency=input.urgency, reason=input.reason, raised=input.raised,
            raise_reason=input.raise_reason,
        )  # fmt: skip
        institution = info.context.acting_for(input.institution)
        done = await info.context.services.requests.open(
            info.context.caller, institution, draft, wish("openRequest", input)
        )
        return paid(OpenRequestPayload, done, request=done.subject)

    @mutation("Take back a request that no plan has answered yet.")
    async def cancel_request(
        self, info: Info, input: Annotated[CancelRequestInput, argument("Which request.")]  # noqa: A002
    ) -> CancelRequestPayload | None:
        done = await info.context.services.requests.cancel(
            info.context.caller, input.request, wish("cancelRequest", input)
        )
        return paid(CancelRequestPayload, done, request=done.subject)
