"""How fast regulators find and count decisions in a log of a million."""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import asyncpg

from sharewell.settings import DatabaseRole
from sharewell.store.audit import AuditRepository, DecisionFilter
from sharewell.store.inspection import InspectionRepository

DECISIONS = 1_000_000  #: over a year, one every 31 seconds
NEWEST = UUID(int=2**128 - 1)
FEBRUARY = {"since": datetime(2026, 2, 1, tzinfo=UTC), "until": datetime(2026, 3, 1, tzinfo=UTC)}

#: Kinds, actors and resources as uneven as life has them; a policy set for each sixth of a year.
FILL = f"""
insert into audit.header
  select ('01900000-0000-7000-8000-' || lpad(to_hex(n), 12, '0'))::uuid, n,
         (array['capacity.reported', 'offer.published', 'request.opened', 'transfer.confirmed', 'transfer.received',
                'audit.read', 'plan.adopted', 'deviation.detected', 'access.refused', 'surge.declared'])
           [1 + least(9, floor(-ln(1 - random()) * 2.2))::int],
         timestamptz '2026-01-01' + n * interval '31 seconds', 'client-' || floor(random() * random() * 300),
         ('01900000-0000-7000-8000-' || lpad(to_hex(n * 7919 % 150), 12, '0'))::uuid,
         (array['reportCapacity', 'publishOffer', 'openRequest', 'confirmTransfer', 'readAudit'])[1 + n % 5],
         case when n % 97 = 0 then 'refused' else 'allowed' end, md5((n / 170000)::text) || md5(''), 'offer',
         md5(n::text), 'r-' || n, case when n % 10 < 8 then array['resource-' || n % 11] end
    from generate_series(1, {DECISIONS}::bigint) n;
insert into audit.leaf select n - 1, n, sha256('x') from generate_series(1, {DECISIONS}) n;
"""
SEARCHES: Mapping[str, dict[str, Any]] = {
    "all": {}, "institution": {"institution": UUID("01900000-0000-7000-8000-00000000000a")},
    "actor": {"actor": "client-7"}, "actor, rare": {"actor": "client-290"}, "kind, rare": {"kind": "surge.declared"},
    "refused": {"outcome": "refused"}, "action": {"action": "readAudit"}, "resource": {"resource": "resource-3"},
    "resource, unknown": {"resource": "none"}, "a month": FEBRUARY,
    "resource in a month": {"resource": "resource-3", **FEBRUARY},
}  # fmt: skip


async def measure(urls: Mapping[str, str]) -> list[dict[str, Any]]:
    """Milliseconds of a page and of the counts, best of three, for each search on a filled database."""
    await fill(urls)
    conn = await asyncpg.connect(urls[DatabaseRole.GATEWAY])
    try:
        old = await conn.fetchval("select policy_set from audit.decision order by at limit 1")
        searches = {**SEARCHES, "policy set, the oldest": {"policy_set": old}}
        records = [await searched(conn, name, DecisionFilter(**asked)) for name, asked in searches.items()]
        return [*records, await held(conn)]
    finally:
        await conn.close()


async def fill(urls: Mapping[str, str]) -> None:
    """Put headers into the log as years of use leave them; nobody asks for their entries here."""
    owner = await asyncpg.connect(urls[DatabaseRole.MIGRATOR], timeout=60)
    try:
        await owner.execute(FILL, timeout=600)
        await owner.execute("vacuum (analyze) audit.header", timeout=600)
        await owner.execute("analyze audit.leaf")
    finally:
        await owner.close()


async def searched(conn: asyncpg.Connection[Any], name: str, asked: DecisionFilter) -> dict[str, Any]:
    """One search, as a page of fifty and as counts."""
    page, counts, found = [], [], 0
    for _ in range(3):
        async with conn.transaction():
            begun = time.perf_counter()
            await AuditRepository(conn).page(before=NEWEST, matching=asked, first=50)
            page.append(time.perf_counter() - begun)
            begun = time.perf_counter()
            facets = await InspectionRepository(conn).facets(asked, 50)
            counts.append(time.perf_counter() - begun)
            found = sum(row.decisions for row in facets if row.facet == "outcome")
    return {
        "benchmark": "audit.search", "search": name, "decisions": found, "of": DECISIONS,
        "page_milliseconds": round(min(page) * 1000, 1), "counts_milliseconds": round(min(counts) * 1000, 1),
    }  # fmt: skip


async def held(conn: asyncpg.Connection[Any]) -> dict[str, Any]:
    """The retention report."""
    kinds = [row["kind"] for row in await conn.fetch("select distinct kind from audit.decision")]
    begun = time.perf_counter()
    await InspectionRepository(conn).held(dict.fromkeys(kinds, FEBRUARY["until"]))
    milliseconds = round((time.perf_counter() - begun) * 1000)
    return {"benchmark": "audit.retention", "of": DECISIONS, "milliseconds": milliseconds}
