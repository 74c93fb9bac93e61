"""What may be pledged, and that no unit is promised or pledged twice, whoever tries."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING

import asyncpg
import pytest
from uuid_utils.compat import uuid7

from sharewell.domain.errors import Conflict, Forbidden, Invalid
from sharewell.domain.institutions import InstitutionStatus
from sharewell.domain.offers import OfferStatus
from sharewell.domain.reader import PLATFORM
from sharewell.wiring import operator
from sharewell_workers.allocate import allocate
from sharewell_workers.jobs import Job

if TYPE_CHECKING:
    from tests.postgres.nouns.conftest import World

JOB = Job(id=1, name="allocate", payload={"region": "us-nj", "resource": "bed.adult"}, request_id="r-2", attempt=1)


async def test_what_is_free_can_be_pledged(world: World) -> None:
    clinic = await world.institution("champignac")
    await world.report(clinic, staffed=20, occupied=12, blocked=1)
    offer = await world.pledge(clinic, 5, minimum_kept=2)
    assert (offer.remaining, offer.minimum_kept) == (5, 2)


async def test_nothing_can_be_pledged_before_anything_is_reported(world: World) -> None:
    clinic = await world.institution("champignac")
    with pytest.raises(Conflict, match="report what you have"):
        await world.pledge(clinic, 1)


async def test_the_minimum_that_is_kept_comes_out_of_what_is_free(world: World) -> None:
    clinic = await world.institution("champignac")
    await world.report(clinic, staffed=20, occupied=12)
    with pytest.raises(Conflict, match="6 offered and 3 kept are more than the 8 units"):
        await world.pledge(clinic, 6, minimum_kept=3)


async def test_the_same_units_cannot_be_pledged_in_two_offers_at_once(world: World) -> None:
    clinic = await world.institution("champignac")
    await world.report(clinic, staffed=20, occupied=12)
    tries = await asyncio.gather(*(world.pledge(clinic, 5) for _ in range(6)), return_exceptions=True)
    assert sum(not isinstance(t, BaseException) for t in tries) == 1
    assert all(isinstance(t, Conflict) for t in tries if isinstance(t, BaseException))


async def test_windows_that_do_not_overlap_may_pledge_the_same_units(world: World) -> None:
    clinic = await world.institution("champignac")
    await world.report(clinic, staffed=20, occupied=12)
    tomorrow = world.at + timedelta(days=2)
    await world.pledge(clinic, 8)
    await world.pledge(clinic, 8, available_from=tomorrow, available_until=tomorrow + timedelta(days=1))


async def test_a_window_that_ends_before_it_begins_is_refused_by_field(world: World) -> None:
    clinic = await world.institution("champignac")
    await world.report(clinic, staffed=20, occupied=12)
    with pytest.raises(Invalid) as refused:
        await world.pledge(clinic, 1, available_until=world.at - timedelta(hours=1))
    assert refused.value.field == "availableUntil"


async def test_nobody_pledges_for_another_institution_and_the_attempt_is_on_record(world: World) -> None:
    clinic, other = await world.institution("champignac"), await world.institution("zyglotrop")
    await world.report(clinic, staffed=20, occupied=12)
    with pytest.raises(Forbidden):
        await world.people.offers.publish(world.callers[other.id], clinic.id, world.offer_of(1))
    refused = await world.workers.database.pool.fetch(
        "select actor, action from audit.decision where outcome = 'refused'"
    )
    assert [tuple(row) for row in refused] == [("zyglotrop-client", "publishOffer")]


async def test_a_withdrawn_offer_stays_withdrawn(world: World) -> None:
    clinic = await world.institution("champignac")
    await world.report(clinic, staffed=20, occupied=12)
    offer = await world.pledge(clinic, 5)
    done = await world.people.offers.withdraw(world.callers[clinic.id], offer.id)
    assert done.subject.status is OfferStatus.WITHDRAWN
    with pytest.raises(Conflict, match="withdrawn already"):
        await world.people.offers.withdraw(world.callers[clinic.id], offer.id)


async def test_what_a_withdrawn_offer_has_promised_cannot_be_pledged_again(world: World) -> None:
    giver, taker = await world.institution("champignac"), await world.institution("zyglotrop")
    await world.report(giver, staffed=20, occupied=12)
    await world.report(taker, staffed=10, occupied=10, waiting=5)
    offer = await world.pledge(giver, 8)
    await world.ask(taker, 5)
    await allocate(JOB, world.workers)
    await world.people.offers.withdraw(world.callers[giver.id], offer.id)
    with pytest.raises(Conflict, match="more than the 3 units"):
        await world.pledge(giver, 4)
    assert (await world.pledge(giver, 3)).remaining == 3


async def test_a_suspended_institution_cannot_pledge(world: World) -> None:
    clinic = await world.institution("champignac")
    await world.report(clinic, staffed=20, occupied=12)
    await world.people.institutions.set_status(operator(), clinic.id, InstitutionStatus.SUSPENDED)
    with pytest.raises(Forbidden):
        await world.pledge(clinic, 1)


async def test_the_database_itself_refuses_a_pledge_beyond_what_is_free(world: World) -> None:
    clinic = await world.institution("champignac")
    await world.report(clinic, staffed=20, occupied=12)
    offer = await world.pledge(clinic, 8)
    with pytest.raises(asyncpg.PostgresError) as refused:
        async with world.people.database.pool.acquire() as conn, conn.transaction():
            await conn.execute("select set_config('sharewell.reader', $1, true)", PLATFORM)
            await conn.execute(
                """insert into sharewell.offer select $2, institution_id, resource, 1, 0, 0, available_from,
                   available_until, lot, expires_on, status, published_at,
                   (select id from audit.decision where kind = 'resource.defined' limit 1), changed_by
                   from sharewell.offer where id = $1""",
                offer.id,
                uuid7(),
            )
    assert refused.value.sqlstate == "SW001"
