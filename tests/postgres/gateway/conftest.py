"""A front door on a real database, its clients, and an application behind it that says who is calling."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import re
import secrets
import socket
import sys
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlsplit
from uuid import UUID

import httpx2
import pyotp
import pytest
from joserfc import jwt
from joserfc.jwk import ECKey, RSAKey
from starlette.responses import JSONResponse
from starlette.types import Receive, Scope, Send

from sharewell.audit.erasure import KEY_FILE, KeyFile, Vault
from sharewell.authz import Authorizer
from sharewell.client import ASSERTION_TYPE
from sharewell.domain.audit import Decision
from sharewell.domain.clients import Client, ClientDraft
from sharewell.domain.institutions import InstitutionDraft, InstitutionKind
from sharewell.domain.people import PersonDraft
from sharewell.domain.principals import Caller, Role
from sharewell.gateway.app import Parts, build_app
from sharewell.gateway.oauth.keys import load_or_create
from sharewell.services.access import AccessService
from sharewell.services.clients import ClientService
from sharewell.services.grants import GrantService
from sharewell.services.institutions import InstitutionService
from sharewell.services.office import Office
from sharewell.services.people import PersonService
from sharewell.services.rulebook import Rulebook
from sharewell.store.audit import DecisionFilter
from sharewell.store.database import Database
from sharewell.wiring import migrations, operator

if TYPE_CHECKING:
    from tests.conftest import Pool

ISSUER = "https://sharewell.example"
TOKEN_URL = f"{ISSUER}/oauth/token"
LAST_ID = "ffffffff-ffff-ffff-ffff-ffffffffffff"
SCOPES = ("system/Offer.cruds", "system/Request.rs")
AUTHZ = Authorizer.load()
KEY_ORIGINS = frozenset({"https://keys.example:443"})


class Clock:
    """The machine's time, which a test may move."""

    def __init__(self) -> None:
        self.ahead = timedelta()
        self._stopped: datetime | None = None

    def __call__(self) -> datetime:
        return (self._stopped or datetime.now(UTC)) + self.ahead

    def stop(self) -> None:
        """From now on it goes only where it is moved, however long the test takes."""
        self._stopped = datetime.now(UTC)


async def who_calls(scope: Scope, receive: Receive, send: Send) -> None:
    """Stands where GraphQL will: answers with the caller it was handed."""
    caller: Caller = scope["state"]["caller"]
    document = {
        "principal": caller.principal,
        "roles": sorted(caller.roles),
        "institution": str(caller.institution) if caller.institution else None,
        "scopes": sorted(caller.scopes),
        "request_id": caller.request_id,
    } | ({"jurisdiction": sorted(caller.jurisdiction)} if caller.jurisdiction else {})
    document |= {"app": caller.app} if caller.app else {}
    await JSONResponse(document)(scope, receive, send)


@dataclass
class FrontDoor:
    """One running gateway, and what a test looks at behind it."""

    database: Database
    clients: ClientService
    institutions: InstitutionService
    clock: Clock
    parts: Parts
    http: httpx2.AsyncClient

    async def refusals(self) -> list[Decision]:
        """What is on record as refused, oldest first."""
        wanted = DecisionFilter(kind="access.refused")
        async with self.database.transaction(read_only=True) as tx:
            page = await tx.audit.page(before=LAST_ID, matching=wanted, first=100)  # type: ignore[arg-type]
            return [(await tx.audit.get(header.id)).decision for header in reversed(page.items)]

    async def register(self, key: ECKey | RSAKey | None = None, **changes: Any) -> Program:
        """Register a client and hand out its side."""
        key = key or ECKey.generate_key("P-384", {"kid": "key-1"})
        done = await self.clients.register(operator(), a_draft(key, **changes))
        algorithm = "ES384" if isinstance(key, ECKey) else "RS384"
        return Program(self.http, key, done.subject, algorithm)

    @asynccontextmanager
    async def rebuilt(self, **changes: Any) -> AsyncIterator[httpx2.AsyncClient]:
        """The same front door with other parts."""
        transport = httpx2.ASGITransport(build_app(replace(self.parts, **changes), who_calls))
        async with httpx2.AsyncClient(transport=transport, base_url=ISSUER) as http:
            yield http

    async def registered(
        self, http: httpx2.AsyncClient, key: ECKey | RSAKey, clients: ClientService, **changes: Any
    ) -> Program:
        """Register a client by other services, and hand out its side with `key`."""
        done = await clients.register(operator(), a_draft(key, **changes))
        return Program(http, key, done.subject, "ES384" if isinstance(key, ECKey) else "RS384")

    async def institution(self) -> UUID:
        """An institution that takes part."""
        draft = InstitutionDraft(
            code="marsupilami-clinic", name="Marsupilami Clinic", kind=InstitutionKind.HOSPITAL, region="palombia"
        )
        return (await self.institutions.register(operator(), draft)).subject.id

    async def ask(self, token: str, **headers: str) -> httpx2.Response:
        """Call the application with `token`."""
        return await self.http.post("/graphql", headers={"Authorization": f"Bearer {token}", **headers})

    def sign(self, **changes: Any) -> str:
        """An access token of our own key; `changes` replace claims, None takes one out, `typ` the header's."""
        now = int(time.time())
        typ = changes.pop("typ", "at+jwt")
        claims = {
            "iss": ISSUER, "aud": ISSUER, "sub": "ward", "client_id": "ward", "iat": now, "exp": now + 60,
            "jti": "t", "scope": "system/Offer.r",
        } | changes  # fmt: skip
        return self.parts.keys.sign({k: v for k, v in claims.items() if v is not None}, type=typ)


@dataclass
class Program:
    """A client's side: its key, and how it asks for tokens."""

    http: httpx2.AsyncClient
    key: ECKey | RSAKey
    record: Client
    algorithm: str = "ES384"
    header: Mapping[str, Any] = field(default_factory=dict)

    def claims(self, **changes: Any) -> dict[str, Any]:
        now = int(time.time())
        claims = {
            "iss": self.record.client_id, "sub": self.record.client_id, "aud": TOKEN_URL, "iat": now,
            "exp": now + 240, "jti": secrets.token_hex(8),
        } | changes  # fmt: skip
        return {name: value for name, value in claims.items() if value is not None}

    def assertion(self, **changes: Any) -> str:
        header = {"alg": self.algorithm, "kid": self.key.kid, **self.header}
        header = {name: value for name, value in header.items() if value is not None}
        return jwt.encode(header, self.claims(**changes), self.key, algorithms=[header["alg"]])

    async def post(self, assertion: str | None = None, **form: str) -> httpx2.Response:
        """Ask for a token; `form` replaces parameters, an empty text takes one out."""
        full = {
            "grant_type": "client_credentials",
            "scope": " ".join(SCOPES),
            "client_assertion_type": ASSERTION_TYPE,
            "client_assertion": self.assertion() if assertion is None else assertion,
        } | form
        return await self.http.post(TOKEN_URL, data={name: value for name, value in full.items() if value})

    async def token(self, **form: str) -> str:
        answer = await self.post(**form)
        assert answer.status_code == 200, answer.text
        return str(answer.json()["access_token"])

    def using(self, **changes: Any) -> Program:
        return replace(self, **changes)


Register = Callable[..., Any]
OpenDoor = Callable[..., AbstractAsyncContextManager[FrontDoor]]


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def open_door(clock: Clock, tmp_path: Path) -> OpenDoor:
    """Build a front door over any pool."""

    @asynccontextmanager
    async def open_door(pool: Pool) -> AsyncIterator[FrontDoor]:
        database = Database(pool)
        office = Office(database, Rulebook(AUTHZ), clock, Vault(KeyFile(tmp_path / KEY_FILE), timedelta(days=1)))
        access = AccessService(office)
        parts = Parts(
            issuer=ISSUER,
            keys=load_or_create(tmp_path / "keys.json", at=clock()),
            database=database,
            clients=ClientService(office, key_origins=KEY_ORIGINS),
            people=PersonService(office),
            grants=GrantService(office),
            access=access,
            migrations=migrations(),
            now=clock,
        )
        transport = httpx2.ASGITransport(build_app(parts, who_calls))
        async with httpx2.AsyncClient(transport=transport, base_url=ISSUER) as http:
            yield FrontDoor(database, parts.clients, InstitutionService(office), clock, parts, http)

    return open_door


@pytest.fixture
async def door(gateway_pool: Pool, open_door: OpenDoor) -> AsyncIterator[FrontDoor]:
    async with open_door(gateway_pool) as door:
        yield door


def a_draft(key: ECKey | RSAKey, **changes: Any) -> ClientDraft:
    draft: dict[str, Any] = {
        "name": "Ward planner",
        "roles": frozenset({Role.REGULATOR}),
        "scopes": SCOPES,
        "jwks": {"keys": [key.as_dict(private=False)]},
        "client_id": "ward",
    }
    return ClientDraft(**draft | changes)


@pytest.fixture
def register(door: FrontDoor) -> Register:
    """Register a client and hand out its side."""
    return door.register


@pytest.fixture
async def ward(register: Register) -> Program:
    program: Program = await register()
    return program


class Browser:
    """A person at a browser: follows the pages and keeps the cookie; answers forms with what a test says."""

    def __init__(self, http: httpx2.AsyncClient, login: str, password: str, secret: str, clock: Clock) -> None:
        self.http, self.login, self.password, self.secret, self.clock = http, login, password, secret, clock
        self.cookie: str | None = None

    @property
    def code(self) -> str:
        """What the authenticator app shows now."""
        return pyotp.TOTP(self.secret).at(self.clock())

    async def get(self, url: str, **query: str) -> httpx2.Response:
        return self._keep(await self.http.get(url, params=query or None, headers=self._headers()))

    async def post(self, path: str, sent: Mapping[str, str] | None = None, /, **form: str) -> httpx2.Response:
        """Post a form; `sent` are headers beside those a browser always sends."""
        return self._keep(await self.http.post(path, data=form, headers={**self._headers(), **(sent or {})}))

    async def sign_in(self, handle: str, **changes: str) -> httpx2.Response:
        """Each sign-in takes the next code: a code counts once."""
        self.clock.ahead += timedelta(seconds=30)
        form = {"login": self.login, "password": self.password, "code": self.code} | changes
        return await self.post("/oauth/sign-in", handle=handle, **form)

    async def allow(self, url: str, **query: str) -> dict[str, str]:
        """Sign in and consent; what the app is sent back with."""
        page = await self.get(url, **query)
        assert page.status_code == 200, page.text
        handle = handle_in(page)
        consent = await self.sign_in(handle)
        assert consent.status_code == 200, consent.text
        back = await self.post("/oauth/consent", handle=handle, answer="allow")
        assert back.status_code == 303, back.text
        return dict(parse_qsl(urlsplit(back.headers["Location"]).query))

    def _headers(self) -> dict[str, str]:
        return {"Cookie": self.cookie} if self.cookie else {}

    def _keep(self, answer: httpx2.Response) -> httpx2.Response:
        if "set-cookie" in answer.headers:
            self.cookie = answer.headers["set-cookie"].partition(";")[0]
        return answer


def handle_in(page: httpx2.Response) -> str:
    """The hidden handle of a page's form."""
    found = re.search(r'name="handle" value="([^"]+)"', page.text)
    assert found is not None, page.text
    return found[1]


@dataclass
class App:
    """An app on people's own devices: it has no key, only PKCE."""

    http: httpx2.AsyncClient
    record: Client
    verifier: str = field(default_factory=lambda: secrets.token_urlsafe(32))

    def asks(self, **changes: str | None) -> dict[str, str]:
        """The parameters of its authorization request; None takes one out."""
        digest = hashlib.sha256(self.verifier.encode()).digest()
        asked = {
            "response_type": "code", "client_id": self.record.client_id, "redirect_uri": BACK, "state": "s-1",
            "scope": "openid user/Offer.rs user/Client.cruds", "code_challenge_method": "S256",
            "code_challenge": base64.urlsafe_b64encode(digest).rstrip(b"=").decode(),
        } | changes  # fmt: skip
        return {name: value for name, value in asked.items() if value is not None}

    async def redeem(self, code: str, headers: Mapping[str, str] | None = None, **changes: str) -> httpx2.Response:
        form = {
            "grant_type": "authorization_code", "client_id": self.record.client_id, "code": code, "redirect_uri": BACK,
            "code_verifier": self.verifier,
        } | changes  # fmt: skip
        return await self.http.post("/oauth/token", data=form, headers=headers)

    async def refresh(self, token: str, headers: Mapping[str, str] | None = None, **changes: str) -> httpx2.Response:
        form = {"grant_type": "refresh_token", "client_id": self.record.client_id, "refresh_token": token} | changes
        return await self.http.post("/oauth/token", data=form, headers=headers)


BACK = "https://app.example/back"
AN_APP: dict[str, Any] = {
    "jwks": None, "client_id": "app", "name": "Bed <board>", "scopes": ["user/Offer.cruds"],
    "roles": frozenset({Role.INSTITUTION, Role.REGULATOR}), "redirect_uris": [BACK],
}  # fmt: skip
PASSWORD = "correct horse battery"


@pytest.fixture
async def app(door: FrontDoor) -> App:
    """An app that is registered."""
    return App(door.http, (await door.register(**AN_APP)).record)


@pytest.fixture
async def somebody(door: FrontDoor) -> Browser:
    """A person who was invited and has set password and second factor, at a browser."""
    draft = PersonDraft(login="Smurfette", name="Dr <Smurfette>", roles=frozenset({Role.REGULATOR}))
    _, invitation = await door.parts.people.register(operator(), draft)
    assert invitation is not None
    page = await door.http.post("/oauth/enrol", data={"invitation": invitation})
    found = re.search(r"<code>([A-Z2-7 ]+)</code>", page.text)
    assert found is not None, page.text
    browser = Browser(door.http, "smurfette", PASSWORD, found[1].replace(" ", ""), door.clock)
    done = await browser.post("/oauth/enrol", invitation=invitation, password=PASSWORD, code=browser.code)
    assert done.status_code == 200, done.text
    return browser


class Platform:
    """The processes of one installation."""

    def __init__(self, environment: Mapping[str, str], url: str) -> None:
        self.environment, self.url = {**environment, "SHAREWELL_ISSUER": url, "SHAREWELL_LOG_LEVEL": "warning"}, url

    async def run(self, *arguments: str | Path) -> str:
        """What `sharewell ARGUMENTS` prints."""
        return await self.program(sys.executable, "-m", "sharewell.cli", *map(str, arguments))

    async def program(self, *command: str, folder: Path | None = None, given: str = "") -> str:
        """What a program prints that ends well."""
        places = f"{Path(sys.executable).parent}:{self.environment.get('PATH', '')}"
        process = await asyncio.create_subprocess_exec(
            *command, env={**self.environment, "SHAREWELL": self.url, "PATH": places}, cwd=folder,
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        out, err = await process.communicate(given.encode())
        assert process.returncode == 0, err.decode()
        return out.decode()

    async def enrol(self, http: httpx2.AsyncClient, invitation: str, password: str) -> str:
        """Set a person's password and second factor; the secret of the latter."""
        invitation = invitation.strip()
        page = await http.post("/oauth/enrol", data={"invitation": invitation})
        shown = re.search(r"<code>([A-Z2-7 ]+)</code>", page.text)
        assert shown is not None, page.text
        secret = shown[1].replace(" ", "")
        form = {"invitation": invitation, "password": password, "code": pyotp.TOTP(secret).now()}
        enrolled = await http.post("/oauth/enrol", data=form)
        assert "You can sign in now" in enrolled.text, enrolled.text
        return secret


OpenPlatform = Callable[..., AbstractAsyncContextManager[Platform]]


@pytest.fixture
def open_platform(database_environment: Mapping[str, str]) -> OpenPlatform:
    """Run `sharewell serve` in a process of its own, with further settings."""

    @asynccontextmanager
    async def open_platform(**settings: str) -> AsyncIterator[Platform]:
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        environment = {**database_environment, "SHAREWELL_PORT": str(port), **settings}
        running = Platform(environment, f"http://127.0.0.1:{port}")
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "sharewell.cli", "serve", "--no-worker", "--no-migrate", env=running.environment
        )
        try:
            async with httpx2.AsyncClient(base_url=running.url) as http:
                while not await _ready(http):
                    assert process.returncode is None, "the gateway ended"
                    await asyncio.sleep(0.1)
            yield running
        finally:
            process.terminate()
            await process.wait()

    return open_platform


async def _ready(http: httpx2.AsyncClient) -> bool:
    try:
        return (await http.get("/readyz")).status_code == 200
    except httpx2.HTTPError:
        return False
