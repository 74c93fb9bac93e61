"""`sharewell key`: the key that signs access tokens, changed while gateways run."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import typer

from sharewell import logs
from sharewell.cli.machine import platform_services
from sharewell.cli.running import OAUTH_KEYS
from sharewell.gateway.oauth.keys import KEPT, LEAD, replace, rotated
from sharewell.settings import DatabaseRole, Settings
from sharewell.wiring import operator

app = typer.Typer(no_args_is_help=True, add_completion=False, help="Bring a new key for access tokens into use.")


@app.callback()
def group() -> None:
    """Keep the keys of access tokens."""


@app.command("rotate")
def rotate_key() -> None:
    """Add a new key to the file of token keys; running gateways find it, publish it, and sign with it after a while.

    Keys that have not signed for a day are dropped. The change is recorded in the audit log.
    """
    settings = Settings.from_environment()
    logs.configure("warning", settings.log_format)
    kid = asyncio.run(_rotate(settings))
    minutes, days = int(LEAD.total_seconds() // 60), KEPT.days
    typer.echo(f"{kid} signs in {minutes} minutes; the key before it is kept for {days} day.", err=True)


async def _rotate(settings: Settings) -> str:
    async with platform_services(settings, DatabaseRole.GATEWAY) as services:
        path = settings.home / OAUTH_KEYS
        keys = rotated(path, at=datetime.now(UTC))
        await services.policies.key_in_use(operator("rotate"), keys.kid, "access tokens")
        replace(path, keys)  # after the record: a key that signs is always on record
        return keys.kid
