"""`sharewell worker`: run jobs from the queue and seal the audit log."""

from __future__ import annotations

import asyncio
from typing import Annotated

import typer
import uvloop

from sharewell import logs
from sharewell.cli.running import UntilStdinCloses, run_health, while_wanted
from sharewell.domain.errors import Invalid
from sharewell.gateway.server import until_signal
from sharewell.settings import DatabaseRole, Settings, SettingsError
from sharewell.store.server import open_database_server
from sharewell_workers.forecasting import calendars
from sharewell_workers.worker import NAMES, SEAL, work


def worker(
    jobs: Annotated[
        str, typer.Option(help=f"Which jobs to run, separated by commas: {', '.join(NAMES)}.")
    ] = ",".join(NAMES),
    metrics_port: Annotated[
        int, typer.Option(help="Serve /metrics, /healthz and /readyz on this port; 0 for none.")
    ] = 0,
    until_stdin_closes: UntilStdinCloses = False,
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
    _check_country(settings, names)
    logs.configure(settings.log_level, settings.log_format)
    uvloop.run(_work(settings, names, metrics_port, until_stdin_closes=until_stdin_closes))


def _check_country(settings: Settings, names: list[str]) -> None:
    """Find out now, not in every forecast, that nothing is known of the holidays of SHAREWELL_COUNTRY."""
    try:
        if settings.country and "forecast" in names:
            calendars.checked(settings.country)
    except Invalid as error:
        raise SettingsError(f"SHAREWELL_COUNTRY: {error.message}") from None


async def _work(settings: Settings, names: list[str], metrics_port: int, *, until_stdin_closes: bool) -> None:
    role = DatabaseRole.SEQUENCER if names == [SEAL] else DatabaseRole.WORKER
    with until_signal() as stop:
        async with (
            while_wanted(stop, watch_stdin=until_stdin_closes),
            open_database_server(settings) as server,
            asyncio.TaskGroup() as group,
        ):
            if metrics_port:
                group.create_task(run_health(settings, server, role, metrics_port, stop))
            await work(settings, server, names, stop)
            stop.set()
