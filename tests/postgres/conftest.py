"""Builders for tests that record decisions."""

from __future__ import annotations

import itertools
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from typing import Any, TypeAlias

import asyncpg
import pytest
from uuid_utils.compat import uuid7

from sharewell.domain.audit import Decision
from sharewell.settings import DatabaseRole

Connection: TypeAlias = "asyncpg.Connection[Any]"
Connect: TypeAlias = Callable[[DatabaseRole], Awaitable[Connection]]

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.fixture
def a_decision() -> Callable[..., Decision]:
    """Make decisions that follow each other by a second, different only in what the test says."""
    seconds = itertools.count()

    def make(**said: Any) -> Decision:
        usual: dict[str, Any] = {
            "id": uuid7(),
            "kind": "offer.published",
            "at": NOON + timedelta(seconds=next(seconds)),
            "actor": "marsupilami-clinic",
            "institution": None,
            "action": "publishOffer",
            "outcome": "allowed",
            "policy_set": "ab" * 32,
            "policies": ("institutions-publish-their-own",),
            "subject_kind": "offer",
            "subject_id": str(uuid7()),
            "details": {"resource": "ventilator", "quantity": 3},
            "request_id": "r-1",
            "nonce": secrets.token_hex(16),
        }
        return Decision(**(usual | said))

    return make


async def behind_the_guard(admin_dsn: str, table: str, change: str) -> None:
    """Do what only somebody can who owns the machine: switch the guard off, and change what is stored."""
    conn = await asyncpg.connect(admin_dsn)
    try:
        await conn.execute("set sharewell.break_glass = 'on'")
        await conn.execute(f"alter table audit.{table} disable trigger only_grows")
        await conn.execute("set session_replication_role = replica")  # passes by the foreign keys, not by the guard
        assert await conn.execute(change) not in {"UPDATE 0", "DELETE 0"}
        await conn.execute(f"alter table audit.{table} enable always trigger only_grows")
    finally:
        await conn.close()


@pytest.fixture
async def connect(database_urls: Mapping[DatabaseRole, str]) -> AsyncIterator[Connect]:
    """Open connections under any role; all are closed when the test ends."""
    async with AsyncExitStack() as stack:

        async def open_one(role: DatabaseRole) -> Connection:
            conn: Connection = await asyncpg.connect(database_urls[role])
            stack.push_async_callback(conn.close, timeout=120)
            return conn

        yield open_one


@pytest.fixture
async def gateway(connect: Connect) -> Connection:
    """A connection of the gateway's role."""
    return await connect(DatabaseRole.GATEWAY)


@pytest.fixture
async def owner(connect: Connect) -> Connection:
    """A connection of the role that owns every table."""
    return await connect(DatabaseRole.MIGRATOR)
