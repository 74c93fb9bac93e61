"""GraphQL over HTTP (https://graphql.github.io/graphql-over-http/draft/), as an ASGI application.

It answers POST, and GET for queries; whoever calls has been authenticated outside and is in `scope["state"]`. What
media type the client takes decides whether a refused query is a 400 or, as older clients expect, a 200 with errors.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

import orjson
from graphql import ExecutionResult, Executor, GraphQLError, OperationType, execute, get_operation_ast
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send
from strawberry import Schema
from strawberry.execution import optimized_is_awaitable

from sharewell.domain.errors import SharewellError, Unavailable
from sharewell.domain.policy import Action, Target
from sharewell.domain.principals import Caller
from sharewell.wiring import Services
from sharewell_schema.context import Context
from sharewell_schema.counting import MOST_COST
from sharewell_schema.documents import Document, Texts, preparer
from sharewell_schema.errors import INVALID, tell, unavailable
from sharewell_schema.executor import FastExecutor
from sharewell_schema.schema import build_schema

JSON = "application/json"
GRAPHQL = "application/graphql-response+json"
LONGEST_SECONDS = 30.0


class Refused(Exception):
    """The request is none that GraphQL could answer."""

    def __init__(self, status: int, message: str, **headers: str) -> None:
        super().__init__(message)
        self.status, self.headers = status, headers


@dataclass(frozen=True, slots=True)
class Asked:
    """What a request asks for."""

    query: str | None
    name: str | None  #: SHA-256 of the query, by which it may be sent; one of the two is there
    variables: Mapping[str, Any] | None
    operation_name: str | None


def graphql_app(services: Services, executor: type[Executor[Any]] = FastExecutor) -> ASGIApp:
    """The application. Its caller must be in `scope["state"]["caller"]`, put there by the bearer check."""
    trusted, office = services.trusted_documents, services.office
    view = View(
        build_schema(), lambda caller: Context(caller=caller, services=services), executor,
        texts=Texts(trusted.texts_of, trusted.refused),
        introspect=lambda caller: office.permit(caller, Action.INTROSPECT, Target(kind="schema", id="api")),
    )  # fmt: skip

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        response = await view.answer(Request(scope, receive))
        await response(scope, receive, send)

    return app


class View:
    """One schema, whose resolvers are handed what `context` makes of the caller."""

    def __init__(
        self, schema: Schema, context: Callable[[Caller], object], executor: type[Executor[Any]] = FastExecutor, *,
        texts: Texts | None = None, introspect: Callable[[Caller], Awaitable[object]] | None = None,
    ) -> None:  # fmt: skip
        """`texts` finds queries by name; `introspect` raises where a caller may not ask what the schema offers."""
        self._context, self._executor, self._introspect = context, executor, introspect
        self._texts = texts or Texts()
        self._schema = schema._schema  # noqa: SLF001 - graphql-core is asked directly, without strawberry's hooks
        self._prepare = preparer(self._schema)

    async def answer(self, request: Request) -> Response:
        """The answer to one HTTP request. Only a broken connection raises."""
        accepts = JSON
        try:
            accepts = media_type(request.headers.get("accept", ""))
            asked = await read(request)
            result = await self._run(request, asked)
        except Refused as refused:
            body = {"errors": [{"message": str(refused), "extensions": {"code": INVALID, "type": "RequestError"}}]}
            return _response(body, refused.status, accepts, refused.headers)
        return _answer(result, accepts)

    async def _run(self, request: Request, asked: Asked) -> ExecutionResult:
        caller: Caller = request.scope["state"]["caller"]
        try:
            document = self._prepare(await self._texts.find(caller, asked.query, asked.name))
            if isinstance(document, Document) and document.introspects and self._introspect is not None:
                await self._introspect(caller)
        except SharewellError as error:
            return ExecutionResult(errors=[GraphQLError(error.message, original_error=error)])
        if not isinstance(document, Document):
            return ExecutionResult(errors=list(document))
        operation = get_operation_ast(document.node, asked.operation_name)
        if request.method == "GET" and operation is not None and operation.operation is not OperationType.QUERY:
            raise Refused(405, "Only a query may be sent by GET; send this operation by POST.", Allow="POST")
        if operation is not None and (cost := document.costs[operation](asked.variables or {})) > MOST_COST:
            told = f"The operation may cost {cost}; {MOST_COST} is the most. Ask for shorter pages, or less."
            return ExecutionResult(errors=[GraphQLError(told)])
        try:
            async with asyncio.timeout(LONGEST_SECONDS):
                result: Any = execute(
                    self._schema, document.node, context_value=self._context(caller),
                    variable_values=dict(asked.variables or {}), operation_name=asked.operation_name,
                    executor_class=self._executor, hide_suggestions=True,
                    is_awaitable=optimized_is_awaitable,  # type: ignore[arg-type]  # it tells awaitables apart
                )  # fmt: skip
                return result if isinstance(result, ExecutionResult) else await result
        except TimeoutError:
            late = Unavailable(f"the answer took longer than {LONGEST_SECONDS:.0f} seconds; ask for less.")
            return ExecutionResult(errors=[GraphQLError(late.message, original_error=late)])


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
        return _asked(values)
    if request.method != "POST":
        raise Refused(405, "Send queries by POST or GET.", Allow="GET, POST")
    kind, _, parameters = request.headers.get("content-type", "").partition(";")
    if kind.strip().lower() != JSON or ("charset" in parameters.lower() and "utf-8" not in parameters.lower()):
        raise Refused(415, f"Send the request as {JSON} in UTF-8.")
    return _asked(_json(await request.body(), "the body"))


def _json(body: bytes, what: str) -> Any:
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise Refused(400, f"{what} is not JSON in UTF-8: {error}.") from None


def _asked(values: Any) -> Asked:
    if not isinstance(values, dict):
        raise Refused(400, 'Send one object such as {"query": "{ me { clientId } }"}; batches are not taken.')
    query, variables, name = values.get("query"), values.get("variables"), values.get("operationName")
    if variables is not None and not isinstance(variables, dict):
        raise Refused(400, "variables must be an object.")
    if name is not None and not isinstance(name, str):
        raise Refused(400, "operationName must be a text.")
    if values.get("extensions") is not None and not isinstance(values["extensions"], dict):
        raise Refused(400, "extensions must be an object.")
    sha256 = _sha256(values)
    if (query is not None or sha256 is None) and (not isinstance(query, str) or not query):
        raise Refused(400, "query must be a text.")
    return Asked(query, sha256, variables, name or None)


def _sha256(values: Mapping[str, Any]) -> str | None:
    """The name a query is sent by: `documentId` of GraphQL over HTTP, or `persistedQuery` of Apollo's clients."""
    given, persisted = values.get("documentId"), (values.get("extensions") or {}).get("persistedQuery")
    if given is None and persisted is None:
        return None
    if persisted is not None and not isinstance(persisted, dict):
        raise Refused(400, "extensions.persistedQuery must be an object.")
    name = str(given).removeprefix("sha256:") if given is not None else str(persisted.get("sha256Hash"))
    if not re.fullmatch("[0-9a-f]{64}", name):
        field = "documentId" if given is not None else "extensions.persistedQuery.sha256Hash"
        raise Refused(400, f"{field} must be the SHA-256 of the query, 64 hex digits in lower case.")
    return name


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
