"""`sharewell migrate`: bring the database up to this release."""

from __future__ import annotations

import asyncio
from typing import Annotated

import typer

from sharewell.cli.machine import apply_migrations
from sharewell.settings import Settings
from sharewell.store.migrate import MigrationError
from sharewell.store.server import open_database_server


def migrate(
    quiet: Annotated[bool, typer.Option("--quiet", help="Say nothing unless something is wrong.")] = False,
) -> None:
    """Apply the migrations of this release that the database still lacks.

    Any number of processes may do this at once; each migration is applied once. A migration file that was edited
    after it was applied is refused, and nothing is changed.
    """
    try:
        applied = asyncio.run(_migrate(Settings.from_environment()))
    except MigrationError as why:
        typer.echo(f"sharewell: {why}", err=True)
        raise typer.Exit(1) from None
    if not quiet:
        for name in applied:
            typer.echo(f"applied {name}")
        typer.echo(f"{len(applied)} migrations applied; the database is up to date.")


async def _migrate(settings: Settings) -> list[str]:
    async with open_database_server(settings) as server:
        return [migration.name for migration in await apply_migrations(server)]
