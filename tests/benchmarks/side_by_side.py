"""The gateway beside PostGraphile and beside plain endpoints, over HTTP, on one PostgreSQL, asked the same two things.

PostGraphile and the Node it needs come from npm, into a cache folder; without npm a line says that it was left out. It
reads as a role that sees every row and asks nobody for permission; the gateway asks the policies for every answer. The
servers take turns, one request at a time, and the gateway shares its process with the client that measures it.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import statistics
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, Final
from uuid import UUID

import orjson
import uvicorn
from api import (  # type: ignore[import-not-found]  # beside this file
    COLUMNS,
    FIELDS,
    LIST,
    ONE,
    ROWS,
    PlainList,
    PlainOne,
    fill,
)
from starlette.types import ASGIApp, Receive, Scope, Send
from strawberry.asgi import GraphQL
from strawberry.schema.schema import StrawberryGraphQLCoreExecutionContext as StockExecutor

from sharewell.authz import Authorizer
from sharewell.domain.principals import Caller
from sharewell.gateway.server import bind
from sharewell.settings import DatabaseRole, Settings
from sharewell.store.database import Database
from sharewell.store.pools import open_pool
from sharewell.wiring import Services, build_services
from sharewell_schema.context import Context
from sharewell_schema.schema import build_schema
from sharewell_schema.view import graphql_app

PEERS: Final = Path(__file__).parent / "peers"
CACHE: Final = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "sharewell-benchmarks"
ROUNDS: Final = 60
START_SECONDS: Final = 60.0
assert len(FIELDS) == len(COLUMNS.split(","))
THEIR_FIELDS = " ".join(FIELDS).replace("id ", "rowId ", 1)
THEIR_LIST = f"{{ allOffers(first: {ROWS}, orderBy: ROW_ID_DESC) {{ nodes {{ {THEIR_FIELDS} }} }} }}"
THEIR_ONE = "query ($id: UUID!) { offerByRowId(rowId: $id) { rowId resource quantity promised status } }"


class Left(Exception):
    """PostGraphile cannot be had here; the message says why."""


async def measure(urls: Mapping[str, str], rounds: int = ROUNDS) -> list[dict[str, Any]]:
    """Ratios of the gateway's time to that of each other, for the list and for one object of the caller's own."""
    async with AsyncExitStack() as stack:
        services = await stack.enter_async_context(services_on(urls))
        caller, offer = await fill(services)
        servers: dict[str, tuple[int, Any, Any]] = {}
        apps: dict[str, tuple[ASGIApp, ASGIApp]] = {
            "gateway": (graphql_app(services),) * 2, "stock_strawberry": (_stock(services, caller),) * 2,
            "plain": (PlainList(services), PlainOne(services)),
        }  # fmt: skip
        ask = {"query": LIST}, {"query": ONE, "variables": {"id": str(offer)}, "id": str(offer)}
        for name, pair in apps.items():
            servers[name] = await stack.enter_async_context(_served(pair, caller)), *ask
        missing = None
        try:
            their = {"query": THEIR_LIST}, {"query": THEIR_ONE, "variables": {"id": str(offer)}}
            url = urls[DatabaseRole.WORKER]
            servers["postgraphile"] = await stack.enter_async_context(_postgraphile(url)), *their
        except Left as why:
            missing = str(why)
        lists = await _in_turns(rounds, {name: (port, "/list", body) for name, (port, body, _) in servers.items()})
        ones = await _in_turns(10 * rounds, {name: (port, "/one", body) for name, (port, _, body) in servers.items()})
    found = [_record("graphql.side_by_side.list", lists), _record("graphql.side_by_side.one", ones)]
    left = [] if missing is None else [{"benchmark": "graphql.side_by_side.postgraphile", "skipped": missing}]
    return found + left


@asynccontextmanager
async def services_on(urls: Mapping[str, str], most: int = 4) -> AsyncIterator[Services]:
    """The use cases of a gateway with up to `most` connections."""
    with tempfile.TemporaryDirectory() as home:
        async with open_pool(urls[DatabaseRole.GATEWAY], DatabaseRole.GATEWAY, most=most) as pool:
            settings = Settings(home=Path(home), allocate_after=None)
            yield build_services(settings, Database(pool), Authorizer.load())


def _record(benchmark: str, seconds: Mapping[str, list[float]]) -> dict[str, Any]:
    """Ratios are medians of the ratios within a round, whatever else the machine did meanwhile."""
    ours = seconds["gateway"]
    told: dict[str, Any] = {"benchmark": benchmark, "milliseconds": round(1000 * statistics.median(ours), 2)}
    for name, theirs in seconds.items():
        if name != "gateway":
            ratios = [their / our for their, our in zip(theirs, ours, strict=True)]
            told[f"{name}_milliseconds"] = round(1000 * statistics.median(theirs), 2)
            told[f"throughput_over_{name}"] = round(statistics.median(ratios), 2)
    return told


def _stock(services: Services, caller: Caller) -> ASGIApp:
    """The same schema and resolvers as strawberry itself serves them."""

    class Stock(GraphQL[Context, None]):
        async def get_context(self, request: Any, response: Any) -> Context:  # noqa: ARG002 - what strawberry gives
            return Context(caller=caller, services=services)

        def encode_json(self, data: object) -> str:
            return orjson.dumps(data, option=orjson.OPT_UTC_Z).decode()  # our times are no text before the edge

    schema = build_schema()
    schema.execution_context_class = StockExecutor
    return Stock(schema, graphql_ide=None)


@asynccontextmanager
async def _served(apps: tuple[ASGIApp, ASGIApp], caller: Caller) -> AsyncIterator[int]:
    """The applications for the list and for one object behind uvicorn in this process; the port."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        state = {"caller": caller, "request_id": "benchmark"}
        await apps[scope["path"] == "/one"]({**scope, "state": state}, receive, send)

    taken = bind("127.0.0.1", 0)
    server = uvicorn.Server(uvicorn.Config(app, log_config=None, access_log=False, lifespan="off"))
    serving = asyncio.create_task(server.serve(sockets=[taken]))
    try:
        yield taken.getsockname()[1]
    finally:
        server.should_exit = True
        await serving


@asynccontextmanager
async def _postgraphile(url: str) -> AsyncIterator[int]:
    folder = await asyncio.to_thread(_fetched)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
    process = subprocess.Popen(
        [folder / "node_modules/.bin/node", "node_modules/postgraphile/dist/cli-run.js", "--config",
         "postgraphile.config.mjs"],
        cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        env={**os.environ, "DATABASE_URL": url, "PORT": str(port), "NODE_ENV": "production",
             "GRAPHILE_ENV": "production"},
    )  # fmt: skip
    try:
        await _answering(port)
        yield port
    finally:
        process.terminate()
        process.wait(10)  # nothing else is left to do


def _fetched() -> Path:
    """The folder with PostGraphile in it. Raises `Left`."""
    if shutil.which("npm") is None:
        raise Left("there is no npm here.")
    CACHE.mkdir(parents=True, exist_ok=True)
    for name in ("package.json", "postgraphile.config.mjs"):
        shutil.copy(PEERS / name, CACHE)
    done = subprocess.run(
        ["npm", "install", "--no-audit", "--no-fund", "--silent"], cwd=CACHE, check=False, capture_output=True
    )
    if done.returncode or not (CACHE / "node_modules/.bin/node").exists():
        raise Left(f"npm could not fetch it: {done.stderr.decode(errors='replace')[-200:].strip()}")
    return CACHE


async def _answering(port: int) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        try:
            await Client.open(port)
        except OSError:
            await asyncio.sleep(0.2)
        else:
            return
    raise Left(f"PostGraphile did not start within {START_SECONDS:.0f} seconds.")


class Client:
    """One connection that is kept."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    @classmethod
    async def open(cls, port: int) -> Client:
        return cls(*await asyncio.open_connection("127.0.0.1", port, limit=2**22))

    async def post(self, path: str, body: bytes) -> bytes:
        """The body of a good answer."""
        status, told = await self.exchange(path, body)
        assert status == 200, (status, told)
        return told

    async def exchange(self, path: str, body: bytes, more: str = "") -> tuple[int, bytes]:
        """Status and body of the answer; `more` are header lines, each with its end."""
        head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n{more}"
        self._writer.write(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        told = (await self._reader.readuntil(b"\r\n\r\n")).decode().lower()
        line, *rest = told.strip().split("\r\n")
        fields = dict(each.split(": ", 1) for each in rest)
        return int(line.split()[1]), await self._reader.readexactly(int(fields["content-length"]))


async def _in_turns(rounds: int, variants: Mapping[str, tuple[int, str, Any]]) -> dict[str, list[float]]:
    """Seconds of each in each round; the first fifth warms up."""
    clients = {name: await Client.open(port) for name, (port, _, _) in variants.items()}
    bodies = {name: orjson.dumps(body) for name, (_, _, body) in variants.items()}
    seconds: dict[str, list[float]] = {name: [] for name in variants}
    order = list(variants)
    for number in range(rounds + rounds // 5):
        order.reverse()
        for name in order:
            path = "/graphql" if name == "postgraphile" else variants[name][1]
            begun = time.perf_counter()
            told = await clients[name].post(path, bodies[name])
            seconds[name].append(time.perf_counter() - begun)
            assert b'"errors"' not in told
            if number == 0:
                UUID(_first_id(orjson.loads(told)))  # it is an answer with a row in it
    return {name: found[rounds // 5 :] for name, found in seconds.items()}


def _first_id(told: Any) -> str:
    """The first id in an answer, to see that it is one."""
    if isinstance(told, Mapping):
        named = told.get("id") or told.get("rowId")
        return str(named) if named else _first_id(next(iter(told.values())))
    return _first_id(told[0])
