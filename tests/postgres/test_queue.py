"""The queue inside business transactions: what commits is queued, what waits is not queued twice, what fails shows."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING

import asyncpg
import orjson
import pytest
import structlog

from sharewell.domain.errors import NotFound
from sharewell.store.queue import Queue
from sharewell_workers.runner import NO_LONGER_WAITS as START

if TYPE_CHECKING:
    from tests.conftest import Pool

WAITING = "select count(*) from queue.pgqueuer where status = 'queued'"
PICK = "update queue.pgqueuer set status = 'picked' where status = 'queued' returning id"


async def test_a_job_is_queued_with_its_transaction_or_not_at_all(gateway_pool: Pool) -> None:
    async with gateway_pool.acquire() as conn:
        await conn.execute("begin")
        assert await Queue(conn).enqueue("allocate", {"region": "north"})
        await conn.execute("rollback")
        assert await conn.fetchval(WAITING) == 0
        async with conn.transaction():
            assert await Queue(conn).enqueue("allocate", {"region": "north"})
        assert await conn.fetchval(WAITING) == 1


async def test_a_second_wish_for_what_already_waits_adds_nothing_and_breaks_nothing(gateway_pool: Pool) -> None:
    async with gateway_pool.acquire() as conn, conn.transaction():
        queue = Queue(conn)
        assert await queue.enqueue("allocate", {}, key="north")
        assert not await queue.enqueue("allocate", {}, key="north")
        assert await queue.enqueue("allocate", {}, key="south")
        assert await queue.enqueue("forecast", {}, key="north")
        assert await conn.fetchval(WAITING) == 3


async def test_a_job_that_has_started_no_longer_answers_new_wishes(gateway_pool: Pool, worker_pool: Pool) -> None:
    async with gateway_pool.acquire() as conn:
        await Queue(conn).enqueue("allocate", {}, key="north")
        job = await worker_pool.fetchval(PICK)
        assert not await Queue(conn).enqueue("allocate", {}, key="north")  # taken, but it has not looked yet
        await worker_pool.execute(START, job)
        assert await Queue(conn).enqueue("allocate", {}, key="north")


async def test_a_job_cannot_start_while_a_wish_it_answers_is_not_committed(
    gateway_pool: Pool, worker_pool: Pool
) -> None:
    # Otherwise it would look before the wisher's change is there, and nobody would look again.
    async with gateway_pool.acquire() as conn:
        await Queue(conn).enqueue("allocate", {}, key="north")
        job = await worker_pool.fetchval(PICK)
        async with conn.transaction():
            assert not await Queue(conn).enqueue("allocate", {}, key="north")
            starting = asyncio.create_task(worker_pool.execute(START, job))
            blocked = "select count(*) from pg_stat_activity where wait_event_type = 'Lock' and query = $1"
            while not await worker_pool.fetchval(blocked, START):
                await asyncio.sleep(0.01)
            assert not starting.done()
        await starting


async def test_many_transactions_with_one_key_at_once_leave_one_job(gateway_pool: Pool) -> None:
    async def wish() -> bool:
        async with gateway_pool.acquire() as conn, conn.transaction():
            return await Queue(conn).enqueue("allocate", {}, key="north")

    added = await asyncio.gather(*(wish() for _ in range(40)))
    assert sum(added) == 1
    assert await gateway_pool.fetchval(WAITING) == 1


async def test_a_wish_whose_rival_rolls_back_is_queued_itself(gateway_pool: Pool) -> None:
    async with gateway_pool.acquire() as first, gateway_pool.acquire() as second:
        await first.execute("begin")
        assert await Queue(first).enqueue("allocate", {}, key="north")
        waiting = asyncio.create_task(Queue(second).enqueue("allocate", {}, key="north"))
        blocked = "select exists (select from pg_locks where not granted and pid = $1)"
        while not await first.fetchval(blocked, second.get_server_pid()):
            await asyncio.sleep(0.01)
        await first.execute("rollback")
        assert await waiting
    assert await gateway_pool.fetchval(WAITING) == 1


async def test_a_job_carries_the_request_id_of_whoever_asked(gateway_pool: Pool) -> None:
    async with gateway_pool.acquire() as conn:
        with structlog.contextvars.bound_contextvars(request_id="r-1"):
            await Queue(conn).enqueue("allocate", {"region": "north"}, delay=timedelta(minutes=5))
        row = await conn.fetchrow("select payload, execute_after - created as delay from queue.pgqueuer")
    assert row is not None
    assert orjson.loads(row["payload"]) == {"region": "north", "request_id": "r-1"}
    assert row["delay"] == timedelta(minutes=5)


async def test_a_job_that_was_set_aside_can_be_given_another_chance(gateway_pool: Pool, worker_pool: Pool) -> None:
    async with gateway_pool.acquire() as conn:
        await Queue(conn).enqueue("forecast", {"region": "north"})
        await worker_pool.execute("update queue.pgqueuer set status = 'failed', attempts = 4")
        (found,) = await Queue(conn).set_aside_jobs()
        assert (found.name, found.payload["region"], found.attempts) == ("forecast", "north", 4)
        await Queue(conn).requeue(found.id)
        assert await Queue(conn).set_aside_jobs() == []
        assert await conn.fetchval(WAITING) == 1
        with pytest.raises(NotFound, match=f"no job {found.id} is set aside"):
            await Queue(conn).requeue(found.id)


@pytest.mark.parametrize(
    "statement",
    [
        "update queue.pgqueuer set priority = 9",
        "delete from queue.pgqueuer",
        "insert into queue.job_effect (job_id) values (1)",
        "delete from queue.job_start",
        "insert into queue.pgqueuer_schedules (expression, entrypoint) values ('* * * * *', 'x')",
    ],
)
async def test_the_gateway_may_only_put_jobs_in(gateway_pool: Pool, statement: str) -> None:
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await gateway_pool.execute(statement)
