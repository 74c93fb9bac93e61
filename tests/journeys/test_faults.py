"""Kill what can be killed in the middle of a replay: nothing acknowledged is lost, nothing happens twice."""

from __future__ import annotations

import asyncio
from datetime import date
from pathlib import Path

import pytest

from sharewell.audit.reconcile import reconcile
from sharewell.cli.evidence import take_evidence
from sharewell.domain.principals import Role
from sharewell.replay.ledger import Ledger
from sharewell.replay.panel import Panel
from tests.journeys.conftest import database, playing, process


@pytest.mark.timeout(280)
async def test_a_replay_survives_the_death_of_gateway_worker_and_database(home: Path, region: Panel) -> None:
    async with playing(home, region) as (stage, journey):
        victims = iter(["worker", "serve", "postgres", "worker"])

        async def strike() -> None:
            """In the middle of the next period, whatever it is at."""
            await asyncio.sleep(0.4)
            victim = next(victims, None)
            if victim is not None:
                (database(home) if victim == "postgres" else process(victim)).kill()

        strikes: list[asyncio.Task[None]] = []

        def told(_: date, __: Ledger) -> None:
            strikes.append(asyncio.create_task(strike()))

        journey.told = told
        ledger = await journey.play()
        await asyncio.gather(*strikes)
        regulator = await stage.client("regulator", Role.REGULATOR)
        await take_evidence(regulator, "plan.adopted", home)

        pool = stage.services.database.pool
        # Every report that was acknowledged is there, and none twice.
        assert await pool.fetchval("select count(*) from sharewell.capacity_report") == len(region.loads)
        assert await pool.fetchval(
            "select count(*) from (select from sharewell.capacity_report group by institution_id, resource, as_of) r"
        ) == len(region.loads)  # fmt: skip
        # Every unit that a player saw move is on record as moved, once.
        assert await pool.fetchval(
            "select coalesce(sum(quantity), 0) from sharewell.transfer where state in ('received', 'returned')"
        ) == sum(ledger.given.values())  # fmt: skip
        assert sum(ledger.given.values()) > 0
        assert ledger.figures()["donors_worse_off"] == 0
        async with pool.acquire() as conn:
            found = await reconcile(conn)
        assert found.complete, found.problems
