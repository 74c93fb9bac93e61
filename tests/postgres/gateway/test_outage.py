"""The database goes away and comes back under a running gateway: it says so, loses nothing and needs no restart."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import asyncpg
import httpx2
import pytest

from sharewell.client import ApiClient
from sharewell.settings import DatabaseRole, Settings
from sharewell.store.migrate import migrate
from sharewell.store.pools import open_pool
from sharewell.store.server import open_database_server
from sharewell.wiring import migrations

if TYPE_CHECKING:
    from tests.conftest import TestServer
    from tests.postgres.gateway.conftest import FrontDoor, OpenDoor

ISSUER = "https://sharewell.example"


class Switch:
    """A PostgreSQL of its own that can be turned off and on."""

    def __init__(self, home: Path) -> None:
        self._settings = Settings(home=home)
        self._running = AsyncExitStack()
        self.urls: dict[DatabaseRole, str] = {}

    async def on(self) -> None:
        server = await self._running.enter_async_context(open_database_server(self._settings))
        self.urls = {role: server.url(role) for role in DatabaseRole}

    async def off(self) -> None:
        await self._running.aclose()


@pytest.fixture
def home() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="sharewell-outage-"))
    folder.chmod(0o711)  # so that the server's own account may enter it where the tests run as root
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
async def switch(home: Path) -> AsyncIterator[Switch]:
    switch = Switch(home)
    await switch.on()
    conn = await asyncpg.connect(switch.urls[DatabaseRole.MIGRATOR])
    await migrate(conn, migrations())
    await conn.close()
    yield switch
    await switch.off()


def assert_comes_back_soon(answer: httpx2.Response) -> None:
    assert answer.status_code == 503, answer.text
    assert int(answer.headers["Retry-After"]) >= 1
    assert answer.json()["error"]["code"] == "UNAVAILABLE"


async def test_without_its_database_the_gateway_says_so_and_recovers_by_itself(
    switch: Switch, open_door: OpenDoor
) -> None:
    async with (
        open_pool(switch.urls[DatabaseRole.GATEWAY], DatabaseRole.GATEWAY) as pool,
        open_door(pool) as door,
    ):
        door.clock.run()
        ward = await door.register()
        token = await ward.token()
        assert (await door.ask(token)).status_code == 200
        assert (await door.http.get("/readyz")).json() == {"status": "ready"}

        await switch.off()
        assert (await door.http.get("/healthz")).status_code == 200
        not_ready = await door.http.get("/readyz")
        assert (not_ready.status_code, not_ready.json()["why"]) == (503, "the database cannot be reached")
        assert_comes_back_soon(await ward.post())
        door.clock.ahead = timedelta(seconds=6)  # what is at hand of the registration is too old by now
        assert_comes_back_soon(await door.ask(token))
        assert_comes_back_soon(await door.ask(door.sign(aud="elsewhere")))  # a refusal that cannot be recorded
        waiting = asyncio.create_task(_token_of_a_patient_client(door, ward.key.as_dict(private=True)))

        await switch.on()
        assert await waiting
        assert (await ward.post()).status_code == 200
        assert (await door.ask(token)).status_code == 200
        assert (await door.http.get("/readyz")).status_code == 200
        assert await door.refusals() == []


async def _token_of_a_patient_client(door: FrontDoor, jwk: dict[str, Any]) -> str:
    transport = door.http._transport
    async with ApiClient(ISSUER, "ward", jwk, ["system/Offer.r"], transport=transport, patience=240) as client:
        return await client.token()


async def test_a_database_without_this_releases_migrations_is_not_ready(
    database_server: TestServer, empty_database_name: str, open_door: OpenDoor
) -> None:
    url = database_server.url(empty_database_name, DatabaseRole.GATEWAY)
    async with open_pool(url, DatabaseRole.GATEWAY) as pool, open_door(pool) as door:
        answer = await door.http.get("/readyz")
    assert answer.status_code == 503
    assert "0001_schemas.sql is not applied; run: sharewell migrate" in answer.json()["why"]


async def test_the_figures_are_in_prometheus_format(door: FrontDoor) -> None:
    await door.http.get("/healthz")
    answer = await door.http.get("/metrics")
    assert answer.headers["Content-Type"].startswith("text/plain")
    assert 'sharewell_http_request_seconds_count{method="GET",route="/healthz",status="200"} 1.0' in answer.text
