"""How a long command ends before its time when a signal comes: in order."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any, TypeVar

import typer

from sharewell.gateway.server import until_signal

STOPPED = 130  #: exit status of a command that was told to stop, as shells have it

Result = TypeVar("Result")


async def unless_stopped(work: Coroutine[Any, Any, Result]) -> Result:
    """What `work` returns; on SIGTERM or SIGINT it is ended in order, and `typer.Exit` is raised."""
    with until_signal() as stop:
        working, stopping = asyncio.ensure_future(work), asyncio.ensure_future(stop.wait())
        try:
            await asyncio.wait([working, stopping], return_when=asyncio.FIRST_COMPLETED)
            if working.done():
                return working.result()
        finally:
            for task in (working, stopping):
                task.cancel()
            with suppress(asyncio.CancelledError):
                await working
        raise typer.Exit(STOPPED)
