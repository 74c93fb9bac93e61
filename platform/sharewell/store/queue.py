"""Jobs for the workers, put into the queue in the very transaction that makes them necessary.

Taking jobs out and running them is left to the runner of `sharewell_workers`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from typing import Any, cast

import asyncpg
import orjson
import structlog
from asyncpg.pool import PoolConnectionProxy
from pgqueuer.adapters.persistence.qb import QueryBuilderEnvironment, QueryQueueBuilder, QuerySchedulerBuilder
from pgqueuer.db import AsyncpgDriver
from pgqueuer.domain.settings import DBSettings
from pgqueuer.ports.driver import Driver
from pgqueuer.queries import Queries

from sharewell.domain.errors import NotFound

SET_ASIDE = """
select id, name, payload, attempts, starts, coalesce(reason, '') as reason, enqueued_at, set_aside_at
  from queue.set_aside order by id limit $1
"""
UNDERWAY = """
select id, entrypoint as name, payload, status::text as status, created as enqueued_at, execute_after
  from queue.pgqueuer where status in ('queued', 'picked') order by id limit $1
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class SetAside:
    """A job that failed, or killed its worker, too often; it waits for a person."""

    id: int
    name: str
    payload: Mapping[str, Any]
    attempts: int  #: times it was tried again after an error
    starts: int  #: times it took its worker down with it
    reason: str
    enqueued_at: datetime
    set_aside_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Underway:
    """A job that waits or runs."""

    id: int
    name: str
    payload: Mapping[str, Any]
    status: str  #: `queued` or `picked`, the latter while it runs
    enqueued_at: datetime
    execute_after: datetime


class Queue:
    """The queue, on the connection and in the transaction of its caller."""

    def __init__(self, conn: asyncpg.Connection[Any] | PoolConnectionProxy[Any]) -> None:
        self._conn = cast("asyncpg.Connection[Any]", conn)  # a pool's proxy has every method of it

    async def enqueue(
        self, job: str, payload: Mapping[str, Any], key: str | None = None, delay: timedelta = timedelta(0)
    ) -> bool:
        """Ask for `job` to be run once this transaction has committed, `delay` later; tell whether it is a new one.

        Where a job of this name with the same `key` waits to be started, that one will do: it starts after this
        transaction has ended and sees what it wrote. One that has started already may have looked too early, so it
        does not count. As the last statements of a transaction, calls keep others waiting the least; several keys
        are best given in the same order everywhere.
        """
        request_id = structlog.contextvars.get_contextvars().get("request_id", "")
        body = orjson.dumps({"request_id": request_id, **payload})
        dedupe = None if key is None else f"{job}:{key}"
        while dedupe is None or not await self._conn.fetchval("select queue.waits($1)", dedupe):
            added = await queries(AsyncpgDriver(self._conn)).enqueue(
                job, body, execute_after=delay, dedupe_key=dedupe, on_conflict="skip"
            )
            if added[0] is not None:
                return True
            # Another transaction added one at the same moment and has committed since: look again.
        return False

    async def set_aside_jobs(self, limit: int = 100) -> list[SetAside]:
        """Return jobs that were set aside, the oldest first."""
        rows = await self._conn.fetch(SET_ASIDE, limit)
        return [SetAside(**{**row, "payload": orjson.loads(row["payload"] or b"{}")}) for row in rows]

    async def underway(self, limit: int = 1000) -> list[Underway]:
        """Return jobs that wait or run, the oldest first."""
        rows = await self._conn.fetch(UNDERWAY, limit)
        return [Underway(**{**row, "payload": orjson.loads(row["payload"] or b"{}")}) for row in rows]

    async def requeue(self, job_id: int) -> None:
        """Give a job that was set aside a fresh start. Raises `NotFound` where there is none with this id."""
        if not await self._conn.fetchval("select queue.requeue($1)", job_id):
            raise NotFound(f"no job {job_id} is set aside; ask for those that are.", field="id")


def queries(driver: Driver) -> Queries:
    """Return the statements of pgqueuer for its tables in schema `queue`."""
    settings = _settings()
    return Queries(
        driver,
        qbe=QueryBuilderEnvironment(settings),
        qbq=QueryQueueBuilder(settings),
        qbs=QuerySchedulerBuilder(settings),
    )


@cache
def _settings() -> DBSettings:
    return DBSettings(db_schema="queue")
