"""Run by test_crashes.py as processes of their own, to be killed: a writer, and a sequencer that stops at a step.

`crash_process.py writer URL`: commits five decisions, leaves a sixth open, says so, and commits it when told to.
`crash_process.py sequencer URL FOLDER STEP`: seals and publishes, stops at STEP, says so, and goes on when told to.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable, Coroutine
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import asyncpg
from uuid_utils.compat import uuid7

from sharewell.audit.keys import LogKey
from sharewell.audit.publish import Publisher
from sharewell.audit.seal import Sequencer
from sharewell.audit.witnesses import client
from sharewell.domain.audit import Decision
from sharewell.store.audit import AuditRepository
from sharewell.store.log import LogRepository

KEY = LogKey.from_seed("log.example/2026", bytes(range(32)))
#: Step -> whose method is stopped, and whether before or after it did its work.
STEPS: dict[str, tuple[type, str, bool]] = {
    "before commit": (LogRepository, "add_head", True),
    "after commit before signing": (Sequencer, "_sign", False),
    "after signing before publishing": (Publisher, "publish", False),
    "after publishing": (Publisher, "publish", True),
}


async def told() -> None:
    """Say that we are there, and wait to be told to go on."""
    sys.stdout.write("there\n")
    sys.stdout.flush()
    await asyncio.to_thread(sys.stdin.readline)


def stop_at(step: str) -> None:
    kind, name, after = STEPS[step]
    real: Callable[..., Awaitable[Any]] = getattr(kind, name)

    async def stopping(self: Any, *args: Any) -> Any:
        setattr(kind, name, real)  # once is enough
        if not after:
            await told()
        found = await real(self, *args)
        if after:
            await told()
        return found

    setattr(kind, name, stopping)


async def sequencer(url: str, folder: str, step: str) -> None:
    stop_at(step)
    async with asyncpg.create_pool(url, min_size=1, max_size=2) as pool, client() as http:
        await Sequencer(pool, KEY).seal()
        await Publisher(pool, http, folder=Path(folder)).publish()


def a_decision(actor: str) -> Decision:
    return Decision(
        id=uuid7(), kind="offer.published", at=datetime.now(UTC), actor=actor, institution=None, action="publishOffer",
        outcome="allowed", policy_set="", policies=(), subject_kind="offer", subject_id="1", request_id="r",
        nonce="0" * 32,
    )  # fmt: skip


async def writer(url: str) -> None:
    conn = await asyncpg.connect(url)
    for n in range(5):
        async with conn.transaction():
            await AuditRepository(conn).record(a_decision(f"committed {n}"))
    async with conn.transaction():
        await AuditRepository(conn).record(a_decision("open"))
        await told()


if __name__ == "__main__":
    role, *arguments = sys.argv[1:]
    roles: dict[str, Callable[..., Coroutine[Any, Any, None]]] = {"writer": writer, "sequencer": sequencer}
    asyncio.run(roles[role](*arguments))
