"""The server inside our process: it starts, answers, finishes what is under way, and leaves signals to us."""

from __future__ import annotations

import asyncio
import gc
import signal
import subprocess
import sys
import textwrap
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx2
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from sharewell.gateway.server import CannotServe, bind, serve, until_signal

HOST = "127.0.0.1"
PATIENCE = 60  #: seconds until what was to happen counts as never happening


@asynccontextmanager
async def serving(app: Starlette) -> AsyncIterator[tuple[str, asyncio.Event, asyncio.Task[None]]]:
    taken, stop, ready = bind(HOST, 0), asyncio.Event(), asyncio.Event()
    task = asyncio.create_task(serve(app, taken, stop, ready=ready))
    address = f"http://{HOST}:{taken.getsockname()[1]}"
    await ready.wait()
    yield address, stop, task
    stop.set()
    await task


async def hello(request: Request) -> Response:
    return PlainTextResponse("hello")


@asynccontextmanager
async def fails(app: Starlette) -> AsyncIterator[None]:
    raise RuntimeError("no database")
    yield


async def test_answers_until_it_is_told_to_stop() -> None:
    async with serving(Starlette(routes=[Route("/", hello)])) as (address, stop, task):
        async with httpx2.AsyncClient(timeout=PATIENCE) as http:
            answer = await http.get(address)
            assert answer.text == "hello"
            assert "server" not in answer.headers
        stop.set()
        await task
        async with httpx2.AsyncClient(timeout=PATIENCE) as http:
            with pytest.raises(httpx2.ConnectError):
                await http.get(address)


async def test_what_stands_at_the_start_is_no_work_for_the_collector_until_the_end() -> None:
    held: list[list[int]] = [[]]
    async with serving(Starlette(routes=[Route("/", hello)])):
        assert gc.get_freeze_count() > 10_000
        assert not any(each is held for each in gc.get_objects())
    assert not gc.get_freeze_count()
    assert any(each is held for each in gc.get_objects())


async def test_the_end_of_one_of_two_servers_in_a_process_leaves_what_stands_to_the_other() -> None:
    async with serving(Starlette(routes=[Route("/", hello)])):
        async with serving(Starlette(routes=[Route("/", hello)])):
            pass
        assert gc.get_freeze_count() > 10_000
        with pytest.raises(CannotServe):
            await serve(Starlette(lifespan=fails), bind(HOST, 0), asyncio.Event())
        assert gc.get_freeze_count() > 10_000
    assert not gc.get_freeze_count()


async def test_a_request_under_way_is_finished_before_the_end() -> None:
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def slow(request: Request) -> Response:
        begun.set()
        await go_on.wait()
        return PlainTextResponse("finished")

    async with (
        serving(Starlette(routes=[Route("/", slow)])) as (address, stop, task),
        httpx2.AsyncClient(timeout=PATIENCE) as http,
    ):
        asking = asyncio.create_task(http.get(address))
        await begun.wait()
        stop.set()
        go_on.set()
        assert (await asking).text == "finished"
        await task


async def test_a_taken_address_is_named() -> None:
    with bind(HOST, 0) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(CannotServe, match=f"port {port} cannot be used"):
            bind(HOST, port)


async def test_an_application_that_does_not_start_is_an_error() -> None:
    with pytest.raises(CannotServe, match="did not start"):
        await asyncio.wait_for(serve(Starlette(lifespan=fails), bind(HOST, 0), asyncio.Event()), PATIENCE)


async def test_cancelling_ends_the_server_in_order() -> None:
    ended = []

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        yield
        ended.append(True)

    ready = asyncio.Event()
    task = asyncio.create_task(serve(Starlette(lifespan=lifespan), bind(HOST, 0), asyncio.Event(), ready=ready))
    await ready.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert ended == [True]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_sets_the_event_once(number: signal.Signals) -> None:
    with until_signal() as stop:
        assert not stop.is_set()
        signal.raise_signal(number)
        await asyncio.wait_for(stop.wait(), PATIENCE)
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_process_told_to_stop_runs_to_its_own_end(number: signal.Signals) -> None:
    script = """
        import asyncio
        from starlette.applications import Starlette
        from sharewell import logs
        from sharewell.gateway.server import bind, serve, until_signal

        async def main():
            logs.configure()
            ready = asyncio.Event()
            with until_signal() as stop:
                serving = asyncio.create_task(serve(Starlette(), bind("127.0.0.1", 0), stop, ready=ready))
                await ready.wait()
                print("ready", flush=True)
                await serving
            print("database stopped", flush=True)

        asyncio.run(main())
    """
    child = subprocess.Popen([sys.executable, "-c", textwrap.dedent(script)], stdout=subprocess.PIPE, text=True)
    with child:
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
        child.send_signal(number)
        rest, _ = child.communicate(timeout=PATIENCE)
    assert (child.returncode, rest) == (0, "database stopped\n")
