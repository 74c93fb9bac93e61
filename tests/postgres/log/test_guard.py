"""Who can do what to the stored log: the whole matrix, the owner of the tables and a superuser among them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import asyncpg
import pytest
import yaml

from sharewell.settings import DatabaseRole
from sharewell.store.audit import AuditRepository
from sharewell.store.guard import GUARD

if TYPE_CHECKING:
    from sharewell.domain.audit import Decision

Connection: TypeAlias = "asyncpg.Connection[Any]"
Connect: TypeAlias = "Callable[[DatabaseRole], Awaitable[Connection]]"

CLUSTER = Path(__file__).parents[3] / "k8s" / "postgres" / "cluster.yaml"
SUPERUSER = "superuser"
EVERYBODY = (*DatabaseRole, SUPERUSER)
TABLES = (
    "audit.entry", "audit.staged", "audit.header", "audit.leaf", "audit.tile", "audit.tree", "audit.checkpoint",
    "audit.verifier_key", "audit.cosignature", "audit.key_handover", "witness.refusal", "witness.head",
)  # fmt: skip
#: Beside the owner and a superuser, who may add rows themselves. Everybody else records through audit.record().
MAY_ADD = {
    DatabaseRole.GATEWAY: {"witness.refusal", "witness.head"},
    DatabaseRole.WORKER: set[str](),
    DatabaseRole.SEQUENCER: {
        "audit.leaf", "audit.tile", "audit.tree", "audit.checkpoint", "audit.verifier_key", "audit.cosignature",
        "audit.key_handover",
    },
}  # fmt: skip
#: What nobody may do, to each table.
TO_A_TABLE = (
    "delete from {table}",
    "truncate {table} cascade",
    "alter table {table} disable trigger only_grows",
    "alter table {table} disable trigger all",
    "alter table {table} enable replica trigger only_grows",
    "drop trigger only_grows on {table}",
    "alter trigger only_grows on {table} rename to sleeps",
    "drop table {table} cascade",
    "alter table {table} rename to elsewhere",
    "alter table {table} set schema public",
    "create rule forget as on insert to {table} do instead nothing",
)
#: What people search by is made from the entries, and a migration may make it anew: its owner may do these to it.
TO_HEADERS = tuple(attempt for attempt in TO_A_TABLE if attempt.startswith(("alter", "create", "drop trigger")))
#: What nobody may do at all.
AT_ALL = (
    "update audit.entry set body = body",
    "alter table audit.entry alter column body type bytea using ''::bytea",
    "alter table audit.entry drop column body",
    "alter table audit.leaf drop constraint leaf_pkey",
    "drop schema audit cascade",
    "drop schema witness cascade",
    "create or replace function audit.refuse_change() returns trigger language plpgsql as 'begin return old; end'",
    "drop function audit.refuse_change() cascade",
    "drop schema guard cascade",
    "delete from guard.kept",
)
OF_THE_GUARD = 2  #: the last ones: a superuser owns the guard, and can do away with it


@pytest.fixture
async def as_whom(connect: Connect, admin_dsn: str, a_decision: Callable[..., Decision]) -> AsyncIterator[Any]:
    """Connections by role, to a log with an entry in it."""
    admin = await asyncpg.connect(admin_dsn)
    connections: dict[str, Connection] = {role: await connect(role) for role in DatabaseRole}
    connections[SUPERUSER] = admin
    await AuditRepository(connections[DatabaseRole.GATEWAY]).record(a_decision())
    yield connections
    await admin.close()


async def refused(conn: Connection, statement: str) -> bool:
    """Whether `statement` is refused; where it is not, it is undone."""
    transaction = conn.transaction()
    await transaction.start()
    try:
        await conn.execute(statement)
    except (asyncpg.InsufficientPrivilegeError, asyncpg.InvalidSchemaNameError):
        return True
    else:
        return False
    finally:
        await transaction.rollback()


@pytest.mark.parametrize("role", EVERYBODY)
async def test_nobody_changes_removes_or_unguards_what_is_stored(as_whom: dict[str, Connection], role: str) -> None:
    conn = as_whom[role]
    attempts = [
        attempt.format(table=table) for table in TABLES for attempt in TO_A_TABLE
        if table != "audit.header" or attempt not in TO_HEADERS or role not in {DatabaseRole.MIGRATOR, SUPERUSER}
    ]  # fmt: skip
    attempts += AT_ALL if role != SUPERUSER else AT_ALL[:-OF_THE_GUARD]
    assert [attempt for attempt in attempts if not await refused(conn, attempt)] == []


@pytest.mark.parametrize("role", DatabaseRole)
async def test_nobody_but_a_superuser_can_break_the_glass(as_whom: dict[str, Connection], role: str) -> None:
    conn = as_whom[role]
    await conn.execute("set sharewell.break_glass = 'on'")
    assert await refused(conn, "alter table audit.entry disable trigger only_grows")
    assert await refused(conn, "drop schema audit cascade")
    for attempt in ("alter event trigger keep_the_log_sql_drop disable", "drop event trigger keep_the_log_sql_drop"):
        assert await refused(conn, attempt)


async def test_a_superuser_gets_through_only_by_breaking_the_glass(as_whom: dict[str, Connection]) -> None:
    conn = as_whom[SUPERUSER]
    await conn.execute("set session_replication_role = replica")
    assert await refused(conn, "alter table audit.entry disable trigger only_grows")
    await conn.execute("set sharewell.break_glass = 'on'")
    assert not await refused(conn, "alter table audit.entry disable trigger only_grows")


async def test_each_role_adds_to_its_own_tables_only(as_whom: dict[str, Connection]) -> None:
    may = {
        role: {
            table for table in TABLES
            if await as_whom[SUPERUSER].fetchval("select has_any_column_privilege($1, $2, 'insert')", role, table)
        }
        for role in MAY_ADD
    }  # fmt: skip
    assert may == MAY_ADD


async def test_what_a_witness_cosigned_goes_forward_only(as_whom: dict[str, Connection]) -> None:
    conn = as_whom[DatabaseRole.GATEWAY]
    await conn.execute("insert into witness.head values ('log', 5, sha256('a'), 'n', now())")
    await conn.execute("update witness.head set size = 7, root = sha256('b')")
    assert await refused(conn, "update witness.head set size = 6")
    assert await refused(conn, "update witness.head set root = sha256('c')")
    assert await refused(as_whom[DatabaseRole.MIGRATOR], "update witness.head set origin = 'other', size = 9")


async def test_ordinary_migrations_are_not_in_the_way(as_whom: dict[str, Connection]) -> None:
    owner = as_whom[DatabaseRole.MIGRATOR]
    for allowed in (
        "alter table audit.header disable trigger only_grows; update audit.header set kind = kind",
        "create index on audit.entry (staged_at)",
        "alter table audit.entry add column note text",
        "create table audit.more (n integer)",
        "create or replace function audit.record(entry bytea) returns bigint language sql as 'select 1::bigint'",
        "create table sharewell.spare (n integer); drop table sharewell.spare",
        "create table sharewell.spare (d uuid references audit.staged (id)); drop table sharewell.spare",
    ):
        assert not await refused(owner, allowed), allowed


def test_a_cluster_is_guarded_by_the_same_statements() -> None:
    spec = yaml.safe_load(CLUSTER.read_text())["spec"]
    assert tuple(spec["bootstrap"]["initdb"]["postInitApplicationSQL"][-len(GUARD) :]) == GUARD
