"""From snapshot to binding plan: what is held, granted and left open, and that one plan wins."""

from __future__ import annotations

import asyncio
import json
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID

import pytest

from sharewell.domain.errors import StaleSnapshot
from sharewell.domain.requests import RequestStatus
from sharewell.domain.transfers import DeclineReason, TransferState
from sharewell.wiring import migrations, worker_caller
from sharewell_workers.allocate import allocate
from sharewell_workers.jobs import Job
from sharewell_workers.solving import solve

if TYPE_CHECKING:
    from tests.conftest import Pool
    from tests.postgres.nouns.conftest import World

NEWEST = UUID(int=2**128 - 1)
JOB = Job(id=1, name="allocate", payload={"region": "us-nj", "resource": "bed.adult"}, request_id="r-2", attempt=1)


async def _giver_and_taker(world: World, *, pledged: int, asked: int) -> tuple[UUID, UUID]:
    giver, taker = await world.institution("champignac"), await world.institution("zyglotrop", latitude=40.1)
    await world.report(giver, staffed=30, occupied=10)
    await world.report(taker, staffed=10, occupied=10, waiting=asked)
    await world.pledge(giver, pledged)
    await world.ask(taker, asked)
    return giver.id, taker.id


async def _transfers(world: World, party: UUID) -> list[Any]:
    page = await world.people.transfers.page(
        world.callers[party], before=NEWEST, party=party, state=None, allocation=None, first=50
    )
    return list(page.items)


async def _requests(world: World, who: UUID) -> list[Any]:
    page = await world.people.requests.page(
        world.callers[who], before=NEWEST, institution=who, resource=None, status=None, first=50
    )
    return list(page.items)


async def test_a_plan_holds_units_and_grants_the_request(world: World) -> None:
    giver, taker = await _giver_and_taker(world, pledged=8, asked=5)
    await allocate(JOB, world.workers)
    (transfer,) = await _transfers(world, giver)
    assert (transfer.quantity, transfer.state, transfer.receiver) == (5, TransferState.HELD, taker)
    assert transfer.reason
    (request,) = await _requests(world, taker)
    assert (request.requested, request.approved, request.status) == (5, 5, RequestStatus.APPROVED)


async def test_what_a_plan_cannot_fill_stays_open_and_linked_and_says_why(world: World) -> None:
    _, taker = await _giver_and_taker(world, pledged=3, asked=5)
    await allocate(JOB, world.workers)
    remainder, first = await _requests(world, taker)
    assert (first.approved, first.status) == (3, RequestStatus.APPROVED)
    assert first.note
    assert (remainder.requested, remainder.status, remainder.remainder_of) == (2, RequestStatus.OPEN, first.id)


async def test_a_run_keeps_its_rule_and_what_its_stages_reached_and_older_runs_are_told_theirs(
    world: World, migrator_pool: Pool
) -> None:
    await _giver_and_taker(world, pledged=3, asked=5)
    await allocate(JOB, world.workers)
    stored = "select rule, stages::text from sharewell.allocation"
    ((rule, stages),) = await migrator_pool.fetch(stored)
    assert rule == "floor"
    assert [row["name"] for row in json.loads(stages)] == ["floor", "welfare", "distance", "lottery"]
    assert json.loads(stages)[0] == {"name": "floor", "value": 3, "over": 5}
    await migrator_pool.execute(
        "alter table sharewell.allocation drop column rule, drop column stages, disable trigger needs_entry_update"
    )
    await migrator_pool.execute((migrations() / "0012_urgent_plans.sql").read_text())
    ((again, told),) = await migrator_pool.fetch(stored)
    assert (again, json.loads(told)) == (rule, json.loads(stages))


async def test_of_two_runs_at_once_one_plan_is_adopted(world: World) -> None:
    await _giver_and_taker(world, pledged=8, asked=5)
    await asyncio.gather(*(allocate(JOB, world.workers) for _ in range(4)))
    assert await world.workers.database.pool.fetchval("select count(*) from sharewell.allocation") == 1
    assert await world.workers.database.pool.fetchval("select sum(promised) from sharewell.offer") == 5


async def test_a_plan_for_a_market_that_moved_is_refused_as_stale(world: World) -> None:
    giver, _ = await _giver_and_taker(world, pledged=8, asked=5)
    instance = await world.workers.allocations.snapshot("us-nj", "bed.adult")
    assert instance is not None
    (offer,) = (
        await world.people.offers.page(
            world.callers[giver], before=NEWEST, institution=giver, resource=None, only_open=True, first=5
        )
    ).items
    await world.people.offers.withdraw(world.callers[giver], offer.id)
    with pytest.raises(StaleSnapshot):
        await world.workers.allocations.adopt(
            worker_caller("allocate", "r"), region="us-nj", instance=instance, plan=solve(instance), measures={}
        )
    assert await world.workers.database.pool.fetchval("select count(*) from sharewell.transfer") == 0


async def test_what_a_giver_takes_back_is_free_again_and_asked_for_again(world: World) -> None:
    giver, taker = await _giver_and_taker(world, pledged=8, asked=5)
    await allocate(JOB, world.workers)
    (transfer,) = await _transfers(world, giver)
    await world.people.transfers.decline(world.callers[giver], transfer.id, DeclineReason.OWN_NEED_ROSE)
    assert await world.workers.database.pool.fetchval("select promised from sharewell.offer") == 0
    again, first = await _requests(world, taker)
    assert (first.approved, first.status) == (0, RequestStatus.SUPERSEDED)
    assert (again.requested, again.status, again.remainder_of) == (5, RequestStatus.OPEN, first.id)


async def test_a_transfer_goes_from_hold_to_return_and_each_step_is_on_record(world: World) -> None:
    giver, taker = await _giver_and_taker(world, pledged=8, asked=5)
    await allocate(JOB, world.workers)
    (transfer,) = await _transfers(world, giver)
    people, give, take = world.people.transfers, world.callers[giver], world.callers[taker]
    await people.confirm(give, transfer.id)
    await people.dispatch(give, transfer.id)
    await people.receive(take, transfer.id)
    done = await people.give_back(give, transfer.id)
    assert done.subject.state is TransferState.RETURNED
    steps = [step.state for step in await people.steps(give, transfer.id)]
    assert steps == ["proposed", "held", "confirmed", "dispatched", "received", "returned"]
    (request,) = await _requests(world, taker)
    assert (request.fulfilled, request.status) == (5, RequestStatus.FULFILLED)
    assert await world.workers.database.pool.fetchval("select promised from sharewell.offer") == 0


async def test_a_hold_nobody_answers_ends_by_itself(world: World) -> None:
    giver, taker = await _giver_and_taker(world, pledged=8, asked=5)
    await allocate(JOB, world.workers)
    world.at += timedelta(hours=25)
    assert await world.workers.transfers.sweep(worker_caller("expire", "r")) == 1
    (transfer,) = await _transfers(world, giver)
    assert transfer.state is TransferState.EXPIRED
    assert (await _requests(world, taker))[0].status is RequestStatus.OPEN


async def test_an_owner_never_gives_below_its_minimum(world: World) -> None:
    giver, taker = await world.institution("champignac"), await world.institution("zyglotrop")
    await world.report(giver, staffed=30, occupied=10)
    await world.pledge(giver, 12, minimum_kept=8)
    # Its own need rises after the pledge: the plan may now use fewer units than were offered.
    world.at += timedelta(hours=1)
    await world.report(giver, staffed=30, occupied=20)
    await world.report(taker, staffed=5, occupied=5, waiting=12)
    await world.ask(taker, 12)
    await allocate(JOB, world.workers)
    assert await world.workers.database.pool.fetchval("select sum(quantity) from sharewell.transfer") == 2
