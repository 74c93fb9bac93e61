"""A week of a large region: drawing a horizon from what is stored, solving it, and adopting the schedule.

500 institutions, 7 days, a device, a consumable and places; everything is put on record through the services.
"""

from __future__ import annotations

import asyncio
import random
import tempfile
import time
from collections.abc import Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from sharewell.authz import Authorizer
from sharewell.domain.capacity import CapacityDraft
from sharewell.domain.horizon_records import Terms
from sharewell.domain.institutions import InstitutionDraft, InstitutionKind
from sharewell.domain.offers import OfferDraft
from sharewell.domain.principals import Caller, Role
from sharewell.domain.requests import RequestDraft, RequestReason
from sharewell.domain.schedule import Schedule
from sharewell.settings import DatabaseRole, Settings
from sharewell.store.database import Database
from sharewell.store.pools import open_pool
from sharewell.wiring import Services, build_services, operator, worker_caller
from sharewell_workers.solving import solve_horizon

REGION, INSTITUTIONS, SECONDS = "us-nj", 500, 60
CODES = ("ventilator", "mask.n95", "bed.adult")
WEEK = timedelta(days=7)


async def measure(urls: Mapping[str, str]) -> list[dict[str, Any]]:
    """One record."""
    with tempfile.TemporaryDirectory() as home:
        settings, authz = Settings(home=Path(home), allocate_after=None), Authorizer.load()
        async with (
            open_pool(urls[DatabaseRole.GATEWAY], DatabaseRole.GATEWAY, most=4) as gateway,
            open_pool(urls[DatabaseRole.WORKER], DatabaseRole.WORKER, most=2) as worker,
        ):
            await _fill(build_services(settings, Database(gateway), authz))
            return [await _plan(build_services(settings, Database(worker), authz))]


async def _plan(services: Services) -> dict[str, Any]:
    begun = time.perf_counter()
    drawn = await services.horizons.draw(REGION, CODES, Terms())
    read = time.perf_counter()
    assert drawn is not None
    schedule: Schedule = await asyncio.to_thread(solve_horizon, drawn.horizon, seconds=SECONDS)
    solved = time.perf_counter()
    done = await services.horizons.adopt(worker_caller("allocate", "bench"), drawn, schedule)
    adopted = time.perf_counter()
    table = done.subject.measures
    return {
        "benchmark": "allocation.horizon.live", "institutions": len(drawn.horizon.sites), "days": drawn.horizon.days,
        "resources": len(CODES), "lanes": len(drawn.horizon.lanes), "draw_s": round(read - begun, 2),
        "solve_s": round(solved - read, 2), "check_and_adopt_s": round(adopted - solved, 2),
        "status": schedule.search.status.value, "gap_millionths": schedule.search.gap,
        "peak_mib": schedule.search.peak_kilobytes // 1024, "shipments": len(schedule.shipments),
        "fixed_per_mille": table["fixed_per_mille"], "redistributable_per_mille": table["redistributable_per_mille"],
    }  # fmt: skip


async def _fill(services: Services) -> None:
    """Every other institution pledges some of each resource, the rest lack some."""
    chance, now = random.Random(7), services.now()
    await services.resources.define_catalogue(operator())
    for number in range(INSTITUTIONS):
        draft = InstitutionDraft(
            code=f"house-{number}", name=f"House {number}", kind=InstitutionKind.HOSPITAL, region=REGION,
            latitude=40 + 3 * chance.random(), longitude=-74 - 4 * chance.random(),
        )  # fmt: skip
        made = (await services.institutions.register(operator(), draft)).subject
        who = Caller(
            principal=draft.code, roles=frozenset({Role.INSTITUTION}), institution=made.id,
            scopes=frozenset({"system/*.cruds"}), request_id="bench",
        )  # fmt: skip
        lacks = number % 2 == 1
        reports = [
            CapacityDraft(
                resource=code, as_of=now, staffed=60, occupied=60 if lacks else chance.randint(10, 40),
                waiting=chance.randint(1, 25) if lacks else 0,
            )
            for code in CODES
        ]  # fmt: skip
        await services.capacity.report(who, made.id, reports)
        for code in CODES:
            if lacks:
                await services.requests.open(who, made.id, _need(code, now, chance))
            else:
                await services.offers.publish(who, made.id, _pledge(code, now, chance))


def _pledge(code: str, now: datetime, chance: random.Random) -> OfferDraft:
    lot: dict[str, Any] = {"lot": "L1", "expires_on": (now + 2 * WEEK).date()} if code == "mask.n95" else {}
    return OfferDraft(
        resource=code, quantity=chance.randint(2, 18), available_from=now,
        available_until=now + timedelta(days=chance.randint(2, 7)), **lot,
    )  # fmt: skip


def _need(code: str, now: datetime, chance: random.Random) -> RequestDraft:
    return RequestDraft(
        resource=code, quantity=chance.randint(1, 20), needed_by=now + timedelta(days=chance.choice([0, 0, 1, 3])),
        needed_until=now + WEEK, urgency=chance.randint(1, 4), reason=RequestReason.SURGE,
    )  # fmt: skip
