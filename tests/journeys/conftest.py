"""Platforms of real processes on a real database, and the `sharewell` command as its users run it."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

import psutil
import pytest
from tests.ports import kept_port

from sharewell.cli.stage import Stage, open_stage, stage_settings
from sharewell.domain.principals import Role
from sharewell.replay.journey import Journey
from sharewell.replay.panel import Panel
from sharewell.replay.region import make_region
from sharewell.settings import Settings
from sharewell.store import embedded_guard

LAST_DAY = date(2026, 3, 1)
PATIENCE_SECONDS = 180.0  #: only ever waited for in vain


@pytest.fixture
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that the account of an embedded server may enter, also where the tests run as root."""
    return open_folder(tmp_path_factory)


def open_folder(factory: pytest.TempPathFactory) -> Path:
    folder = factory.mktemp("platform")
    for part in (folder, *folder.parents):
        if part.stat().st_uid != 0 or part == Path("/tmp"):
            break
        part.chmod(part.stat().st_mode | 0o011)
    return folder


@pytest.fixture
def region() -> Panel:
    """Eight institutions over five days; the surge is at its height."""
    whole = make_region(LAST_DAY)
    few = whole.cut(since=whole.periods[-5])
    codes = sorted(few.sites)[::3]
    return Panel(
        title=few.title, step=few.step, periods=few.periods, sites={code: few.sites[code] for code in codes},
        loads={key: load for key, load in few.loads.items() if key[0] in codes},
    )  # fmt: skip


@asynccontextmanager
async def platform(home: Path, log_level: str = "info") -> AsyncIterator[Stage]:
    """A running platform that plans when it is asked to, with its first admin."""
    settings = stage_settings(Settings(home=home, log_level=log_level), home)
    async with open_stage(settings, clock=True) as stage:
        await stage.first_admin()
        yield stage


@asynccontextmanager
async def playing(home: Path, region: Panel) -> AsyncIterator[tuple[Stage, Journey]]:
    """A platform with everybody registered, and the journey that is about to begin."""
    async with platform(home, "warning") as stage:
        stage.set_clock(region.start(region.periods[0]))
        operator = await stage.client("allocator", Role.ALLOCATOR)
        players = await stage.players(region.sites.values())
        yield stage, Journey(region, players, operator, stage.set_clock)


def process(word: str) -> psutil.Process:
    """Our child process whose command has `word`, such as `serve` or `worker`, once there is one."""
    found: list[psutil.Process] = []

    def there() -> bool:
        for child in psutil.Process().children(recursive=True):
            with suppress(psutil.Error):  # of another that ends at this moment
                if word in child.cmdline():
                    found.append(child)
        return bool(found)

    assert eventually(there), word
    return found[0]


def database(home: Path) -> psutil.Process:
    """The embedded server of `home`, once it runs."""
    assert eventually(lambda: embedded_guard.postmaster_pid(home / "postgres"))
    return psutil.Process(embedded_guard.postmaster_pid(home / "postgres"))


@dataclass
class Sharewell:
    """The command line, in processes of its own, with a home and a port of its own."""

    home: Path
    port: int
    environment: dict[str, str] = field(init=False)
    started: list[subprocess.Popen[str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.address = f"http://127.0.0.1:{self.port}"
        ours = {key: value for key, value in os.environ.items() if not key.startswith("SHAREWELL_")}
        place = {"SHAREWELL_HOME": str(self.home), "SHAREWELL_PORT": str(self.port)}
        self.environment = {**ours, **place, "COLUMNS": "100"}

    def start(self, *arguments: str | Path, log: Path | None = None, **options: Any) -> subprocess.Popen[str]:
        """Run `sharewell ARGUMENTS` beside the test, its standard error into `log` if that is given."""
        command = [sys.executable, "-m", "sharewell.cli", *map(str, arguments)]
        with nullcontext() if log is None else log.open("w") as stderr:
            options = {"stderr": stderr, **options}
            process = subprocess.Popen(command, env=self.environment, text=True, stdin=subprocess.DEVNULL, **options)
        self.started.append(process)
        return process

    def run(self, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
        """Run `sharewell ARGUMENTS` to its end."""
        process = self.start(*arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        out, err = process.communicate()
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)

    def processes(self) -> list[psutil.Process]:
        """Every process on this machine that has to do with the home: by its command, folder or environment."""
        return [process for process in psutil.process_iter() if self._is_ours(process)]

    def named(self, word: str) -> list[psutil.Process]:
        """Those of our processes that have `word` in their command, such as `worker`."""
        return [process for process in self.processes() if word in process.cmdline()]

    def all_end(self) -> bool:
        """Tell whether no process is left, at once or after a while."""
        return eventually(lambda: not self.processes())

    def _is_ours(self, process: psutil.Process) -> bool:
        with suppress(psutil.Error):
            if process.pid == os.getpid() or process.status() == psutil.STATUS_ZOMBIE:
                return False
            said = [*process.cmdline(), process.environ().get("SHAREWELL_HOME", ""), process.cwd()]
            return any(str(self.home) in text for text in said)
        return False


def eventually(holds: Callable[[], object]) -> bool:
    """Tell whether `holds` becomes true."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not holds():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


async def until(holds: Callable[[], Awaitable[bool]]) -> None:
    """Wait until `holds` answers True."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not await holds():
            await asyncio.sleep(0.05)


@pytest.fixture
def sharewell(home: Path) -> Iterator[Sharewell]:
    """The command line with a home of its own; what a failed test leaves running is ended."""
    with kept_port() as port:
        command = Sharewell(home, port)
        yield command
        for process in command.started:
            process.kill()
            process.wait()
        for stream in (process.stdout, process.stderr):
            if stream is not None:
                stream.close()
    assert command.all_end(), command.processes()
