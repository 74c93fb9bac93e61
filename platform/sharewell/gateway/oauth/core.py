"""Authlib's authorization server, told our clients, keys, people and clock, with its holes filled.

Its core is synchronous; whatever has to be looked up goes through the bridge. Codes and refresh tokens are used up in
transactions of their own, before anything is answered: a refusal later on does not free them again.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from authlib.oauth2.rfc6749 import (
    AuthorizationServer,
    InvalidClientError,
    InvalidGrantError,
    InvalidScopeError,
    OAuth2Error,
    TokenMixin,
    UnsupportedGrantTypeError,
    grants,
)
from authlib.oauth2.rfc7636 import CodeChallenge

from sharewell.domain.clients import narrow
from sharewell.domain.grants import Family, Verdict
from sharewell.domain.people import Person
from sharewell.gateway.oauth import bridge
from sharewell.gateway.oauth.assertions import PrivateKeyJwt
from sharewell.gateway.oauth.forms import Asked, TooMany, answer
from sharewell.gateway.oauth.proofs import ProofRefused
from sharewell.gateway.oauth.signers import NONE, SIGNED, ClientStore, Registered, Signers, admitted
from sharewell.gateway.rates import Buckets, Knock
from sharewell.services.grants import GrantService, Redeemed


class RefusedGrant(InvalidGrantError):  # type: ignore[misc]  # Authlib ships no types
    """`invalid_grant`, with the reason as a word for the audit log."""

    def __init__(self, verdict: Verdict | str) -> None:
        super().__init__(description="The code or refresh token is not good, or not any more.")
        self.reason = str(verdict)


class ProofError(OAuth2Error):  # type: ignore[misc]  # Authlib ships no types
    """`invalid_dpop_proof` (RFC 9449, 5) or another, with the reason as a word for the audit log."""

    def __init__(self, reason: str, description: str, error: str = ProofRefused.error) -> None:
        super().__init__(error=error, description=description)
        self.reason = reason


class ClientCredentials(grants.ClientCredentialsGrant):  # type: ignore[misc]  # Authlib ships no types
    """A program acts for itself."""

    TOKEN_ENDPOINT_AUTH_METHODS = (SIGNED,)


class GoodCode:
    """A redeemed code as Authlib wants to see it."""

    code_challenge_method = "S256"  # no other is ever stored

    def __init__(self, redeemed: Redeemed) -> None:
        self.family = redeemed.family
        self._redirect_uri, self.code_challenge = redeemed.request.redirect_uri, redeemed.request.challenge

    def get_redirect_uri(self) -> str:
        return self._redirect_uri

    def get_scope(self) -> str:
        return " ".join(self.family.scopes)


class Code(grants.AuthorizationCodeGrant):  # type: ignore[misc]  # Authlib ships no types
    """An app redeems what a person granted it. The authorization endpoint itself is in `authorize`."""

    TOKEN_ENDPOINT_AUTH_METHODS = (SIGNED, NONE)
    server: Core
    request: Asked

    def query_authorization_code(self, code: str, client: Registered) -> GoodCode:
        verdict, found = bridge.wait(
            self.server.grants.redeem(code, client.get_client_id(), request_id=self.request.request_id)
        )
        self.request.client = client  # a refusal from here on is that client's
        if found is None:
            raise RefusedGrant(verdict)
        _adopt(self.request, found.family)
        return GoodCode(found)

    def authenticate_user(self, authorization_code: GoodCode) -> Person | None:
        return self.server.person(authorization_code.family.person)

    def delete_authorization_code(self, authorization_code: GoodCode) -> None:
        """It was used up when it was found."""


class HeldFamily(TokenMixin):  # type: ignore[misc]  # Authlib ships no types
    """What a refresh token belongs to, as Authlib wants to see it."""

    def __init__(self, family: Family) -> None:
        self.family = family

    def check_client(self, client: Registered) -> bool:
        return client.get_client_id() == self.family.client_id

    def get_scope(self) -> str:
        return " ".join(self.family.scopes)


class Refresh(grants.RefreshTokenGrant):  # type: ignore[misc]  # Authlib ships no types
    """An app gets a new access token, and a new refresh token with it (RFC 9700, 4.14.2)."""

    TOKEN_ENDPOINT_AUTH_METHODS = (SIGNED, NONE)
    INCLUDE_NEW_REFRESH_TOKEN = True
    server: Core
    request: Asked

    def authenticate_refresh_token(self, refresh_token: str) -> HeldFamily:
        client_id = self.request.client.get_client_id()
        family = bridge.wait(self.server.grants.family_of(refresh_token, client_id))
        if family is None:
            raise RefusedGrant(Verdict.UNKNOWN)
        _adopt(self.request, family)
        return HeldFamily(family)

    def authenticate_user(self, refresh_token: HeldFamily) -> Person | None:
        person = self.server.person(refresh_token.family.person)
        if person is None:
            raise RefusedGrant("unknown_person")
        return person

    def _validate_token_scope(self, token: HeldFamily) -> None:
        """Less than was granted is fine, more is not; in SMART's scopes one may hold many."""
        asked = self.request.payload.scope
        if asked and not (_within(asked, token.family.scopes) and narrow(asked.split(), token.family.scopes, "user")):
            raise InvalidScopeError(description=f"scope is not what was granted, or some of it: {token.get_scope()}.")

    def issue_token(self, user: Person, refresh_token: HeldFamily) -> Any:
        """Only now, when all else holds, is the old one used up. What is no scope of ours is passed over."""
        verdict, successor = bridge.wait(
            self.server.grants.rotate(
                self.request.form["refresh_token"], binding(self.request), request_id=self.request.request_id
            )
        )
        if successor is None:
            raise RefusedGrant(verdict)
        self.request.successor = successor
        asked, held = self.request.payload.scope, refresh_token.family.scopes
        scope = narrow(asked.split(), held, "user") if asked else held
        return self.generate_token(
            user=user, scope=" ".join(scope), include_refresh_token=self.INCLUDE_NEW_REFRESH_TOKEN
        )

    def revoke_old_credential(self, refresh_token: HeldFamily) -> None:
        """It was used up when its successor was made."""


GRANTS: Final = (ClientCredentials, Code, Refresh)


class Core(AuthorizationServer):  # type: ignore[misc]  # Authlib ships no types
    """Authlib's server over our clients and grants."""

    def __init__(
        self,
        *,
        clients: ClientStore,
        grant_service: GrantService,
        find_person: Callable[[UUID], Awaitable[Person | None]],
        signers: Signers,
        now: Callable[[], datetime],
        knocks: Buckets,
    ) -> None:
        super().__init__()
        self._clients, self._find_person, self._now, self._knocks = clients, find_person, now, knocks
        self.grants = grant_service
        self.register_client_auth_method(SIGNED, signers)
        self.register_grant(ClientCredentials)
        self.register_grant(Code, [CodeChallenge(required=True)])
        self.register_grant(Refresh)

    def query_client(self, client_id: str) -> Registered:
        """Raises `Refused` for a client that is unknown or may not act: to a stranger these look alike."""
        return admitted(bridge.wait(self._clients.find(client_id)), at=self._now())

    def authenticate_client(self, request: Asked, methods: list[str], endpoint: str = "token") -> Registered:
        """The client that asks, if it does not ask too often. Raises `OAuth2Error`.

        Who signed is counted wherever it asks from. An app without a key is counted by address too: anybody can say
        its name, and must not be able to use up what is others'.
        """
        client = self._authenticated(request, methods, endpoint)
        caller = f"{client.get_client_id()} {request.peer}" if client.record.public else client.get_client_id()
        request.allowance = self._knocks.take(caller, Knock.CLIENT)
        if request.allowance.pause:
            raise TooMany(request.allowance)
        return client

    def _authenticated(self, request: Asked, methods: list[str], endpoint: str) -> Registered:
        try:
            client: Registered = super().authenticate_client(request, methods, endpoint)
        except InvalidClientError:
            if (why := _no_assertion(request)) is None:
                raise
            raise InvalidClientError(description=why) from None
        return client

    def get_token_grant(self, request: Asked) -> Any:
        """Raises `UnsupportedGrantTypeError` that says which there are."""
        try:
            return super().get_token_grant(request)
        except UnsupportedGrantTypeError as error:
            error.description = f"grant_type must be one of {', '.join(grant.GRANT_TYPE for grant in GRANTS)}."
            raise

    def person(self, id: UUID) -> Person | None:  # noqa: A002
        """The person, if it may act now."""
        person = bridge.wait(bridge.awaited(self._find_person(id)))
        return person if person is not None and person.usable(at=self._now()) else None

    def create_oauth2_request(self, request: Asked) -> Asked:
        return request

    def save_token(self, token: dict[str, Any], request: Asked) -> None:
        """Access tokens are not stored, and refresh tokens were when they were made."""

    def send_signal(self, name: str, *args: object, **kwargs: object) -> None:
        """Nobody listens."""

    def handle_error_response(self, request: Asked, error: OAuth2Error) -> Any:
        request.error = error
        return answer(*error())

    def handle_response(self, status: int, body: Any, headers: Any) -> Any:
        return answer(status, body, headers)


def binding(asked: Asked) -> str | None:
    """What a refresh token is bound to: an app without a key of its own shows by nothing else that it is its own.

    RFC 9449, 5.
    """
    return asked.key if asked.client.record.public else None


def _adopt(asked: Asked, family: Family) -> None:
    """What is made for this request belongs to `family`; where that is bound to a key, its holder must ask."""
    asked.family, asked.purpose = family.id, family.purpose
    if family.key is not None and family.key != asked.key:
        raise ProofError("other_key", "These tokens are bound to a key; send a proof by that key.")


def _no_assertion(asked: Asked) -> str | None:
    """What to send where a client with keys sent no assertion; None where it sent one."""
    if not asked.form.get("client_assertion"):
        return "client_assertion is missing; send a JWT signed by a key of the client (RFC 7523, 2.2)."
    if asked.form.get("client_assertion_type") != PrivateKeyJwt.CLIENT_ASSERTION_TYPE:
        return f"client_assertion_type must be {PrivateKeyJwt.CLIENT_ASSERTION_TYPE}."
    return None


def _within(asked: str, granted: tuple[str, ...]) -> bool:
    return set(narrow(asked.split(), granted, "user")) == set(narrow(asked.split(), asked.split(), "user"))
