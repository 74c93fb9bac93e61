"""What happens, as it happens: one subscription for each topic, all read from the log from a cursor on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from datetime import datetime
from typing import Annotated, Any, NamedTuple
from uuid import UUID

import strawberry

from sharewell.domain import checks
from sharewell.domain.errors import Unavailable
from sharewell.domain.happenings import Following, Position, Topic, read_position
from sharewell.services.happenings import Event
from sharewell_schema import allocations, offers, requests, transfers
from sharewell_schema.allocations import Allocation
from sharewell_schema.break_glass import BrokenGlass
from sharewell_schema.context import Context, Info, shown
from sharewell_schema.describe import argument, field, query, subscription
from sharewell_schema.deviations import Deviation
from sharewell_schema.drift import ForecastWatch
from sharewell_schema.loaders import Edges, fetch_edges
from sharewell_schema.offers import Offer
from sharewell_schema.overrides import Override
from sharewell_schema.paging import bad_cursor, read_cursor, write_cursor
from sharewell_schema.policy_versions import PolicyVersion
from sharewell_schema.requests import Request
from sharewell_schema.surges import SurgeMode
from sharewell_schema.transfers import Transfer

AGAIN_SECONDS = 1.0  #: until the database is asked again where it was away

CURSOR = "Its position in the log. Send the last one you have as `after` to go on: nothing is lost, nothing told twice."
KIND = "What happened, in the words of the audit log, such as `offer.published`."
After = Annotated[
    str | None,
    argument(
        "The cursor of the last event you have, or what `followFrom` said before you read the list; leave it out to be "
        "told of what happens from now on."
    ),
]
Institution = Annotated[UUID | None, argument("Only of this institution; by default of all that you may see.")]
Party = Annotated[UUID | None, argument("Only what it gives or receives; by default of all that you may see.")]
Region = Annotated[str | None, argument("Only of institutions of this region.")]
ResourceCode = Annotated[str | None, argument("Only of the resource with this code.")]


@strawberry.type(description="What every event tells.")
class _Event:
    cursor: str = field(CURSOR)
    at: datetime = field("When it was decided.")
    kind: str = field(KIND)
    decision: UUID = field("Identifier of the decision on record.", name="decisionId")


@strawberry.type(description="Something happened to an offer.")
class OfferEvent(_Event):
    offer: Offer = field("The offer as it is now.")


@strawberry.type(description="Something happened to a request, or to a transfer that answers it.")
class RequestEvent(_Event):
    request: Request = field("The request as it is now.")


@strawberry.type(description="A transfer took a step.")
class TransferEvent(_Event):
    transfer: Transfer = field("The transfer as it is now.")


@strawberry.type(description="A plan was adopted, or an owner answered one.")
class PlanEvent(_Event):
    allocation: Allocation = field("The run as it is now.")


@strawberry.type(description="Something that somebody should look at; what it is about is in the one field not null.")
class AlertEvent(_Event):
    institution: UUID | None = field("The institution it is about, where it is about one.", name="institutionId")
    surge: SurgeMode | None = field("Surge mode that was declared, or ended.")
    deviation: Deviation | None = field("What was done otherwise than adopted.")
    override: Override | None = field("A departure from a plan on purpose.")
    transfer: Transfer | None = field("A transfer whose hold ran out unanswered.")
    forecast: ForecastWatch | None = field("Forecasts that do not hold any more, or hold again.")
    glass: BrokenGlass | None = field(
        "Policies that one admin put into force alone, in an emergency, or their end.", name="brokenGlass"
    )
    version: PolicyVersion | None = field(
        "An approved version of the policies that is never in force, for another one is in its place.",
        name="policyVersion",
    )
    refused: str | None = field("What somebody asked to do and may not, as `DecisionHeader.action` has it.")


class Step(NamedTuple):
    """What a stream goes on with."""

    event: Any  #: None: nothing happened, but it is known how far the stream has come
    context: Context


@strawberry.type(description="What can be followed, over WebSocket (graphql-transport-ws) or server-sent events.")
class Subscription:
    @subscription("Offers that are published and withdrawn.")
    async def offers(
        self, info: Info, after: After = None, institution: Institution = None, region: Region = None,
        resource: ResourceCode = None,
    ) -> AsyncGenerator[OfferEvent, None]:  # fmt: skip
        following = _following(Topic.OFFERS, institution, region, resource)
        async for step in _follow(info, following, after, _offer, offers.EDGES):
            yield step

    @subscription("Requests that are opened, answered, cut, taken back, filled or over.")
    async def requests(
        self, info: Info, after: After = None, institution: Institution = None, region: Region = None,
        resource: ResourceCode = None,
    ) -> AsyncGenerator[RequestEvent, None]:  # fmt: skip
        following = _following(Topic.REQUESTS, institution, region, resource)
        async for step in _follow(info, following, after, _request, requests.EDGES):
            yield step

    @subscription("Every step that transfers take, from the hold on.")
    async def transfers(
        self, info: Info, after: After = None, institution: Party = None, region: Region = None,
        resource: ResourceCode = None,
    ) -> AsyncGenerator[TransferEvent, None]:  # fmt: skip
        following = _following(Topic.TRANSFERS, institution, region, resource)
        async for step in _follow(info, following, after, _transfer, transfers.EDGES):
            yield step

    @subscription("Plans that are adopted, and answers of owners to them.")
    async def plans(
        self, info: Info, after: After = None, region: Region = None, resource: ResourceCode = None
    ) -> AsyncGenerator[PlanEvent, None]:
        following = _following(Topic.PLANS, None, region, resource)
        async for step in _follow(info, following, after, _plan, allocations.EDGES):
            yield step

    @subscription(
        "What somebody should look at: surge mode, departures from plans, holds that ran out, forecasts "
        "that drift, broken glasses, approved policies that are passed over, and what was refused."
    )
    async def alerts(
        self, info: Info, after: After = None, region: Region = None, resource: ResourceCode = None
    ) -> AsyncGenerator[AlertEvent, None]:
        following = _following(Topic.ALERTS, None, region, resource)
        async for step in _follow(info, following, after, _alert, {}):
            yield step


@strawberry.type
class HappeningQueries:
    @query(
        "Where the log ends now. Read this, then lists, then follow `after` it: nothing that happens meanwhile is "
        "missed."
    )
    async def follow_from(self, info: Info) -> str | None:
        return _write(await info.context.services.happenings.end())


async def _follow(
    info: Info, following: Following, after: str | None, make: Callable[[Event], Any], edges: Edges
) -> AsyncGenerator[Any, None]:
    """What happens, for as long as it is asked for. Raises `NotAdmitted` once the caller is not let in any more."""
    context, progress, service = info.context, info.context.progress, info.context.services.happenings
    assert progress is not None, "only a stream runs subscriptions"
    asked = progress.resume or after
    start = None if asked is None else _read(asked)
    async with service.open(context.caller, following, start) as begin:
        position = begin
        progress.cursor = _write(position)
        yield Step(None, context)
        while True:
            try:
                context = context.anew(await progress.admission.again())
                found = await service.read(context.caller, following, position)
            except Unavailable:  # nothing was told, so nothing is lost
                await asyncio.sleep(AGAIN_SECONDS)
                continue
            await fetch_edges(info, [event.thing for event in found.events], edges, context.loaders)
            for event in found.events:
                yield Step(make(event), context)
                progress.cursor = _write(event.position)  # not before it was delivered
            position = found.position
            progress.cursor = _write(position)
            await service.moved(following, position)


def _following(topic: Topic, institution: UUID | None, region: str | None, resource: str | None) -> Following:
    return Following(
        topic=topic, institution=institution, region=None if region is None else checks.code(region, "region"),
        resource=None if resource is None else checks.code(resource, "resource"),
    )  # fmt: skip


def _write(position: Position) -> str:
    return write_cursor(position.text().encode())


def _read(cursor: str) -> Position:
    try:
        return read_position(read_cursor(cursor).decode("ascii"))
    except UnicodeDecodeError:
        raise bad_cursor() from None


def _said(event: Event) -> dict[str, Any]:
    happening = event.happening
    return {
        "cursor": _write(event.position), "at": happening.at, "kind": happening.kind, "decision": happening.decision,
    }  # fmt: skip


def _offer(event: Event) -> OfferEvent:
    return OfferEvent(**_said(event), offer=shown(Offer, event.thing))


def _request(event: Event) -> RequestEvent:
    return RequestEvent(**_said(event), request=shown(Request, event.thing))


def _transfer(event: Event) -> TransferEvent:
    return TransferEvent(**_said(event), transfer=shown(Transfer, event.thing))


def _plan(event: Event) -> PlanEvent:
    return PlanEvent(**_said(event), allocation=shown(Allocation, event.thing))


def _alert(event: Event) -> AlertEvent:
    about: dict[str, Any] = {name: event.thing if event.sort == name else None for name in _ABOUT}
    refused = event.thing.action if event.sort == "decision" else None
    return AlertEvent(**_said(event), institution=event.happening.institution, refused=refused, **about)


_ABOUT = ("surge", "deviation", "override", "transfer", "forecast", "glass", "version")
