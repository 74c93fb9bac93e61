"""Decisions are staged with their change, found again, and never altered."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any, TypeAlias
from uuid import UUID

import asyncpg
import pytest
from uuid_utils.compat import uuid7

from sharewell.domain.audit import Decision
from sharewell.domain.errors import Invalid, NotFound
from sharewell.settings import DatabaseRole
from sharewell.store.audit import AuditRepository, DecisionFilter

Connection: TypeAlias = "asyncpg.Connection[Any]"
Connect = Callable[[DatabaseRole], Awaitable[Connection]]
Make = Callable[..., Decision]
LAST = UUID(int=2**128 - 1)


async def record(conn: Connection, *decisions: Decision) -> None:
    async with conn.transaction():
        for decision in decisions:
            await AuditRepository(conn).record(decision)


async def test_a_decision_is_found_again_as_it_was_recorded(gateway: Connection, a_decision: Make) -> None:
    decision = a_decision(details={"reason": "Überlauf – 满", "units": [1, {"of": None}]})
    await record(gateway, decision)
    found = await AuditRepository(gateway).get(decision.id)
    assert found.decision == decision
    assert found.entry == decision.entry()
    assert found.log_index is None


async def test_a_decision_nobody_made_is_not_found(gateway: Connection) -> None:
    with pytest.raises(NotFound):
        await AuditRepository(gateway).get(uuid7())


async def test_a_decision_that_is_rolled_back_was_never_recorded(gateway: Connection, a_decision: Make) -> None:
    transaction = gateway.transaction()
    await transaction.start()
    await AuditRepository(gateway).record(a_decision())
    await transaction.rollback()
    assert await gateway.fetchval("select count(*) from audit.entry") == 0
    assert await gateway.fetchval("select count(*) from audit.decision") == 0


async def test_a_kind_that_nobody_described_is_refused(gateway: Connection, a_decision: Make) -> None:
    with pytest.raises(Invalid, match="KINDS"):
        await record(gateway, a_decision(kind="tea.served"))


async def test_the_same_decision_is_not_recorded_twice(gateway: Connection, a_decision: Make) -> None:
    decision = a_decision()
    await record(gateway, decision)
    with pytest.raises(asyncpg.UniqueViolationError):
        await record(gateway, decision)


async def test_the_header_is_what_the_entry_says(gateway: Connection, a_decision: Make) -> None:
    decision = a_decision(institution=uuid7(), outcome="refused", kind="access.refused")
    await record(gateway, decision)
    page = await AuditRepository(gateway).page(before=LAST, matching=DecisionFilter(), first=5)
    (header,) = page.items
    for name in ("id", "kind", "at", "actor", "institution", "action", "outcome", "policy_set", "request_id"):
        assert getattr(header, name) == getattr(decision, name), name
    assert (header.subject_kind, header.subject_id) == (decision.subject_kind, decision.subject_id)


@pytest.mark.parametrize(
    "entry",
    [
        b"not json",
        b"[]",
        b'{"id":1,"id":2}',
        b'{"kind":"offer.published"}',
        b"\xff",
        b'{"details":"%b"}' % (b"x" * 65_535),
    ],
)
async def test_bytes_that_are_no_decision_are_refused(gateway: Connection, entry: bytes) -> None:
    with pytest.raises(asyncpg.PostgresError):
        await gateway.execute("select audit.record($1)", entry)


@pytest.mark.parametrize(
    ("said", "instead"),
    [
        (b'"actor":"clinic"', b'"actor":null'),
        (b'"kind":"offer.published",', b""),
        (b'"subject_id":"x"', b'"subject_id":"%b"' % (b"x" * 2_001)),
        (b'"institution":null', b'"institution":"a clinic"'),
        (b'"at":"2026-03-01T12:00:00.000000Z"', b'"at":"tomorrow"'),
        (b'"at":"2026-03-01T12:00:00.000000Z"', b'"at":"2026-03-41T12:00:00.000000Z"'),
        (b'"id":"01', b'"id":"x1'),
    ],
)
async def test_what_no_header_could_be_made_of_is_refused_at_the_door(
    gateway: Connection, a_decision: Make, said: bytes, instead: bytes
) -> None:
    at = datetime(2026, 3, 1, 12, tzinfo=UTC)
    told: dict[str, Any] = {"actor": "clinic", "kind": "offer.published", "subject_id": "x", "institution": None}
    entry = a_decision(id=UUID("01900000-0000-7000-8000-000000000001"), at=at, **told).entry()
    assert entry.count(said) == 1
    with pytest.raises(asyncpg.PostgresError):
        await gateway.execute("select audit.record($1)", entry.replace(said, instead))
    await gateway.execute("select audit.record($1)", entry)


async def test_an_outcome_nobody_knows_is_refused(gateway: Connection, a_decision: Make) -> None:
    entry = a_decision().entry().replace(b'"allowed"', b'"perhaps"')
    with pytest.raises(asyncpg.InvalidParameterValueError, match="outcome"):
        await gateway.execute("select audit.record($1)", entry)


async def test_an_entry_cannot_name_a_key_twice_to_show_one_thing_and_mean_another(
    gateway: Connection, a_decision: Make
) -> None:
    entry = a_decision().entry().replace(b'{"action"', b'{"actor":"somebody-else","action"', 1)
    with pytest.raises(asyncpg.InvalidParameterValueError, match="no key twice"):
        await gateway.execute("select audit.record($1)", entry)


async def test_pages_follow_each_other_without_skip_or_repeat(gateway: Connection, a_decision: Make) -> None:
    made = [a_decision() for _ in range(7)]
    await record(gateway, *made)
    found, before = [], LAST
    while True:
        page = await AuditRepository(gateway).page(before=before, matching=DecisionFilter(), first=3)
        found += [header.id for header in page.items]
        if not page.has_more:
            break
        before = page.items[-1].id
    assert found == sorted((decision.id for decision in made), reverse=True)


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ({"institution": UUID(int=7)}, {"a"}),
        ({"actor": "b"}, {"b"}),
        ({"kind": "offer.withdrawn"}, {"c"}),
        ({"outcome": "refused"}, {"d"}),
        ({"subject_kind": "transfer", "subject_id": "t1"}, {"e"}),
        ({"institution": UUID(int=7), "actor": "b"}, set()),
        ({}, {"a", "b", "c", "d", "e"}),
    ],
)
async def test_decisions_are_found_by_what_they_say(
    gateway: Connection, a_decision: Make, asked: dict[str, Any], expected: set[str]
) -> None:
    await record(
        gateway,
        a_decision(actor="a", institution=UUID(int=7)),
        a_decision(actor="b", institution=UUID(int=8)),
        a_decision(actor="c", kind="offer.withdrawn"),
        a_decision(actor="d", outcome="refused"),
        a_decision(actor="e", subject_kind="transfer", subject_id="t1"),
    )
    page = await AuditRepository(gateway).page(before=LAST, matching=DecisionFilter(**asked), first=9)
    assert {header.actor for header in page.items} == expected


async def test_decisions_are_found_by_time(gateway: Connection, a_decision: Make) -> None:
    first, second, third = (a_decision() for _ in range(3))
    await record(gateway, first, second, third)
    wanted = DecisionFilter(since=second.at, until=third.at)
    page = await AuditRepository(gateway).page(before=LAST, matching=wanted, first=9)
    assert [header.id for header in page.items] == [second.id]


# --- who may do what ----------------------------------------------------------------------------------------------

CHANGES = (
    "update audit.{table} set {column} = {column}",
    "delete from audit.{table}",
    "truncate audit.{table} cascade",
)
A_COLUMN = {
    "entry": "body",
    "staged": "id",
    "header": "kind",
    "leaf": "log_index",
    "tile": "n",
    "tree": "size",
    "checkpoint": "size",
    "verifier_key": "vkey",
}


@pytest.fixture
async def every_table_has_a_row(owner: Connection, gateway: Connection, a_decision: Make) -> None:
    await record(gateway, a_decision())
    await owner.execute(
        """
        insert into audit.leaf select 0, staged_id, leaf_hash from audit.entry;
        insert into audit.tile values (1, 0, 1, sha256('x'));
        insert into audit.tree (size, root, settled) values (1, sha256('x'), 1);
        insert into audit.checkpoint (size, note) values (1, 'x');
        insert into audit.verifier_key (vkey) values ('x');
        """
    )


@pytest.mark.parametrize("role", DatabaseRole)
async def test_no_role_changes_or_removes_a_row(
    connect: Connect, every_table_has_a_row: None, role: DatabaseRole
) -> None:
    conn = await connect(role)
    for table, column in A_COLUMN.items():
        for change in CHANGES:
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await conn.execute(change.format(table=table, column=column))


async def test_the_owner_is_stopped_by_the_guard_and_not_by_a_grant(
    owner: Connection, every_table_has_a_row: None
) -> None:
    for table, column in A_COLUMN.items():
        for change in CHANGES:
            with pytest.raises(asyncpg.InsufficientPrivilegeError, match="only grows"):
                await owner.execute(change.format(table=table, column=column))


async def test_not_even_a_superuser_changes_a_row_by_calling_itself_a_replica(
    admin_dsn: str, every_table_has_a_row: None
) -> None:
    conn = await asyncpg.connect(admin_dsn)
    try:
        await conn.execute("set session_replication_role = replica")
        for table in A_COLUMN:
            with pytest.raises(asyncpg.InsufficientPrivilegeError, match="only grows"):
                await conn.execute(f"delete from audit.{table}")
    finally:
        await conn.close()


MAY_INSERT = {
    DatabaseRole.GATEWAY: set[str](),
    DatabaseRole.WORKER: set[str](),
    DatabaseRole.SEQUENCER: {"leaf", "tile", "tree", "checkpoint", "verifier_key"},
}


@pytest.mark.parametrize("role", MAY_INSERT)
async def test_each_role_adds_to_its_own_tables_only(connect: Connect, role: DatabaseRole) -> None:
    conn = await connect(role)
    may = {
        table
        for table in A_COLUMN
        if await conn.fetchval("select has_any_column_privilege($1, 'insert')", f"audit.{table}")
    }
    assert may == MAY_INSERT[role]


@pytest.mark.parametrize("role", MAY_INSERT)
async def test_every_role_that_acts_can_record(connect: Connect, a_decision: Make, role: DatabaseRole) -> None:
    await record(await connect(role), a_decision())


@pytest.mark.parametrize("role", MAY_INSERT)
async def test_no_role_that_acts_can_switch_the_guard_off(connect: Connect, role: DatabaseRole) -> None:
    conn = await connect(role)
    for attempt in (
        "alter table audit.entry disable trigger only_grows",
        "drop table audit.entry cascade",
        "create or replace function audit.refuse_change() returns trigger language plpgsql as 'begin return old; end'",
        "set session_replication_role = replica",
    ):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await conn.execute(attempt)


async def test_recording_does_not_follow_the_search_path_of_the_caller(
    owner: Connection, gateway: Connection, a_decision: Make
) -> None:
    # The gateway may make nothing where it could be found; the owner can, and is not obeyed either.
    await owner.execute(
        """
        create temporary table entry (body bytea);
        create function pg_temp.sha256(bytea) returns bytea language sql return 'forged'::bytea;
        set search_path = pg_temp, audit;
        """
    )
    await AuditRepository(owner).record(a_decision())
    assert await gateway.fetchval("select leaf_hash = sha256('\\x00'::bytea || body) from audit.entry")
