"""What runs meant to institutions in the API: receipts, what was left open and why, and the ledger of give and take."""

from __future__ import annotations

from datetime import datetime, timedelta
from enum import StrEnum
from typing import Annotated, Any
from uuid import UUID

import strawberry

from sharewell.domain import checks
from sharewell.domain.plan import Reason
from sharewell.store.paging import OLDEST
from sharewell.store.receipts import LEDGER_SORTS
from sharewell_schema.context import Info
from sharewell_schema.costs import COUNTS
from sharewell_schema.describe import argument, described, field, query
from sharewell_schema.institutions import Institution
from sharewell_schema.loaders import edge, fetch_edges
from sharewell_schema.ordering import NO_ORDER, Direction, Keyed, Ordering
from sharewell_schema.paging import Connection, connection, how_many, id_of, read_id
from sharewell_schema.stretch import Stretch

USUAL = timedelta(days=90)  #: the window of a ledger or chart where none is asked for

EDGES = {"institution": ("institutions", "institution")}

described(
    Reason, "Why a request stays short; a closed list, so that reasons can be counted.", "UnfilledReason",
    no_lane="No owner is near enough to deliver in time.",
    owners_at_minimum="Owners are in reach, and none has a unit above what it keeps.",
    supply_exhausted="Every unit in reach came to this request, and it was not enough.",
    lane_cap="Units are there, but the lanes are full.",
    outcompeted="The units in reach do more elsewhere, by the rule of the run.",
    reserved="The units in reach are kept for a category that the request does not qualify for.",
    farther="An equal claim was nearer to the units.",
    in_force="An equal claim at no greater distance is where the plan in force moves the unit already.",
    lottery="An equal claim at equal distance won by the published seed.",
    kept_back="Between runs only: units stay for needs that are expected before the next run.",
    later="Over a horizon only: units are foreseen for it on a later day.",
    above_need="The forecast or the audited census does not bear out the rest of what was asked.",
)  # fmt: skip


def institution_edge() -> Any:
    """The institution of a line, for types that have its id under `institution`."""
    return strawberry.field(
        resolver=edge("institutions", "institution"), name="institution", description="The institution."
    )


@strawberry.type(description="What one run left open of one request, and why.")
class Unfilled:
    allocation: UUID = field("Identifier of the run.", name="allocationId")
    request: UUID = field("Identifier of the request.", name="requestId")
    institution: UUID = field("Identifier of the institution that asked.", name="institutionId")
    quantity: int = field("Units asked for and not assigned.")
    code: Reason = field("Why.")
    reason: str = field("Why, as a sentence about this request that names needs and never names.")


@strawberry.type(description="How much of a run stayed open for one reason.")
class ShortBy:
    code: Reason = field("The reason.")
    requests: int = field("Requests left short for it.")
    units: int = field("Units they lack.")


def _institution(self: Any) -> UUID:
    return UUID(self.institution)


@strawberry.type(description="What one run meant to one institution, against what it would have had alone.")
class RunReceipt:
    institution: UUID = strawberry.field(
        resolver=_institution, name="institutionId", description="Identifier of the institution."
    )
    given: int = field("Units the plan takes from it.")
    received: int = field("Units the plan brings it.")
    stock: int = field("Units it had to give from.")
    kept: int = field("Units it must keep: the larger of its own need and its stated minimum.")
    short_alone: int = field("Units it lacks without sharing.")
    short_shared: int = field("Units it lacks with the plan.")
    credit_before: int = field(
        "Thousandths of a unit that earlier runs left it worse off than others, or better where below 0."
    )
    credit_after: int = field("The same, this run included.")
    worse_off: bool = field("Whether sharing costs it anything; always false, or the plan would not have been adopted.")
    sentence: str = field("The receipt in words, for the institution itself.")


@strawberry.type(description="One institution's line in the ledger of give and take.")
class GiveAndTake:
    institution: UUID = field("Identifier of the institution.", name="institutionId")
    institution_edge: Institution | None = institution_edge()
    runs: int = field("Runs of the window in which it had a part.")
    planned_given: int = field("Units their plans took from it.")
    planned_received: int = field("Units their plans brought it.")
    given: int = field("Units that really left it in the window.")
    received: int = field("Units that really arrived in it.")


def ledger_key(item: Any) -> bytes:
    """The key of lines that are listed by institution."""
    key: bytes = item.institution.bytes
    return key

BY_INSTITUTION = Keyed(ledger_key, lambda key: (id_of(key),), 16)


class GiveAndTakeSort(StrEnum):
    """What lines of the ledger can be ordered by."""

    GIVEN = "given"
    RECEIVED = "received"


described(
    GiveAndTakeSort, "What lines of the ledger can be ordered by.",
    given="Units that really left.", received="Units that really arrived.",
)  # fmt: skip


@strawberry.input(
    description="What lines of the ledger are ordered by; those that are alike in it go by their institutions."
)
class GiveAndTakeOrderInput:
    by: GiveAndTakeSort = field("What they are ordered by.")
    direction: Direction = field("Which end comes first.", default=Direction.ASC)


@strawberry.type
class ReceiptQueries:
    @query("What institutions gave and got in a window: as planned, and what really moved.", weight=COUNTS)
    async def give_and_take(
        self, info: Info,
        institution: Annotated[
            UUID | None,
            argument("Only this institution; by default all that you see."),
        ] = None,
        resource: Annotated[str | None, argument("Only of the resource with this code.")] = None,
        since: Annotated[datetime | None, argument("From when on; by default 90 days before the end.")] = None,
        until: Annotated[datetime | None, argument("Until when; by default now.")] = None,
        order_by: Annotated[
            GiveAndTakeOrderInput | None, argument("In which order; by default by institution.")
        ] = None,
        *, stretch: Stretch,
    ) -> Connection[GiveAndTake] | None:  # fmt: skip
        context = info.context
        ends = until or context.services.office.now()
        ordering = Ordering.read(order_by, stretch, LEDGER_SORTS, NO_ORDER, BY_INSTITUTION)
        page = await context.services.receipts.ledger(
            context.caller, after=read_id(ordering.usual(stretch), OLDEST), institution=institution,
            since=since or ends - USUAL, until=ends,
            resource=None if resource is None else checks.code(resource, "resource"),
            first=how_many(info, stretch), place=ordering.place,
        )  # fmt: skip
        await fetch_edges(info, page.items, EDGES)
        return connection(GiveAndTake, page, stretch, ordering.key)
