"""Runs of ten resources are spread over two worker processes by the queue, and each is adopted once."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from sharewell.domain.principals import Caller
from sharewell.domain.reader import PLATFORM
from sharewell.domain.resources import Resource, ResourceKind
from sharewell.wiring import operator

if TYPE_CHECKING:
    from tests.conftest import Pool
    from tests.postgres.nouns.conftest import World

CODES = [f"drug.{number}" for number in range(10)]


async def _ten_markets(world: World) -> None:
    """One giver and one taker of each of ten resources, and a run that is due for each."""
    giver, taker = await world.institution("champignac"), await world.institution("zyglotrop", latitude=40.1)
    admin: Caller = operator()
    for code in CODES:
        line = Resource(code=code, kind=ResourceKind.PLACE, name=code, unit="{bed}", standard_code="")
        await world.people.resources.define(admin, line)
        await world.report(giver, staffed=9, occupied=1, resource=code)
        await world.pledge(giver, 4, resource=code)
        await world.report(taker, staffed=5, occupied=5, waiting=3, resource=code)
        await world.ask(taker, 3, resource=code)
    async with world.people.database.transaction(reader=PLATFORM) as tx:
        for code in CODES:
            await tx.queue.enqueue("allocate", {"region": "us-nj", "resource": code}, key=f"us-nj/{code}")


async def _until(pool: Pool, condition: str) -> None:
    while not await pool.fetchval(f"select {condition}"):
        await asyncio.sleep(0.05)


async def test_ten_resources_are_planned_by_two_workers_at_the_same_time(
    world: World, migrator_pool: Pool, database_environment: Mapping[str, str]
) -> None:
    world.at = datetime.now(UTC)  # the workers are real ones, with the clock of the machine
    await _ten_markets(world)
    command = [sys.executable, "-m", "sharewell.cli", "worker", "--jobs", "allocate"]
    async with migrator_pool.acquire() as conn:
        held = conn.transaction()
        await held.start()
        await conn.execute("set local idle_in_transaction_session_timeout = 0")  # workers may take long to start
        # No run can end before this transaction does, so what one worker has no place for the other must take.
        await conn.execute("lock table sharewell.allocation in access exclusive mode")
        environment, quiet = dict(database_environment), subprocess.DEVNULL
        workers = [subprocess.Popen(command, env=environment, stdout=quiet, stderr=quiet) for _ in range(2)]
        try:
            await _until(migrator_pool, "count(distinct worker) = 2 from queue.job_start")
            await held.commit()
            await _until(migrator_pool, "count(*) = 10 from sharewell.allocation")
            await _until(migrator_pool, "count(*) = 0 from queue.pgqueuer where entrypoint = 'allocate'")
        finally:
            for worker in workers:
                worker.kill()
                worker.wait()
    assert await migrator_pool.fetchval("select count(distinct resource) from sharewell.allocation") == 10
    assert await migrator_pool.fetchval("select sum(promised) from sharewell.offer") == 30
