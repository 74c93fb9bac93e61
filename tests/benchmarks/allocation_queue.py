"""Runs of ten resources over two worker processes by the queue, and how soon an urgent request has its answer.

The workers are processes of the command line on the database of this run; everything is asked through the services.
"""

from __future__ import annotations

import asyncio
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from sharewell.authz import Authorizer
from sharewell.domain.capacity import CapacityDraft
from sharewell.domain.institutions import Institution, InstitutionDraft, InstitutionKind
from sharewell.domain.offers import OfferDraft
from sharewell.domain.principals import Caller, Role
from sharewell.domain.requests import RequestDraft, RequestReason
from sharewell.domain.resources import Resource, ResourceKind
from sharewell.settings import DatabaseRole, Settings
from sharewell.store.database import Database
from sharewell.store.pools import open_pool
from sharewell.wiring import Services, build_services, operator

REGION = "us-nj"
WORKERS, INSTITUTIONS, URGENT = 2, 40, 30
CODES = [f"bed.type-{number}" for number in range(10)]
WINDOW = timedelta(days=2)


async def measure(urls: Mapping[str, str]) -> list[dict[str, Any]]:
    """One record of the runs, one of the urgent requests."""
    with tempfile.TemporaryDirectory() as home:
        async with open_pool(urls[DatabaseRole.GATEWAY], DatabaseRole.GATEWAY, most=4) as pool:
            settings = Settings(home=Path(home), allocate_after=timedelta(hours=1))  # runs are asked for here
            services = build_services(settings, Database(pool), Authorizer.load())
            houses = await _fill(services)
            async with _workers(urls, Path(home)) as logs:
                took = await _run_all(services)
                chance = random.Random(8)
                urgent = [await _answer_one(services, chance, *chance.choice(houses[1::2])) for _ in range(URGENT)]
            shares = [log.read_text().count('"event":"plan adopted"') for log in logs]
    return [
        {
            "benchmark": "allocation.queue", "types": len(CODES), "institutions": INSTITUTIONS, "workers": WORKERS,
            "runs_of_each_worker": shares, "all_s": round(took, 2),
        },
        {
            "benchmark": "allocation.urgent", "requests": URGENT,
            "answered_after_ms": round(statistics.median(urgent) * 1000, 1),
            "p90_answered_after_ms": round(statistics.quantiles(urgent, n=10)[-1] * 1000, 1),
        },
    ]  # fmt: skip


async def _fill(services: Services) -> list[tuple[Caller, Institution]]:
    """Institutions of which every other one pledges units of each resource, and the rest lack some."""
    chance, houses, now = random.Random(7), [], services.now()
    for code in CODES:
        line = Resource(code=code, kind=ResourceKind.PLACE, name=code, unit="{bed}", standard_code="")
        await services.resources.define(operator(), line)
    for number in range(INSTITUTIONS):
        draft = InstitutionDraft(
            code=f"house-{number}", name=f"House {number}", kind=InstitutionKind.HOSPITAL, region=REGION,
            latitude=40 + chance.random(), longitude=-74 - chance.random(),
        )  # fmt: skip
        made = (await services.institutions.register(operator(), draft)).subject
        who = Caller(
            principal=draft.code, roles=frozenset({Role.INSTITUTION}), institution=made.id,
            scopes=frozenset({"system/*.cruds"}), request_id="bench",
        )  # fmt: skip
        houses.append((who, made))
        lacks = number % 2
        reports = [CapacityDraft(resource=code, as_of=now, staffed=60, occupied=60 if lacks else 20) for code in CODES]
        await services.capacity.report(who, made.id, reports)
        for code in CODES:
            if lacks:
                await services.requests.open(who, made.id, _need(code, now, 2, urgency=chance.randint(1, 4)))
            else:
                offer = OfferDraft(resource=code, quantity=10, available_from=now, available_until=now + WINDOW)
                await services.offers.publish(who, made.id, offer)
    return houses


def _need(code: str, now: datetime, units: int, *, urgency: int) -> RequestDraft:
    return RequestDraft(
        resource=code, quantity=units, needed_by=now, needed_until=now + WINDOW, urgency=urgency,
        reason=RequestReason.SURGE,
    )  # fmt: skip


@asynccontextmanager
async def _workers(urls: Mapping[str, str], home: Path) -> AsyncIterator[list[Path]]:
    """Worker processes that are ready, and the files of their logs."""
    logs = [home / f"worker-{number}.jsonl" for number in range(WORKERS)]
    settings = {DatabaseRole(role).variable: url for role, url in urls.items()} | {
        "SHAREWELL_HOME": str(home), "SHAREWELL_LOG_FORMAT": "json",
    }  # fmt: skip
    command = [sys.executable, "-m", "sharewell.cli", "worker", "--jobs", "allocate,urgent"]
    running = [
        subprocess.Popen(command, env=os.environ | settings, stdout=log.open("wb"), stderr=subprocess.STDOUT)
        for log in logs
    ]
    try:
        while not all("worker takes jobs" in log.read_text() for log in logs):
            await asyncio.sleep(0.1)
        yield logs
    finally:
        for process in running:
            process.terminate()
        for process in running:
            process.wait()


async def _run_all(services: Services) -> float:
    """Seconds from asking for a run of each resource until all are adopted."""
    begun = time.perf_counter()
    async with services.database.transaction() as tx:
        for code in CODES:
            await tx.queue.enqueue("allocate", {"region": REGION, "resource": code}, key=f"now {REGION}/{code}")
    while await services.database.pool.fetchval("select count(*) from sharewell.allocation") < len(CODES):
        await asyncio.sleep(0.01)
    return time.perf_counter() - begun


async def _answer_one(services: Services, chance: random.Random, who: Caller, made: Institution) -> float:
    """Seconds from a request of urgency 5 being on record until it is answered."""
    need = _need(chance.choice(CODES), datetime.now(UTC), 1, urgency=5)
    request = (await services.requests.open(who, made.id, need)).subject
    begun = time.perf_counter()
    answered = "select status <> 'open' or note <> '' from sharewell.request where id = $1"
    while not await services.database.pool.fetchval(answered, request.id):
        await asyncio.sleep(0.001)
    return time.perf_counter() - begun
