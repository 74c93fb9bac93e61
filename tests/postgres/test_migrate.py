"""The migrator: forward only, each file once, whoever and how many run it."""

from __future__ import annotations

import asyncio
import io
import os
import sys
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

import asyncpg
import pytest

from sharewell.domain.audit import Decision, Json
from sharewell.settings import DatabaseRole
from sharewell.store.audit import RECORD
from sharewell.store.migrate import MigrationError, migrate, migrations, pending

if TYPE_CHECKING:
    from tests.conftest import Connection, TestServer


@pytest.fixture
async def url(database_server: TestServer, empty_database_name: str) -> str:
    return database_server.url(empty_database_name, DatabaseRole.MIGRATOR)


@pytest.fixture
async def conn(url: str) -> AsyncIterator[Connection]:
    conn = await asyncpg.connect(url)
    yield conn
    await conn.close()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "0001_first.sql").write_text("create schema s; create table s.counted (n int);")
    (tmp_path / "0002_second.sql").write_text("insert into s.counted values (1);")
    return tmp_path


async def test_applies_each_file_once_and_in_order(conn: Connection, folder: Path) -> None:
    seen: list[str] = []
    assert len(await pending(conn, folder)) == 2
    await migrate(conn, folder, lambda migration: seen.append(migration.name))
    assert seen == ["0001_first.sql", "0002_second.sql"]
    assert await migrate(conn, folder) == []
    assert await pending(conn, folder) == []
    assert await conn.fetchval("select count(*) from s.counted") == 1


@pytest.mark.parametrize("command", ["serve --no-worker --no-migrate", "key rotate"])
async def test_a_database_that_nobody_migrated_is_refused_in_a_sentence(
    database_server: TestServer, empty_database_name: str, tmp_path: Path, command: str
) -> None:
    gateway = database_server.url(empty_database_name, DatabaseRole.GATEWAY)
    settings = {DatabaseRole.GATEWAY.variable: gateway, "SHAREWELL_HOME": str(tmp_path), "SHAREWELL_PORT": "0"}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "sharewell.cli", *command.split(), env={**os.environ, **settings}, stderr=PIPE
    )
    _, said = await process.communicate()
    assert process.returncode == 2
    assert said.decode().splitlines()[-1].startswith("sharewell: the database ")
    assert "run `sharewell migrate` first" in said.decode()
    assert "Traceback" not in said.decode()


async def test_entries_from_before_there_was_a_search_by_resource_are_found_by_it(
    conn: Connection, a_decision: Callable[..., Decision], tmp_path: Path
) -> None:
    for file in files("sharewell_schema").joinpath("sql").iterdir():
        if file.name < "0015":
            (tmp_path / file.name).write_bytes(file.read_bytes())
    await migrate(conn, tmp_path)
    reports: list[Json] = [{"resource": "ventilator"}, {"resource": "bed.adult"}, {"resource": "ventilator"}]
    for details in ({"resource": "mask.n95"}, {"reports": reports}, {}):
        await conn.execute(RECORD, a_decision(details=details).entry())
    await migrate(conn, files("sharewell_schema") / "sql")
    found = [row["resources"] for row in await conn.fetch("select resources from audit.decision order by staged_id")]
    assert found == [["mask.n95"], ["bed.adult", "ventilator"], None]
    with pytest.raises(asyncpg.InsufficientPrivilegeError, match="only grows"):
        await conn.execute("update audit.header set resources = null")


async def test_six_replicas_at_once_apply_each_file_once(url: str, folder: Path) -> None:
    # One file builds an index concurrently, which would wait for ever for a replica that waits with a snapshot.
    (folder / "0003_index.sql").write_text("-- no-transaction\ncreate index concurrently on s.counted (n);")
    (folder / "0004_slow.sql").write_text("select pg_sleep(0.3); insert into s.counted values (2);")
    async with AsyncExitStack() as stack:
        replicas = [await asyncpg.connect(url) for _ in range(6)]
        for replica in replicas:
            stack.push_async_callback(replica.close)
        done = await asyncio.gather(*(migrate(replica, folder) for replica in replicas))
        assert sorted(len(each) for each in done) == [0, 0, 0, 0, 0, 4]
        assert await replicas[0].fetchval("select array_agg(n order by n) from s.counted") == [1, 2]


async def test_a_file_that_fails_leaves_nothing_behind_and_can_be_mended(conn: Connection, folder: Path) -> None:
    wrong = folder / "0003_wrong.sql"
    wrong.write_text("insert into s.counted values (2); select 1 / 0;")
    with pytest.raises(MigrationError, match=r"0003_wrong\.sql failed and was undone: division by zero"):
        await migrate(conn, folder)
    assert await conn.fetchval("select count(*) from s.counted") == 1
    wrong.write_text("insert into s.counted values (2);")
    assert [each.name for each in await migrate(conn, folder)] == ["0003_wrong.sql"]


async def test_an_edited_file_is_refused_before_anything_happens(conn: Connection, folder: Path) -> None:
    await migrate(conn, folder)
    (folder / "0002_second.sql").write_text("insert into s.counted values (1); ")
    (folder / "0003_third.sql").write_text("insert into s.counted values (3);")
    with pytest.raises(MigrationError, match=r"0002_second\.sql was changed after it was applied"):
        await migrate(conn, folder)
    assert await conn.fetchval("select count(*) from s.counted") == 1


async def test_an_unknown_migration_before_known_ones_is_refused(conn: Connection, folder: Path) -> None:
    await migrate(conn, folder)
    (folder / "0001_first.sql").unlink()
    for look in (migrate, pending):
        with pytest.raises(MigrationError, match=r"The database has 0001_first\.sql, which this release does not know"):
            await look(conn, folder)


async def test_a_release_goes_on_where_a_later_one_has_migrated(
    conn: Connection, folder: Path, log_stream: io.StringIO
) -> None:
    await migrate(conn, folder)
    (folder / "0002_second.sql").unlink()
    assert await pending(conn, folder) == []
    assert "ahead" not in log_stream.getvalue()
    assert await migrate(conn, folder) == []
    assert "the database is ahead of this release" in log_stream.getvalue()


async def test_a_release_stops_where_a_later_one_broke_with_it(conn: Connection, folder: Path) -> None:
    later = folder / "0003_later.sql"
    later.write_text("-- breaking: counted has no numbers any more\nalter table s.counted drop column n;")
    await migrate(conn, folder)
    assert await migrate(conn, folder) == []
    later.unlink()
    for look in (migrate, pending):
        with pytest.raises(MigrationError, match=r"0003_later\.sql, which this release does not know; use the release"):
            await look(conn, folder)


async def test_a_table_of_migrations_from_before_any_could_break_is_read(conn: Connection, folder: Path) -> None:
    await migrate(conn, folder)
    await conn.execute("alter table migration.applied drop column breaking")
    assert await pending(conn, folder) == []
    assert await migrate(conn, folder) == []


async def test_a_start_waits_for_nobody_who_reads_the_record_such_as_a_dump(
    conn: Connection, url: str, folder: Path
) -> None:
    await migrate(conn, folder)
    dump = await asyncpg.connect(url)
    try:
        async with dump.transaction(isolation="repeatable_read", readonly=True):
            await dump.execute("lock table migration.applied in access share mode")
            await conn.execute("set lock_timeout = '2s'")
            assert await migrate(conn, folder) == []
    finally:
        await dump.close()


async def test_a_record_that_cannot_be_made_is_told_as_what_stops_the_migration(
    conn: Connection, folder: Path
) -> None:
    await conn.execute("create schema migration; create view migration.applied as select 1 as number")
    with pytest.raises(MigrationError, match=r"migration\.applied, cannot be made"):
        await migrate(conn, folder)


async def test_a_file_numbered_before_an_applied_one_is_refused(conn: Connection, folder: Path) -> None:
    (folder / "0002_second.sql").rename(folder / "0004_second.sql")
    await migrate(conn, folder)
    (folder / "0003_late.sql").write_text("select 1;")
    with pytest.raises(MigrationError, match=r"0003_late\.sql comes before one that is applied already"):
        await migrate(conn, folder)


@pytest.mark.parametrize("name", ["3_short.sql", "0003-dash.sql", "0003_Upper.sql"])
def test_a_name_without_its_number_is_refused(folder: Path, name: str) -> None:
    (folder / name).write_text("select 1;")
    with pytest.raises(MigrationError, match="is not a migration's name"):
        migrations(folder)


def test_two_files_with_one_number_are_refused(folder: Path) -> None:
    (folder / "0002_twin.sql").write_text("select 1;")
    with pytest.raises(MigrationError, match="the same number"):
        migrations(folder)


#: A transfer that has left and one that is back, from before anybody counted what really moves.
MOVED_BEFORE = """
set session_replication_role = replica;
insert into sharewell.transfer
  select u.id, u.id, u.id, u.id, gen_random_uuid(), 'bed.adult', 4, u.state, '', u.id, now(), null, null, now(), u.id
    from (values (gen_random_uuid(), 'dispatched'), (gen_random_uuid(), 'returned'), (gen_random_uuid(), 'held'))
         u (id, state);
insert into sharewell.transfer_step
  select id, step, timestamptz '2026-03-01 12:00Z' + n * interval '1 hour', id from sharewell.transfer,
         (values (1, 'confirmed'), (2, 'dispatched'), (3, 'received'), (4, 'returned')) s (n, step)
   where state = 'returned' or (state = 'dispatched' and n <= 2);
"""


#: An offer nobody took from and one of which a plan promises units, from before offers named what changed them last.
PLEDGED_BEFORE = """
set session_replication_role = replica;
alter table sharewell.offer disable trigger needs_entry_insert;
alter table sharewell.transfer disable trigger needs_entry_insert;
create temp table named as select n, gen_random_uuid() as id from generate_series(1, 3) n;
insert into audit.staged (id, staged_id) select id, n from named;
insert into sharewell.offer
  select id, id, 'bed.adult', 4, 0, 0, now(), now() + interval '1 day', '', null, 'open', now(), id from named
   where n <= 2;
insert into sharewell.transfer (id, offer_id, request_id, giver_id, receiver_id, resource, quantity, state, reason,
                                allocation_id, hold_until, changed_at, decision_id)
  select o.id, o.id, o.id, o.id, gen_random_uuid(), 'bed.adult', 4, 'held', '', o.id, now(), now(), last.id
    from named o, named last where o.n = 2 and last.n = 3;
alter table sharewell.offer enable always trigger needs_entry_insert;
alter table sharewell.transfer enable always trigger needs_entry_insert;
"""


#: Admins from before lines: two that the operator let in; one's client and person, and whom that person registered.
#: The clocks by which they were registered differ: by these, each was registered before the one who registered it.
REGISTERED_BEFORE = """
set session_replication_role = replica;
alter table oauth.client disable trigger needs_entry_insert;
alter table oauth.person disable trigger needs_entry_insert;
create temp table named as
  select n, gen_random_uuid() as id, who, actor
    from (values (1, 'first', 'operator'), (2, 'second', 'operator'), (3, 'made', 'first'), (4, 'smurfette', 'made'),
                 (5, 'grandchild', 'person/00000000-0000-4000-8000-000000000004'), (6, 'outside', 'north-id/u-1'))
         u (n, who, actor);
insert into audit.staged (id, staged_id) select id, n from named;
insert into audit.header (id, staged_id, kind, at, actor, action, outcome, policy_set, subject_kind, subject_id,
                          request_id)
  select id, n, 'client.registered', now(), actor, 'registerClient', 'allowed', repeat('0', 64), 'client', who, 'r'
    from named;
insert into oauth.client (client_id, name, roles, scopes, jwks, created_at, decision_id)
  select who, who, '{admin}', '{system/Client.cruds}', '{"keys": [{}]}', now() - n * interval '1 s', id
    from named where n <> 4;
insert into oauth.person (id, login, name, roles, status, invitation_hash, invitation_until, created_at, decision_id)
  select '00000000-0000-4000-8000-000000000004', who, who, '{admin}', 'invited', sha256('x'), now(),
         now() - n * interval '1 s', id from named where n = 4;
alter table oauth.client enable always trigger needs_entry_insert;
alter table oauth.person enable always trigger needs_entry_insert;
"""


#: A version in force and two that wait, from before versions had a place of their own.
WAITED_BEFORE = """
set session_replication_role = replica;
alter table sharewell.policy_version
  disable trigger life, disable trigger keep_step, disable trigger needs_entry_insert;
insert into sharewell.policy_version (number, origin, state, author, base, policy_set, findings, drafted_at, edited_at,
                                      simulated_at, simulation, approved_by, approved_at, effective_from, effective_at,
                                      decision_id, changed_by)
  select n, origin, case n when 1 then 'effective' else 'approved' end, 'author', base, '', '[]', now(), now(), now(),
         '{}', 'second', now(), now() + n * interval '1 hour', case n when 1 then now() + interval '2 hours' end,
         gen_random_uuid(), gen_random_uuid()
    from (values (1, 'shipped', null), (2, 'drafted', 1), (3, 'shipped', null)) v (n, origin, base);
alter table sharewell.policy_version
  enable always trigger life, enable always trigger keep_step, enable always trigger needs_entry_insert;
"""


async def upgraded_over(
    rows: str, name: str, database_server: TestServer, database: str, conn: Connection, folder: Path
) -> None:
    """Put `rows` into a database as it was before the migration `name`, and then run that and all later ones."""
    ours = migrations(files("sharewell_schema") / "sql")
    before = next(each.number for each in ours if each.name == name)
    for each in ours:
        if each.number < before:
            (folder / each.name).write_text(each.sql)
    await migrate(conn, folder)
    admin = await asyncpg.connect(database_server.url(database))
    try:
        await admin.execute(rows)
    finally:
        await admin.close()
    await migrate(conn, files("sharewell_schema") / "sql")


async def test_offers_from_before_are_changed_by_what_promised_their_units_or_published_them(
    database_server: TestServer, empty_database_name: str, conn: Connection, tmp_path: Path
) -> None:
    await upgraded_over(
        PLEDGED_BEFORE, "0026_versions.sql", database_server, empty_database_name, conn, tmp_path
    )
    admin = await asyncpg.connect(database_server.url(empty_database_name))
    try:
        rows = await admin.fetch(
            "select s.staged_id as changed, o.changed_by = o.decision_id as untouched"
            "  from sharewell.offer o join audit.staged s on s.id = o.changed_by order by 1"
        )
        still_guarded = await admin.fetchval(
            "select tgenabled = 'A' from pg_trigger"
            " where tgrelid = 'sharewell.offer'::regclass and tgname = 'needs_entry_update'"
        )
    finally:
        await admin.close()
    assert [tuple(row) for row in rows] == [(1, True), (3, False)]
    assert still_guarded


async def test_whoever_was_registered_before_there_were_lines_is_of_the_line_of_whom_the_operator_let_in(
    database_server: TestServer, empty_database_name: str, conn: Connection, tmp_path: Path
) -> None:
    await upgraded_over(
        REGISTERED_BEFORE, "0028_lines_of_admins.sql", database_server, empty_database_name, conn, tmp_path
    )
    found = await conn.fetch(
        "select client_id, lines from oauth.client union all select login, lines from oauth.person"
    )
    assert {row["client_id"]: row["lines"] for row in found} == {
        "first": ["first"], "made": ["first"], "smurfette": ["first"], "grandchild": ["first"],
        "second": ["second"], "outside": ["north-id/u-1"],
    }  # fmt: skip


#: What a client called `operator` is, and whose line it is of whom that name registered afterwards.
OF_THAT_NAME = {
    "an admin": ("roles = '{admin}'", "first"),
    "an admin that ended just now": ("expires_at = now() + interval '3 s'", "first"),
    "an admin that ended long ago": (
        "created_at = now() - interval '2 days', expires_at = now() - interval '1 day'",
        "person/00000000-0000-4000-8000-000000000004",
    ),
    "no admin": ("roles = '{allocator}'", "person/00000000-0000-4000-8000-000000000004"),
}  # fmt: skip


@pytest.mark.parametrize("what", OF_THAT_NAME)
async def test_a_client_called_operator_from_before_is_not_taken_for_the_operator_where_it_could_be_behind_it(
    database_server: TestServer, empty_database_name: str, conn: Connection, tmp_path: Path, what: str
) -> None:
    how, line = OF_THAT_NAME[what]
    changed = f"""
        alter table oauth.client disable trigger needs_entry_update;
        update oauth.client set {how} where client_id = 'operator';
        alter table oauth.client enable always trigger needs_entry_update;"""
    await upgraded_over(
        REGISTERED_BEFORE.replace("'made'", "'operator'") + changed, "0028_lines_of_admins.sql", database_server,
        empty_database_name, conn, tmp_path,
    )  # fmt: skip
    found = await conn.fetch(
        "select client_id, lines from oauth.client union all select login, lines from oauth.person"
    )
    assert {row["client_id"]: row["lines"] for row in found} == {
        "first": ["first"], "operator": ["first"], "second": ["second"], "smurfette": [line], "grandchild": [line],
        "outside": ["north-id/u-1"],
    }  # fmt: skip


async def test_versions_that_wait_from_before_take_the_place_of_what_they_changed(
    database_server: TestServer, empty_database_name: str, conn: Connection, tmp_path: Path
) -> None:
    await upgraded_over(
        WAITED_BEFORE, "0030_places_of_versions.sql", database_server, empty_database_name, conn, tmp_path
    )
    admin = await asyncpg.connect(database_server.url(empty_database_name))
    try:
        rows = await admin.fetch("select number, replaces from sharewell.policy_version order by number")
        guards = await admin.fetch(
            "select tgname from pg_trigger where tgrelid = 'sharewell.policy_version'::regclass"
            " and not tgisinternal and tgenabled <> 'A'"
        )
    finally:
        await admin.close()
    assert [tuple(row) for row in rows] == [(1, None), (2, 1), (3, 1)]
    assert guards == []


async def test_what_moved_before_it_was_counted_counts_as_adopted(
    database_server: TestServer, empty_database_name: str, conn: Connection, tmp_path: Path
) -> None:
    await upgraded_over(
        MOVED_BEFORE, "0010_governance.sql", database_server, empty_database_name, conn, tmp_path
    )
    rows = await conn.fetch(
        "select state, dispatched, extract(hour from dispatched_at at time zone 'UTC')::integer as left_at, received,"
        " extract(hour from received_at at time zone 'UTC')::integer as came_at from sharewell.transfer order by state"
    )
    assert [tuple(row) for row in rows] == [
        ("dispatched", 4, 14, None, None), ("held", None, None, None, None), ("returned", 4, 14, 4, 15),
    ]  # fmt: skip


async def test_our_own_migrations_belong_to_the_migrator_alone(admin_dsn: str) -> None:
    conn = await asyncpg.connect(admin_dsn)
    try:
        owners = await conn.fetch(
            "select n.nspname, c.relname, r.rolname from pg_class c join pg_namespace n on n.oid = c.relnamespace "
            "join pg_roles r on r.oid = c.relowner where n.nspname in ('sharewell', 'audit', 'oauth', 'queue')"
        )
        open_to_all = await conn.fetch(
            "select p.oid::regprocedure::text as name from pg_proc p join pg_namespace n on n.oid = p.pronamespace "
            "where n.nspname in ('sharewell', 'audit', 'oauth', 'queue') "
            "and has_function_privilege('public', p.oid, 'execute')"
        )
    finally:
        await conn.close()
    assert owners
    assert {row["rolname"] for row in owners} == {DatabaseRole.MIGRATOR}
    assert [row["name"] for row in open_to_all] == []


def test_our_own_migrations_are_numbered_without_gaps() -> None:
    numbers = [each.number for each in migrations(files("sharewell_schema") / "sql")]
    assert numbers == list(range(1, len(numbers) + 1))


#: Two broken glasses, and what was approved before and between. By their clocks and ids, the second one was the first.
BROKEN_BEFORE = """
set session_replication_role = replica;
alter table sharewell.policy_version
  disable trigger life, disable trigger apps, disable trigger keep_step, disable trigger needs_entry_insert;
alter table sharewell.policy_step disable trigger needs_entry_insert;
alter table sharewell.break_glass
  disable trigger life, disable trigger another_line, disable trigger needs_entry_insert;
create temp table named as select n, gen_random_uuid() as id from generate_series(1, 4) n;
insert into audit.staged (id, staged_id) select id, n from named;
insert into sharewell.policy_version (number, origin, state, author, policy_set, findings, drafted_at, edited_at,
                                      simulated_at, simulation, approved_by, approved_at, effective_from,
                                      decision_id, changed_by)
  select n, 'drafted', 'approved', 'author', '', '[]', now(), now(), now(), '{}', 'second', now(), now(), id, id
    from named where n in (1, 3);
insert into sharewell.policy_step select n, 'approved', now(), id from named where n in (1, 3);
insert into sharewell.break_glass (id, version, reason, broken_at, until, client, ended_at, ending, decision_id,
                                   ended_by)
  select ('00000000-0000-4000-8000-00000000000' || 9 - n)::uuid, 1, 'wrong_rule', now() - n * interval '1 day',
         now() - n * interval '1 day' + interval '1 hour', 'c' || n, now(), 'ended', id, id
    from named where n in (2, 4);
alter table sharewell.policy_version
  enable always trigger life, enable always trigger apps, enable always trigger keep_step,
  enable always trigger needs_entry_insert;
alter table sharewell.policy_step enable always trigger needs_entry_insert;
alter table sharewell.break_glass
  enable always trigger life, enable always trigger another_line, enable always trigger needs_entry_insert;
"""


async def test_glasses_and_approvals_from_before_have_their_turn_by_the_log(
    database_server: TestServer, empty_database_name: str, conn: Connection, tmp_path: Path
) -> None:
    await upgraded_over(
        BROKEN_BEFORE, "0034_order_of_glasses.sql", database_server, empty_database_name, conn, tmp_path
    )
    found = await conn.fetch(
        "select client, turn from sharewell.break_glass union all"
        " select 'v' || number, approved_turn from sharewell.policy_version order by turn"
    )
    assert [tuple(row) for row in found] == [("v1", 1), ("c2", 2), ("v3", 3), ("c4", 4)]
    lax = await conn.fetch(
        "select tgname from pg_trigger where not tgisinternal and tgenabled <> 'A'"
        " and tgrelid in ('sharewell.break_glass'::regclass, 'sharewell.policy_version'::regclass)"
    )
    assert lax == []
