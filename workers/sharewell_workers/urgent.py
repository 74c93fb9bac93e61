"""The urgent job: one request of the highest urgency is answered at once, without waiting for the next run."""

from __future__ import annotations

import resource
import time
from typing import TYPE_CHECKING
from uuid import UUID

import structlog

from sharewell.domain.errors import StaleSnapshot
from sharewell.domain.urgent import measures, urgent_plan
from sharewell.wiring import worker_caller

if TYPE_CHECKING:
    from sharewell.wiring import Services
    from sharewell_workers.jobs import Job

log = structlog.get_logger(__name__)

MOST_TRIES = 20  #: each costs milliseconds, and of those who want the same units one succeeds every time


async def urgent(job: Job, services: Services) -> None:
    """Handle one job: payload `request`. A request that a plan has answered already is left alone.

    Raises `StaleSnapshot` where others took units in reach during every try; the runner starts the job again.
    """
    request = UUID(str(job.payload["request"]))
    caller = worker_caller("allocate", job.request_id)
    for attempt in range(1, MOST_TRIES + 1):
        began = time.monotonic()
        asked = await services.urgent.question(request)
        if asked is None:
            log.info("nothing to answer", request=str(request))
            return
        region, question = asked
        plan = urgent_plan(
            question,
            milliseconds=round((time.monotonic() - began) * 1000),
            peak_kilobytes=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss,
        )
        try:
            done = await services.urgent.adopt(
                caller, region=region, question=question, plan=plan, measures=measures(question, plan)
            )
        except StaleSnapshot as stale:
            log.info("urgent plan was stale", request=str(request), attempt=attempt, why=stale.message)
            continue
        log.info(
            "urgent request answered", request=str(request), allocation=str(done.subject.id),
            needed=done.subject.needed, assigned=done.subject.assigned,
        )  # fmt: skip
        return
    raise StaleSnapshot(f"units in reach of request {request} went to others during each of {MOST_TRIES} tries.")
