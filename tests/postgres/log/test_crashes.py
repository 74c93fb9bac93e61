"""kill -9 at each step of a batch: what was persisted, and that the log comes out whole whoever died."""

from __future__ import annotations

import asyncio
import itertools
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import asyncpg
import pytest
from uuid_utils.compat import uuid7

from sharewell.audit.export import checkpoint_in
from sharewell.audit.fsck import fsck
from sharewell.audit.keys import LogKey
from sharewell.audit.memory import check_memory
from sharewell.audit.proofs import read_checkpoint
from sharewell.audit.publish import Publisher
from sharewell.audit.seal import Fenced, Sequencer
from sharewell.audit.witnesses import client
from sharewell.domain.audit import Decision
from sharewell.settings import DatabaseRole
from sharewell.store import embedded, server
from sharewell.store.embedded_guard import postmaster_pid
from sharewell.store.guard import put_guard
from sharewell.store.migrate import migrate

if TYPE_CHECKING:
    from asyncio.subprocess import Process

SCRIPT = Path(__file__).with_name("crash_process.py")
KEY = LogKey.from_seed("log.example/2026", bytes(range(32)))


@dataclass
class OwnServer:
    """A server that may be killed: what it has written outlives it, as long as the machine does."""

    running: embedded.EmbeddedPostgres

    def url(self, database: str, role: DatabaseRole | None = None) -> str:
        return self.running.url(role or embedded.SUPERUSER, database)

    async def kill(self) -> None:
        pid = postmaster_pid(self.running.folder)
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        while postmaster_pid(self.running.folder) in (pid, None):
            await asyncio.sleep(0.05)

    async def connect(self, database: str, role: DatabaseRole | None = None) -> asyncpg.Connection[Any]:
        """A connection, as soon as there can be one again."""
        for _ in range(2400):
            try:
                return await asyncpg.connect(self.url(database, role))
            except (OSError, asyncpg.CannotConnectNowError, asyncpg.PostgresConnectionError):
                await asyncio.sleep(0.05)
        raise AssertionError("the server did not come back")


async def make_template(own: OwnServer) -> None:
    admin = await own.connect("postgres")
    # A killed server's files are in the machine's memory; syncing them all at its next start would take half a minute.
    await admin.execute("alter system set fsync = off")
    await admin.execute("select pg_reload_conf()")
    await server.make_roles(admin, dict.fromkeys(DatabaseRole))
    await admin.execute("create database template_log")
    await server.open_to_roles(admin, "template_log")
    await admin.close()
    admin = await own.connect("template_log")
    await put_guard(admin)
    await admin.close()
    owner = await own.connect("template_log", DatabaseRole.MIGRATOR)
    await migrate(owner, files("sharewell_schema") / "sql")
    await owner.close()


@pytest.fixture(scope="module")
def own() -> Iterator[OwnServer]:
    home = Path(tempfile.mkdtemp(prefix="sharewell-test-"))
    home.chmod(0o711)
    found = OwnServer(embedded.start(home))
    try:
        asyncio.run(make_template(found))
        yield found
    finally:
        found.running.leave()
        shutil.rmtree(home)


NUMBERS = itertools.count()


@pytest.fixture
async def database(own: OwnServer) -> str:
    name = f"crash_{next(NUMBERS)}"
    admin = await own.connect("postgres")
    await admin.execute(f"create database {name} template template_log")
    await server.open_to_roles(admin, name)
    await admin.close()
    return name


@asynccontextmanager
async def started(*arguments: str) -> AsyncIterator[Process]:
    """A process that came to where it stops."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(SCRIPT), *arguments, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    assert process.stdout is not None
    try:
        assert await process.stdout.readline() == b"there\n", "it ended before it came to its step"
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def go_on(process: Process) -> None:
    assert process.stdin is not None
    process.stdin.write(b"go on\n")
    await process.wait()


class Row(NamedTuple):
    """What is there right after the kill, of five decisions that were committed and one that was not yet."""

    victim: str
    step: str
    in_tree: int
    signed: int
    published: int
    open_one: bool  #: whether the decision that was open at that moment is there in the end


BEFORE_COMMIT, BEFORE_SIGNING = "before commit", "after commit before signing"
BEFORE_PUBLISHING, AFTER = "after signing before publishing", "after publishing"
TABLE = (
    Row("writer", BEFORE_COMMIT, 0, 0, 0, open_one=False),
    Row("writer", BEFORE_SIGNING, 5, 0, 0, open_one=False),
    Row("writer", BEFORE_PUBLISHING, 5, 5, 0, open_one=False),
    Row("writer", AFTER, 5, 5, 5, open_one=False),
    Row("sequencer", BEFORE_COMMIT, 0, 0, 0, open_one=True),
    Row("sequencer", BEFORE_SIGNING, 5, 0, 0, open_one=True),
    Row("sequencer", BEFORE_PUBLISHING, 5, 5, 0, open_one=True),
    Row("sequencer", AFTER, 5, 5, 5, open_one=True),
    Row("PostgreSQL", BEFORE_COMMIT, 0, 0, 0, open_one=False),
    Row("PostgreSQL", BEFORE_SIGNING, 5, 0, 0, open_one=False),
    Row("PostgreSQL", BEFORE_PUBLISHING, 5, 5, 0, open_one=False),
    Row("PostgreSQL", AFTER, 5, 5, 5, open_one=False),
)


@pytest.mark.parametrize("row", TABLE, ids=lambda row: f"{row.victim} {row.step}")
async def test_whoever_is_killed_no_decision_is_lost_or_there_twice(
    own: OwnServer, database: str, tmp_path: Path, row: Row
) -> None:
    folder = tmp_path / "log"
    async with (
        started("writer", own.url(database, DatabaseRole.GATEWAY)) as writer,
        started("sequencer", own.url(database, DatabaseRole.SEQUENCER), str(folder), row.step) as sequencer,
    ):
        if row.victim == "PostgreSQL":
            await own.kill()
        else:
            killed = {"writer": writer, "sequencer": sequencer}[row.victim]
            killed.kill()
            await killed.wait()
        assert await persisted(own, database, folder) == row[2:5]
        for survivor in (writer, sequencer):
            if survivor.returncode is None:
                await go_on(survivor)
    actors = await whole(own, database, folder)
    assert sorted(actors) == [*(f"committed {n}" for n in range(5)), *(["open"] if row.open_one else [])]


async def persisted(own: OwnServer, database: str, folder: Path) -> tuple[int, int, int]:
    conn = await own.connect(database)
    try:
        in_tree = await conn.fetchval("select coalesce(max(size), 0) from audit.tree")
        signed = await conn.fetchval("select coalesce(max(size), 0) from audit.checkpoint")
    finally:
        await conn.close()
    note = checkpoint_in(folder)
    return in_tree, signed, 0 if note is None else read_checkpoint(note).size


async def whole(own: OwnServer, database: str, folder: Path) -> list[str]:
    """Let a new sequencer finish; then the whole log must verify. Returns who acted, in the order of the log."""
    await (await own.connect(database)).close()
    url = own.url(database, DatabaseRole.SEQUENCER)
    async with asyncpg.create_pool(url, min_size=1, max_size=3) as pool, client() as http:

        async def look() -> None:
            await check_memory(pool, http, origin=KEY.key.name, policy=None, folder=folder)

        sequencer = Sequencer(pool, KEY, look=look)
        while not (await sequencer.seal()).leading:
            await asyncio.sleep(0.05)  # the server has yet to notice that the last one is gone
        while not (await Publisher(pool, http, folder=folder).publish()).size:
            await asyncio.sleep(0.05)
        async with pool.acquire() as conn:
            looked = await fsck(conn)  # type: ignore[arg-type]
            assert looked.damages == []
            entries = await conn.fetchval("select count(*) from audit.entry")
            rows = await conn.fetch(
                "select convert_from(body, 'UTF8')::jsonb ->> 'actor' as actor"
                " from audit.leaf join audit.entry using (staged_id) order by log_index"
            )
    assert looked.entries == entries == len(rows)
    note = checkpoint_in(folder)
    assert note is not None
    assert read_checkpoint(note).size == entries
    return [row["actor"] for row in rows]


async def test_two_sequencers_that_race_seal_everything_once(own: OwnServer, database: str, tmp_path: Path) -> None:
    writer = await own.connect(database, DatabaseRole.GATEWAY)
    url = own.url(database, DatabaseRole.SEQUENCER)

    async def race(stop: asyncio.Event) -> None:
        async with asyncpg.create_pool(url, min_size=1, max_size=1) as pool:
            sequencer = Sequencer(pool, KEY, batch=7)
            while not stop.is_set():
                try:
                    await sequencer.seal()
                except Fenced:
                    continue

    stop = asyncio.Event()
    racing = [asyncio.create_task(race(stop)) for _ in range(2)]
    try:
        for n in range(100):
            await writer.execute("select audit.record($1)", entry(n))
    finally:
        stop.set()
        await asyncio.gather(*racing)
        await writer.close()
    assert sorted(await whole(own, database, tmp_path / "log"), key=int) == [str(n) for n in range(100)]


def entry(n: int) -> bytes:
    return Decision(
        id=uuid7(), kind="offer.published", at=datetime.now(UTC), actor=str(n), institution=None,
        action="publishOffer", outcome="allowed", policy_set="", policies=(), subject_kind="offer", subject_id="1",
        request_id="r", nonce="0" * 32,
    ).entry()  # fmt: skip
