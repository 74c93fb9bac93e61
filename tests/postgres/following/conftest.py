"""Gateways on real ports over one database, a sequencer that seals beside them, and clients that follow."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID

import httpx2
import pytest
from joserfc.jwk import ECKey
from prometheus_client import CollectorRegistry
from uuid_utils.compat import uuid7
from websockets.asyncio.client import ClientConnection, connect

from sharewell.audit.keys import LogKey
from sharewell.audit.seal import Sequencer
from sharewell.authz import Authorizer
from sharewell.client import Credential
from sharewell.domain.capacity import CapacityDraft
from sharewell.domain.clients import ClientDraft
from sharewell.domain.institutions import InstitutionDraft, InstitutionKind
from sharewell.domain.offers import Offer, OfferDraft
from sharewell.domain.principals import Caller, Role
from sharewell.domain.requests import Request, RequestDraft, RequestReason
from sharewell.gateway.app import Parts, build_app
from sharewell.gateway.oauth.keys import SigningKeys, load_or_create
from sharewell.gateway.server import bind, serve
from sharewell.settings import DatabaseRole, Settings
from sharewell.store.audit import DecisionFilter
from sharewell.store.database import Database
from sharewell.store.pools import open_pool
from sharewell.wiring import Services, build_services, migrations, operator
from sharewell_schema.view import graphql_app

if TYPE_CHECKING:
    from tests.conftest import Pool

KEY = LogKey.from_seed("log.example/2026", bytes(range(32)))
BEDS = "bed.adult"
ISSUER = "https://sharewell.example"
LAST_ID = UUID(int=2**128 - 1)
EVERYTHING = "system/*.cruds"
PATIENCE = 120  #: seconds until what was to be told counts as never told; only ever waited for in vain
PAGE = "https://board.example"
OFFERS = "subscription ($after: String) { offers(after: $after) { cursor kind offer { id institutionId } } }"

Event = dict[str, Any]


class Clock:
    """The machine's time, which a test may move, or have stand still until something is under way."""

    def __init__(self) -> None:
        self.ahead = timedelta()
        self.stands: datetime | None = None

    def __call__(self) -> datetime:
        return (self.stands or datetime.now(UTC)) + self.ahead


@dataclass
class Gateway:
    """One of them."""

    url: str
    services: Services
    stop: asyncio.Event
    served: asyncio.Task[None]
    registry: CollectorRegistry

    async def end(self) -> None:
        """Stop it as the process that runs it does."""
        self.stop.set()
        self.services.happenings.closing.set()
        await self.served


@dataclass
class Region:
    """Institutions, their clients and their deeds; time is that of the machine, as tokens' is."""

    services: Services
    workers: Services
    keys: SigningKeys
    clock: Clock = field(default_factory=Clock)  #: of the gateways, for tokens
    callers: dict[str, Caller] = field(default_factory=dict)

    async def client(self, client_id: str, *roles: Role, institution: UUID | None = None, **more: Any) -> None:
        key = ECKey.generate_key("P-384", {"kid": "k"}).as_dict(private=False)
        draft: dict[str, Any] = {
            "name": client_id, "client_id": client_id, "roles": frozenset(roles), "scopes": (EVERYTHING,),
            "jwks": {"keys": [key]}, "institution": institution,
        } | more  # fmt: skip
        await self.services.clients.register(operator(), ClientDraft(**draft))

    async def institution(self, code: str, *, beds: int = 500, occupied: int = 0) -> UUID:
        """A new one with beds, and a client of the same name; where all beds are taken, two persons wait."""
        draft = InstitutionDraft(code=code, name=code, kind=InstitutionKind.HOSPITAL, region="us-nj")
        made = (await self.services.institutions.register(operator(), draft)).subject
        await self.client(code, Role.INSTITUTION, institution=made.id)
        self.callers[code] = Caller(
            principal=code, roles=frozenset({Role.INSTITUTION}), institution=made.id, scopes=frozenset({EVERYTHING}),
            request_id="r-1",
        )  # fmt: skip
        report = CapacityDraft(
            resource=BEDS, as_of=datetime.now(UTC), staffed=beds, occupied=occupied, waiting=2 * (beds == occupied)
        )
        await self.services.capacity.report(self.callers[code], made.id, [report])
        return made.id

    async def credential(self, base_url: str, code: str, path: Path) -> Path:
        """A credential file of another client of the institution `code`, or of a regulator."""
        made = Credential.generate(base_url, f"{code}-bot", [EVERYTHING])
        made.save(path)
        who = self.callers.get(code)
        roles = frozenset({Role.REGULATOR}) if who is None else who.roles
        await self.client(
            made.client_id, *roles, institution=None if who is None else who.institution, jwks=made.public_jwks
        )
        return path

    async def pledge(self, code: str, quantity: int = 1) -> Offer:
        who, now = self.callers[code], datetime.now(UTC)
        assert who.institution is not None
        draft = OfferDraft(
            resource=BEDS, quantity=quantity, available_from=now, available_until=now + timedelta(days=2)
        )
        return (await self.services.offers.publish(who, who.institution, draft)).subject

    async def ask(self, code: str, quantity: int = 1) -> Request:
        who, now = self.callers[code], datetime.now(UTC)
        assert who.institution is not None
        draft = RequestDraft(
            resource=BEDS, quantity=quantity, urgency=3, reason=RequestReason.SURGE, needed_by=now,
            needed_until=now + timedelta(days=2),
        )  # fmt: skip
        return (await self.services.requests.open(who, who.institution, draft)).subject

    async def allocate(self) -> None:
        from sharewell_workers.allocate import allocate  # noqa: PLC0415 - the solver loads slowly
        from sharewell_workers.jobs import Job  # noqa: PLC0415

        payload = {"region": "us-nj", "resource": BEDS}
        await allocate(Job(id=1, name="allocate", payload=payload, request_id="r-2", attempt=1), self.workers)

    def token(self, client_id: str, *, seconds: float = 3000) -> str:
        now = int(time.time())
        claims = {
            "iss": ISSUER, "aud": ISSUER, "sub": client_id, "client_id": client_id, "iat": now,
            "exp": int(now + seconds), "jti": str(uuid7()), "scope": EVERYTHING,
        }  # fmt: skip
        return self.keys.sign(claims, type="at+jwt")

    async def recorded(self, kind: str) -> list[Any]:
        """Decisions of that kind, oldest first."""
        async with self.services.database.transaction(read_only=True) as tx:
            page = await tx.audit.page(before=LAST_ID, matching=DecisionFilter(kind=kind), first=1000)
            return [(await tx.audit.get(header.id)).decision for header in reversed(page.items)]


Open = Callable[..., AbstractAsyncContextManager[Gateway]]


@asynccontextmanager
async def a_region(urls: Mapping[DatabaseRole, str], folder: Path) -> AsyncIterator[Region]:
    """A region over the database at `urls`, its keys in `folder`."""
    settings, authz = Settings(home=folder, allocate_after=None), Authorizer.load()
    async with (
        open_pool(urls[DatabaseRole.GATEWAY], DatabaseRole.GATEWAY) as gateway,
        open_pool(urls[DatabaseRole.WORKER], DatabaseRole.WORKER) as worker,
    ):
        services = build_services(settings, Database(gateway), authz)
        workers = build_services(settings, Database(worker), authz)
        await services.resources.define_catalogue(operator())
        yield Region(services, workers, load_or_create(folder / "keys.json", at=datetime.now(UTC)))


@asynccontextmanager
async def sealing_all_the_time(pool: Pool) -> AsyncIterator[None]:
    """Entries get their place in the log, as the worker sees to, only more often."""

    async def seal() -> None:
        sequencer = Sequencer(pool, KEY)
        while True:
            await sequencer.seal()
            await asyncio.sleep(0.02)

    task = asyncio.create_task(seal())
    yield
    assert not task.done(), task.exception()
    task.cancel()


@asynccontextmanager
async def a_gateway(
    urls: Mapping[DatabaseRole, str], region: Region, port: int = 0, *, is_issuer: bool = False, **more: Any
) -> AsyncIterator[Gateway]:
    """A gateway of the region, one of any number; one that is its own issuer gives tokens too. `more` are `Parts`."""
    async with open_pool(urls[DatabaseRole.GATEWAY], DatabaseRole.GATEWAY) as pool:
        services = build_services(region.services.settings, Database(pool), region.services.office.authz)
        taken, stop, ready = bind("127.0.0.1", port), asyncio.Event(), asyncio.Event()
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        parts = Parts(
            issuer=url if is_issuer else ISSUER, keys=region.keys, database=services.database,
            clients=services.clients, people=services.people, grants=services.grants, access=services.access,
            migrations=migrations(), now=region.clock, allowed_origins=(PAGE,), registry=CollectorRegistry(),
            **more,
        )  # fmt: skip
        served = asyncio.create_task(serve(build_app(parts, graphql_app(services)), taken, stop, ready=ready))
        await ready.wait()
        gateway = Gateway(url, services, stop, served, parts.registry)
        try:
            yield gateway
        finally:
            await gateway.end()


@pytest.fixture
async def region(database_urls: Mapping[DatabaseRole, str], tmp_path: Path) -> AsyncIterator[Region]:
    async with a_region(database_urls, tmp_path) as region:
        yield region


@pytest.fixture
async def sealing(sequencer_pool: Pool) -> AsyncIterator[None]:
    async with sealing_all_the_time(sequencer_pool):
        yield


@pytest.fixture
def open_gateway(database_urls: Mapping[DatabaseRole, str], region: Region, sealing: None) -> Open:
    """Start a gateway; any number may run over the one database."""
    return partial(a_gateway, database_urls, region)


@pytest.fixture
async def gateway(open_gateway: Open) -> AsyncIterator[Gateway]:
    async with open_gateway() as gateway:
        yield gateway


@dataclass
class Message:
    """One server-sent event; `id` alone tells how far the stream has come."""

    event: str = ""
    id: str | None = None
    data: Any = None


async def messages(
    url: str, token: str, query: str, variables: Mapping[str, Any] | None = None, *, last_id: str | None = None
) -> AsyncIterator[Message]:
    """What a stream tells until it ends. To be closed."""
    headers = {"Authorization": f"Bearer {token}", "Accept": "text/event-stream"}
    if last_id is not None:
        headers["Last-Event-ID"] = last_id
    body = {"query": query, "variables": variables or {}}
    async with (
        httpx2.AsyncClient(timeout=PATIENCE) as http,
        http.stream("POST", f"{url}/graphql", json=body, headers=headers) as answer,
    ):
        assert answer.status_code == 200, await answer.aread()
        said = Message()
        async for line in answer.aiter_lines():
            name, _, value = line.partition(":")
            if not line:
                yield said
                said = Message()
            elif name:
                value = value.removeprefix(" ")
                setattr(said, name, json.loads(value) if name == "data" and value else value)


async def told(url: str, token: str, query: str, variables: Any = None, *, most: int, **more: Any) -> list[Event]:
    """The first events of a subscription with one field."""
    found: list[Event] = []
    async with (
        asyncio.timeout(PATIENCE),
        aclosing(messages(url, token, query, variables, **more)) as stream,  # type: ignore[type-var]
    ):
        async for message in stream:
            if message.event == "next":
                assert "errors" not in message.data, message.data
                found += message.data["data"].values()
                if len(found) == most:
                    break
    return found


async def follow_from(url: str, token: str) -> str:
    async with httpx2.AsyncClient(timeout=PATIENCE) as http:
        answer = await http.post(
            f"{url}/graphql", json={"query": "{ followFrom }"}, headers={"Authorization": f"Bearer {token}"}
        )
    place: str = answer.json()["data"]["followFrom"]
    return place


class Socket:
    """The client's end of graphql-transport-ws."""

    def __init__(self, connection: ClientConnection) -> None:
        self.connection = connection

    async def send(self, **message: Any) -> None:
        await self.connection.send(json.dumps(message))

    async def receive(self) -> dict[str, Any]:
        """The next message that is not about how far streams have come."""
        while True:
            async with asyncio.timeout(PATIENCE):
                message: dict[str, Any] = json.loads(await self.connection.recv())
            if message["type"] != "ping":
                return message

    async def begin(self, token: str | None = None) -> None:
        await self.send(type="connection_init", payload={"authorization": f"Bearer {token}"} if token else {})
        assert await self.receive() == {"type": "connection_ack"}

    async def subscribe(self, name: str, query: str, **variables: Any) -> None:
        await self.send(type="subscribe", id=name, payload={"query": query, "variables": variables})


@asynccontextmanager
async def socket(url: str, **options: Any) -> AsyncIterator[Socket]:
    options = {
        "subprotocols": ["graphql-transport-ws"], "origin": None, "proxy": None, "open_timeout": PATIENCE,
        "ping_interval": None,
    } | options  # fmt: skip
    async with connect(f"{url.replace('http', 'ws', 1)}/graphql", **options) as connection:
        yield Socket(connection)
