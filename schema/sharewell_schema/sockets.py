"""Operations over a WebSocket, by the protocol graphql-transport-ws.

https://github.com/enisdenjo/graphql-ws/blob/master/PROTOCOL.md. One connection is one token's: where that ends, the
connection is closed with 4403, where this process ends, with 1012; after either a client connects again by itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing, suppress
from typing import Any

import orjson
import structlog
from graphql import ExecutionResult, GraphQLError
from starlette.types import Receive, Scope, Send
from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketState

from sharewell.domain.errors import NotAdmitted, SharewellError, Unavailable
from sharewell.domain.principals import Admission, Caller
from sharewell_schema.asked import Asked, Refused, read_asked
from sharewell_schema.context import Progress
from sharewell_schema.documents import Document
from sharewell_schema.errors import tell
from sharewell_schema.events import written
from sharewell_schema.streams import Ended, Told, worked_off

PROTOCOL = "graphql-transport-ws"
INIT_SECONDS = 10.0  #: in which a connection must say who it is
MOST_OPERATIONS = 32  #: of one connection at a time
LONGEST_ID = 128

BAD_MESSAGE, UNAUTHORISED, FORBIDDEN, TOO_LATE, NO_SUCH_PROTOCOL = 4400, 4401, 4403, 4408, 4406
ID_IN_USE, INIT_TWICE, RESTART, TRY_LATER, CRASHED = 4409, 4429, 1012, 1013, 1011

log = structlog.stdlib.get_logger("sharewell.graphql")

Prepare = Callable[[Asked, Caller], Awaitable[Document | ExecutionResult]]
Results = Callable[[Asked, Document, Progress], AsyncGenerator[Told, None]]


class Close(Exception):
    """The connection must end, with this code."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code


class Socket:
    """One connection. `scope["state"]` is as `sharewell.gateway.sockets` leaves it."""

    def __init__(self, prepare: Prepare, results: Results, scope: Scope, receive: Receive, send: Send) -> None:
        self._prepare, self._results = prepare, results
        self._socket = WebSocket(scope, receive, send)
        self._state = scope["state"]
        self._admission: Admission | None = None
        self._running: dict[str, asyncio.Task[None]] = {}
        self._ended: asyncio.Future[Close] = asyncio.get_running_loop().create_future()

    async def run(self) -> None:
        """Talk until either side ends it."""
        offered = PROTOCOL in self._socket.scope.get("subprotocols", ())
        await self._socket.accept(subprotocol=PROTOCOL if offered else None)
        if not offered:
            return await self._socket.close(NO_SUCH_PROTOCOL, f"Offer the subprotocol {PROTOCOL}.")
        try:
            await self._initialise()
            while True:
                await self._take(await self._message(None))
        except Close as close:
            await self._close(close)
        except WebSocketDisconnect:
            pass
        finally:
            for task in self._running.values():
                task.cancel()
            await asyncio.gather(*self._running.values(), return_exceptions=True)
        return None

    async def _initialise(self) -> None:
        message = await self._message(INIT_SECONDS)
        if message["type"] != "connection_init":
            raise Close(UNAUTHORISED, "Send connection_init first.")
        payload = message.get("payload")
        given = payload.get("authorization") if isinstance(payload, dict) else None
        try:
            self._admission = self._state.get("admission") or await self._state["admit"](str(given or ""))
        except NotAdmitted as refused:
            raise Close(FORBIDDEN, refused.message) from None
        except Unavailable as error:
            raise Close(TRY_LATER, error.message) from None
        self._state["principal"] = self._admission.caller.principal
        await self._send({"type": "connection_ack"})

    async def _message(self, seconds: float | None) -> dict[str, Any]:
        """The next message. Raises `Close` where none comes in time, or none may come any more."""
        receiving: asyncio.Future[Any] = asyncio.ensure_future(self._socket.receive())
        either: set[asyncio.Future[Any]] = {receiving, self._ended}
        try:
            await asyncio.wait(either, timeout=self._patience(seconds), return_when=asyncio.FIRST_COMPLETED)
            if self._ended.done():
                raise self._ended.result()
            if not receiving.done():
                if self._admission is None:
                    raise Close(TOO_LATE, "Connection initialisation timeout")
                raise Close(FORBIDDEN, NotAdmitted().message)
            return _read(receiving.result())
        finally:
            receiving.cancel()

    def _patience(self, seconds: float | None) -> float | None:
        return seconds if self._admission is None else max(0.0, self._admission.left().total_seconds())

    async def _take(self, message: dict[str, Any]) -> None:
        match message["type"]:
            case "ping":
                await self._send({"type": "pong"})
            case "pong":
                pass
            case "subscribe":
                await self._subscribe(message)
            case "complete":
                if (task := self._running.pop(_id(message), None)) is not None:
                    task.cancel()
            case "connection_init":
                raise Close(INIT_TWICE, "Too many initialisation requests")
            case other:
                raise Close(BAD_MESSAGE, f"{str(other)[:40]} is no message that a client sends.")

    async def _subscribe(self, message: dict[str, Any]) -> None:
        name = _id(message)
        if name in self._running:
            raise Close(ID_IN_USE, f"Subscriber for {name} already exists")
        try:
            asked = read_asked(message.get("payload"))
        except Refused as refused:
            raise Close(BAD_MESSAGE, str(refused)) from None
        assert self._admission is not None
        pause = self._admission.take().pause
        if pause or len(self._running) >= MOST_OPERATIONS:
            more = f"go on in {pause} s." if pause else f"a connection has at most {MOST_OPERATIONS} operations."
            error = Unavailable(f"That is more than may be asked for at once; {more}")
            return await self._fail(name, ExecutionResult(errors=[GraphQLError(error.message, original_error=error)]))
        task = asyncio.create_task(self._operate(name, asked, self._admission))
        self._running[name] = task
        task.add_done_callback(lambda done: self._running.pop(name) if self._running.get(name) is done else None)
        return None

    async def _operate(self, name: str, asked: Asked, admission: Admission) -> None:
        """Tell what an operation results in; where that must end the connection, say so to whoever reads it."""
        try:
            await self._tell(name, asked, Progress(admission=admission, resume=None))
        except Ended as ended:
            self._end(FORBIDDEN if isinstance(ended.error, NotAdmitted) else RESTART, ended.error)
        except (WebSocketDisconnect, OSError):
            pass  # the reader of messages hears of it too
        except Exception:
            log.exception("crash", operation=asked.operation_name)
            self._end(CRASHED, Unavailable("Something went wrong here."))

    async def _tell(self, name: str, asked: Asked, progress: Progress) -> None:
        try:
            made = await self._in_turn(asked, progress)
        except Unavailable as error:  # too many wait
            made = ExecutionResult(errors=[GraphQLError(error.message, original_error=error)])
        if isinstance(made, ExecutionResult):
            return await self._fail(name, made)
        async with aclosing(made) as results:
            async for told in results:
                if told.result is None:
                    await self._send({"type": "ping", "payload": {"id": name, "cursor": told.cursor}})
                elif (body := written(told.result)).keys() == {"errors"}:  # it was never executed
                    return await self._fail(name, told.result)
                else:
                    await self._send({"id": name, "type": "next", "payload": body})
        await self._send({"id": name, "type": "complete"})
        return None

    async def _in_turn(self, asked: Asked, progress: Progress) -> AsyncGenerator[Told, None] | ExecutionResult:
        """The results, of which only those of a subscription are still to be worked for; or what was wrong."""
        caller = progress.admission.caller
        async with self._state["turn"](progress.admission.counted_as):
            document = await self._prepare(asked, caller)
            if isinstance(document, ExecutionResult):
                return document
            results = self._results(asked, document, progress)
            return results if document.follows(asked.operation_name) else await worked_off(results)

    async def _fail(self, name: str, result: ExecutionResult) -> None:
        await self._send({"id": name, "type": "error", "payload": tell(result.errors or [])})

    async def _send(self, message: dict[str, Any]) -> None:
        # Text, not the bytes that orjson makes: clients take binary messages for none of the protocol.
        await self._socket.send_text(orjson.dumps(message, option=orjson.OPT_UTC_Z).decode())

    def _end(self, code: int, error: SharewellError) -> None:
        if not self._ended.done():
            self._ended.set_result(Close(code, error.message))

    async def _close(self, close: Close) -> None:
        if self._socket.client_state is not WebSocketState.DISCONNECTED:
            with suppress(WebSocketDisconnect, RuntimeError, OSError):
                # RFC 6455, 5.5: 125 bytes hold the code and the reason.
                await self._socket.close(close.code, str(close).encode()[:120].decode(errors="ignore"))


def _read(message: Any) -> dict[str, Any]:
    if message["type"] == "websocket.disconnect":
        raise WebSocketDisconnect(message.get("code", 1005))
    try:
        read = orjson.loads(message.get("text") or b"")
    except orjson.JSONDecodeError:
        read = None
    if not isinstance(read, dict) or not isinstance(read.get("type"), str):
        raise Close(BAD_MESSAGE, "A message is a JSON object with a type, sent as text.")
    return read


def _id(message: dict[str, Any]) -> str:
    name = message.get("id")
    if not isinstance(name, str) or not 0 < len(name) <= LONGEST_ID:
        raise Close(BAD_MESSAGE, f"id must be a text of 1 to {LONGEST_ID} characters.")
    return name
