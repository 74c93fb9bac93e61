"""Second runs in the API: what other rules would have reached, and what would have changed an answer."""

from __future__ import annotations

from typing import Annotated, Any
from uuid import UUID

import strawberry

from sharewell.domain.frontier import Family
from sharewell.domain.instance import Rule
from sharewell_schema.context import Info
from sharewell_schema.costs import SOLVES
from sharewell_schema.describe import argument, described, field, query

described(
    Family, "Along which knob a point of the curve lies.", alpha="Need alone: from units to the least filled first.",
    theta="How much of the largest floor is guaranteed.", leximin="The least filled first, to the unit.",
    reserve="The rule in force with other reserve shares.",
)  # fmt: skip


@strawberry.type(description="One rule, and what it reaches on the instance of a run. Shares are per mille.")
class FrontierPoint:
    rule: Rule = field("What comes first.")
    theta: int = field("Share of the largest floor that is guaranteed; only with the floor rule.")
    alpha: int = field("How strongly the least filled come first.")
    family: Family = field("Along which knob it lies.")
    chosen: bool = field("Whether it is the rule of the run.")
    proven: bool = field("Whether its plan is proven the best by the rule; if not, time ran out.")
    reserve_share: int = field("Share of the supply kept for reserve categories.")
    smallest_fill: int = field("Fill rate of the request that is worst off, of those that any unit can reach.")
    need_met: int = field("Units weighed by urgency alone, so that all points compare.")
    price: int = field("Share of the most need that any point meets which this one gives up.")
    units: int = field("Units moved.")
    unit_kilometres: int = field("Distance they are moved together.")
    gini: int = field("Gini coefficient of the fill rates; 0 where all are equal.")


@strawberry.type(description="What each rule reaches on the instance of one run.")
class Frontier:
    points: list[FrontierPoint] = field("The rules, the one of the run first.")
    svg: str = field("The same as a picture: an SVG document.")


@strawberry.type(description="One change, and what it would have brought a request: told from a real second run.")
class Change:
    change: str = field("`owner_spares_more`, `lanes_carry_more`, `more_urgent` or `need_borne_out`.")
    units: int = field("Units by which the instance was changed; of an owner, the fewest that help.")
    received: int = field("Units the request would get then.")
    sentence: str = field("The same in words.")


@strawberry.type(description="What would have changed the answer to one request.")
class WhatWouldChange:
    request: UUID = field("Identifier of the request.", name="requestId")
    allocation: UUID = field("Identifier of the run that answered it.", name="allocationId")
    reason: str = field("Why it stayed short; empty where it did not.")
    changes: list[Change] = field("Single changes that would have brought it more, the best first.")


@strawberry.type(description="One change of a horizon, and what it would leave short: told from a real second run.")
class Relief:
    change: str = field("`owner_has_more`, `windows_stay_open`, `more_is_asked` or `more_urgent`.")
    resource: str = field("Code of the resource.")
    units: int = field("Units that the owner would have more, the fewest that help; else 0.")
    sentence: str = field("What it would change, in words.")


@strawberry.type
class LabQueries:
    @query(
        "Compare rules on the instance of a run, by solving it again under each: for allocators and regulators. Takes "
        "seconds; runs with more than 20000 lanes are refused.",
        weight=SOLVES,
    )
    async def allocation_frontier(
        self, info: Info, id: Annotated[UUID, argument("Identifier of the run.")]  # noqa: A002
    ) -> Frontier | None:
        curve = await info.context.services.lab.frontier(info.context.caller, id)
        return Frontier(points=[_point(row) for row in curve.points], svg=curve.svg)

    @query(
        "What would have brought a request more, by solving its run again with one thing changed at a time: for its "
        "institution, allocators and regulators. Takes seconds; runs with more than 20000 lanes are refused.",
        weight=SOLVES,
    )
    async def what_would_change(
        self, info: Info, request: Annotated[UUID, argument("Identifier of a request that a run has answered.")]
    ) -> WhatWouldChange | None:
        found = await info.context.services.lab.what_would_change(info.context.caller, request)
        return WhatWouldChange(
            request=found.request, allocation=found.allocation, reason=found.reason,
            changes=[Change(**row) for row in found.changes],
        )  # fmt: skip

    @query(
        "Single changes that would leave an institution less short in a schedule, the best first for each resource.",
        weight=SOLVES,
    )
    async def what_would_relieve(
        self, info: Info, horizon: Annotated[UUID, argument("Identifier of the schedule.")],
        institution: Annotated[UUID, argument("Identifier of the institution.")],
    ) -> list[Relief] | None:  # fmt: skip
        rows = await info.context.services.lab.what_would_relieve(info.context.caller, horizon, institution)
        return [
            Relief(change=row["change"], resource=row["item"], units=row["units"], sentence=row["sentence"])
            for row in rows
        ]


def _point(row: dict[str, Any]) -> FrontierPoint:
    return FrontierPoint(**row | {"rule": Rule(row["rule"]), "family": Family(row["family"])})
