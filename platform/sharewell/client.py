"""Our own users' way in: tokens by signed assertion (SMART Backend Services) and GraphQL, with patience.

A query, or a mutation with an idempotency key, may be sent again after a lost connection or a 503; the key makes
sure that nothing happens twice. Whoever sends a mutation without one says `idempotent=False` and gets one try.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx2
import orjson
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, RSAKey, import_key

ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
ASSERTION_SECONDS = 240  # SMART allows five minutes; clocks differ
RENEW_SECONDS = 30  # a token this close to its end is not used any more
PATIENCE_SECONDS = 60.0
FIRST_PAUSE_SECONDS = 0.2
LONGEST_PAUSE_SECONDS = 5.0
SILENT_SECONDS = 45.0  # a stream says every 15 that it is alive
_PASSING = {401, 429, 502, 503, 504}
_ALGORITHMS = {"EC": "ES384", "RSA": "RS384"}


class ApiError(Exception):
    """The platform said no, or could not be reached; the message is what it said."""

    def __init__(self, message: str, *, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status  #: of the HTTP answer, where there was one


class GraphQLErrors(ApiError):
    """The operation was answered with errors."""

    def __init__(self, errors: Sequence[Mapping[str, Any]], data: Mapping[str, Any] | None, status: int) -> None:
        super().__init__("; ".join(str(error.get("message")) for error in errors), status=status)
        self.errors = errors
        self.data = data  #: what was answered all the same

    @property
    def codes(self) -> list[str]:
        """The code of each error, such as INVALID or CONFLICT; empty text where there is none."""
        return [str((error.get("extensions") or {}).get("code", "")) for error in self.errors]


class Interrupted(ApiError):
    """The stream broke off, and may be taken up again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Credential:
    """What a client needs to get in; kept in a file only its owner can read."""

    base_url: str
    client_id: str
    private_jwk: Mapping[str, Any] = field(repr=False)
    scopes: tuple[str, ...]

    @classmethod
    def generate(cls, base_url: str, client_id: str, scopes: Sequence[str]) -> Credential:
        """A new P-384 key for `client_id`, not known to anybody yet."""
        key = ECKey.generate_key("P-384")
        jwk = key.as_dict(private=True, kid=key.thumbprint(), use="sig", alg="ES384")
        return cls(base_url=base_url, client_id=client_id, private_jwk=jwk, scopes=tuple(scopes))

    @property
    def public_jwks(self) -> dict[str, Any]:
        """The key set to register."""
        return {"keys": [import_key(dict(self.private_jwk)).as_dict(private=False)]}

    def save(self, path: Path) -> None:
        """Write a new file that only its owner can read. Raises FileExistsError rather than write over one."""
        document = {
            "base_url": self.base_url,
            "client_id": self.client_id,
            "private_jwk": dict(self.private_jwk),
            "scopes": list(self.scopes),
        }
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "wb") as file:
            file.write(orjson.dumps(document, option=orjson.OPT_INDENT_2))

    @classmethod
    def load(cls, path: Path) -> Credential:
        """Read what `save` wrote. Raises `ApiError` if it is something else, or readable by others."""
        try:
            if path.stat().st_mode & 0o077:
                raise ApiError(f"{path} can be read by others; run: chmod 600 {path}")
            document = orjson.loads(path.read_bytes())
            return cls(
                base_url=document["base_url"],
                client_id=document["client_id"],
                private_jwk=document["private_jwk"],
                scopes=tuple(document["scopes"]),
            )
        except OSError as error:
            raise ApiError(f"{path} cannot be read: {error.strerror}.") from error
        except (ValueError, KeyError, TypeError) as error:
            raise ApiError(f"{path} is not a credential file of sharewell.") from error


@dataclass(slots=True)
class _Token:
    text: str = field(repr=False)
    until: float  #: on the monotonic clock


class ApiClient:
    """One client of the platform. Use as `async with`, or call `aclose`."""

    def __init__(
        self,
        base_url: str,
        client_id: str,
        private_key_jwk: Mapping[str, Any],
        scopes: Sequence[str],
        *,
        transport: httpx2.AsyncBaseTransport | None = None,
        timeout: float = 30.0,
        patience: float = PATIENCE_SECONDS,
    ) -> None:
        """`transport` may be `httpx2.ASGITransport(app)`; `patience` is for how many seconds to try again.

        Raises `ApiError` if the key is not a private P-384 or RSA key.
        """
        self.base_url, self.client_id, self.scopes = base_url.rstrip("/"), client_id, tuple(scopes)
        self._key = _private_key(private_key_jwk)
        self._patience = patience
        self._http = httpx2.AsyncClient(transport=transport, timeout=timeout, follow_redirects=False)
        self._metadata: Mapping[str, Any] | None = None
        self._token: _Token | None = None
        self._renewing = asyncio.Lock()

    @classmethod
    def of(cls, credential: Credential, **options: Any) -> ApiClient:
        """The client of a credential."""
        return cls(credential.base_url, credential.client_id, credential.private_jwk, credential.scopes, **options)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close its connections."""
        await self._http.aclose()

    async def token(self) -> str:
        """An access token that is good for a while yet. Raises `ApiError`."""
        async with self._renewing:  # many wait for one token rather than each for its own
            if self._token is None or self._token.until < time.monotonic():
                self._token = await self._new_token()
            return self._token.text

    async def graphql(
        self, query: str, variables: Mapping[str, Any] | None = None, *, idempotent: bool = True
    ) -> dict[str, Any]:
        """The `data` of the answer. Raises `GraphQLErrors`, or `ApiError` where there is no GraphQL answer.

        Say `idempotent=False` for a mutation without an idempotency key: it is then sent once only.
        """
        body = orjson.dumps({"query": query, "variables": dict(variables or {})})
        answer = await self._post_graphql(body, idempotent=idempotent)
        if answer.status_code == httpx2.codes.UNAUTHORIZED:  # expired by their clock, or the client was changed
            self._token = None
            answer = await self._post_graphql(body, idempotent=idempotent)
        document = _json(answer)
        if document.get("errors"):
            raise GraphQLErrors(document["errors"], document.get("data"), answer.status_code)
        if not answer.is_success or "data" not in document:
            raise ApiError(_complaint(document, answer), status=answer.status_code)
        data: dict[str, Any] = document["data"]
        return data

    async def follow(
        self, query: str, variables: Mapping[str, Any] | None = None, *, after: str | None = None,
        begun: Callable[[str | None], None] = lambda _: None,
    ) -> AsyncIterator[dict[str, Any]]:  # fmt: skip
        """The `data` of each event of a subscription, for ever: where it breaks off, it goes on after the last one.

        `after` is the cursor to begin after; `begun` is told the one that each connection goes on from. Raises
        `GraphQLErrors` where the operation is wrong or not permitted, and `ApiError` where nothing could be reached for
        as long as this client has patience.
        """
        body = orjson.dumps({"query": query, "variables": dict(variables or {})})
        place, deadline, pause = after, time.monotonic() + self._patience, FIRST_PAUSE_SECONDS
        while True:
            try:
                async with aclosing(self._events(body, place)) as events:
                    connected = False
                    async for cursor, document in events:
                        if not connected and document is None:
                            begun(cursor)
                        connected = True
                        place, deadline, pause = cursor or place, time.monotonic() + self._patience, FIRST_PAUSE_SECONDS
                        if (data := _told(document)) is not None:
                            yield data
            except (httpx2.TransportError, Interrupted) as error:
                if time.monotonic() + pause > deadline:
                    raise ApiError(f"{self.base_url} cannot be followed: {error}") from error
                await asyncio.sleep(pause)
                pause = min(pause * 2, LONGEST_PAUSE_SECONDS)

    async def _events(
        self, body: bytes, after: str | None
    ) -> AsyncGenerator[tuple[str | None, Mapping[str, Any] | None], None]:
        """Events of one connection: the cursor, and the result where there is one. Raises `Interrupted`."""
        headers = {
            "Authorization": f"Bearer {await self.token()}", "Content-Type": "application/json",
            "Accept": "text/event-stream", **({} if after is None else {"Last-Event-ID": after}),
        }  # fmt: skip
        url, silence = f"{self.base_url}/graphql", httpx2.Timeout(30.0, read=SILENT_SECONDS)
        async with self._http.stream("POST", url, content=body, headers=headers, timeout=silence) as answer:
            if not answer.is_success:
                await answer.aread()
                raise self._refused(answer)
            cursor, document = None, None
            async for line in answer.aiter_lines():
                name, _, value = line.partition(": ")
                if name == "id":
                    cursor = value
                elif name == "data" and value:
                    document = orjson.loads(value)
                elif not line and (cursor is not None or document is not None):
                    self._still_let_in(document)
                    yield cursor, document
                    cursor, document = None, None
        raise Interrupted("the stream ended.")

    def _refused(self, answer: httpx2.Response) -> ApiError:
        """What an answer without a stream means; a token that opens nothing is not used again."""
        document = _json(answer)
        if answer.status_code == httpx2.codes.UNAUTHORIZED:
            self._token = None
        elif answer.status_code not in _PASSING:
            if document.get("errors"):
                return GraphQLErrors(document["errors"], None, answer.status_code)
            return ApiError(_complaint(document, answer), status=answer.status_code)
        return Interrupted(_complaint(document, answer), status=answer.status_code)

    def _still_let_in(self, document: Mapping[str, Any] | None) -> None:
        """Raises `Interrupted` where the result says that the stream may be taken up again."""
        errors = (document or {}).get("errors") or []
        codes = {(error.get("extensions") or {}).get("code") for error in errors}
        if codes & {"UNAUTHENTICATED", "UNAVAILABLE"} and "data" not in (document or {}):
            self._token = None if "UNAUTHENTICATED" in codes else self._token
            raise Interrupted(errors[0].get("message", ""))

    async def download(self, path: str, parameters: Mapping[str, str]) -> bytes:
        """What stands at `path` of the platform, for those who may have it. Raises `ApiError`."""
        url = str(httpx2.URL(f"{self.base_url}{path}", params=dict(parameters)))
        answer = await self._send("GET", url, headers={"Authorization": f"Bearer {await self.token()}"})
        if not answer.is_success:
            raise ApiError(_complaint(_json(answer), answer), status=answer.status_code)
        return answer.content

    async def _post_graphql(self, body: bytes, *, idempotent: bool) -> httpx2.Response:
        headers = {
            "Authorization": f"Bearer {await self.token()}",
            "Content-Type": "application/json",
            "Accept": "application/graphql-response+json, application/json;q=0.9",
        }
        return await self._send("POST", f"{self.base_url}/graphql", again=idempotent, content=body, headers=headers)

    async def _new_token(self) -> _Token:
        metadata = await self._discover()
        asked = time.monotonic()
        form = {"grant_type": "client_credentials", "scope": " ".join(self.scopes)}
        answer = await self._send("POST", metadata["token_endpoint"], form=form)
        document = _json(answer)
        if not answer.is_success:
            raise ApiError(_complaint(document, answer), status=answer.status_code)
        life = max(float(document.get("expires_in", 0)) - RENEW_SECONDS, 1.0)
        return _Token(document["access_token"], asked + life)

    async def _discover(self) -> Mapping[str, Any]:
        """RFC 8414, 3: the issuer must be the one we asked for, to the letter."""
        if self._metadata is None:
            url = httpx2.URL(self.base_url)
            path = "/.well-known/oauth-authorization-server" + url.path.rstrip("/")
            answer = await self._send("GET", str(url.copy_with(path=path)))
            document = _json(answer)
            if not answer.is_success or document.get("issuer") != self.base_url:
                named = document.get("issuer", "nothing")
                raise ApiError(
                    f"{self.base_url} names {named} as its issuer; use that address, or set SHAREWELL_ISSUER."
                )
            self._metadata = document
        return self._metadata

    def _assertion(self, audience: str) -> str:
        """RFC 7523 with SMART's limits. New for each request: it counts once."""
        now = int(time.time())
        claims = {
            "iss": self.client_id,
            "sub": self.client_id,
            "aud": audience,
            "iat": now,
            "exp": now + ASSERTION_SECONDS,
            "jti": secrets.token_urlsafe(24),
        }
        algorithm = _ALGORITHMS[self._key.key_type]
        header = {"alg": algorithm, "kid": self._key.kid}
        return jwt.encode(header, claims, self._key, algorithms=[algorithm])

    async def _send(
        self,
        method: str,
        url: str,
        *,
        again: bool = True,
        form: Mapping[str, str] | None = None,
        content: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> httpx2.Response:
        """Send, and if `again` send once more after each 503 or lost connection until patience ends.

        A form goes to the token endpoint; it gets a fresh assertion at every try.
        """
        deadline, pause = time.monotonic() + self._patience, FIRST_PAUSE_SECONDS
        while True:
            signed = form and {
                **form,
                "client_assertion_type": ASSERTION_TYPE,
                "client_assertion": self._assertion(url),
            }
            try:
                answer = await self._http.request(method, url, data=signed, content=content, headers=headers)
                if answer.status_code != httpx2.codes.SERVICE_UNAVAILABLE or not again:
                    return answer
                wait = _retry_after(answer) or pause
                if time.monotonic() + wait > deadline:
                    return answer
            except httpx2.TransportError as error:
                wait = pause
                if not again or time.monotonic() + wait > deadline:
                    raise ApiError(f"{url} cannot be reached: {type(error).__name__} {error}".rstrip()) from error
            await asyncio.sleep(wait)
            pause = min(pause * 2, LONGEST_PAUSE_SECONDS)


def _private_key(jwk: Mapping[str, Any]) -> ECKey | RSAKey:
    try:
        key = import_key(dict(jwk))
    except (JoseError, ValueError) as error:
        raise ApiError("the private key is not a JWK.") from error
    if not isinstance(key, ECKey | RSAKey) or not key.is_private or (key.key_type == "EC" and key["crv"] != "P-384"):
        raise ApiError("the private key must be a private JWK: EC on P-384, or RSA.")
    key.ensure_kid()
    return key


def _told(document: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """The data of an event, None where it only says how far the stream has come. Raises `GraphQLErrors`."""
    if document is None:
        return None
    if document.get("errors"):
        raise GraphQLErrors(document["errors"], document.get("data"), httpx2.codes.OK)
    data: dict[str, Any] = document["data"]
    return data


def _retry_after(answer: httpx2.Response) -> float | None:
    given = answer.headers.get("Retry-After", "")
    return min(float(given), LONGEST_PAUSE_SECONDS) if given.isdecimal() else None


def _json(answer: httpx2.Response) -> dict[str, Any]:
    try:
        document = orjson.loads(answer.content)
    except ValueError:
        document = None
    if not isinstance(document, dict):
        raise ApiError(f"{answer.url} answered {answer.status_code} without JSON.", status=answer.status_code)
    return document


def _complaint(document: Mapping[str, Any], answer: httpx2.Response) -> str:
    """The sentence of an OAuth error, or of the gateway's own shape."""
    error = document.get("error")
    said = error.get("message") if isinstance(error, Mapping) else document.get("error_description", error)
    return f"{answer.url.path} answered {answer.status_code}: {said}"
