"""The seal worker: fold what was recorded into the log, sign its head, publish it, as long as the process lives.

Three things run side by side: sealing, which waits for nobody; publishing, which waits for witnesses; and reading the
whole log again now and then. Any of them that finds damage ends the process.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import asyncpg
import structlog
from prometheus_client import Counter, Gauge

from sharewell.audit import witnesses
from sharewell.audit.export import FolderUnusable
from sharewell.audit.fsck import fsck
from sharewell.audit.memory import check_memory
from sharewell.audit.publish import Publisher
from sharewell.audit.seal import Fenced, LogDamaged, Sequencer
from sharewell.audit.trust import own_policy

if TYPE_CHECKING:
    from sharewell.audit.keys import LogKeys
    from sharewell.settings import Settings

log = structlog.get_logger(__name__)

PAUSE = timedelta(milliseconds=200)  #: between two looks at what was recorded
PUBLISH_PAUSE = timedelta(seconds=1)  #: between two looks at what was signed
REREAD_PAUSE = timedelta(hours=6)  #: between two readings of the whole log

SEALED = Counter("sharewell_log_entries_total", "Entries folded into the audit log by this process.")
SIZE = Gauge("sharewell_log_size", "Entries in the audit log.")
PUBLISHED = Gauge("sharewell_log_published_size", "Entries under the checkpoint that was published last.")
COSIGNED = Gauge("sharewell_log_cosignatures", "Witnesses that cosigned the checkpoint that was published last.")
LOST_DATABASE = (
    OSError,
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,  # what asyncpg sometimes raises when the connection breaks under a statement
)


async def keep_log(
    stopping: asyncio.Event, pool: asyncpg.Pool[Any], keys: LogKeys, settings: Settings
) -> None:
    """Seal, publish and reread until `stopping` is set.

    Raises `LogDamaged` (`LogBehind` and `LogForked` among it) or `WrongKey`, and then nothing is signed any more.
    """
    policy = own_policy(settings.log_policy, settings.home)
    async with witnesses.client() as http, asyncio.TaskGroup() as group:

        async def look() -> None:
            ours = keys.signer.key
            await check_memory(
                pool, http, origin=ours.name, keys=[ours], policy=policy, folder=settings.log_export
            )  # fmt: skip
            if not looked.is_set():
                await reread(pool)
                looked.set()

        looked = asyncio.Event()
        sequencer = Sequencer(pool, keys.signer, keys.quantum, handover=keys.handover, look=look)
        publisher = Publisher(pool, http, policy=policy, folder=settings.log_export)
        group.create_task(seal_until(stopping, sequencer))
        group.create_task(_until(stopping, PUBLISH_PAUSE, lambda: _publish(publisher)))
        group.create_task(_until(stopping, REREAD_PAUSE, lambda: reread(pool), at_once=False))


async def reread(pool: asyncpg.Pool[Any]) -> None:
    """Read the whole log again. Raises `LogDamaged`, naming what was found, if anything does not fit."""
    async with pool.acquire() as conn:
        looked = await fsck(conn, most=3)  # type: ignore[arg-type]  # the proxy has every method of a connection
    if looked.damages:
        named = "; ".join(map(str, looked.damages))
        raise LogDamaged(f"The log is damaged: {named}. Nothing is signed; `sharewell log fsck` names all of it.")


async def _publish(publisher: Publisher) -> None:
    published = await publisher.publish()
    if not published.size:
        return  # nothing is signed yet, or another process publishes
    PUBLISHED.set(published.size)
    COSIGNED.set(published.cosigned)
    if published.files:
        log.debug("published", size=published.size, cosigned=published.cosigned, quorum=published.quorum)


async def _until(
    stopping: asyncio.Event, pause: timedelta, act: Callable[[], Awaitable[None]], *, at_once: bool = True
) -> None:
    """Do `act` again and again until `stopping` is set; while the database or the folder is away, waits for it."""
    while not stopping.is_set():
        if at_once:
            try:
                await act()
            except FolderUnusable as why:
                log.warning("the exported log cannot be read or written", why=why.message)
            except LOST_DATABASE as why:
                log.warning("sequencer lost the database", error=f"{type(why).__name__}: {why}")
        at_once = True
        with suppress(TimeoutError):
            await asyncio.wait_for(stopping.wait(), pause.total_seconds())


async def seal_until(stopping: asyncio.Event, sequencer: Sequencer, pause: timedelta = PAUSE) -> None:
    """Seal until `stopping` is set. While the database or the exported folder is away, waits for it.

    Raises `LogDamaged` or `WrongKey`: nothing may be signed then until a person has looked, so the process ends.
    """
    while not stopping.is_set():
        try:
            sealed = await sequencer.seal()
        except Fenced:
            log.info("another sequencer was first")
        except FolderUnusable as why:  # what it remembers cannot be asked, so nothing is signed
            log.warning("the exported log cannot be read or written", why=why.message)
        except LOST_DATABASE as why:
            log.warning("sequencer lost the database", error=f"{type(why).__name__}: {why}")
        else:
            SIZE.set(sealed.size)
            SEALED.inc(sealed.entries)
            if sealed.entries:
                log.debug("sealed", entries=sealed.entries, size=sealed.size)
        with suppress(TimeoutError):
            await asyncio.wait_for(stopping.wait(), pause.total_seconds())
