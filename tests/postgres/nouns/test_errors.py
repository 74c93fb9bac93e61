"""What the database refuses reaches the caller as something to act on, never as an outage or a crash."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any
from uuid import UUID

import pytest

from sharewell.domain.errors import Invalid, NotFound, OfferExhausted
from sharewell.domain.reader import PLATFORM
from sharewell.store.database import Database

if TYPE_CHECKING:
    from tests.conftest import Pool
    from tests.postgres.nouns.conftest import World

NEWEST = UUID(int=2**128 - 1)
WEST, EAST = timezone(-timedelta(hours=12)), timezone(timedelta(hours=14))


@pytest.mark.parametrize(
    "said",
    [
        {"resource": "bed\x00"},
        {"resource": "bed\ud800"},
        {"available_until": datetime.max.replace(tzinfo=WEST)},
        {"available_from": datetime.min.replace(tzinfo=EAST)},
    ],
)
async def test_a_pledge_with_what_cannot_be_stored_is_invalid(world: World, said: dict[str, Any]) -> None:
    clinic = await world.institution("champignac")
    await world.report(clinic, staffed=20, occupied=12)
    with pytest.raises(Invalid):
        await world.pledge(clinic, 1, **said)


async def test_a_list_asked_for_with_what_cannot_be_stored_is_invalid(world: World) -> None:
    clinic = await world.institution("champignac")
    caller = world.callers[clinic.id]
    with pytest.raises(Invalid):
        await world.people.offers.page(
            caller, before=NEWEST, institution=None, resource="\x00", only_open=False, first=1
        )
    with pytest.raises(Invalid):
        async with world.people.database.transaction(reader=PLATFORM) as tx:
            await tx.queue.requeue(2**63)


async def test_what_is_not_there_is_not_found(world: World) -> None:
    clinic = await world.institution("champignac")
    caller, nobody = world.callers[clinic.id], UUID(int=7)
    services = world.people
    for find in (services.offers.get, services.requests.get, services.transfers.get, services.institutions.get):
        with pytest.raises(NotFound, match="has the id"):
            await find(caller, nobody)
    with pytest.raises(NotFound, match="catalogue has no"):
        await services.resources.get(caller, "bed.none")


async def test_a_pledge_that_only_the_database_can_see_through_is_a_conflict(gateway_pool: Pool) -> None:
    with pytest.raises(OfferExhausted, match="the offer is withdrawn"):
        async with Database(gateway_pool).transaction(reader=PLATFORM) as tx:
            await tx.conn.execute(
                "do $$ begin raise exception 'the offer is withdrawn' using errcode = 'SW003'; end $$"
            )


async def test_a_mistake_of_our_own_is_not_blamed_on_the_caller(gateway_pool: Pool) -> None:
    with pytest.raises(Exception, match="expected str, got int") as crash:
        async with Database(gateway_pool).transaction(reader=PLATFORM) as tx:
            await tx.offers.page(
                before=NEWEST, institution=None, resource=7, only_open=False,  # type: ignore[arg-type]
                at=datetime.now(UTC), first=1,
            )  # fmt: skip
    assert not isinstance(crash.value, Invalid)
