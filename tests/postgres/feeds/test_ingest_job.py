"""The ingest job and the command: what waits in the inbox is taken in once, and a wrong file is refused."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from sharewell.exchange.feed import FeedRefused
from sharewell.exchange.inbox import Inbox
from sharewell.wiring import worker_caller
from sharewell_workers.ingest import ingest
from sharewell_workers.jobs import Job

if TYPE_CHECKING:
    from tests.postgres.feeds.conftest import Station

UNITS = (("north", "2020-04-10", 7), ("south", "2020-04-10", 3))

#: Whether somebody waits for the table of reports.
WAITING = "select exists (select from pg_locks where not granted and relation = 'sharewell.capacity_report'::regclass)"


def job(sha256: str, **more: str) -> Job:
    payload = {"format": "nj", "sha256": sha256, "name": "census.csv", **more}
    return Job(id=1, name="ingest", payload=payload, request_id="r-1", attempt=1)


async def test_the_job_takes_in_what_waits_in_the_inbox_and_only_once(station: Station) -> None:
    inbox = Inbox(station.workers.settings.home)
    sha256 = inbox.put(station.census(*UNITS))
    places = inbox.put(b'{"North Hospital": {"lat": 40.7, "long": -74.1}}')
    await ingest(job(sha256, locations_sha256=places), station.workers)
    after = await station.counts()
    assert (after["feed"], after["capacity_report"]) == (1, 6)
    await ingest(job(sha256, locations_sha256=places), station.workers)
    assert await station.counts() == after


async def test_the_job_is_hopeless_without_its_file(station: Station) -> None:
    with pytest.raises(FeedRefused, match="hand it in again"):
        await ingest(job("a" * 64), station.workers)


async def test_a_file_left_to_the_workers_waits_in_the_queue_once(station: Station) -> None:
    sha256 = Inbox(station.workers.settings.home).put(station.census(*UNITS))
    for _ in range(2):
        await station.workers.feeds.enqueue(worker_caller("ingest", "r-9"), "nj", sha256, name="census.csv")
    rows = await station.conn.fetch("select entrypoint, payload from queue.pgqueuer")
    assert [row["entrypoint"] for row in rows] == ["ingest"]
    assert json.loads(rows[0]["payload"])["sha256"] == sha256


async def command(environment: Mapping[str, str], *arguments: str) -> tuple[int, str, str]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "sharewell.cli", "ingest", *arguments, env=dict(environment),
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    out, err = await process.communicate()
    assert process.returncode is not None
    return process.returncode, out.decode(), err.decode()


async def test_the_command_says_what_became_of_a_file(
    station: Station, database_environment: Mapping[str, str], tmp_path: Path
) -> None:
    file = tmp_path / "census.csv"
    file.write_bytes(station.census(*UNITS))
    status, out, err = await command(database_environment, "nj", str(file))
    assert (status, err) == (0, "")
    assert "Read 2 rows of nj (njdoh); left out 0 of them." in out
    assert "Stored 6 new reports and 0 that correct earlier ones; 0 said nothing new. New institutions: 2." in out
    status, out, _ = await command(database_environment, "nj", str(file), "--json")
    said = json.loads(out)
    assert (status, said["feed"]["repeated"], said["feed"]["reports_new"]) == (0, True, 6)
    assert said["quality"]["rowsRead"] == 2


async def test_the_command_tells_row_and_column_of_a_file_it_refuses(
    station: Station, database_environment: Mapping[str, str], tmp_path: Path
) -> None:
    before = await station.counts()
    file = tmp_path / "census.csv"
    file.write_bytes(station.census(*UNITS).replace(b",3\n", b",three\n"))
    status, out, err = await command(database_environment, "nj", str(file))
    assert (status, out) == (2, "")
    assert err == "sharewell: row 3, column ventilators_inuse: 'three' is not a number.\nNothing was changed.\n"
    status, out, _ = await command(database_environment, "nj", str(file), "--json")
    assert (status, json.loads(out)["refused"]["row"]) == (2, 3)
    status, _, err = await command(database_environment, "nj", str(tmp_path / "nowhere.csv"))
    assert status == 2
    assert "cannot be read: No such file or directory" in err
    assert await station.counts() == before


async def test_a_command_killed_while_it_stores_leaves_nothing_and_a_second_try_succeeds(
    station: Station, database_environment: Mapping[str, str], tmp_path: Path
) -> None:
    before = await station.counts()
    file = tmp_path / "census.csv"
    file.write_bytes(station.census(*UNITS))
    async with station.conn.transaction():
        # Whoever writes reports waits here, with the feed and its institutions written already.
        await station.conn.execute("lock table sharewell.capacity_report in share mode")
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "sharewell.cli", "ingest", "nj", str(file), env=dict(database_environment),
            stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL,
        )  # fmt: skip
        while not await station.conn.fetchval(WAITING):
            assert process.returncode is None
            await asyncio.sleep(0.05)
        process.kill()
        await process.wait()
    assert await station.counts() == before
    status, out, _ = await command(database_environment, "nj", str(file))
    assert status == 0
    assert "Stored 6 new reports" in out


async def test_a_published_week_is_taken_in_and_a_second_time_nothing_is(station: Station, shared: Path) -> None:
    path = shared / "data/raw/us_hhs_facility/2022-09-23-hhs-data.csv"
    if not path.is_file():
        pytest.skip(f"there is no {path}")
    feeds, caller = station.workers.feeds, worker_caller("ingest", "r-1")
    done = await feeds.ingest(caller, "hhs", path.read_bytes(), name=path.name)
    after = await station.counts()
    assert (done.feed.rows, done.feed.reports_new, done.feed.institutions_new) == (4158, 8314, 4158)
    assert (after["capacity_report"], after["institution"]) == (8314, 4158)
    assert (await feeds.ingest(caller, "hhs", path.read_bytes())).repeated
    assert await station.counts() == after
