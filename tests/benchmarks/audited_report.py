"""What it costs to have a decision on record in a write of the product: a report of capacity, with its entry and not.

It is written as ever: behind its wall, with its foreign keys, its indexes and the answer under its idempotency key, by
institutions of their own. Its statements are run alone first, then whole, as the mutation that callers send, policies
and GraphQL included. For a turn without audit the guard of its table and its foreign key to the log are taken off, and
no decision is made.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

import orjson
from api import an_institution, call  # type: ignore[import-not-found]  # beside this file
from audited import (  # type: ignore[import-not-found]
    ROUNDS,
    WRITERS,
    Act,
    Connection,
    connected,
    durability,
    in_turns,
    server_of,
    told,
)
from side_by_side import services_on  # type: ignore[import-not-found]

from sharewell.domain.audit import Decision, parse_entry
from sharewell.domain.capacity import CapacityDraft, CapacityReport
from sharewell.domain.principals import Caller
from sharewell.domain.reader import reader_of
from sharewell.services.act import Act as Acting
from sharewell.services.ids import new_id
from sharewell.settings import DatabaseRole
from sharewell.store.answered import Wish
from sharewell.wiring import Services, operator
from sharewell_schema.view import graphql_app

SLICE_SECONDS = 1.0
RECORDED = Acting.record

REPORT = "mutation ($input: ReportCapacityInput!) { reportCapacity(input: $input) { decision { id } } }"
NEWEST_ENTRY = "select body from audit.entry order by staged_id desc limit 1"
TO_THE_LOG = """
select conname, pg_get_constraintdef(oid) as definition from pg_constraint
 where contype = 'f' and conrelid = 'sharewell.capacity_report'::regclass and confrelid = 'audit.staged'::regclass
"""


async def reports(
    urls: Mapping[str, str], rounds: int = ROUNDS, seconds: float = SLICE_SECONDS
) -> list[dict[str, Any]]:
    """A line for the statements of a report, and one for the whole mutation."""
    async with services_on(urls, most=WRITERS) as services, connected(urls, DatabaseRole.MIGRATOR, 1) as (owner,):
        await services.resources.define_catalogue(operator())
        callers = [await an_institution(services, number, services.now()) for number in range(WRITERS)]
        decision = parse_entry(await owner.fetchval(NEWEST_ENTRY))
        unguarded = Unguarded(owner, *await owner.fetchrow(TO_THE_LOG))
        lines = []
        for transaction, acts in (
            ("capacity report, its statements", statements(services, decision)),
            ("capacity report, the whole mutation", mutation(services)),
        ):
            try:
                turns = await in_turns(callers, acts, rounds, seconds, server_of(owner), unguarded.stand)
            finally:
                await unguarded.stand("audited")
            line = told("audit.audited_write", transaction, turns["audited"], turns["plain"])
            lines.append(line | await durability(owner))
    return lines


@dataclass
class Unguarded:
    """The table of reports, held to its entries or not, and acts that record or do not."""

    owner: Connection
    key: str
    definition: str
    off: bool = False

    async def stand(self, turn: str) -> None:
        """Take the guard off for a turn that is `plain`, and put it on again for any other."""
        if self.off is (turn == "plain"):
            return
        self.off = turn == "plain"
        Acting.record = _unrecorded if self.off else RECORDED  # type: ignore[method-assign]
        await self.owner.execute(
            f"""
alter table sharewell.capacity_report disable trigger needs_entry_insert, drop constraint {self.key}
"""
            if self.off
            else f"""
alter table sharewell.capacity_report enable always trigger needs_entry_insert, add constraint {self.key}
  {self.definition.removesuffix(" NOT VALID")} not valid
"""
        )


def statements(services: Services, decision: Decision) -> dict[str, Act]:
    """What a report sends to the database, without what comes before; `decision` is that of another."""

    async def report(caller: Caller, recorded: bool) -> None:
        assert caller.institution is not None
        at, made, wish = services.now(), new_id(), Wish(key=secrets.token_hex(16), operation="report", input_sha256="")
        draft = CapacityDraft(resource="bed.adult", as_of=at, staffed=40, occupied=30)
        line = CapacityReport.report(draft, id=new_id(), by=caller.institution, at=at)
        async with services.office.database.transaction(reader=reader_of(caller)) as tx:
            await tx.answered.claim(caller.principal, wish, at, caller.institution)
            if recorded:
                await tx.audit.record(replace(decision, id=made, at=at, nonce=secrets.token_hex(16)))
            await tx.capacity.add([line], made)
            await tx.answered.keep(caller.principal, wish, {"subject": [line], "decision": made, "at": at})

    async def audited(caller: Caller) -> None:
        await report(caller, True)

    async def plain(caller: Caller) -> None:
        await report(caller, False)

    return {"plain": plain, "audited": audited}


def mutation(services: Services) -> dict[str, Act]:
    """The whole of it, as a caller sends it."""
    app = graphql_app(services)

    async def send(caller: Caller) -> None:
        line = {"resource": "bed.adult", "asOf": services.now().isoformat(), "staffed": 40, "occupied": 30}
        asked = {"idempotencyKey": secrets.token_hex(16), "reports": [line]}
        status, answer = await call(app, orjson.dumps({"query": REPORT, "variables": {"input": asked}}), caller)
        assert status == 200, answer
        assert b'"errors"' not in answer, answer

    return {"plain": send, "audited": send}  # nothing is recorded where `Unguarded` stands


async def _unrecorded(*_: object, **__: object) -> UUID:
    return new_id()
