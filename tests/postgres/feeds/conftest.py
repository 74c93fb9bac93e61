"""A platform that takes files in, and small files to take."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from sharewell.authz import Authorizer
from sharewell.domain.principals import Caller, Role
from sharewell.services.feeds import Ingested
from sharewell.settings import DatabaseRole, Settings
from sharewell.store.database import Database
from sharewell.store.pools import open_pool
from sharewell.wiring import Services, build_services, operator, worker_caller

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
COLUMNS = (
    "hosp_id", "hosp_name", "date", "active_confirmed", "active_suspected", "admitted",
    "bed_avail_criticalcare", "bed_avail_intensivecare", "bed_avail_other", "bed_avail_surgical",
    "bed_inuse_criticalcare", "bed_inuse_intensivecare", "bed_inuse_other", "bed_inuse_surgical", "ventilators_inuse",
)  # fmt: skip
TABLES = ("institution", "capacity_report", "feed")


def census(*units: tuple[str, str, int]) -> bytes:
    """A New Jersey census: (unit, day, ventilators in use) a row, the rest the same everywhere."""
    rows = [
        f"{unit},{unit.title()} Hospital,{day},{machines + 20},0,4,2,3,5,40,4,6,0,{machines + 10},{machines}"
        for unit, day, machines in units
    ]
    return "\n".join([",".join(COLUMNS), *rows, ""]).encode()


@dataclass
class Station:
    """The services of people and of workers, and a look at what is stored."""

    people: Services
    workers: Services
    conn: asyncpg.Connection[Any]  #: a superuser's, for looking only

    @staticmethod
    def census(*units: tuple[str, str, int]) -> bytes:
        return census(*units)

    async def ingest(self, data: bytes, **more: Any) -> Ingested:
        return await self.workers.feeds.ingest(worker_caller("ingest", "r-7"), "nj", data, name="census.csv", **more)

    async def counts(self) -> dict[str, int]:
        """Rows of each table a file may touch, and decisions with their entries."""
        found = {table: await self.conn.fetchval(f"select count(*) from sharewell.{table}") for table in TABLES}
        for table in ("decision", "entry"):
            found[table] = await self.conn.fetchval(f"select count(*) from audit.{table}")
        return found

    async def reports(self, resource: str = "ventilator") -> list[asyncpg.Record]:
        """Reports in the order in which they were taken in."""
        return await self.conn.fetch(
            """select r.*, i.code from sharewell.capacity_report r join sharewell.institution i
                   on i.id = r.institution_id where resource = $1 order by r.id""",
            resource,
        )  # fmt: skip


@pytest.fixture
async def station(database_urls: Mapping[DatabaseRole, str], admin_dsn: str, tmp_path: Path) -> AsyncIterator[Station]:
    settings = Settings(home=tmp_path, allocate_after=None)
    authz = Authorizer.load()
    conn = await asyncpg.connect(admin_dsn)
    async with (
        open_pool(database_urls[DatabaseRole.GATEWAY], DatabaseRole.GATEWAY) as gateway,
        open_pool(database_urls[DatabaseRole.WORKER], DatabaseRole.WORKER) as worker,
    ):
        people = build_services(settings, Database(gateway), authz)
        workers = build_services(settings, Database(worker), authz)
        people.office.now = workers.office.now = lambda: NOON
        await people.resources.define_catalogue(operator())
        yield Station(people, workers, conn)
    await conn.close()


@pytest.fixture
def someone() -> Caller:
    """A program of an allocator, which may look."""
    return Caller(principal="houba-client", roles=frozenset({Role.ALLOCATOR}), scopes=frozenset({"system/*.cruds"}))
