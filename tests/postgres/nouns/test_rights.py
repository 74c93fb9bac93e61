"""What each role may do with the tables of nouns: all that is granted is written down here, and nothing else is."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import asyncpg
import pytest

from sharewell.settings import DatabaseRole

if TYPE_CHECKING:
    from tests.conftest import Pool
    from tests.postgres.conftest import Connect
    from tests.postgres.nouns.conftest import World

GATEWAY, WORKER, SEQUENCER = DatabaseRole.GATEWAY, DatabaseRole.WORKER, DatabaseRole.SEQUENCER
REQUEST = frozenset({"approved", "fulfilled", "status", "note", "decision_id"})
TRANSFER = frozenset(
    {"state", "decline_reason", "return_due_at", "changed_at", "decision_id", "dispatched", "dispatched_at", "received",
     "received_at"}
)  # fmt: skip
SURGE = frozenset({"ended_at", "ending", "ended_by"})
WATCH = frozenset(
    {"state", "since", "last_target", "known_at", "model", "capital", "life", "level", "recent", "judged", "missed",
     "marked_by"}
)  # fmt: skip
VERSION = frozenset(
    {"state", "policy_set", "findings", "edited_at", "simulated_at", "simulation", "approved_by", "approved_person",
     "approved_at", "effective_from", "effective_at", "ended_at", "changed_by", "replaces"}
)  # fmt: skip
VERSION_STEP = frozenset({"state", "effective_at", "ended_at", "changed_by"})
NONE: frozenset[str] = frozenset()


class Rights(NamedTuple):
    """Of one role with one table."""

    insert: bool = False
    update: frozenset[str] = NONE  #: columns


READ = Rights()
ADD = Rights(insert=True)
#: All can be read; what is not named cannot be touched.
MATRIX: dict[DatabaseRole, dict[str, Rights]] = {
    GATEWAY: {
        "agreement": Rights(insert=True, update=frozenset({"accepted_at", "ended_at", "decision_id"})),
        "allocation": READ,
        "answered": Rights(insert=True, update=frozenset({"answer"})),
        "artifact": ADD,
        "break_glass": Rights(insert=True, update=SURGE),
        "capacity_report": ADD,
        "choice": ADD,
        "credit": READ,
        "consent": Rights(insert=True, update=frozenset({"withdrawn_at", "decision_id"})),
        "deviation": ADD,
        "feed": READ,
        "forecast": READ,
        "forecast_run": READ,
        "forecast_sum": READ,
        "forecast_trial": READ,
        "forecast_watch": READ,
        "horizon": READ,
        "horizon_day": READ,
        "horizon_movement": READ,
        "horizon_unmet": READ,
        "institution": Rights(insert=True, update=frozenset({"status", "decision_id"})),
        "offer": Rights(insert=True, update=frozenset({"status", "changed_by"})),
        "override": ADD,
        "policy_step": READ,
        "policy_version": Rights(insert=True, update=VERSION),
        "remark": ADD,
        "request": Rights(insert=True, update=REQUEST),
        "resource": ADD,
        "run_receipt": READ,
        "surge_mode": Rights(insert=True, update=SURGE),
        "transfer": Rights(update=TRANSFER),
        "transfer_step": READ,
        "unfilled": READ,
    },
    WORKER: {
        "agreement": READ,
        "allocation": ADD,
        "artifact": ADD,
        "break_glass": Rights(update=SURGE),
        "capacity_report": ADD,
        "choice": READ,
        "credit": ADD,
        "consent": READ,
        "deviation": ADD,
        "feed": ADD,
        "forecast": ADD,
        "forecast_run": ADD,
        "forecast_sum": ADD,
        "forecast_trial": ADD,
        "forecast_watch": Rights(insert=True, update=WATCH),
        "horizon": ADD,
        "horizon_day": ADD,
        "horizon_movement": ADD,
        "horizon_unmet": ADD,
        "institution": Rights(insert=True, update=frozenset({"latitude", "longitude"})),
        "offer": Rights(update=frozenset({"status"})),
        "override": READ,
        "policy_step": READ,
        "policy_version": Rights(update=VERSION_STEP),
        "remark": READ,
        "request": Rights(insert=True, update=REQUEST),
        "resource": READ,
        "run_receipt": ADD,
        "surge_mode": Rights(update=SURGE),
        "transfer": Rights(insert=True, update=TRANSFER),
        "transfer_step": READ,
        "unfilled": ADD,
    },
    SEQUENCER: {},
}
TABLES = sorted({table for tables in MATRIX.values() for table in tables})
GRANTED = """
select c.relname as name, has_table_privilege($1, c.oid, 'select') as read,
       has_table_privilege($1, c.oid, 'insert') as insert,
       array(select a.attname::text from pg_attribute a where a.attrelid = c.oid and a.attnum > 0
              and not a.attisdropped and has_column_privilege($1, c.oid, a.attnum, 'update')) as update,
       has_table_privilege($1, c.oid, 'update, delete, truncate, references, trigger, maintain') as more
  from pg_class c where c.relnamespace = 'sharewell'::regnamespace and c.relkind in ('r', 'p', 'v', 'm', 'f', 'S')
"""
FUNCTIONS = """
select p.proname from pg_proc p where p.pronamespace = 'sharewell'::regnamespace
   and has_function_privilege($1, p.oid, 'execute') order by 1
"""
OWNERS = "select distinct relowner::regrole::text from pg_class where relnamespace = 'sharewell'::regnamespace"


@pytest.mark.parametrize("role", MATRIX)
async def test_a_role_may_do_exactly_what_is_written_here(migrator_pool: Pool, role: DatabaseRole) -> None:
    granted = await migrator_pool.fetch(GRANTED, role)
    assert sorted(row["name"] for row in granted) == TABLES
    held = {row["name"]: Rights(row["insert"], frozenset(row["update"])) for row in granted if row["read"]}
    assert held == MATRIX[role]
    assert [row["name"] for row in granted if row["more"] or (row["insert"] and not row["read"])] == []


async def test_only_the_gateway_may_ask_what_can_be_pledged_and_reassign_and_nobody_may_call_a_trigger(
    migrator_pool: Pool,
) -> None:
    callable_by = {
        role: [row["proname"] for row in await migrator_pool.fetch(FUNCTIONS, role)]
        for role in (GATEWAY, WORKER, SEQUENCER)
    }
    wall = ["read_for", "reader", "reads_all", "reads_shared", "shown_forecasts"]
    asked = sorted([*wall, "reassign_transfer", "units_free_to_pledge"])
    assert callable_by == {GATEWAY: asked, WORKER: [], SEQUENCER: []}


async def test_the_migrator_owns_everything_and_whoever_else_logs_in_sees_nothing(
    migrator_pool: Pool, admin_dsn: str
) -> None:
    assert [row[0] for row in await migrator_pool.fetch(OWNERS)] == [DatabaseRole.MIGRATOR]
    admin = await asyncpg.connect(admin_dsn)
    try:
        async with admin.transaction():
            await admin.execute("create role passer_by; set local role passer_by")
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await admin.execute("select from sharewell.offer")
    finally:
        await admin.close()
    async with migrator_pool.acquire() as conn:
        assert not await conn.fetchval("select true from pg_roles where rolname = 'passer_by'")


@pytest.mark.parametrize("role", MATRIX)
async def test_no_role_that_runs_removes_a_row_of_any_noun(connect: Connect, role: DatabaseRole) -> None:
    conn = await connect(role)
    for table in TABLES:
        for removal in (
            f"delete from sharewell.{table}",
            f"truncate sharewell.{table}",
            f"drop table sharewell.{table}",
        ):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await conn.execute(removal)


async def test_nobody_but_the_planner_makes_transfers_and_nobody_at_all_counts_promises_by_hand(
    world: World, connect: Connect
) -> None:
    clinic = await world.institution("champignac")
    await world.report(clinic, staffed=20, occupied=12)
    await world.pledge(clinic, 5)
    gateway, worker = await connect(GATEWAY), await connect(WORKER)
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await gateway.execute("insert into sharewell.transfer default values")
    for conn in (gateway, worker):
        for column in ("promised", "quantity", "minimum_kept", "institution_id"):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await conn.execute(f"update sharewell.offer set {column} = {column}")
