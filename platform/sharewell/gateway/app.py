"""Puts the front door together: routes, and what every request passes on its way to them.

The GraphQL application and further routes (tiles, console) are handed in; nothing here knows their inside.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from importlib.resources.abc import Traversable
from time import monotonic
from typing import Any

from prometheus_client import CollectorRegistry
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.body_limit import RequestBodyLimitMiddleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route, WebSocketRoute
from starlette.types import ASGIApp

from sharewell.gateway.answers import Answer
from sharewell.gateway.bearer import Bearer, Issuer, RequireBearer
from sharewell.gateway.directory import CalledBack, Directory
from sharewell.gateway.health import Health
from sharewell.gateway.middleware import MAX_BODY, CrashMask, HeaderLimit, RequestId, SafeHeaders, Watch
from sharewell.gateway.oauth.authorize import Authorization
from sharewell.gateway.oauth.client_keys import ClientKeys
from sharewell.gateway.oauth.egress import Egress
from sharewell.gateway.oauth.issuers import TYPES, External, keys_of
from sharewell.gateway.oauth.keys import SigningKeys
from sharewell.gateway.oauth.metadata import (
    AUTHORIZE_PATH,
    INTROSPECTION_PATH,
    KEYS_PATH,
    PUSH_PATH,
    REVOCATION_PATH,
    SMART_WELL_KNOWN,
    TOKEN_PATH,
    metadata_paths,
    server_metadata,
    smart_configuration,
)
from sharewell.gateway.oauth.pages import CONSENT_PATH, ENROL_PATH, SIGN_IN_PATH
from sharewell.gateway.oauth.server import Authority, TokenServer
from sharewell.gateway.rates import Buckets
from sharewell.gateway.sockets import GuardSocket
from sharewell.services.access import AccessService
from sharewell.services.clients import ClientService
from sharewell.services.grants import GrantService
from sharewell.services.people import PersonService
from sharewell.store.database import Database

PUBLIC = {"Cache-Control": "public, max-age=300"}
_CODES = {404: "NOT_FOUND", 405: "METHOD_NOT_ALLOWED"}


def machine_time() -> datetime:
    """The time of this machine, in UTC."""
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What the front door is built from."""

    issuer: str  #: our base URL as clients see it; also the audience of access tokens
    keys: SigningKeys
    database: Database
    clients: ClientService
    people: PersonService
    grants: GrantService
    access: AccessService
    migrations: Traversable  #: SQL files of this release, to tell whether the database has them all
    now: Callable[[], datetime] = machine_time  #: even where a replay lives in the past, tokens are about today
    token_life: timedelta = timedelta(minutes=5)
    externals: Sequence[External] = ()  #: whose tokens are taken beside our own
    egress: Egress = field(default_factory=lambda: Egress(()))  #: where keys of clients may be fetched from
    allowed_origins: Collection[str] = ()  #: of pages in browsers that may call from scripts, or open a WebSocket
    registry: CollectorRegistry = field(default_factory=CollectorRegistry)
    fault: Callable[[], str | None] = lambda: None  #: why this process cannot work, if it cannot


def build_app(
    parts: Parts,
    graphql_app: ASGIApp,
    *,
    more_routes: Callable[[Bearer], Sequence[BaseRoute]] = lambda _: (),
    lifespan: Callable[[Starlette], AbstractAsyncContextManager[None]] | None = None,
) -> Starlette:
    """The whole HTTP application.

    `graphql_app` takes requests and WebSockets; it finds its `Caller` in `scope["state"]["caller"]`, and what lasts
    longer in `scope["state"]["admission"]`, see `sockets`. `more_routes` get the check of access tokens.

    Raises ValueError if `issuer` cannot be one (plain http is for this machine only).
    """
    server_metadata(parts.issuer)
    called_back = CalledBack(parts.grants.called_back, parts.now)
    check = _bearer(parts, called_back)
    health = Health(parts.database, parts.migrations, parts.registry, parts.fault)
    return Starlette(
        routes=[
            Route("/graphql", RequireBearer(graphql_app, check), methods=["GET", "POST"]),
            WebSocketRoute("/graphql", GuardSocket(graphql_app, check, parts.allowed_origins)),
            *_oauth_routes(parts, called_back),
            Route("/healthz", health.alive),
            Route("/readyz", health.ready),
            Route("/metrics", health.metrics),
            *more_routes(check),
        ],
        # Outermost first: the id is there for the log line, and the mask lies inside both.
        middleware=[
            Middleware(RequestId),
            Middleware(Watch, registry=parts.registry),
            Middleware(SafeHeaders, https=parts.issuer.startswith("https:")),
            _cross_origin(parts.allowed_origins),
            Middleware(CrashMask),
            Middleware(HeaderLimit),
            Middleware(RequestBodyLimitMiddleware, max_body_size=MAX_BODY),
        ],
        exception_handlers={HTTPException: _plain},
        lifespan=lifespan,
    )


def _cross_origin(allowed: Collection[str]) -> Middleware:
    """Lets pages of the allowed origins read answers. Cookies never count, so none are let through."""
    return Middleware(
        CORSMiddleware, allow_origins=tuple(allowed), allow_methods=("GET", "POST"), max_age=600,
        allow_headers=("Authorization", "Content-Type", "DPoP", "X-Request-Id"),
        expose_headers=("DPoP-Nonce", "RateLimit", "RateLimit-Policy", "Retry-After", "WWW-Authenticate",
                        "X-Request-Id"),
    )  # fmt: skip


def _bearer(parts: Parts, called_back: CalledBack) -> Bearer:
    """The check of access tokens."""
    ours = Issuer(name=parts.issuer, audience=parts.issuer, keys=parts.keys)
    return Bearer(
        issuers=[ours, *(_issuer(entry, parts.now) for entry in parts.externals)],
        clients=Directory(parts.clients.find, parts.now),
        people=Directory(parts.people.find, parts.now),
        called_back=called_back,
        burn_proof=parts.grants.burn_proof,
        base_url=parts.issuer,
        buckets=Buckets(monotonic),
        refused=parts.access.refused,
        now=parts.now,
    )


def _issuer(entry: External, now: Callable[[], datetime]) -> Issuer:
    return Issuer(
        name=entry.issuer, audience=entry.audience, keys=keys_of(entry, now), algorithms=entry.algorithms,
        types=TYPES[entry.shape], external=entry,
    )  # fmt: skip


def _oauth_routes(parts: Parts, called_back: CalledBack) -> list[Route]:
    authority = Authority(
        issuer=parts.issuer,
        audience=parts.issuer,
        keys=parts.keys,
        clients=parts.clients,
        grants=parts.grants,
        person=parts.people.find,
        keys_at=ClientKeys(parts.egress, parts.now).find,
        called_back=called_back,
        refused=parts.access.refused,
        now=parts.now,
        life=parts.token_life,
    )
    tokens, people = TokenServer(authority), Authorization(authority, parts.people)
    metadata = _document(partial(server_metadata, parts.issuer))
    return [
        Route(TOKEN_PATH, tokens.token, methods=["POST"]),
        Route(PUSH_PATH, tokens.push, methods=["POST"]),
        Route(REVOCATION_PATH, tokens.revoke, methods=["POST"]),
        Route(INTROSPECTION_PATH, tokens.introspect, methods=["POST"]),
        Route(AUTHORIZE_PATH, people.authorize, methods=["GET"]),
        Route(SIGN_IN_PATH, people.sign_in, methods=["POST"]),
        Route(CONSENT_PATH, people.consent, methods=["POST"]),
        Route(ENROL_PATH, people.invitation, methods=["GET"]),
        Route(ENROL_PATH, people.enrol, methods=["POST"]),
        Route(KEYS_PATH, _document(parts.keys.public)),
        Route(SMART_WELL_KNOWN, _document(partial(smart_configuration, parts.issuer))),
        *(Route(path, metadata) for path in metadata_paths(parts.issuer)),
    ]


def _document(make: Callable[[], Mapping[str, Any]]) -> Callable[[Request], Awaitable[Response]]:
    """An endpoint that answers everybody with the same document."""

    async def answer(request: Request) -> Response:  # noqa: ARG001 - an endpoint's signature
        return JSONResponse(make(), headers=PUBLIC)

    return answer


async def _plain(request: Request, error: Exception) -> Response:  # noqa: ARG001 - Starlette's signature
    assert isinstance(error, HTTPException)
    code = _CODES.get(error.status_code, "INVALID")
    return Answer(error.status_code, code, error.detail, headers=error.headers)
