"""How fast the sequencer keeps up, and what the audit log costs whoever decides (`audited`, `audited_report`).

`python tests/benchmarks/audit.py 10000000` seals that many, 100,000 at a time, and shows that neither the time nor the
memory for an entry grows with the log. It takes half an hour and 20 GB, and is no part of `make bench`.
"""

from __future__ import annotations

import asyncio
import json
import resource
import statistics
import sys
import time
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import asyncpg
from audited import Connection, audited, computed, connected, entry  # type: ignore[import-not-found]  # beside this file
from audited_report import reports  # type: ignore[import-not-found]

from sharewell.audit.keys import LogKey
from sharewell.audit.proofs import bundle_of
from sharewell.audit.seal import Sequencer
from sharewell.domain.bundle import verify_bundle
from sharewell.settings import DatabaseRole
from sharewell.store.audit import RECORD
from sharewell_workers.seal import PAUSE

ENTRIES = 50_000
RATE = 1_000
KEEP_UP_SECONDS = 8.0
STEP = 100_000  #: entries of a log that grows, staged and then sealed

KEY = LogKey.from_seed("benchmark.example/log", bytes(32))

WAITED = """
select percentile_cont(0.5) within group (order by waited), percentile_cont(0.99) within group (order by waited)
  from (select extract(epoch from
          (select signed_at from audit.checkpoint c where c.size > l.log_index order by c.size limit 1) - e.staged_at
        )::float8 as waited
          from audit.leaf l join audit.entry e using (staged_id) where l.log_index >= $1) w
"""


async def measure(urls: Mapping[str, str]) -> list[dict[str, Any]]:
    """Records of what sealing and auditing cost on the database of `urls` (by role), which they fill up."""
    told = [await sealing(urls), await keeping_up(urls), await bundles(urls)]
    return [*told, *await audited(urls), *await reports(urls)]


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
            begun, cpu, served = time.perf_counter(), time.process_time(), computed(pid)
            sealed = await sequencer.seal()
            seconds, cpu, served = time.perf_counter() - begun, time.process_time() - cpu, computed(pid) - served
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


async def stage(urls: Mapping[str, str], count: int) -> None:
    """Leave `count` decisions waiting to be sealed."""
    async with connected(urls, DatabaseRole.GATEWAY, 1) as (conn,):
        for start in range(0, count, 5_000):
            batch = [entry() for _ in range(min(5_000, count - start))]
            await conn.execute("select audit.record(body) from unnest($1::bytea[]) body", batch)


if __name__ == "__main__":
    on_database = import_module("run").on_database  # found beside this file, as a script alone is
    asyncio.run(on_database(lambda urls: growth(urls, int(sys.argv[1]))))
