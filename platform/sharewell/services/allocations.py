"""Take the snapshot that a plan is made for, and adopt the plan once the domain has checked it.

A plan is found elsewhere, with no database open; between snapshot and adoption the world may move on, and then the
plan is refused as stale rather than bent to fit.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any
from uuid import UUID

from sharewell.domain import canonical
from sharewell.domain.allocation import Instance, Plan, Status, check_certificate, check_plan
from sharewell.domain.canonical import Json
from sharewell.domain.capacity import CapacityReport
from sharewell.domain.errors import StaleSnapshot
from sharewell.domain.forecast import Forecast
from sharewell.domain.institutions import Institution, InstitutionStatus
from sharewell.domain.lanes import Reach
from sharewell.domain.moves import total
from sharewell.domain.offers import Offer
from sharewell.domain.policy import Action, Target
from sharewell.domain.principals import Caller
from sharewell.domain.requests import Request, RequestReason, RequestStatus
from sharewell.domain.snapshot import OfferRow, RequestRow, Standing, build_instance
from sharewell.domain.transfers import HOLD, Transfer, TransferState
from sharewell.domain.urgent import RULE, UrgentQuestion, check_urgent, narrowed
from sharewell.services.office import Act, Done, Office, new_id
from sharewell.store.allocations import Allocation
from sharewell.store.artifacts import keep_artifact, read_artifact
from sharewell.store.database import Transaction
from sharewell.store.paging import Page

UNLOCATED_METRES = 100_000  #: how far an institution without coordinates is taken to be from the others of its region
EXPECTED_FOR = timedelta(days=1)  #: how long a need that is only expected is taken to last
CAUTIOUS = 900  #: per mille; above this quantile of its own forecast no expected shortage is believed


class AllocationService:
    """The plans that bind."""

    def __init__(self, office: Office, *, reach: Reach | None = None, next_run: timedelta | None = None) -> None:
        self._office = office
        self._next_run = next_run  # pause after an urgent request until all are planned for
        self._reach = reach or Reach(unlocated_metres=UNLOCATED_METRES)

    async def snapshot(self, region: str, resource: str) -> Instance | None:
        """What a plan would be made for now; None where nobody asks for anything."""
        at = self._office.now()
        async with self._office.database.transaction(read_only=True) as tx:
            line = await tx.resources.get(resource)
            requests = await tx.requests.open_in_region(region, resource, at)
            if not requests:
                return None
            offers = await tx.offers.open_in_region(region, resource, at)
            day = max(at.date(), min(request.needed_by.date() for request in requests))
            standings = await _standings(tx, region, resource, day, requests, at)
        return build_instance(
            resource=resource, kind=line.kind, at=at, seed=f"{region}/{resource}/{day}", reach=self._reach,
            offers=[_offer_row(offer, standings.occupied) for offer in offers],
            requests=[_request_row(request) for request in requests],
            standings=standings.rows, forecasts=standings.forecasts,
        )  # fmt: skip

    async def answered(self, instance: Instance) -> bool:
        """Tell whether a plan for this very instance is adopted already."""
        async with self._office.database.transaction(read_only=True) as tx:
            return await tx.allocations.answers(instance.hash)

    async def adopt(
        self, caller: Caller, *, region: str, instance: Instance, plan: Plan, measures: Mapping[str, Any]
    ) -> Done[Allocation]:
        """Bind `plan`: hold its units, grant its requests, say to each request left short why.

        Raises `PlanRefused` where the plan breaks a rule, `NotProven` where it is not the best one it claims to be,
        and `StaleSnapshot` where what it rests on has changed since, or another plan was first.
        """
        check_plan(instance, plan)
        if plan.solver.status is Status.OPTIMAL:
            check_certificate(instance, plan)
        async with self._office.act(caller, Action.ADOPT_PLAN, Target(kind="allocation", id="new")) as act:
            offers, requests = await _unchanged(act, instance)
            allocation = await _allocation(
                act, region, instance, plan, document=instance.to_json(), rule=instance.fairness.rule,
                needed=sum(row.need for row in instance.receivers), measures=measures,
            )  # fmt: skip
            return await _bind(
                act, "plan.adopted", allocation, plan, offers, requests, {"forecasts": len(instance.forecasts)}
            )

    async def urgent_question(self, request: UUID) -> tuple[str, UrgentQuestion] | None:
        """The region and what the answer to an urgent request would be made from now; None once it is answered."""
        at = self._office.now()
        async with self._office.database.transaction(read_only=True) as tx:
            asked = await tx.requests.get(request)
            if not _unanswered(asked, at):
                return None
            region = (await tx.institutions.get(asked.institution)).region
            line = await tx.resources.get(asked.resource)
            requests = await tx.requests.open_in_region(region, asked.resource, at)
            offers = await tx.offers.open_in_region(region, asked.resource, at)
            next_run = at + (self._next_run or timedelta(0))
            standings = await _standings(tx, region, asked.resource, next_run.date(), requests, at)
            held = await tx.allocations.answered_since_run(region, asked.resource, asked.institution)
        if not any(row.id == request for row in requests):
            return None  # its institution takes part no more
        expected = _expected(standings, requests, next_run)
        instance = build_instance(
            resource=asked.resource, kind=line.kind, at=at, seed=f"{region}/{asked.resource}/{at.date()}",
            reach=self._reach, offers=[_offer_row(offer, standings.occupied) for offer in offers],
            requests=[*(_request_row(row, held if row.id == request else 0) for row in requests), *expected],
            standings=standings.rows, forecasts=standings.forecasts,
        )  # fmt: skip
        instance = narrowed(instance, str(request))
        return region, UrgentQuestion(
            instance=instance, request=str(request), next_run=next_run,
            expected=tuple(row.id for row in expected if row.id in instance.receiver),
            foreseen=len(standings.foreseen), institutions=standings.active,
        )  # fmt: skip

    async def adopt_answer(
        self, caller: Caller, *, region: str, question: UrgentQuestion, plan: Plan, measures: Mapping[str, Any]
    ) -> Done[Allocation]:
        """Bind the answer to an urgent request: hold its units, grant it, say why it is no more.

        Raises `PlanRefused` where the plan is not what the rule gives, and `StaleSnapshot` where an offer in reach
        or the request itself has changed since.
        """
        check_urgent(question, plan)
        async with self._office.act(caller, Action.ADOPT_PLAN, Target(kind="allocation", id="new")) as act:
            offers, requests = await _unchanged(act, question.instance, only=question.request)
            allocation = await _allocation(
                act, region, question.alone, plan, document=question.to_json(), rule=RULE,
                needed=question.receiver.need, measures=measures,
            )  # fmt: skip
            return await _bind(
                act, "answer.adopted", allocation, plan, offers, requests,
                {"request": question.request, "rule": RULE, "foreseen": question.foreseen},
            )  # fmt: skip

    async def get(self, caller: Caller, id: UUID) -> Allocation:  # noqa: A002
        await self._office.allow(caller, Action.VIEW_ALLOCATION, Target(kind="allocation", id=str(id)))
        async with self._office.database.transaction(read_only=True) as tx:
            return await tx.allocations.get(id)

    async def by_ids(self, caller: Caller, ids: list[UUID]) -> dict[UUID, Allocation]:
        """Several at once, for lists that name them."""
        await self._office.allow(caller, Action.VIEW_ALLOCATION, Target.list("allocation"))
        async with self._office.database.transaction(read_only=True) as tx:
            return await tx.allocations.by_ids(ids)

    async def instance(self, caller: Caller, id: UUID) -> bytes:  # noqa: A002
        """The instance that was solved, as canonical JSON."""
        return await self._artifact((await self.get(caller, id)).instance_sha256)

    async def plan(self, caller: Caller, id: UUID) -> bytes:  # noqa: A002
        """The plan that was adopted, as canonical JSON."""
        return await self._artifact((await self.get(caller, id)).plan_sha256)

    async def page(
        self, caller: Caller, *, before: UUID, region: str | None, resource: str | None, first: int
    ) -> Page[Allocation]:
        await self._office.allow(caller, Action.VIEW_ALLOCATION, Target.list("allocation"))
        async with self._office.database.transaction(read_only=True) as tx:
            return await tx.allocations.page(before=before, region=region, resource=resource, first=first)

    async def _artifact(self, sha256: str) -> bytes:
        async with self._office.database.transaction(read_only=True) as tx:
            return await read_artifact(tx.conn, sha256)


@dataclass(frozen=True, slots=True)
class _Standings:
    """How the institutions of a region stand with one resource."""

    rows: list[Standing]
    occupied: Mapping[UUID, int]  #: units in use of each institution that reported
    foreseen: Mapping[UUID, int]  #: units expected to be needed, by institution that takes part and has a forecast
    active: int  #: institutions that take part
    forecasts: tuple[str, ...]  #: models that the expected needs rest on


async def _standings(
    tx: Transaction, region: str, resource: str, day: date, requests: list[Request], at: datetime
) -> _Standings:
    reports = await tx.capacity.latest_in_region(region, resource)
    expected = await tx.forecasts.newest_for(region, resource, day)
    promised = await tx.transfers.promised_in_region(region, resource, at)
    foreseen = {q.institution for q in requests if q.reason is RequestReason.FORECAST_SHORTAGE}
    institutions = await tx.institutions.in_region(region)
    active = {institution.id for institution in institutions if institution.status is InstitutionStatus.ACTIVE}
    return _Standings(
        rows=[
            _standing(
                institution, reports.get(institution.id), expected.get(institution.id),
                promised.get(institution.id, 0), capped=institution.id in foreseen,
            )
            for institution in institutions
        ],
        occupied={who: report.occupied or 0 for who, report in reports.items()},
        foreseen={who: forecast.units() for who, forecast in expected.items() if who in active},
        active=len(active),
        forecasts=tuple(sorted({forecast.model for forecast in expected.values()})),
    )  # fmt: skip


def _standing(
    institution: Institution, report: CapacityReport | None, forecast: Forecast | None, promised: int, *,
    capped: bool,
) -> Standing:  # fmt: skip
    """The newest report and the forecast together: an owner keeps the larger of today's need and the expected one."""
    stock = 0 if report is None else (report.staffed or 0) - (report.blocked or 0)
    need = 0 if report is None else report.need or 0
    need_cap = None
    if capped and forecast is not None:
        need_cap = max(0, max(need, forecast.units(CAUTIOUS)) - stock)
    return Standing(
        institution=str(institution.id), latitude=institution.latitude, longitude=institution.longitude,
        stock=max(0, stock - promised), own_need=max(need, 0 if forecast is None else forecast.units()),
        need_cap=need_cap,
    )  # fmt: skip


def _offer_row(offer: Offer, occupied: Mapping[UUID, int]) -> OfferRow:
    # An offer's minimum is of free units; the instance's is of stock, which includes the units in use.
    return OfferRow(
        id=str(offer.id), institution=str(offer.institution), quantity=offer.remaining,
        minimum_kept=offer.minimum_kept + occupied.get(offer.institution, 0), available_from=offer.available_from,
        available_until=offer.available_until,
    )  # fmt: skip


def _request_row(request: Request, held: int = 0) -> RequestRow:
    return RequestRow(
        id=str(request.id), institution=str(request.institution), quantity=request.requested,
        urgency=request.urgency, needed_by=request.needed_by, needed_until=request.needed_until, held=held,
    )  # fmt: skip


def _unanswered(request: Request, at: datetime) -> bool:
    # A note is left by every plan that granted less than was asked, so a request without one met no plan yet.
    return request.status is RequestStatus.OPEN and not request.note and at < request.needed_until


def _expected(standings: _Standings, requests: list[Request], next_run: datetime) -> list[RequestRow]:
    """What forecasts expect to be lacking beyond what is asked for, as requests nobody opened yet."""
    asked = total((row.institution, row.requested) for row in requests)
    rows = []
    for standing in standings.rows:
        who = UUID(standing.institution)
        lacking = standings.foreseen.get(who, 0) - standing.stock - asked.get(who, 0)
        if lacking > 0:
            rows.append(
                RequestRow(id=f"expected-{who}", institution=str(who), quantity=lacking, urgency=1,
                           needed_by=next_run, needed_until=next_run + EXPECTED_FOR)
            )  # fmt: skip
    return rows


async def _allocation(
    act: Act, region: str, instance: Instance, plan: Plan, *, document: Mapping[str, Json], rule: str, needed: int,
    measures: Mapping[str, Any],
) -> Allocation:  # fmt: skip
    """The run as a row, with both documents kept under their hashes."""
    return Allocation(
        id=new_id(), region=region, resource=instance.resource, rule=rule,
        instance_sha256=await keep_artifact(act.tx.conn, "instance", canonical.encode(document)),
        plan_sha256=await keep_artifact(act.tx.conn, "plan", canonical.encode(plan.to_json())),
        owners=len(instance.owners), receivers=len(instance.receivers), needed=needed,
        assigned=sum(row.quantity for row in plan.assignments), measures=measures, stages=plan.reached,
        solver=plan.solver.to_json(), adopted_at=act.at,
    )  # fmt: skip


async def _bind(
    act: Act, kind: str, allocation: Allocation, plan: Plan, offers: Mapping[UUID, Offer],
    requests: Mapping[UUID, Request], more: Mapping[str, Json],
) -> Done[Allocation]:  # fmt: skip
    """Record the decision, and with it the run, what is held and what is granted: all of it or nothing."""
    decision = await act.record(
        kind, "allocation", allocation.id,
        {"region": allocation.region, "resource": allocation.resource, "instance_sha256": allocation.instance_sha256,
         "plan_sha256": allocation.plan_sha256, "needed": allocation.needed, "assigned": allocation.assigned,
         "solver": plan.solver.to_json(), **more},
    )  # fmt: skip
    await act.tx.allocations.add(allocation, decision)
    await _hold(act, plan, allocation.id, offers, requests, decision)
    await _answer(act, plan, requests, decision)
    return Done(allocation, decision, act.at)


async def _unchanged(
    act: Act, instance: Instance, *, only: str | None = None
) -> tuple[dict[UUID, Offer], dict[UUID, Request]]:
    """Lock what the plan rests on, and refuse it where any of it is not as it was; of the requests, `only` that one."""
    offers = await act.tx.offers.lock([UUID(row.offer) for row in instance.owners])
    receivers = [row for row in instance.receivers if only in (None, row.request)]
    requests = await act.tx.requests.lock([UUID(row.request) for row in receivers])
    for owner in instance.owners:
        offer = offers.get(UUID(owner.offer))
        if offer is None or offer.remaining != owner.quantity:
            raise StaleSnapshot(f"offer {owner.offer} has changed since the snapshot.")
    for receiver in receivers:
        request = requests.get(UUID(receiver.request))
        if request is None or request.status != "open" or request.requested != receiver.asked:
            raise StaleSnapshot(f"request {receiver.request} has changed since the snapshot.")
    return offers, requests


async def _hold(
    act: Act, plan: Plan, allocation: UUID, offers: Mapping[UUID, Offer], requests: Mapping[UUID, Request],
    decision: UUID,
) -> None:  # fmt: skip
    transfers = [
        Transfer(
            id=new_id(), offer=UUID(row.offer), request=UUID(row.request),
            giver=offers[UUID(row.offer)].institution, receiver=requests[UUID(row.request)].institution,
            resource=offers[UUID(row.offer)].resource, quantity=row.quantity, state=TransferState.PROPOSED,
            reason=row.reason, allocation=allocation, hold_until=act.at + HOLD, decline_reason=None,
            return_due_at=None, changed_at=act.at,
        )
        for row in plan.assignments
    ]  # fmt: skip
    await act.tx.transfers.add(transfers, decision)
    await act.tx.transfers.hold(allocation, decision)


async def _answer(act: Act, plan: Plan, requests: Mapping[UUID, Request], decision: UUID) -> None:
    """Set what each request is granted, with the reason for the rest; the rest stays open and linked."""
    short = {UUID(row.request): row.reason for row in plan.unfilled}
    for id, request in requests.items():  # noqa: A001
        answered = request.approve(plan.received.get(str(id), 0), note=short.get(id, ""))
        await act.tx.requests.update(answered, decision)
        remainder = answered.remainder(id=new_id(), at=act.at)
        if remainder is not None:
            await act.tx.requests.add(remainder, decision)
