"""The server that comes along: it starts and stops with its users, whatever ends them, and keeps what was committed."""

from __future__ import annotations

import asyncio
import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import asyncpg
import pytest

from sharewell.settings import DatabaseRole, Settings, SettingsError
from sharewell.store import embedded
from sharewell.store.embedded import ServerError
from sharewell.store.embedded_guard import postmaster_pid
from sharewell.store.pools import open_pool
from sharewell.store.server import open_database_server
from sharewell_workers.runner import LOST_DATABASE

#: Uses the server, says so, and waits; TERM has its default effect, so nothing of ours gets to clean up.
# Whoever runs the tests under nohup ignores hang-ups, and in the background of a shell interrupts; so would what
# they start.
USER = """
import asyncio, signal, sys
from pathlib import Path
from sharewell.settings import Settings
from sharewell.store.server import open_database_server
from sharewell_workers.runner import LOST_DATABASE

async def main():
    async with open_database_server(Settings(home=Path(sys.argv[1]))):
        print("ready", flush=True)
        await asyncio.sleep(600)

signal.signal(signal.SIGHUP, signal.SIG_DFL)
signal.signal(signal.SIGINT, signal.default_int_handler)
asyncio.run(main())
"""
User = Callable[[], "subprocess.Popen[str]"]
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="is about running as root")


@contextmanager
def made_home() -> Iterator[Path]:
    """A home in a short path that the server's account may enter where the tests run as root."""
    folder = Path(tempfile.mkdtemp(prefix="sharewell-home-"))
    folder.chmod(0o711)
    yield folder
    assert gone(folder / "postgres")
    shutil.rmtree(folder)


@pytest.fixture
def new_home() -> Iterator[Path]:
    """A home in which nothing was set up yet."""
    with made_home() as folder:
        yield folder


@pytest.fixture(scope="module")
def used_home() -> Iterator[Path]:
    with made_home() as folder:
        embedded.start(folder).leave()
        yield folder


@pytest.fixture
def home(used_home: Path) -> Iterator[Path]:
    """A home in which the server was set up and stopped."""
    with made_home() as folder:
        subprocess.run(["cp", "-a", used_home / "postgres", folder], check=True)
        yield folder


@pytest.fixture
def user(home: Path) -> Iterator[User]:
    """Start processes that use the server of `home`."""
    started: list[subprocess.Popen[str]] = []

    def start() -> subprocess.Popen[str]:
        command = [sys.executable, "-c", USER, str(home)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        started.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def gone(folder: Path) -> bool:
    """Wait until neither the server of `folder`, nor one of its children, nor its guard is left."""
    while any(str(folder).encode() in line for line in command_lines()):
        time.sleep(0.02)
    return True


def command_lines() -> Iterator[bytes]:
    for process in Path("/proc").glob("[0-9]*"):
        try:
            yield (process / "cmdline").read_bytes()
        except OSError:
            continue  # it ended in between


async def add(home: Path, number: int) -> list[int]:
    """Commit a number as the migrator and return all numbers so far."""
    async with (
        open_database_server(Settings(home=home)) as server,
        open_pool(server.url(DatabaseRole.MIGRATOR), DatabaseRole.MIGRATOR) as pool,
    ):
        await pool.execute("create schema if not exists s; create table if not exists s.numbers (n int)")
        await pool.execute("insert into s.numbers values ($1)", number)
        return [row["n"] for row in await pool.fetch("select n from s.numbers order by 1")]


async def test_data_survives_from_one_start_to_the_next(home: Path) -> None:
    assert await add(home, 1) == [1]
    assert postmaster_pid(home / "postgres") is None
    assert await add(home, 2) == [1, 2]


def test_whoever_stops_it_finds_no_process_of_it_left_at_once(home: Path) -> None:
    left = []
    for _ in range(4):  # whether the guard was quick by chance is seen in some of them
        embedded.start(home).leave()
        left += [line for line in command_lines() if str(home).encode() in line]
    assert left == []


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL, signal.SIGHUP])
async def test_no_process_stays_behind_however_its_user_ends(home: Path, user: User, how: signal.Signals) -> None:
    process = user()
    assert postmaster_pid(home / "postgres") is not None
    process.send_signal(how)
    process.wait()
    assert gone(home / "postgres")
    assert await add(home, 1) == [1]


def test_two_processes_share_one_server_and_the_last_one_stops_it(home: Path, user: User) -> None:
    first, second = user(), user()
    pid = postmaster_pid(home / "postgres")
    first.kill()
    first.wait()
    third = user()
    second.terminate()
    second.wait()
    assert postmaster_pid(home / "postgres") == pid
    third.terminate()
    third.wait()
    assert gone(home / "postgres")


def test_six_processes_that_start_at_once_share_one_server(new_home: Path) -> None:
    command = [sys.executable, "-c", USER, str(new_home)]
    started = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(6)]
    try:
        assert [process.stdout.readline() for process in started if process.stdout] == ["ready\n"] * 6
    finally:
        for process in started:
            process.kill()
            process.communicate()


def test_a_server_reads_its_settings_whole_whoever_writes_them_again_at_that_moment(tmp_path: Path) -> None:
    """With none it would listen elsewhere, and nobody would find it."""

    def write(times: int) -> None:
        for _ in range(times):
            embedded._configure(tmp_path, tmp_path, None)

    write(1)
    whole = (tmp_path / "postgresql.conf").read_text()
    with ThreadPoolExecutor(1) as other:
        writing = other.submit(write, 1000)
        while not writing.done():
            assert (tmp_path / "postgresql.conf").read_text() == whole
        writing.result()


async def test_a_killed_server_comes_back_and_has_lost_nothing(home: Path) -> None:
    async with (
        open_database_server(Settings(home=home)) as server,
        open_pool(server.url(DatabaseRole.MIGRATOR), DatabaseRole.MIGRATOR) as pool,
    ):
        await pool.execute("create schema s; create table s.numbers (n int); insert into s.numbers values (1)")
        pid = postmaster_pid(home / "postgres")
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        # A connection of the killed server still answers for a moment: its process only then sees that it is alone.
        while postmaster_pid(home / "postgres") in {None, pid}:
            await asyncio.sleep(0.05)
        while True:
            try:
                assert await pool.fetchval("select array_agg(n) from s.numbers") == [1]
                break
            except LOST_DATABASE:
                await asyncio.sleep(0.05)


@pytest.mark.parametrize(
    "left_behind",
    ["999999\n", pytest.param(f"{os.getpid()}\n", id="of another living process"), "", "not a number\n"],
)
async def test_a_stale_pid_file_does_not_keep_it_from_starting(home: Path, left_behind: str) -> None:
    assert await add(home, 1) == [1]
    (home / "postgres" / "postmaster.pid").write_text(left_behind)
    assert await add(home, 2) == [1, 2]


async def test_a_setup_that_was_cut_short_is_done_again(new_home: Path) -> None:
    (new_home / "postgres.unfinished").mkdir()
    (new_home / "postgres.unfinished" / "PG_VERSION").write_text("18\n")
    assert await add(new_home, 1) == [1]


async def test_a_home_with_a_long_path_gets_a_short_private_socket(home: Path) -> None:
    deep = home / ("deep" * 20) / ("deeper" * 10)
    try:
        async with open_database_server(Settings(home=deep)) as server:
            assert await _setting(server.url(DatabaseRole.GATEWAY), "port") == "5432"
        folder = Path(parse_qs(urlsplit(server.url(DatabaseRole.GATEWAY)).query)["host"][0])
        assert folder.stat().st_mode & 0o777 == 0o700
        shutil.rmtree(folder)
    finally:
        assert gone(deep / "postgres")


async def test_it_is_as_durable_as_a_real_one(home: Path) -> None:
    async with open_database_server(Settings(home=home)) as server:
        url = server.url(DatabaseRole.GATEWAY)
        for name in ("fsync", "full_page_writes", "synchronous_commit"):
            assert await _setting(url, name) == "on"
        assert await _setting(url, "listen_addresses") == ""
        assert await _setting(url, "TimeZone") == "UTC"


async def test_data_of_another_postgresql_is_refused_with_advice(home: Path) -> None:
    assert await add(home, 1) == [1]
    (home / "postgres" / "PG_VERSION").write_text("17\n")
    with pytest.raises(ServerError, match="holds data of PostgreSQL 17"):
        embedded.start(home)


async def _setting(url: str, name: str) -> str:
    conn = await asyncpg.connect(url)
    try:
        value: str = await conn.fetchval("select current_setting($1)", name)
        return value
    finally:
        await conn.close()


@as_root
def test_root_is_told_to_keep_data_out_of_private_folders_and_these_stay_private(home: Path) -> None:
    private = home / "private"
    private.mkdir(mode=0o700)
    with pytest.raises(SettingsError, match=rf"its account cannot enter {private}"):
        embedded.start(private / "data")
    assert private.stat().st_mode & 0o777 == 0o700


def test_processes_that_start_at_once_on_a_new_machine_make_its_account_once(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[str] = []
    ours, both = pwd.getpwuid(0), threading.Barrier(2)

    def look(name: str) -> pwd.struct_passwd:
        if not made:
            raise KeyError(name)
        return ours

    def make() -> str:
        time.sleep(0.2)  # useradd has looked, and has not written yet
        made.append(embedded.ACCOUNT)
        return ""

    def start(_: int) -> pwd.struct_passwd:
        both.wait()
        return embedded._account()

    monkeypatch.setattr(pwd, "getpwnam", look)
    monkeypatch.setattr(embedded, "_make_account", make)
    with ThreadPoolExecutor(2) as at_once:
        assert list(at_once.map(start, range(2))) == [ours] * 2
    assert made == [embedded.ACCOUNT]


@as_root
async def test_programs_in_a_private_folder_are_copied_to_where_the_account_can_run_them(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    private = home / "private" / "site-packages"
    private.mkdir(parents=True)
    (home / "private").chmod(0o700)
    installed = embedded.installed_programs()
    for part in (installed, installed.parents[1] / f"{embedded.PACKAGE}.libs"):
        shutil.copytree(part, private / part.relative_to(installed.parents[1]))
    monkeypatch.setattr(embedded, "installed_programs", lambda: private / installed.relative_to(installed.parents[1]))
    monkeypatch.setattr(embedded, "MACHINE_WIDE", home / "machine-wide")
    assert await add(home, 1) == [1]
    assert (home / "private").stat().st_mode & 0o777 == 0o700
    assert len(list((home / "machine-wide").iterdir())) == 1


async def test_its_log_does_not_repeat_the_row_that_an_error_is_about(home: Path) -> None:
    running = embedded.start(home)
    try:
        conn = await asyncpg.connect(running.url(embedded.SUPERUSER, "postgres"))
        await conn.execute("create temporary table person (login text primary key, name text check (name <> ''))")
        for row in ("'smurfette', 'Smurfette'", "'smurfette', 'x'", "'brainy', ''"):
            with suppress(asyncpg.IntegrityConstraintViolationError):
                await conn.execute("insert into person select " + row)
        with pytest.raises(asyncpg.UniqueViolationError) as told:
            await conn.execute("insert into person values ($1, $2)", "smurfette", "Smurfette")
        await conn.close()
    finally:
        running.leave()
    assert "smurfette" in str(told.value)  # whoever asked may know
    said = (home / "postgres" / "log").read_text()
    assert "duplicate key" in said
    assert "DETAIL" not in said
