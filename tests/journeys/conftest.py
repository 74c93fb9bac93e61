"""A small made-up region on a platform of its own: real processes, a real database, clients over HTTP."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import date
from pathlib import Path

import psutil
import pytest

from sharewell.cli.stage import Stage, open_stage, stage_settings
from sharewell.domain.principals import Role
from sharewell.replay.journey import Journey
from sharewell.replay.panel import Panel
from sharewell.replay.region import make_region
from sharewell.settings import Settings
from sharewell.store import embedded_guard

LAST_DAY = date(2026, 3, 1)


@pytest.fixture
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder that the account of an embedded server may enter, also where the tests run as root."""
    folder = tmp_path_factory.mktemp("platform")
    for part in (folder, *folder.parents):
        if part.owner() != "root" or part == Path("/tmp"):
            break
        part.chmod(part.stat().st_mode | 0o011)
    yield folder


@pytest.fixture
def region() -> Panel:
    """Eight institutions over six days; the surge is at its height."""
    whole = make_region(LAST_DAY)
    few = whole.cut(since=whole.periods[-6])
    codes = sorted(few.sites)[::3]
    return Panel(
        title=few.title, step=few.step, periods=few.periods, sites={code: few.sites[code] for code in codes},
        loads={key: load for key, load in few.loads.items() if key[0] in codes},
    )  # fmt: skip


@asynccontextmanager
async def playing(home: Path, region: Panel) -> AsyncIterator[tuple[Stage, Journey]]:
    """A platform with everybody registered, and the journey that is about to begin."""
    settings = stage_settings(Settings(home=home, log_level="warning"), home)
    async with open_stage(settings, clock=True) as stage:
        stage.set_clock(region.start(region.periods[0]))
        await stage.first_admin()
        operator = await stage.client("operator", Role.ALLOCATOR)
        players = await stage.players(region.sites.values())
        yield stage, Journey(region, players, operator, stage.set_clock)


def process(word: str) -> psutil.Process:
    """Our child process whose command has `word`, such as `serve` or `worker`."""
    return next(child for child in psutil.Process().children(recursive=True) if word in child.cmdline())


def database(home: Path) -> psutil.Process:
    """The embedded server of `home`."""
    pid = embedded_guard.postmaster_pid(home / "postgres")
    assert pid is not None
    return psutil.Process(pid)


