"""Brings the database's schema forward: numbered SQL files, each applied once, in order, and never changed after.

A file `0007_name.sql` runs in a transaction of its own. One that opens with `-- no-transaction` holds a single
statement that PostgreSQL allows outside of one only, such as `create index concurrently if not exists`.

A release goes on serving, and starts again, where a later one has migrated already: so that no user waits while
gateways are replaced, and there is a way back. A migration that code from before it cannot work with opens with
`-- breaking`.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from importlib.resources.abc import Traversable
from typing import Any

import asyncpg
import structlog

from sharewell.domain.errors import SharewellError

LOCK = 0x5348_4152_4557_4C02
POLL_SECONDS = 0.1
NO_TRANSACTION = "-- no-transaction"
BREAKING = "-- breaking"
RECORD = """
create schema if not exists migration;
create table if not exists migration.applied (
  number integer primary key,
  name text not null,
  sha256 text not null,
  applied_at timestamptz not null default now()
);
do $$ begin
  -- Only where it lacks: `alter table` waits for all who read, such as a dump, and whoever reads then waits behind it.
  if not exists (select from pg_attribute
                  where attrelid = 'migration.applied'::regclass and attname = 'breaking' and not attisdropped) then
    alter table migration.applied add column breaking boolean not null default false;
  end if;
end $$;
grant usage on schema migration to public;
grant select on migration.applied to public;
"""


log = structlog.stdlib.get_logger("sharewell.migrate")


class MigrationError(SharewellError):
    """The database and the migration files do not fit together; the message says which file and what to do."""


@dataclass(frozen=True, slots=True, order=True)
class Migration:
    """One numbered SQL file."""

    number: int
    name: str
    sql: str

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.sql.encode()).hexdigest()

    @property
    def breaking(self) -> bool:
        """Whether code from before it cannot work with what it leaves."""
        return self.sql.startswith(BREAKING)


def migrations(folder: Traversable) -> list[Migration]:
    """Read the SQL files of `folder`, in order. Raises `MigrationError` where names or numbers do not fit."""
    found = []
    for file in folder.iterdir():
        if file.name.endswith(".sql"):
            number = re.match(r"(\d{4})_[a-z0-9_]+\.sql$", file.name)
            if number is None:
                raise MigrationError(f"{file.name} is not a migration's name; call it like 0012_what_it_does.sql.")
            found.append(Migration(int(number[1]), file.name, file.read_text(encoding="utf-8")))
    numbers = [each.number for each in found]
    if len(set(numbers)) < len(numbers):
        raise MigrationError(f"Two migrations have the same number: {', '.join(sorted(each.name for each in found))}.")
    return sorted(found)


async def migrate(
    conn: asyncpg.Connection[Any], folder: Traversable, applied: Callable[[Migration], None] = lambda _: None
) -> list[Migration]:
    """Apply what is not applied yet and return it; `applied` is called after each one.

    Any number of processes may do this at once: one works, and the others find nothing left to do.
    Raises `MigrationError`, before anything is changed, where a file was edited or is missing, or a later release made
    a change that this one cannot work with; and where the database refuses what it is asked.
    """
    files = migrations(folder)
    async with _alone(conn):
        await _make_record(conn)
        waiting = await _waiting(conn, files)
        for migration in waiting:
            await _apply(conn, migration)
            applied(migration)
        newest = await conn.fetchrow("select number, name from migration.applied order by number desc limit 1")
        if newest and newest["number"] > files[-1].number:
            log.warning("the database is ahead of this release", newest=newest["name"], known=files[-1].name)
    return waiting


async def pending(conn: asyncpg.Connection[Any], folder: Traversable) -> list[Migration]:
    """Return the migrations that this database still lacks, without applying any."""
    files = migrations(folder)
    if await conn.fetchval("select to_regclass('migration.applied')") is None:
        return files
    return await _waiting(conn, files)


@asynccontextmanager
async def _alone(conn: asyncpg.Connection[Any]) -> AsyncIterator[None]:
    # Polling, because a session that waits inside pg_advisory_lock() holds a snapshot, and another one's
    # `create index concurrently` waits for that snapshot to go: the two would wait for each other.
    while not await conn.fetchval("select pg_try_advisory_lock($1)", LOCK):  # noqa: ASYNC110 - the database decides
        await asyncio.sleep(POLL_SECONDS)
    try:
        yield
    finally:
        await conn.execute("select pg_advisory_unlock($1)", LOCK)


async def _make_record(conn: asyncpg.Connection[Any]) -> None:
    try:
        await conn.execute(RECORD)
    except asyncpg.PostgresError as why:
        raise MigrationError(f"The record of migrations, migration.applied, cannot be made: {why}") from why


async def _waiting(conn: asyncpg.Connection[Any], files: list[Migration]) -> list[Migration]:
    # All columns, since a release from before `breaking` may have made the table.
    done = {row["number"]: row for row in await conn.fetch("select * from migration.applied order by number")}
    newest = max((file.number for file in files), default=0)
    for number in set(done) - {file.number for file in files}:
        if number < newest or done[number].get("breaking"):
            raise MigrationError(
                f"The database has {done[number]['name']}, which this release does not know; use the release that does."
            )
    for file in files:
        if file.number in done and file.sha256 != done[file.number]["sha256"]:
            raise MigrationError(f"{file.name} was changed after it was applied; undo that and add a new migration.")
    waiting = [file for file in files if file.number not in done]
    for file in waiting:
        if file.number < max(done, default=0):
            raise MigrationError(f"{file.name} comes before one that is applied already; give it the next number.")
    return waiting


async def _apply(conn: asyncpg.Connection[Any], migration: Migration) -> None:
    try:
        if migration.sql.startswith(NO_TRANSACTION):
            await conn.execute(migration.sql)
            await _record(conn, migration)
            return
        async with conn.transaction():
            await conn.execute(migration.sql)
            await _record(conn, migration)
    except asyncpg.PostgresError as why:
        raise MigrationError(f"{migration.name} failed and was undone: {why}") from why


async def _record(conn: asyncpg.Connection[Any], migration: Migration) -> None:
    await conn.execute(
        "insert into migration.applied (number, name, sha256, breaking) values ($1, $2, $3, $4)",
        migration.number, migration.name, migration.sha256, migration.breaking,
    )  # fmt: skip
