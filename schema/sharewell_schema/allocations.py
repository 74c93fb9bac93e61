"""Allocation runs in the API."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

import strawberry

from sharewell.domain import checks, fairness
from sharewell.domain.answers import PlanState
from sharewell.domain.instance import Rule
from sharewell.domain.urgent import RULE as URGENT
from sharewell.services.horizons import RULE as HORIZON
from sharewell.store.paging import NEWEST
from sharewell.store.receipts import MOST_OF_A_RUN
from sharewell_schema.choices import FairnessRule, ReserveCategory
from sharewell_schema.context import Info, shown
from sharewell_schema.describe import argument, described, field, query
from sharewell_schema.loaders import edge, fetch_edges
from sharewell_schema.paging import Connection, connection, how_many, id_key, read_id
from sharewell_schema.receipts import RunReceipt, ShortBy, Unfilled
from sharewell_schema.stretch import Stretch

described(
    PlanState, "How far the owners' answers to a plan have come.",
    proposed="Some owner has still to answer.", confirmed="Every owner stood by all of it.",
    changed="All is answered, and some of it fell away.",
)  # fmt: skip
EDGES = {
    "answers": ("answers", "id"),
    "shortBy": ("short_by", "id"),
    "unfilled": ("run_unfilled", "id"),
    "receipts": ("run_receipts", "id"),
}


@strawberry.type(description="What sharing changed, and how fairly. Shares are per mille, rounded down.")
class AllocationMeasures:
    shortage_without: int = field("Units that would be lacking without sharing.")
    shortage_with: int = field("Units that are lacking with the plan.")
    units_moved: int = field("Units the plan moves.")
    lanes_used: int = field("Pairs of offer and request it moves them between.")
    mean_metres: int = field("Distance of a moved unit, on average.")
    smallest_fill: int = field("Fill rate of the request that is worst off.")
    median_fill: int = field("Fill rate of the request in the middle.")
    gini: int = field("Gini coefficient of the fill rates; 0 where all are equal.")
    jain: int = field("Jain's index of the fill rates; 1000 where all are equal.")
    donors_worse_off: int = field("Givers left with less than they must keep; always 0 in an adopted plan.")
    beyond_all_sharing: int = field("Units lacking even if distance were nothing: everyone together is short of them.")
    beyond_reach: int = field("Units no plan could bring within the lanes there are, those above included.")


@strawberry.type(description="What no sharing could have met: who is short of it has to order more.")
class Ceiling:
    needed: int = field("Units needed by all requests of the run.")
    beyond_all: int = field("Units lacking even if distance were nothing.", name="beyondAllSharing")
    beyond_reach: int = field("Units no plan could bring within the lanes there are, those above included.")
    share: int = field("Per mille of the need that no plan could bring.")
    large: bool = field("Whether it is more than half: then it is to be said before anything else.")
    sentence: str = field("All of this in words.")


@strawberry.type(description="How the owners have answered a plan. It is a proposal until each of them has.")
class PlanAnswers:
    state: PlanState = field("How far the answers have come.")
    open: int = field("Transfers whose giver has still to answer.")
    accepted: int = field("Transfers confirmed, and not taken back since.")
    declined: int = field("Transfers declined.")
    expired: int = field("Transfers whose giver did not answer in time.")
    cancelled: int = field("Transfers taken out of the plan by an override.")
    units_open: int | None = field(
        "Units in those still to answer; null, as the other units, for whoever may not read the plan."
    )
    units_accepted: int | None = field("Units in those confirmed.")
    units_lost: int | None = field("Units in those declined, expired or cancelled; they are asked for anew.")


@strawberry.type(description="Who searched for the plan, and how the search ended.")
class SolverReport:
    name: str = field("The solver.")
    version: str = field("Its version.")
    status: str = field("`optimal`, or `feasible` where a better plan could not be ruled out in time.")
    bound: str | None = field(
        "No plan with the same floors has more welfare than this; a whole number as text. Null for whoever may not "
        "read the plan."
    )
    gap: int = field("Millionths of the bound by which the plan stays below it.")
    seed: str = field("The published seed that decides between equals.")
    milliseconds: int = field("How long it searched.")
    peak_kilobytes: int = field("How much memory its processes took, at most.")


@strawberry.type(description="What one stage of the rule reached over the whole run.")
class StageReached:
    name: str = field(
        "The stage: `floor`, `reserve`, `leximin`, `welfare`, `distance`, `stability` or `lottery`; "
        "`projected_proportional` where an urgent request was answered at once; of a schedule its aims."
    )
    value: str = field("What it reached, a whole number as text; of shares the smallest of all parts, else the sum.")
    over: str = field("What the value is divided by; 1 unless it is a share.")


def _measures(self: Any) -> AllocationMeasures | None:
    return None if self.measures is None else AllocationMeasures(**self.measures)


def _stages(self: Any) -> list[StageReached] | None:
    if self.stages is None:
        return None
    return [StageReached(**{name: str(value) for name, value in row.items()}) for row in self.stages]


def _ceiling(self: Any) -> Ceiling | None:
    return None if self.measures is None else shown(Ceiling, fairness.Ceiling.of_measures(self.measures))


def _solver(self: Any) -> SolverReport:
    bound = self.solver["bound"]
    return SolverReport(**self.solver | {"bound": None if bound is None else str(bound)})


def _fairness(self: Any) -> FairnessRule | None:
    if self.rule in (URGENT, HORIZON):
        return None
    return FairnessRule(**self.fairness | {"rule": Rule(self.fairness["rule"])})


def _reserves(self: Any) -> list[ReserveCategory]:
    return [ReserveCategory(**row) for row in self.reserves]


@strawberry.federation.type(
    keys=["id"], description="One run whose plan was adopted, or one urgent request that was answered at once.",
)
class Allocation:
    id: UUID = field("Its identifier.")
    region: str = field("The region.")
    resource: str = field("Code of the resource.")
    rule: str = field(
        "By which rule: `floor`, `leximin`, `welfare` or `utilitarian` in a run; `projected_proportional` where an "
        "urgent request was answered at once; `horizon` where it is day 0 of a schedule for the days ahead, whose "
        "shortages are in unit-days."
    )
    horizon: UUID | None = field("Identifier of the schedule of which it is day 0.", name="horizonId")
    withheld: bool = field(
        "Whether `needed`, `assigned`, `measures` and `ceiling` are null because the part of some institution in them "
        "is from 1 to 10, or, of a schedule's day, may be."
    )
    ceiling: Ceiling | None = strawberry.field(
        resolver=_ceiling, description="What no sharing could have met; null where it is withheld."
    )
    answers: PlanAnswers | None = strawberry.field(
        resolver=edge("answers", "id"), description="How the owners have answered its plan."
    )
    short_by: list[ShortBy] | None = strawberry.field(
        resolver=edge("short_by", "id"),
        description="How much of it stayed open for which reason; null where one institution lacks from 1 to 10 "
        "for one of them and you may not read the plan.",
    )
    unfilled: list[Unfilled] | None = strawberry.field(
        resolver=edge("run_unfilled", "id"),
        description=f"What it left open of each request you may see, and why; at most {MOST_OF_A_RUN}.",
    )  # fmt: skip
    receipts: list[RunReceipt] | None = strawberry.field(
        resolver=edge("run_receipts", "id"),
        description="What it meant to each institution, against what that would have had alone: to yours, or to "
        f"everybody if you may see that, at most {MOST_OF_A_RUN}.",
    )  # fmt: skip
    instance_sha256: str = field("SHA-256 of the instance that was solved.", name="instanceSha256")
    plan_sha256: str = field("SHA-256 of the plan.", name="planSha256")
    owners: int = field("Offers that could give.")
    receivers: int = field("Requests that were open.")
    needed: int | None = field("Units they needed together; null where it is withheld.")
    assigned: int | None = field("Units the plan assigns; null where it is withheld.")
    measures: AllocationMeasures | None = strawberry.field(
        resolver=_measures,
        description="What sharing changed, and how fairly; null where it is withheld. To whoever may not read the "
        "plan, shares are told in steps of 50.",
    )
    stages: list[StageReached] | None = strawberry.field(
        resolver=_stages,
        description="What each stage reached, in the order they were decided; null for whoever may not read the plan.",
    )
    solver: SolverReport = strawberry.field(resolver=_solver, description="Who searched, and how the search ended.")
    fairness: FairnessRule | None = strawberry.field(
        resolver=_fairness,
        description="The fairness rule the run went by; none where an urgent request was answered, or of a schedule.",
    )
    reserves: list[ReserveCategory] = strawberry.field(
        resolver=_reserves, description="Categories that some of the supply was kept for first."
    )
    adopted_at: datetime = field("When the plan became binding.")


@strawberry.type
class AllocationQueries:
    @query("One run.")
    async def allocation(
        self, info: Info, id: Annotated[UUID, argument("Its identifier.")]  # noqa: A002
    ) -> Allocation | None:
        return shown(Allocation, await info.context.services.allocations.get(info.context.caller, id))

    @query("Runs whose plans were adopted, newest first.")
    async def allocations(
        self, info: Info,
        region: Annotated[str | None, argument("Only of this region.")] = None,
        resource: Annotated[str | None, argument("Only of the resource with this code.")] = None,
        *, stretch: Stretch,
    ) -> Connection[Allocation] | None:  # fmt: skip
        page = await info.context.services.allocations.page(
            info.context.caller, before=read_id(stretch, NEWEST),
            region=None if region is None else checks.code(region, "region"),
            resource=None if resource is None else checks.code(resource, "resource"), first=how_many(info, stretch),
        )  # fmt: skip
        await fetch_edges(info, page.items, EDGES)
        return connection(Allocation, page, stretch, id_key)

    @query("The instance a run solved: canonical JSON whose SHA-256 is its instanceSha256.")
    async def allocation_instance(
        self, info: Info, id: Annotated[UUID, argument("Identifier of the run.")]  # noqa: A002
    ) -> str | None:
        return (await info.context.services.allocations.instance(info.context.caller, id)).decode()

    @query("The plan a run adopted: canonical JSON whose SHA-256 is its planSha256.")
    async def allocation_plan(
        self, info: Info, id: Annotated[UUID, argument("Identifier of the run.")]  # noqa: A002
    ) -> str | None:
        return (await info.context.services.allocations.plan(info.context.caller, id)).decode()
