"""Connection pools: one for each role a process works under, with limits, and never as a superuser."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import asyncpg

from sharewell.settings import DatabaseRole
from sharewell.store.embedded import ServerError

SEARCH_PATH = "sharewell, queue"
CLOSE_SECONDS = 10
ANSWER_SECONDS = 30.0
PAUSE_SECONDS = 0.2

Result = TypeVar("Result")

#: What one statement may wait and take. People wait for the gateway; nobody waits for a job.
LIMITS = {
    DatabaseRole.GATEWAY: {"statement_timeout": "30s", "lock_timeout": "10s"},
    DatabaseRole.WORKER: {"statement_timeout": "10min", "lock_timeout": "30s"},
    DatabaseRole.SEQUENCER: {"statement_timeout": "5min", "lock_timeout": "30s"},
    DatabaseRole.MIGRATOR: {"lock_timeout": "30s"},
}


@asynccontextmanager
async def open_pool(
    url: str, role: DatabaseRole, *, least: int = 1, most: int = 10
) -> AsyncIterator[asyncpg.Pool[asyncpg.Record]]:
    """Open a pool for `role` for the length of an `async with` block.

    Raises `ServerError` where the login turns out to be a superuser, for whom no grant and no policy would hold, and
    where the database does not answer for a while.
    """
    settings = {
        "application_name": role.replace("_", " "),
        "search_path": SEARCH_PATH,
        "timezone": "UTC",
        "idle_in_transaction_session_timeout": "60s",
        **LIMITS[role],
    }
    pool = await _patiently(
        lambda: asyncpg.create_pool(
            url, min_size=least, max_size=most, init=_refuse_superuser, server_settings=settings, timeout=10,
            reset=_leave_as_it_is if role is DatabaseRole.GATEWAY else None,
        )
    )
    try:
        yield pool
    finally:
        try:
            await asyncio.wait_for(pool.close(), CLOSE_SECONDS)
        except TimeoutError:
            pool.terminate()


async def _leave_as_it_is(conn: asyncpg.Connection[Any]) -> None:
    """Of what the gateway does nothing outlasts a transaction, and the driver ends one that is open before it asks.

    So a connection is given back as it is: undoing what was never done would cost every request a round trip.
    """


async def _patiently(connect: Callable[[], Awaitable[Result]]) -> Result:
    """What `connect` returns; a process may start a little before its database does, or while that recovers."""
    deadline = time.monotonic() + ANSWER_SECONDS
    while True:
        try:
            return await connect()
        except (OSError, asyncpg.CannotConnectNowError, asyncpg.PostgresConnectionError) as why:
            if time.monotonic() > deadline:
                raise ServerError(f"The database does not answer: {why}") from why
            await asyncio.sleep(PAUSE_SECONDS)


async def _refuse_superuser(conn: asyncpg.Connection[Any]) -> None:
    # The server reports this setting by itself, so asking costs no round trip.
    if conn.get_settings().is_superuser == "on":
        name = await conn.fetchval("select current_user")
        raise ServerError(
            f"The login {name} is a superuser, and the application must not be one: no grant would hold for it. "
            "Set SHAREWELL_DATABASE_URL alone to let sharewell make its own roles, or name a lesser login."
        )
