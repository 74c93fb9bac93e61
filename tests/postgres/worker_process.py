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
PACE = Pace(heartbeat=timedelta(seconds=1.5), poll=timedelta(seconds=0.3), grace=timedelta(seconds=0.5))


async def note(pool: Pool, job: Job, what: str) -> None:
    await pool.execute(NOTE, job.id, os.getpid(), what)


async def steady(job: Job, pool: Pool) -> None:
    """Do something in small steps, then note the effect, which the table takes once."""
    await note(pool, job, "started")
    await asyncio.sleep(job.payload.get("seconds", 0))
    await note(pool, job, "done")


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
