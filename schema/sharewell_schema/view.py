"""GraphQL over HTTP (https://graphql.github.io/graphql-over-http/draft/), as an ASGI application.

It answers POST, and GET for queries; whoever calls has been authenticated outside and is in `scope["state"]`. What
media type the client takes decides whether a refused query is a 400 or, as older clients expect, a 200 with errors,
and whether the results of a subscription come as server-sent events. WebSockets are left to `sockets`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import aclosing
from functools import partial
from typing import Any

import orjson
from graphql import ExecutionResult, Executor, GraphQLError, OperationType, execute
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send
from strawberry import Schema
from strawberry.execution import optimized_is_awaitable

from sharewell.domain.errors import NotAdmitted, SharewellError, Unavailable
from sharewell.domain.policy import Action, Target
from sharewell.domain.principals import Caller
from sharewell.gateway.middleware import BodyTooLarge
from sharewell.wiring import Services
from sharewell_schema.asked import Asked, Refused, read_asked
from sharewell_schema.context import Context, Progress
from sharewell_schema.counting import MOST_COST
from sharewell_schema.documents import Document, Texts, preparer
from sharewell_schema.errors import INVALID, about_enums, tell, unavailable, with_values
from sharewell_schema.events import EVENTS, EventStream, wants_events
from sharewell_schema.executor import FastExecutor
from sharewell_schema.schema import build_schema
from sharewell_schema.sockets import Socket
from sharewell_schema.streams import Ended, Streams, Told, worked_off

JSON = "application/json"
GRAPHQL = "application/graphql-response+json"
LONGEST_SECONDS = 30.0
API = Target(kind="schema", id="api")


def graphql_app(services: Services, executor: type[Executor[Any]] = FastExecutor) -> ASGIApp:
    """The application. What it needs in `scope["state"]` is put there by the bearer check.

    `caller` of a request, `admission` of whoever follows what happens; of a WebSocket also `admit` and `turn`, see
    `sharewell.gateway.sockets`.
    """
    trusted, office = services.trusted_documents, services.office
    view = View(
        build_schema(), partial(_context, services, issubclass(executor, FastExecutor)), executor,
        texts=Texts(trusted.texts_of, trusted.refused),
        introspect=lambda caller: office.permit(caller, Action.INTROSPECT, API),
        may_introspect=lambda caller: office.may(caller, Action.INTROSPECT, API),
    )  # fmt: skip

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            return await Socket(view.prepared, view.results, scope, receive, send).run()
        response = await view.answer(Request(scope, receive))
        return await response(scope, receive, send)

    return app


def _context(
    services: Services, writes: bool, caller: Caller, document: Document, progress: Progress | None = None
) -> Context:
    return Context(
        caller=caller, services=services, progress=progress, selections=document.selections, writes=writes
    )


class View:
    """One schema, whose resolvers are handed what `context` makes of caller, document and progress."""

    def __init__(
        self, schema: Schema, context: Callable[..., object], executor: type[Executor[Any]] = FastExecutor, *,
        texts: Texts | None = None, introspect: Callable[[Caller], Awaitable[object]] | None = None,
        may_introspect: Callable[[Caller], bool] = lambda _: False,
    ) -> None:  # fmt: skip
        """`texts` finds queries by name; `introspect` raises where a caller may not ask what the schema offers.

        `may_introspect` says the same where nothing was asked of it, so that a refusal is nothing to put on record.
        """
        self._context, self._executor, self._introspect = context, executor, introspect
        self._may_introspect = may_introspect
        self._texts = texts or Texts()
        self._schema = schema._schema  # noqa: SLF001 - graphql-core is asked directly, without strawberry's hooks
        self._prepare = preparer(self._schema)
        self._streams = Streams()

    async def answer(self, request: Request) -> Response:
        """The answer to one HTTP request. Only a broken connection raises."""
        accepts = JSON
        try:
            events = wants_events(request.headers.get("accept", ""))
            accepts = JSON if events else media_type(request.headers.get("accept", ""))
            asked = await read(request)
            caller: Caller = request.scope["state"]["caller"]
            document = await self.prepared(asked, caller)
            if isinstance(document, ExecutionResult):
                # Of an answer that is no stream, clients of events take it that the network failed, and ask again.
                return EventStream(_only(document)) if events else _answer(document, accepts)
            _check_method(request, asked, document, events=events)
            if events:
                progress = Progress(
                    admission=request.scope["state"]["admission"], resume=request.headers.get("last-event-id")
                )
                results = self.results(asked, document, progress)
                # Whoever is answered has no turn any more: what is no stream is worked off before.
                follows = document.follows(asked.operation_name)
                return EventStream(results if follows else await worked_off(results))
            result = await self._run(asked, document, self._context(caller, document))
            return _answer(self._told(result, caller), accepts)
        except Refused as refused:
            body = {"errors": [{"message": str(refused), "extensions": {"code": INVALID, "type": "RequestError"}}]}
            return _response(body, refused.status, accepts, refused.headers)

    async def prepared(self, asked: Asked, caller: Caller) -> Document | ExecutionResult:
        """The document of what `caller` asks for, or what is wrong with it."""
        try:
            document = self._prepare(await self._texts.find(caller, asked.query, asked.name))
            if isinstance(document, Document) and document.introspects and self._introspect is not None:
                await self._introspect(caller)
        except SharewellError as error:
            return ExecutionResult(errors=[GraphQLError(error.message, original_error=error)])
        if not isinstance(document, Document):
            return self._told(ExecutionResult(errors=list(document)), caller)
        operation = document.operations.get(asked.operation_name)
        if operation is not None and (cost := operation.cost(asked.variables or {})) > MOST_COST:
            told = f"The operation may cost {cost}; {MOST_COST} is the most. Ask for shorter pages, or less."
            return ExecutionResult(errors=[GraphQLError(told)])
        return document

    async def results(self, asked: Asked, document: Document, progress: Progress) -> AsyncGenerator[Told, None]:
        """What an operation results in, one after the other; a query in one. Raises `Ended`, see `streams`."""
        try:
            caller = await progress.admission.again()  # a connection outlasts what its first message was permitted
        except NotAdmitted as error:
            raise Ended(error) from None
        except Unavailable as error:
            yield Told(ExecutionResult(errors=[GraphQLError(error.message, original_error=error)]))
            return
        context = self._context(caller, document, progress)
        if not document.follows(asked.operation_name):
            yield Told(self._told(await self._run(asked, document, context), caller))
            return
        executor = self._executor.build(
            self._schema, document.node, context_value=context, raw_variable_values=dict(asked.variables or {}),
            operation_name=asked.operation_name, hide_suggestions=True,
            is_awaitable=optimized_is_awaitable,  # type: ignore[arg-type]  # it tells awaitables apart
        )  # fmt: skip
        if isinstance(executor, list):
            yield Told(self._told(ExecutionResult(errors=executor), caller))
            return
        async with aclosing(self._streams.results(executor)) as results:
            async for result in results:
                yield result

    def _told(self, result: ExecutionResult, caller: Caller) -> ExecutionResult:
        """With the values that would be right, where one was wrong and `caller` may know them."""
        if result.errors and about_enums(result.errors) and self._may_introspect(caller):
            result.errors = with_values(result.errors, self._schema)
        return result

    async def _run(self, asked: Asked, document: Document, context: object) -> ExecutionResult:
        try:
            async with asyncio.timeout(LONGEST_SECONDS):
                if (quick := await self._without_executor(asked, document, context)) is not None:
                    return quick
                result: Any = execute(
                    self._schema, document.node, context_value=context,
                    variable_values=dict(asked.variables or {}), operation_name=asked.operation_name,
                    executor_class=self._executor, hide_suggestions=True,
                    is_awaitable=optimized_is_awaitable,  # type: ignore[arg-type]  # it tells awaitables apart
                )  # fmt: skip
                return result if isinstance(result, ExecutionResult) else await result
        except TimeoutError:
            late = Unavailable(f"the answer took longer than {LONGEST_SECONDS:.0f} seconds; ask for less.")
            return ExecutionResult(errors=[GraphQLError(late.message, original_error=late)])


    async def _without_executor(self, asked: Asked, document: Document, context: object) -> ExecutionResult | None:
        operation = document.operations.get(asked.operation_name)
        if operation is None or operation.express is None or not isinstance(context, Context) or not context.writes:
            return None
        return await operation.express.run(asked.variables or {}, context)


async def _only(result: ExecutionResult) -> AsyncGenerator[Told, None]:
    yield Told(result)


def _check_method(request: Request, asked: Asked, document: Document, *, events: bool) -> None:
    operation = document.operations.get(asked.operation_name)
    kind = None if operation is None else operation.kind
    if request.method == "GET" and kind is OperationType.MUTATION:
        raise Refused(405, "Only a query may be sent by GET; send this operation by POST.", Allow="POST")
    if document.follows(asked.operation_name) and not events:
        raise Refused(406, f"What a subscription tells comes as {EVENTS}, or over a WebSocket; accept the one.")


def media_type(accept: str) -> str:
    """The media type to answer with, by the client's `Accept` (RFC 9110, 12.5.1). Raises `Refused` where none fits."""
    if not accept.strip():
        return JSON
    weights: dict[str, float] = {}
    for part in accept.split(","):
        name, *parameters = (piece.strip().lower() for piece in part.split(";"))
        weights[name] = next((_weight(p[2:]) for p in parameters if p.startswith("q=")), 1.0)
    anything = weights.get("application/*", weights.get("*/*", 0.0))
    ranked = [(weights.get(JSON, anything), JSON), (weights.get(GRAPHQL, anything), GRAPHQL)]
    # Of two that are equally welcome the one that was named wins, then the older one.
    weight, best = max(ranked, key=lambda one: (one[0], one[1] in weights))
    if weight <= 0:
        raise Refused(406, f"Answers are {GRAPHQL} or {JSON}; accept one of them.")
    return best


def _weight(text: str) -> float:
    try:
        return min(1.0, max(0.0, float(text)))
    except ValueError:
        return 0.0


async def read(request: Request) -> Asked:
    """What the request asks for. Raises `Refused` for what is not a GraphQL request."""
    if request.method == "GET":
        values: dict[str, Any] = dict(request.query_params)
        for name in ("variables", "extensions"):
            if name in values:
                values[name] = _json(values[name].encode(), name) if values[name] else None
        return read_asked(values)
    if request.method != "POST":
        raise Refused(405, "Send queries by POST or GET.", Allow="GET, POST")
    kind, _, parameters = request.headers.get("content-type", "").partition(";")
    if kind.strip().lower() != JSON or ("charset" in parameters.lower() and "utf-8" not in parameters.lower()):
        raise Refused(415, f"Send the request as {JSON} in UTF-8.")
    try:
        body = await request.body()
    except BodyTooLarge as beyond:
        raise Refused(beyond.status_code, beyond.detail) from None
    return read_asked(_json(body, "the body"))


def _json(body: bytes, what: str) -> Any:
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise Refused(400, f"{what} is not JSON in UTF-8: {error}.") from None


def _answer(result: ExecutionResult, accepts: str) -> Response:
    errors = result.errors or []
    body: dict[str, Any] = {"errors": tell(errors)} if errors else {}
    # A result without data was never executed: `data` is left out then, as the specification says.
    executed = result.data is not None or any(error.path is not None for error in errors)
    if executed:
        body["data"] = result.data
    if result.extensions:
        body["extensions"] = result.extensions
    if (away := unavailable(errors)) is not None:
        return _response(body, 503, accepts, {"Retry-After": str(away.retry_after_seconds)})
    return _response(body, 200 if executed or accepts == JSON else 400, accepts, {})


def _response(body: Mapping[str, Any], status: int, media: str, headers: Mapping[str, str]) -> Response:
    content = orjson.dumps(body, option=orjson.OPT_UTC_Z)
    return Response(content, status, headers=dict(headers), media_type=f"{media}; charset=utf-8")
