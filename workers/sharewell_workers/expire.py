"""The expire job: end what is over (holds nobody answered, loans, requests, surge modes), find what was not done."""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog

from sharewell.wiring import worker_caller

if TYPE_CHECKING:
    from sharewell.wiring import Services
    from sharewell_workers.jobs import Job

log = structlog.get_logger(__name__)


async def expire(job: Job, services: Services) -> None:
    """Handle one job; its payload is empty. What is done already is not done again."""
    caller = worker_caller("expire", job.request_id)
    changed = await services.transfers.sweep(caller)
    changed += await services.surges.sweep(caller)
    deviations = await services.deviations.sweep(caller)
    if changed or deviations:
        log.info("holds, loans, requests and surge modes ended", changed=changed, deviations=deviations)
