"""The nightly job: ask for a forecast and a plan for every resource that anybody reported, in every region."""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog

if TYPE_CHECKING:
    from sharewell.wiring import Services
    from sharewell_workers.jobs import Job

log = structlog.get_logger(__name__)


async def nightly(job: Job, services: Services) -> None:
    """Handle one job; its payload is empty. Asking twice is harmless: what waits already is not asked for again."""
    async with services.database.transaction() as tx:
        markets = await tx.capacity.markets(before=services.now())
        for region, resource in markets:
            payload = {"region": region, "resource": resource, "request_id": job.request_id}
            await tx.queue.enqueue("forecast", payload, key=f"{region}/{resource}")
            await tx.queue.enqueue("allocate", payload, key=f"{region}/{resource}")
    log.info("nightly run asked for", markets=len(markets))
