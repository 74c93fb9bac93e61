"""One worker process: which jobs it runs, what the clock asks for, and whether it seals the log."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from sharewell.audit.keys import load_or_create_keys
from sharewell.collector import spared
from sharewell.settings import DatabaseRole
from sharewell.store.pools import open_pool
from sharewell.wiring import open_services
from sharewell_workers.allocate import allocate
from sharewell_workers.expire import expire
from sharewell_workers.forecast import forecast
from sharewell_workers.horizon import horizon
from sharewell_workers.ingest import ingest
from sharewell_workers.jobs import Schedule, Work
from sharewell_workers.nightly import nightly
from sharewell_workers.reconcile import reconcile
from sharewell_workers.retain import retain
from sharewell_workers.runner import Runner
from sharewell_workers.seal import keep_log
from sharewell_workers.urgent import urgent

if TYPE_CHECKING:
    from sharewell.settings import Settings
    from sharewell.store.server import DatabaseServer
    from sharewell.wiring import Services

SEAL = "seal"  #: not a job of the queue: the sequencer runs all the time

WORK: Mapping[str, Work[Services]] = {
    "allocate": Work(handle=allocate),
    "expire": Work(handle=expire, at_once=1),
    "forecast": Work(handle=forecast, at_once=2),
    "horizon": Work(handle=horizon, at_once=1),
    "ingest": Work(handle=ingest, at_once=1),
    "nightly": Work(handle=nightly, at_once=1),
    "reconcile": Work(handle=reconcile, at_once=1),
    "retain": Work(handle=retain, at_once=1),
    "urgent": Work(handle=urgent),
}
#: What never waits for a place behind other jobs.
AT_ONCE = frozenset({"urgent"})
SCHEDULES = (
    Schedule(cron="0 2 * * *", job="nightly"),
    Schedule(cron="* * * * *", job="expire"),
    Schedule(cron="30 3 * * *", job="retain"),
    Schedule(cron="0 4 * * *", job="reconcile"),
)
NAMES = (*sorted(WORK), SEAL)


async def work(settings: Settings, server: DatabaseServer, names: Sequence[str], stopping: asyncio.Event) -> None:
    """Run the jobs called `names` until `stopping` is set; then end in order.

    Raises `LogDamaged` or `WrongKey` where the log must not be signed.
    """
    jobs = {name: WORK[name] for name in names if name != SEAL}
    with spared():
        async with asyncio.TaskGroup() as group:
            if jobs:
                group.create_task(_run_jobs(settings, server, jobs, stopping))
            if SEAL in names:
                group.create_task(_seal(settings, server, stopping))


async def _run_jobs(
    settings: Settings, server: DatabaseServer, jobs: Mapping[str, Work[Services]], stopping: asyncio.Event
) -> None:
    async with open_services(settings, server, DatabaseRole.WORKER) as services:
        runners = [
            Runner(
                pool=services.database.pool, work=work, services=services,
                schedules=[schedule for schedule in SCHEDULES if schedule.job in work],
            )
            for work in _apart(jobs) if work
        ]  # fmt: skip
        async with asyncio.TaskGroup() as group:
            for runner in runners:
                group.create_task(runner.run())
            await stopping.wait()
            for runner in runners:
                runner.stop()


def _apart(jobs: Mapping[str, Work[Services]]) -> tuple[Mapping[str, Work[Services]], Mapping[str, Work[Services]]]:
    """Jobs that are done at once, and all others: each have places of their own in every worker."""
    return (
        {name: work for name, work in jobs.items() if name in AT_ONCE},
        {name: work for name, work in jobs.items() if name not in AT_ONCE},
    )


async def _seal(settings: Settings, server: DatabaseServer, stopping: asyncio.Event) -> None:
    keys = load_or_create_keys(settings.home, settings.log_origin)
    url = server.url(DatabaseRole.SEQUENCER)
    async with open_pool(url, DatabaseRole.SEQUENCER, most=3) as pool:
        await keep_log(stopping, pool, keys, settings)
