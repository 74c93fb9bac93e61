"""How a long command ends before its time: in order when a signal comes, and with a sentence when something fails."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager, suppress
from typing import Any, TypeVar

import typer

from sharewell.cli.main import causes
from sharewell.client import ApiError
from sharewell.domain.errors import SharewellError
from sharewell.gateway.server import until_signal

STOPPED = 130  #: exit status of a command that was told to stop, as shells have it
FORESEEN = (ApiError, SharewellError)

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


@contextmanager
def explained() -> Iterator[None]:
    """A failure that was foreseen becomes a sentence and exit status 1; any other stays what it is."""
    try:
        yield
    except Exception as error:
        found = list(causes(error))
        if not all(isinstance(cause, FORESEEN) for cause in found):
            raise
        for sentence in dict.fromkeys(map(str, found)):
            typer.echo(f"sharewell: {sentence}", err=True)
        raise typer.Exit(1) from None
