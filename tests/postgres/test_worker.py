"""A whole worker, in this process: what it stands on is no work for Python's collector while it seals."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from sharewell.settings import DatabaseRole, Settings
from sharewell.store.audit import AuditRepository
from sharewell.store.server import DatabaseServer
from sharewell_workers.worker import SEAL, work

if TYPE_CHECKING:
    from tests.conftest import Pool

    from sharewell.domain.audit import Decision


async def test_a_worker_that_seals_has_the_collector_pass_over_what_it_stands_on_until_its_end(
    gateway_pool: Pool, database_urls: Mapping[DatabaseRole, str], a_decision: Callable[..., Decision], tmp_path: Path
) -> None:
    async with gateway_pool.acquire() as conn:
        await AuditRepository(conn).record(a_decision())  # type: ignore[arg-type]
    stopping = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        group.create_task(work(Settings(home=tmp_path), DatabaseServer(database_urls), [SEAL], stopping))
        while not await gateway_pool.fetchval("select exists (select from audit.leaf)"):
            await asyncio.sleep(0.05)
        frozen = gc.get_freeze_count()
        stopping.set()
    assert frozen > 10_000
    assert not gc.get_freeze_count()
