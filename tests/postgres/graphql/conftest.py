"""The GraphQL application in this process over a real database, asked over HTTP by callers of every role."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx2
import pytest
from starlette.types import Receive, Scope, Send

from sharewell.authz import Authorizer
from sharewell.domain.principals import Caller, Role
from sharewell.services import lab
from sharewell.settings import DatabaseRole, Settings
from sharewell.store.database import Database
from sharewell.store.pools import open_pool
from sharewell.wiring import Services, build_services, operator
from sharewell_schema import view
from sharewell_schema.view import graphql_app

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
BEDS = "bed.adult"
EVERYTHING = frozenset({"system/*.cruds"})


@dataclass
class Answer:
    """What came back."""

    status: int
    body: dict[str, Any]
    headers: Mapping[str, str]

    @property
    def data(self) -> Any:
        assert "errors" not in self.body, self.body["errors"]
        return self.body["data"]

    @property
    def error(self) -> dict[str, Any]:
        """The only error."""
        (only,) = self.body["errors"]
        return only  # type: ignore[no-any-return]

    @property
    def refusal(self) -> tuple[str, str, str | None]:
        """Code, type and field of the only error."""
        said = self.error["extensions"]
        return said["code"], said["type"], said.get("field")


@dataclass
class Api:
    """The platform as its users see it, on a clock that the test sets."""

    http: httpx2.AsyncClient
    people: Services
    workers: Services
    callers: dict[str, Caller]
    at: datetime = NOON
    keys: Any = field(default_factory=lambda: (f"key {number}" for number in itertools.count()))

    async def send(self, who: str, query: str, variables: Mapping[str, Any] | None = None) -> Answer:
        body = {"query": query, "variables": variables}
        answer = await self.http.post("/graphql", json=body, headers={"X-Test-Caller": who})
        return Answer(answer.status_code, answer.json(), answer.headers)

    async def ask(self, who: str, query: str, **variables: Any) -> Any:
        """The data of a query that must succeed."""
        return (await self.send(who, query, variables)).data

    async def do(self, who: str, name: str, select: str = "decision { id at }", /, **asked: Any) -> Answer:
        """Send the mutation `name`, with a new idempotency key unless one is given."""
        kind = name[0].upper() + name[1:]
        query = f"mutation ($input: {kind}Input!) {{ {name}(input: $input) {{ {select} }} }}"
        return await self.send(who, query, {"input": {"idempotencyKey": next(self.keys), **asked}})

    async def done(self, who: str, name: str, select: str = "decision { id at }", /, **asked: Any) -> Any:
        """What became of a mutation that must succeed."""
        return (await self.do(who, name, select, **asked)).data[name]

    async def institution(self, code: str, **more: Any) -> str:
        """A new institution with a client of the same name; its id."""
        usual = {"code": code, "name": code.title(), "kind": "HOSPITAL", "region": "us-nj", "latitude": 40.0,
                 "longitude": -74.0}  # fmt: skip
        made = await self.done("admin", "registerInstitution", "institution { id }", **(usual | more))
        id: str = made["institution"]["id"]  # noqa: A001
        self.callers[code] = Caller(
            principal=f"{code}-client", roles=frozenset({Role.INSTITUTION}), institution=UUID(id), scopes=EVERYTHING,
            request_id="r-1",
        )  # fmt: skip
        return id

    async def report(self, who: str, *, staffed: int, occupied: int, **more: Any) -> Any:
        one = {"resource": BEDS, "asOf": text(self.at), "staffed": staffed, "occupied": occupied, **more}
        return await self.done(who, "reportCapacity", "reports { id } decision { id }", reports=[one])

    def pledge_of(self, quantity: int, **more: Any) -> dict[str, Any]:
        usual = {"resource": BEDS, "quantity": quantity, "availableFrom": text(self.at),
                 "availableUntil": text(self.at + timedelta(days=2))}  # fmt: skip
        return usual | more

    def need_of(self, quantity: int, **more: Any) -> dict[str, Any]:
        usual = {"resource": BEDS, "quantity": quantity, "urgency": 3, "reason": "SURGE", "neededBy": text(self.at),
                 "neededUntil": text(self.at + timedelta(days=2))}  # fmt: skip
        return usual | more

    async def held_transfer(self) -> str:
        """A transfer of beds from `giver` to `receiver`, held by a real plan; its id."""
        await self.institution("giver")
        await self.institution("receiver", latitude=40.1)
        await self.report("giver", staffed=20, occupied=5)
        await self.report("receiver", staffed=5, occupied=5, waiting=4)
        await self.done("giver", "publishOffer", **self.pledge_of(6))
        await self.done("receiver", "openRequest", **self.need_of(4))
        await self.allocate()
        found = await self.ask("giver", "{ transfers { nodes { id } } }")
        id: str = found["transfers"]["nodes"][0]["id"]  # noqa: A001
        return id

    async def allocate(self, region: str = "us-nj") -> None:
        """Run the allocator, as the worker would."""
        from sharewell_workers.allocate import allocate  # noqa: PLC0415 - the solver loads slowly
        from sharewell_workers.jobs import Job  # noqa: PLC0415

        payload = {"region": region, "resource": BEDS}
        await allocate(Job(id=1, name="allocate", payload=payload, request_id="r-2", attempt=1), self.workers)

    async def expire(self) -> None:
        """Run the sweep of what is over or was never done, as the worker does every minute."""
        from sharewell_workers.expire import expire  # noqa: PLC0415
        from sharewell_workers.jobs import Job  # noqa: PLC0415

        await expire(Job(id=2, name="expire", payload={}, request_id="r-3", attempt=1), self.workers)


def text(at: datetime) -> str:
    return at.isoformat().replace("+00:00", "Z")


def _caller(name: str, *roles: Role) -> Caller:
    return Caller(principal=name, roles=frozenset(roles), scopes=EVERYTHING, request_id="r-1")


@pytest.fixture
def allocate_after() -> timedelta | None:
    """Pause before a run that somebody's act asks for; None: a test runs what it wants to be run."""
    return None


@pytest.fixture
async def api(
    database_urls: Mapping[DatabaseRole, str], tmp_path: Path, allocate_after: timedelta | None,
    monkeypatch: pytest.MonkeyPatch,
) -> AsyncIterator[Api]:  # fmt: skip
    for module, patience in ((view, "LONGEST_SECONDS"), (lab, "GRACE")):
        monkeypatch.setattr(module, patience, 300.0)  # a slow machine is no fault
    settings = Settings(home=tmp_path, allocate_after=allocate_after)
    authz = Authorizer.load()
    callers = {
        "admin": _caller("admin", Role.ADMIN), "planner": _caller("planner", Role.ALLOCATOR),
        "regulator": _caller("regulator", Role.REGULATOR), "nobody": _caller("nobody"),
    }  # fmt: skip
    async with (
        open_pool(database_urls[DatabaseRole.GATEWAY], DatabaseRole.GATEWAY) as gateway,
        open_pool(database_urls[DatabaseRole.WORKER], DatabaseRole.WORKER) as worker,
    ):
        people = build_services(settings, Database(gateway), authz)
        workers = build_services(settings, Database(worker), authz)
        inner = graphql_app(people)

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            name = dict(scope["headers"]).get(b"x-test-caller", b"nobody").decode()
            await inner({**scope, "state": {"caller": callers[name], "request_id": "r-1"}}, receive, send)

        transport = httpx2.ASGITransport(app)
        async with httpx2.AsyncClient(transport=transport, base_url="http://sharewell.example") as http:
            made = Api(http, people, workers, callers)
            people.office.now = workers.office.now = lambda: made.at
            await people.resources.define_catalogue(operator())
            yield made
