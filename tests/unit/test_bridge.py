"""Synchronous code that awaits: results, exceptions, cancellation and context pass through."""

from __future__ import annotations

import asyncio
from contextvars import ContextVar

import pytest

from sharewell.gateway.oauth import bridge

request_id: ContextVar[str] = ContextVar("request_id")


async def later(value: int) -> int:
    await asyncio.sleep(0)
    return value


async def test_results_come_back_in_order() -> None:
    def add() -> int:
        return bridge.wait(later(1)) + bridge.wait(later(2))

    assert await bridge.run(add) == 3


async def test_a_function_that_waits_for_nothing_just_returns() -> None:
    assert await bridge.run(lambda value: value * 2, 21) == 42


async def test_an_exception_of_the_coroutine_is_raised_where_it_is_waited_for() -> None:
    async def fail() -> None:
        await asyncio.sleep(0)
        raise KeyError("gone")

    def recover() -> str:
        try:
            bridge.wait(fail())
        except KeyError:
            return f"recovered {bridge.wait(later(1))}"
        return "not reached"

    assert await bridge.run(recover) == "recovered 1"


async def test_an_exception_of_the_function_leaves_run() -> None:
    def fail() -> None:
        bridge.wait(later(1))
        raise LookupError("ours")

    with pytest.raises(LookupError, match="ours"):
        await bridge.run(fail)


async def test_cancelling_reaches_the_function_so_that_it_can_clean_up() -> None:
    seen = []

    def work() -> None:
        try:
            bridge.wait(asyncio.sleep(60))
        finally:
            seen.append("cleaned up")

    task = asyncio.create_task(bridge.run(work))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert seen == ["cleaned up"]


async def test_many_at_once_keep_their_own_context() -> None:
    def work(name: str) -> tuple[str, str]:
        before = request_id.get()
        bridge.wait(later(1))
        return before, request_id.get()

    async def one(name: str) -> tuple[str, str]:
        request_id.set(name)
        return await bridge.run(work, name)

    names = [f"request-{number}" for number in range(20)]
    assert await asyncio.gather(*map(one, names)) == [(name, name) for name in names]


async def test_waiting_outside_of_run_is_an_error() -> None:
    with pytest.raises(RuntimeError, match="run"):
        bridge.wait(later(1))
