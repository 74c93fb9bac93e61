"""The token endpoint: Authlib's authorization server, told our clients, keys and clock, and refusing in the open.

A refused assertion is recorded in the audit log before the client hears of it. Tokens themselves are not stored: they
live minutes, and what their bearer may do is looked up afresh at each use.
"""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import Any, Protocol
from urllib.parse import parse_qsl

from authlib.oauth2.rfc6749 import (
    AuthorizationServer,
    ClientMixin,
    InvalidRequestError,
    OAuth2Error,
    OAuth2Request,
    grants,
)
from authlib.oauth2.rfc6749.requests import BasicOAuth2Payload
from authlib.oauth2.rfc6750 import BearerTokenGenerator
from starlette.requests import Request
from starlette.responses import JSONResponse

from sharewell.domain.clients import Client, narrow
from sharewell.gateway.oauth import bridge
from sharewell.gateway.oauth.assertions import PrivateKeyJwt, Refused, digest
from sharewell.gateway.oauth.keys import SigningKeys
from sharewell.gateway.oauth.metadata import TOKEN_PATH
from sharewell.services.access import Refusal

MAX_PARAMETERS = 16
FORM = "application/x-www-form-urlencoded"
NO_STORE = {"Cache-Control": "no-store", "Pragma": "no-cache"}


class ClientStore(Protocol):
    """What the server needs to know; `services.clients` knows it."""

    async def find(self, client_id: str) -> Client | None:
        """The client as it is registered now."""

    async def burn(self, client_id: str, jti: str, until: datetime) -> bool:
        """Use an assertion up for good, whatever becomes of the request: True the first time only."""


class TokenServer:
    """Issues access tokens (RFC 9068) to programs that sign their assertion (RFC 7523, SMART Backend Services)."""

    def __init__(
        self,
        *,
        issuer: str,
        audience: str,
        keys: SigningKeys,
        clients: ClientStore,
        refused: Callable[[Refusal], Awaitable[None]],
        now: Callable[[], datetime],
        life: timedelta = timedelta(minutes=5),
    ) -> None:
        self._issuer, self._audience, self._keys = issuer, audience, keys
        self._refused, self._now, self._life = refused, now, life
        self._core = _Core(clients, issuer=issuer, now=now)
        seconds = int(life.total_seconds())
        self._core.register_token_generator("default", BearerTokenGenerator(self._sign, expires_generator=seconds))

    async def token(self, request: Request) -> JSONResponse:
        """Answer one request to the token endpoint."""
        try:
            asked = _Asked(self._issuer + TOKEN_PATH, await _form(request))
        except OAuth2Error as error:
            return _answer(*error())
        answer: JSONResponse = await bridge.run(self._core.create_token_response, asked)
        if asked.error is not None:
            await self._record(asked, request.state.request_id)
        return answer

    async def _record(self, asked: _Asked, request_id: str) -> None:
        """Record a refusal of someone who presented an assertion. Nothing presented, nothing to record."""
        assertion = asked.form.get("client_assertion", "")
        if not assertion or asked.error is None:
            return
        known = asked.client.get_client_id() if asked.client else None
        # Authlib sets the client before it checks the signature: a name that was only claimed is never the actor.
        claimed = isinstance(asked.error, Refused)
        await self._refused(
            Refusal(
                reason=asked.error.reason if isinstance(asked.error, Refused) else asked.error.error,
                actor=None if claimed else known,
                client_id=known,
                details={"endpoint": TOKEN_PATH, "assertion_sha256": digest(assertion)[:32]},
                request_id=request_id,
            )
        )

    def _sign(self, client: _Registered, grant_type: str, user: object, scope: str) -> str:  # noqa: ARG002
        """RFC 9068, 2.2."""
        at = self._now()
        claims = {
            "iss": self._issuer,
            "sub": client.get_client_id(),
            "client_id": client.get_client_id(),
            "aud": self._audience,
            "iat": int(at.timestamp()),
            "exp": int((at + self._life).timestamp()),
            "jti": secrets.token_urlsafe(18),
            "scope": scope,
        }
        return self._keys.sign(claims, type="at+jwt")


class _Asked(OAuth2Request):  # type: ignore[misc]  # Authlib ships no types
    """One token request, and in the end the error it met."""

    def __init__(self, uri: str, form: dict[str, str]) -> None:
        # Our own address, not the one the socket saw: TLS may end before us, and Authlib refuses plain http.
        super().__init__("POST", uri, headers={})
        self._form = form
        self.payload = BasicOAuth2Payload(form)
        self.error: OAuth2Error | None = None

    @property
    def form(self) -> dict[str, str]:
        return self._form


class _Registered(ClientMixin):  # type: ignore[misc]  # Authlib ships no types
    """A client as Authlib wants to see it."""

    def __init__(self, record: Client) -> None:
        self.record = record

    def get_client_id(self) -> str:
        return self.record.client_id

    def get_allowed_scope(self, scope: str | None) -> str | None:
        """Requested ∩ registered; None, which Authlib answers with invalid_scope, if nothing is left."""
        return " ".join(narrow((scope or "").split(), self.record.scopes)) or None

    def check_endpoint_auth_method(self, method: str, endpoint: str) -> bool:  # noqa: ARG002
        return method == PrivateKeyJwt.CLIENT_AUTH_METHOD

    def check_grant_type(self, grant_type: str) -> bool:
        return bool(grant_type == _ClientCredentials.GRANT_TYPE)


class _ClientCredentials(grants.ClientCredentialsGrant):  # type: ignore[misc]  # Authlib ships no types
    TOKEN_ENDPOINT_AUTH_METHODS = (PrivateKeyJwt.CLIENT_AUTH_METHOD,)


class _Assertion(PrivateKeyJwt):
    """Looks clients and used-up assertions up, from inside Authlib's synchronous core."""

    def __init__(self, clients: ClientStore, audiences: list[str], now: Callable[[], datetime]) -> None:
        super().__init__()
        self._clients, self._audiences, self._now = clients, audiences, now

    def now(self) -> datetime:
        return self._now()

    def burn(self, client_id: str, jti: str, until: datetime) -> bool:
        return bridge.wait(self._clients.burn(client_id, jti, until))

    def get_audiences(self) -> list[str]:
        return self._audiences


class _Core(AuthorizationServer):  # type: ignore[misc]  # Authlib ships no types
    """Authlib's server with its five holes filled."""

    def __init__(self, clients: ClientStore, *, issuer: str, now: Callable[[], datetime]) -> None:
        super().__init__()
        self._clients, self._now = clients, now
        assertion = _Assertion(clients, [issuer + TOKEN_PATH, issuer], now)
        self.register_client_auth_method(PrivateKeyJwt.CLIENT_AUTH_METHOD, assertion)
        self.register_grant(_ClientCredentials)

    def query_client(self, client_id: str) -> _Registered:
        """Raises `Refused` for a client that is unknown or may not act: to a stranger these look alike."""
        record = bridge.wait(self._clients.find(client_id))
        if record is None or not record.usable(at=self._now()):
            raise Refused("unknown_client", "The client is not known here, or is not active.")
        return _Registered(record)

    def create_oauth2_request(self, request: _Asked) -> _Asked:
        return request

    def save_token(self, token: dict[str, Any], request: _Asked) -> None:
        """Tokens are not stored."""

    def send_signal(self, name: str, *args: object, **kwargs: object) -> None:
        """Nobody listens."""

    def handle_error_response(self, request: _Asked, error: OAuth2Error) -> JSONResponse:
        request.error = error
        return _answer(*error())

    def handle_response(self, status: int, body: Any, headers: Any) -> JSONResponse:
        return _answer(status, body, headers)


def _answer(status: int, body: Any, headers: Any) -> JSONResponse:  # noqa: ARG001 - Authlib's are a subset of ours
    return JSONResponse(dict(body), status_code=status, headers=NO_STORE)


async def _form(request: Request) -> dict[str, str]:
    """The parameters of a form post, each at most once (RFC 6749, 3.2)."""
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != FORM:
        raise InvalidRequestError(description=f"Send the parameters as {FORM}.")
    try:
        text = (await request.body()).decode("ascii")
        pairs = parse_qsl(text, keep_blank_values=True, max_num_fields=MAX_PARAMETERS, errors="strict")
    except ValueError:
        raise InvalidRequestError(description="The form cannot be read.") from None
    form = dict(pairs)
    if len(form) < len(pairs):
        raise InvalidRequestError(description="A parameter was sent twice.")
    return form
