"""The database of a platform, for commands given on its machine: brought up to this release, or there already.

A command that only looks or mends must not make an empty platform where it was called in the wrong folder.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg

from sharewell.settings import DatabaseRole, Settings, SettingsError
from sharewell.store.migrate import Migration, migrate, pending
from sharewell.store.server import DatabaseServer, is_there, open_database_server
from sharewell.wiring import Services, migrations, open_services


async def apply_migrations(server: DatabaseServer) -> list[Migration]:
    """Bring the database up to this release; return what was applied now."""
    conn = await asyncpg.connect(server.url(DatabaseRole.MIGRATOR), timeout=10)
    try:
        return await migrate(conn, migrations())
    finally:
        await conn.close()


async def refuse_empty(server: DatabaseServer) -> None:
    """Raise `SettingsError` where no release has ever migrated the database: a gateway has nothing to answer from."""
    conn = await asyncpg.connect(server.url(DatabaseRole.GATEWAY), timeout=10)
    try:
        if await conn.fetchval("select to_regclass('migration.applied')") is None:
            raise SettingsError("the database holds no platform yet; run `sharewell migrate` first.")
    finally:
        await conn.close()


@asynccontextmanager
async def platform_database(settings: Settings, role: DatabaseRole) -> AsyncIterator[DatabaseServer]:
    """The database of a platform, with every migration. Raises `SettingsError` where there is none, or an older one."""
    if not is_there(settings):
        raise SettingsError(f"{settings.home} holds no platform; {_SAME_SETTINGS}")
    async with open_database_server(settings) as server:
        conn = await asyncpg.connect(server.url(role), timeout=10)
        try:
            lacking = await pending(conn, migrations())
        finally:
            await conn.close()
        if lacking:
            raise SettingsError(
                f"the database lacks migration {lacking[0].name}: run `sharewell migrate` first; {_SAME_SETTINGS}"
            )
        yield server


@asynccontextmanager
async def platform_services(settings: Settings, role: DatabaseRole) -> AsyncIterator[Services]:
    """The services of such a platform, for one command."""
    async with (
        platform_database(settings, role) as server,
        open_services(settings, server, role, most=2) as services,
    ):
        yield services


_SAME_SETTINGS = "give the settings of `sharewell serve` (SHAREWELL_HOME, or SHAREWELL_DATABASE_URL), or its folder."
