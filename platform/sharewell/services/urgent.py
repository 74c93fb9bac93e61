"""Ask what an urgent request gets at once, and adopt that plan; the next run decides on the rest.

What is in reach, what owners keep and what is held is read and written as for a run (`allocations`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sharewell.domain import canonical
from sharewell.domain.fairness import receipts
from sharewell.domain.institutions import InstitutionStatus
from sharewell.domain.lanes import Reach
from sharewell.domain.moves import total
from sharewell.domain.plan import Plan
from sharewell.domain.policy import Action, Target
from sharewell.domain.principals import Caller
from sharewell.domain.requests import Request, RequestStatus
from sharewell.domain.snapshot import RequestRow, Standing, build_instance
from sharewell.domain.urgent import RULE, UrgentQuestion, check_urgent, narrowed
from sharewell.services.act import Done
from sharewell.services.allocations import (
    UNLOCATED_METRES,
    bind,
    lock_unchanged,
    offer_row,
    read_standings,
    request_row,
)
from sharewell.services.ids import new_id
from sharewell.services.office import Office
from sharewell.store.allocations import Allocation
from sharewell.store.artifacts import keep_artifact
from sharewell.store.database import Transaction

EXPECTED_FOR = timedelta(days=1)  #: how long a need that is only expected is taken to last


class UrgentService:
    """What does not wait for the next run."""

    def __init__(self, office: Office, *, next_run: timedelta | None, reach: Reach | None = None) -> None:
        self._office = office
        self._next_run = next_run or timedelta(0)  # pause after a request until all are planned for
        self._reach = reach or Reach(unlocated_metres=UNLOCATED_METRES)

    async def question(self, request: UUID) -> tuple[str, UrgentQuestion] | None:
        """The region, and what the plan for `request` would be made from now; None once a plan has spoken of it."""
        at = self._office.now()
        async with self._office.looking() as tx:
            asked = await tx.requests.get(request)
            region = (await tx.institutions.get(asked.institution)).region
            requests = await tx.requests.open_in_region(region, [asked.resource], at)
            if not _waits(asked, requests):
                return None
            return region, await self._question(tx, region, asked, requests, at)

    async def _question(
        self, tx: Transaction, region: str, asked: Request, requests: list[Request], at: datetime
    ) -> UrgentQuestion:
        resource, next_run = asked.resource, at + self._next_run
        line = await tx.resources.get(resource)
        offers = await tx.offers.open_in_region(region, [resource], at)
        # No choice: reserves and credit are for runs, and the rule between them has no place for either.
        standings = await read_standings(tx, region, resource, next_run.date(), None, at)
        foreseen, active = await _foreseen(tx, region, resource, next_run)
        expected = _expected(standings.rows, foreseen, requests, next_run)
        held = await tx.allocations.granted_since_run(region, resource)
        rows = {row.id: request_row(row) for row in requests}
        rows[asked.id] = replace(rows[asked.id], held=held.get(asked.institution, 0))
        instance = build_instance(
            resource=resource, kind=line.kind, at=at, seed=f"{region}/{resource}/{at.date()}", reach=self._reach,
            offers=[offer_row(offer, standings.occupied) for offer in offers],
            requests=[*rows.values(), *expected], standings=standings.rows, forecasts=standings.forecasts,
        )  # fmt: skip
        instance = narrowed(instance, str(asked.id))
        return UrgentQuestion(
            instance=instance, request=str(asked.id), next_run=next_run,
            expected=tuple(row.id for row in expected if row.id in instance.receiver),
            foreseen=len(foreseen), institutions=active,
        )  # fmt: skip

    async def adopt(
        self, caller: Caller, *, region: str, question: UrgentQuestion, plan: Plan, measures: Mapping[str, Any]
    ) -> Done[Allocation]:
        """Bind the urgent plan: hold its units, grant the request, say why it is no more; all of it or nothing.

        Raises `PlanRefused` where the plan is not what the rule gives, and `StaleSnapshot` where an offer in reach
        or the request itself has changed since.
        """
        check_urgent(question, plan)
        async with self._office.act(caller, Action.ADOPT_PLAN, Target(kind="allocation", id="new")) as act:
            offers, requests = await lock_unchanged(act, question.alone)
            surge = await act.tx.surges.in_force(region, question.instance.resource, act.at)
            keep, conn = keep_artifact, act.tx.conn
            allocation = Allocation(
                id=new_id(), region=region, resource=question.instance.resource, rule=RULE,
                instance_sha256=await keep(conn, "question", canonical.encode(question.to_json())),
                plan_sha256=await keep(conn, "plan", canonical.encode(plan.to_json())),
                owners=len(question.lanes), receivers=1, needed=question.receiver.need,
                assigned=sum(row.quantity for row in plan.assignments), measures=measures, stages=plan.reached,
                solver=plan.solver.to_json(), adopted_at=act.at,
                fairness=question.instance.fairness.to_json(), reserves=[],
            )  # fmt: skip
            decision = await act.record(
                "urgent_plan.adopted", "allocation", allocation.id,
                {"region": region, "resource": allocation.resource, "request": question.request, "rule": RULE,
                 "instance_sha256": allocation.instance_sha256, "plan_sha256": allocation.plan_sha256,
                 "needed": allocation.needed, "assigned": allocation.assigned, "foreseen": question.foreseen,
                 **({} if surge is None else {"surge": str(surge.id)})},
            )  # fmt: skip
            await act.tx.allocations.add(allocation, decision)
            told = [row for row in receipts(question.alone, plan) if row.given or row.received or row.short_alone]
            await bind(self._office, act, plan, allocation, told, offers, requests, decision, surge)
            return Done(allocation, decision, act.at)


def _waits(asked: Request, requests: list[Request]) -> bool:
    # Every plan that grants less than was asked leaves a note, so a request without one met no plan yet. One of an
    # institution that takes part no more is open and yet not among those of its region.
    return asked.status is RequestStatus.OPEN and not asked.note and any(row.id == asked.id for row in requests)


async def _foreseen(tx: Transaction, region: str, resource: str, next_run: datetime) -> tuple[dict[UUID, int], int]:
    """Units expected to be needed by each institution that takes part and has a forecast, and how many take part."""
    institutions = await tx.institutions.in_region(region)
    active = {institution.id for institution in institutions if institution.status is InstitutionStatus.ACTIVE}
    forecasts = await tx.forecasts.newest_for(region, resource, next_run.date())
    return {who: forecast.units() for who, forecast in forecasts.items() if who in active}, len(active)


def _expected(
    standings: list[Standing], foreseen: Mapping[UUID, int], requests: list[Request], next_run: datetime
) -> list[RequestRow]:
    """What forecasts expect to be lacking beyond what is asked for, as requests nobody opened yet."""
    asked = total((row.institution, row.requested) for row in requests)
    stock = {UUID(row.institution): row.stock for row in standings}
    lacking = {who: units - stock.get(who, 0) - asked.get(who, 0) for who, units in foreseen.items()}
    return [
        RequestRow(
            id=f"expected-{who}", institution=str(who), quantity=units, urgency=1, needed_by=next_run,
            needed_until=next_run + EXPECTED_FOR,
        )
        for who, units in lacking.items()
        if units > 0
    ]  # fmt: skip
