"""The horizon job: draw the days ahead, solve with no database open, and adopt what the domain has checked."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import anyio.to_thread
import structlog

from sharewell.domain.errors import StaleSnapshot
from sharewell.domain.horizon_records import Terms
from sharewell.wiring import worker_caller
from sharewell_workers.solving import solve_horizon

if TYPE_CHECKING:
    from sharewell.wiring import Services
    from sharewell_workers.jobs import Job

log = structlog.get_logger(__name__)

MOST_TRIES = 3  #: horizons drawn before the job gives up for now and is tried again later


async def horizon(job: Job, services: Services) -> None:
    """Handle one job; payload: `region`, `resources`, `days`, `level`, `hold_days`, `seconds`.

    Done twice it looks ahead twice and holds nothing twice: what the first held is under way in the second. Raises
    `StaleSnapshot` where the world moved on during every try.
    """
    told = job.payload
    region, resources = str(told["region"]), [str(name) for name in told["resources"]]
    terms = Terms(days=int(told["days"]), level=int(told["level"]), hold_days=int(told["hold_days"]))
    # The run is one of the allocator: what may adopt a plan may adopt a schedule.
    caller = worker_caller("allocate", job.request_id)
    for attempt in range(1, MOST_TRIES + 1):
        drawn = await services.horizons.draw(region, resources, terms)
        if drawn is None or await services.horizons.answered(drawn.horizon):
            log.info("nothing to schedule", region=region, resources=resources)
            return
        # Solving holds the interpreter for long; in a thread the worker still answers its heartbeat.
        schedule = await anyio.to_thread.run_sync(partial(solve_horizon, drawn.horizon, seconds=float(told["seconds"])))
        try:
            done = await services.horizons.adopt(caller, drawn, schedule)
        except StaleSnapshot as stale:
            log.info("schedule was stale", region=region, resources=resources, attempt=attempt, why=stale.message)
            continue
        log.info(
            "schedule adopted", region=region, resources=resources, horizon=str(done.subject.id),
            moved=sum(row.units for row in schedule.shipments), milliseconds=schedule.search.milliseconds,
        )  # fmt: skip
        return
    raise StaleSnapshot(f"what is offered or asked for in {region} changed during each of {MOST_TRIES} tries.")
