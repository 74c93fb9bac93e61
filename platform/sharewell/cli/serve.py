"""`sharewell serve` and `sharewell worker`: the processes of a platform."""

from __future__ import annotations

import asyncio
import os
import sys
from typing import Annotated

import typer
import uvloop

from sharewell import logs
from sharewell.cli.running import apply_migrations, child, run_gateway, run_health
from sharewell.gateway.server import until_signal
from sharewell.settings import DatabaseRole, Settings
from sharewell.store.server import open_database_server
from sharewell_workers.worker import NAMES, SEAL, work


def serve(
    *,
    with_worker: Annotated[
        bool, typer.Option("--worker/--no-worker", help="Run a worker process beside the gateway.")
    ] = True,
    with_migrations: Annotated[
        bool, typer.Option("--migrate/--no-migrate", help="Bring the database up to this release first.")
    ] = True,
) -> None:
    """Serve the GraphQL gateway, with its workers unless told otherwise.

    Without SHAREWELL_DATABASE_URL a PostgreSQL of its own is started and stopped with it. Stop it with Ctrl-C or
    SIGTERM: requests under way are finished, jobs go back to the queue, nothing is left behind.
    """
    settings = Settings.from_environment()
    logs.configure(settings.log_level, settings.log_format)
    uvloop.run(_serve(settings, with_worker=with_worker, with_migrations=with_migrations))


async def _serve(settings: Settings, *, with_worker: bool, with_migrations: bool) -> None:
    with until_signal() as stop:
        async with open_database_server(settings) as server:
            if with_migrations:
                await apply_migrations(server)
            if not with_worker:
                await run_gateway(settings, server, stop)
                return
            async with child(["worker", "--until-stdin-closes"], dict(os.environ)):
                await run_gateway(settings, server, stop)


def worker(
    jobs: Annotated[
        str, typer.Option(help=f"Which jobs to run, separated by commas: {', '.join(NAMES)}.")
    ] = ",".join(NAMES),
    metrics_port: Annotated[
        int, typer.Option(help="Serve /metrics, /healthz and /readyz on this port; 0 for none.")
    ] = 0,
    until_stdin_closes: Annotated[
        bool, typer.Option("--until-stdin-closes", hidden=True, help="End with the process that started this one.")
    ] = False,
) -> None:
    """Run jobs from the queue and seal the audit log.

    Any number of workers may run at once: each job is run by one, a lost worker's jobs are taken by the others, and
    one sequencer at a time seals. Stop it with Ctrl-C or SIGTERM; its jobs go back to the queue.
    """
    names = [name.strip() for name in jobs.split(",")]
    unknown = sorted(set(names) - set(NAMES))
    if unknown:
        raise typer.BadParameter(f"{unknown[0]!r} is not a job; there are {', '.join(NAMES)}.", param_hint="--jobs")
    settings = Settings.from_environment()
    logs.configure(settings.log_level, settings.log_format)
    uvloop.run(_work(settings, names, metrics_port, until_stdin_closes=until_stdin_closes))


async def _work(settings: Settings, names: list[str], metrics_port: int, *, until_stdin_closes: bool) -> None:
    role = DatabaseRole.SEQUENCER if names == [SEAL] else DatabaseRole.WORKER
    with until_signal() as stop:
        async with open_database_server(settings) as server, asyncio.TaskGroup() as group:
            watching = [group.create_task(_stdin_closes(stop))] if until_stdin_closes else []
            if metrics_port:
                group.create_task(run_health(settings, server, role, metrics_port, stop))
            await work(settings, server, names, stop)
            stop.set()
            for task in watching:
                task.cancel()


async def _stdin_closes(stop: asyncio.Event) -> None:
    """Set `stop` once whoever started this process is gone, and its end of the pipe with it."""
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin.buffer)
    await reader.read()
    stop.set()
