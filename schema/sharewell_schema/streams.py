"""Operations whose results come one after the other, whatever they travel over.

A stream asks for its next result only once the last one was taken: a client that reads slowly falls behind in the log,
and nothing is piled up for it. It ends with its token, with its registration, or with this process; the client goes on
elsewhere from the last cursor it has.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import aclosing, contextmanager, suppress
from time import monotonic
from typing import Any, NamedTuple

from graphql import ExecutionResult, Executor, GraphQLError, execute_subscription_event
from graphql.execution import create_source_event_stream

from sharewell.domain.errors import NotAdmitted, Unavailable
from sharewell_schema.context import Context, Progress

HEARTBEAT_SECONDS = 15.0  #: proxies close what is silent for longer, mostly a minute
LONGEST_SECONDS = 3600.0  #: that one stream lasts, however long its token does
MOST_OF_CALLER = 32  #: streams of one principal in one process
MOST_TOGETHER = 250  #: of all whom one program of an external issuer brings
MOST_OF_PROCESS = 2_000


class TooManyStreams(Unavailable):
    """There are as many streams as one client, or this process, may have; end some first."""


class Ended(Exception):
    """The stream is over, though what it follows goes on."""

    def __init__(self, error: NotAdmitted | Unavailable) -> None:
        super().__init__(error.message)
        self.error = error


class Told(NamedTuple):
    """One result, and the cursor of what it tells."""

    result: ExecutionResult | None  #: None: nothing happened; this is how far the stream has come
    cursor: str | None = None  #: None: of an operation that is over with its one result


async def worked_off(results: AsyncGenerator[Told, None]) -> AsyncGenerator[Told, None]:
    """`results` of an operation that is no subscription, all of which are there when this returns."""
    made: list[Told] = []
    ended: Ended | None = None
    try:
        async with aclosing(results):
            made = [told async for told in results]
    except Ended as error:
        ended = error
    return _again(made, ended)


async def _again(made: Sequence[Told], ended: Ended | None) -> AsyncGenerator[Told, None]:
    for told in made:
        yield told
    if ended is not None:
        raise ended


class Room:
    """How many streams there may be."""

    def __init__(self) -> None:
        self._taken, self._together = Counter[str](), Counter[str]()

    @contextmanager
    def take(self, principal: str, counted_as: str) -> Iterator[None]:
        """Take up room for the length of a block. Raises `TooManyStreams`."""
        full = self._taken[principal] >= MOST_OF_CALLER or self._together[counted_as] >= MOST_TOGETHER
        if full or self._taken.total() >= MOST_OF_PROCESS:
            raise TooManyStreams(retry_after_seconds=30)
        self._taken[principal] += 1
        self._together[counted_as] += 1
        try:
            yield
        finally:
            for counted, name in ((self._taken, principal), (self._together, counted_as)):
                counted[name] -= 1
                if not counted[name]:
                    del counted[name]


class Streams:
    """Every stream of one process."""

    def __init__(self) -> None:
        self._room = Room()
        self._ending: set[asyncio.Future[None]] = set()

    async def results(self, executor: Executor[Any]) -> AsyncGenerator[Told, None]:
        """What the operation, a subscription, results in. Raises `Ended`. Who stops early closes the iterator."""
        context: Context = executor.context_value
        assert context.progress is not None
        try:
            with self._room.take(context.caller.principal, context.progress.admission.counted_as):
                async with aclosing(self._told(executor, context, context.progress)) as results:
                    async for told in results:
                        yield told
        except NotAdmitted as error:
            raise Ended(error) from None
        except Ended:
            raise
        except Exception as error:  # noqa: BLE001 - told as any other that a resolver raises
            yield Told(ExecutionResult(errors=[_located(executor, error)]))

    async def _told(self, executor: Executor[Any], context: Context, progress: Progress) -> AsyncGenerator[Told, None]:
        source: Any = create_source_event_stream(executor)
        source = await source if executor.is_awaitable(source) else source
        if isinstance(source, ExecutionResult):
            raise (source.errors or [GraphQLError("There is nothing to follow.")])[0]
        closing = asyncio.ensure_future(context.services.happenings.closing.wait())
        coming, ends = asyncio.ensure_future(_next(executor, source, progress)), monotonic() + LONGEST_SECONDS
        try:
            while True:
                left = min(_left(progress), ends - monotonic(), HEARTBEAT_SECONDS)
                await asyncio.wait({coming, closing}, timeout=max(left, 0), return_when=asyncio.FIRST_COMPLETED)
                if closing.done() or monotonic() >= ends:
                    raise Ended(Unavailable("This stream ends here; connect again, and go on from your last cursor."))
                if coming.done():
                    yield coming.result()
                    coming = asyncio.ensure_future(_next(executor, source, progress))
                else:
                    with suppress(Unavailable):  # the database is away, and nothing is told meanwhile
                        await progress.admission.again()  # who is told nothing must be let in as well
                    yield Told(None, progress.cursor)
        finally:
            closing.cancel()
            coming.cancel()
            # Whoever stops waiting here, the source ends in order: it may be in the middle of a transaction.
            ending = asyncio.ensure_future(_end(coming, source))
            self._ending.add(ending)
            ending.add_done_callback(self._ending.discard)
            await asyncio.shield(ending)


async def _next(executor: Executor[Any], source: AsyncGenerator[Any, None], progress: Progress) -> Told:
    step = await anext(source)
    if step.event is None:
        return Told(None, progress.cursor)
    one = executor.build_per_event_executor(step.event)
    one.context_value = step.context
    result: Any = execute_subscription_event(one)
    return Told(result if isinstance(result, ExecutionResult) else await result, step.event.cursor)


async def _end(coming: asyncio.Future[Told], source: AsyncGenerator[Any, None]) -> None:
    await asyncio.gather(coming, return_exceptions=True)
    await source.aclose()


def _left(progress: Progress) -> float:
    """Seconds until the token ends. Raises `NotAdmitted` where that is now."""
    left = progress.admission.left().total_seconds()
    if left <= 0:
        raise NotAdmitted
    return left


def _located(executor: Executor[Any], error: Exception) -> GraphQLError:
    if isinstance(error, GraphQLError):
        return error
    return GraphQLError(str(error), nodes=list(executor.operation.selection_set.selections), original_error=error)
