"""The same key and input get the same answer, however often and however close together they come."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from sharewell.domain.capacity import CapacityDraft, Mark
from sharewell.domain.errors import Conflict, IdempotencyConflict
from sharewell.store.answered import Wish
from sharewell_workers.allocate import allocate
from sharewell_workers.jobs import Job

if TYPE_CHECKING:
    from tests.postgres.nouns.conftest import World

JOB = Job(id=1, name="allocate", payload={"region": "us-nj", "resource": "bed.adult"}, request_id="r-2", attempt=1)
WISH = Wish(key="k-1", operation="publishOffer", input_sha256="aa" * 32)


async def test_the_same_wish_gets_the_same_answer_and_one_effect(world: World) -> None:
    clinic = await world.institution("champignac")
    await world.report(clinic, staffed=20, occupied=12)
    caller, draft = world.callers[clinic.id], world.offer_of(3)
    answers = await asyncio.gather(*(world.people.offers.publish(caller, clinic.id, draft, WISH) for _ in range(8)))
    assert len(set(answers)) == 1
    assert await world.workers.database.pool.fetchval("select count(*) from sharewell.offer") == 1
    assert await world.workers.database.pool.fetchval(
        "select count(*) from audit.decision where kind = 'offer.published'"
    ) == 1  # fmt: skip


async def test_the_answer_is_the_one_given_then_even_if_the_offer_changed_since(world: World) -> None:
    clinic = await world.institution("champignac")
    await world.report(clinic, staffed=20, occupied=12)
    caller, draft = world.callers[clinic.id], world.offer_of(3)
    first = await world.people.offers.publish(caller, clinic.id, draft, WISH)
    await world.people.offers.withdraw(caller, first.subject.id)
    assert await world.people.offers.publish(caller, clinic.id, draft, WISH) == first


async def test_a_key_used_for_something_else_is_a_clear_conflict(world: World) -> None:
    clinic = await world.institution("champignac")
    await world.report(clinic, staffed=20, occupied=12)
    caller = world.callers[clinic.id]
    await world.people.offers.publish(caller, clinic.id, world.offer_of(3), WISH)
    other = Wish(key="k-1", operation="publishOffer", input_sha256="bb" * 32)
    with pytest.raises(IdempotencyConflict):
        await world.people.offers.publish(caller, clinic.id, world.offer_of(4), other)


async def test_a_wish_that_failed_may_be_tried_again_under_its_key(world: World) -> None:
    clinic = await world.institution("champignac")
    caller, draft = world.callers[clinic.id], world.offer_of(3)
    with pytest.raises(Conflict):
        await world.people.offers.publish(caller, clinic.id, draft, WISH)
    await world.report(clinic, staffed=20, occupied=12)
    assert (await world.people.offers.publish(caller, clinic.id, draft, WISH)).subject.quantity == 3


async def test_every_step_of_a_transfer_can_be_asked_for_again(world: World) -> None:
    giver, taker = await world.institution("champignac"), await world.institution("zyglotrop")
    await world.report(giver, staffed=30, occupied=10)
    await world.report(taker, staffed=10, occupied=10, waiting=5)
    await world.pledge(giver, 8)
    await world.ask(taker, 5)
    await allocate(JOB, world.workers)
    transfer = await world.workers.database.pool.fetchval("select id from sharewell.transfer")
    step = Wish(key="confirm", operation="confirmTransfer", input_sha256="cc" * 32)
    first = await world.people.transfers.confirm(world.callers[giver.id], transfer, step)
    assert await world.people.transfers.confirm(world.callers[giver.id], transfer, step) == first


async def test_a_report_of_several_resources_can_be_asked_for_again(world: World) -> None:
    clinic = await world.institution("champignac")
    drafts = [
        CapacityDraft(resource=code, as_of=world.at, staffed=9, occupied=3, marks={"occupied": Mark.IMPUTED})
        for code in ("bed.adult", "ventilator")
    ]
    wish = Wish(key="report", operation="reportCapacity", input_sha256="dd" * 32)
    first = await world.people.capacity.report(world.callers[clinic.id], clinic.id, drafts, wish)
    again = await world.people.capacity.report(world.callers[clinic.id], clinic.id, drafts, wish)
    assert again == first
