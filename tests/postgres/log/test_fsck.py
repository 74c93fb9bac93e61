"""A flipped byte anywhere in the stored log is named, and nothing is signed any more."""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import asyncpg
import pytest

from sharewell.audit.fsck import fsck
from sharewell.audit.keys import LogKey, LogKeys
from sharewell.audit.seal import LogDamaged, Sequencer
from sharewell.audit.signers import Cosigner
from sharewell.domain.notes import MLDSA44
from sharewell.settings import DatabaseRole, Settings
from sharewell.store.audit import AuditRepository
from sharewell_workers.seal import keep_log

if TYPE_CHECKING:
    from sharewell.domain.audit import Decision

Connection: TypeAlias = "asyncpg.Connection[Any]"
Connect: TypeAlias = "Callable[[DatabaseRole], Awaitable[Connection]]"
Make: TypeAlias = "Callable[..., Decision]"

KEY = LogKey.from_seed("log.example/2026", bytes(range(32)))


@pytest.fixture
async def sealed(sequencer_pool: asyncpg.Pool[Any], gateway: Connection, a_decision: Make) -> Connection:
    """A log of 600 entries, sealed in three pieces."""
    sequencer = Sequencer(sequencer_pool, KEY)
    for _ in range(3):
        async with gateway.transaction():
            for _ in range(200):
                await AuditRepository(gateway).record(a_decision())
        await sequencer.seal()
    return gateway


async def damage(admin_dsn: str, *changes: str) -> None:
    conn = await asyncpg.connect(admin_dsn)
    try:
        await conn.execute("set sharewell.break_glass = 'on'; set session_replication_role = replica")
        for change in changes:
            table = change.split()[1] if change.startswith("update") else change.split()[2]
            await conn.execute(f"alter table {table} disable trigger only_grows")
            assert await conn.execute(change) not in {"UPDATE 0", "DELETE 0"}
            await conn.execute(f"alter table {table} enable always trigger only_grows")
    finally:
        await conn.close()


async def test_a_sound_log_is_found_sound(sealed: Connection) -> None:
    looked = await fsck(sealed)
    assert (looked.entries, looked.heads, looked.damages) == (600, 3, [])


FLIPS = {
    "body": (
        "update audit.entry set body = set_bit(body, 99, 1 - get_bit(body, 99)) where staged_id = 300",
        "entry 299 of the log (staged id 300): its body",
    ),
    "staged hash": (
        "update audit.entry set leaf_hash = set_bit(leaf_hash, 0, 1 - get_bit(leaf_hash, 0)) where staged_id = 1",
        "entry 0 of the log (staged id 1): the hash it was staged with",
    ),
    "leaf": (
        "update audit.leaf set leaf_hash = set_bit(leaf_hash, 255, 1 - get_bit(leaf_hash, 255)) where log_index = 599",
        "entry 599 of the log (staged id 600): its leaf",
    ),
    "full tile": (
        "update audit.tile set hashes = set_bit(hashes, 1792, 1 - get_bit(hashes, 1792)) where level = 0 and n = 1",
        "tile 1 of level 0, 256 wide: its hash 7, over the entries from 263 on",
    ),
    "partial tile": (
        "update audit.tile set hashes = set_bit(hashes, 256, 1 - get_bit(hashes, 256)) where level = 1 and width = 2",
        "tile 0 of level 1, 2 wide: its hash 1, over the entries from 256 on",
    ),
    "head": (
        "update audit.tree set root = set_bit(root, 3, 1 - get_bit(root, 3)) where size = 400",
        "the head of 400 entries",
    ),
    "checkpoint": (
        "update audit.checkpoint set note = set_bit(note, 200, 1 - get_bit(note, 200)) where size = 200",
        "the checkpoint of 200 entries: ",
    ),
    "missing leaf": ("delete from audit.leaf where log_index = 17", "entry 17 of the log: its leaf is missing"),
    "missing tile": ("delete from audit.tile where level = 0 and n = 1", "tile 1 of level 0: it is missing"),
}


@pytest.mark.parametrize("flip", FLIPS)
async def test_what_was_flipped_is_named(sealed: Connection, admin_dsn: str, flip: str) -> None:
    change, name = FLIPS[flip]
    await damage(admin_dsn, change)
    found = [str(each) for each in (await fsck(sealed)).damages]
    assert found[0].startswith(name)
    if flip != "missing leaf":  # without a leaf, all hashes above it are open too
        assert len(found) == 1


async def test_nothing_is_signed_over_an_old_entry_that_was_changed(
    sealed: Connection, sequencer_pool: asyncpg.Pool[Any], admin_dsn: str, a_decision: Make, tmp_path: Path
) -> None:
    await damage(admin_dsn, FLIPS["body"][0])
    await AuditRepository(sealed).record(a_decision())
    keys = LogKeys(KEY, Cosigner.generate(KEY.key.name, MLDSA44))
    with pytest.raises(BaseExceptionGroup) as stopped:
        await keep_log(asyncio.Event(), sequencer_pool, keys, Settings(home=tmp_path))
    assert stopped.group_contains(LogDamaged, match="entry 299 of the log")
    assert await sealed.fetchval("select max(size) from audit.checkpoint") == 600


def run(environment: Mapping[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "sharewell.cli", *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


async def test_the_command_line_checks_exports_and_names_what_is_damaged(
    sealed: Connection, admin_dsn: str, database_environment: Mapping[str, str], tmp_path: Path
) -> None:
    sound = await asyncio.to_thread(run, database_environment, "log", "fsck")
    assert (sound.returncode, sound.stdout) == (0, "600 entries and 3 heads fit.\n"), sound.stderr
    folder = tmp_path / "exported"
    exported = await asyncio.to_thread(run, database_environment, "log", "export", str(folder))
    assert (exported.returncode, exported.stderr) == (0, "")
    assert "600 entries" in exported.stdout
    assert (folder / "tile/0/002.p/88").stat().st_size == 88 * 32
    verified = await asyncio.to_thread(run, {}, "verify", str(folder), "--key", KEY.vkey)
    assert verified.returncode == 0, verified.stdout + verified.stderr
    unmounted = tmp_path / "unmounted"
    unmounted.symlink_to(tmp_path / "disk" / "log")
    refused = await asyncio.to_thread(run, database_environment, "log", "export", str(unmounted))
    assert (refused.returncode, refused.stdout) == (2, "")
    assert re.fullmatch(rf"sharewell: {unmounted}/tile/\S+ cannot be written: [^\n]+\.\n", refused.stderr)
    assert not (tmp_path / "disk").exists()
    await damage(admin_dsn, FLIPS["body"][0], FLIPS["head"][0])
    damaged = await asyncio.to_thread(run, database_environment, "log", "fsck")
    assert damaged.returncode == 1
    assert [line for line in damaged.stdout.splitlines() if line.startswith("damaged: ")] == [
        f"damaged: {FLIPS[name][1]}" for name in ("body", "head")
    ]
    refusals = await asyncio.to_thread(run, database_environment, "log", "refusals")
    assert (refusals.returncode, refusals.stdout) == (0, "")
