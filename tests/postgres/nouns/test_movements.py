"""People moved to another place: their need stays where it arose, in the history that forecasts learn from."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING
from uuid import UUID

import pytest

from sharewell_workers.allocate import allocate
from sharewell_workers.jobs import Job
from sharewell_workers.outlook import panels_of

if TYPE_CHECKING:
    from tests.postgres.nouns.conftest import World

BEDS, VENTILATORS = "bed.adult", "ventilator"
NEWEST = UUID(int=2**128 - 1)
DAY = timedelta(days=1)


class Stay:
    """Five people of a full hospital whom a plan gives places in another, and both report every noon."""

    def __init__(self, world: World, resource: str) -> None:
        self.world, self.resource = world, resource

    async def plan(self) -> None:
        world = self.world
        self.giver, self.taker = (
            await world.institution("champignac"),
            await world.institution("zyglotrop", latitude=40.1),
        )
        await self.report(10, 10, waiting=5)
        await world.pledge(self.giver, 8, resource=self.resource, available_until=world.at + 9 * DAY)
        until = world.at + 5 * DAY
        await world.ask(self.taker, 5, resource=self.resource, needed_until=until)
        job = {"region": "us-nj", "resource": self.resource}
        await allocate(Job(id=1, name="allocate", payload=job, request_id="r-2", attempt=1), world.workers)
        page = await world.people.transfers.page(
            world.callers[self.giver.id], before=NEWEST, party=self.giver.id, state=None, allocation=None, first=9
        )
        (self.transfer,) = page.items

    async def report(self, giver: int, taker: int, *, waiting: int = 0) -> None:
        await self.world.report(self.giver, staffed=30, occupied=giver, resource=self.resource)
        await self.world.report(self.taker, staffed=10, occupied=taker, waiting=waiting, resource=self.resource)

    async def next_day(self, giver: int, taker: int, *steps: str) -> None:
        """Take steps in the morning, report at noon."""
        self.world.at += DAY / 2
        for step in steps:
            by = self.taker if step == "receive" else self.giver
            await getattr(self.world.people.transfers, step)(self.world.callers[by.id], self.transfer.id)
        self.world.at += DAY / 2
        await self.report(giver, taker)

    async def needs(self) -> tuple[list[tuple[int | None, int]], list[tuple[int | None, int]]]:
        """(reported, of others) by day at the giver and at the taker."""
        points = (await self.world.workers.forecasts.history(self.resource)).points
        by = {
            who.id: [(p.need, p.transferred) for p in points if p.institution == who.id]
            for who in (self.giver, self.taker)
        }
        return by[self.giver.id], by[self.taker.id]


@pytest.fixture
async def stay(world: World) -> Stay:
    made = Stay(world, BEDS)
    await made.plan()
    return made


async def test_guests_are_tagged_from_their_coming_and_the_absent_from_their_leaving_until_the_stay_ends(
    stay: Stay,
) -> None:
    await stay.next_day(10, 10, "confirm")
    await stay.next_day(10, 5, "dispatch")
    await stay.next_day(15, 5, "receive")
    await stay.next_day(10, 5, "give_back")
    giver, taker = await stay.needs()
    assert giver == [(10, 0), (10, 0), (10, 0), (15, 5), (10, 0)]
    assert taker == [(15, 0), (10, 0), (5, -5), (5, -5), (5, 0)]


async def test_demand_that_forecasts_learn_from_does_not_follow_the_move(stay: Stay) -> None:
    await stay.next_day(15, 10, "confirm", "dispatch", "receive")
    (panel,) = panels_of((await stay.world.workers.forecasts.history(BEDS)).points)
    by = {name: part["value"].to_list() for (name,), part in panel.frame.group_by("series")}
    assert by == {str(stay.giver.id): [10.0, 10.0], str(stay.taker.id): [15.0, 15.0]}
    assert panel.quality["movements"].to_list() == [1, 1]


async def test_a_stay_nobody_ends_counts_until_the_need_it_was_for_ends(stay: Stay) -> None:
    await stay.next_day(15, 10, "confirm", "dispatch", "receive")
    for _ in range(5):
        await stay.next_day(15, 10)
    giver, _ = await stay.needs()
    assert [moved for _, moved in giver] == [0, 5, 5, 5, 5, 0, 0]


async def test_what_was_known_before_the_move_says_nothing_of_it(stay: Stay) -> None:
    before = stay.world.at
    await stay.next_day(15, 10, "confirm", "dispatch", "receive")
    points = (await stay.world.workers.forecasts.history(BEDS, known_at=before)).points
    assert [point.transferred for point in points] == [0, 0]


async def test_a_lent_device_serves_the_borrowers_own_need(world: World) -> None:
    lent = Stay(world, VENTILATORS)
    await lent.plan()
    await lent.next_day(10, 15 - 5, "confirm", "dispatch", "receive")
    giver, taker = await lent.needs()
    assert [moved for _, moved in giver + taker] == [0, 0, 0, 0]
