"""`sharewell serve`: answer people, with a worker beside unless told otherwise."""

from __future__ import annotations

import os
from contextlib import AsyncExitStack
from typing import Annotated

import typer
import uvloop

from sharewell import logs
from sharewell.cli.machine import apply_migrations, refuse_empty
from sharewell.cli.running import UntilStdinCloses, child, run_gateway, while_wanted
from sharewell.gateway.server import until_signal
from sharewell.settings import Settings
from sharewell.store.server import open_database_server


def serve(
    *,
    with_worker: Annotated[
        bool, typer.Option("--worker/--no-worker", help="Run a worker process beside the gateway.")
    ] = True,
    with_migrations: Annotated[
        bool, typer.Option("--migrate/--no-migrate", help="Bring the database up to this release first.")
    ] = True,
    until_stdin_closes: UntilStdinCloses = False,
) -> None:
    """Serve the GraphQL gateway, with its workers unless told otherwise.

    Without SHAREWELL_DATABASE_URL a PostgreSQL of its own is started and stopped with it. Stop it with Ctrl-C or
    SIGTERM: requests under way are finished, jobs go back to the queue, nothing is left behind.
    """
    settings = Settings.from_environment()
    logs.configure(settings.log_level, settings.log_format)
    uvloop.run(_serve(settings, with_worker, with_migrations, until_stdin_closes))


async def _serve(settings: Settings, with_worker: bool, with_migrations: bool, until_stdin_closes: bool) -> None:
    with until_signal() as stop:
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(while_wanted(stop, watch_stdin=until_stdin_closes))
            server = await stack.enter_async_context(open_database_server(settings))
            if with_migrations:
                await apply_migrations(server)
            else:
                await refuse_empty(server)
            if with_worker:
                await stack.enter_async_context(child(["worker"], dict(os.environ)))
            await run_gateway(settings, server, stop)
