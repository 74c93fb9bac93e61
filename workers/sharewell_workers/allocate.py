"""The allocate job: snapshot, solve with no database open, and adopt what the domain has checked."""

from __future__ import annotations

import threading
from functools import partial
from typing import TYPE_CHECKING

import anyio.to_thread
import structlog

from sharewell.domain.errors import StaleSnapshot
from sharewell.domain.fairness import measures
from sharewell.wiring import worker_caller
from sharewell_workers.solving import Memory, cores, solve

if TYPE_CHECKING:
    from sharewell.domain.allocation import Instance, Plan
    from sharewell.wiring import Services
    from sharewell_workers.jobs import Job

log = structlog.get_logger(__name__)

_PLACES = threading.BoundedSemaphore(cores())  # for searches in this process: what bounds its memory
MOST_TRIES = 5  #: snapshots taken before the job gives up for now and is tried again later


async def allocate(job: Job, services: Services) -> None:
    """Handle one job: payload `region` and `resource`. Doing it twice adopts once.

    Raises `StaleSnapshot` where the world moved on during every try; the runner starts the job again later.
    """
    region, resource = str(job.payload["region"]), str(job.payload["resource"])
    caller = worker_caller("allocate", job.request_id)
    memory = Memory()  # when the market moves on meanwhile, the next plan is found from this one
    for attempt in range(1, MOST_TRIES + 1):
        instance = await services.allocations.snapshot(region, resource)
        if instance is None or await services.allocations.answered(instance):
            log.info("nothing to allocate", region=region, resource=resource)
            return
        # Solving holds the interpreter for long; in a thread the worker still answers its heartbeat.
        plan = await anyio.to_thread.run_sync(partial(_solve, instance, memory))
        try:
            done = await services.allocations.adopt(
                caller, region=region, instance=instance, plan=plan, measures=measures(instance, plan)
            )
        except StaleSnapshot as stale:
            log.info("plan was stale", region=region, resource=resource, attempt=attempt, why=stale.message)
            continue
        log.info(
            "plan adopted", region=region, resource=resource, allocation=str(done.subject.id),
            needed=done.subject.needed, assigned=done.subject.assigned, milliseconds=plan.solver.milliseconds,
        )  # fmt: skip
        return
    raise StaleSnapshot(f"the market for {resource} in {region} changed during each of {MOST_TRIES} tries.")


def _solve(instance: Instance, memory: Memory) -> Plan:
    with _PLACES:
        return solve(instance, processes=cores(), memory=memory)
