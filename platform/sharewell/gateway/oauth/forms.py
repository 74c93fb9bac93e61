"""Requests to the endpoints of the authorization server: read with care, answered without a trace in any cache."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qsl
from uuid import UUID

from authlib.oauth2.rfc6749 import InvalidRequestError, OAuth2Error, OAuth2Request
from authlib.oauth2.rfc6749.requests import BasicOAuth2Payload
from starlette.requests import Request
from starlette.responses import JSONResponse

from sharewell.domain.rates import Allowance
from sharewell.gateway.middleware import BodyTooLarge

MAX_PARAMETERS = 20
FORM = "application/x-www-form-urlencoded"
NO_STORE = {"Cache-Control": "no-store", "Pragma": "no-cache"}
#: Parameters that hold a credential: a request with one of these that is refused goes on record.
CREDENTIALS = ("client_assertion", "code", "refresh_token", "token")


class TooMany(OAuth2Error):  # type: ignore[misc]  # Authlib ships no types
    """Answered with status 429 (RFC 6585, 4); of the registered errors, `temporarily_unavailable` fits."""

    error = "temporarily_unavailable"
    status_code = 429

    def __init__(self, allowance: Allowance) -> None:
        super().__init__(description=f"That is too often; go on in {allowance.pause} s.")


class Asked(OAuth2Request):  # type: ignore[misc]  # Authlib ships no types
    """One request of a client, what is found out about it, and in the end the error it met."""

    def __init__(self, uri: str, form: dict[str, str], request: Request) -> None:
        # Our own address, not the one the socket saw: TLS may end before us, and Authlib refuses plain http.
        super().__init__("POST", uri, headers={})
        self._form = form
        self.payload = BasicOAuth2Payload(form)
        self.request_id = str(request.state.request_id)
        self.peer: str = request.state.peer  #: the address that it came from
        self.allowance: Allowance | None = None  #: what the client has left of its rate, once it is known
        self.proofs = request.headers.getlist("dpop")
        self.key: str | None = None  #: thumbprint of the key that was proven beside the request
        self.family: UUID | None = None  #: of the tokens to be made
        self.purpose: str | None = None
        self.successor: str | None = None  #: the refresh token that follows the one presented
        self.error: OAuth2Error | None = None

    @property
    def form(self) -> dict[str, str]:
        return self._form

    @property
    def credential(self) -> str | None:
        """What was presented, if anything was."""
        return next((self._form[name] for name in CREDENTIALS if self._form.get(name)), None)

    @credential.setter
    def credential(self, value: object) -> None:
        """Authlib sets its own, which nothing here reads."""


def answer(status: int, body: Any, headers: Any = None) -> JSONResponse:  # noqa: ARG001 - Authlib's are a subset of ours
    """An answer of the authorization server."""
    return JSONResponse(dict(body), status_code=status, headers=NO_STORE)


def too_many(allowance: Allowance) -> JSONResponse:
    """The answer to a program that asks, or is refused, too often."""
    status, body, _ = TooMany(allowance)()
    return JSONResponse(dict(body), status_code=status, headers={**NO_STORE, **allowance.headers})


async def read_form(request: Request) -> dict[str, str]:
    """The parameters of a form post, each at most once (RFC 6749, 3.2). Raises `InvalidRequestError`."""
    try:
        body = await request.body()
    except BodyTooLarge as beyond:
        raise InvalidRequestError(description=beyond.detail, status_code=beyond.status_code) from None
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != FORM:
        raise InvalidRequestError(description=f"Send the parameters as {FORM}.")
    try:
        text = body.decode("ascii")
    except ValueError:
        raise InvalidRequestError(description="The form cannot be read.") from None
    return read_pairs(text)


def read_pairs(text: str) -> dict[str, str]:
    """The parameters of a query or form, each at most once. Raises `InvalidRequestError`."""
    try:
        pairs = parse_qsl(text, keep_blank_values=True, max_num_fields=MAX_PARAMETERS, errors="strict")
    except ValueError:
        raise InvalidRequestError(description="The form cannot be read.") from None
    form = dict(pairs)
    if len(form) < len(pairs):
        raise InvalidRequestError(description="A parameter was sent twice.")
    if any("\0" in value for value in form.values()):
        raise InvalidRequestError(description="A parameter holds a NUL.")
    return form
