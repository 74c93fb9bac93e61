"""The audit log as regulators look at it. Each reading is a decision on record itself."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated
from uuid import UUID

import strawberry

from sharewell.services.inspection import Case as FoundCase
from sharewell.services.inspection import Retention as FoundRetention
from sharewell.services.inspection import Step
from sharewell_schema.audit import (
    KIND,
    AskedFor,
    ByActor,
    Ended,
    OfInstitution,
    OfKind,
    OfResource,
    Outcome,
    Since,
    UnderPolicies,
    Until,
    filtering,
)
from sharewell_schema.context import Info
from sharewell_schema.costs import COUNTS
from sharewell_schema.describe import argument, field, query


@strawberry.type(description="A value that decisions have, and how many have it.")
class FacetValue:
    value: str | None = field("The value; null stands for decisions without one.")
    decisions: int = field("How many decisions have it.")


@strawberry.type(description="The most frequent values of the decisions that match, with counts; up to 50 a list.")
class DecisionFacets:
    decisions: int = field("How many decisions match.")
    kinds: list[FacetValue] = field("By kind.")
    outcomes: list[FacetValue] = field("By outcome.")
    actors: list[FacetValue] = field("By the client or worker that asked.")
    institutions: list[FacetValue] = field("By the institution concerned.")
    actions: list[FacetValue] = field("By what was asked for.")
    policy_sets: list[FacetValue] = field("By the policies in force.")
    resources: list[FacetValue] = field("By resource; a decision that speaks of several counts for each.")


@strawberry.type(description="One decision in the story of a request.")
class CaseStep:
    decision: UUID = field("Identifier of the decision.", name="decisionId")
    at: datetime = field("When it was decided.")
    kind: str = field(KIND)
    actor: str = field("Client or worker that asked.")
    outcome: Outcome = field("What was decided.")
    log_index: int | None = field("Number of its entry in the log; null until it is sealed.")
    sentence: str = field("What happened, in words.")


@strawberry.type(description="What became of a request: what was decided, moved, overridden and done otherwise.")
class Case:
    requests: list[UUID] = field("The request, and those that its unfilled rest became.", name="requestIds")
    allocations: list[UUID] = field("Runs that dealt with it.", name="allocationIds")
    transfers: list[UUID] = field("Transfers for it.", name="transferIds")
    steps: list[CaseStep] = field("Every decision, in order of time; up to 500.")
    complete: bool = field("Whether these are all steps.")


@strawberry.type(description="Decisions of one kind and year that are held.")
class HeldDecisions:
    year: int = field("Year in which they were decided, in UTC.")
    kind: str = field(KIND)
    decisions: int = field("How many.")
    first: datetime = field("When the first was decided.")
    last: datetime = field("When the last was decided.")
    years: int = field("For how many years they must be kept, as the operator has set it.", name="keepYears")
    over: int = field("How many of them need not be kept any longer.", name="prunable")


@strawberry.type(description="What the log holds, since when, and what need not be kept any longer.")
class Retention:
    at: datetime = field("When this was counted.")
    origin: str | None = field("Name of the log; null before anything is sealed.")
    held: list[HeldDecisions] = field("By year and kind.")
    prunable_below: int = field(
        "Entries with a lower index need not be kept any longer, none of them; a log is pruned from its beginning only."
    )


@strawberry.type
class InspectionQueries:
    @query("How many decisions match, by what they say. The counting is put on record.", weight=COUNTS)
    async def decision_facets(
        self, info: Info,
        institution: OfInstitution = None,
        actor: ByActor = None,
        kind: OfKind = None,
        outcome: Ended = None,
        action: AskedFor = None,
        resource: OfResource = None,
        policy_set: UnderPolicies = None,
        since: Since = None,
        until: Until = None,
    ) -> DecisionFacets | None:  # fmt: skip
        matching = filtering(
            institution=institution, actor=actor, kind=kind, outcome=outcome, action=action, resource=resource,
            policy_set=policy_set, since=since, until=until,
        )  # fmt: skip
        found = await info.context.services.inspection.facets(info.context.caller, matching)
        values: dict[str, list[FacetValue]] = {}
        for row in found:
            values.setdefault(row.facet, []).append(FacetValue(value=row.value, decisions=row.decisions))
        return DecisionFacets(
            decisions=sum(row.decisions for row in values.get("outcome", ())), kinds=values.get("kind", []),
            outcomes=values.get("outcome", []), actors=values.get("actor", []),
            institutions=values.get("institution", []), actions=values.get("action", []),
            policy_sets=values.get("policy_set", []), resources=values.get("resource", []),
        )  # fmt: skip

    @query(
        "The story of a request: every decision on it, its plans, transfers, overrides and deviations.", weight=COUNTS
    )
    async def case(
        self, info: Info,
        id: Annotated[UUID, argument("Identifier of a request, of a transfer, or of a run for all that it moved.")],  # noqa: A002
        institution: Annotated[
            UUID | None, argument("Only decisions about this institution; by default about all that you read of.")
        ] = None,
    ) -> Case | None:  # fmt: skip
        caller = info.context.caller
        return _case(await info.context.services.inspection.case(caller, id, institution))

    @query("What the log holds, how long it must be kept, and what might be let go.")
    async def retention(self, info: Info) -> Retention | None:
        return _retention(await info.context.services.inspection.retention(info.context.caller))


def _case(found: FoundCase) -> Case:
    return Case(
        requests=list(found.requests), allocations=list(found.allocations), transfers=list(found.transfers),
        steps=[_step(step) for step in found.steps], complete=found.complete,
    )  # fmt: skip


def _step(step: Step) -> CaseStep:
    decision = step.recorded.decision
    return CaseStep(
        decision=decision.id, at=decision.at, kind=decision.kind, actor=decision.actor,
        outcome=Outcome(decision.outcome), log_index=step.recorded.log_index, sentence=step.sentence,
    )  # fmt: skip


def _retention(found: FoundRetention) -> Retention:
    return Retention(
        at=found.at, origin=found.origin, prunable_below=found.prunable_below,
        held=[
            HeldDecisions(
                year=row.held.year, kind=row.held.kind, decisions=row.held.decisions, first=row.held.first,
                last=row.held.last, years=row.years, over=row.held.over,
            )
            for row in found.kinds
        ],
    )  # fmt: skip
