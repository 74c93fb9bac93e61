"""Ask for a schedule of the days ahead, draw what it is made from, and adopt it once the domain has checked it.

Day 0 of an adopted schedule binds exactly as a plan does, a run for each resource; later days are an outlook, which
the next schedule decides anew.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

from sharewell.domain import canonical, checks
from sharewell.domain.canonical import Json
from sharewell.domain.errors import Invalid
from sharewell.domain.horizon import Aim, Horizon
from sharewell.domain.horizon_certificate import check_bounds
from sharewell.domain.horizon_check import check_schedule
from sharewell.domain.horizon_draw import draw_horizon
from sharewell.domain.horizon_measures import share_table
from sharewell.domain.horizon_records import DAY, MOST_RESOURCES, Foreseen, Stored, Terms
from sharewell.domain.horizon_today import Outcome, Today, bind_today, measures_today, receipts_today
from sharewell.domain.institutions import InstitutionStatus
from sharewell.domain.lanes import Reach
from sharewell.domain.offers import Offer
from sharewell.domain.policy import Action, Target
from sharewell.domain.principals import Caller
from sharewell.domain.requests import Request
from sharewell.domain.schedule import Schedule
from sharewell.services.act import Act, Done
from sharewell.services.allocations import UNLOCATED_METRES, bind, lock_as_they_were, reads_documents
from sharewell.services.extents import Extent
from sharewell.services.ids import new_id
from sharewell.services.office import Office
from sharewell.store.allocations import Allocation
from sharewell.store.answered import Wish
from sharewell.store.artifacts import keep_artifact, read_artifact
from sharewell.store.database import Transaction
from sharewell.store.horizons import (
    HorizonDay,
    HorizonMovement,
    HorizonRun,
    HorizonTotal,
    HorizonUnmet,
)
from sharewell.store.paging import Page

RULE = "horizon"  #: of the runs that day 0 of a schedule is
MOST_SECONDS = 300  #: of the search for one schedule


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawn:
    """A horizon, and what it was drawn from as far as binding it must know."""

    region: str
    terms: Terms
    horizon: Horizon
    offers: Sequence[Offer]
    requests: Sequence[Request]


class HorizonService:
    """Schedules for the days ahead."""

    def __init__(self, office: Office, *, reach: Reach | None = None) -> None:
        self._office = office
        self._reach = reach or Reach(unlocated_metres=UNLOCATED_METRES)

    async def start(
        self, caller: Caller, *, region: str, resources: Sequence[str], terms: Terms, seconds: int, wish: Wish | None
    ) -> Done[str]:
        """Ask for a schedule; returns the key it waits under."""
        checks.units(seconds, "seconds", least=1, most=MOST_SECONDS)
        if not 1 <= len(set(resources)) == len(resources) <= MOST_RESOURCES:
            raise Invalid(f"resources must name 1 to {MOST_RESOURCES}, each once.", field="resources")
        names = sorted(resources)
        key = f"{region}/{'+'.join(names)}"
        async with self._office.act(caller, Action.PLAN_HORIZON, Target(kind="allocation", id="new"), wish) as act:
            if act.repeated:
                return act.again(str)
            for name in names:
                await self._office.resource(act.tx, name)
            asked: dict[str, Json] = {
                "region": region, "resources": names, "days": terms.days, "level": terms.level,
                "hold_days": terms.hold_days, "seconds": seconds,
            }  # fmt: skip
            decision = await act.record("job.started", "job", new_id(), {"name": "horizon", "key": key, **asked})
            await act.tx.queue.enqueue("horizon", {**asked, "request_id": caller.request_id}, key=key)
            return await act.done(key, decision)

    async def draw(self, region: str, resources: Sequence[str], terms: Terms) -> Drawn | None:
        """What a schedule would be made from now; None where nobody of the region has anything on record."""
        at, names = self._office.now(), sorted(resources)
        async with self._office.looking() as tx:
            stored = await self._stored(tx, region, names, terms)
        horizon = await asyncio.to_thread(
            draw_horizon, stored, terms, region=region, at=at, reach=self._reach
        )
        if not horizon.sites:
            return None
        return Drawn(region=region, terms=terms, horizon=horizon, offers=stored.offers, requests=stored.requests)

    async def _stored(self, tx: Transaction, region: str, names: list[str], terms: Terms) -> Stored:
        at = self._office.now()
        under_way, promised = await tx.horizons.under_way(region, names, at)
        institutions = await tx.institutions.in_region(region)
        chosen = await tx.choices.all_in_force(region, names)
        return Stored(
            institutions=[row for row in institutions if row.status is InstitutionStatus.ACTIVE],
            resources=[await self._office.resource(tx, name) for name in names],
            reports=await tx.horizons.reports(region, names),
            forecasts=await tx.horizons.forecasts(region, names, at.date(), (at + (terms.days - 1) * DAY).date()),
            offers=await tx.offers.open_in_region(region, names, at),
            requests=await tx.requests.open_in_region(region, names, at),
            promised=promised, under_way=under_way, in_force=await _in_force(tx, region, names),
            rules={name: choice.fairness.rule for name, choice in chosen.items()},
        )  # fmt: skip

    async def answered(self, horizon: Horizon) -> bool:
        """Tell whether a schedule for this very instance is adopted already."""
        async with self._office.looking() as tx:
            return await tx.horizons.answers(horizon.hash)

    async def adopt(self, caller: Caller, drawn: Drawn, schedule: Schedule) -> Done[HorizonRun]:
        """Bind day 0 of `schedule`, and keep all of it as the schedule in force.

        Raises `PlanRefused` where it breaks a rule, `NotProven` where its multipliers do not prove its bounds, and
        `StaleSnapshot` where an offer or request it rests on has changed since, or another schedule was first.
        """
        horizon = drawn.horizon
        await asyncio.to_thread(_check, horizon, schedule)
        today = await asyncio.to_thread(self._today, drawn, schedule)
        async with self._office.act(caller, Action.ADOPT_PLAN, Target(kind="allocation", id="new")) as act:
            offers, requests = await lock_as_they_were(
                act, {row.id: row.remaining for row in drawn.offers}, {row.id: row.requested for row in drawn.requests}
            )
            run = await _run_of(act, drawn, schedule)
            decision = await act.record(
                "schedule.adopted", "horizon", run.id,
                {"region": run.region, "resources": list(run.resources), "days": run.days, "level": run.level,
                 "hold_days": run.hold_days, "instance_sha256": run.instance_sha256,
                 "schedule_sha256": run.schedule_sha256,
                 "moved": sum(row.units for row in schedule.shipments),
                 "held": sum(row.quantity for row in today.assignments), "search": dict(schedule.search.to_json())},
            )  # fmt: skip
            await act.tx.horizons.add(run, decision)
            await act.tx.horizons.add_rows(run.id, *_rows(drawn, today))
            for resource in run.resources:
                await self._bind(act, run, today, resource, offers, requests, decision)
            return Done(run, decision, act.at)

    def _today(self, drawn: Drawn, schedule: Schedule) -> Today:
        return bind_today(Outcome.of(drawn.horizon, schedule), drawn.offers, drawn.requests, self._reach)

    async def _bind(
        self, act: Act, run: HorizonRun, today: Today, resource: str, offers: Mapping[UUID, Offer],
        requests: Mapping[UUID, Request], decision: UUID,
    ) -> None:  # fmt: skip
        """Bind what of day 0 is of one resource, as its run."""
        mine = {id: row for id, row in requests.items() if row.resource == resource}  # noqa: A001
        if not mine:
            return
        part = today.of({str(id) for id in mine})  # noqa: A001
        surge = await act.tx.surges.in_force(run.region, resource, act.at)
        allocation = Allocation(
            id=new_id(), region=run.region, resource=resource, rule=RULE, instance_sha256=run.instance_sha256,
            plan_sha256=run.schedule_sha256, owners=sum(row.resource == resource for row in offers.values()),
            receivers=len(mine), needed=sum(row.requested for row in mine.values()),
            assigned=sum(row.quantity for row in part.assignments), measures=measures_today(today, resource),
            stages=[{"name": row["aim"], "value": row["value"], "over": 1} for row in run.stages],
            solver=_solver(run), adopted_at=act.at, fairness={}, reserves=[], horizon=run.id,
        )  # fmt: skip
        await act.tx.allocations.add(allocation, decision)
        told = [row for row in receipts_today(today, resource) if row.given or row.received or row.short_alone]
        await bind(self._office, act, part, allocation, told, offers, mine, decision, surge)

    async def get(self, caller: Caller, id: UUID) -> HorizonRun:  # noqa: A002
        await self._office.allow(caller, Action.VIEW_ALLOCATION, Target(kind="allocation", id=str(id)))
        async with self._office.reading(caller) as tx:
            return self._told(caller, [await tx.horizons.get(id)])[0]

    async def page(self, caller: Caller, *, before: UUID, region: str | None, first: int) -> Page[HorizonRun]:
        await self._office.allow(caller, Action.VIEW_ALLOCATION, Target.list("allocation"))
        async with self._office.reading(caller) as tx:
            page = await tx.horizons.page(before=before, region=region, first=first)
        return page.told(self._told(caller, page.items))

    def _told(self, caller: Caller, runs: Sequence[HorizonRun]) -> tuple[HorizonRun, ...]:
        """Without the totals over institutions, where the caller may not read the schedules themselves."""
        if reads_documents(self._office, caller):
            return tuple(runs)
        return tuple(replace(run, measures={}, stages=()) for run in runs)

    async def runs(self, caller: Caller, id: UUID) -> list[UUID]:  # noqa: A002
        """The runs that its day 0 is."""
        await self._office.allow(caller, Action.VIEW_ALLOCATION, Target(kind="allocation", id=str(id)))
        async with self._office.reading(caller) as tx:
            return await tx.horizons.runs(id)

    async def totals(self, caller: Caller, id: UUID) -> list[HorizonTotal] | None:  # noqa: A002
        """Each day of each resource, of all institutions together; None for whoever may not read the schedule."""
        await self._office.allow(caller, Action.VIEW_ALLOCATION, Target(kind="allocation", id=str(id)))
        if not reads_documents(self._office, caller):
            return None
        async with self._office.looking() as tx:  # sums over all
            return await tx.horizons.totals(id)

    async def days(self, caller: Caller, id: UUID, resource: str | None) -> list[HorizonDay]:  # noqa: A002
        """What it means day by day, to all whom the caller may see."""
        extent = await self._office.extent(caller, Action.VIEW_RECEIPT, Target.list("receipt"))
        async with self._office.reading(caller) as tx:
            found = await tx.horizons.days(id, resource, extent.seen)
        told = {each.institution for each in found}
        await self._tell(caller, extent, told)
        return found

    async def movements(self, caller: Caller, id: UUID, resource: str | None) -> list[HorizonMovement]:  # noqa: A002
        """What leaves when, as far as the caller may see its parties."""
        extent = await self._office.extent(caller, Action.VIEW_RECEIPT, Target.list("receipt"))
        async with self._office.reading(caller) as tx:
            found = await tx.horizons.movements(id, resource, extent.seen)
        told = {await self._office.whose(caller, each.giver, each.receiver) for each in found if not extent.recorded}
        await self._tell(caller, extent, told)
        return found

    async def unmet(self, caller: Caller, id: UUID, resource: str | None) -> list[HorizonUnmet]:  # noqa: A002
        """What stays short and why, of all whom the caller may see."""
        extent = await self._office.extent(caller, Action.VIEW_RECEIPT, Target.list("receipt"))
        async with self._office.reading(caller) as tx:
            found = await tx.horizons.unmet(id, resource, extent.seen)
        told = {each.institution for each in found}
        await self._tell(caller, extent, told)
        return found

    async def _tell(self, caller: Caller, extent: Extent, told: set[UUID]) -> None:
        targets = {who: Target.list("receipt", owner=who) for who in told}
        await self._office.shown(caller, Action.VIEW_RECEIPT, extent, targets)

    async def instance(self, caller: Caller, id: UUID) -> bytes:  # noqa: A002
        """The horizon that was solved, as canonical JSON."""
        return await self._document(caller, id, "instance_sha256")

    async def schedule(self, caller: Caller, id: UUID) -> bytes:  # noqa: A002
        """The schedule that was adopted, as canonical JSON."""
        return await self._document(caller, id, "schedule_sha256")

    async def _document(self, caller: Caller, id: UUID, hash_of: str) -> bytes:  # noqa: A002
        region = await self._office.region_of(caller, lambda tx: tx.horizons.get(id))
        target = Target(kind="allocation", id=str(id), region=region)
        await self._office.allow(caller, Action.VIEW_RUN_DOCUMENTS, target)
        async with self._office.reading(caller) as tx:
            return await read_artifact(tx.conn, getattr(await tx.horizons.get(id), hash_of))



def _check(horizon: Horizon, schedule: Schedule) -> None:
    check_schedule(horizon, schedule)
    check_bounds(horizon, schedule)


async def _in_force(tx: Transaction, region: str, names: list[str]) -> Foreseen | None:
    """What the newest schedule of the region foresees for these resources."""
    last = await tx.horizons.in_force(region, names)
    if last is None:
        return None
    start, days, sha256 = last
    schedule = await asyncio.to_thread(Schedule.read, await read_artifact(tx.conn, sha256))
    return Foreseen(start=start, days=days, shipments=[row for row in schedule.shipments if row.item in names])


async def _run_of(act: Act, drawn: Drawn, schedule: Schedule) -> HorizonRun:
    horizon, terms = drawn.horizon, drawn.terms
    aims: list[dict[str, Any]] = []
    for aim in horizon.aims:
        value, bound = schedule.total(aim)
        aims.append({"aim": aim.value, "value": value, "bound": bound})
    return HorizonRun(
        id=new_id(), region=drawn.region, resources=[row.item for row in horizon.items], days=terms.days,
        level=terms.level, hold_days=terms.hold_days, starts_at=horizon.start,
        instance_sha256=await keep_artifact(act.tx.conn, "horizon", canonical.encode(horizon.to_json())),
        schedule_sha256=await keep_artifact(act.tx.conn, "schedule", canonical.encode(schedule.to_json())),
        sites=len(horizon.sites), lanes=len(horizon.lanes), measures=share_table(horizon, schedule), stages=aims,
        search=schedule.search.to_json(), adopted_at=act.at,
    )  # fmt: skip


def _rows(drawn: Drawn, today: Today) -> tuple[list[HorizonDay], list[HorizonMovement], list[HorizonUnmet]]:
    """What is shown of it, as stored."""
    outcome = today.outcome
    asked: dict[tuple[str, str], int] = {}
    for row in drawn.requests:
        node = str(row.institution), row.resource
        asked[node] = asked.get(node, 0) + row.requested
    days = [
        HorizonDay(
            institution=UUID(d.site), resource=d.item, day=d.day, need=d.need, short_alone=d.short_alone,
            short_shared=d.short_shared, given=d.given, received=d.received,
        )
        for d in outcome.days()
    ]  # fmt: skip
    movements = []
    for shipment in outcome.schedule.shipments:
        giver, receiver = outcome.parties(shipment)
        movements.append(
            HorizonMovement(
                resource=shipment.item, day=shipment.day, arrives=outcome.arrives(shipment), giver=UUID(giver),
                receiver=UUID(receiver), units=shipment.units, held=today.bound.get(shipment, 0),
                metres=outcome.metres(shipment),
            )
        )  # fmt: skip
    unmet = [
        HorizonUnmet(
            institution=UUID(u.site), resource=u.item, thousandths=outcome.milli((u.site, u.item), u.units),
            code=u.code, reason=u.reason, asked=asked.get((u.site, u.item), 0),
        )
        for u in outcome.schedule.unmet
    ]  # fmt: skip
    return days, movements, unmet


def _solver(run: HorizonRun) -> dict[str, Any]:
    """Who searched, in the words of a run: the bound is that of the shortage."""
    bounds = {row["aim"]: row["bound"] for row in run.stages}
    told = {name: value for name, value in run.search.items() if name != "solver_gap"}
    return {**told, "bound": bounds[Aim.SHORTAGE.value]}
