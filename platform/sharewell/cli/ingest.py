"""`sharewell ingest`: take in a published file, here and now or through the queue, and say how good it is."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from rich.console import Console

from sharewell.cli.machine import apply_migrations, platform_services
from sharewell.clock import clock
from sharewell.domain.errors import Invalid
from sharewell.domain.quality import QualityReport
from sharewell.exchange import formats
from sharewell.exchange.feed import FeedRefused
from sharewell.exchange.inbox import Inbox, read_file
from sharewell.services.feeds import Ingested
from sharewell.settings import DatabaseRole, Settings
from sharewell.store.server import DatabaseServer, open_database_server
from sharewell.wiring import open_services, operator, worker_caller

screen = Console(stderr=True)
REFUSED = 2  #: exit status for a file that cannot be taken as it is
CALLER = worker_caller("ingest", "command-line")


@dataclass(frozen=True, slots=True)
class Parcel:
    """What is handed in."""

    format: str
    name: str
    data: bytes
    locations: bytes | None


def ingest(
    format: Annotated[str, typer.Argument(help=f"One of {', '.join(formats.FORMATS)}.", show_default=False)],  # noqa: A002
    file: Annotated[Path, typer.Argument(help="The file as it was published.", show_default=False)],
    *,
    locations: Annotated[
        Path | None, typer.Option(help="For nj: JSON file with the places of its units, by name.", show_default=False)
    ] = None,
    queue: Annotated[
        bool, typer.Option("--queue", help="Leave it to the workers of a running platform, and return at once.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Take in a published file, such as a CSV of the HHS, DIVI or New Jersey.

    The whole file is checked first. If a cell is wrong, its row and column
    are told, the exit status is 2 and nothing has changed. Otherwise all of
    it is stored under one decision of the audit log, and a report says for
    each resource what was reported, suppressed, imputed or carried forward,
    and which rules hit. The same file twice changes nothing.

    Formats: hhs (US HHS hospital capacity by facility, weekly), divi (German
    intensive care register by Land, daily), nj (New Jersey hospital census,
    daily). docs/feeds.md says what each column becomes.
    """
    settings = Settings.from_environment()
    try:
        known = formats.find(format)
        parcel = Parcel(format, file.name, _bytes_of(file), None if locations is None else _bytes_of(locations))
        latest = clock(settings.clock_file)().date()
        with screen.status(f"Checking {file.name} as {known.title} ..."):
            quality = formats.read(format, parcel.data, latest=latest, locations=parcel.locations).quality
        with screen.status("Handing it to the platform ..."):
            done = asyncio.run(_enqueue(settings, parcel) if queue else _take_in(settings, parcel))
    except FeedRefused as refused:
        _refuse({"message": refused.message, "row": refused.row, "column": refused.column}, as_json=as_json)
    except Invalid as refused:
        _refuse({"message": refused.message, "row": None, "column": None}, as_json=as_json)
    _tell(done, quality, as_json=as_json)


async def _take_in(settings: Settings, parcel: Parcel) -> Ingested:
    """The very use case that a worker runs, in this process."""
    async with open_database_server(settings) as server:
        await _prepare(settings, server)
        async with open_services(settings, server, DatabaseRole.WORKER, most=2) as services:
            return await services.feeds.ingest(
                CALLER, parcel.format, parcel.data, name=parcel.name, locations=parcel.locations
            )


async def _prepare(settings: Settings, server: DatabaseServer) -> None:
    """What a file needs that comes first: the tables, and the catalogue of resources."""
    await apply_migrations(server)
    async with open_services(settings, server, DatabaseRole.GATEWAY, most=2) as services:
        await services.resources.define_catalogue(operator())


async def _enqueue(settings: Settings, parcel: Parcel) -> None:
    inbox = Inbox(settings.home)
    async with platform_services(settings, DatabaseRole.WORKER) as services:
        sha256 = inbox.put(parcel.data)
        locations_sha256 = "" if parcel.locations is None else inbox.put(parcel.locations)
        await services.feeds.enqueue(CALLER, parcel.format, sha256, name=parcel.name, locations_sha256=locations_sha256)


def _bytes_of(path: Path) -> bytes:
    try:
        return read_file(path)
    except OSError as why:
        raise FeedRefused(f"{path} cannot be read: {why.strerror}.") from why


def _refuse(why: Mapping[str, Any], *, as_json: bool) -> NoReturn:
    if as_json:
        typer.echo(json.dumps({"refused": why}))
    else:
        typer.echo(f"sharewell: {why['message']}\nNothing was changed.", err=True)
    raise typer.Exit(REFUSED)


def _tell(done: Ingested | None, quality: QualityReport, *, as_json: bool) -> None:
    if as_json:
        taken = None if done is None else {**asdict(done.feed), "repeated": done.repeated}
        (taken or {}).pop("quality", None)
        typer.echo(json.dumps({"feed": taken, "quality": quality.to_json()}, default=str))
        return
    for sentence in quality.sentences():
        typer.echo(sentence)
    if done is None:
        typer.echo("The file waits in the inbox; a worker takes it in.")
        return
    feed = done.feed
    if done.repeated:
        typer.echo(f"This very file was taken in at {feed.ingested_at:%Y-%m-%d %H:%M} UTC; nothing was changed.")
        return
    typer.echo(
        f"Stored {feed.reports_new} new reports and {feed.reports_corrected} that correct earlier ones; "
        f"{feed.reports_unchanged} said nothing new. New institutions: {feed.institutions_new}."
    )
    typer.echo(f"Decision {feed.decision} is on record.")
