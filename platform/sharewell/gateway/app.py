"""Puts the front door together: routes, and what every request passes on its way to them.

The GraphQL application and further routes (tiles, console) are handed in; nothing here knows their inside.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from http import HTTPStatus
from importlib.resources.abc import Traversable
from time import monotonic
from typing import Any

from prometheus_client import CollectorRegistry
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route, WebSocketRoute
from starlette.types import ASGIApp

from sharewell.domain.rates import Allowance, Rate
from sharewell.gateway.access_tokens import Issuer
from sharewell.gateway.answers import Answer
from sharewell.gateway.bearer import Bearer, RequireBearer
from sharewell.gateway.brake import Brake, Braked
from sharewell.gateway.directory import CalledBack, Directory
from sharewell.gateway.health import Health
from sharewell.gateway.in_turn import Pace
from sharewell.gateway.middleware import BodyLimit, CrashMask, HeaderLimit, RequestId, SafeHeaders, Watch
from sharewell.gateway.oauth.account import AccountPages
from sharewell.gateway.oauth.account_pages import ADD_PATH, CHANGE_PATH, KEY_PATH, REMOVE_PATH
from sharewell.gateway.oauth.authorize import Authorization
from sharewell.gateway.oauth.client_keys import ClientKeys
from sharewell.gateway.oauth.egress import Egress
from sharewell.gateway.oauth.forms import too_many
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
    WELL_KNOWN,
    metadata_paths,
    server_metadata,
    smart_configuration,
)
from sharewell.gateway.oauth.nonces import Nonces
from sharewell.gateway.oauth.pages import (
    ACCOUNT_PATH,
    CONSENT_PATH,
    ENROL_PATH,
    PASSWORD_PATH,
    SCRIPT_PATH,
    SIGN_IN_PATH,
    too_many_page,
)
from sharewell.gateway.oauth.server import Authority, TokenServer
from sharewell.gateway.proxies import Network, PeerAddress
from sharewell.gateway.rates import KNOCKS, Buckets, Knock
from sharewell.gateway.refusals import Refusals
from sharewell.gateway.sockets import GuardSocket
from sharewell.gateway.turns import Bounds
from sharewell.services.access import AccessService
from sharewell.services.clients import ClientService
from sharewell.services.grants import GrantService
from sharewell.services.people import PersonService
from sharewell.settings import TURNS
from sharewell.store.database import Database

Endpoint = Callable[[Request], Awaitable[Response]]
PUBLIC = {"Cache-Control": "public, max-age=300"}
NOWHERE = (
    f"There is nothing here. GraphQL is at /graphql, {WELL_KNOWN} says where to get a token, and docs/api.md of the "
    "release tells how to begin."
)
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
    dpop_nonces: bool = False  #: whether proofs of possession must hold a nonce of ours (RFC 9449, 8)
    knocks: Mapping[str, Rate] = field(default_factory=lambda: KNOCKS)
    proxies: Sequence[Network] = ()  #: addresses of proxies of ours, whose word on where a request comes from counts
    forwarded_header: str = "x-forwarded-for"  #: the one header they say it in
    turns: Bounds = field(default_factory=lambda: Bounds(**TURNS))  #: of requests that are worked on and wait
    brake_seconds: float = 1.0  #: that answers of status 429 are held back, to whoever goes on; 0: they are not


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
    knocks = Buckets(monotonic, parts.knocks)
    refusals = Refusals(
        record=parts.access.refused, record_beyond=parts.access.beyond, buckets=knocks, registry=parts.registry,
        now=parts.now,
    )  # fmt: skip
    check = _bearer(parts, called_back, refusals)
    brake = Brake(parts.registry, seconds=parts.brake_seconds)
    health = Health(parts.database, parts.migrations, parts.registry, parts.fault)
    return Starlette(
        routes=[
            Route("/graphql", RequireBearer(graphql_app, check), methods=["GET", "POST"]),
            WebSocketRoute("/graphql", GuardSocket(graphql_app, check, parts.allowed_origins)),
            *_oauth_routes(parts, called_back, refusals, knocks),
            Route("/healthz", health.alive),
            Route("/readyz", health.ready),
            Route("/metrics", health.metrics),
            *more_routes(check),
        ],
        # Outermost first: the id is there for the log line, and the mask lies inside both.
        middleware=[
            Middleware(RequestId),
            Middleware(PeerAddress, proxies=parts.proxies, header=parts.forwarded_header),
            Middleware(Braked, brake=brake),
            Middleware(Watch, registry=parts.registry),
            Middleware(SafeHeaders, https=parts.issuer.startswith("https:")),
            _cross_origin(parts.allowed_origins),
            Middleware(CrashMask),
            Middleware(HeaderLimit),
            Middleware(BodyLimit),
        ],
        exception_handlers={HTTPException: _plain},
        lifespan=_ending(refusals, brake, lifespan),
    )


def _ending(
    refusals: Refusals, brake: Brake, inner: Callable[[Starlette], AbstractAsyncContextManager[None]] | None
) -> Callable[[Starlette], AbstractAsyncContextManager[None]]:
    """What was counted and not recorded yet is recorded before the process ends."""

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        async with nullcontext() if inner is None else inner(app):
            try:
                yield
            finally:
                brake.tell()
                await refusals.close()

    return lifespan


def _cross_origin(allowed: Collection[str]) -> Middleware:
    """Lets pages of the allowed origins read answers. Cookies never count, so none are let through."""
    return Middleware(
        CORSMiddleware, allow_origins=tuple(allowed), allow_methods=("GET", "POST"), max_age=600,
        allow_headers=("Authorization", "Content-Type", "DPoP", "X-Request-Id"),
        expose_headers=("DPoP-Nonce", "RateLimit", "RateLimit-Policy", "Retry-After", "WWW-Authenticate",
                        "X-Request-Id"),
    )  # fmt: skip


def _bearer(parts: Parts, called_back: CalledBack, refusals: Refusals) -> Bearer:
    """The check of access tokens."""
    ours = Issuer(name=parts.issuer, audience=parts.issuer, keys=parts.keys)
    return Bearer(
        issuers=[ours, *(_issuer(entry, parts.now) for entry in parts.externals)],
        clients=Directory(parts.clients.find, parts.now),
        people=Directory(parts.people.find, parts.now),
        called_back=called_back,
        burn_proof=parts.grants.burn_proof,
        base_url=parts.issuer,
        nonces=_nonces(parts),
        buckets=Buckets(monotonic),
        pace=Pace(parts.turns, parts.registry),
        refused=refusals.note,
        now=parts.now,
    )


def _nonces(parts: Parts) -> Nonces | None:
    return Nonces(parts.keys.secrets, parts.now) if parts.dpop_nonces else None


def _issuer(entry: External, now: Callable[[], datetime]) -> Issuer:
    return Issuer(
        name=entry.issuer, audience=entry.audience, keys=keys_of(entry, now), algorithms=entry.algorithms,
        types=TYPES[entry.shape], external=entry,
    )  # fmt: skip


def _oauth_routes(
    parts: Parts, called_back: CalledBack, refusals: Refusals, knocks: Buckets
) -> list[Route]:
    authority = Authority(
        issuer=parts.issuer,
        audience=parts.issuer,
        keys=parts.keys,
        clients=parts.clients,
        grants=parts.grants,
        person=parts.people.find,
        keys_at=ClientKeys(parts.egress, parts.now).find,
        called_back=called_back,
        refused=refusals.note,
        knocks=knocks,
        nonces=_nonces(parts),
        now=parts.now,
        life=parts.token_life,
    )
    tokens, people = TokenServer(authority), Authorization(authority, parts.people)
    account = AccountPages(authority, parts.people)
    metadata = _document(partial(server_metadata, parts.issuer))

    def program(path: str, endpoint: Endpoint) -> Route:
        return Route(path, _counted(endpoint, knocks, Knock.ADDRESS, too_many), methods=["POST"])

    def page(path: str, endpoint: Endpoint, method: str, kind: Knock = Knock.ADDRESS) -> Route:
        return Route(path, _counted(endpoint, knocks, kind, too_many_page), methods=[method])

    return [
        program(TOKEN_PATH, tokens.token),
        program(PUSH_PATH, tokens.push),
        program(REVOCATION_PATH, tokens.revoke),
        program(INTROSPECTION_PATH, tokens.introspect),
        page(AUTHORIZE_PATH, people.authorize, "GET"),
        page(SIGN_IN_PATH, people.sign_in, "POST", Knock.SIGN_IN),
        page(CONSENT_PATH, people.consent, "POST"),
        page(ENROL_PATH, people.invitation, "GET"),
        page(ENROL_PATH, people.enrol, "POST", Knock.SIGN_IN),
        page(PASSWORD_PATH, people.password, "GET"),
        page(PASSWORD_PATH, people.change_password, "POST", Knock.SIGN_IN),
        page(ACCOUNT_PATH, account.enter, "GET"),
        page(ACCOUNT_PATH, account.show, "POST", Knock.SIGN_IN),
        page(ADD_PATH, account.add, "POST"),
        page(REMOVE_PATH, account.remove, "POST"),
        page(KEY_PATH, account.key, "POST"),
        page(CHANGE_PATH, account.change_authenticator, "POST", Knock.SIGN_IN),
        page(SCRIPT_PATH, people.script, "GET"),
        Route(KEYS_PATH, _document(parts.keys.public)),
        Route(SMART_WELL_KNOWN, _document(partial(smart_configuration, parts.issuer))),
        *(Route(path, metadata) for path in metadata_paths(parts.issuer)),
    ]


def _counted(
    endpoint: Endpoint, knocks: Buckets, kind: Knock, too_many: Callable[[Allowance], Response]
) -> Endpoint:
    """`endpoint`, for as many requests from one address as its rate allows."""

    async def answer(request: Request) -> Response:
        allowance = knocks.take(request.state.peer, kind)
        if allowance.pause:
            return too_many(allowance)
        response = await endpoint(request)
        for name, said in allowance.headers.items():  # what is said of the client's own rate is the nearer
            response.headers.setdefault(name, said)
        return response

    return answer


def _document(make: Callable[[], Mapping[str, Any]]) -> Callable[[Request], Awaitable[Response]]:
    """An endpoint that answers everybody with the same document."""

    async def answer(request: Request) -> Response:  # noqa: ARG001 - an endpoint's signature
        return JSONResponse(make(), headers=PUBLIC)

    return answer


async def _plain(request: Request, error: Exception) -> Response:  # noqa: ARG001 - Starlette's signature
    assert isinstance(error, HTTPException)
    code = _CODES.get(error.status_code, "INVALID")
    told = NOWHERE if error.detail == HTTPStatus.NOT_FOUND.phrase else error.detail
    return Answer(error.status_code, code, told, headers=error.headers)
