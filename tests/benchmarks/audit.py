"""What the audit log costs whoever decides, and how fast the sequencer keeps up.

Costs are ratios paired within a round: the same transaction with and without audit, in shuffled slices, so that what
else the machine does falls on both alike. The server's durability settings are left as they are.

`python tests/benchmarks/audit.py 10000000` seals that many, 100,000 at a time, and shows that neither the time nor the
memory for an entry grows with the log. It takes an hour and 25 GB, and is no part of `make bench`.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import resource
import secrets
import statistics
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path
from typing import Any, TypeAlias
from uuid import UUID

import asyncpg
from uuid_utils.compat import uuid7

from sharewell.audit.keys import LogKey
from sharewell.audit.proofs import bundle_of
from sharewell.audit.seal import Sequencer
from sharewell.domain.audit import Decision
from sharewell.domain.bundle import verify_bundle
from sharewell.settings import DatabaseRole
from sharewell.store.audit import RECORD
from sharewell.store.entries import entry_of
from sharewell_workers.seal import PAUSE

Connection: TypeAlias = "asyncpg.Connection[Any]"
Act: TypeAlias = Callable[[Connection], Awaitable[None]]

WRITERS = 16
ROUNDS = 11
SLICE_SECONDS = 0.6
ENTRIES = 50_000
RATE = 1_000
KEEP_UP_SECONDS = 8.0
STEP = 100_000  #: entries of a log that grows, staged and then sealed

CLINIC = UUID("01890a5d-ac96-774b-bcce-b302099a8057")
KEY = LogKey.from_seed("benchmark.example/log", bytes(32))

SCRATCH = """
create schema if not exists benchmark;
create table if not exists benchmark.noun (id uuid primary key, owner text not null, units integer not null);
create table if not exists benchmark.chain (head bytea not null);
create table if not exists benchmark.link (n bigint generated always as identity primary key, head bytea, body bytea);
insert into benchmark.chain select sha256('') where not exists (select from benchmark.chain);
grant usage on schema benchmark to sharewell_gateway;
grant select, insert, update on all tables in schema benchmark to sharewell_gateway;
"""
INSERT = "insert into benchmark.noun (id, owner, units) values ($1, $2, $3)"
INSERT_AND_RECORD = f"with noun as ({INSERT}) select audit.record($4)"
CHAIN = """
with head as (update benchmark.chain set head = sha256(head || $1) returning head)
insert into benchmark.link (head, body) select head, $1 from head
"""
WAITED = """
select percentile_cont(0.5) within group (order by waited), percentile_cont(0.99) within group (order by waited)
  from (select extract(epoch from
          (select signed_at from audit.checkpoint c where c.size > l.log_index order by c.size limit 1) - e.staged_at
        )::float8 as waited
          from audit.leaf l join audit.entry e using (staged_id) where l.log_index >= $1) w
"""
READ = "select units from benchmark.noun where id = $1"
CHANGE = "update benchmark.noun set units = units + 1 where id = $1"


async def measure(urls: Mapping[str, str]) -> list[dict[str, Any]]:
    """Records of what sealing and auditing cost on the database of `urls` (by role), which they fill up."""
    return [await sealing(urls), await keeping_up(urls), await bundles(urls), *await audited(urls)]


async def sealing(urls: Mapping[str, str], entries: int = ENTRIES) -> dict[str, Any]:
    """Entries that a sequencer with a backlog puts into the tree and under a signature each second."""
    await stage(urls, entries)
    async with asyncpg.create_pool(urls[DatabaseRole.SEQUENCER], min_size=1, max_size=1) as pool:
        sequencer = Sequencer(pool, KEY)
        begun = time.perf_counter()
        sealed = await sequencer.seal()
        seconds = time.perf_counter() - begun
    return {
        "benchmark": "audit.sealing",
        "entries": sealed.entries,
        "log_size": sealed.size,
        "seconds": round(seconds, 3),
        "entries_per_second": round(sealed.entries / seconds),
    }


async def keeping_up(urls: Mapping[str, str], rate: int = RATE, seconds: float = KEEP_UP_SECONDS) -> dict[str, Any]:
    """Milliseconds from staging an entry until it is under a signature, at `rate` entries a second."""
    async with (
        connected(urls, DatabaseRole.GATEWAY, 4) as writers,
        asyncpg.create_pool(urls[DatabaseRole.SEQUENCER], min_size=1, max_size=1) as pool,
    ):
        sequencer, stopping = Sequencer(pool, KEY), asyncio.Event()
        size = (await sequencer.seal()).size
        sealing_on = asyncio.create_task(_seal_until(stopping, sequencer))
        sent = sum(await asyncio.gather(*(_paced(conn, rate / len(writers), seconds) for conn in writers)))
        stopping.set()
        await sealing_on
        await sequencer.seal()
        median, p99 = await writers[0].fetchrow(WAITED, size) or (0, 0)
    return {
        "benchmark": "audit.keeping_up",
        "asked_per_second": rate,
        "entries_per_second": round(sent / seconds),
        "commit_to_signed_ms_p50": round(median * 1000),
        "commit_to_signed_ms_p99": round(p99 * 1000),
    }


async def _seal_until(stopping: asyncio.Event, sequencer: Sequencer) -> None:
    while not stopping.is_set():
        await sequencer.seal()
        await asyncio.sleep(PAUSE.total_seconds())


async def _paced(conn: Connection, rate: float, seconds: float) -> int:
    """Record `rate` decisions a second, each in a transaction of its own, as far as the database lets us."""
    begun, sent = time.perf_counter(), 0
    while (now := time.perf_counter() - begun) < seconds:
        if sent >= now * rate:
            await asyncio.sleep((sent + 1) / rate - now)
        await conn.execute(RECORD, entry())
        sent += 1
    return sent


async def growth(urls: Mapping[str, str], entries: int) -> list[dict[str, Any]]:
    """Records of one log that grows to `entries`: what each step of it costs to seal, and the memory it takes."""
    records: list[dict[str, Any]] = []
    async with asyncpg.create_pool(urls[DatabaseRole.SEQUENCER], min_size=1, max_size=1) as pool:
        sequencer = Sequencer(pool, KEY)
        pid = await pool.fetchval("select pg_backend_pid()")
        for _ in range(0, entries, step := min(STEP, entries // 10)):
            await stage(urls, step)
            begun, cpu, served = time.perf_counter(), time.process_time(), _computed(pid)
            sealed = await sequencer.seal()
            seconds, cpu, served = time.perf_counter() - begun, time.process_time() - cpu, _computed(pid) - served
            record = {
                "benchmark": "audit.growth",
                "log_size": sealed.size,
                "microseconds_per_entry": round(seconds / sealed.entries * 1e6, 1),
                "own_cpu_microseconds_per_entry": round(cpu / sealed.entries * 1e6, 1),
                "server_cpu_microseconds_per_entry": round(served / sealed.entries * 1e6, 1),
                "memory_mib": _own_memory("self"),
                "peak_memory_mib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
                "server_memory_mib": _own_memory(pid),
            }
            records.append(record)
            print(json.dumps(record), flush=True)
    return records


def _computed(pid: int) -> float:
    """Seconds of computing that a process of this machine has had so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _own_memory(pid: int | str) -> int:
    """MiB that a process of this machine shares with no other."""
    status = Path(f"/proc/{pid}/status").read_text()
    return round(int(status.split("RssAnon:")[1].split()[0]) / 1024)


async def bundles(urls: Mapping[str, str], count: int = 200) -> dict[str, Any]:
    """Milliseconds to make the bundle of a random decision, and for a stranger to verify it in plain Python."""
    async with connected(urls, DatabaseRole.GATEWAY, 1) as (conn,):
        ids = await conn.fetch("select id from audit.decision order by random() limit $1", count)
        begun = time.perf_counter()
        made = [await bundle_of(conn, row["id"]) for row in ids]
        between = time.perf_counter()
        for data in made:
            verify_bundle(data, KEY.vkey)
        done = time.perf_counter()
    return {
        "benchmark": "audit.bundle",
        "bytes": round(statistics.mean(map(len, made))),
        "make_ms": round((between - begun) / len(made) * 1000, 2),
        "verify_ms": round((done - between) / len(made) * 1000, 2),
    }


async def audited(
    urls: Mapping[str, str], rounds: int = ROUNDS, seconds: float = SLICE_SECONDS
) -> list[dict[str, Any]]:
    """Transactions with audit against the same ones without, by kind of transaction.

    A hash chain for comparison, and the entry made by the client alone, which is its part of the cost.
    """
    async with connected(urls, DatabaseRole.MIGRATOR, 1) as (owner,):
        await owner.execute(SCRATCH)
        try:
            async with connected(urls, DatabaseRole.GATEWAY, WRITERS) as writers:
                counts = await _paired(writers, rounds, seconds)
        finally:
            await owner.execute("drop schema benchmark cascade")
    return [_ratios(shape, counts) for shape in SHAPES]


async def _paired(writers: list[Connection], rounds: int, seconds: float) -> dict[str, list[int]]:
    acts = {f"{shape} {variant}": act for shape, variants in SHAPES.items() for variant, act in variants.items()}
    counts: dict[str, list[int]] = {name: [] for name in acts}
    order, chance = list(acts), random.Random(0)
    for _ in range(rounds + 1):
        chance.shuffle(order)
        for name in order:
            counts[name].append(await _slice(writers, acts[name], seconds))
    return {name: found[1:] for name, found in counts.items()}  # the first round warms up


async def _slice(writers: list[Connection], act: Act, seconds: float) -> int:
    until = time.perf_counter() + seconds

    async def write(conn: Connection) -> int:
        done = 0
        while time.perf_counter() < until:
            await act(conn)
            done += 1
        return done

    return sum(await asyncio.gather(*map(write, writers)))


def _ratios(shape: str, counts: Mapping[str, list[int]]) -> dict[str, Any]:
    plain = counts[f"{shape} plain"]

    def ratio(variant: str) -> float:
        pairs = zip(counts[f"{shape} {variant}"], plain, strict=True)
        return round(statistics.median(with_it / without for with_it, without in pairs), 3)

    return {
        "benchmark": "audit.audited_transaction",
        "transaction": shape,
        "writers": WRITERS,
        "rounds": len(plain),
        "ratio": ratio("audited"),
        "ratio_with_the_entry_made_and_not_recorded": ratio("made"),
        "ratio_of_a_hash_chain": ratio("chained"),
    }


def entry(noun: UUID | None = None) -> bytes:
    """A decision as a mutation makes it, in the bytes that are recorded."""
    return entry_of(Decision(
        id=uuid7(), kind="offer.published", at=datetime.now(UTC), actor="marsupilami-clinic", institution=CLINIC,
        action="publishOffer", outcome="allowed", policy_set="ab" * 32, policies=("institutions-publish-their-own",),
        subject_kind="offer", subject_id=str(noun or uuid7()), details={"resource": "ventilator", "quantity": 3},
        request_id="01890a5dac96774bbcceb302099a8057", nonce=secrets.token_hex(16),
    ))  # fmt: skip


async def stage(urls: Mapping[str, str], count: int) -> None:
    """Leave `count` decisions waiting to be sealed."""
    async with connected(urls, DatabaseRole.GATEWAY, 1) as (conn,):
        for start in range(0, count, 5_000):
            batch = [entry() for _ in range(min(5_000, count - start))]
            await conn.execute("select audit.record(body) from unnest($1::bytea[]) body", batch)


@asynccontextmanager
async def connected(urls: Mapping[str, str], role: DatabaseRole, count: int) -> AsyncIterator[list[Connection]]:
    """`count` connections under `role`."""
    found = [await asyncpg.connect(urls[role]) for _ in range(count)]
    try:
        yield found
    finally:
        for conn in found:
            await conn.close()


async def single(conn: Connection) -> None:
    await conn.execute(INSERT, uuid7(), "marsupilami-clinic", 3)


async def single_audited(conn: Connection) -> None:
    noun = uuid7()
    await conn.execute(INSERT_AND_RECORD, noun, "marsupilami-clinic", 3, entry(noun))


async def single_made(conn: Connection) -> None:
    noun = uuid7()
    entry(noun)
    await conn.execute(INSERT, noun, "marsupilami-clinic", 3)


async def single_chained(conn: Connection) -> None:
    noun = uuid7()
    async with conn.transaction():
        await conn.execute(INSERT, noun, "marsupilami-clinic", 3)
        await conn.execute(CHAIN, entry(noun))


async def five(conn: Connection) -> UUID:
    noun = uuid7()
    for _ in range(2):
        await conn.fetchval(READ, noun)
    await conn.execute(INSERT, noun, "marsupilami-clinic", 3)
    for _ in range(2):
        await conn.execute(CHANGE, noun)
    return noun


async def five_plain(conn: Connection) -> None:
    async with conn.transaction():
        await five(conn)


async def five_audited(conn: Connection) -> None:
    async with conn.transaction():
        await conn.execute(RECORD, entry(await five(conn)))


async def five_made(conn: Connection) -> None:
    async with conn.transaction():
        entry(await five(conn))


async def five_chained(conn: Connection) -> None:
    async with conn.transaction():
        await conn.execute(CHAIN, entry(await five(conn)))


SHAPES: dict[str, dict[str, Act]] = {
    "one statement": {"plain": single, "audited": single_audited, "made": single_made, "chained": single_chained},
    "five statements": {"plain": five_plain, "audited": five_audited, "made": five_made, "chained": five_chained},
}


if __name__ == "__main__":
    on_database = import_module("run").on_database  # found beside this file, as a script alone is
    asyncio.run(on_database(lambda urls: growth(urls, int(sys.argv[1]))))
