"""The sequencer gives every committed decision one place in the log, whatever breaks, and signs nothing doubtful."""

from __future__ import annotations

import asyncio
import itertools
import random
import sys
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeAlias
from uuid import UUID

import asyncpg
import pytest
from tests.postgres.conftest import behind_the_guard

from sharewell.audit import seal
from sharewell.audit.keys import LogKey
from sharewell.audit.proofs import read_checkpoint
from sharewell.audit.seal import Fenced, LogDamaged, Sequencer, WrongKey
from sharewell.domain import merkle
from sharewell.domain.audit import Decision
from sharewell.domain.notes import open_note
from sharewell.settings import DatabaseRole
from sharewell.store.audit import AuditRepository
from sharewell.store.log import LogRepository

Connection: TypeAlias = "asyncpg.Connection[Any]"
Connect = Callable[[DatabaseRole], Awaitable[Connection]]
Pool = asyncpg.Pool
Make = Callable[..., Decision]

KEY = LogKey.from_seed("log.example/2026", bytes(range(32)))


async def record(conn: Connection, *decisions: Decision) -> None:
    async with conn.transaction():
        for decision in decisions:
            await AuditRepository(conn).record(decision)


async def check_log(conn: Connection) -> list[bytes]:
    """Re-verify the whole log from its stored entries; return them in log order."""
    rows = await conn.fetch("select l.*, e.body from audit.leaf l join audit.entry e using (staged_id) order by 1")
    entries = [row["body"] for row in rows]
    assert [row["log_index"] for row in rows] == list(range(len(rows)))
    assert [row["leaf_hash"] for row in rows] == [merkle.hash_leaf(entry) for entry in entries]
    for head in await conn.fetch("select size, root from audit.tree"):
        assert head["root"] == merkle.root_hash(entries[: head["size"]]), head["size"]
    for signed in await conn.fetch("select size, note from audit.checkpoint"):
        open_note(signed["note"], [KEY.key])
        checkpoint = read_checkpoint(signed["note"])
        assert (checkpoint.size, checkpoint.origin) == (signed["size"], KEY.key.name)
        assert checkpoint.root == merkle.root_hash(entries[: signed["size"]])
    return entries


async def assert_all_sealed_once(conn: Connection) -> None:
    """Every committed decision is in the verified log exactly once, under a signed head."""
    entries = await check_log(conn)
    committed = [row["body"] for row in await conn.fetch("select body from audit.entry")]
    assert sorted(entries) == sorted(committed)
    assert await conn.fetchval("select max(size) from audit.checkpoint") == len(entries)


async def test_an_empty_log_has_nothing_to_sign(sequencer_pool: Pool[Any], gateway: Connection) -> None:
    sealed = await Sequencer(sequencer_pool, KEY).seal()
    assert (sealed.entries, sealed.size) == (0, 0)
    assert await gateway.fetchval("select count(*) from audit.checkpoint") == 0


async def test_staged_decisions_are_sealed_in_the_order_they_were_staged(
    sequencer_pool: Pool[Any], gateway: Connection, a_decision: Make
) -> None:
    made = [a_decision() for _ in range(5)]
    await record(gateway, *made)
    sealed = await Sequencer(sequencer_pool, KEY).seal()
    assert (sealed.entries, sealed.size, sealed.leading) == (5, 5, True)
    assert await check_log(gateway) == [decision.entry() for decision in made]
    await assert_all_sealed_once(gateway)


@pytest.mark.parametrize("batch", [1, 7, 255, 256, 257, 1000])
async def test_batches_of_any_size_make_the_same_tree(
    sequencer_pool: Pool[Any], gateway: Connection, a_decision: Make, batch: int
) -> None:
    sequencer = Sequencer(sequencer_pool, KEY, batch=batch)
    for count in (3, 300, 1) if batch < 7 else (3, 253, 1, 511, 2):
        await record(gateway, *(a_decision() for _ in range(count)))
        await sequencer.seal()
    await assert_all_sealed_once(gateway)
    full = await gateway.fetch("select n from audit.tile where level = 0 order by n")
    size = await gateway.fetchval("select max(size) from audit.tree")
    assert [row["n"] for row in full] == list(range(size // 256))


async def test_a_new_sequencer_goes_on_where_the_last_one_stopped(
    sequencer_pool: Pool[Any], gateway: Connection, a_decision: Make
) -> None:
    for count in (1, 255, 256, 300):
        await record(gateway, *(a_decision() for _ in range(count)))
        assert (await Sequencer(sequencer_pool, KEY).seal()).entries == count
    await assert_all_sealed_once(gateway)


async def test_large_entries_are_sealed_in_smaller_batches(
    sequencer_pool: Pool[Any], gateway: Connection, a_decision: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(seal, "BATCH_BYTES", 100_000)
    await record(gateway, *(a_decision(details={"why": "x" * 60_000}) for _ in range(5)))
    await Sequencer(sequencer_pool, KEY).seal()
    sizes = [row["size"] for row in await gateway.fetch("select size from audit.tree order by 1")]
    assert sizes == [2, 4, 5]
    await assert_all_sealed_once(gateway)


# --- ids that are missing -----------------------------------------------------------------------------------------


async def test_a_rolled_back_decision_leaves_a_gap_that_costs_nothing(
    sequencer_pool: Pool[Any], gateway: Connection, a_decision: Make
) -> None:
    sequencer = Sequencer(sequencer_pool, KEY)
    for _ in range(3):
        transaction = gateway.transaction()
        await transaction.start()
        await AuditRepository(gateway).record(a_decision())
        await transaction.rollback()
        await record(gateway, a_decision())
        await sequencer.seal()
    await record(gateway, a_decision())
    await sequencer.seal()
    await assert_all_sealed_once(gateway)
    assert await gateway.fetchval("select max(staged_id) from audit.entry") == 7
    assert await gateway.fetchval("select max(settled) from audit.tree") == 7


@pytest.mark.parametrize("restarted", [False, True])
async def test_a_decision_that_commits_after_later_ones_were_sealed_is_sealed_too(
    sequencer_pool: Pool[Any], gateway: Connection, connect: Connect, a_decision: Make, restarted: bool
) -> None:
    slow = await connect(DatabaseRole.WORKER)
    transaction = slow.transaction()
    await transaction.start()
    await AuditRepository(slow).record(a_decision(actor="slow"))
    sequencer = Sequencer(sequencer_pool, KEY)
    for _ in range(3):
        await record(gateway, a_decision())
        await sequencer.seal()
    assert await gateway.fetchval("select max(settled) from audit.tree") == 0
    await transaction.commit()
    if restarted:
        sequencer = Sequencer(sequencer_pool, KEY)
    assert (await sequencer.seal()).entries == 1
    await assert_all_sealed_once(gateway)


async def test_a_decision_made_after_another_was_committed_comes_after_it_in_the_log(
    sequencer_pool: Pool[Any],
    gateway: Connection,
    connect: Connect,
    a_decision: Make,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    slow = await connect(DatabaseRole.WORKER)
    transaction = slow.transaction()
    await transaction.start()
    earlier, between, later = a_decision(), a_decision(), a_decision()
    await AuditRepository(slow).record(earlier)
    sequencer = Sequencer(sequencer_pool, KEY)
    await record(gateway, between)
    await sequencer.seal()
    real, times = LogRepository.late, iter([True])

    async def late(self: LogRepository, *args: Any) -> Any:
        found = await real(self, *args)
        if next(times, False):  # the sequencer has just looked for late ones, and not yet for fresh ones
            await transaction.commit()
            await record(gateway, later)
        return found

    monkeypatch.setattr(LogRepository, "late", late)
    for _ in range(2):
        await sequencer.seal()
    assert await check_log(gateway) == [decision.entry() for decision in (between, earlier, later)]


async def test_a_transaction_that_only_reads_for_long_does_not_hold_ids_back(
    sequencer_pool: Pool[Any], gateway: Connection, connect: Connect, a_decision: Make
) -> None:
    reader = await connect(DatabaseRole.GATEWAY)
    transaction = reader.transaction(isolation="repeatable_read", readonly=True)
    await transaction.start()
    await reader.fetchval("select count(*) from audit.entry")
    broken = gateway.transaction()
    await broken.start()
    await AuditRepository(gateway).record(a_decision())
    await broken.rollback()
    sequencer = Sequencer(sequencer_pool, KEY)
    for _ in range(3):
        await record(gateway, a_decision())
        await sequencer.seal()
    assert await gateway.fetchval("select max(settled) from audit.tree") >= 3
    await transaction.rollback()


# --- crashes ------------------------------------------------------------------------------------------------------

#: Where a run breaks, and how many of five entries are in the tree and under a signature afterwards.
BREAKS = {
    "fresh": (0, 0),
    "add_leaves": (0, 0),
    "add_tiles": (0, 0),
    "add_head": (0, 0),
    "latest_checkpoint": (5, 0),
    "add_checkpoint": (5, 0),
}


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("point", BREAKS)
async def test_a_run_that_breaks_anywhere_is_mended_by_the_next(
    sequencer_pool: Pool[Any],
    gateway: Connection,
    a_decision: Make,
    monkeypatch: pytest.MonkeyPatch,
    point: str,
    after: bool,
) -> None:
    await record(gateway, *(a_decision() for _ in range(5)))
    real = getattr(LogRepository, point)

    async def broken(self: LogRepository, *args: Any) -> Any:
        if after:
            await real(self, *args)
        raise ConnectionResetError

    with monkeypatch.context() as patched:
        patched.setattr(LogRepository, point, broken)
        with pytest.raises(ConnectionResetError):
            await Sequencer(sequencer_pool, KEY).seal()
    in_tree = await gateway.fetchval("select coalesce(max(size), 0) from audit.tree")
    signed = await gateway.fetchval("select coalesce(max(size), 0) from audit.checkpoint")
    assert (in_tree, signed) == ((5, 5) if (point, after) == ("add_checkpoint", True) else BREAKS[point])
    await check_log(gateway)
    await record(gateway, a_decision())
    await Sequencer(sequencer_pool, KEY).seal()
    await assert_all_sealed_once(gateway)


async def test_a_sequencer_that_broke_goes_on_itself(
    sequencer_pool: Pool[Any], gateway: Connection, a_decision: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    sequencer = Sequencer(sequencer_pool, KEY)
    await record(gateway, a_decision())
    await sequencer.seal()

    async def broken(*_: object) -> None:
        raise ConnectionResetError

    await record(gateway, a_decision())
    with monkeypatch.context() as patched:
        patched.setattr(LogRepository, "add_head", broken)
        with pytest.raises(ConnectionResetError):
            await sequencer.seal()
    await sequencer.seal()
    await assert_all_sealed_once(gateway)


SEALING = """
import asyncio, sys
import asyncpg
from sharewell.audit.keys import LogKey
from sharewell.audit.seal import Sequencer

async def main():
    async with asyncpg.create_pool(sys.argv[1], min_size=1, max_size=1) as pool:
        sequencer = Sequencer(pool, LogKey.from_seed("log.example/2026", bytes(range(32))), batch=3)
        print("sealing", flush=True)
        while True:
            await sequencer.seal()

asyncio.run(main())
"""


async def test_sequencers_killed_at_any_moment_lose_nothing_and_seal_nothing_twice(
    database_urls: Mapping[DatabaseRole, str],
    sequencer_pool: Pool[Any],
    gateway: Connection,
    connect: Connect,
    a_decision: Make,
) -> None:
    writers = [await connect(DatabaseRole.GATEWAY) for _ in range(4)]
    chance, turns = random.Random(0), itertools.count()
    stop = asyncio.Event()

    async def write(conn: Connection) -> None:
        while not stop.is_set():
            transaction = conn.transaction()
            await transaction.start()
            await AuditRepository(conn).record(a_decision())
            await asyncio.sleep(chance.random() / 100)
            await (transaction.rollback() if next(turns) % 10 == 9 else transaction.commit())

    async def kill_sequencers() -> None:
        killed = 0
        # A slow machine may need more of them until some have got something done.
        while killed < 8 or await gateway.fetchval("select count(*) from audit.tree") <= 1:
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-c", SEALING, database_urls[DatabaseRole.SEQUENCER], stdout=asyncio.subprocess.PIPE
            )
            assert process.stdout is not None
            assert await process.stdout.readline() == b"sealing\n"
            await asyncio.sleep(chance.random() / 4)
            process.kill()
            await process.wait()
            killed += 1

    writing = [asyncio.create_task(write(conn)) for conn in writers]
    try:
        await kill_sequencers()
    finally:
        stop.set()
        await asyncio.gather(*writing)
    while not (await Sequencer(sequencer_pool, KEY).seal()).leading:
        await asyncio.sleep(0.05)  # the server has yet to notice that the last one is gone
    await assert_all_sealed_once(gateway)
    assert await gateway.fetchval("select max(staged_id) > count(*) from audit.entry"), "nothing was rolled back"


# --- two at once --------------------------------------------------------------------------------------------------


async def test_only_one_sequencer_leads_at_a_time(
    sequencer_pool: Pool[Any], connect: Connect, gateway: Connection, a_decision: Make
) -> None:
    await record(gateway, a_decision())
    leader = await connect(DatabaseRole.SEQUENCER)
    assert await LogRepository(leader).try_lead()
    idle = await Sequencer(sequencer_pool, KEY).seal()
    assert (idle.leading, idle.entries) == (False, 0)
    await leader.close()
    assert (await Sequencer(sequencer_pool, KEY).seal()).entries == 1


async def test_sequencers_that_all_believe_to_lead_are_fenced_off_from_each_other(
    sequencer_pool: Pool[Any], gateway: Connection, a_decision: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def always(_: LogRepository) -> bool:
        return True

    monkeypatch.setattr(LogRepository, "try_lead", always)
    await record(gateway, *(a_decision() for _ in range(400)))
    meeting, first, real = asyncio.Barrier(3), iter(range(3)), LogRepository.fresh

    async def fresh(self: LogRepository, *args: Any) -> Any:
        found = await real(self, *args)
        if next(first, None) is not None:  # all three go on from the same head, once
            await meeting.wait()
        return found

    monkeypatch.setattr(LogRepository, "fresh", fresh)

    async def insist(sequencer: Sequencer) -> int:
        fenced = 0
        while True:
            try:
                if not (await sequencer.seal()).entries:
                    return fenced
            except Fenced:
                fenced += 1

    times = await asyncio.gather(*(insist(Sequencer(sequencer_pool, KEY, batch=5)) for _ in range(3)))
    assert sum(times) >= 2, "of three that met, one is first"
    await assert_all_sealed_once(gateway)


# --- what people search by ----------------------------------------------------------------------------------------


async def test_a_decision_is_found_once_and_by_the_same_words_before_and_after_it_is_sealed(
    sequencer_pool: Pool[Any], gateway: Connection, a_decision: Make
) -> None:
    everything = "select * from audit.decision order by staged_id"
    reports = ({"resource": "ventilator"}, {"resource": "x" * 3_000})
    made = [a_decision(**more) for more in ({"institution": UUID(int=7)}, {"details": {"reports": reports}}, {})]
    await record(gateway, *made)
    waiting = await gateway.fetch(everything)
    assert [row["id"] for row in waiting] == [decision.id for decision in made]
    assert waiting[1]["resources"] == ["ventilator"], "a code that no index can hold is found by no search"
    assert await gateway.fetchval("select count(*) from audit.header") == 0
    await Sequencer(sequencer_pool, KEY).seal()
    await record(gateway, a_decision())
    assert (await gateway.fetch(everything))[:3] == waiting
    assert await gateway.fetch("select * from audit.header order by staged_id") == waiting
    assert await gateway.fetchval("select count(*) from audit.decision") == 4


async def test_an_entry_that_was_damaged_while_it_waited_keeps_nobody_from_finding_the_others(
    gateway: Connection, admin_dsn: str, a_decision: Make
) -> None:
    made = [a_decision() for _ in range(3)]
    await record(gateway, *made)
    await behind_the_guard(admin_dsn, "entry", "update audit.entry set body = '\\xff' where staged_id = 2")
    found = {row["id"] for row in await gateway.fetch("select id from audit.decision")}
    assert found == {made[0].id, made[2].id}


# --- damage -------------------------------------------------------------------------------------------------------


async def test_a_flipped_bit_in_a_staged_entry_stops_sealing(
    sequencer_pool: Pool[Any], gateway: Connection, admin_dsn: str, a_decision: Make
) -> None:
    await record(gateway, *(a_decision() for _ in range(3)))
    await behind_the_guard(
        admin_dsn, "entry", "update audit.entry set body = set_bit(body, 99, 1 - get_bit(body, 99)) where staged_id = 2"
    )
    with pytest.raises(LogDamaged, match="Entry 2 was changed"):
        await Sequencer(sequencer_pool, KEY).seal()
    assert await gateway.fetchval("select count(*) from audit.leaf") == 0
    assert await gateway.fetchval("select count(*) from audit.checkpoint") == 0


@pytest.mark.parametrize(
    ("table", "change"),
    [
        ("leaf", "update audit.leaf set leaf_hash = sha256(leaf_hash) where log_index = 299"),
        ("leaf", "delete from audit.leaf where log_index = 299"),
        ("tile", "update audit.tile set hashes = sha256(hashes) where level = 1"),
        ("tile", "delete from audit.tile where level = 1"),
        ("tree", "update audit.tree set root = sha256(root) where size = 300"),
    ],
)
async def test_damage_at_the_edge_of_the_tree_stops_a_sequencer_that_takes_over(
    sequencer_pool: Pool[Any], gateway: Connection, admin_dsn: str, a_decision: Make, table: str, change: str
) -> None:
    await record(gateway, *(a_decision() for _ in range(300)))
    await Sequencer(sequencer_pool, KEY).seal()
    await behind_the_guard(admin_dsn, table, change)
    await record(gateway, a_decision())
    with pytest.raises(LogDamaged):
        await Sequencer(sequencer_pool, KEY).seal()
    assert await gateway.fetchval("select max(size) from audit.checkpoint") == 300


async def test_another_key_does_not_sign_a_log_that_has_one(
    sequencer_pool: Pool[Any], gateway: Connection, a_decision: Make
) -> None:
    await record(gateway, a_decision())
    await Sequencer(sequencer_pool, KEY).seal()
    await record(gateway, a_decision())
    with pytest.raises(WrongKey, match="Restore the key"):
        await Sequencer(sequencer_pool, LogKey.generate("log.example/2026")).seal()
    assert await gateway.fetchval("select max(size) from audit.tree") == 1
    assert [row["vkey"] for row in await gateway.fetch("select vkey from audit.verifier_key")] == [KEY.vkey]
