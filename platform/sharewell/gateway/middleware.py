"""What every request passes: an id, a line in the log and a figure, safe headers, a mask over crashes, a limit.

Pure ASGI, so that a streamed answer stays one. The order is in `app`. Nothing here knows what a request is about.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from functools import cache
from http import HTTPStatus

import structlog
from prometheus_client import CollectorRegistry, Counter, Histogram
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uuid_utils.compat import uuid7

from sharewell.domain.errors import Conflict, Forbidden, Invalid, NotFound, SharewellError, Unavailable
from sharewell.gateway.answers import Answer

MAX_BODY = 1024 * 1024
LONGEST_LENGTH = 15  #: digits of a length that is worth reading
MAX_HEADERS = 16 * 1024
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
PROBES = frozenset({"/healthz", "/readyz", "/metrics"})
_REQUEST_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{7,63}")
_STATUS = {Invalid: 400, Forbidden: 403, NotFound: 404, Conflict: 409, Unavailable: 503}

log = structlog.stdlib.get_logger("sharewell.gateway")


class RequestId:
    """Gives each request an id, or takes a well-formed one along, and says it in logs and answer."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            return await self.app(scope, receive, send)
        given = Headers(scope=scope).get("x-request-id", "")
        request_id = given if _REQUEST_ID.fullmatch(given) else str(uuid7())
        scope.setdefault("state", {})["request_id"] = request_id

        async def say(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], (b"x-request-id", request_id.encode())]
            await send(message)

        with structlog.contextvars.bound_contextvars(request_id=request_id):
            await self.app(scope, receive, say)
        return None


@cache
def _figures(registry: CollectorRegistry) -> tuple[Histogram, Counter]:
    """A registry takes each figure once, however many applications a process builds."""
    labels = ("method", "route", "status")
    return (
        Histogram("sharewell_http_request_seconds", "Time to answer a request.", labels, registry=registry),
        Counter("sharewell_http_crashes", "Requests that ended in a masked crash.", registry=registry),
    )


class Watch:
    """One line in the log and one observation for each request, labelled by route: paths are without bounds.

    How long a stream lasts is that of a visit, not of work: it has its line, and is no figure.
    """

    def __init__(
        self, app: ASGIApp, registry: CollectorRegistry, clock: Callable[[], float] = time.perf_counter
    ) -> None:
        self.app, self._clock = app, clock
        self._seconds, self._crashes = _figures(registry)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            return await self.app(scope, receive, send)
        begun, status, streams = self._clock(), 500, False

        async def look(message: Message) -> None:
            nonlocal status, streams
            if message["type"] == "http.response.start":
                status = message["status"]
                streams = Headers(raw=message["headers"]).get("content-type", "").startswith("text/event-stream")
            await send(message)

        try:
            await self.app(scope, receive, look)
        finally:
            # What an answer was held back for is no work of ours.
            seconds = self._clock() - begun - scope.get("state", {}).get("braked", 0.0)
            if scope["type"] == "websocket" or streams:
                client = scope.get("state", {}).get("principal")
                log.info("stream", path=scope["path"], seconds=round(seconds, 1), client=client)
            else:
                self._note(scope, status, seconds)

    def _note(self, scope: Scope, status: int, seconds: float) -> None:
        method = scope["method"] if scope["method"] in METHODS else "OTHER"
        route = getattr(scope.get("route"), "path", "unknown")
        self._seconds.labels(method, route, str(status)).observe(seconds)
        if status == HTTPStatus.INTERNAL_SERVER_ERROR:
            self._crashes.inc()
        if "braked" in scope.get("state", {}):
            return  # the brake counts these in a line of its own
        # Probes come every few seconds and say nothing as long as they are answered well.
        tell = log.debug if route in PROBES and status == HTTPStatus.OK else log.info
        # The path only: a query string may hold what somebody should not have put there.
        tell(
            "request", method=method, path=scope["path"], status=status, milliseconds=round(seconds * 1000, 1),
            client=scope.get("state", {}).get("principal"),
        )  # fmt: skip


class SafeHeaders:
    """Headers that keep a browser from guessing, framing, caching or leaking; an application may set its own."""

    def __init__(self, app: ASGIApp, *, https: bool) -> None:
        self.app = app
        self._headers = [
            (b"cache-control", b"no-store"),
            (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
            (b"referrer-policy", b"no-referrer"),
            (b"x-content-type-options", b"nosniff"),
            (b"x-frame-options", b"DENY"),
            *([(b"strict-transport-security", b"max-age=31536000")] if https else []),
        ]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def add(message: Message) -> None:
            if message["type"] == "http.response.start":
                own = {name.lower() for name, _ in message["headers"]}
                message["headers"] = [*message["headers"], *(each for each in self._headers if each[0] not in own)]
            await send(message)

        await self.app(scope, receive, add)


class CrashMask:
    """Nothing of a crash leaves the house but its id; a database that is away becomes a 503 with a hint."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        started = False

        async def look(message: Message) -> None:
            nonlocal started
            started = started or message["type"] == "http.response.start"
            await send(message)

        try:
            await self.app(scope, receive, look)
        except Exception as error:
            if started:  # too late for an answer: break the connection rather than end it as if all were well
                log.exception("crash after the answer began")
                raise
            await _answer_to(error, scope["state"]["request_id"])(scope, receive, send)


def _answer_to(error: Exception, request_id: str) -> Answer:
    if isinstance(error, SharewellError):
        status = next((_STATUS[kind] for kind in type(error).__mro__ if kind in _STATUS), 500)
        if isinstance(error, Unavailable):
            log.warning("unavailable", why=str(error.__cause__ or error))
            retry = {"Retry-After": str(error.retry_after_seconds)}
            return Answer(status, error.code, error.message, headers=retry)
        return Answer(status, error.code, error.message, field=error.field)
    if isinstance(error, ClientDisconnect):  # nobody hears this; it keeps the figures of crashes true
        return Answer(400, "INVALID", "The request broke off.")
    log.error("crash", exc_info=error)
    return Answer(500, "INTERNAL", "Something went wrong here. Tell the operator this id.", id=request_id)


class HeaderLimit:
    """Refuses headers larger than any of ours; the server in front sets no bound of its own."""

    def __init__(self, app: ASGIApp, *, most: int = MAX_HEADERS) -> None:
        self.app, self._most = app, most

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "lifespan" and sum(len(name) + len(value) for name, value in scope["headers"]) > self._most:
            return await Answer(431, "INVALID", "The headers are too large.")(scope, receive, send)
        return await self.app(scope, receive, send)


class BodyTooLarge(HTTPException):
    """The body is larger than any of ours; whoever reads it says so in the form of its own answers."""

    def __init__(self) -> None:
        super().__init__(413, "The body is too large; a request may have 1 MiB.")


class BodyLimit:
    """Has whoever reads a body larger than any of ours meet `BodyTooLarge`: at once where its length was said."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        said, taken = Headers(scope=scope).get("content-length", ""), 0
        if said.isdecimal() and (len(said) > LONGEST_LENGTH or int(said) > MAX_BODY):
            taken = MAX_BODY + 1

        async def read() -> Message:
            nonlocal taken
            if taken > MAX_BODY:
                raise BodyTooLarge
            message = await receive()
            taken += len(message.get("body", b""))
            if taken > MAX_BODY:
                raise BodyTooLarge
            return message

        return await self.app(scope, read, send)
