"""The seal worker: fold what was recorded into the log, sign its head, and again, as long as the process lives."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from datetime import timedelta
from typing import TYPE_CHECKING

import asyncpg
import structlog
from prometheus_client import Counter, Gauge

from sharewell.audit.seal import Fenced

if TYPE_CHECKING:
    from sharewell.audit.seal import Sequencer

log = structlog.get_logger(__name__)

PAUSE = timedelta(milliseconds=200)  #: between two looks at what was recorded
SEALED = Counter("sharewell_log_entries_total", "Entries folded into the audit log by this process.")
SIZE = Gauge("sharewell_log_size", "Entries in the audit log.")
LOST_DATABASE = (
    OSError,
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,  # what asyncpg sometimes raises when the connection breaks under a statement
)


async def seal_until(stopping: asyncio.Event, sequencer: Sequencer, pause: timedelta = PAUSE) -> None:
    """Seal until `stopping` is set. While the database is away, waits for it.

    Raises `LogDamaged` or `WrongKey`: nothing may be signed then until a person has looked, so the process ends.
    """
    while not stopping.is_set():
        try:
            sealed = await sequencer.seal()
        except Fenced:
            log.info("another sequencer was first")
        except LOST_DATABASE as why:
            log.warning("sequencer lost the database", error=f"{type(why).__name__}: {why}")
        else:
            SIZE.set(sealed.size)
            SEALED.inc(sealed.entries)
            if sealed.entries:
                log.debug("sealed", entries=sealed.entries, size=sealed.size)
        with suppress(TimeoutError):
            await asyncio.wait_for(stopping.wait(), pause.total_seconds())
