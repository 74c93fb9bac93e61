"""Plans that meet: of two for the same market one is adopted, and one that the world has left behind is made anew.

The moment of meeting is not left to chance: a transaction of the test holds the rows that both want to lock.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from tests.journeys.conftest import platform, until

from sharewell.cli.stage import LOG_FILE, Stage
from sharewell.client import ApiClient
from sharewell.domain.principals import Role
from sharewell.replay import operations
from sharewell.replay.panel import Load, Site
from sharewell.replay.player import Player, Window
from sharewell.store.embedded import SUPERUSER

START = datetime(2026, 3, 1, 6, tzinfo=UTC)
WINDOW = Window("today", START, START + timedelta(hours=18))
BEDS = "bed.adult"
MARKET = {"region": "palombia", "resource": BEDS}
#: Sessions that wait for an offer somebody else has locked.
WAITING = """
select count(*) from pg_stat_activity
 where wait_event_type = 'Lock' and query ~ 'sharewell\\.offer' and query ~ 'for update'
"""
PLANS = "query { allocations(first: 10) { nodes { id needed assigned } } }"


@dataclass
class Market:
    """A market of two givers and one who asks, on a real platform."""

    stage: Stage
    planner: ApiClient
    givers: list[Player]
    asker: Player
    hands: asyncpg.Connection[Any]  #: holds locks
    eyes: asyncpg.Connection[Any]  #: inside a transaction, activity stays as it was first seen
    runs: int = field(default=0)

    async def start_allocation(self) -> None:
        self.runs += 1
        asked = {"idempotencyKey": f"run {self.runs}", **MARKET}
        await self.planner.graphql(operations.START_ALLOCATION, {"input": asked})

    async def until_idle(self) -> None:
        async def idle() -> bool:
            state = await self.planner.graphql(operations.UNDERWAY)
            assert state["jobsSetAside"] == []
            return not any(job["name"] == "allocate" for job in state["jobsUnderway"])

        await until(idle)

    async def until_waiting(self, sessions: int) -> None:
        async def waiting() -> bool:
            return bool(await self.eyes.fetchval(WAITING) == sessions)

        await until(waiting)

    async def plans(self) -> list[dict[str, Any]]:
        """Adopted plans, the newest first."""
        nodes: list[dict[str, Any]] = (await self.planner.graphql(PLANS))["allocations"]["nodes"]
        return nodes

    @asynccontextmanager
    async def offers_locked(self) -> AsyncIterator[None]:
        """Nobody gets at the offers for the length of the block."""
        async with self.hands.transaction():
            await self.hands.execute("select from sharewell.offer for update")
            yield

    def logged(self, event: str) -> list[dict[str, Any]]:
        """Lines of the platform's log about `event`."""
        whole, _, _ = (self.stage.settings.home / LOG_FILE).read_text().rpartition("\n")
        return [entry for entry in map(json.loads, whole.splitlines()) if entry["event"] == event]

    async def until_there_is_a_worker(self) -> None:
        """It loads slowly, and a lock is waited for so long and no longer."""

        async def there() -> bool:
            return any("allocate" in line["jobs"] for line in self.logged("worker takes jobs"))

        await until(there)


@pytest.fixture
async def market(home: Path) -> AsyncIterator[Market]:
    async with platform(home) as stage:
        stage.set_clock(START)
        planner = await stage.client("planner", Role.ALLOCATOR)
        sites = [Site(code, code.title(), "palombia", 46.0, 7.0 + place / 10) for place, code in enumerate("xyz")]
        first, second, asker = (await stage.players(sites)).values()
        for giver, spare in ((first, 6), (second, 9)):
            await giver.report(START, 1, {BEDS: Load(40, 40 - spare - 2)})
            await giver.pledge(BEDS, spare, 0, WINDOW)
        await asker.report(START, 1, {BEDS: Load(10, 15)})
        await asker.ask(BEDS, 5, WINDOW, staffed=10, reason="SURGE")
        hands, eyes = [
            await asyncpg.connect(host=str(home / "postgres"), user=SUPERUSER, database="sharewell") for _ in range(2)
        ]
        market = Market(stage, planner, [first, second], asker, hands, eyes)
        await market.until_there_is_a_worker()
        yield market
        await hands.close()
        await eyes.close()


async def test_of_two_runs_at_once_one_plan_is_adopted(market: Market) -> None:
    async with market.offers_locked():
        await market.start_allocation()
        await market.until_waiting(1)  # the first run has its plan and wants to bind it
        await market.start_allocation()
        await market.until_waiting(2)
    await market.until_idle()
    plans = await market.plans()
    assert [(plan["needed"], plan["assigned"]) for plan in plans] == [(5, 5)]
    held = await market.asker.transfers("HELD")
    assert sum(transfer.quantity for transfer in held) == 5
    assert len(market.logged("plan adopted")) == 1
    assert len(market.logged("plan was stale")) == 1
    assert len(market.logged("nothing to allocate")) == 1  # the second run looked again, and all was answered


async def test_a_plan_that_rests_on_a_withdrawn_offer_is_refused_and_made_anew(market: Market) -> None:
    giver = market.givers[0]
    offer, _ = giver.pledged[BEDS]
    async with market.offers_locked():
        withdrawing = asyncio.create_task(giver.take_back_pledge(BEDS))
        await market.until_waiting(1)
        await market.start_allocation()  # its snapshot still shows the offer
        await market.until_waiting(2)  # and it is behind the withdrawal now
    await withdrawing
    await market.until_idle()
    (stale,) = market.logged("plan was stale")
    assert offer in stale["why"]
    (plan,) = await market.plans()
    assert plan["assigned"] == 5
    held = await market.asker.transfers("HELD")
    assert {transfer.giver for transfer in held} == {str(market.givers[1].institution)}
