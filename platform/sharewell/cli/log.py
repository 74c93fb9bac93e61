"""`sharewell log`: export the audit log, read it again for damage, rotate its keys, and show refusals as a witness."""

from __future__ import annotations

import asyncio
import base64
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sharewell.audit.export import export as export_log
from sharewell.audit.fsck import fsck as check_log
from sharewell.audit.keys import load_or_create_keys, rotate_keys
from sharewell.audit.proofs import published_note
from sharewell.audit.publish import published_policy
from sharewell.audit.trust import own_policy
from sharewell.cli import log_dossier, log_period
from sharewell.cli.machine import platform_database
from sharewell.settings import DatabaseRole, Settings
from sharewell.store.log import LogRepository
from sharewell.store.pools import open_pool
from sharewell.store.witness import WitnessRepository

if TYPE_CHECKING:
    import asyncpg

app = typer.Typer(
    no_args_is_help=True, add_completion=False, help="Take the audit log or parts of it away, check it and keep it."
)
app.command("period")(log_period.period)
app.command("dossier")(log_dossier.dossier)

NEWEST = 2**63 - 1


@app.command()
def export(
    folder: Annotated[Path, typer.Argument(help="Folder to make or to bring up to date.", show_default=False)],
) -> None:
    """Write the log to a folder that can be copied, served and verified without a database.

    Only what is new is written, and the checkpoint last; an export that was interrupted is taken up. The folder holds
    the entries themselves: give it to those who may read all of the log, and serve its tile/entries to nobody else.
    """
    exported = asyncio.run(_export(folder))
    if exported is None:
        typer.echo("sharewell: no entry is sealed yet; there is nothing to export.", err=True)
        raise typer.Exit(1)
    size, files = exported
    typer.echo(f"{folder}: {size} entries, {files} files written. Check it with: sharewell verify {folder}")


async def _export(folder: Path) -> tuple[int, int] | None:
    settings = Settings.from_environment()
    async with _connection(settings, DatabaseRole.SEQUENCER) as conn:
        tree = LogRepository(conn)
        signed = await tree.latest_checkpoint()
        if signed is None:
            return None
        policy = await published_policy(tree, own_policy(settings.log_policy, settings.home))
        done = await export_log(conn, folder, await published_note(tree, signed), policy.text())
        return done.size, done.files


@app.command()
def fsck(
    most: Annotated[int, typer.Option(help="Stop after so many findings.", min=1)] = 100,
) -> None:
    """Read the whole log again and name every body, leaf, tile, head or checkpoint that does not fit.

    The exit status is 0 if all of it fits and 1 if not. Nothing is changed.
    """
    looked = asyncio.run(_fsck(most))
    for damage in looked.damages:
        typer.echo(f"damaged: {damage}")
    if looked.damages:
        typer.echo('See "The log is damaged" in docs/operating.md. Keep the database as it is.')
        raise typer.Exit(1)
    typer.echo(f"{looked.entries} entries and {looked.heads} heads fit.")


async def _fsck(most: int) -> Any:
    async with _connection(Settings.from_environment(), DatabaseRole.SEQUENCER) as conn:
        return await check_log(conn, most=most, told=_progress)


def _progress(entries: int, of: int) -> None:
    if sys.stderr.isatty():
        print(f"\r{entries} of {of} entries", end="" if entries < of else "\n", file=sys.stderr)


@app.command()
def rotate(
    origin: Annotated[
        str, typer.Option(help="New name of the log, as for a new year; by default it stays.", show_default=False)
    ] = "",
) -> None:
    """Make new keys for the log; the old one signs a note that names them.

    Stop the sequencers first, start them afterwards, and destroy the retired key file once they have signed. With a
    new name, set SHAREWELL_LOG_ORIGIN to it too. Evidence under old keys stays valid.
    """
    settings = Settings.from_environment()
    keys = rotate_keys(settings.home, origin or settings.log_origin)
    for vkey in keys.vkeys:
        typer.echo(vkey)


@app.command()
def keys() -> None:
    """Print the verifier keys of this log, making them if there are none."""
    settings = Settings.from_environment()
    for vkey in load_or_create_keys(settings.home, settings.log_origin).vkeys:
        typer.echo(vkey)


@app.command()
def refusals(
    first: Annotated[int, typer.Option(help="How many, newest first.", min=1, max=1000)] = 20,
    origin: Annotated[str, typer.Option(help="Only of this log.", show_default=False)] = "",
) -> None:
    """Print what this node, as a witness, did not cosign: one JSON object a line, with both signed checkpoints.

    A fork is proof against the log that signed it; a rollback is a smaller tree than we cosigned, which anybody can
    send who kept an old checkpoint.
    """
    for line in asyncio.run(_refusals(first, origin or None)):
        typer.echo(json.dumps(line))


async def _refusals(first: int, origin: str | None) -> list[dict[str, Any]]:
    async with _connection(Settings.from_environment(), DatabaseRole.GATEWAY) as conn:
        page = await WitnessRepository(conn).refusals(before=NEWEST, origin=origin, first=first)
    return [
        {
            "at": refusal.at.isoformat(), "origin": refusal.origin, "reason": refusal.reason,
            "known_size": refusal.known_size, "known_checkpoint": refusal.known_note.decode(),
            "request": base64.b64encode(refusal.request).decode(),
        }
        for refusal in page.items
    ]  # fmt: skip


@asynccontextmanager
async def _connection(settings: Settings, role: DatabaseRole) -> AsyncIterator[asyncpg.Connection[Any]]:
    async with (
        platform_database(settings, role) as server,
        open_pool(server.url(role), role, most=1) as pool,
        pool.acquire() as conn,
    ):
        yield conn  # type: ignore[misc]  # the proxy has every method of a connection
