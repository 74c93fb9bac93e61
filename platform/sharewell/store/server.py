"""Where the database is and who may log in: the embedded server or a real one, with a login for each kind of work.

An administrator's connection is used here, at start, to make the logins; the application never gets one. What each
login may do with tables is written in the migrations.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import os
import secrets
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit, urlunsplit

import asyncpg

from sharewell.settings import DatabaseRole, Settings, SettingsError
from sharewell.store.embedded import SUPERUSER, EmbeddedPostgres, ServerError, data_folder, embedded_postgres
from sharewell.store.guard import put_guard

DATABASE = "sharewell"
BOOTSTRAP_LOCK = 0x5348_4152_4557_4C01  #: advisory lock: one bootstrap at a time
ANSWER_SECONDS = 60.0
SCRAM_ITERATIONS = 4096  # PostgreSQL's own default

#: How long one transaction of a role may take, in PostgreSQL 17 and later; migrations take what they take.
TRANSACTION_TIMEOUT = {DatabaseRole.GATEWAY: "60s", DatabaseRole.WORKER: "30min", DatabaseRole.SEQUENCER: "10min"}


@dataclass(frozen=True, slots=True)
class DatabaseServer:
    """A database that can be reached, with one URL for each role."""

    urls: Mapping[DatabaseRole, str] = field(repr=False)

    def url(self, role: DatabaseRole) -> str:
        """Return the connection URL of `role`. Raises `SettingsError` where none was given."""
        if role not in self.urls:
            raise SettingsError(f"{role.variable} is not set; this process needs the login of {role}.")
        return self.urls[role]


def is_there(settings: Settings) -> bool:
    """Whether there is a database yet: a server that is named, or an embedded one that was set up."""
    named = settings.database_url is not None or bool(settings.role_urls)
    return named or data_folder(settings.home).is_dir()


@asynccontextmanager
async def open_database_server(settings: Settings) -> AsyncIterator[DatabaseServer]:
    """Give access to the database that `settings` select, for the length of an `async with` block.

    URLs for single roles are used as they are. A single URL is used to make the roles and by nobody else. Without
    any, the embedded server runs while the block does. Raises `ServerError` or `SettingsError` where that fails.
    """
    given = settings.role_urls
    if settings.database_url is not None:
        yield DatabaseServer({**await _bootstrap_real(settings, settings.database_url), **given})
    elif given:
        yield DatabaseServer(given)
    else:
        async with embedded_postgres(settings.home) as embedded:
            yield await _bootstrap_embedded(embedded)


async def _bootstrap_embedded(embedded: EmbeddedPostgres) -> DatabaseServer:
    admin = await _connect(embedded.url(SUPERUSER, "postgres"))
    try:
        await make_roles(admin, dict.fromkeys(DatabaseRole))
        if not await admin.fetchval("select true from pg_database where datname = $1", DATABASE):
            await admin.execute(f"create database {DATABASE}")
        await open_to_roles(admin, DATABASE)
        inside = await _connect(embedded.url(SUPERUSER, DATABASE))
        try:
            await put_guard(inside)
        finally:
            await inside.close()
    finally:
        await admin.close()  # and with it its locks
    return DatabaseServer({role: embedded.url(role, DATABASE) for role in DatabaseRole})


async def _bootstrap_real(settings: Settings, url: str) -> dict[DatabaseRole, str]:
    admin = await _connect(url)
    try:
        await _lock(admin)
        passwords = _passwords(settings)
        await make_roles(admin, passwords)
        await open_to_roles(admin, await admin.fetchval("select current_database()"))
        if await admin.fetchval("select rolsuper from pg_roles where rolname = current_user"):
            await put_guard(admin)
    except asyncpg.InsufficientPrivilegeError as why:
        raise ServerError(
            f"The login of SHAREWELL_DATABASE_URL must own its database and may create roles ({why.args[0]}). Give it "
            f"`createrole`, or make the roles yourself and set {DatabaseRole.GATEWAY.variable} and its siblings."
        ) from None
    finally:
        await admin.close()
    return {role: _as(url, role, password) for role, password in passwords.items()}


async def _connect(url: str) -> asyncpg.Connection[Any]:
    """Connect as an administrator, waiting a while for a server that is still starting."""
    deadline = time.monotonic() + ANSWER_SECONDS
    while True:
        try:
            return await asyncpg.connect(url, timeout=10, server_settings={"application_name": "sharewell bootstrap"})
        except (OSError, asyncpg.CannotConnectNowError, asyncpg.PostgresConnectionError) as why:
            if time.monotonic() > deadline:
                raise ServerError(f"The database server does not answer: {why}") from None
            await asyncio.sleep(0.2)
        except (asyncpg.PostgresError, ValueError, asyncpg.InterfaceError) as why:
            raise ServerError(f"The database server refuses SHAREWELL_DATABASE_URL: {why}") from None


async def _lock(admin: asyncpg.Connection[Any]) -> None:
    await admin.execute("select pg_advisory_lock($1)", BOOTSTRAP_LOCK)


async def make_roles(admin: asyncpg.Connection[Any], passwords: Mapping[DatabaseRole, str | None]) -> None:
    """Make the roles that are missing and set the given passwords; harmless where all is as it should be."""
    await _lock(admin)
    has_transaction_timeout = admin.get_server_version() >= (17,)
    for role, password in passwords.items():
        if not await admin.fetchval("select true from pg_roles where rolname = $1", role):
            await admin.execute(f"create role {role} login")
        await admin.execute(f"alter role {role} set search_path = {DATABASE}, queue")
        if password is not None:
            await admin.execute(f"alter role {role} password '{scram_verifier(password)}'")
        if has_transaction_timeout and role in TRANSACTION_TIMEOUT:
            await admin.execute(f"alter role {role} set transaction_timeout = '{TRANSACTION_TIMEOUT[role]}'")


async def open_to_roles(admin: asyncpg.Connection[Any], database: str) -> None:
    """Let the roles into `database`, and nobody else; only the migrator may make schemas."""
    name = '"' + database.replace('"', '""') + '"'
    await admin.execute(f"revoke all on database {name} from public")
    await admin.execute(f"grant connect on database {name} to {', '.join(DatabaseRole)}")
    await admin.execute(f"grant temporary on database {name} to {DatabaseRole.WORKER}")
    await admin.execute(f"grant create, temporary on database {name} to {DatabaseRole.MIGRATOR}")


def scram_verifier(password: str, salt: bytes | None = None) -> str:
    """Return what PostgreSQL stores of a password (RFC 5802, RFC 7677), so that no log of statements shows it."""
    salt = secrets.token_bytes(16) if salt is None else salt
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), salt, SCRAM_ITERATIONS)
    stored = hashlib.sha256(hmac.digest(salted, b"Client Key", "sha256")).digest()
    server = hmac.digest(salted, b"Server Key", "sha256")
    salt_64, stored_64, server_64 = (base64.b64encode(part).decode() for part in (salt, stored, server))
    return f"SCRAM-SHA-256${SCRAM_ITERATIONS}:{salt_64}${stored_64}:{server_64}"


def _passwords(settings: Settings) -> dict[DatabaseRole, str]:
    """Return each role's password: the one that was set, or some that are made once and kept in the home."""
    if settings.role_password is not None:
        return dict.fromkeys(DatabaseRole, settings.role_password)
    path = settings.home / "database-passwords.json"
    if not path.exists():
        _write_private(path, json.dumps({role: secrets.token_urlsafe(24) for role in DatabaseRole}))
    kept = json.loads(path.read_text())
    return {role: kept[role] for role in DatabaseRole}


def _write_private(path: Path, text: str) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    unfinished = path.with_suffix(".unfinished")
    with os.fdopen(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(text)
    unfinished.rename(path)


def _as(url: str, role: DatabaseRole, password: str) -> str:
    parts = urlsplit(url)
    place = parts.netloc.rpartition("@")[2]
    return urlunsplit(parts._replace(netloc=f"{role}:{quote(password, safe='')}@{place}"))
