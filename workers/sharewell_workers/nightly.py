"""The nightly job: ask for a forecast and a plan for every resource that anybody reported, in every region."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import structlog

if TYPE_CHECKING:
    from sharewell.wiring import Services
    from sharewell_workers.jobs import Job

AFTER_FORECASTS = timedelta(minutes=10)  #: plans rest on the night's forecasts, so they wait for them

log = structlog.get_logger(__name__)


async def nightly(job: Job, services: Services) -> None:
    """Handle one job; its payload is empty. Asking twice is harmless: what waits already is not asked for again."""
    async with services.database.transaction() as tx:
        markets = await tx.capacity.markets(before=services.now())
        for resource in sorted({resource for _, resource in markets}):
            asked = {"resource": resource, "request_id": job.request_id}
            await tx.queue.enqueue("forecast", asked, key=resource)
        for region, resource in markets:
            asked = {"region": region, "resource": resource, "request_id": job.request_id}
            await tx.queue.enqueue("allocate", asked, key=f"{region}/{resource}", delay=AFTER_FORECASTS)
    log.info("nightly run asked for", markets=len(markets))
