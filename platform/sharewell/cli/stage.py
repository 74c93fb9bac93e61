"""A platform of its own for a replay: gateway and worker processes, a clock to set, a client for each site."""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx2

from sharewell.cli.machine import apply_migrations
from sharewell.cli.running import child
from sharewell.client import ApiClient, Credential
from sharewell.clock import set_clock
from sharewell.domain.clients import USUAL_SCOPES, ClientDraft
from sharewell.domain.errors import SharewellError
from sharewell.domain.principals import Role
from sharewell.exchange.inbox import Inbox
from sharewell.replay import operations
from sharewell.replay.panel import Site
from sharewell.replay.player import Player
from sharewell.settings import DatabaseRole, Settings
from sharewell.store.server import DatabaseServer, open_database_server
from sharewell.wiring import Services, open_services, worker_caller

READY_SECONDS = 180.0  #: until a process answers, also one that died; a machine may do other things too
AT_ONCE = 16
CONNECTIONS = 32  #: a little more than any journey has requests under way
LOG_FILE = "platform.log"


class NotReady(SharewellError):
    """The platform did not start in time."""


def local_transport() -> httpx2.AsyncBaseTransport:
    """Connections that all clients of one replay share: thousands of institutions must not mean thousands of sockets.

    They are to this machine and unencrypted; the empty context trusts nobody, and reading certificates is saved.
    """
    limits = httpx2.Limits(max_connections=CONNECTIONS, max_keepalive_connections=CONNECTIONS)
    return httpx2.AsyncHTTPTransport(verify=ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), limits=limits)


@dataclass
class Stage:
    """A running platform and those who use it."""

    settings: Settings
    server: DatabaseServer
    services: Services = field(repr=False)  #: of the machine's operator, for the first admins and nothing else
    workers: Services = field(repr=False)  #: likewise, to hand in files
    stack: AsyncExitStack = field(repr=False)
    transport: httpx2.AsyncBaseTransport = field(default_factory=local_transport, repr=False)
    admin: ApiClient = field(init=False)
    credentials: dict[str, Credential] = field(default_factory=dict)

    def set_clock(self, at: datetime) -> None:
        """Put the time that every process of this platform goes by."""
        assert self.settings.clock_file is not None
        set_clock(self.settings.clock_file, at)

    async def first_admin(self) -> ApiClient:
        """The admin who lets everybody else in, save a second admin."""
        self.admin = await self._client(await self.let_in("admin"))
        return self.admin

    async def let_in(self, name: str) -> Credential:
        """An admin whom the operator lets in; two of these can approve what the other wrote."""
        credential = await asyncio.to_thread(self._credential, name, Role.ADMIN)
        draft = ClientDraft(
            name=name, client_id=credential.client_id, roles=frozenset({Role.ADMIN}), scopes=credential.scopes,
            jwks=credential.public_jwks,
        )  # fmt: skip
        await self.services.clients.bootstrap_admin(draft, request_id="first-start")
        return credential

    async def client(self, name: str, role: Role, institution: UUID | None = None) -> ApiClient:
        """A new client, registered by the admin over GraphQL."""
        credential = await asyncio.to_thread(self._credential, name, role)
        asked: dict[str, Any] = {
            "idempotencyKey": f"client {credential.client_id}", "name": name, "clientId": credential.client_id,
            "roles": [role.name], "scopes": list(credential.scopes),
            "institution": None if institution is None else str(institution),
            "jwks": credential.public_jwks,
        }  # fmt: skip
        await self.admin.graphql(operations.REGISTER_CLIENT, {"input": asked})
        return await self._client(credential)

    async def player(self, site: Site) -> Player:
        """An institution, and the system that acts for it."""
        asked = {
            "idempotencyKey": f"institution {site.code}", "code": site.code, "name": site.name, "kind": "HOSPITAL",
            "region": site.region, "latitude": site.latitude, "longitude": site.longitude,
        }  # fmt: skip
        data = await self.admin.graphql(operations.REGISTER_INSTITUTION, {"input": asked})
        id = UUID(data["registerInstitution"]["institution"]["id"])  # noqa: A001
        return Player(site, id, await self.client(site.code, Role.INSTITUTION, id))

    async def players(self, sites: Iterable[Site]) -> dict[str, Player]:
        """One player for each site."""
        return {player.site.code: player for player in await gather(AT_ONCE, self.player, list(sites))}

    async def hand_in(self, format: str, data: bytes, locations: bytes | None) -> None:  # noqa: A002
        """Put a published file into the inbox and leave it to the workers, as `sharewell ingest --queue` does."""
        inbox = Inbox(self.settings.home)
        await self.workers.feeds.enqueue(
            worker_caller("ingest", "replay"), format, inbox.put(data),
            locations_sha256="" if locations is None else inbox.put(locations),
        )  # fmt: skip

    def _credential(self, name: str, role: Role) -> Credential:
        credential = Credential.generate(self.settings.issuer, f"{role}-{name}", USUAL_SCOPES[role])
        self.credentials[name] = credential
        return credential

    async def _client(self, credential: Credential) -> ApiClient:
        client = ApiClient.of(credential, transport=self.transport, patience=READY_SECONDS)
        return await self.stack.enter_async_context(client)


async def gather(most: int, act: Callable[[Any], Awaitable[Any]], things: Sequence[Any]) -> list[Any]:
    """Do `act` to all `things`, at most `most` at one moment; the answers come in the order of the things."""
    room = asyncio.Semaphore(most)

    async def one(thing: Any) -> Any:
        async with room:
            return await act(thing)

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(one(thing)) for thing in things]
    return [task.result() for task in tasks]


@asynccontextmanager
async def open_stage(settings: Settings, *, clock: bool) -> AsyncIterator[Stage]:
    """A platform in `settings.home`, running for the length of an `async with` block; its log is a file there.

    With `clock` it goes by a clock of its own and plans only when it is asked to. Raises `NotReady`.
    """
    settings.home.mkdir(parents=True, exist_ok=True)
    if clock:
        settings = replace(settings, clock_file=settings.home / "clock", allocate_after=None)
    environment = _environment(settings)
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(open_database_server(settings))
        await apply_migrations(server)
        log_file = settings.home / LOG_FILE
        await stack.enter_async_context(child(["serve", "--no-worker", "--no-migrate"], environment, log_file))
        await stack.enter_async_context(child(["worker"], environment, log_file))
        services = await stack.enter_async_context(open_services(settings, server, DatabaseRole.GATEWAY, most=2))
        await _await_ready(settings.issuer, log_file)
        workers = await stack.enter_async_context(open_services(settings, server, DatabaseRole.WORKER, most=2))
        yield Stage(settings, server, services, workers, stack)


def stage_settings(settings: Settings, home: Path) -> Settings:
    """The settings of a platform on a free port, with its data in `home`."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    return replace(settings, home=home, host="127.0.0.1", port=port, issuer=f"http://127.0.0.1:{port}")


def _environment(settings: Settings) -> dict[str, str]:
    after = settings.allocate_after
    ours = {
        "SHAREWELL_HOME": str(settings.home), "SHAREWELL_HOST": settings.host, "SHAREWELL_PORT": str(settings.port),
        "SHAREWELL_ISSUER": settings.issuer, "SHAREWELL_LOG_ORIGIN": settings.log_origin,
        "SHAREWELL_LOG_LEVEL": settings.log_level, "SHAREWELL_LOG_FORMAT": settings.log_format,
        "SHAREWELL_ALLOCATE_AFTER": "never" if after is None else str(int(after.total_seconds())),
        "SHAREWELL_CLOCK_FILE": "" if settings.clock_file is None else str(settings.clock_file),
    }  # fmt: skip
    return {**os.environ, **ours}


async def _await_ready(issuer: str, log_file: Path) -> None:
    deadline = time.monotonic() + READY_SECONDS
    async with httpx2.AsyncClient(timeout=5) as http:
        while time.monotonic() < deadline:
            try:
                if (await http.get(f"{issuer}/readyz")).is_success:
                    return
            except httpx2.TransportError:
                pass
            await asyncio.sleep(0.1)
    raise NotReady(f"the platform was not ready within {READY_SECONDS:.0f} seconds; {log_file} says why.")
