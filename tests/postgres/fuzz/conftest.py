"""The whole gateway in this process over a real database, asked over HTTP with tokens of every role."""

from __future__ import annotations

import itertools
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx2
import pytest
from tests.conftest import Pool

from sharewell.audit.keys import LogKey
from sharewell.audit.seal import Sequencer
from sharewell.authz import Authorizer
from sharewell.cli.running import OAUTH_KEYS, build_gateway, put_on_record
from sharewell.client import ApiClient, Credential
from sharewell.clock import clock
from sharewell.domain.clients import ClientDraft
from sharewell.domain.principals import Role
from sharewell.gateway.oauth.keys import load_or_create
from sharewell.services import ids, lab
from sharewell.settings import Settings
from sharewell.store.database import Database
from sharewell.wiring import Services, build_services, operator
from sharewell_schema import view
from sharewell_workers.jobs import Job

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
EVERYTHING = ("system/*.cruds",)
KEY = LogKey.from_seed("log.example/2026", bytes(range(32)))
SITES = {"north": "us-nj", "south": "us-nj", "east": "us-nj", "west": "us-ny"}
#: Clients, with their roles; an institution's bears its code.
OTHERS = {
    "admin": Role.ADMIN, "second": Role.ADMIN, "planner": Role.ALLOCATOR, "regulator": Role.REGULATOR,
    "auditor": Role.AUDITOR,
}  # fmt: skip


@dataclass
class House:
    """A platform with a client of each role, its tokens, and a clock that the test sets."""

    app: Any
    http: httpx2.AsyncClient
    people: Services
    workers: Services
    sequencer: Pool
    stack: AsyncExitStack = field(repr=False)
    tokens: dict[str, str] = field(default_factory=dict, repr=False)
    credentials: dict[str, Credential] = field(default_factory=dict, repr=False)
    sites: dict[str, str] = field(default_factory=dict)  #: id of an institution, by its code
    at: datetime = NOON
    keys: int = 0

    async def send(self, who: str, query: str, variables: Mapping[str, Any]) -> httpx2.Response:
        """Ask as the client called `who`. What no UTF-8 holds, half a pair of surrogates, is sent escaped."""
        body = json.dumps({"query": query, "variables": variables}).encode()
        headers = {"Authorization": f"Bearer {self.tokens[who]}", "Content-Type": "application/json"}
        return await self.http.post("/graphql", content=body, headers=headers)

    async def ask(self, who: str, query: str, **variables: Any) -> Any:
        """The data of a query that must succeed."""
        answer = (await self.send(who, query, variables)).json()
        assert "errors" not in answer, answer["errors"]
        return answer["data"]

    async def done(self, who: str, name: str, select: str = "decision { id }", /, **asked: Any) -> Any:
        """What became of a mutation that must succeed."""
        self.keys += 1
        kind = name[0].upper() + name[1:]
        query = f"mutation ($input: {kind}Input!) {{ {name}(input: $input) {{ {select} }} }}"
        return (await self.ask(who, query, input={"idempotencyKey": f"seed {self.keys}", **asked}))[name]

    async def let_in(self, name: str, role: Role, institution: str | None = None) -> None:
        """Register a client and get it a token. The operator lets admins in: who one admin lets in is no second."""
        credential = Credential.generate(self.people.settings.issuer, name, EVERYTHING)
        self.credentials[name] = credential
        if role is Role.ADMIN:
            draft = ClientDraft(
                name=name, client_id=name, roles=frozenset({role}), scopes=EVERYTHING, jwks=credential.public_jwks
            )
            await self.people.clients.bootstrap_admin(draft, request_id="start")
        else:
            await self.done(
                "admin", "registerClient", name=name, clientId=name, rateClass="HIGH", roles=[role.name],
                scopes=EVERYTHING, institution=institution, jwks=credential.public_jwks,
            )  # fmt: skip
        transport = httpx2.ASGITransport(self.app)
        client = await self.stack.enter_async_context(ApiClient.of(credential, transport=transport))
        self.tokens[name] = await client.token()

    async def work(self, *names: str) -> None:
        """Run the jobs of these names that wait, as a worker would; an error of one is an error of the test's."""
        from sharewell_workers.worker import WORK  # noqa: PLC0415 - the solver loads slowly

        waiting = (await self.ask("planner", "{ jobsUnderway { id name payload } }"))["jobsUnderway"]
        for row in [row for row in waiting if row["name"] in names]:
            job = Job(id=int(row["id"]), name=row["name"], payload=row["payload"], request_id="r-2", attempt=1)
            await WORK[row["name"]].handle(job, self.workers)
            async with self.workers.database.transaction() as tx:
                await tx.conn.execute("delete from queue.pgqueuer where id = $1", int(row["id"]))

    async def run(self, name: str) -> None:
        """Run a job that the clock asks for."""
        from sharewell_workers.worker import WORK  # noqa: PLC0415

        await WORK[name].handle(Job(id=0, name=name, payload={}, request_id="r-3", attempt=1), self.workers)

    async def tick(self, span: timedelta = timedelta(0)) -> None:
        """Let time go by, with what follows of itself: holds that end, policies that come into force, a sealed log."""
        self.at += span
        await self.run("expire")
        await self.people.policies.catch_up(operator())
        await self.workers.policies.catch_up(operator())
        await Sequencer(self.sequencer, KEY).seal()


def numbered(number: int) -> UUID:
    """The same ids in each run, for lots are drawn by them, and what is tried next depends on who won."""
    since_1970 = int(NOON.timestamp() * 1000) + number
    return UUID(int=since_1970 << 80 | 7 << 76 | 2 << 62 | number)


@pytest.fixture
async def house(
    gateway_pool: Pool, worker_pool: Pool, sequencer_pool: Pool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[House]:
    for module, patience in ((view, "LONGEST_SECONDS"), (lab, "SECONDS"), (lab, "GRACE")):
        monkeypatch.setattr(module, patience, 300.0)  # a slow machine is no fault
    numbers = itertools.count()
    monkeypatch.setattr(ids, "uuid7", lambda: numbered(next(numbers)))
    (tmp_path / "witnessed").write_text(f"{KEY.vkey}\n")
    settings = Settings(
        home=tmp_path, allocate_after=None, token_life=timedelta(hours=1), witness_logs=tmp_path / "witnessed"
    )
    authz = Authorizer.load()
    people, workers = (build_services(settings, Database(pool), authz) for pool in (gateway_pool, worker_pool))
    keys = load_or_create(tmp_path / OAUTH_KEYS, at=clock(None)())
    app = build_gateway(people, keys)
    async with (
        AsyncExitStack() as stack,
        httpx2.AsyncClient(
            transport=httpx2.ASGITransport(app, raise_app_exceptions=False), base_url=settings.issuer
        ) as http,
    ):
        made = House(app, http, people, workers, sequencer_pool, stack)
        people.office.now = workers.office.now = lambda: made.at
        await put_on_record(people, keys)
        for name, role in OTHERS.items():
            await made.let_in(name, role)
        for code, region in SITES.items():
            place = {"region": region, "latitude": 40.0, "longitude": -74.0, "kind": "HOSPITAL", "name": code.title()}
            new = await made.done("admin", "registerInstitution", "institution { id }", code=code, **place)
            made.sites[code] = new["institution"]["id"]
            await made.let_in(code, Role.INSTITUTION, made.sites[code])
        await made.let_in("device", Role.DEVICE, made.sites["north"])
        yield made
