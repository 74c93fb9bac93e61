"""Results as server-sent events, by the distinct connections mode of graphql-sse.

https://github.com/enisdenjo/graphql-sse/blob/master/PROTOCOL.md. The id of an event is the cursor of what it tells, so
whoever connects again with `Last-Event-ID` goes on where it was cut off.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing, suppress
from typing import Any

import orjson
from graphql import ExecutionResult, GraphQLError
from starlette.responses import StreamingResponse
from starlette.types import Message, Send

from sharewell_schema.errors import tell
from sharewell_schema.streams import Ended, Told

EVENTS = "text/event-stream"
STALLED_SECONDS = 60.0  #: for a client to take what it was sent
HEADERS = {"X-Accel-Buffering": "no"}  # nginx would hold events back


def wants_events(accept: str) -> bool:
    """Whether a client asks for events; it names them, and a browser's `*/*` does not."""
    return any(part.partition(";")[0].strip().lower() == EVENTS for part in accept.split(","))


class EventStream(StreamingResponse):
    """The answer that tells `results` as they come; it breaks off where nobody takes them."""

    def __init__(self, results: AsyncGenerator[Told, None]) -> None:
        super().__init__(_events(results), media_type=EVENTS, headers=HEADERS)

    async def stream_response(self, send: Send) -> None:
        async def in_time(message: Message) -> None:
            async with asyncio.timeout(STALLED_SECONDS):
                await send(message)

        with suppress(TimeoutError):
            await super().stream_response(in_time)


def written(result: ExecutionResult) -> dict[str, Any]:
    """A result as a client sees it."""
    errors = result.errors or []
    body: dict[str, Any] = {"errors": tell(errors)} if errors else {}
    if result.data is not None or any(error.path is not None for error in errors):
        body["data"] = result.data
    return body


async def _events(results: AsyncGenerator[Told, None]) -> AsyncGenerator[bytes, None]:
    try:
        async with aclosing(results):
            async for told in results:
                id_ = b"" if told.cursor is None else f"id: {told.cursor}\n".encode()
                yield b":\n" + id_ + b"\n" if told.result is None else id_ + _next(told.result)
    except Ended as ended:
        yield _next(ExecutionResult(errors=[GraphQLError(str(ended), original_error=ended.error)]))
    yield b"event: complete\ndata:\n\n"


def _next(result: ExecutionResult) -> bytes:
    return b"event: next\ndata: " + orjson.dumps(written(result), option=orjson.OPT_UTC_Z) + b"\n\n"
