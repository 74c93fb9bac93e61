"""Overrides in the API: departures from a plan on purpose."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated
from uuid import UUID

import strawberry

from sharewell.domain.overrides import OverrideCode, OverrideDraft, OverrideKind
from sharewell.store.paging import NEWEST
from sharewell_schema.context import Info, shown
from sharewell_schema.describe import argument, described, field, mutation, query
from sharewell_schema.loaders import edge, fetch_edges
from sharewell_schema.mutations import REMARK, OnBehalfOf, Receipt, key_field, paid, person_field, wish
from sharewell_schema.paging import Connection, connection, how_many, id_key, read_id
from sharewell_schema.stretch import Stretch
from sharewell_schema.transfers import Transfer

described(
    OverrideKind, "What is done otherwise than planned.",
    cancel="A transfer is taken out of its plan; what it would have brought is asked for anew.",
    reassign="Its units are held for another request instead, for their giver to confirm.",
    move_unconfirmed="Its units leave before their giver has confirmed. For the giver.",
)  # fmt: skip
described(
    OverrideCode, "Why somebody departs from a plan; a closed list, so that overrides can be counted.",
    life_at_stake="A life is at stake elsewhere, or now. Does not explain a CANCEL.",
    need_ended="The need is over.", receiver_cannot_take="The receiver cannot take the units or the people.",
    transport_failed="What was to carry them failed.", unit_unsuitable="The units do not fit what they are for.",
    data_were_wrong="The plan rests on data that were wrong.",
    ordered_by_authority="An authority ordered it. Explains a MOVE_UNCONFIRMED, as does a life at stake.",
)  # fmt: skip
EDGES = {
    "transfer": ("transfers", "transfer"),
    "replacement": ("transfers", "replacement"),
    "remark": ("override_remarks", "id"),
}


@strawberry.type(description="A departure from an adopted plan, on purpose and by a code.")
class Override:
    id: UUID = field("Its identifier.")
    kind: OverrideKind = field("What is done otherwise.")
    code: OverrideCode = field("Why.")
    remark: str | None = strawberry.field(
        resolver=edge("override_remarks", "id"), description="What was written beside the code, while it is kept."
    )
    transfer: UUID = field("Identifier of the transfer that was planned.", name="transferId")
    transfer_edge: Transfer | None = strawberry.field(
        resolver=edge("transfers", "transfer"), name="transfer", description="The transfer that was planned."
    )
    request: UUID | None = field("Identifier of the request its units go to instead.", name="requestId")
    replacement: UUID | None = field("Identifier of the transfer by which they do.", name="replacementId")
    replacement_edge: Transfer | None = strawberry.field(
        resolver=edge("transfers", "replacement"), name="replacement",
        description="The transfer by which they do; null where you may not see it.",
    )  # fmt: skip
    giver: UUID = field("Identifier of the institution whose units they are.", name="giverId")
    receiver: UUID = field("Identifier of the institution that was to get them.", name="receiverId")
    client: str = field("The client that did it.")
    made_at: datetime = field("When.")
    decision: UUID = field("Identifier of the decision on record.", name="decisionId")


@strawberry.type(description="How often one client gave one code for one kind of override.")
class OverrideCount:
    kind: OverrideKind = field("What was done otherwise.")
    code: OverrideCode = field("Why.")
    client: str = field("The client.")
    overrides: int = field("How often.")


@strawberry.input(description="A departure from an adopted plan.")
class OverridePlanInput:
    idempotency_key: str = key_field()
    on_behalf_of: OnBehalfOf | None = person_field()
    transfer: UUID = field("Which transfer; it must be HELD or, unless it is to move, CONFIRMED.")
    kind: OverrideKind = field("What is done otherwise.")
    code: OverrideCode = field("Why.")
    request: UUID | None = field(
        "To REASSIGN: an open request of another institution, for the same resource and at least as many units.",
        default=None,
    )  # fmt: skip
    units: int | None = field(
        "For MOVE_UNCONFIRMED: how many have left, 1 or more; by default as many as adopted.", default=None
    )
    remark: str | None = field(REMARK, default=None)


@strawberry.type(description="What became of overridePlan.")
class OverridePlanPayload:
    override: Override = field("The override.")
    decision: Receipt = field("The decision on record.")


@strawberry.type
class OverrideQueries:
    @query("Departures from plans on purpose, newest first.")
    async def overrides(
        self, info: Info,
        institution: Annotated[
            UUID | None,
            argument("Only of transfers it gives or receives; by default all that you see."),
        ] = None,
        code: Annotated[OverrideCode | None, argument("Only those for this reason.")] = None,
        *, stretch: Stretch,
    ) -> Connection[Override] | None:  # fmt: skip
        page = await info.context.services.overrides.page(
            info.context.caller, before=read_id(stretch, NEWEST),
            institution=institution, code=code, first=how_many(info, stretch),
        )  # fmt: skip
        await fetch_edges(info, page.items, EDGES)
        return connection(Override, page, stretch, id_key)


@strawberry.type
class OverrideMutations:
    @mutation("Depart from an adopted plan, by a code. For allocators, and for the giver with its own units.")
    async def override_plan(
        self, info: Info, input: Annotated[OverridePlanInput, argument("What, and why.")]  # noqa: A002
    ) -> OverridePlanPayload | None:
        draft = OverrideDraft(
            transfer=input.transfer, kind=input.kind, code=input.code, request=input.request, units=input.units,
            remark=input.remark,
        )  # fmt: skip
        done = await info.context.services.overrides.make(info.context.caller, draft, wish("overridePlan", input))
        return paid(OverridePlanPayload, done, override=shown(Override, done.subject))
