"""What many tests need: the folder of real data, and a PostgreSQL with a fresh, migrated database for each test.

The server is the embedded one, started once for a run; SHAREWELL_DATABASE_URL names another, whose login must be
allowed to make roles and databases. A test that asks for none of this pays for none of it.
"""

from __future__ import annotations

import asyncio
import io
import itertools
import logging
import os
import secrets
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import TypeAlias
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import pytest
import structlog
from hypothesis import settings

from sharewell import logs
from sharewell.settings import DatabaseRole
from sharewell.store import embedded, server
from sharewell.store.guard import put_guard
from sharewell.store.migrate import migrate
from sharewell.store.pools import open_pool

# A machine that is busy with something else is no defect of what is tested.
settings.register_profile("any machine", deadline=None)
settings.register_profile("same draws", parent=settings.get_profile("any machine"), derandomize=True)
settings.load_profile("any machine")

ROOM = 2 * 2**30  #: bytes that a server for tests may need

Pool: TypeAlias = "asyncpg.Pool[asyncpg.Record]"
Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of published data and test vectors that is not part of the project."""
    folder = Path(os.environ.get("SHAREWELL_SHARED", Path(__file__).parents[2] / "shared"))
    if not folder.is_dir():
        pytest.skip(f"there is no {folder}; set SHAREWELL_SHARED to the folder of published data")
    return folder


@pytest.fixture
def log_stream() -> Iterator[io.StringIO]:
    """What is logged during the test, one JSON object a line; afterwards logging is as it was."""
    root = logging.getLogger()
    before, level = list(root.handlers), root.level
    stream = io.StringIO()
    logs.configure(stream=stream)
    yield stream
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()
    root.handlers[:] = before
    root.setLevel(level)


@dataclass
class TestServer:
    """A server on which each test gets a database of its own."""

    __test__ = False

    admin_url: str  #: to some database, as a login that may make databases
    password: str | None = None
    template: str = field(default_factory=lambda: f"sharewell_test_{os.getpid()}")
    numbers: Iterator[int] = field(default_factory=itertools.count)

    def url(self, database: str, role: DatabaseRole | None = None) -> str:
        parts = urlsplit(self.admin_url)
        login, _, place = parts.netloc.rpartition("@")
        if role is not None:
            login = role if self.password is None else f"{role}:{self.password}"
        return urlunsplit(parts._replace(netloc=f"{login}@{place}", path=f"/{database}"))

    @asynccontextmanager
    async def admin(self) -> AsyncIterator[Connection]:
        conn = await asyncpg.connect(self.admin_url)
        try:
            yield conn
        finally:
            await conn.close()

    async def make_roles(self) -> None:
        async with self.admin() as admin:
            await server.make_roles(admin, dict.fromkeys(DatabaseRole, self.password))

    async def make_template(self) -> None:
        await self.make(self.template)
        admin = await asyncpg.connect(self.url(self.template))
        try:
            if await admin.fetchval("select rolsuper from pg_roles where rolname = current_user"):
                await put_guard(admin)
        finally:
            await admin.close()
        conn = await asyncpg.connect(self.url(self.template, DatabaseRole.MIGRATOR))
        try:
            await migrate(conn, files("sharewell_schema") / "sql")
        finally:
            await conn.close()

    async def make(self, name: str, template: str = "template0") -> str:
        async with self.admin() as admin:
            await admin.execute(f"create database {name} template {template}")
            await server.open_to_roles(admin, name)
        return name

    async def drop(self, name: str) -> None:
        async with self.admin() as admin:
            await admin.execute(f"drop database {name} with (force)")


@contextmanager
def open_test_server() -> Iterator[TestServer]:
    if url := os.environ.get("SHAREWELL_DATABASE_URL"):
        yield TestServer(url, password=secrets.token_urlsafe(16))
        return
    home = Path(tempfile.mkdtemp(prefix="sharewell-test-", dir=memory_folder()))
    home.chmod(0o711)  # so that the server's own account may enter it where the tests run as root
    running = embedded.start(home)
    try:
        found = TestServer(running.url(embedded.SUPERUSER, "postgres"))
        asyncio.run(forgo_upkeep(found))
        yield found
    finally:
        running.leave()
        shutil.rmtree(home)


def memory_folder() -> Path | None:
    """A folder in memory, where there is one with room: a fresh database for each test is hundreds of files."""
    folder = Path("/dev/shm")
    room = folder.is_dir() and os.access(folder, os.W_OK) and shutil.disk_usage(folder).free >= ROOM
    return folder if room else None


async def forgo_upkeep(found: TestServer) -> None:
    """Nothing here has to survive the machine, so do not wait for its disk; nor does anything live long enough to be
    tidied up, by what would begin at a moment of its own, hold transactions open and change plans."""
    async with found.admin() as admin:
        await admin.execute("alter system set fsync = off")
        await admin.execute("alter system set autovacuum = off")
        await admin.execute("select pg_reload_conf()")


@pytest.fixture(scope="session")
def database_server() -> Iterator[TestServer]:
    """A running server that knows the roles."""
    with open_test_server() as found:
        asyncio.run(found.make_roles())
        yield found


@pytest.fixture(scope="session")
def database_template(database_server: TestServer) -> Iterator[str]:
    """A migrated database, to be copied for each test."""
    asyncio.run(database_server.make_template())
    yield database_server.template
    asyncio.run(database_server.drop(database_server.template))


@pytest.fixture
async def database_name(database_server: TestServer, database_template: str) -> AsyncIterator[str]:
    """A fresh database, migrated and empty."""
    name = f"{database_template}_{next(database_server.numbers)}"
    yield await database_server.make(name, database_template)
    await database_server.drop(name)


@pytest.fixture
async def empty_database_name(database_server: TestServer) -> AsyncIterator[str]:
    """A fresh database that has not been migrated."""
    name = f"{database_server.template}_{next(database_server.numbers)}"
    yield await database_server.make(name)
    await database_server.drop(name)


@pytest.fixture
def database_urls(database_server: TestServer, database_name: str) -> Mapping[DatabaseRole, str]:
    """The connection URL of each role to this test's database."""
    return {role: database_server.url(database_name, role) for role in DatabaseRole}


@pytest.fixture
def admin_dsn(database_server: TestServer, database_name: str) -> str:
    """A superuser's URL to this test's database: for arranging and looking, never for what is tested."""
    return database_server.url(database_name)


@pytest.fixture
def database_environment(database_urls: Mapping[DatabaseRole, str], tmp_path: Path) -> Mapping[str, str]:
    """The environment of a child process that uses this test's database."""
    urls = {role.variable: url for role, url in database_urls.items()}
    ours = {key: value for key, value in os.environ.items() if not key.startswith("SHAREWELL_")}
    return {**ours, **urls, "SHAREWELL_HOME": str(tmp_path)}


@pytest.fixture
async def gateway_pool(database_urls: Mapping[DatabaseRole, str]) -> AsyncIterator[Pool]:
    async with open_pool(database_urls[DatabaseRole.GATEWAY], DatabaseRole.GATEWAY) as pool:
        yield pool


@pytest.fixture
async def worker_pool(database_urls: Mapping[DatabaseRole, str]) -> AsyncIterator[Pool]:
    async with open_pool(database_urls[DatabaseRole.WORKER], DatabaseRole.WORKER) as pool:
        yield pool


@pytest.fixture
async def sequencer_pool(database_urls: Mapping[DatabaseRole, str]) -> AsyncIterator[Pool]:
    async with open_pool(database_urls[DatabaseRole.SEQUENCER], DatabaseRole.SEQUENCER) as pool:
        yield pool


@pytest.fixture
async def migrator_pool(database_urls: Mapping[DatabaseRole, str]) -> AsyncIterator[Pool]:
    async with open_pool(database_urls[DatabaseRole.MIGRATOR], DatabaseRole.MIGRATOR) as pool:
        yield pool
