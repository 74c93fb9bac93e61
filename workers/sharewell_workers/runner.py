"""Takes jobs out of the queue and runs them, so that none is lost, none runs for ever, and none takes others down.

pgqueuer fetches the jobs and sees to heartbeats and the clock. This adds what it leaves to its user: a count of the
starts that took their worker down, retries, an orderly stop, and going on after the database was away.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Generic, NoReturn, TypeVar
from uuid import uuid4

import asyncpg
import orjson
import structlog
from pgqueuer.core.applications import PgQueuer
from pgqueuer.core.executors import AbstractEntrypointExecutor, EntrypointExecutorParameters
from pgqueuer.db import AsyncpgPoolDriver
from pgqueuer.domain.errors import FailingListenerError, RetryRequested
from pgqueuer.domain.models import Context
from pgqueuer.domain.models import Job as QueuedJob
from pgqueuer.domain.models import Schedule as DueSchedule
from prometheus_client import Counter, Gauge, Histogram

from sharewell.domain.errors import Forbidden, Invalid, NotFound
from sharewell.store.queue import Queue, queries
from sharewell_workers.jobs import Job, Schedule, Services, Work
from sharewell_workers.room import Room

Result = TypeVar("Result")

MOST_STARTS = 3  #: starts that may end with the worker's death before the job is set aside
HOPELESS = (Invalid, NotFound, Forbidden)  #: errors that no second attempt mends
LOST_DATABASE = (
    OSError,
    asyncpg.PostgresConnectionError,
    asyncpg.OperatorInterventionError,  # it is shutting down or starting
    asyncpg.InsufficientResourcesError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,  # what asyncpg sometimes raises when the connection breaks under a statement
    FailingListenerError,
)

STARTED_BEFORE = "select starts from queue.job_start where job_id = $1"
START = """
insert into queue.job_start (job_id, starts, worker) values ($1, 1, $2)
on conflict (job_id) do update set starts = job_start.starts + 1, worker = $2, started_at = now()
"""
#: From here on the job no longer counts as waiting, so a new wish becomes a new job. This waits for whoever, in a
#: transaction that is still open, was content with the job as it waited.
NO_LONGER_WAITS = "update queue.pgqueuer set dedupe_key = null where id = $1 and dedupe_key is not null"
END = "delete from queue.job_start where job_id = $1"
FORGET = """
with logs as (delete from queue.pgqueuer_log where created < now() - $1::interval),
     numbers as (delete from queue.pgqueuer_statistics where created < now() - $1::interval)
delete from queue.job_start start
 where start.started_at < now() - $1::interval
   and not exists (select from queue.pgqueuer job where job.id = start.job_id)
"""

log = structlog.get_logger("sharewell.worker")
ENDED = Counter("sharewell_jobs_total", "Jobs that ended, by how: done, again, set aside.", ["job", "end"])
RUNNING = Gauge("sharewell_jobs_running", "Jobs that run at this moment.", ["job"])
SECONDS = Histogram(
    "sharewell_job_seconds", "How long one start of a job took.", ["job"], buckets=(0.01, 0.1, 1, 10, 60, 600, 3600)
)


class KilledItsWorker(Exception):
    """The job took its worker down too often and is set aside."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How quickly a runner notices things, and how much it does at once."""

    heartbeat: timedelta = timedelta(seconds=10)  #: silence after which a worker's jobs are given to another
    poll: timedelta = timedelta(seconds=2)  #: how often to look for such jobs
    at_once: int = 4  #: jobs of one worker at one moment; at least 2
    grace: timedelta = timedelta(seconds=20)  #: for running jobs to end when the worker is asked to stop
    reconnect: timedelta = timedelta(seconds=1)
    keep: timedelta = timedelta(days=30)  #: how long the queue remembers jobs that ended


@dataclass
class Runner(Generic[Services]):
    """Runs jobs until it is asked to stop.

    `pool` belongs to a role that may run jobs and has at least three connections; `services` is handed to each job.
    """

    pool: asyncpg.Pool[Any]
    work: Mapping[str, Work[Services]]
    services: Services
    schedules: Sequence[Schedule] = ()
    pace: Pace = field(default_factory=Pace)
    name: str = field(default_factory=lambda: f"worker-{uuid4().hex[:8]}")

    def __post_init__(self) -> None:
        self._stopping = asyncio.Event()
        self._queuer: PgQueuer | None = None
        self._handling: set[asyncio.Task[None]] = set()
        self._room = Room()

    def stop(self) -> None:
        """Take no more jobs; `run` returns once the running ones have ended, or are given back after their grace."""
        self._stopping.set()
        if self._queuer is not None:
            self._queuer.shutdown.set()

    async def run(self) -> None:
        """Run jobs until `stop` is called. While the database is away, wait for it."""
        ending = asyncio.create_task(self._end_grace())
        try:
            while not self._stopping.is_set():
                await self._run_while_connected()
        finally:
            ending.cancel()
        log.info("worker stopped", worker=self.name)

    async def _run_while_connected(self) -> None:
        self._queuer = self._make_queuer()
        log.info("worker takes jobs", worker=self.name, jobs=sorted(self.work))
        try:
            await self._queuer.run(
                dequeue_timeout=self.pace.poll,
                batch_size=1,
                max_concurrent_tasks=max(2, self.pace.at_once),
                heartbeat_timeout=self.pace.heartbeat,
                shutdown_on_listener_failure=True,
            )
        except LOST_DATABASE as why:
            log.warning("worker lost the database", worker=self.name, error=_named(why))
            await self._pause()

    async def _pause(self) -> None:
        with suppress(TimeoutError):
            await asyncio.wait_for(self._stopping.wait(), self.pace.reconnect.total_seconds())

    async def _end_grace(self) -> None:
        await self._stopping.wait()
        await asyncio.sleep(self.pace.grace.total_seconds())
        for task in self._handling:
            task.cancel()

    def _make_queuer(self) -> PgQueuer:
        driver = ListeningDriver(self.pool)
        queuer = PgQueuer(driver, queries=queries(driver))
        for name, work in self.work.items():
            queuer.qm.register_executor(name, _Executor(self, work))
        for schedule in self.schedules:
            queuer.schedule(schedule.job, schedule.cron)(self._on_time(schedule))
        queuer.schedule("forget", "17 3 * * *")(self._forget)
        return queuer

    def _on_time(self, schedule: Schedule) -> Callable[[DueSchedule], Awaitable[None]]:
        async def enqueue(_: DueSchedule) -> None:
            async with self.pool.acquire() as conn, conn.transaction():
                await Queue(conn).enqueue(schedule.job, schedule.payload, key=f"at {schedule.cron}")

        return enqueue

    async def _forget(self, _: DueSchedule) -> None:
        await self.pool.execute(FORGET, self.pace.keep)

    async def start(self, job: Job, work: Work[Services]) -> None:
        """Run one job that was taken out of the queue.

        Raises `RetryRequested` where it is to be run again, and any other error where it is to be set aside.
        """
        with structlog.contextvars.bound_contextvars(
            request_id=job.request_id, job=job.name, job_id=job.id, attempt=job.attempt, worker=self.name
        ):
            starts = await self._patiently(lambda: self.pool.fetchval(STARTED_BEFORE, job.id)) or 0
            if starts >= MOST_STARTS:
                self._set_aside(job, KilledItsWorker(f"It took its worker down {starts} times."))
            # One whose last start took a worker down runs alone, so that it takes no innocent job with it again.
            async with self._room.alone() if starts else self._room.shared():
                if self._stopping.is_set():
                    raise RetryRequested(reason="the worker stops")
                await self._patiently(lambda: self._note_start(job))
                try:
                    await self._handle(job, work)
                finally:
                    await self._note_end(job)

    async def _patiently(self, statement: Callable[[], Awaitable[Result]]) -> Result:
        """What `statement` returns; while the database is away, wait for it.

        The job is not to blame, and giving it back needs the database too: pgqueuer sets a job aside where it cannot
        write that it is to be run again.
        """
        while True:
            try:
                return await statement()
            except LOST_DATABASE as why:
                if self._stopping.is_set():
                    raise RetryRequested(reason="the worker stops") from why
                await self._pause()

    async def _note_start(self, job: Job) -> None:
        """Count the start in a transaction of its own, which no death of this process undoes."""
        async with self.pool.acquire() as conn, conn.transaction():
            await conn.execute(NO_LONGER_WAITS, job.id)
            await conn.execute(START, job.id, self.name)

    async def _note_end(self, job: Job) -> None:
        """Note that this start did not take us down; while the database is away, wait for it."""
        while True:
            try:
                await self.pool.execute(END, job.id)
            except LOST_DATABASE:
                if self._stopping.is_set():
                    return
                await self._pause()
            else:
                return

    async def _handle(self, job: Job, work: Work[Services]) -> None:
        began = time.monotonic()
        task = asyncio.create_task(work.handle(job, self.services))
        self._handling.add(task)
        try:
            with RUNNING.labels(job.name).track_inprogress():
                await task
        except asyncio.CancelledError:
            task.cancel()
            await asyncio.wait({task})
            self._again(job, "the worker stops", timedelta(0))
        except Exception as why:  # noqa: BLE001 - whatever a job raises, it goes back or is set aside
            if isinstance(why, HOPELESS) or job.attempt >= work.attempts:
                self._set_aside(job, why)
            self._again(job, _named(why), work.pause(job.attempt), why)
        finally:
            self._handling.discard(task)
            SECONDS.labels(job.name).observe(time.monotonic() - began)
        ENDED.labels(job.name, "done").inc()
        log.info("job done", seconds=round(time.monotonic() - began, 3))

    def _again(self, job: Job, reason: str, pause: timedelta, why: Exception | None = None) -> NoReturn:
        log.warning("job will be run again", reason=reason, pause_seconds=pause.total_seconds(), exc_info=why)
        ENDED.labels(job.name, "again").inc()
        raise RetryRequested(delay=pause, reason=reason) from why

    def _set_aside(self, job: Job, why: Exception) -> NoReturn:
        log.error("job set aside", reason=_named(why), exc_info=why)
        ENDED.labels(job.name, "set aside").inc()
        raise why


class ListeningDriver(AsyncpgPoolDriver):
    """Notifies only once it listens.

    pgqueuer sends itself a first probe while it begins to listen. One that is sent too early never arrives, and ten
    seconds later a worker that is in order would take its connection for lost.
    """

    def __init__(self, pool: asyncpg.Pool[Any]) -> None:
        super().__init__(pool)
        self._listens = asyncio.Event()

    async def add_listener(self, channel: str, callback: Callable[[str | bytes | bytearray], None]) -> None:
        await super().add_listener(channel, callback)
        self._listens.set()

    async def notify(self, channel: str, payload: str) -> None:
        await self._listens.wait()
        await super().notify(channel, payload)


class _Executor(AbstractEntrypointExecutor):
    """Hands the jobs of one name from pgqueuer to the runner."""

    def __init__(self, runner: Runner[Any], work: Work[Any]) -> None:
        super().__init__(
            EntrypointExecutorParameters(concurrency_limit=work.at_once, func=self._unused, on_failure="hold")
        )
        self._runner = runner
        self._work = work

    async def execute(self, job: QueuedJob, context: Context) -> None:  # noqa: ARG002 - pgqueuer's signature
        payload = orjson.loads(job.payload or b"{}")
        await self._runner.start(
            Job(
                id=job.id,
                name=job.entrypoint,
                payload=payload,
                request_id=str(payload.get("request_id", "")),
                attempt=job.attempts + 1,
            ),
            self._work,
        )

    async def _unused(self, job: QueuedJob) -> None:
        raise NotImplementedError(job.entrypoint)  # `execute` above stands in for it


def _named(why: BaseException) -> str:
    return f"{type(why).__name__}: {why}"
