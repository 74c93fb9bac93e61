"""What it costs to seal persons, to erase 10,000 of them while others write, and to guard the tables of decisions.

What the guard takes is asked of the server itself, which times each trigger; with and without it, rates differ by less
than they vary.
"""

from __future__ import annotations

import asyncio
import json
import secrets
import statistics
import tempfile
import time
from collections.abc import Awaitable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeAlias
from uuid import UUID

import asyncpg
from uuid_utils.compat import uuid7

from sharewell.audit.erasure import KEY_FILE, KeyFile, Vault
from sharewell.audit.keys import LogKey
from sharewell.audit.seal import Sequencer
from sharewell.domain.audit import Decision
from sharewell.domain.subjects import FIELD, Person
from sharewell.settings import DatabaseRole, Settings
from sharewell.store.audit import AuditRepository
from sharewell.store.database import Database
from sharewell.store.log import LogRepository
from sharewell.store.pools import open_pool
from sharewell.wiring import Services, build_services, worker_caller

Connection: TypeAlias = "asyncpg.Connection[Any]"

SUBJECTS = 10_000
WRITERS = 4
ROUNDS = 50
BULK = 1_000  #: rows of one insert
KEY = LogKey.from_seed("benchmark.example/log", bytes(32))
CLINIC = UUID("01890a5d-ac96-774b-bcce-b302099a8057")
NOW = datetime.now(UTC)

REPORT = """
insert into sharewell.capacity_report
  (id, institution_id, resource, as_of, period_days, staffed, source, marks, recorded_at, decision_id)
select gen_random_uuid(), $1, 'bed.adult', now(), 1, 1, '', '{}', now(), $2 from generate_series(1, $3::integer)
"""


async def measure(urls: Mapping[str, str]) -> list[dict[str, Any]]:
    """Records of erasure and of the guard, on the database of `urls` (by role), which they fill up."""
    with tempfile.TemporaryDirectory() as folder:
        return [await erasure(urls, Path(folder)), *await guard(urls)]


async def erasure(urls: Mapping[str, str], home: Path, subjects: int = SUBJECTS) -> dict[str, Any]:
    """Make persons, and erase them all at once while others write and the sequencer seals."""
    settings = Settings(home=home)
    async with (
        open_pool(urls[DatabaseRole.GATEWAY], DatabaseRole.GATEWAY) as gateway,
        open_pool(urls[DatabaseRole.WORKER], DatabaseRole.WORKER) as worker,
        open_pool(urls[DatabaseRole.SEQUENCER], DatabaseRole.SEQUENCER) as sequencing,
    ):
        seconds = await made(Database(gateway), Vault(KeyFile(home / KEY_FILE), timedelta(days=1)), subjects)
        await Sequencer(sequencing, KEY).seal()
        services = build_services(settings, Database(worker))
        services.office.now = lambda: NOW + timedelta(days=2)
        calm = await writing(gateway, sequencing, asyncio.sleep(3))
        begun = time.perf_counter()
        busy = await writing(gateway, sequencing, swept(services, subjects))
        erasing = time.perf_counter() - begun
    return {
        "benchmark": "erasure.under_load", "subjects": subjects, "named_per_second": round(subjects / seconds),
        "erased_per_second": round(subjects / erasing), "seconds": round(erasing, 2), "writers": WRITERS,
        "writes_per_second_before": round(calm["rate"]), "writes_per_second_while_erasing": round(busy["rate"]),
        "slowest_write_before_ms": round(calm["slowest"] * 1000), "slowest_write_ms": round(busy["slowest"] * 1000),
        "longest_unsealed_before_ms": round(calm["unsealed"] * 1000),
        "longest_unsealed_ms": round(busy["unsealed"] * 1000),
    }  # fmt: skip


async def made(database: Database, vault: Vault, subjects: int) -> float:
    """Seconds in which that many persons were named for the first time, each in an entry of its own."""
    begun = time.perf_counter()
    for start in range(0, subjects, 100):
        async with database.transaction() as tx:
            for number in range(start, start + 100):
                person, entry = Person.named(f"staff-{number}", "A Name", "name@example.org"), decision()
                key = await vault.hold(tx.subjects, person, CLINIC, "bench", NOW)
                sealed = {FIELD: key.seal(person, entry.id).to_json()}
                await tx.audit.record(replace(entry, details={**entry.details, **sealed}))
    return time.perf_counter() - begun


async def swept(services: Services, subjects: int) -> None:
    if (erased := await services.subjects.sweep(worker_caller("retain", "bench"))) != subjects:
        raise RuntimeError(f"{erased} were erased, not {subjects}")


async def writing(
    pool: asyncpg.Pool[Any], sequencing: asyncpg.Pool[Any], meanwhile: Awaitable[Any]
) -> dict[str, float]:
    """How writers and the sequencer fare while `meanwhile` happens."""
    stop, times, waits = asyncio.Event(), list[float](), list[float]()

    async def write() -> None:
        while not stop.is_set():
            begun = time.perf_counter()
            async with pool.acquire() as conn, conn.transaction():
                await AuditRepository(conn).record(decision())  # type: ignore[arg-type]  # a proxy has all of it
            times.append(time.perf_counter() - begun)

    async def seal() -> None:
        sequencer = Sequencer(sequencing, KEY)
        while not stop.is_set():
            await sequencer.seal()
            await asyncio.sleep(0.1)

    async def look() -> None:
        while not stop.is_set():
            await asyncio.sleep(0.2)
            async with sequencing.acquire() as conn:
                since = (await LogRepository(conn).waiting())["since"]  # type: ignore[arg-type]  # likewise
                waits.append(0.0 if since is None else (datetime.now(UTC) - since).total_seconds())

    tasks = [asyncio.create_task(task()) for task in (*[write] * WRITERS, seal, look)]
    begun = time.perf_counter()
    await meanwhile
    seconds = time.perf_counter() - begun
    stop.set()
    await asyncio.gather(*tasks)
    return {"rate": len(times) / seconds, "slowest": max(times), "unsealed": max(waits)}


async def guard(urls: Mapping[str, str]) -> list[dict[str, Any]]:
    """What the guard takes of a transaction with its entry and one row, and of one with its entry and many."""
    owner = await asyncpg.connect(urls[DatabaseRole.MIGRATOR])
    try:
        await prepared(owner)
        return [await timed(owner, rows) for rows in (1, BULK)]
    finally:
        await owner.close()


async def prepared(owner: Connection) -> None:
    async with owner.transaction():
        entry = decision()
        await AuditRepository(owner).record(entry)
        await owner.execute(
            "insert into sharewell.institution"
            " values ($1, 'c', 'C', 'hospital', 'r', null, null, '', 'active', now(), $2)",
            CLINIC, entry.id,
        )  # fmt: skip
        await owner.execute(
            "insert into sharewell.resource values ('bed.adult', 'place', 'Bed', '1', '', '', '', 0, $1)", entry.id
        )


async def timed(owner: Connection, rows: int) -> dict[str, Any]:
    """What the server says of one insert: how long it took, and how much of that the guard and the foreign keys had."""
    runs = [await explained(owner, rows) for _ in range(ROUNDS)]
    guard, keys, insert, whole = (statistics.median(run[at] for run in runs) for at in range(4))
    return {
        "benchmark": "erasure.guard", "rows": rows, "guard_ms": round(guard, 3), "foreign_keys_ms": round(keys, 3),
        "insert_ms": round(insert, 3), "transaction_ms": round(whole, 3),
        "share_of_transaction": round(guard / whole, 4),
    }  # fmt: skip


async def explained(owner: Connection, rows: int) -> tuple[float, float, float, float]:
    """Milliseconds of guard, foreign keys, insert, and of the transaction with its entry."""
    begun = time.perf_counter()
    async with owner.transaction():
        entry = decision()
        await AuditRepository(owner).record(entry)
        told = await owner.fetchval(f"explain (analyze, format json) {REPORT}", CLINIC, entry.id, rows)
    whole = (time.perf_counter() - begun) * 1000
    (plan,) = json.loads(told)
    times = {each["Trigger Name"]: each["Time"] for each in plan["Triggers"]}
    guard = times.pop("needs_entry_insert")
    return guard, sum(times.values()), plan["Execution Time"], whole


def decision(**details: Any) -> Decision:
    """A decision as a mutation makes it."""
    return Decision(
        id=uuid7(), kind="offer.published", at=datetime.now(UTC), actor="marsupilami-clinic", institution=CLINIC,
        action="publishOffer", outcome="allowed", policy_set="ab" * 32, policies=("institutions-publish-their-own",),
        subject_kind="offer", subject_id=str(uuid7()), details={"resource": "ventilator", "quantity": 3, **details},
        request_id="01890a5dac96774bbcceb302099a8057", nonce=secrets.token_hex(16),
    )  # fmt: skip
