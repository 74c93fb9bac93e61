"""How fast a draft of the policies is put to the decisions of the past, and compared with what is in force."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from uuid import UUID

import asyncpg
import psutil

from sharewell.authz import Authorizer, shipped_policies
from sharewell.domain.audit import Decision
from sharewell.domain.inquiry import ASKED, Inquiry
from sharewell.domain.policy import Action, Target
from sharewell.domain.principals import Caller, Role
from sharewell.services.comparisons import compare
from sharewell.services.simulations import MOST_DECISIONS
from sharewell.settings import DatabaseRole, Settings
from sharewell.store.database import Database
from sharewell.store.pools import open_pool
from sharewell.wiring import build_services

HOUSES = 200
DECISIONS = MOST_DECISIONS  #: on record; the window has the newest of them, as many as it may have
BEGIN = datetime(2025, 1, 1, tzinfo=UTC)  #: so that nothing which the benchmark itself does lies in the window
STAGE = "insert into audit.entry (leaf_hash, body) select sha256('x'), unnest($1::bytea[])"
HEADERS = """
insert into audit.header
    (id, staged_id, kind, at, actor, institution, action, outcome, policy_set, subject_kind, subject_id, request_id)
  select (j->>'id')::uuid, staged_id, j->>'kind', (j->>'at')::timestamptz, j->>'actor', (j->>'institution')::uuid,
         j->>'action', j->>'outcome', j->>'policy_set', j->>'subject_kind', j->>'subject_id', ''
    from (select staged_id, convert_from(body, 'UTF8')::jsonb as j from audit.entry) e
"""
#: As if they were sealed: what waits for that is looked for among the newest entries.
SEALED = "insert into audit.tree (size, root, settled) select count(*), sha256('x'), max(staged_id) from audit.entry"
ONE_ACT = b"""
@id("trial") @sentence("Nobody publishes for research here.")
forbid (principal, action == Sharewell::Action::"publishOffer", resource) unless { context.senderConstrained };
"""
ALL_ACTS = b"""
@id("trial") @sentence("Whoever does anything proves a key.")
forbid (principal is Sharewell::Caller, action, resource) unless { context.senderConstrained };
"""


async def measure(urls: Mapping[str, str]) -> list[dict[str, Any]]:
    """A simulation of a filled log, and comparisons of two drafts."""
    authz = Authorizer.load()
    await fill(urls, authz)
    return [await simulated(urls, authz), *compared(authz)]


async def fill(urls: Mapping[str, str], authz: Authorizer) -> None:
    """Entries as they are written, of many clients and things."""
    conn = await asyncpg.connect(urls[DatabaseRole.MIGRATOR], timeout=60)
    try:
        batch: list[bytes] = []
        for entry in entries(authz):
            batch.append(entry)
            if len(batch) == 10_000:
                await conn.execute(STAGE, batch, timeout=600)
                batch.clear()
        await conn.execute(HEADERS, timeout=600)
        await conn.execute(SEALED)
        await conn.execute("vacuum (analyze) audit.header", timeout=600)
    finally:
        await conn.close()


def entries(authz: Authorizer) -> Iterator[bytes]:
    acts = [Action.REPORT_CAPACITY, Action.PUBLISH_OFFER, Action.OPEN_REQUEST, Action.VIEW_REQUEST, Action.VIEW_CLIENT]
    for number in range(DECISIONS):
        house, action = UUID(int=number % HOUSES + 1), acts[number % 7 % 5]
        caller = Caller(
            principal=f"client-{house.int}", roles=frozenset({Role.INSTITUTION}), institution=house,
            scopes=frozenset({"system/*.cruds"}),
        )  # fmt: skip
        owner = house if number % 11 else UUID(int=1)
        inquiry = Inquiry(
            caller=caller, action=action, target=Target(kind=action.kind, id=secrets.token_hex(8), owner=owner),
            context={"callerStatus": "active"} if action.writes else {},
        )  # fmt: skip
        yield Decision(
            id=UUID(int=number + 2**100), kind="data.read", at=BEGIN + number * timedelta(seconds=30),
            actor=caller.principal, institution=house, action=action, outcome="allowed", policy_set=authz.policy_set,
            policies=("see-own-clients",), subject_kind=action.kind, subject_id="x", request_id="r",
            details={ASKED: {**inquiry.to_json(), "code": "0.1.0"}}, nonce=secrets.token_hex(16),
        ).entry()  # fmt: skip


async def simulated(urls: Mapping[str, str], authz: Authorizer) -> dict[str, Any]:
    """The longest window, once; and how much the process grows by it."""
    regulator = Caller(principal="r", roles=frozenset({Role.REGULATOR}), scopes=frozenset({"system/*.rs"}))
    files = shipped_policies() | {"trial.cedar": ONE_ACT}
    with TemporaryDirectory() as home:
        async with open_pool(urls[DatabaseRole.GATEWAY], DatabaseRole.GATEWAY) as pool:
            services = build_services(Settings(home=Path(home)), Database(pool), authz)
            until = BEGIN + DECISIONS * timedelta(seconds=30)
            process = psutil.Process()
            peak = before = process.memory_info().rss
            begun = time.perf_counter()
            simulating = asyncio.ensure_future(services.simulations.simulate(
                regulator, files.items(), since=until - MOST_DECISIONS * timedelta(seconds=30), until=until
            ))  # fmt: skip
            while not simulating.done():
                peak = max(peak, process.memory_info().rss)
                await asyncio.wait([simulating], timeout=0.1)
            found, seconds = simulating.result(), time.perf_counter() - begun
    total = found.tally.total
    return {
        "benchmark": "policies.simulate", "decisions": total.decisions, "questions": found.questions,
        "newly_denied": total.newly_denied, "seconds": round(seconds, 2),
        "decisions_per_second": round(total.decisions / seconds), "on_record": DECISIONS,
        "grown_mebibytes": round((peak - before) / 2**20),
    }  # fmt: skip


def compared(authz: Authorizer) -> Iterator[dict[str, Any]]:
    for name, text in (("one act", ONE_ACT), ("all acts", ALL_ACTS)):
        draft = Authorizer.load(shipped_policies() | {"trial.cedar": text})
        begun, spent = time.perf_counter(), time.process_time()
        found = compare(authz, draft)
        yield {
            "benchmark": "policies.compare", "draft": f"a new policy on {name}", "relation": str(found.relation),
            "exhaustive": found.exhaustive, "cases": found.cases, "seconds": round(time.perf_counter() - begun, 2),
            "processor_seconds": round(time.process_time() - spent, 2),
        }  # fmt: skip
