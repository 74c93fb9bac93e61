"""Take the snapshot that a plan is made for, and adopt the plan once the domain has checked it.

A plan is found elsewhere, with no database open; between snapshot and adoption the world may move on, and then the
plan is refused as stale rather than bent to fit.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import date, datetime
from typing import Any, Protocol
from uuid import UUID

from sharewell.domain import canonical, credit
from sharewell.domain.allocation import (
    Fairness,
    Instance,
    Movement,
    Plan,
    Reserve,
    Status,
    check_certificate,
    check_plan,
)
from sharewell.domain.capacity import CapacityReport
from sharewell.domain.choices import Choice
from sharewell.domain.errors import Forbidden, StaleSnapshot
from sharewell.domain.fairness import Receipt, receipts
from sharewell.domain.forecast import Forecast
from sharewell.domain.institutions import Institution
from sharewell.domain.lanes import Reach
from sharewell.domain.offers import Offer
from sharewell.domain.plan import Assignment, Unfilled
from sharewell.domain.policy import Action, Target
from sharewell.domain.principals import Caller
from sharewell.domain.requests import Request
from sharewell.domain.snapshot import OfferRow, RequestRow, Standing, build_instance, moved_before
from sharewell.domain.surges import SurgeMode, hold
from sharewell.domain.transfers import Transfer, TransferState
from sharewell.domain.visibility import ENTITLED
from sharewell.services.act import Act, Done
from sharewell.services.consents import confirm_by_consent
from sharewell.services.ids import new_id
from sharewell.services.office import Office
from sharewell.store.allocations import Allocation, VeiledAllocation
from sharewell.store.artifacts import keep_artifact, read_artifact
from sharewell.store.database import Transaction
from sharewell.store.paging import Page

UNLOCATED_METRES = 100_000  #: how far an institution without coordinates is taken to be from the others of its region
CAUTIOUS = 900  #: per mille; above this quantile of its own forecast no expected shortage is believed


class Bound(Protocol):
    """What is bound: units of offers for requests, and what stays open; a plan, or day 0 of a schedule."""

    @property
    def assignments(self) -> tuple[Assignment, ...]: ...
    @property
    def unfilled(self) -> tuple[Unfilled, ...]: ...
    @property
    def received(self) -> Mapping[str, int]: ...  # units by request


class AllocationService:
    """The plans that bind."""

    def __init__(self, office: Office, *, reach: Reach | None = None) -> None:
        self._office = office
        self._reach = reach or Reach(unlocated_metres=UNLOCATED_METRES)

    async def snapshot(self, region: str, resource: str) -> Instance | None:
        """What a plan would be made for now; None where nobody asks for anything."""
        at = self._office.now()
        async with self._office.looking() as tx:
            line = await tx.resources.get(resource)
            requests = await tx.requests.open_in_region(region, [resource], at)
            if not requests:
                return None
            offers = await tx.offers.open_in_region(region, [resource], at)
            choice = await tx.choices.in_force(region, resource)
            granted = await tx.allocations.granted_since_run(region, resource)
            lapsed = await tx.transfers.lapsed([q.remainder_of for q in requests if q.remainder_of])
            day = max(at.date(), min(request.needed_by.date() for request in requests))
            standings = await read_standings(tx, region, resource, day, choice, at)
        return build_instance(
            resource=resource, kind=line.kind, at=at, seed=f"{region}/{resource}/{day}", reach=self._reach,
            offers=[offer_row(offer, standings.occupied) for offer in offers],
            requests=list(_request_rows(requests, granted)),
            standings=standings.rows, forecasts=standings.forecasts, in_force=_in_force(lapsed, requests),
            fairness=_fairness(choice), reserves=_reserves(choice),
        )  # fmt: skip

    async def answered(self, instance: Instance) -> bool:
        """Tell whether a plan for this very instance is adopted already."""
        async with self._office.looking() as tx:
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
            offers, requests = await lock_unchanged(act, instance)
            await _same_rule(act, region, instance)
            surge = await act.tx.surges.in_force(region, instance.resource, act.at)
            instance_body, plan_body = canonical.encode(instance.to_json()), canonical.encode(plan.to_json())
            allocation = Allocation(
                id=new_id(), region=region, resource=instance.resource,
                instance_sha256=await keep_artifact(act.tx.conn, "instance", instance_body),
                plan_sha256=await keep_artifact(act.tx.conn, "plan", plan_body),
                owners=len(instance.owners), receivers=len(instance.receivers),
                needed=sum(row.need for row in instance.receivers),
                assigned=sum(row.quantity for row in plan.assignments),
                measures=measures, solver=plan.solver.to_json(), adopted_at=act.at,
                rule=instance.fairness.rule, stages=plan.reached, fairness=instance.fairness.to_json(),
                reserves=[row.to_json() for row in instance.reserves],
            )  # fmt: skip
            decision = await act.record(
                "plan.adopted", "allocation", allocation.id,
                {"region": region, "resource": instance.resource, "instance_sha256": allocation.instance_sha256,
                 "plan_sha256": allocation.plan_sha256, "needed": allocation.needed,
                 "assigned": allocation.assigned, "solver": plan.solver.to_json(),
                 "forecasts": len(instance.forecasts), "fairness": instance.fairness.to_json(),
                 **({} if surge is None else {"surge": str(surge.id)})},
            )  # fmt: skip
            await act.tx.allocations.add(allocation, decision)
            if instance.fairness.memory:
                owed = {UUID(who): units for who, units in credit.carried(instance, plan).items()}
                await act.tx.credit.add(allocation.id, instance.resource, owed, decision)
            told = receipts(instance, plan)
            await bind(self._office, act, plan, allocation, told, offers, requests, decision, surge)
            return Done(allocation, decision, act.at)

    async def get(self, caller: Caller, id: UUID) -> Allocation | VeiledAllocation:  # noqa: A002
        await self._office.allow(caller, Action.VIEW_ALLOCATION, Target(kind="allocation", id=str(id)))
        async with self._office.reading(caller) as tx:
            found = await tx.allocations.get(id)
        return (await told_to(self._office, caller, [found]))[0]

    async def by_ids(self, caller: Caller, ids: list[UUID]) -> dict[UUID, Allocation | VeiledAllocation]:
        """Several at once, for lists that name them."""
        await self._office.allow(caller, Action.VIEW_ALLOCATION, Target.list("allocation"))
        async with self._office.reading(caller) as tx:
            found = await tx.allocations.by_ids(ids)
        return {run.id: run for run in await told_to(self._office, caller, found.values())}

    async def named(self, caller: Caller, ids: list[UUID]) -> dict[UUID, Allocation | VeiledAllocation | Forbidden]:
        """Several asked for by id, each permitted as `get` would: what is refused is its refusal."""
        targets = {id: Target(kind="allocation", id=str(id)) for id in ids}  # noqa: A001
        refused = await self._office.refusals(caller, Action.VIEW_ALLOCATION, targets)
        async with self._office.reading(caller) as tx:
            found = await tx.allocations.by_ids([id for id in ids if id not in refused])  # noqa: A001
        return {run.id: run for run in await told_to(self._office, caller, found.values())} | refused

    async def instance(self, caller: Caller, id: UUID) -> bytes:  # noqa: A002
        """The instance that was solved, as canonical JSON."""
        return await self._document(caller, id, "instance_sha256")

    async def plan(self, caller: Caller, id: UUID) -> bytes:  # noqa: A002
        """The plan that was adopted, as canonical JSON."""
        return await self._document(caller, id, "plan_sha256")

    async def page(
        self, caller: Caller, *, before: UUID, region: str | None, resource: str | None, first: int
    ) -> Page[Allocation | VeiledAllocation]:
        await self._office.allow(caller, Action.VIEW_ALLOCATION, Target.list("allocation"))
        async with self._office.reading(caller) as tx:
            page = await tx.allocations.page(before=before, region=region, resource=resource, first=first)
        return page.told(await told_to(self._office, caller, page.items))

    async def _document(self, caller: Caller, id: UUID, hash_of: str) -> bytes:  # noqa: A002
        """A document of a run, which speaks of everybody in it."""
        region = await self._office.region_of(caller, lambda tx: tx.allocations.get(id))
        target = Target(kind="allocation", id=str(id), region=region)
        await self._office.allow(caller, Action.VIEW_RUN_DOCUMENTS, target)
        async with self._office.reading(caller) as tx:
            return await read_artifact(tx.conn, getattr(await tx.allocations.get(id), hash_of))


def reads_documents(office: Office, caller: Caller) -> bool:
    """Whether the caller may read all of a run, and so every total exactly."""
    return office.may(caller, ENTITLED["Allocation"].act, Target.list("allocation"))


async def told_to(
    office: Office, caller: Caller, runs: Iterable[Allocation]
) -> tuple[Allocation | VeiledAllocation, ...]:
    """The runs as far as the caller may know them: with totals where nobody's part in them is a small count."""
    runs = tuple(runs)
    if not runs or reads_documents(office, caller):
        return runs
    async with office.looking() as tx:  # at everybody's parts
        small = await tx.receipts.with_small_parts([run.id for run in runs])
    # Of a schedule's day the units asked for count as needed, which receipts do not tell.
    return tuple(VeiledAllocation.of(run, withheld=run.horizon is not None or run.id in small) for run in runs)


@dataclass(frozen=True, slots=True)
class _Standings:
    """How the institutions of a region stand with one resource."""

    rows: list[Standing]
    occupied: Mapping[UUID, int]  #: units in use of each institution that reported
    forecasts: tuple[str, ...]  #: models that the expected needs rest on


def _fairness(choice: Choice | None) -> Fairness:
    return Fairness() if choice is None else choice.fairness


def _reserves(choice: Choice | None) -> tuple[Reserve, ...]:
    return () if choice is None else tuple(row.reserve for row in choice.reserves)


def _in_force(lapsed: list[tuple[UUID, UUID, int]], requests: list[Request]) -> list[Movement]:
    return moved_before(
        [(str(offer), str(request), units) for offer, request, units in lapsed],
        [(str(q.id), str(q.remainder_of), q.requested) for q in requests if q.remainder_of],
    )


async def read_standings(
    tx: Transaction, region: str, resource: str, day: date, choice: Choice | None, at: datetime
) -> _Standings:
    reports = await tx.capacity.latest_in_region(region, resource)
    expected = await tx.forecasts.newest_for(region, resource, day)
    promised = await tx.transfers.promised_in_region(region, resource, at)
    incoming = await tx.transfers.incoming_in_region(region, resource)
    institutions = await tx.institutions.in_region(region)
    owed = await tx.credit.newest(resource, [row.id for row in institutions]) if _fairness(choice).memory else {}
    return _Standings(
        rows=[
            replace(
                _standing(
                    institution, reports.get(institution.id), expected.get(institution.id),
                    promised.get(institution.id, 0), incoming.get(institution.id, 0),
                ),
                credit=owed.get(institution.id, 0),
                categories=() if choice is None else choice.categories_of(institution.id),
            )
            for institution in institutions
        ],
        occupied={who: report.occupied or 0 for who, report in reports.items()},
        forecasts=tuple(sorted({forecast.model for forecast in expected.values()})),
    )  # fmt: skip


def _standing(
    institution: Institution, report: CapacityReport | None, forecast: Forecast | None, promised: int, incoming: int
) -> Standing:
    """The newest report and the forecast together: an owner keeps the larger of today's need and the expected one.

    A request counts as far as they show a lack that nothing on its way will fill: without report and forecast not at
    all, unless it is raised.
    """
    stock = 0 if report is None else (report.staffed or 0) - (report.blocked or 0)
    need = 0 if report is None else report.need or 0
    borne_out = max(need, 0 if forecast is None else forecast.units(CAUTIOUS))
    return Standing(
        institution=str(institution.id), latitude=institution.latitude, longitude=institution.longitude,
        stock=max(0, stock - promised), own_need=max(need, 0 if forecast is None else forecast.units()),
        need_cap=max(0, borne_out - stock - incoming),
    )  # fmt: skip


def offer_row(offer: Offer, occupied: Mapping[UUID, int]) -> OfferRow:
    # An offer's minimum is of free units; the instance's is of stock, which includes the units in use.
    return OfferRow(
        id=str(offer.id), institution=str(offer.institution), quantity=offer.remaining,
        minimum_kept=offer.minimum_kept + occupied.get(offer.institution, 0), available_from=offer.available_from,
        available_until=offer.available_until,
    )  # fmt: skip


def request_row(request: Request) -> RequestRow:
    return RequestRow(
        id=str(request.id), institution=str(request.institution), quantity=request.requested,
        urgency=request.urgency, needed_by=request.needed_by, needed_until=request.needed_until,
        raised=request.raised, raise_reason=request.raise_reason,
    )  # fmt: skip


def _request_rows(requests: list[Request], granted: Mapping[UUID, int]) -> Iterator[RequestRow]:
    """What is asked for; what urgent plans brought since the last run is held by the most urgent of the same house."""
    left = dict(granted)
    for request in sorted(requests, key=lambda row: (-row.urgency, row.needed_by, row.id)):
        yield replace(request_row(request), held=left.pop(request.institution, 0))


async def lock_unchanged(act: Act, instance: Instance) -> tuple[dict[UUID, Offer], dict[UUID, Request]]:
    """Lock what the plan rests on, and refuse it where any of it is not as it was."""
    return await lock_as_they_were(
        act, {UUID(row.offer): row.quantity for row in instance.owners},
        {UUID(row.request): row.asked for row in instance.receivers},
    )  # fmt: skip


async def lock_as_they_were(
    act: Act, remaining: Mapping[UUID, int], asked: Mapping[UUID, int]
) -> tuple[dict[UUID, Offer], dict[UUID, Request]]:
    """Lock offers and requests; raises `StaleSnapshot` unless these units remain of the former and the latter ask so.

    Requests must still be open.
    """
    offers, requests = await act.tx.offers.lock(list(remaining)), await act.tx.requests.lock(list(asked))
    for id, units in remaining.items():  # noqa: A001
        offer = offers.get(id)
        if offer is None or offer.remaining != units:
            raise StaleSnapshot(f"offer {id} has changed since the snapshot.")
    for id, units in asked.items():  # noqa: A001
        request = requests.get(id)
        if request is None or request.status != "open" or request.requested != units:
            raise StaleSnapshot(f"request {id} has changed since the snapshot.")
    return offers, requests


async def _same_rule(act: Act, region: str, instance: Instance) -> None:
    """Refuse the plan where its rule, or what earlier runs left to anyone, is no longer as in the snapshot."""
    choice = await act.tx.choices.in_force(region, instance.resource)
    if (instance.fairness, instance.reserves) != (_fairness(choice), _reserves(choice)):
        raise StaleSnapshot(f"the fairness rule of {instance.resource} in {region} has changed since the snapshot.")
    if instance.fairness.memory:
        found = credit.before(instance)
        owed = await act.tx.credit.newest(instance.resource, [UUID(who) for who in found])
        if {who: owed.get(UUID(who), 0) for who in found} != found:
            raise StaleSnapshot(f"credit for {instance.resource} in {region} has changed since the snapshot.")


async def bind(
    office: Office, act: Act, plan: Bound, allocation: Allocation, told: Iterable[Receipt],
    offers: Mapping[UUID, Offer], requests: Mapping[UUID, Request], decision: UUID, surge: SurgeMode | None,
) -> None:  # fmt: skip
    """Hold the units of `plan`, answer its requests, and keep what it means to whom; all for one decision."""
    await act.tx.receipts.add(allocation.id, allocation.resource, act.at, told)
    held = await _hold(act, plan, allocation.id, offers, requests, decision, act.at + hold(surge))
    await _answer(act, plan, requests, decision)
    await act.tx.receipts.add_unfilled(
        allocation.id, [(requests[UUID(row.request)].institution, row) for row in plan.unfilled]
    )
    if surge is not None:
        await confirm_by_consent(office, act, surge, held)


async def _hold(
    act: Act, plan: Bound, allocation: UUID, offers: Mapping[UUID, Offer], requests: Mapping[UUID, Request],
    decision: UUID, until: datetime,
) -> list[Transfer]:  # fmt: skip
    transfers = [
        Transfer(
            id=new_id(), offer=UUID(row.offer), request=UUID(row.request),
            giver=offers[UUID(row.offer)].institution, receiver=requests[UUID(row.request)].institution,
            resource=offers[UUID(row.offer)].resource, quantity=row.quantity, state=TransferState.PROPOSED,
            reason=row.reason, allocation=allocation, hold_until=until, decline_reason=None,
            return_due_at=None, changed_at=act.at,
        )
        for row in plan.assignments
    ]  # fmt: skip
    await act.tx.transfers.add(transfers, decision)
    await act.tx.transfers.hold(allocation, decision)
    return [replace(transfer, state=TransferState.HELD) for transfer in transfers]


async def _answer(act: Act, plan: Bound, requests: Mapping[UUID, Request], decision: UUID) -> None:
    """Set what each request is granted, with the reason for the rest; the rest stays open and linked."""
    short = {UUID(row.request): row.reason for row in plan.unfilled}
    for id, request in requests.items():  # noqa: A001
        answered = request.approve(plan.received.get(str(id), 0), note=short.get(id, ""))
        await act.tx.requests.update(answered, decision)
        remainder = answered.remainder(id=new_id(), at=act.at)
        if remainder is not None:
            await act.tx.requests.add(remainder, decision)
