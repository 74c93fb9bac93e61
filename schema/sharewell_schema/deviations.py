"""Deviations in the API: what was done otherwise than adopted, and the control chart of how often."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

import strawberry

from sharewell.domain import control
from sharewell.domain.control import Limits, Signal
from sharewell.domain.deviations import DeviationKind, Unplanned
from sharewell.services.deviations import DeviationRates
from sharewell.store.paging import NEWEST
from sharewell_schema.context import Info, shown
from sharewell_schema.costs import COUNTS
from sharewell_schema.describe import argument, described, field, mutation, query
from sharewell_schema.institutions import Institution
from sharewell_schema.loaders import edge, fetch_edges
from sharewell_schema.mutations import OnBehalfOf, Receipt, key_field, paid, person_field, wish
from sharewell_schema.overrides import OverrideCount
from sharewell_schema.paging import Connection, connection, how_many, id_key, read_id
from sharewell_schema.receipts import USUAL, institution_edge
from sharewell_schema.stretch import Stretch
from sharewell_schema.transfers import Transfer

described(
    DeviationKind, "In which way something was done otherwise than adopted.",
    dispatched_less="Fewer units left than were adopted.",
    dispatched_more="More units left than were adopted; the rest is in nobody's plan.",
    dispatched_late="They left after they were needed and the time to answer was over.",
    not_dispatched="They were confirmed, and had not left by then.",
    taken_back="They were declined after they had been confirmed.",
    received_less="Fewer units arrived than had left.", received_more="More units arrived than had left.",
    outside_plan="Units moved that no plan asked for.",
)  # fmt: skip
described(
    Limits, "How an operator's control limits were found.", "ControlLimits",
    three_sigma="Shewhart's: three standard deviations on either side of the share of all.",
    binomial="Exact, with the same chance outside; used where few departures are to be expected.",
)  # fmt: skip
described(
    Signal, "Where an operator lies among its control limits.", "ControlSignal",
    within="Chance explains it.", above="More departures than chance explains.",
    below="Fewer than chance explains: something to learn from, or departures that are not recorded.",
)  # fmt: skip
EDGES = {"transfer": ("transfers", "transfer")}


@strawberry.type(description="Something that was done otherwise than adopted, found by comparing the two.")
class Deviation:
    id: UUID = field("Its identifier.")
    kind: DeviationKind = field("In which way.")
    transfer: UUID | None = field("Identifier of the transfer; null where no plan asked for it.", name="transferId")
    transfer_edge: Transfer | None = strawberry.field(
        resolver=edge("transfers", "transfer"), name="transfer", description="The transfer."
    )
    giver: UUID = field("Identifier of the institution that gave.", name="giverId")
    receiver: UUID = field("Identifier of the institution that received.", name="receiverId")
    resource: str = field("Code of the resource.")
    adopted: int = field("Units that should have moved.")
    moved: int = field("Units that did.")
    detected_at: datetime = field("When it was found.")
    decision: UUID = field("Identifier of the decision on record.", name="decisionId")


@strawberry.type(description="How often the transfers that one client answered for one institution departed from plan.")
class DeviationRate:
    institution: UUID = field("Identifier of the institution, the giver.", name="institutionId")
    institution_edge: Institution | None = institution_edge()
    client: str = field("The client that answered; `allocate` where a standing consent did.")
    decided: int = field("Transfers it answered in the window: confirmed, declined, or sent unconfirmed.")
    departed: int = field("Of these, transfers that did not go as adopted: detected, overridden by it, or both.")
    detected: int = field("Of these, transfers with a deviation that the giver answers for.")
    overridden: int = field("Of these, transfers that the same client overrode.")
    rate: int = field("Departed of decided, per mille.")
    lower: int = field("Lower control limit, per mille.")
    upper: int = field("Upper control limit, per mille.")
    limits: Limits = field("How the limits were found.")
    signal: Signal = field("Where the rate lies; compared exactly, while the limits are rounded inwards.")


@strawberry.type(description="The control chart (p chart) of departures from plans in a window.")
class DeviationChart:
    since: datetime = field("From when on answers count.")
    until: datetime = field("Until when.")
    decided: int = field("Transfers answered by everybody together.")
    departed: int = field("Of these, departed.")
    centre: int = field("Departed of decided, per mille: the centre line.")
    operators: list[DeviationRate] = field("Those you may see, most departures first.")
    overrides: list[OverrideCount] = field("Overrides of the window by code, in transfers you may see.")


def _charted(found: DeviationRates) -> DeviationChart:
    whole = found.chart.whole
    rates = [
        DeviationRate(
            institution=row.institution, client=row.client, decided=row.decided, departed=row.departed,
            detected=row.detected, overridden=row.overridden, rate=point.rate, lower=point.lower, upper=point.upper,
            limits=point.limits, signal=point.signal,
        )
        for who, row in found.operators.items()
        if (point := found.chart.points.get(who)) is not None
    ]  # fmt: skip
    return DeviationChart(
        since=found.since, until=found.until, decided=whole.decided, departed=whole.departed,
        centre=found.chart.centre, operators=sorted(rates, key=_most_first),
        overrides=[shown(OverrideCount, row) for row in found.overrides],
    )  # fmt: skip


def _most_first(rate: Any) -> tuple[int, str, str]:
    return -rate.departed, str(rate.institution), rate.client


@strawberry.input(description="Units that moved though no plan asked for it.")
class ReportUnplannedMoveInput:
    idempotency_key: str = key_field()
    on_behalf_of: OnBehalfOf | None = person_field()
    institution: UUID | None = field("Who tells; by default the institution the client acts for.", default=None)
    giver: UUID = field("Identifier of the institution that gave; you, or else you received.")
    receiver: UUID = field("Identifier of the institution that received.")
    resource: str = field("Code of the resource.")
    units: int = field("How many moved, 1 or more.")


@strawberry.type(description="What became of reportUnplannedMove.")
class ReportUnplannedMovePayload:
    deviation: Deviation = field("What is now on record.")
    decision: Receipt = field("The decision on record.")


@strawberry.type
class DeviationQueries:
    @query("What was done otherwise than adopted, newest first.")
    async def deviations(
        self, info: Info,
        institution: Annotated[
            UUID | None,
            argument("Only of transfers it gives or receives; by default all that you see."),
        ] = None,
        kind: Annotated[DeviationKind | None, argument("Only of this kind.")] = None,
        transfer: Annotated[UUID | None, argument("Only of this transfer.")] = None,
        *, stretch: Stretch,
    ) -> Connection[Deviation] | None:  # fmt: skip
        page = await info.context.services.deviations.page(
            info.context.caller, before=read_id(stretch, NEWEST),
            institution=institution, kind=kind, transfer=transfer,
            first=how_many(info, stretch),
        )  # fmt: skip
        await fetch_edges(info, page.items, EDGES)
        return connection(Deviation, page, stretch, id_key)

    @query(
        "How often each operator's transfers departed from their plans, with control limits that rest on all of them: "
        f"{control.SIGMAS} sigma, or exact where few are to be expected.",
        weight=COUNTS,
    )
    async def deviation_rates(
        self, info: Info,
        institution: Annotated[
            UUID | None,
            argument("Only its operators; by default of the one the client acts for, or of all if it acts for none."),
        ] = None,
        since: Annotated[datetime | None, argument("From when on; by default 90 days before the end.")] = None,
        until: Annotated[datetime | None, argument("Until when; by default now.")] = None,
    ) -> DeviationChart | None:  # fmt: skip
        context = info.context
        ends = until or context.services.office.now()
        found = await context.services.deviations.rates(
            context.caller, since=since or ends - USUAL, until=ends,
            institution=institution or context.caller.institution,
        )  # fmt: skip
        return _charted(found)


@strawberry.type
class DeviationMutations:
    @mutation("Put on record that units moved outside of any plan. For either of the two institutions.")
    async def report_unplanned_move(
        self, info: Info, input: Annotated[ReportUnplannedMoveInput, argument("What moved.")]  # noqa: A002
    ) -> ReportUnplannedMovePayload | None:
        told = Unplanned(giver=input.giver, receiver=input.receiver, resource=input.resource, units=input.units)
        done = await info.context.services.deviations.report_unplanned(
            info.context.caller, info.context.acting_for(input.institution), told, wish("reportUnplannedMove", input)
        )
        return paid(ReportUnplannedMovePayload, done, deviation=shown(Deviation, done.subject))
