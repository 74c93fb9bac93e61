"""What an app may ask a person for: the checks of an authorization request, pushed or in the address.

Authlib checks PKCE only when the code is redeemed, and takes `plain`; so the request is checked here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from authlib.oauth2.rfc6749 import InvalidRequestError, InvalidScopeError, OAuth2Error, UnauthorizedClientError

from sharewell.domain.clients import Client, narrow
from sharewell.domain.grants import AuthorizationRequest

REQUEST_URI: Final = "urn:ietf:params:oauth:request_uri:"  # RFC 9126, 2.2
_CHALLENGE = re.compile(r"[A-Za-z0-9_-]{43}")
_THUMBPRINT = re.compile(r"[A-Za-z0-9_-]{43}")


class UnsupportedResponseType(OAuth2Error):  # type: ignore[misc]  # Authlib ships no types
    """RFC 6749, 4.1.2.1."""

    error = "unsupported_response_type"


def check_redirect(client: Client, asked: Mapping[str, str]) -> str:
    """Where to send people back to. Nobody is sent anywhere before this holds: `InvalidRequestError` is shown here."""
    uri = asked.get("redirect_uri")
    if uri is None and len(client.redirect_uris) == 1:
        return client.redirect_uris[0]
    if uri not in client.redirect_uris:
        raise InvalidRequestError(description="redirect_uri is not, to the letter, one that the client registered.")
    return str(uri)


def check_request(client: Client, asked: Mapping[str, str], *, key: str | None = None) -> AuthorizationRequest:
    """The request, if everything in it holds. Raises `OAuth2Error`.

    `key` is the thumbprint of a key that was proven beside a pushed request (RFC 9449, 10.1).
    """
    redirect_uri = check_redirect(client, asked)
    if asked.get("client_id", client.client_id) != client.client_id:
        raise InvalidRequestError(description="client_id is not the one that asks.")
    if asked.get("response_type") != "code":
        raise UnsupportedResponseType(description="response_type must be code.")
    if not client.redirect_uris:
        raise UnauthorizedClientError(description="The client is not registered to act for people.")
    if "request" in asked:
        raise OAuth2Error(error="request_not_supported", description="Send the parameters themselves.")
    if asked.get("code_challenge_method") != "S256" or not _CHALLENGE.fullmatch(asked.get("code_challenge", "")):
        raise InvalidRequestError(description="Send a code_challenge with code_challenge_method=S256 (RFC 7636).")
    scopes = narrow(asked.get("scope", "").split(), client.scopes, "user")
    if not scopes:
        raise InvalidScopeError(description="scope names no user/ scope that the client is registered for.")
    return AuthorizationRequest(
        client_id=client.client_id, redirect_uri=redirect_uri, scopes=scopes, state=_state(asked),
        challenge=asked["code_challenge"], purpose=check_purpose(client, asked), key=_key(asked, key),
    )  # fmt: skip


def _state(asked: Mapping[str, str]) -> str | None:
    state = asked.get("state")
    if state is not None and len(state) > 500:
        raise InvalidRequestError(description="state is longer than 500 characters.")
    return state


def check_purpose(client: Client, asked: Mapping[str, str]) -> str | None:
    """What tokens are to be for: asked for among those registered; where one is registered, that."""
    purpose = asked.get("purpose_of_use")
    if purpose is None and len(client.purposes) <= 1:
        return client.purposes[0] if client.purposes else None
    if purpose not in client.purposes:
        raise InvalidRequestError(description="purpose_of_use must be one that the client is registered for.")
    return purpose


def _key(asked: Mapping[str, str], proven: str | None) -> str | None:
    named = asked.get("dpop_jkt")
    if named is not None and (not _THUMBPRINT.fullmatch(named) or proven not in (None, named)):
        raise InvalidRequestError(description="dpop_jkt is not the thumbprint of the key that was proven.")
    return named or proven
