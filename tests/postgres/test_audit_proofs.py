"""Bundles made from the database convince a stranger, and the search for holes finds every one that was made."""

from __future__ import annotations

import json
import random
from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

import asyncpg
import pytest
from tests.postgres.conftest import behind_the_guard
from uuid_utils.compat import uuid7

from sharewell.audit.keys import LogKey
from sharewell.audit.proofs import NotSealedYet, bundle_of, consistency_path, read_checkpoint
from sharewell.audit.reconcile import CHANGES, MAKES, reconcile
from sharewell.audit.seal import LogDamaged, Sequencer
from sharewell.domain import canonical, merkle
from sharewell.domain.audit import KINDS, Decision
from sharewell.domain.bundle import NotInLog, NotSigned, parse_bundle, verify_bundle
from sharewell.domain.errors import NotFound
from sharewell.domain.recheck import Recheck
from sharewell.settings import DatabaseRole
from sharewell.store.artifacts import keep_artifact
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


async def test_every_decision_of_a_log_that_grew_in_pieces_is_proven(
    sequencer_pool: Pool[Any], gateway: Connection, a_decision: Make
) -> None:
    sequencer, made = Sequencer(sequencer_pool, KEY, batch=100), []
    for count in (1, 254, 1, 1, 300, 60):
        batch = [a_decision() for _ in range(count)]
        await record(gateway, *batch)
        await sequencer.seal()
        made += batch
        for decision in [*batch[-2:], *random.Random(count).sample(made, min(20, len(made)))]:
            verified = verify_bundle(await bundle_of(gateway, decision.id), KEY.vkey)
            assert verified.decision == decision
            assert verified.checkpoint.size == len(made)


async def test_tiles_of_every_level_are_found(
    owner: Connection, gateway: Connection, sequencer_pool: Pool[Any], a_decision: Make
) -> None:
    # 65,536 entries fill a tile of level 1; staged in one statement, for they need not be decisions here.
    wanted = a_decision()
    await record(gateway, wanted)
    await owner.execute(
        """
        insert into audit.entry (leaf_hash, body)
        select sha256('\\x00'::bytea || b.body), b.body
          from (select convert_to(n::text, 'UTF8') as body from generate_series(1, 66000) n) b
        """
    )
    last = a_decision()
    await record(gateway, last)
    sealed = await Sequencer(sequencer_pool, KEY).seal()
    assert sealed.size == 66_002
    for decision in (wanted, last):
        assert verify_bundle(await bundle_of(gateway, decision.id), KEY.vkey).decision == decision
    levels = await gateway.fetch("select level, max(width) as width from audit.tile group by level order by level")
    assert [(row["level"], row["width"]) for row in levels] == [(0, 256), (1, 256), (2, 1)]
    assert (await Sequencer(sequencer_pool, KEY).seal()).size == 66_002


async def test_a_log_can_be_shown_to_extend_what_it_was(
    sequencer_pool: Pool[Any], gateway: Connection, a_decision: Make
) -> None:
    sequencer, heads = Sequencer(sequencer_pool, KEY), []
    for count in (1, 255, 44, 300):
        await record(gateway, *(a_decision() for _ in range(count)))
        await sequencer.seal()
        signed = await LogRepository(gateway).latest_checkpoint()
        assert signed is not None
        heads.append(read_checkpoint(signed.note))
    for older, newer in [(a, b) for a in heads for b in heads if a.size <= b.size]:
        path = await consistency_path(LogRepository(gateway), older.size, newer.size)
        merkle.verify_consistency(older.size, newer.size, older.root, newer.root, path)


async def test_an_unknown_decision_has_no_bundle(gateway: Connection) -> None:
    with pytest.raises(NotFound):
        await bundle_of(gateway, uuid7())


async def test_a_decision_has_no_bundle_until_it_is_under_a_signature(
    sequencer_pool: Pool[Any], gateway: Connection, a_decision: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    await record(gateway, a_decision())
    await Sequencer(sequencer_pool, KEY).seal()
    decision = a_decision()
    await record(gateway, decision)
    with pytest.raises(NotSealedYet, match="few seconds"):
        await bundle_of(gateway, decision.id)

    async def broken(*_: object) -> None:
        raise ConnectionResetError

    with monkeypatch.context() as patched:
        patched.setattr(LogRepository, "add_checkpoint", broken)
        with pytest.raises(ConnectionResetError):
            await Sequencer(sequencer_pool, KEY).seal()
    with pytest.raises(NotSealedYet):
        await bundle_of(gateway, decision.id)
    await Sequencer(sequencer_pool, KEY).seal()
    assert verify_bundle(await bundle_of(gateway, decision.id), KEY.vkey).index == 1


async def test_a_bundle_of_another_log_is_not_verified(
    sequencer_pool: Pool[Any], gateway: Connection, a_decision: Make
) -> None:
    decision = a_decision()
    await record(gateway, decision)
    await Sequencer(sequencer_pool, KEY).seal()
    with pytest.raises(NotSigned):
        verify_bundle(await bundle_of(gateway, decision.id), LogKey.generate("log.example/2026").vkey)


async def test_an_entry_changed_after_it_was_sealed_is_not_handed_out_as_proof(
    sequencer_pool: Pool[Any], gateway: Connection, admin_dsn: str, a_decision: Make
) -> None:
    decision = a_decision()
    await record(gateway, decision, a_decision())
    await Sequencer(sequencer_pool, KEY).seal()
    good = await bundle_of(gateway, decision.id)
    await behind_the_guard(
        admin_dsn,
        "entry",
        """update audit.entry set body = convert_to(replace(convert_from(body, 'UTF8'), 'ventilator', 'ventilates'),
           'UTF8') where staged_id = 1""",
    )
    with pytest.raises(LogDamaged, match="Entry 0"):
        await bundle_of(gateway, decision.id)
    forged = good.replace(b"ventilator", b"ventilates")
    with pytest.raises(NotInLog):
        verify_bundle(forged, KEY.vkey)


async def test_the_inputs_of_a_decision_come_along(
    sequencer_pool: Pool[Any], connect: Connect, gateway: Connection, a_decision: Make
) -> None:
    worker = await connect(DatabaseRole.WORKER)
    body = canonical.encode({"owners": [1, 2, 3]})
    sha256 = await keep_artifact(worker, "instance", body)
    decision = a_decision(kind="forecast.adopted", details={"instance_sha256": sha256})
    await record(worker, decision)
    await Sequencer(sequencer_pool, KEY).seal()
    rechecks = {"forecast.adopted": Recheck(inputs=("instance_sha256",), check=lambda _, found: f"{len(found)} inputs")}
    data = await bundle_of(gateway, decision.id, rechecks=rechecks)
    assert parse_bundle(data).attachments == {sha256: body}
    assert verify_bundle(data, KEY.vkey, rechecks).checks[-1] == "1 inputs"


# --- what is not there --------------------------------------------------------------------------------------------


@pytest.fixture
async def a_sealed_log(sequencer_pool: Pool[Any], gateway: Connection, a_decision: Make) -> None:
    """Four decisions, one of which defined a resource; three sealed, one waiting."""
    made = [a_decision(kind="resource.defined"), *(a_decision(kind="audit.read", institution=uuid7()) for _ in "123")]
    async with gateway.transaction():
        await record(gateway, *made[:3])
        await gateway.execute(
            """
            insert into sharewell.resource (code, kind, name, unit, standard_code, gtin, skill, loan_days, decision_id)
            values ('bed.adult', 'place', 'Bed', '1', '', '', '', 0, $1)
            """,
            made[0].id,
        )
    await Sequencer(sequencer_pool, KEY).seal()
    await record(gateway, made[3])


async def test_a_log_without_holes_is_found_complete(a_sealed_log: None, owner: Connection) -> None:
    found = await reconcile(owner)
    assert found.complete, found.problems
    assert (found.decisions, found.rows) == (4, 1)
    assert "sharewell.offer.decision_id" in found.tables
    canonical.encode(found.as_details())


@pytest.mark.parametrize(
    ("table", "change", "problem"),
    [
        ("header", "delete from audit.header where kind = 'resource.defined'", {"entries_without_decision": 1}),
        (
            "staged",
            "delete from audit.staged where staged_id = 1",
            {"entries_without_decision": 1, "rows_without_decision.sharewell.resource.decision_id": 1},
        ),
        (
            "entry",
            "delete from audit.entry where staged_id = 2",
            {"decisions_without_entry": 1, "leaves_without_entry": 1},
        ),
        ("entry", "delete from audit.entry where staged_id = 4", {"decisions_without_entry": 1}),
        ("header", "delete from audit.header where staged_id = 2", {"entries_without_decision": 1}),
        ("staged", "delete from audit.staged where staged_id = 4", {"entries_without_decision": 1}),
        ("staged", "update audit.staged set id = gen_random_uuid() where staged_id = 4", {"decisions_unlike_entry": 1}),
        ("header", "update audit.header set actor = 'nobody' where staged_id = 2", {"decisions_unlike_entry": 1}),
        ("header", "update audit.header set resources = null where staged_id = 1", {"decisions_unlike_entry": 1}),
        ("header", "update audit.header set at = now() where staged_id = 2", {"decisions_unlike_entry": 1}),
        ("header", "update audit.header set institution = null where staged_id = 2", {"decisions_unlike_entry": 1}),
        (
            "header",
            "update audit.header set staged_id = staged_id + 10 where staged_id = 2",
            {"decisions_without_entry": 1, "entries_without_decision": 1},
        ),
        ("leaf", "delete from audit.leaf where log_index = 1", {"missing_indexes": 1, "entries_passed_over": 1}),
        ("leaf", "update audit.leaf set leaf_hash = sha256('x') where log_index = 1", {"leaves_unlike_entry": 1}),
        (
            "entry",
            "update audit.entry set body = convert_to(convert_from(body, 'UTF8') || ' ', 'UTF8') where staged_id = 2",
            {"leaves_unlike_entry": 1},
        ),
    ],
)
async def test_a_planted_hole_is_found_and_named(
    a_sealed_log: None, owner: Connection, admin_dsn: str, table: str, change: str, problem: dict[str, int]
) -> None:
    await behind_the_guard(admin_dsn, table, change)
    found = await reconcile(owner)
    assert found.problems == problem
    assert {name: len(what) for name, what in found.missing.items()} == problem


async def test_an_entry_that_can_no_longer_be_read_is_called_damage(
    a_sealed_log: None, owner: Connection, admin_dsn: str
) -> None:
    await behind_the_guard(admin_dsn, "entry", "update audit.entry set body = '{' where staged_id = 2")
    with pytest.raises(LogDamaged, match="no longer JSON"):
        await reconcile(owner)


async def test_a_row_whose_decision_is_gone_is_found(a_sealed_log: None, owner: Connection, admin_dsn: str) -> None:
    conn = await asyncpg.connect(admin_dsn)
    try:
        await conn.execute("set session_replication_role = replica")
        await conn.execute("alter table sharewell.resource disable trigger needs_entry_update")
        await conn.execute("update sharewell.resource set decision_id = gen_random_uuid()")
    finally:
        await conn.close()
    found = await reconcile(owner)
    assert found.problems == {
        "rows_without_decision.sharewell.resource.decision_id": 1,
        "decisions_without_row.sharewell.resource.decision_id": 1,
    }
    (made,) = await owner.fetch("select id from audit.decision where kind = 'resource.defined'")
    assert found.missing["decisions_without_row.sharewell.resource.decision_id"] == [f"decision {made['id']}"]


async def test_a_row_that_was_removed_is_missed(a_sealed_log: None, owner: Connection) -> None:
    await owner.execute("alter table sharewell.resource disable trigger needs_entry_delete")
    await owner.execute("delete from sharewell.resource")
    assert (await reconcile(owner)).problems == {"decisions_without_row.sharewell.resource.decision_id": 1}


async def test_a_row_cannot_name_a_decision_that_was_never_recorded(owner: Connection) -> None:
    with pytest.raises(asyncpg.ForeignKeyViolationError):
        await owner.execute(
            """
            insert into sharewell.resource (code, kind, name, unit, standard_code, gtin, skill, loan_days, decision_id)
            values ('bed.adult', 'place', 'Bed', '1', '', '', '', 0, gen_random_uuid())
            """
        )


@pytest.mark.parametrize("role", [DatabaseRole.GATEWAY, DatabaseRole.WORKER, DatabaseRole.MIGRATOR])
async def test_whoever_compares_says_which_tables_were_seen(
    a_sealed_log: None, connect: Connect, role: DatabaseRole
) -> None:
    found = await reconcile(await connect(role))
    assert found.complete
    tables = {tuple(name.rsplit(".", 1)) for name in found.tables}
    assert set(MAKES) <= tables, "who reconciles must see every table whose rows a decision makes"
    assert json.dumps(found.as_details())


def test_each_kind_whose_row_is_looked_for_is_a_kind_of_decision() -> None:
    kinds = [kind for kinds in (*MAKES.values(), *CHANGES.values()) for kind in kinds]
    assert set(kinds) <= set(KINDS)
    assert len(kinds) == len(set(kinds))


async def test_every_noun_names_its_decision(owner: Connection) -> None:
    """A table of nouns that does not could be written without an entry in the log."""
    silent = await owner.fetch(
        """
        select c.relname from pg_class c join pg_namespace n on n.oid = c.relnamespace
         where n.nspname = 'sharewell' and c.relkind in ('r', 'p') and not c.relispartition
           and not exists (select from pg_attribute a where a.attrelid = c.oid and a.attname = 'decision_id')
        """
    )
    # Contents by hash, answers kept for repeated calls, rows that belong to one that names its decision, and a running
    # check that names one (`marked_by`) once it has led to it.
    assert {row["relname"] for row in silent} <= {
        "artifact", "answered", "transfer_step", "forecast", "feed_row", "forecast_watch", "forecast_sum",
        "run_receipt", "unfilled", "horizon_day", "horizon_movement", "horizon_unmet",
    }  # fmt: skip
