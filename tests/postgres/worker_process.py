"""A worker in a process of its own, for tests that kill it. Its jobs write to a table what they do."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from datetime import timedelta
from typing import TYPE_CHECKING

from sharewell.settings import DatabaseRole, Settings
from sharewell.store.pools import open_pool
from sharewell_workers.jobs import Job, Work
from sharewell_workers.runner import Pace, Runner

if TYPE_CHECKING:
    from tests.conftest import Pool

NOTE = "insert into seen (job_id, worker, what) values ($1, $2, $3) on conflict do nothing"
#: A test that killed a worker says itself when the silence has been long enough, see `silent_for_long` there.
PACE = Pace(heartbeat=timedelta(minutes=2), poll=timedelta(seconds=0.3), grace=timedelta(seconds=0.5))


async def note(pool: Pool, job: Job, what: str) -> None:
    await pool.execute(NOTE, job.id, os.getpid(), what)


async def steady(job: Job, pool: Pool) -> None:
    """Wait until the test lets it go on, then note the effect, which the table takes once."""
    await note(pool, job, "started")
    while not await pool.fetchval("select exists (select from seen where what = 'go on')"):
        await asyncio.sleep(0.05)
    await note(pool, job, "done")
    await note(pool, job, "ended")


async def deadly(job: Job, pool: Pool) -> None:
    """Take the worker down, as a crash in native code or the out-of-memory killer would."""
    await note(pool, job, "started")
    os.kill(os.getpid(), signal.SIGKILL)


async def main() -> None:
    url = Settings.from_environment().role_urls[DatabaseRole.WORKER]
    async with open_pool(url, DatabaseRole.WORKER) as pool:
        work = {"steady": Work(handle=steady), "deadly": Work(handle=deadly)}
        runner = Runner(pool, work, pool, pace=PACE)
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, runner.stop)
        await runner.run()


if __name__ == "__main__":
    asyncio.run(main())
    sys.exit(0)
