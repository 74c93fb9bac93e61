"""The parts of a running platform, each for the length of an `async with` block; commands put them together."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, nullcontext, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, BinaryIO

import structlog
import typer
from prometheus_client import REGISTRY
from starlette.applications import Starlette
from starlette.routing import BaseRoute, Route

from sharewell.audit.keys import KeyProblem, load_or_create_key, load_vkey
from sharewell.domain.rates import Rate
from sharewell.gateway.app import Parts, build_app, machine_time
from sharewell.gateway.bearer import Bearer
from sharewell.gateway.connections import Connections
from sharewell.gateway.health import Health
from sharewell.gateway.log import log_routes
from sharewell.gateway.oauth.egress import Egress
from sharewell.gateway.oauth.issuers import External, IssuersError
from sharewell.gateway.oauth.issuers import load as load_issuers
from sharewell.gateway.oauth.keys import KeyFile, SigningKeys, load_or_create
from sharewell.gateway.periods import period_route
from sharewell.gateway.rates import KNOCKS
from sharewell.gateway.server import bind, serve
from sharewell.gateway.turns import Bounds
from sharewell.gateway.witness import witness_routes
from sharewell.settings import DatabaseRole, Settings, SettingsError
from sharewell.wiring import Services, migrations, open_services, operator
from sharewell_schema.ide import FOLDER, ide_routes
from sharewell_schema.view import graphql_app

if TYPE_CHECKING:
    from sharewell.store.server import DatabaseServer

log = structlog.get_logger("sharewell")

UntilStdinCloses = Annotated[
    bool, typer.Option("--until-stdin-closes", hidden=True, help="End with the process that started this one.")
]
OAUTH_KEYS = "oauth-keys.json"
RESTART_SECONDS = 1.0
END_SECONDS = 60.0  #: for a child to end in order; longer than its jobs and requests are given


async def put_on_record(services: Services, keys: SigningKeys) -> None:
    """What a first start of this release must leave in the log: catalogue, policies and keys."""
    await services.policies.publish(operator())
    await services.resources.define_catalogue(operator())
    await services.policies.key_in_use(operator(), keys.kid, "access tokens")
    await services.policies.key_in_use(operator(), log_vkey(services.settings), "audit log")


def build_gateway(services: Services, keys: SigningKeys) -> Starlette:
    """The whole HTTP application of one process."""
    settings = services.settings
    parts = Parts(
        issuer=settings.issuer, keys=keys, database=services.database, clients=services.clients,
        people=services.people, grants=services.grants, access=services.access, migrations=migrations(),
        token_life=settings.token_life, externals=_externals(settings), egress=Egress(settings.egress),
        allowed_origins=settings.allowed_origins, registry=REGISTRY, fault=services.policy_fault,
        proxies=settings.trusted_proxies,
        forwarded_header=settings.forwarded_header, dpop_nonces=settings.dpop_nonces,
        turns=Bounds(**settings.turns), brake_seconds=settings.brake_seconds,
        knocks={**KNOCKS, **{name: Rate(*rate) for name, rate in settings.oauth_rates.items()}},
    )  # fmt: skip

    def more_routes(bearer: Bearer) -> list[BaseRoute]:
        return [
            *log_routes(services.audit, bearer, lambda: log_vkey(settings), settings.log_export),
            period_route(bearer, services.inspection),
            *witness_routes(services.witness),
            *ide_routes(settings.home / FOLDER),
        ]

    return build_app(parts, graphql_app(services), more_routes=more_routes)


def build_connections(settings: Settings) -> Connections | None:
    """The bound on connections of one address, if there is one."""
    if not settings.connections:
        return None
    return Connections(REGISTRY, most=settings.connections, proxies=settings.trusted_proxies)


def _externals(settings: Settings) -> tuple[External, ...]:
    """Whose tokens are taken beside our own."""
    try:
        return () if settings.issuers_file is None else load_issuers(settings.issuers_file)
    except IssuersError as error:
        raise SettingsError(f"SHAREWELL_ISSUERS: {error}") from error


def token_keys(settings: Settings) -> KeyFile:
    """The keys of access tokens, made at the first start, and looked at again when they are rotated."""
    load_or_create(settings.home / OAUTH_KEYS, at=machine_time())
    return KeyFile(settings.home / OAUTH_KEYS, machine_time)


def log_vkey(settings: Settings) -> str:
    """The log's public key. Where gateway and sequencer run apart, only the public half is in the gateway's home."""
    try:
        return load_vkey(settings.home)
    except KeyProblem:
        return load_or_create_key(settings.home, settings.log_origin).vkey


async def run_gateway(
    settings: Settings, server: DatabaseServer, stop: asyncio.Event, ready: asyncio.Event | None = None
) -> None:
    """Answer people until `stop` is set."""
    taken = bind(settings.host, settings.port)
    keys = token_keys(settings)
    async with open_services(settings, server, DatabaseRole.GATEWAY, most=20) as services:
        await put_on_record(services, keys)
        log.info("gateway answers", host=settings.host, port=settings.port, issuer=settings.issuer)
        ending = asyncio.create_task(_end_streams(services, stop))
        try:
            await serve(
                build_gateway(services, keys), taken, stop, ready=ready, connections=build_connections(settings)
            )
        finally:
            ending.cancel()


async def _end_streams(services: Services, stop: asyncio.Event) -> None:
    """Streams would last until their tokens end; the server waits for what is under way."""
    await stop.wait()
    services.happenings.closing.set()


async def run_health(
    settings: Settings, server: DatabaseServer, role: DatabaseRole, port: int, stop: asyncio.Event
) -> None:
    """Tell an operator's tools how a process without a gateway is, until `stop` is set.

    It answers from the same event loop as the work: a loop that hangs fails its probe.
    """
    async with open_services(settings, server, role, most=2) as services:
        health = Health(services.database, migrations(), REGISTRY, services.policy_fault)
        routes = [
            Route("/healthz", health.alive), Route("/readyz", health.ready), Route("/metrics", health.metrics)
        ]  # fmt: skip
        await serve(Starlette(routes=routes), bind("0.0.0.0", port), stop)  # noqa: S104  a pod is asked from outside


@asynccontextmanager
async def child(
    arguments: Sequence[str], environment: dict[str, str], log_file: Path | None = None
) -> AsyncIterator[None]:
    """Run `sharewell ARGUMENTS --until-stdin-closes` as a process beside this one, and again whenever it dies.

    What it logs goes to the end of `log_file`, or where our own log goes.
    """
    ending = asyncio.Event()
    command = [sys.executable, "-m", "sharewell.cli", *arguments, "--until-stdin-closes"]
    with nullcontext() if log_file is None else log_file.open("ab") as output:
        keeper = asyncio.create_task(_keep_alive(command, environment, output, ending))
        try:
            yield
        finally:
            ending.set()
            await keeper


async def _keep_alive(
    command: Sequence[str], environment: dict[str, str], output: BinaryIO | None, ending: asyncio.Event
) -> None:
    while not ending.is_set():
        # Its standard input closes when this process ends, however it ends, and then it ends too. In a session of its
        # own it does not hear the Ctrl-C that is meant for us: we end it, in our order.
        process = await asyncio.create_subprocess_exec(
            *command, env=environment, stdin=asyncio.subprocess.PIPE, stderr=output, start_new_session=True
        )
        waiting = [asyncio.create_task(process.wait()), asyncio.create_task(ending.wait())]
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        for task in waiting:
            task.cancel()
        if ending.is_set():
            await _end(process)
            return
        log.warning("a process ended and is started again", command=command[3], status=process.returncode)
        with suppress(TimeoutError):
            await asyncio.wait_for(ending.wait(), RESTART_SECONDS)


async def _end(process: asyncio.subprocess.Process) -> None:
    with suppress(ProcessLookupError):
        process.terminate()
    try:
        await asyncio.wait_for(process.wait(), END_SECONDS)
    except TimeoutError:
        log.warning("a process did not end and is killed", pid=process.pid)
        process.kill()
        await process.wait()


@asynccontextmanager
async def while_wanted(stop: asyncio.Event, *, watch_stdin: bool) -> AsyncIterator[None]:
    """With `watch_stdin`, set `stop` once whoever started this process is gone, its end of the pipe with it."""
    watching = asyncio.create_task(_stdin_closes(stop)) if watch_stdin else None
    try:
        yield
    finally:
        if watching is not None:
            watching.cancel()


async def _stdin_closes(stop: asyncio.Event) -> None:
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin.buffer)
    await reader.read()
    stop.set()
