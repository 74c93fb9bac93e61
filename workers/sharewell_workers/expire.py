"""The expire job: end holds nobody answered, call in loans that are due, close requests whose time is over."""

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
    changed = await services.transfers.sweep(worker_caller("expire", job.request_id))
    if changed:
        log.info("holds, loans and requests ended", changed=changed)
