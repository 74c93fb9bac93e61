"""The database that k8s/postgres sets up is good enough for the platform, and no wider than what it makes itself."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

import asyncpg
import pytest
import yaml

from sharewell.settings import DatabaseRole
from sharewell.store import embedded, server
from sharewell.store.migrate import migrate
from sharewell.store.pools import open_pool

CLUSTER = Path(__file__).parents[2] / "k8s" / "postgres" / "cluster.yaml"
LOGINS = """
select rolname, rolcanlogin, rolsuper, rolcreaterole, rolcreatedb, rolbypassrls from pg_roles
where rolname ~ '^sharewell_' order by 1
"""
SETTINGS = "select rolname, unnest(rolconfig) from pg_roles where rolname ~ '^sharewell_' order by 1, 2"
LOCALE = """
select pg_encoding_to_char(encoding), datlocprovider::text, datlocale from pg_database
where datname = current_database()
"""
RIGHTS = """
select rolname, kind from pg_roles, unnest(array['connect', 'temporary', 'create']) kind
where rolname ~ '^sharewell_' and has_database_privilege(rolname, 'sharewell', kind) order by 1, 2
"""


@pytest.fixture
def bare_server() -> Iterator[embedded.EmbeddedPostgres]:
    """A server that has never heard of us."""
    home = Path(tempfile.mkdtemp(prefix="sharewell-test-"))
    home.chmod(0o711)
    running = embedded.start(home)
    try:
        yield running
    finally:
        running.leave()
        shutil.rmtree(home)


async def as_the_operator_does(running: embedded.EmbeddedPostgres, spec: Any) -> None:
    """What CloudNativePG does with `bootstrap.initdb` and `managed.roles`, as far as roles and rights go."""
    initdb = spec["bootstrap"]["initdb"]
    admin = await asyncpg.connect(running.url(embedded.SUPERUSER, "postgres"))
    await admin.execute(f"create role {initdb['owner']} login")
    await admin.execute(
        f"create database {initdb['database']} owner {initdb['owner']} template template0"
        f" encoding {initdb['encoding']!r} locale_provider {initdb['localeProvider']}"
        f" builtin_locale {initdb['builtinLocale']!r}"
    )
    await admin.close()
    admin = await asyncpg.connect(running.url(embedded.SUPERUSER, initdb["database"]))
    for statement in initdb["postInitApplicationSQL"]:
        await admin.execute(statement)
    for role in spec["managed"]["roles"]:
        assert role["login"]
        assert not role["superuser"]
        await admin.execute(f"alter role {role['name']} login nosuperuser connection limit {role['connectionLimit']}")
    await admin.close()


async def looked_at(running: embedded.EmbeddedPostgres) -> list[list[Any]]:
    admin = await asyncpg.connect(running.url(embedded.SUPERUSER, "sharewell"))
    found = [[tuple(row) for row in await admin.fetch(question)] for question in (LOGINS, SETTINGS, RIGHTS, LOCALE)]
    await admin.close()
    return found


async def test_migrations_run_and_every_login_works_and_is_made_as_we_make_it(
    bare_server: embedded.EmbeddedPostgres,
) -> None:
    spec = yaml.safe_load(CLUSTER.read_text())["spec"]
    await as_the_operator_does(bare_server, spec)
    theirs = await looked_at(bare_server)

    migrator = await asyncpg.connect(bare_server.url(DatabaseRole.MIGRATOR, "sharewell"))
    assert await migrate(migrator, files("sharewell_schema") / "sql")
    await migrator.close()
    for role in (DatabaseRole.GATEWAY, DatabaseRole.WORKER, DatabaseRole.SEQUENCER):
        async with open_pool(bare_server.url(role, "sharewell"), role) as pool:
            assert await pool.fetchval("select current_user") == role
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await pool.execute("create table audit.mine ()")

    admin = await asyncpg.connect(bare_server.url(embedded.SUPERUSER, "sharewell"))
    await server.make_roles(admin, dict.fromkeys(DatabaseRole))
    await server.open_to_roles(admin, "sharewell")
    await admin.close()
    assert await looked_at(bare_server) == theirs
