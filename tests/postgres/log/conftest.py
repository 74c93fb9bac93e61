"""Whole nodes, each on a database of its own and answering over HTTP: they are witnessed, and witness others."""

from __future__ import annotations

import asyncio
import itertools
import os
import sys
from asyncio.subprocess import PIPE, STDOUT
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from socket import socket
from typing import TYPE_CHECKING, Any, TypeAlias

import asyncpg
import pytest
from tests.postgres.conftest import behind_the_guard

from sharewell.audit import witnesses
from sharewell.audit.keys import LogKeys, load_or_create_keys, load_or_create_witness_key
from sharewell.audit.publish import Published, Publisher
from sharewell.audit.seal import Sequencer
from sharewell.audit.trust import own_policy
from sharewell.audit.witnesses import client
from sharewell.cli.running import OAUTH_KEYS, build_gateway
from sharewell.client import ApiClient, Credential
from sharewell.clock import clock
from sharewell.domain.audit import Decision
from sharewell.domain.clients import ClientDraft
from sharewell.domain.principals import Role
from sharewell.gateway.oauth.keys import load_or_create
from sharewell.gateway.server import bind, serve
from sharewell.settings import DatabaseRole, Settings
from sharewell.store.audit import AuditRepository
from sharewell.store.database import Database
from sharewell.store.embedded import installed_programs
from sharewell.store.pools import open_pool
from sharewell.wiring import Services, build_services, operator

if TYPE_CHECKING:
    from tests.conftest import TestServer

Pool: TypeAlias = "asyncpg.Pool[Any]"
EVERYTHING = ("system/*.cruds",)
NUMBERS = itertools.count()
PATIENCE = 120  #: seconds for an answer; only ever waited for in vain


@dataclass
class Place:
    """Where a node will be, before it runs: others need its keys and its address first."""

    settings: Settings
    taken: socket

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.taken.getsockname()[1]}"

    @property
    def keys(self) -> LogKeys:
        return load_or_create_keys(self.settings.home, self.settings.log_origin)

    def witness_line(self, name: str) -> str:
        key = load_or_create_witness_key(self.settings.home, f"{self.url.removeprefix('http://')}/witness")
        return f"witness {name} {key.key} {self.url}/witness"

    def trusts(self, *lines: str) -> None:
        """Write the trust policy of its log."""
        path = self.settings.home / "policy"
        path.write_text("\n".join(lines) + "\n")
        self.settings = replace(self.settings, log_policy=path)

    def witnesses(self, logs: Sequence[str]) -> None:
        """Write the list of logs that it witnesses."""
        path = self.settings.home / "witnessed"
        path.write_text("\n".join(logs) + "\n")
        self.settings = replace(self.settings, witness_logs=path)


@dataclass
class Node:
    """A running node."""

    place: Place
    services: Services
    gateway: Pool
    sequencer: Pool
    database: str
    admin_url: str
    clients: dict[Role, ApiClient] = field(default_factory=dict)

    @property
    def url(self) -> str:
        return self.place.url

    async def record(self, *decisions: Decision) -> None:
        async with self.gateway.acquire() as conn, conn.transaction():
            for decision in decisions:
                await AuditRepository(conn).record(decision)  # type: ignore[arg-type]

    async def client(self, role: Role) -> ApiClient:
        """A client of `role` for whom its scopes are no bound; the same one each time."""
        if role not in self.clients:
            credential = Credential.generate(self.url, f"a-{role}", EVERYTHING)
            draft = ClientDraft(
                name=str(role), client_id=credential.client_id, roles=frozenset({role}), scopes=EVERYTHING,
                jwks=credential.public_jwks,
            )  # fmt: skip
            await self.services.clients.register(operator(), draft)
            self.clients[role] = ApiClient.of(credential)
        return self.clients[role]

    async def damage(self, table: str, change: str) -> None:
        """Change what is stored, as whoever owns the machine can."""
        await behind_the_guard(self.admin_url, table, change)

    async def seal(self) -> int:
        keys = self.place.keys
        return (await Sequencer(self.sequencer, keys.signer, keys.quantum, handover=keys.handover).seal()).size

    async def publish(self) -> Published:
        settings = self.place.settings
        async with client() as http:
            publisher = Publisher(
                self.sequencer, http, policy=own_policy(settings.log_policy, settings.home), folder=settings.log_export
            )  # fmt: skip
            return await publisher.publish()


@dataclass
class Nodes:
    """Where nodes are made."""

    folder: Path
    server: TestServer
    template: str
    places: list[Place] = field(default_factory=list)

    def place(self, name: str) -> Place:
        """Take an address and a home for a node called `name`, whose log is exported there."""
        home = self.folder / name
        home.mkdir()
        taken = bind("127.0.0.1", 0)
        settings = Settings(
            home=home, issuer=f"http://127.0.0.1:{taken.getsockname()[1]}", log_origin=f"{name}.example/log",
            log_export=home / "export",
        )  # fmt: skip
        self.places.append(Place(settings, taken))
        return self.places[-1]

    @asynccontextmanager
    async def running(self, place: Place) -> AsyncIterator[Node]:
        """The node at `place`, new, until the block ends. Sealing and publishing are left to the test."""
        name = await self.server.make(f"sharewell_node_{os.getpid()}_{next(NUMBERS)}", self.template)
        stop, ready = asyncio.Event(), asyncio.Event()
        async with self.opened(place, name) as node:
            keys = load_or_create(place.settings.home / OAUTH_KEYS, at=clock(None)())
            app = build_gateway(node.services, keys)
            task = asyncio.create_task(serve(app, place.taken, stop, ready=ready))
            try:
                await ready.wait()
                yield node
            finally:
                stop.set()
                await task

    @asynccontextmanager
    async def opened(self, place: Place, database: str) -> AsyncIterator[Node]:
        """The node at `place` on a database that is there already, without its gateway; the database goes with it."""
        admin = self.server.url(database)
        urls = {role: self.server.url(database, role) for role in DatabaseRole}
        try:
            async with (
                open_pool(urls[DatabaseRole.GATEWAY], DatabaseRole.GATEWAY) as gateway,
                open_pool(urls[DatabaseRole.SEQUENCER], DatabaseRole.SEQUENCER) as sequencer,
            ):
                services = build_services(place.settings, Database(gateway))
                node = Node(place, services, gateway, sequencer, database, admin)
                yield node
                for each in node.clients.values():
                    await each.aclose()
        finally:
            await self.server.drop(database)

    async def backup(self, node: Node) -> Path:
        """What pg_dump takes of the node's database."""
        path = self.folder / f"{next(NUMBERS)}.dump"
        await self._program("pg_dump", "--format=custom", f"--file={path}", self.server.url(node.database))
        return path

    async def restored(self, backup: Path) -> str:
        """A new database with what `backup` holds."""
        name = await self.server.make(f"sharewell_node_{os.getpid()}_{next(NUMBERS)}")
        await self._program("pg_restore", "--exit-on-error", f"--dbname={self.server.url(name)}", str(backup))
        return name

    async def _program(self, name: str, *arguments: str) -> None:
        process = await asyncio.create_subprocess_exec(installed_programs() / "bin" / name, *arguments)
        assert await process.wait() == 0, name


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A witness may take its time: nodes answer from the process of the test, on a machine that may be busy."""
    monkeypatch.setattr(witnesses, "TIMEOUT", float(PATIENCE))


@pytest.fixture
def verify() -> Callable[..., Awaitable[str]]:
    """`sharewell verify ARGUMENTS`, as a stranger types it; what it says, once it ends with `status`."""

    async def run(*arguments: str | Path, status: int = 0) -> str:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "sharewell.cli", "verify", *arguments, stdout=PIPE, stderr=STDOUT
        )
        said = (await process.communicate())[0].decode()
        assert process.returncode == status, said
        return said

    return run


@pytest.fixture
def nodes(tmp_path: Path, database_server: TestServer, database_template: str) -> Iterator[Nodes]:
    """Makes nodes."""
    made = Nodes(tmp_path, database_server, database_template)
    yield made
    for place in made.places:
        place.taken.close()
