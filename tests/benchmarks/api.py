"""What GraphQL costs beside plain endpoints that do the same work: a list of 1,000 x 10, and one small query.

All go through ASGI in this process, over real rows and with the policies asked. The variants take turns, so that what
else the machine does falls on all alike; ratios are of medians.
"""

from __future__ import annotations

import asyncio
import statistics
import tempfile
import time
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import orjson
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from strawberry.schema.schema import StrawberryGraphQLCoreExecutionContext as StockExecutor

from sharewell.authz import Authorizer
from sharewell.domain.capacity import CapacityDraft
from sharewell.domain.institutions import InstitutionDraft, InstitutionKind
from sharewell.domain.offers import OfferDraft
from sharewell.domain.policy import Action, Target
from sharewell.domain.principals import Caller, Role
from sharewell.settings import DatabaseRole, Settings
from sharewell.store.database import Database
from sharewell.store.pools import open_pool
from sharewell.wiring import Services, build_services, operator
from sharewell_schema.view import graphql_app

ROWS = 1_000
ROUNDS = 60
FIELDS = ("id", "institutionId", "resource", "quantity", "promised", "minimumKept", "availableFrom", "availableUntil",
          "status", "publishedAt")  # fmt: skip
COLUMNS = """id, institution_id, resource, quantity, promised, minimum_kept, available_from, available_until, status,
  published_at"""
LIST = f"{{ offers(first: {ROWS}) {{ nodes {{ {' '.join(FIELDS)} }} }} }}"
EDGES = f"{{ offers(first: {ROWS}) {{ edges {{ cursor node {{ {' '.join(FIELDS)} institution {{ code }} }} }} }} }}"
ONE = "query ($id: UUID!) { offer(id: $id) { id resource quantity remaining status } }"


async def measure(urls: Mapping[str, str], rounds: int = ROUNDS) -> list[dict[str, Any]]:
    """Records of lists and of a small query, on the database of `urls` (by role), which gets `ROWS` offers more."""
    with tempfile.TemporaryDirectory() as home:
        async with open_pool(urls[DatabaseRole.GATEWAY], DatabaseRole.GATEWAY, most=4) as pool:
            settings = Settings(home=Path(home), allocate_after=None)
            services = build_services(settings, Database(pool), Authorizer.load())
            caller, offer = await fill(services)
            fast, stock = graphql_app(services), graphql_app(services, StockExecutor)
            lists: dict[str, tuple[ASGIApp, Any]] = {
                "list": (fast, {"query": LIST}),
                "list, stock executor": (stock, {"query": LIST}),
                "list with edges and institutions": (fast, {"query": EDGES}),
                "list, plain": (PlainList(services), {}),
            }
            small: dict[str, tuple[ASGIApp, Any]] = {
                "one": (fast, {"query": ONE, "variables": {"id": str(offer)}}),
                "one, plain": (PlainOne(services), {"id": str(offer)}),
            }
            # Apart, so that small ones are not measured in the litter that lists leave behind.
            seconds = await _in_turns(rounds, lists, caller) | await _in_turns(20 * rounds, small, caller)
    return [
        _record("graphql.list_1000x10", "list", seconds),
        _record("graphql.list_1000x10_edges", "list with edges and institutions", seconds),
        _record("graphql.one", "one", seconds),
    ]


def _record(benchmark: str, name: str, seconds: Mapping[str, list[float]]) -> dict[str, Any]:
    plain = "one, plain" if name == "one" else "list, plain"
    took = statistics.median(seconds[name])
    found = {
        "benchmark": benchmark,
        "milliseconds": round(took * 1000, 2),
        "p90_milliseconds": round(statistics.quantiles(seconds[name], n=10)[-1] * 1000, 2),
        "plain_milliseconds": round(statistics.median(seconds[plain]) * 1000, 2),
        "ratio_to_plain_starlette": round(took / statistics.median(seconds[plain]), 2),
    }
    if name == "list":
        found["speed_over_stock_executor"] = round(statistics.median(seconds["list, stock executor"]) / took, 2)
    return found


class PlainList:
    """What one would write by hand: one permission, one statement, a dictionary a row, `JSONResponse`."""

    def __init__(self, services: Services) -> None:
        self._services = services

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        office, caller = self._services.office, scope["state"]["caller"]
        await office.allow(caller, Action.VIEW_OFFER, Target.list("offer"))
        async with office.reading(caller) as tx:
            rows = await tx.conn.fetch(f"select {COLUMNS} from sharewell.offer order by id desc limit $1", ROWS)
        answer = [
            {
                "id": str(r["id"]), "institutionId": str(r["institution_id"]), "resource": r["resource"],
                "quantity": r["quantity"], "promised": r["promised"], "minimumKept": r["minimum_kept"],
                "availableFrom": r["available_from"].isoformat(), "availableUntil": r["available_until"].isoformat(),
                "status": r["status"].upper(), "publishedAt": r["published_at"].isoformat(),
            }
            for r in rows
        ]  # fmt: skip
        await JSONResponse(answer)(scope, receive, send)


class PlainOne:
    """One offer by id, through the same use case."""

    def __init__(self, services: Services) -> None:
        self._services = services

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        asked = orjson.loads(await Request(scope, receive).body())
        offer = await self._services.offers.get(scope["state"]["caller"], UUID(asked["id"]))
        answer = {"id": str(offer.id), "resource": offer.resource, "quantity": offer.quantity,
                  "remaining": offer.remaining, "status": offer.status.name}  # fmt: skip
        await JSONResponse(answer)(scope, receive, send)


async def fill(services: Services) -> tuple[Caller, UUID]:
    """Institutions with `ROWS` offers between them; a caller that may see them, and the id of one of its own."""
    now = services.now()
    await services.resources.define_catalogue(operator())
    callers = [await an_institution(services, number, now) for number in range(20)]
    window = (now, now + timedelta(days=3))
    own: UUID | None = None
    for number in range(ROWS):
        caller = callers[number % len(callers)]
        draft = OfferDraft(resource="bed.adult", quantity=1, available_from=window[0], available_until=window[1])
        assert caller.institution is not None
        offer = (await services.offers.publish(caller, caller.institution, draft)).subject
        own = offer.id if caller is callers[0] else own
    assert own is not None
    return callers[0], own


async def an_institution(services: Services, number: int, now: datetime) -> Caller:
    """A new institution that has reported beds, as the caller who acts for it."""
    mark = f"{now.astimezone(UTC):%y%m%d%H%M%S}"
    draft = InstitutionDraft(
        code=f"bench-{mark}-{number}", name=f"Benchmark {number}", kind=InstitutionKind.HOSPITAL, region="us-nj"
    )
    institution = (await services.institutions.register(operator(), draft)).subject
    caller = Caller(
        principal=institution.code, roles=frozenset({Role.INSTITUTION}), institution=institution.id,
        scopes=frozenset({"system/*.cruds"}), request_id="benchmark",
    )  # fmt: skip
    report = CapacityDraft(resource="bed.adult", as_of=now, staffed=2 * ROWS, occupied=ROWS)
    await services.capacity.report(caller, institution.id, [report])
    return caller


async def _in_turns(
    rounds: int, variants: Mapping[str, tuple[ASGIApp, Any]], caller: Caller
) -> dict[str, list[float]]:
    """Seconds of each variant in each round; the first round warms up and is left out."""
    seconds: dict[str, list[float]] = {name: [] for name in variants}
    order = list(variants)
    for _ in range(rounds + 1):
        order.reverse()  # whoever follows whom gets its turn the other way round
        for name in order:
            app, body = variants[name]
            begun = time.perf_counter()
            status, _ = await call(app, orjson.dumps(body), caller)
            seconds[name].append(time.perf_counter() - begun)
            assert status == 200, name
            await asyncio.sleep(0)
    return {name: found[1:] for name, found in seconds.items()}


async def call(app: ASGIApp, body: bytes, caller: Caller) -> tuple[int, bytes]:
    """Send one POST into `app` without a client in between."""
    scope: Scope = {
        "type": "http", "http_version": "1.1", "method": "POST", "path": "/graphql", "query_string": b"",
        "headers": [(b"content-type", b"application/json"), (b"accept", b"application/json")],
        "state": {"caller": caller, "request_id": "benchmark"},
    }  # fmt: skip
    sent: list[Message] = []

    async def receive() -> Message:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: Message) -> None:
        sent.append(message)

    await app(scope, receive, send)
    return sent[0]["status"], b"".join(message.get("body", b"") for message in sent[1:])
