"""What one authorisation decision costs, what it would cost if the policies were parsed each time, and what lists cost.

The ratio of one decision compares `Authorizer.ask` (parsed handles kept) with Cedar given text. A list of 1,000 rows is
filtered in SQL, and beside it read without a filter and decided row by row; the second wall is measured by taking it
down.
"""

from __future__ import annotations

import itertools
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import asyncpg
import cedarpy

from sharewell.authz import SCHEMA, Authorizer, shipped_policies
from sharewell.domain.institutions import InstitutionDraft, InstitutionKind
from sharewell.domain.policy import Action, Target
from sharewell.domain.predicate import EVERYTHING, Predicate
from sharewell.domain.principals import Caller, Role
from sharewell.domain.reader import PLATFORM, reader_of
from sharewell.domain.requests import RequestDraft, RequestReason
from sharewell.settings import DatabaseRole, Settings
from sharewell.store.database import Database
from sharewell.store.pools import open_pool
from sharewell.wiring import Services, build_services, operator

OWN, OTHER = UUID(int=1), UUID(int=2)


def best_of(rounds: int, calls: int, act: Callable[[], object]) -> float:
    """Microseconds a call takes, in the best of `rounds`."""
    best = float("inf")
    for _ in range(rounds):
        begun = time.perf_counter()
        for _ in range(calls):
            act()
        best = min(best, (time.perf_counter() - begun) / calls)
    return best * 1e6


def measure() -> list[dict[str, Any]]:
    """One record."""
    authorizer = Authorizer.load()
    caller = Caller(
        principal="north",
        roles=frozenset({Role.INSTITUTION}),
        institution=OWN,
        scopes=frozenset({"system/Offer.cruds", "system/Capacity.cruds", "system/Transfer.rus"}),
    )
    numbers = itertools.count()

    def new(owner: UUID) -> Target:
        """A thing that was never asked of: judgements are remembered."""
        return Target(kind="offer", id=str(next(numbers)), owner=owner)

    allowed = best_of(5, 2_000, lambda: authorizer.ask(caller, Action.PUBLISH_OFFER, new(OWN)))
    denied = best_of(5, 2_000, lambda: authorizer.ask(caller, Action.PUBLISH_OFFER, new(OTHER)))
    own = new(OWN)
    again = best_of(5, 2_000, lambda: authorizer.ask(caller, Action.PUBLISH_OFFER, own))
    files = shipped_policies()
    text = "\n".join(data.decode() for name, data in files.items() if name != SCHEMA)
    request = {
        "principal": 'Sharewell::Caller::"north"',
        "action": 'Sharewell::Action::"publishOffer"',
        "resource": 'Sharewell::Offer::"1"',
        "context": {"requiredScope": "Offer.c"},
    }
    parsing = best_of(3, 20, lambda: cedarpy.is_authorized(request, text, [], schema=files[SCHEMA].decode()))
    return [
        {
            "benchmark": "authz.decide",
            "policies": len(authorizer.policies),
            "allowed_us": round(allowed, 1),
            "denied_us": round(denied, 1),
            "again_us": round(again, 1),
            "parsing_each_time_ratio": round(parsing / allowed, 1),
        }
    ]


ROWS, HOUSES, ROUNDS = 1_000, 10, 15
NEWEST = UUID(int=2**128 - 1)
WALL = "alter table sharewell.request {} row level security"


async def measure_lists(urls: Mapping[str, str]) -> list[dict[str, Any]]:
    """Records of a list of `ROWS` requests among as many of others, and of the wall behind it."""
    with tempfile.TemporaryDirectory() as home:
        async with open_pool(urls[DatabaseRole.GATEWAY], DatabaseRole.GATEWAY, most=2) as pool:
            database, authorizer = Database(pool), Authorizer.load()
            caller = await _fill(build_services(Settings(home=Path(home), allocate_after=None), database, authorizer))
            seen = authorizer.filter(caller, Action.VIEW_REQUEST)
            filtered = await _median(lambda: _filtered(database, authorizer, caller))
            decided = await _median(lambda: _decided(database, authorizer, caller))
            walled = await _median(lambda: _read(database, reader_of(caller), seen))
            owner = await asyncpg.connect(urls[DatabaseRole.MIGRATOR])
            try:
                await owner.execute(WALL.format("disable"))
                bare = await _median(lambda: _read(database, reader_of(caller), seen))
                await owner.execute(WALL.format("enable"))
            finally:
                await owner.close()
    fresh = best_of(3, 1, lambda: Authorizer.load().filter(caller, Action.VIEW_REQUEST))
    loaded = best_of(3, 1, Authorizer.load)
    compiling = (fresh - loaded) / 1e6
    return [
        {
            "benchmark": "authz.list_1000", "filtered_milliseconds": round(filtered * 1e3, 2),
            "row_by_row_milliseconds": round(decided * 1e3, 1),
            "ratio_of_authorising": round((decided - walled) / compiling),  # made anew; it is kept for the next list
            "ratio_of_whole_list": round(decided / filtered, 1),
            "compiling_once_milliseconds": round(compiling * 1e3, 2),
        },
        {
            "benchmark": "authz.second_wall", "list_1000_milliseconds": round(walled * 1e3, 2),
            "without_wall_milliseconds": round(bare * 1e3, 2), "ratio": round(walled / bare, 2),
        },
    ]  # fmt: skip


async def _filtered(database: Database, authorizer: Authorizer, caller: Caller) -> int:
    return await _read(database, reader_of(caller), authorizer.filter(caller, Action.VIEW_REQUEST))


async def _decided(database: Database, authorizer: Authorizer, caller: Caller) -> int:
    """The same rows, each asked for by itself."""
    async with database.transaction(read_only=True, reader=PLATFORM) as tx:
        page = await tx.requests.page(
            before=NEWEST, institution=caller.institution, resource=None, status=None, first=ROWS
        )
    targets = [Target(kind="request", id=str(each.id), owner=each.institution) for each in page.items]
    allowed = 0
    for target in targets:
        authorizer._judgements.cache_clear()
        allowed += authorizer.ask(caller, Action.VIEW_REQUEST, target).allowed
    return allowed


async def _read(database: Database, reader: str, seen: Predicate = EVERYTHING) -> int:
    async with database.transaction(read_only=True, reader=reader) as tx:
        page = await tx.requests.page(
            before=NEWEST, institution=None, resource=None, status=None, first=ROWS, seen=seen
        )
    return len(page.items)


async def _median(act: Callable[[], Awaitable[int]]) -> float:
    """Seconds a round takes; each must return all rows."""
    taken = []
    for _ in range(ROUNDS):
        begun = time.perf_counter()
        assert await act() == ROWS
        taken.append(time.perf_counter() - begun)
    return statistics.median(taken)


async def _fill(services: Services) -> Caller:
    """Institutions with requests; the first has `ROWS` of them, the others as many together. The first one's caller."""
    now = services.now()
    await services.resources.define_catalogue(operator())
    callers = []
    for number in range(HOUSES):
        draft = InstitutionDraft(
            code=f"house-{number}", name="House", kind=InstitutionKind.HOSPITAL, region="us-nj", latitude=40.0,
            longitude=-74.0,
        )  # fmt: skip
        made = (await services.institutions.register(operator(), draft)).subject
        callers.append(
            Caller(
                principal=f"client-{number}", roles=frozenset({Role.INSTITUTION}), institution=made.id,
                scopes=frozenset({"system/*.cruds"}),
            )
        )  # fmt: skip
    draft_of = RequestDraft(
        resource="bed.adult", quantity=1, urgency=3, needed_by=now, needed_until=now + timedelta(days=2),
        reason=RequestReason.SURGE,
    )  # fmt: skip
    for number in range(2 * ROWS):
        caller = callers[0] if number % 2 else callers[1 + number // 2 % (HOUSES - 1)]
        assert caller.institution is not None
        await services.requests.open(caller, caller.institution, draft_of)
    return callers[0]
