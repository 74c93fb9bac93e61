"""Turns a bearer token (RFC 6750, RFC 9068) into a `Caller`, or refuses it in the open.

A token says who calls and bounds what for; roles and institution come from the client's registration. Issuers are a
list so that others can stand beside our own; each is held to its own keys, algorithms and audience.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

import orjson
from joserfc import jws, jwt
from joserfc.errors import JoseError
from joserfc.jwk import Key
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from sharewell.domain.clients import Client, narrow
from sharewell.domain.principals import Caller
from sharewell.gateway.answers import Answer
from sharewell.gateway.oauth.assertions import digest
from sharewell.gateway.oauth.keys import ALGORITHM
from sharewell.services.access import Refusal

REALM = 'Bearer realm="sharewell"'
MAX_BYTES = 4096
LEEWAY = timedelta(seconds=10)  # for clocks that differ; our own tokens come from the same clock


class KeySource(Protocol):
    """The public keys of one issuer."""

    async def find(self, kid: str) -> Key | None:
        """The key of that name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Issuer:
    """Whose tokens are taken, and what they must look like."""

    name: str  #: the `iss` claim, to the letter
    audience: str  #: how this issuer names us in `aud`
    keys: KeySource
    algorithms: tuple[str, ...] = (ALGORITHM,)
    types: frozenset[str] = frozenset({"at+jwt", "application/at+jwt"})  # RFC 9068, 4


class TokenRefused(Exception):
    """The token does not open anything; `reason` is a word for the log, the message is for the bearer."""

    def __init__(self, reason: str, message: str, *, client_id: str | None = None) -> None:
        super().__init__(message)
        self.reason, self.client_id = reason, client_id  #: client_id only where the signature proved it


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """What a verified token says."""

    client_id: str
    scopes: tuple[str, ...]


async def verify(token: str, issuers: Mapping[str, Issuer], *, at: datetime) -> Token:
    """Check everything that can be checked without a database. Raises `TokenRefused`."""
    header, unverified = _parts(token)
    # (1) It claims to come from an issuer we take tokens from; whose it truly is, its key will show.
    issuer = issuers.get(str(unverified.get("iss")))
    if issuer is None:
        raise TokenRefused("unknown_issuer", "The token comes from an issuer that is not accepted here.")
    # (2) It is an access token, not some other JWT of the same issuer (RFC 8725, 3.11).
    if str(header.get("typ")).lower() not in issuer.types:
        raise TokenRefused("wrong_type", "The token is not an access token (typ at+jwt).")
    # (3) It is signed by a key of that issuer, in a way we agreed on before.
    key = await issuer.keys.find(str(header.get("kid")))
    if key is None:
        raise TokenRefused("unknown_key", "The token is signed by a key that is not known.")
    try:
        claims = jwt.decode(token, key, algorithms=issuer.algorithms).claims
    except (JoseError, ValueError):
        raise TokenRefused("bad_signature", "The signature of the token does not hold.") from None
    return _check_claims(claims, issuer, at=at)


def _check_claims(claims: Mapping[str, Any], issuer: Issuer, *, at: datetime) -> Token:
    client_id = claims.get("client_id")
    if not isinstance(client_id, str) or claims.get("sub") != client_id:
        raise TokenRefused("malformed", "The token does not say whose it is.")
    # (4) It is for us.
    named = claims.get("aud")
    if issuer.audience not in (named if isinstance(named, list) else [named]):
        raise TokenRefused("wrong_audience", "The token is meant for someone else.", client_id=client_id)
    # (5) It is in force.
    begin, end = (_moment(claims.get(name)) for name in ("iat", "exp"))
    if end is None or end + LEEWAY <= at:
        raise TokenRefused("expired", "The token has expired; get a new one.", client_id=client_id)
    if begin is None or begin > at + LEEWAY:
        raise TokenRefused("not_yet_valid", "The token is from the future.", client_id=client_id)
    scope = claims.get("scope", "")
    return Token(client_id=client_id, scopes=tuple(scope.split()) if isinstance(scope, str) else ())


class Bearer:
    """Authenticates requests."""

    def __init__(
        self,
        *,
        issuers: Sequence[Issuer],
        client: Callable[[str], Awaitable[Client | None]],
        refused: Callable[[Refusal], Awaitable[None]],
        now: Callable[[], datetime],
    ) -> None:
        self._issuers = {issuer.name: issuer for issuer in issuers}
        self._client, self._refused, self._now = client, refused, now

    async def caller(self, token: str, *, path: str, request_id: str) -> Caller:
        """Whose token it is. A refusal is on record before `TokenRefused` leaves here.

        Raises `Unavailable` if the registration cannot be read, or a refusal cannot be recorded.
        """
        try:
            return await self._caller(token, request_id)
        except TokenRefused as refused:
            refusal = Refusal(
                reason=refused.reason,
                actor=refused.client_id,
                client_id=refused.client_id,
                details={"endpoint": path, "token_sha256": digest(token)[:32]},
                request_id=request_id,
            )
            await self._refused(refusal)
            raise

    async def _caller(self, token: str, request_id: str) -> Caller:
        proven = await verify(token, self._issuers, at=self._now())
        client = await self._client(proven.client_id)
        if client is None:
            raise TokenRefused("unknown_client", "The client is not active any more.", client_id=proven.client_id)
        return Caller(
            principal=client.client_id,
            roles=client.roles,
            institution=client.institution,
            scopes=frozenset(narrow(proven.scopes, client.scopes)),
            request_id=request_id,
        )


class RequireBearer:
    """Lets requests with a good token through to `app`, the caller in `scope["state"]["caller"]`."""

    def __init__(self, app: ASGIApp, bearer: Bearer) -> None:
        self._app, self._bearer = app, bearer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        state = scope.setdefault("state", {})
        sent = Headers(scope=scope).getlist("authorization")
        kind, _, token = sent[0].partition(" ") if len(sent) == 1 else ("", "", "")
        if kind.lower() != "bearer" or not token:
            # RFC 6750, 3.1: who sent no token is told the way in, and nothing else. Nothing was presented, so there
            # is nothing to record.
            challenge = Answer(401, "UNAUTHENTICATED", "Send an access token.", headers={"WWW-Authenticate": REALM})
            return await challenge(scope, receive, send)
        try:
            caller = await self._bearer.caller(token, path=scope["path"], request_id=state["request_id"])
        except TokenRefused as refused:
            return await _challenge(str(refused))(scope, receive, send)
        state["caller"], state["principal"] = caller, caller.principal
        return await self._app(scope, receive, send)


def _challenge(sentence: str) -> Answer:
    header = f'{REALM}, error="invalid_token", error_description="{sentence}"'
    return Answer(401, "UNAUTHENTICATED", sentence, headers={"WWW-Authenticate": header})


def _parts(token: str) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    """Header and claims, unverified."""
    if len(token) > MAX_BYTES:
        raise TokenRefused("malformed", f"The token is longer than {MAX_BYTES} bytes.")
    try:
        parts = jws.extract_compact(token.encode("ascii"))
        claims = orjson.loads(parts.payload or b"")
    except (JoseError, ValueError):
        raise TokenRefused("malformed", "The token is not a signed JWT.") from None
    if not isinstance(claims, dict):
        raise TokenRefused("malformed", "The claims of the token are not an object.")
    return parts.headers(), claims


def _moment(value: object) -> datetime | None:
    sane = isinstance(value, int) and not isinstance(value, bool) and 0 < value < 10**11
    return datetime.fromtimestamp(value, UTC) if sane else None  # type: ignore[arg-type]  # sane says it is an int
