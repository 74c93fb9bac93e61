"""Runs the front door with uvicorn inside this process, beside whatever else it does, until it is told to stop.

Signals belong to the process, not to uvicorn: uvicorn would raise SIGTERM again after its own shutdown, and nothing
behind it (workers, an embedded database) would get to end in order. `until_signal` is for whoever owns the process.
"""

from __future__ import annotations

import asyncio
import signal
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import structlog
import uvicorn
from starlette.types import ASGIApp

from sharewell.collector import spared
from sharewell.domain.errors import SharewellError
from sharewell.gateway.connections import Connections

GRACE_SECONDS = 10  # for requests that are being answered when the end comes
MAX_MESSAGE = 1024 * 1024  # bytes of one over a WebSocket, as of a request's body

log = structlog.stdlib.get_logger("sharewell.gateway")


class CannotServe(SharewellError):
    """The address cannot be used, or the application did not start; the message says which and why."""


class _Server(uvicorn.Server):
    """uvicorn, leaving signals alone and saying when it is there."""

    def __init__(self, config: uvicorn.Config, ready: asyncio.Event | None, while_up: ExitStack) -> None:
        super().__init__(config)
        self._ready, self._while_up = ready, while_up

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        try:
            await super().startup(sockets)
        except SystemExit:  # uvicorn would take the whole process along
            raise CannotServe("the application did not start; the log says why.") from None
        self._while_up.enter_context(spared())
        if self._ready is not None and self.started:
            self._ready.set()


def bind(host: str, port: int) -> socket.socket:
    """Take an address before anything else starts; port 0 takes a free one. Raises `CannotServe`."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        taken = socket.create_server((host, port), family=family, backlog=1024)
    except OSError as error:
        raise CannotServe(
            f"{host} port {port} cannot be used ({error.strerror}); set SHAREWELL_PORT to another, or 0 for a free one."
        ) from error
    # What is accepted inherits it. asyncio sets it only on sockets that name their protocol, and without it the end of
    # a short answer waits for the client to acknowledge its head, which takes clients 40 ms.
    taken.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return taken


async def serve(
    app: ASGIApp, taken: socket.socket, stop: asyncio.Event, *, ready: asyncio.Event | None = None,
    connections: Connections | None = None,
) -> None:  # fmt: skip
    """Answer requests on `taken` until `stop` is set, then finish those under way. Logging is left as it is.

    `connections` bounds those of one address. `ready` is set once requests are answered. Raises `CannotServe` if the
    application does not start.
    """
    http, websocket = connections.protocols() if connections else ("auto", "websockets-sansio")
    config = uvicorn.Config(
        app,
        http=http,
        log_config=None,  # see sharewell.logs
        access_log=False,  # the application writes its own line
        server_header=False,
        proxy_headers=False,  # addresses are built from the issuer, never from what a request claims
        timeout_graceful_shutdown=GRACE_SECONDS,
        ws=websocket,
        ws_max_size=MAX_MESSAGE,
        ws_per_message_deflate=False,  # a window of memory for each connection, and lengths that tell of what is inside
        lifespan="on",
    )
    while_up = ExitStack()
    server = _Server(config, ready, while_up)
    serving = asyncio.create_task(server.serve(sockets=[taken]))
    stopping = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait([serving, stopping], return_when=asyncio.FIRST_COMPLETED)
        server.should_exit = True
        await serving
    finally:
        stopping.cancel()
        if not serving.done():  # we are being cancelled: end in order all the same
            server.should_exit = True
            await asyncio.wait([serving])
        while_up.close()
        taken.close()


@contextmanager
def until_signal() -> Iterator[asyncio.Event]:
    """An event that SIGTERM and SIGINT set; a second one ends the process at once, as by default."""
    loop, stop = asyncio.get_running_loop(), asyncio.Event()
    signals = (signal.SIGTERM, signal.SIGINT)

    def on_signal(number: signal.Signals) -> None:
        log.info("stopping", signal=number.name)
        stop.set()
        for each in signals:
            loop.remove_signal_handler(each)

    for each in signals:
        loop.add_signal_handler(each, on_signal, each)
    try:
        yield stop
    finally:
        for each in signals:
            loop.remove_signal_handler(each)
