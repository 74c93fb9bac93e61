"""The retain job: every night, erase the persons whose time is over."""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog

from sharewell.wiring import worker_caller

if TYPE_CHECKING:
    from sharewell.wiring import Services
    from sharewell_workers.jobs import Job

log = structlog.get_logger(__name__)


async def retain(job: Job, services: Services) -> None:
    """Handle one job; its payload is empty. What is done already is not done again."""
    if erased := await services.subjects.sweep(worker_caller("retain", job.request_id)):
        log.info("persons erased, their time was over", erased=erased)
