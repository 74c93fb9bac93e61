"""The runner: no job is lost, none runs for ever, none takes others down. Workers are killed for real."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import asyncpg
import pytest
from structlog.testing import capture_logs

from sharewell.domain.errors import Invalid
from sharewell.store.queue import Queue
from sharewell_workers.jobs import Job, Schedule, Work
from sharewell_workers.runner import ListeningDriver, Pace, Runner

if TYPE_CHECKING:
    from tests.conftest import Pool

#: No machine is so slow that the jobs of a worker in order are taken for those of a dead one.
PACE = Pace(heartbeat=timedelta(minutes=2), poll=timedelta(seconds=0.2), reconnect=timedelta(seconds=0.1))
Spawn = Callable[[], "subprocess.Popen[bytes]"]


@pytest.fixture(autouse=True)
async def seen(admin_dsn: str) -> None:
    """A table in which the jobs of these tests write what they do."""
    conn = await asyncpg.connect(admin_dsn)
    await conn.execute(
        "create table sharewell.seen (n serial, job_id bigint, worker int, what text);"
        "create unique index on sharewell.seen (job_id) where what = 'done';"
        "grant all on sharewell.seen, sharewell.seen_n_seq to sharewell_worker"
    )
    await conn.close()


@pytest.fixture
def spawn(database_environment: Mapping[str, str]) -> Iterator[Spawn]:
    """Start workers as processes of their own."""
    started: list[subprocess.Popen[bytes]] = []

    def start() -> subprocess.Popen[bytes]:
        command = [sys.executable, str(Path(__file__).with_name("worker_process.py"))]
        started.append(subprocess.Popen(command, env=dict(database_environment), stderr=subprocess.DEVNULL))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.wait()


async def enqueue(pool: Pool, name: str, **payload: Any) -> int:
    async with pool.acquire() as conn, conn.transaction():
        assert await Queue(conn).enqueue(name, payload)
        job: int = await conn.fetchval("select max(id) from queue.pgqueuer")
        return job


async def until(pool: Pool, condition: str, *args: object) -> None:
    """Wait until the SQL `condition` holds; the test's own timeout is the limit."""
    while not await pool.fetchval(f"select {condition}", *args):
        await asyncio.sleep(0.05)


async def silent_for_long(pool: Pool) -> None:
    """Have it look as if the worker that died had not been heard of for as long as it takes to give up its jobs.

    What the server still does for it is waited for: that may be to hand it one job more.
    """
    await until(pool, "count(*) = 1 from pg_stat_activity where usename = user and datname = current_database()")
    await pool.execute("update queue.pgqueuer set heartbeat = heartbeat - interval '1 hour' where status = 'picked'")


async def go_on(pool: Pool) -> None:
    """Let steady jobs come to their end."""
    await pool.execute("insert into seen (what) values ('go on')")


@asynccontextmanager
async def running(
    pool: Pool, *, schedules: list[Schedule] | None = None, **work: Work[None]
) -> AsyncIterator[Runner[None]]:
    runner = Runner(pool, work, None, schedules or [], PACE)
    task = asyncio.create_task(runner.run())
    yield runner
    runner.stop()
    await task


async def test_a_killed_workers_jobs_finish_elsewhere_and_take_effect_once(worker_pool: Pool, spawn: Spawn) -> None:
    jobs = [await enqueue(worker_pool, "steady") for _ in range(2)]
    first = spawn()
    await until(worker_pool, "count(*) = 2 from seen where what = 'started'")
    first.send_signal(signal.SIGKILL)
    first.wait()
    await silent_for_long(worker_pool)
    await go_on(worker_pool)
    second = spawn()
    await until(worker_pool, "count(*) = 2 from seen where what = 'done'")
    rows = await worker_pool.fetch("select job_id, worker from seen where what = 'done' order by 1")
    assert [tuple(row) for row in rows] == [(job, second.pid) for job in jobs]
    await until(worker_pool, "not exists (select from queue.pgqueuer)")
    await until(worker_pool, "not exists (select from queue.job_start)")


async def test_a_job_that_keeps_killing_its_worker_is_set_aside_after_three_starts(
    worker_pool: Pool, spawn: Spawn
) -> None:
    deadly = await enqueue(worker_pool, "deadly")
    innocent = await enqueue(worker_pool, "steady")
    deaths = 0
    worker = spawn()
    over = "select exists (select from seen where what = 'done') and exists (select from queue.set_aside)"
    while not await worker_pool.fetchval(over):
        if worker.poll() is not None:
            deaths += 1
            await silent_for_long(worker_pool)
            await go_on(worker_pool)
            worker = spawn()
        await asyncio.sleep(0.05)
    await until(worker_pool, "not exists (select from queue.pgqueuer where status in ('queued', 'picked'))")
    assert deaths == 3
    assert await worker_pool.fetchval("select count(*) from seen where job_id = $1", deadly) == 3
    async with worker_pool.acquire() as conn:
        (found,) = await Queue(conn).set_aside_jobs()
    assert (found.id, found.starts, found.reason) == (deadly, 3, "It took its worker down 3 times.")
    # The innocent one may have been running at the first death; from then on the deadly one ran alone. Where a worker
    # dies before it could say that it has done the innocent one, that runs again, and undisturbed.
    cut_short = "count(*) filter (where what = 'started') - count(*) filter (where what = 'ended')"
    assert await worker_pool.fetchval(f"select {cut_short} from seen where job_id = $1", innocent) <= 1
    assert await worker_pool.fetchval("select count(*) from seen where what = 'done'") == 1


async def test_a_worker_that_is_asked_to_stop_gives_back_what_it_cannot_finish(worker_pool: Pool, spawn: Spawn) -> None:
    job = await enqueue(worker_pool, "steady")
    worker = spawn()
    await until(worker_pool, "exists (select from seen where what = 'started')")
    worker.terminate()
    assert worker.wait(timeout=120) == 0
    row = await worker_pool.fetchrow("select id, status::text, queue_manager_id from queue.pgqueuer")
    assert row is not None
    assert tuple(row) == (job, "queued", None)
    assert await worker_pool.fetchval("select count(*) from queue.job_start") == 0


async def test_a_job_that_fails_is_tried_again_and_set_aside_when_it_keeps_failing(worker_pool: Pool) -> None:
    attempts: list[int] = []

    async def fail(job: Job, _: None) -> None:
        attempts.append(job.attempt)
        raise ConnectionResetError("the feed hung up")

    job = await enqueue(worker_pool, "ingest")
    work = Work(handle=fail, attempts=3, first_pause=timedelta(seconds=0.05))
    async with running(worker_pool, ingest=work):
        await until(worker_pool, "exists (select from queue.set_aside)")
    assert attempts == [1, 2, 3]
    async with worker_pool.acquire() as conn:
        (found,) = await Queue(conn).set_aside_jobs()
    assert (found.id, found.attempts, found.reason) == (job, 2, "the feed hung up")


async def test_a_hopeless_job_is_not_tried_again(worker_pool: Pool) -> None:
    async def refuse(job: Job, _: None) -> None:
        raise Invalid("row 7, column beds: -5 is not a number of beds", field="beds")

    await enqueue(worker_pool, "ingest")
    with capture_logs() as logs:
        async with running(worker_pool, ingest=Work(handle=refuse)):
            await until(worker_pool, "exists (select from queue.set_aside)")
    (line,) = [line for line in logs if line["event"] == "job set aside"]
    assert line["reason"] == "Invalid: row 7, column beds: -5 is not a number of beds"
    assert line["log_level"] == "error"


async def test_a_job_that_fails_at_first_succeeds_in_the_end_and_is_gone(worker_pool: Pool) -> None:
    requests: list[str] = []

    async def stumble(job: Job, _: None) -> None:
        requests.append(job.request_id)
        if job.attempt < 3:
            raise TimeoutError

    await enqueue(worker_pool, "ingest", request_id="r-7")
    async with running(worker_pool, ingest=Work(handle=stumble, first_pause=timedelta(seconds=0.05))):
        await until(worker_pool, "not exists (select from queue.pgqueuer)")
    assert requests == ["r-7"] * 3


async def test_work_goes_on_after_the_database_dropped_every_connection(worker_pool: Pool, admin_dsn: str) -> None:
    done: list[int] = []

    async def handle(job: Job, _: None) -> None:
        done.append(job.id)

    async with running(worker_pool, ingest=Work(handle=handle)):
        first = await enqueue(worker_pool, "ingest")
        await until(worker_pool, "not exists (select from queue.pgqueuer)")
        admin = await asyncpg.connect(admin_dsn)
        # Each is waited for, so that no connection that is about to break takes the next job and tells nobody.
        await admin.execute(
            "select pg_terminate_backend(pid, 60_000) from pg_stat_activity"
            " where usename = 'sharewell_worker' and datname = current_database()"
        )
        async with admin.transaction():
            await admin.execute("set local search_path = queue")
            await Queue(admin).enqueue("ingest", {})
        while await admin.fetchval("select exists (select from queue.pgqueuer)"):
            await asyncio.sleep(0.05)
        await admin.close()
    assert done[0] == first
    assert len(done) == 2


async def test_a_wish_made_while_the_job_runs_becomes_a_job_of_its_own(worker_pool: Pool) -> None:
    async def wish() -> bool:
        async with worker_pool.acquire() as conn, conn.transaction():
            return await Queue(conn).enqueue("allocate", {}, key="north")

    wished: list[bool] = []

    async def handle(job: Job, _: None) -> None:
        if not wished:
            wished.extend([await wish(), await wish()])

    assert await wish()
    work = Work(handle=handle, at_once=1)  # so that the second job starts only after both wishes
    async with running(worker_pool, allocate=work):
        await until(worker_pool, "not exists (select from queue.pgqueuer)")
    assert wished == [True, False]


async def test_the_clock_asks_for_a_job_once_however_many_workers_there_are(worker_pool: Pool) -> None:
    runs: list[int] = []

    async def nightly(job: Job, _: None) -> None:
        runs.append(job.id)

    half_a_year_on = (datetime.now(UTC).month + 5) % 12 + 1  # so that it is never due while this runs
    schedule = Schedule(cron=f"0 2 1 {half_a_year_on} *", job="forecast", payload={"region": "north"})
    one, two = (running(worker_pool, schedules=[schedule], forecast=Work(handle=nightly)) for _ in range(2))
    async with one, two:
        await until(worker_pool, "exists (select from queue.pgqueuer_schedules where entrypoint = 'forecast')")
        assert runs == []
        await worker_pool.execute("update queue.pgqueuer_schedules set next_run = now() where entrypoint = 'forecast'")
    async with running(worker_pool, schedules=[schedule], forecast=Work(handle=nightly)):
        await until(worker_pool, "exists (select from queue.pgqueuer_log where status = 'successful')")
        await asyncio.sleep(0.5)
    assert len(runs) == 1


async def test_no_more_of_a_kind_run_at_once_than_allowed(worker_pool: Pool) -> None:
    now, most = 0, 0

    async def handle(job: Job, _: None) -> None:
        nonlocal now, most
        now += 1
        most = max(most, now)
        await asyncio.sleep(0.1)
        now -= 1

    for _ in range(4):
        await enqueue(worker_pool, "allocate")
    work = Work(handle=handle, at_once=1)
    async with running(worker_pool, allocate=work), running(worker_pool, allocate=work):
        await until(worker_pool, "not exists (select from queue.pgqueuer)")
    assert most == 1


async def test_a_probe_is_heard_though_it_is_sent_before_the_worker_listens(worker_pool: Pool) -> None:
    driver, heard = ListeningDriver(worker_pool), asyncio.Event()
    async with driver:
        probe = asyncio.create_task(driver.notify("probe", "are you there?"))
        await asyncio.sleep(0.1)
        await driver.add_listener("probe", lambda _: heard.set())
        await probe
        await asyncio.wait_for(heard.wait(), 60)
