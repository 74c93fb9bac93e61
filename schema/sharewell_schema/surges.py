"""Surge mode in the API."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

import strawberry

from sharewell.domain import checks
from sharewell.domain.surges import LONGEST, SHORT_HOLD, SurgeDraft, SurgeEnding, SurgeReason
from sharewell.store.paging import NEWEST
from sharewell_schema.context import Info, shown
from sharewell_schema.describe import argument, described, field, mutation, query
from sharewell_schema.loaders import edge, fetch_edges
from sharewell_schema.mutations import REMARK, OnBehalfOf, Receipt, key_field, paid, person_field, seen_field, wish
from sharewell_schema.paging import Connection, connection, how_many, id_key, read_id
from sharewell_schema.stretch import Stretch

HOURS = LONGEST.total_seconds() / 3600

described(
    SurgeReason, "Why surge mode is declared; a closed list, so that declarations can be counted.",
    epidemic_peak="An epidemic is at its peak.", mass_casualties="Many people were hurt at once.",
    disaster="A disaster struck or is expected.", utility_failure="Power, water, heating or telephone failed.",
    attack_on_systems="Computers were attacked.",
)  # fmt: skip
described(
    SurgeEnding, "How surge mode came to its end.",
    ended="Before its time, by somebody entitled.", expired="Its time was over.",
    renewed="A later declaration took its place.",
)  # fmt: skip
EDGES = {"remark": ("surge_remarks", "id")}


def _in_force(self: Any, info: Info) -> bool:
    return bool(self.in_force(info.context.services.office.now()))


@strawberry.type(
    description="While it is in force, givers have less time to answer, and standing consents count. What is recorded "
    "stays the same."
)
class SurgeMode:
    id: UUID = field("Its identifier.")
    region: str = field("The region.")
    resource: str | None = field("Code of the resource; null for all.")
    reason: SurgeReason = field("Why it was declared.")
    remark: str | None = strawberry.field(
        resolver=edge("surge_remarks", "id"), description="What was written beside the reason, while it is kept."
    )
    declared_at: datetime = field("When it was declared.")
    until: datetime = field("When it ends by itself.")
    signed: bool = field("Whether its declaration is under a signed checkpoint of the log; before, it has no force.")
    in_force: bool = strawberry.field(resolver=_in_force, description="Whether it shortens approvals just now.")
    renews: UUID | None = field("Identifier of the one whose place it took.", name="renewsId")
    client: str = field("The client that declared it.")
    ended_at: datetime | None = field("When its end was put on record.")
    ending: SurgeEnding | None = field("How it came to its end.")
    decision: UUID = field("Identifier of the decision that declared it; its bundle is the signed policy.",
                           name="decisionId")  # fmt: skip
    ended_by: UUID | None = field("Identifier of the decision that ended it.", name="endedById")
    changed_by: UUID = field("Identifier of the decision that changed it last.", name="changedById")


@strawberry.input(description="Surge mode for a region.")
class DeclareSurgeInput:
    idempotency_key: str = key_field()
    on_behalf_of: OnBehalfOf | None = person_field()
    region: str = field("The region.")
    resource: str | None = field("Code of the resource; by default all.", default=None)
    reason: SurgeReason = field("Why.")
    until: datetime = field(f"When it ends by itself, at most {HOURS:.0f} hours ahead; declare it again to renew it.")
    remark: str | None = field(REMARK, default=None)


@strawberry.input(description="Surge mode that is over before its time.")
class EndSurgeInput:
    idempotency_key: str = key_field()
    on_behalf_of: OnBehalfOf | None = person_field()
    if_changed_by: UUID | None = seen_field()
    surge: UUID = field("Which.")


@strawberry.type(description="What became of surge mode.")
class SurgePayload:
    surge: SurgeMode = field("The surge mode as it is now.")
    decision: Receipt = field("The decision on record.")


@strawberry.type
class SurgeQueries:
    @query("Surge modes, newest first.")
    async def surge_modes(
        self, info: Info,
        region: Annotated[str | None, argument("Only of this region.")] = None,
        only_current: Annotated[bool, argument("Only those that have not ended, signed or not.")] = False,
        *, stretch: Stretch,
    ) -> Connection[SurgeMode] | None:  # fmt: skip
        page = await info.context.services.surges.page(
            info.context.caller, before=read_id(stretch, NEWEST),
            region=None if region is None else checks.code(region, "region"), only_current=only_current,
            first=how_many(info, stretch),
        )  # fmt: skip
        await fetch_edges(info, page.items, EDGES)
        return connection(SurgeMode, page, stretch, id_key)


@strawberry.type
class SurgeMutations:
    @mutation(
        f"Put a region into surge mode: givers have {SHORT_HOLD.total_seconds() / 3600:.0f} hours to answer, and "
        "standing consents count, once this decision is signed by the log. For allocators."
    )
    async def declare_surge(
        self, info: Info, input: Annotated[DeclareSurgeInput, argument("Where, why, until when.")]  # noqa: A002
    ) -> SurgePayload | None:
        draft = SurgeDraft(
            region=input.region, resource=input.resource, reason=input.reason, until=input.until, remark=input.remark
        )
        done = await info.context.services.surges.declare(info.context.caller, draft, wish("declareSurge", input))
        return paid(SurgePayload, done, surge=shown(SurgeMode, done.subject))

    @mutation("End surge mode before its time. For allocators and admins.")
    async def end_surge(
        self, info: Info, input: Annotated[EndSurgeInput, argument("Which.")]  # noqa: A002
    ) -> SurgePayload | None:
        done = await info.context.services.surges.end(info.context.caller, input.surge, wish("endSurge", input))
        return paid(SurgePayload, done, surge=shown(SurgeMode, done.subject))
