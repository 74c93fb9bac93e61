"""No row without its decision, no decision without its entry: held by the tables, and true after a journey."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import asyncpg
import pytest
from uuid_utils.compat import uuid7

from sharewell.audit.reconcile import reconcile
from sharewell.domain.errors import Conflict, Forbidden, Unavailable
from sharewell.domain.institutions import InstitutionStatus
from sharewell.domain.reader import PLATFORM
from sharewell.domain.transfers import DeclineReason
from sharewell.wiring import operator
from sharewell_workers.allocate import allocate
from sharewell_workers.jobs import Job

if TYPE_CHECKING:
    from tests.conftest import Pool
    from tests.postgres.nouns.conftest import World

    from sharewell.domain.transfers import Transfer

JOB = Job(id=1, name="allocate", payload={"region": "us-nj", "resource": "bed.adult"}, request_id="r-2", attempt=1)

#: Tables whose rows are no decision's own: a body under its hash, a line of a run that has one, an answer repeated, a
#: count that is carried on and names a decision only once it has led to one.
WITHOUT = {
    "artifact", "forecast", "forecast_sum", "answered", "forecast_watch", "run_receipt", "unfilled", "horizon_day",
    "horizon_movement", "horizon_unmet",
}  # fmt: skip
NAMES_ITS_DECISION = """
select c.relname from pg_class c
  join pg_attribute a on a.attrelid = c.oid and a.attname = 'decision_id' and a.attnotnull
  join pg_constraint f on f.conrelid = c.oid and f.contype = 'f' and f.conkey = array[a.attnum]
                      and f.confrelid = 'audit.staged'::regclass and not f.condeferrable
 where c.relnamespace = 'sharewell'::regnamespace and c.relkind in ('r', 'p')
"""
#: What kinds of decision the rows of each table may name.
KINDS = {
    "institution": {"institution.registered", "institution.updated"},
    "resource": {"resource.defined"},
    "capacity_report": {"capacity.reported"},
    "offer": {"offer.published"},
    "request": {"request.opened", "request.cancelled", "plan.adopted", "transfer.declined", "transfer.received"},
    "transfer": {"plan.adopted", "transfer.declined", "transfer.returned"},
    "transfer_step": {
        "plan.adopted", "transfer.declined", "transfer.confirmed", "transfer.dispatched", "transfer.received",
        "transfer.returned",
    },
    "allocation": {"plan.adopted"},
}  # fmt: skip


async def _journey(world: World) -> None:
    """Two givers, two takers: one transfer goes all the way, one is declined, a request is cancelled."""
    givers = [await world.institution(f"giver-{n}", latitude=40 + n / 10) for n in range(2)]
    taker = await world.institution("taker")
    for giver in givers:
        await world.report(giver, staffed=20, occupied=10)
        await world.pledge(giver, 4)
    await world.report(taker, staffed=5, occupied=5, waiting=8)
    await world.ask(taker, 8)
    spare = await world.ask(taker, 1)
    await world.people.requests.cancel(world.callers[taker.id], spare.id)
    await allocate(JOB, world.workers)
    steps = world.people.transfers
    one, other = await _transfers(world)
    await steps.confirm(world.callers[one.giver], one.id)
    await steps.dispatch(world.callers[one.giver], one.id)
    await steps.receive(world.callers[taker.id], one.id)
    await steps.give_back(world.callers[one.giver], one.id)
    await steps.decline(world.callers[other.giver], other.id, DeclineReason.OWN_NEED_ROSE)
    await world.people.institutions.set_status(operator(), givers[0].id, InstitutionStatus.SUSPENDED)


async def _transfers(world: World) -> list[Transfer]:
    async with world.people.database.transaction(reader=PLATFORM) as tx:
        ids = await tx.conn.fetch("select id from sharewell.transfer order by id")
        return [await tx.transfers.get(row["id"]) for row in ids]


async def test_every_table_of_nouns_names_the_decision_of_each_row(migrator_pool: Pool) -> None:
    tables = {
        row["relname"]
        for row in await migrator_pool.fetch(
            "select relname from pg_class where relnamespace = 'sharewell'::regnamespace and relkind in ('r', 'p')"
        )
    }
    assert {row["relname"] for row in await migrator_pool.fetch(NAMES_ITS_DECISION)} == tables - WITHOUT


async def test_after_a_journey_every_deed_has_one_entry_and_every_row_names_its_deed(
    world: World, migrator_pool: Pool
) -> None:
    await _journey(world)
    async with migrator_pool.acquire() as conn:
        found = await reconcile(conn)  # type: ignore[arg-type]  # the proxy has every method of a connection
    assert found.complete, found.problems
    assert found.decisions == await migrator_pool.fetchval("select count(*) from audit.entry")
    for table, kinds in KINDS.items():
        rows = await migrator_pool.fetch(
            f"select distinct d.kind from sharewell.{table} t join audit.decision d on d.id = t.decision_id"
        )
        assert {row["kind"] for row in rows} <= kinds, table
        assert rows, table


@pytest.mark.parametrize("table", KINDS)
async def test_a_row_that_names_no_decision_on_record_is_refused(world: World, migrator_pool: Pool, table: str) -> None:
    await _journey(world)
    hash_of_another_body = await migrator_pool.fetchval("select plan_sha256 from sharewell.allocation limit 1")
    new = {"id": str(uuid7()), "code": "new", "decision_id": str(uuid7()), "state": "return_due", "corrects": None,
           "quantity": 1, "instance_sha256": hash_of_another_body}  # fmt: skip
    with pytest.raises(asyncpg.ForeignKeyViolationError, match="decision"):
        await migrator_pool.execute(
            f"""insert into sharewell.{table}
                select (jsonb_populate_record(t, $1::text::jsonb - array(
                  select k from jsonb_object_keys($1::text::jsonb) k where not to_jsonb(t) ? k))).*
                  from sharewell.{table} t limit 1""",
            json.dumps(new),
        )


async def test_a_deed_that_fails_leaves_neither_row_nor_entry(world: World, migrator_pool: Pool) -> None:
    clinic = await world.institution("champignac")
    await world.report(clinic, staffed=20, occupied=12)
    before = await migrator_pool.fetchval("select count(*) from audit.entry")
    caller, draft = world.callers[clinic.id], world.offer_of(3)
    # The entry is staged first: when the table refuses the row, the entry must go with it.
    await migrator_pool.execute("alter table sharewell.offer add constraint never check (quantity <> 3)")
    with pytest.raises(asyncpg.CheckViolationError):
        await world.people.offers.publish(caller, clinic.id, draft)
    # And the other way round: a row whose entry cannot be staged does not stay.
    await migrator_pool.execute("alter table sharewell.offer drop constraint never")
    await migrator_pool.execute("alter table audit.entry add constraint never check (octet_length(body) < 1) not valid")
    with pytest.raises(Unavailable, match="on record"):
        await world.people.offers.publish(caller, clinic.id, draft)
    assert await migrator_pool.fetchval("select count(*) from audit.entry") == before
    assert await migrator_pool.fetchval("select count(*) from sharewell.offer") == 0


async def test_a_refusal_by_the_rules_leaves_no_entry_but_one_by_the_policies_does(
    world: World, migrator_pool: Pool
) -> None:
    clinic, other = await world.institution("champignac"), await world.institution("zyglotrop")
    entries = "select count(*) from audit.entry"
    before = await migrator_pool.fetchval(entries)
    with pytest.raises(Conflict):
        await world.pledge(clinic, 3)
    assert await migrator_pool.fetchval(entries) == before
    with pytest.raises(Forbidden):
        await world.people.offers.publish(world.callers[other.id], clinic.id, world.offer_of(3))
    assert await migrator_pool.fetchval(entries) == before + 1
