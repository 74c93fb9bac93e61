"""Real servers: one URL makes the roles and is used by nobody else; the application is never a superuser."""

from __future__ import annotations

import base64
import shutil
import stat
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import asyncpg
import pytest

from sharewell.settings import DatabaseRole, Settings, SettingsError
from sharewell.store import embedded
from sharewell.store.embedded import SUPERUSER, EmbeddedPostgres, ServerError
from sharewell.store.pools import open_pool
from sharewell.store.server import open_database_server, scram_verifier

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.conftest import TestServer

HBA = "local all postgres trust\nlocal all all scram-sha-256\n"


@pytest.fixture(scope="module")
def machine() -> Iterator[EmbeddedPostgres]:
    """A server that asks for passwords, as a real one does."""
    home = Path(tempfile.mkdtemp(prefix="sharewell-machine-"))
    home.chmod(0o711)  # so that the server's own account may enter it where the tests run as root
    made = embedded.start(home)
    (made.folder / "pg_hba.conf").write_text(HBA)
    made.leave()
    running = embedded.start(home)  # goes by it from its first connection on
    yield running
    running.leave()
    shutil.rmtree(home)


@pytest.fixture
async def url(machine: EmbeddedPostgres) -> AsyncIterator[str]:
    """A login that may make roles and owns a database, and is no superuser."""
    admin = await asyncpg.connect(machine.url(SUPERUSER, "postgres"))
    await admin.execute(f"create role owner login createrole password '{scram_verifier('o')}'")
    await admin.execute("create database capacity owner owner")
    yield machine.url("owner", "capacity").replace("owner@", "owner:o@", 1)
    await admin.execute("drop database capacity with (force)")
    for role in DatabaseRole:
        await admin.execute(f"drop role if exists {role}")
    await admin.execute("drop role owner")
    await admin.close()


async def who(url: str, role: DatabaseRole) -> str:
    async with open_pool(url, role) as pool:
        name: str = await pool.fetchval("select current_user || '@' || current_database()")
        return name


async def test_one_url_makes_the_roles_and_is_used_by_nobody_else(url: str, tmp_path: Path) -> None:
    settings = Settings(home=tmp_path / "home", database_url=url)
    async with open_database_server(settings) as server:
        names = [await who(server.url(role), role) for role in DatabaseRole]
    assert names == [f"{role}@capacity" for role in DatabaseRole]
    kept = settings.home / "database-passwords.json"
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    async with open_database_server(settings) as again:
        assert again.urls == server.urls


async def test_the_roles_password_may_be_given(url: str, tmp_path: Path) -> None:
    settings = Settings(home=tmp_path, database_url=url, role_password="p@ss/w:rd%")
    async with open_database_server(settings) as server:
        assert await who(server.url(DatabaseRole.GATEWAY), DatabaseRole.GATEWAY) == "sharewell_gateway@capacity"
    assert list(tmp_path.iterdir()) == []


async def test_only_the_migrator_may_make_schemas_and_strangers_may_not_enter(url: str, tmp_path: Path) -> None:
    async with open_database_server(Settings(home=tmp_path, database_url=url)) as server:
        for role in DatabaseRole:
            conn = await asyncpg.connect(server.url(role))
            may = await conn.fetchval("select has_database_privilege('capacity', 'create')")
            stranger = await conn.fetchval("select has_database_privilege('public', 'capacity', 'connect')")
            await conn.close()
            assert may == (role is DatabaseRole.MIGRATOR)
            assert not stranger


async def test_a_login_that_may_not_make_roles_is_told_what_it_lacks(
    url: str, machine: EmbeddedPostgres, tmp_path: Path
) -> None:
    admin = await asyncpg.connect(machine.url(SUPERUSER, "postgres"))
    await admin.execute("alter role owner nocreaterole")
    await admin.close()
    with pytest.raises(
        ServerError, match=r"must own its database and may create roles.*SHAREWELL_DATABASE_URL_GATEWAY"
    ):
        async with open_database_server(Settings(home=tmp_path, database_url=url)):
            pass


async def test_a_wrong_password_is_a_clear_error_without_the_password(url: str, tmp_path: Path) -> None:
    wrong = url.replace("owner:o@", "owner:hunter2@")
    with pytest.raises(ServerError, match="refuses SHAREWELL_DATABASE_URL: password authentication failed") as caught:
        async with open_database_server(Settings(home=tmp_path, database_url=wrong)):
            pass
    assert "hunter2" not in str(caught.value)


async def test_urls_for_roles_are_used_as_they_are_and_the_others_are_missed(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path, role_urls={DatabaseRole.GATEWAY: "postgresql://me@db/capacity"})
    async with open_database_server(settings) as server:
        assert server.url(DatabaseRole.GATEWAY) == "postgresql://me@db/capacity"
        with pytest.raises(SettingsError, match="SHAREWELL_DATABASE_URL_WORKER is not set"):
            server.url(DatabaseRole.WORKER)


async def test_a_pool_refuses_to_be_a_superuser(database_server: TestServer, admin_dsn: str) -> None:
    with pytest.raises(ServerError, match="is a superuser, and the application must not be one"):
        async with open_pool(admin_dsn, DatabaseRole.GATEWAY):
            pass


async def test_every_pool_has_its_limits(database_urls: Mapping[DatabaseRole, str]) -> None:
    async with open_pool(database_urls[DatabaseRole.GATEWAY], DatabaseRole.GATEWAY) as pool:
        shown = [
            await pool.fetchval("select current_setting($1)", name)
            for name in ("search_path", "TimeZone", "statement_timeout", "idle_in_transaction_session_timeout")
        ]
    assert shown == ["sharewell, queue", "UTC", "30s", "1min"]


def test_the_stored_password_is_the_one_of_the_published_example() -> None:
    # RFC 7677, section 3: password "pencil", this salt, 4096 iterations; the keys follow from its messages.
    found = scram_verifier("pencil", base64.b64decode("W22ZaJ0SNY7soEsUEjb6gQ=="))
    assert found == (
        "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ=="
        "$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU="
    )
