"""The ingest job: take in a published file that waits in the inbox, as a person would with the command line."""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog

from sharewell.exchange.inbox import Inbox
from sharewell.wiring import worker_caller

if TYPE_CHECKING:
    from sharewell.wiring import Services
    from sharewell_workers.jobs import Job

log = structlog.get_logger(__name__)


async def ingest(job: Job, services: Services) -> None:
    """Handle one job; payload: `format`, `sha256`, `name`, and `locations_sha256` where a format takes locations.

    A file that is refused sets the job aside with its row and column. Doing it twice takes the file in once.
    """
    inbox = Inbox(services.settings.home)
    locations = str(job.payload.get("locations_sha256", ""))
    done = await services.feeds.ingest(
        worker_caller("ingest", job.request_id),
        str(job.payload["format"]),
        inbox.read(str(job.payload["sha256"])),
        name=str(job.payload.get("name", "")),
        locations=inbox.read(locations) if locations else None,
    )
    feed = done.feed
    log.info(
        "feed was taken in before" if done.repeated else "feed ingested", format=feed.format, sha256=feed.sha256,
        reports=feed.reports_new, corrected=feed.reports_corrected, unchanged=feed.reports_unchanged,
    )  # fmt: skip
