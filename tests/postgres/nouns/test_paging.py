"""Lists page by page while others go on writing: what was there at the start is seen once, in order, and whole."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from uuid import UUID

import pytest

from sharewell.domain.reader import PLATFORM
from sharewell.store.audit import DecisionFilter
from sharewell.wiring import operator

if TYPE_CHECKING:
    from tests.postgres.nouns.conftest import World

    from sharewell.store.database import Transaction
    from sharewell.store.paging import Page

OLDEST, NEWEST = UUID(int=0), UUID(int=2**128 - 1)
BEDS = "bed.adult"
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


@dataclass(frozen=True)
class Listing:
    """How one list is read and how it grows."""

    start: UUID
    read: Callable[[Transaction, UUID, int], Awaitable[Page[Any]]]
    grow: Callable[[World, int], Awaitable[object]]


async def _report(world: World, number: int) -> None:
    await world.report(await _clinic(world), staffed=1000 + number, occupied=0)


async def _pledge(world: World, number: int) -> None:
    await world.pledge(await _clinic(world), 1, minimum_kept=number % 3)


async def _ask(world: World, number: int) -> None:
    await world.ask(await _clinic(world), number % 9 + 1)


async def _register(world: World, number: int) -> None:
    await world.institution(f"clinic-{number}")


async def _clinic(world: World) -> Any:
    async with world.people.database.transaction(read_only=True, reader=PLATFORM) as tx:
        return await tx.institutions.by_code("champignac")


LISTS = {
    "capacity": Listing(
        NEWEST, lambda tx, at, n: tx.capacity.page(before=at, institution=None, resource=BEDS, first=n), _report
    ),
    "offers": Listing(
        NEWEST,
        lambda tx, at, n: tx.offers.page(before=at, institution=None, resource=BEDS, only_open=False, at=NOON, first=n),
        _pledge,
    ),
    "requests": Listing(
        NEWEST,
        lambda tx, at, n: tx.requests.page(before=at, institution=None, resource=None, status="open", first=n),
        _ask,
    ),
    "institutions": Listing(
        OLDEST, lambda tx, at, n: tx.institutions.page(after=at, region="us-nj", first=n), _register
    ),
    "decisions": Listing(NEWEST, lambda tx, at, n: tx.audit.page(before=at, matching=DecisionFilter(), first=n), _ask),
}


async def _walk(world: World, listing: Listing, chance: random.Random) -> list[UUID]:
    """Every id of the list, in pages of changing sizes, with time for others between them."""
    seen: list[UUID] = []
    at, more = listing.start, True
    while more:
        first = chance.choice([1, 2, 3, 7, 10])
        async with world.people.database.transaction(read_only=True, reader=PLATFORM) as tx:
            page = await listing.read(tx, at, first)
        seen += [item.id for item in page.items]
        assert len(page.items) == first if page.has_more else len(page.items) <= first
        at, more = seen[-1], page.has_more
        await asyncio.sleep(chance.choice([0, 0.001, 0.01]))
    return seen


async def _grown(world: World, listing: Listing, numbers: range) -> None:
    """Add so many, several at once, and no more than have a connection: on a slow machine others would wait in vain."""
    room = asyncio.Semaphore(6)

    async def one(number: int) -> None:
        async with room:
            await listing.grow(world, number)

    await asyncio.gather(*map(one, numbers))


@pytest.mark.parametrize("name", LISTS)
async def test_a_walk_through_a_growing_list_sees_all_that_was_there_once_and_in_order(world: World, name: str) -> None:
    listing, chance = LISTS[name], random.Random(name)
    await world.report(await world.institution("champignac"), staffed=1000, occupied=0)
    await _grown(world, listing, range(40))
    (there,) = await asyncio.gather(_walk(world, listing, chance))
    growth = asyncio.create_task(_grown(world, listing, range(100, 160)))
    walks = await asyncio.gather(*(_walk(world, listing, chance) for _ in range(4)))
    await growth
    for seen in (there, *walks):
        assert seen == sorted(set(seen), reverse=listing.start == NEWEST)
        assert set(there) <= set(seen)
    assert len(await _walk(world, listing, chance)) >= len(there) + 60


async def test_the_catalogue_is_paged_by_code_and_ends(world: World) -> None:
    codes, after, more = [], "", True
    while more:
        page = await world.people.resources.page(operator(), after=after, first=2)
        codes += [line.code for line in page.items]
        after, more = codes[-1], page.has_more
    assert codes == ["bed.adult", "icu.adult", "mask.n95", "nurse.icu", "ventilator"]


@pytest.mark.parametrize("first", [1, 5, 6])
async def test_a_page_says_whether_more_follow_even_at_the_very_end(world: World, first: int) -> None:
    page = await world.people.resources.page(operator(), after="", first=first)
    assert (len(page.items), page.has_more) == (min(first, 5), first < 5)
