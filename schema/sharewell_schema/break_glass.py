"""Broken glasses in the API: policies in force at once and for hours, by one admin alone."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

import strawberry

from sharewell.domain.break_glass import GlassDraft, GlassEnding, GlassReason
from sharewell.store.paging import NEWEST
from sharewell_schema.context import Info, shown
from sharewell_schema.describe import argument, described, field, mutation, query
from sharewell_schema.loaders import edge, fetch_edges
from sharewell_schema.mutations import REMARK, OnBehalfOf, Receipt, key_field, paid, person_field, wish
from sharewell_schema.paging import Connection, connection, how_many, id_key, read_id
from sharewell_schema.stretch import Stretch

described(
    GlassReason, "Why the glass is broken; a closed list, so that they can be counted.",
    life_at_stake="A life is at stake.", care_blocked="The policies keep from acting those who must.",
    wrong_rule="What is in force is not what was meant.", attack_on_systems="Computers were attacked.",
    ordered_by_authority="An authority ordered it.",
)  # fmt: skip
described(
    GlassEnding, "How a broken glass came to its end.",
    ended="Before its time, by an admin.", expired="Its time was over.",
)  # fmt: skip
EDGES = {"remark": ("glass_remarks", "id")}


def _in_force(self: Any, info: Info) -> bool:
    return bool(self.in_force(info.context.services.office.now()))


@strawberry.type(
    description="Policies that one admin put into force at once and for hours. An alert to the regulator: nobody else "
    "has looked at them before."
)
class BrokenGlass:
    id: UUID = field("Its identifier.")
    version: int = field("Number of the version that it put into force.")
    reason: GlassReason = field("Why.")
    remark: str | None = strawberry.field(
        resolver=edge("glass_remarks", "id"), description="What was written beside the reason, while it is kept."
    )
    broken_at: datetime = field("When.")
    until: datetime = field("When it ends by itself, and what was in force before returns.")
    in_force: bool = strawberry.field(resolver=_in_force, description="Whether it is in force just now.")
    client: str = field("Who broke it.")
    person: UUID | None = field("Reference of the person on whose behalf.")
    ended_at: datetime | None = field("When its end was put on record.")
    ending: GlassEnding | None = field("How it came to its end.")
    decision: UUID = field("Identifier of the decision on record.", name="decisionId")
    ended_by: UUID | None = field("Identifier of the decision that ended it.", name="endedById")


@strawberry.input(description="Policies for an emergency.")
class BreakGlassInput:
    idempotency_key: str = key_field()
    on_behalf_of: OnBehalfOf | None = person_field()
    version: int = field(
        "Number of a version without faults: one that was in force before, or one that only adds policies to what is "
        "in force and whose permits name their caller and their acts."
    )
    reason: GlassReason = field("Why.")
    remark: str = field(REMARK)
    until: datetime = field("When it ends by itself; at most the hours that the operator set (4, if nothing was).")


@strawberry.input(description="A broken glass that is over before its time.")
class EndBreakGlassInput:
    idempotency_key: str = key_field()
    on_behalf_of: OnBehalfOf | None = person_field()
    glass: UUID = field("Which.")


@strawberry.type(description="What became of a broken glass.")
class BrokenGlassPayload:
    glass: BrokenGlass = field("The broken glass as it is now.")
    decision: Receipt = field("The decision on record.")


@strawberry.type
class BreakGlassQueries:
    @query("Glasses that were broken, newest first: what regulators are to look at.")
    async def broken_glasses(
        self, info: Info,
        only_current: Annotated[bool, argument("Only the one that is in force.")] = False,
        *, stretch: Stretch,
    ) -> Connection[BrokenGlass] | None:  # fmt: skip
        page = await info.context.services.break_glass.page(
            info.context.caller, before=read_id(stretch, NEWEST), only_current=only_current,
            first=how_many(info, stretch),
        )  # fmt: skip
        await fetch_edges(info, page.items, EDGES)
        return connection(BrokenGlass, page, stretch, id_key)


@strawberry.type
class BreakGlassMutations:
    @mutation("Put policies into force at once and for hours, without a second person. For admins, in an emergency.")
    async def break_glass(
        self, info: Info, input: Annotated[BreakGlassInput, argument("Which, why, until when.")]  # noqa: A002
    ) -> BrokenGlassPayload | None:
        draft = GlassDraft(version=input.version, reason=input.reason, until=input.until, remark=input.remark)
        done = await info.context.services.break_glass.break_it(info.context.caller, draft, wish("breakGlass", input))
        return paid(BrokenGlassPayload, done, glass=shown(BrokenGlass, done.subject))

    @mutation("End a broken glass before its time. For admins.")
    async def end_break_glass(
        self, info: Info, input: Annotated[EndBreakGlassInput, argument("Which.")]  # noqa: A002
    ) -> BrokenGlassPayload | None:
        done = await info.context.services.break_glass.end(
            info.context.caller, input.glass, wish("endBreakGlass", input)
        )
        return paid(BrokenGlassPayload, done, glass=shown(BrokenGlass, done.subject))
