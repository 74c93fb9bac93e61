"""No table of decisions is written without an entry in the same transaction, whoever writes."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import asyncpg
import pytest

from sharewell.domain.audit import Decision
from sharewell.domain.reader import PLATFORM
from sharewell.settings import DatabaseRole
from sharewell.store.audit import AuditRepository

if TYPE_CHECKING:
    from tests.postgres.conftest import Connect, Connection

#: Tables whose rows are no decision's: a body under its hash, an answer kept to be repeated, a check that runs on.
FREE = {"sharewell.artifact", "sharewell.answered", "sharewell.forecast_watch"}
#: What carries no decision of its own but is written by one.
LINES = {"sharewell.forecast", "sharewell.forecast_sum", "sharewell.run_receipt", "sharewell.unfilled",
         "sharewell.horizon_day", "sharewell.horizon_movement", "sharewell.horizon_unmet"}  # fmt: skip
TABLES = """
select n.nspname || '.' || c.relname as name from pg_class c join pg_namespace n on n.oid = c.relnamespace
 where c.relkind in ('r', 'p')
   and (n.nspname = 'sharewell' or c.oid in ('oauth.client'::regclass, 'oauth.family'::regclass)) order by 1
"""
GUARDS = """
select t.tgname, t.tgenabled, p.proname from pg_trigger t join pg_proc p on p.oid = t.tgfoid
 where t.tgrelid = $1::regclass and p.pronamespace = 'audit'::regnamespace order by 1
"""


async def tables(owner: Connection) -> list[str]:
    return [row["name"] for row in await owner.fetch(TABLES)]


async def test_every_table_has_the_guard_but_those_named_here(owner: Connection) -> None:
    for table in await tables(owner):
        guards = {row["tgname"]: (row["tgenabled"], row["proname"]) for row in await owner.fetch(GUARDS, table)}
        insert = "require_entry" if table in LINES else "require_own_entry"
        wanted = {
            "needs_entry_insert": (b"A", insert), "needs_entry_update": (b"A", "require_entry"),
            "needs_entry_delete": (b"A", "require_entry"), "never_emptied": (b"A", "refuse_truncate"),
        }  # fmt: skip
        assert guards == ({} if table in FREE else wanted), table


async def refused_to_write(conn: Connection, statement: str) -> str:
    """Why the statement is refused: by a right or by the guard, tried in a transaction that is undone."""
    transaction = conn.transaction()
    await transaction.start()
    try:
        await conn.execute(statement)
    except asyncpg.InsufficientPrivilegeError:
        return "right"
    except asyncpg.PostgresError as why:
        return "guard" if why.sqlstate == "SW004" else f"{type(why).__name__}: {why}"
    finally:
        await transaction.rollback()
    return "nothing"


EVENTS = ("insert", "update", "delete")
COLUMNS = """
select a.attname as name, t.typname as kind from pg_attribute a join pg_type t on t.oid = a.atttypid
 where a.attrelid = $1::regclass and a.attnum > 0 and not a.attisdropped and a.attnotnull
"""
#: A column that the role may update, if there is one; any other is refused by right.
TO_UPDATE = """
select attname from pg_attribute where attrelid = $1::regclass and attnum > 0 and not attisdropped
 order by not has_column_privilege($2, attrelid, attnum, 'update'), attnum limit 1
"""
#: All other rules of a table: constraints, keys and triggers, so that nothing but rights and the guard refuses.
OTHER_RULES = """
select format('alter table %s drop constraint if exists %I cascade', $1::text, conname)
  from pg_constraint where conrelid = $1::text::regclass and contype in ('c', 'f', 'p', 'u')
union all
select format('drop index if exists %s', indexrelid::regclass)
  from pg_index where indrelid = $1::text::regclass and indisunique
union all
select format('alter table %s disable trigger user', $1::text)
"""


@pytest.fixture
async def a_row_in_each(owner: Connection) -> None:
    """A row in every table with a guard, and no other rule than the guard left standing."""
    for table in sorted(set(await tables(owner)) - FREE):
        columns = await owner.fetch(COLUMNS, table)
        for (rule,) in await owner.fetch(OTHER_RULES, table):
            await owner.execute(rule)
        names, values = ", ".join(c["name"] for c in columns), ", ".join(a_value(c["kind"]) for c in columns)
        await owner.execute(f"insert into {table} ({names}) values ({values})")
        for event in EVENTS:
            await owner.execute(f"alter table {table} enable always trigger needs_entry_{event}")


def a_value(kind: str) -> str:
    """A literal of the type `kind`."""
    literals = {
        "uuid": "gen_random_uuid()", "jsonb": "'{}'", "timestamptz": "now()", "date": "now()", "bytea": "''",
        "text": "''", "bool": "true",
    }  # fmt: skip
    return "'{}'" if kind.startswith("_") else literals.get(kind, "1")


@pytest.mark.parametrize("role", DatabaseRole)
async def test_no_role_writes_a_decisions_table_without_an_entry(
    a_row_in_each: None, owner: Connection, connect: Connect, role: DatabaseRole
) -> None:
    conn, by_guard = await connect(role), 0
    await conn.execute("select set_config('sharewell.reader', $1, false)", PLATFORM)  # so that there are rows to write
    for table in sorted(set(await tables(owner)) - FREE):
        column = await owner.fetchval(TO_UPDATE, table, role)
        for statement in (
            f"insert into {table} select * from {table}",
            f"update {table} set {column} = {column}",
            f"delete from {table}",
        ):
            why = await refused_to_write(conn, statement)
            assert why in ({"guard"} if role is DatabaseRole.MIGRATOR else {"right", "guard"}), (statement, why)
            by_guard += why == "guard"
    # Those who write are stopped by the guard, and not by a missing right alone.
    least = {DatabaseRole.MIGRATOR: 60, DatabaseRole.GATEWAY: 15, DatabaseRole.WORKER: 15, DatabaseRole.SEQUENCER: 0}
    assert by_guard >= least[role]


# --- what counts as an entry --------------------------------------------------------------------------------------

DEFINE = """
insert into sharewell.resource (code, kind, name, unit, standard_code, gtin, skill, loan_days, decision_id)
values ('bed.adult', 'place', 'Bed', '1', '', '', '', 0, $1)
"""


async def test_a_row_with_its_entry_is_taken_also_inside_a_savepoint(
    gateway: Connection, a_decision: Callable[..., Decision]
) -> None:
    decision = a_decision(kind="resource.defined")
    async with gateway.transaction():
        async with gateway.transaction():
            await AuditRepository(gateway).record(decision)
        async with gateway.transaction():
            await gateway.execute(DEFINE, decision.id)
    assert await gateway.fetchval("select count(*) from sharewell.resource") == 1


async def test_the_entry_of_an_earlier_transaction_does_not_count(
    gateway: Connection, a_decision: Callable[..., Decision]
) -> None:
    decision, later = a_decision(kind="resource.defined"), a_decision()
    async with gateway.transaction():
        await AuditRepository(gateway).record(decision)
    with pytest.raises(asyncpg.PostgresError, match="entry in the same transaction"):
        await gateway.execute(DEFINE, decision.id)
    with pytest.raises(asyncpg.PostgresError, match="entry in the same transaction"):
        async with gateway.transaction():
            await AuditRepository(gateway).record(later)
            await gateway.execute(DEFINE, decision.id)  # an entry there is, and it is not this row's


async def test_the_entry_of_another_session_does_not_count(
    gateway: Connection, owner: Connection, connect: Connect, a_decision: Callable[..., Decision]
) -> None:
    decision, other = a_decision(kind="resource.defined"), await connect(DatabaseRole.WORKER)
    async with gateway.transaction():
        await AuditRepository(gateway).record(decision)
        await gateway.execute(DEFINE, decision.id)
    async with other.transaction():
        await AuditRepository(other).record(a_decision())
        with pytest.raises(asyncpg.PostgresError, match="entry in the same transaction"):
            await owner.execute("update sharewell.resource set name = name")


async def test_an_entry_cannot_be_pretended(gateway: Connection) -> None:
    for trick in (
        "select nextval('audit.entry_staged_id_seq')",
        "select setval('audit.entry_staged_id_seq', 1)",
        "insert into audit.header select * from audit.header",
        "insert into audit.staged select * from audit.staged",
        "select audit.add_headers('{1}')",
        "alter table sharewell.resource disable trigger needs_entry_insert",
        "set session_replication_role = replica",
    ):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await gateway.execute(trick)


PERSON = """
insert into oauth.person (id, login, name, roles, created_at, decision_id)
values ('01900000-0000-7000-8000-000000000001', 'someone', 'Someone', '{regulator}', now(), $1)
"""


async def test_whether_a_person_can_sign_in_changes_with_an_entry_only(
    gateway: Connection, a_decision: Callable[..., Decision]
) -> None:
    earlier, invited = a_decision(kind="person.registered"), a_decision(kind="person.registered")
    async with gateway.transaction():
        await AuditRepository(gateway).record(earlier)
    with pytest.raises(asyncpg.PostgresError, match="entry in the same transaction"):
        await gateway.execute(PERSON, earlier.id)
    async with gateway.transaction():
        await AuditRepository(gateway).record(invited)
        await gateway.execute(PERSON, invited.id)
    await gateway.execute("update oauth.person set totp_secret = 'not confirmed yet'")
    for change in ("status = 'active', password_hash = '$argon2id$x'", "password_hash = '$argon2id$x'"):
        with pytest.raises(asyncpg.PostgresError, match="entry in the same transaction"):
            await gateway.execute(f"update oauth.person set {change}")
    async with gateway.transaction():
        await AuditRepository(gateway).record(a_decision(kind="person.enrolled"))
        await gateway.execute("update oauth.person set status = 'active', password_hash = '$argon2id$x'")


async def test_no_token_is_called_back_without_an_entry(
    gateway: Connection, a_decision: Callable[..., Decision]
) -> None:
    earlier = a_decision(kind="token.revoked")
    async with gateway.transaction():
        await AuditRepository(gateway).record(earlier)
    with pytest.raises(asyncpg.PostgresError, match="entry in the same transaction"):
        await gateway.execute("insert into oauth.revoked values ('a-token', now(), $1)", earlier.id)


async def test_a_statement_that_touches_no_row_needs_no_entry(gateway: Connection) -> None:
    await gateway.execute("update sharewell.offer set status = 'withdrawn' where false")


async def test_not_even_a_superuser_who_calls_itself_a_replica_passes_the_guard(admin_dsn: str, owner: Any) -> None:
    conn = await asyncpg.connect(admin_dsn)
    try:
        await conn.execute("set session_replication_role = replica")
        with pytest.raises(asyncpg.PostgresError, match="entry in the same transaction"):
            await conn.execute(DEFINE.replace("$1", "gen_random_uuid()"))
    finally:
        await conn.close()
