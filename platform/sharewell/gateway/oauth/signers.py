"""Clients that sign: remembered with their keys, and let in by what is registered at this very moment.

What is remembered spares a look at the registration and the reading of its keys, and decides nothing by itself. The
statement that uses an assertion up does so only if the client is still registered as it was read; whoever is not let
in that way is judged anew by a fresh look. So a client whose keys changed, or who was disabled, is refused at once,
whichever process did it, and nobody is refused for what was so a moment ago.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from typing import Any, Final, Protocol

from authlib.oauth2.rfc6749 import ClientMixin, grants
from joserfc.jwk import Key, import_key

from sharewell.domain.clients import Client, Edition, narrow
from sharewell.gateway.oauth import bridge
from sharewell.gateway.oauth.assertions import PrivateKeyJwt, Refused

SIGNED: Final = PrivateKeyJwt.CLIENT_AUTH_METHOD
NONE: Final = "none"  # RFC 7591, 2: an app on people's own devices
MOST: Final = 4096
LONG: Final = 1024
_OF_PEOPLE: Final = frozenset({grants.AuthorizationCodeGrant.GRANT_TYPE, grants.RefreshTokenGrant.GRANT_TYPE})


class ClientStore(Protocol):
    """What the server needs to know of clients; `services.clients` knows it."""

    async def find(self, client_id: str) -> Client | None:
        """The client as it is registered now."""

    async def edition(self, client_id: str) -> Edition | None:
        """The same, with what tells whether it changed since."""

    async def burn(self, client_id: str, jti: str, until: datetime, edition: int | None = None) -> bool:
        """Use an assertion up for good, whatever becomes of the request: True the first time only.

        With `edition`, only if the client is registered as it was then.
        """


class Registered(ClientMixin):  # type: ignore[misc]  # Authlib ships no types
    """A client as Authlib wants to see it, with what was made of its registration before."""

    def __init__(self, record: Client, edition: int | None = None) -> None:
        self.record = record
        self.edition = edition  #: as which it is remembered; None where it was read for this request
        self._keys: dict[str, Key] = {}
        self._narrowed: tuple[str | None, str | None] = (None, None)

    def get_client_id(self) -> str:
        return self.record.client_id

    def get_allowed_scope(self, scope: str | None) -> str | None:
        """Requested ∩ registered, for a program that acts for itself; None if nothing is left."""
        asked, allowed = self._narrowed
        if asked is None or asked != scope:
            allowed = " ".join(narrow((scope or "").split(), self.record.scopes)) or None
            if scope and len(scope) <= LONG:  # a program asks for the same again and again
                self._narrowed = (scope, allowed)
        return allowed

    def key(self, kid: str) -> Key | None:
        """Its registered key of that name."""
        if kid not in self._keys and (held := self.record.key(kid)) is not None:
            self._keys[kid] = import_key(dict(held))
        return self._keys.get(kid)

    def check_endpoint_auth_method(self, method: str, endpoint: str) -> bool:  # noqa: ARG002
        return method == (NONE if self.record.public else SIGNED)

    def check_grant_type(self, grant_type: str) -> bool:
        if grant_type == grants.ClientCredentialsGrant.GRANT_TYPE:
            return self.record.acts_for_itself
        return bool(self.record.redirect_uris) and grant_type in _OF_PEOPLE


def admitted(record: Client | None, *, at: datetime) -> Registered:
    """Raises `Refused` for a client that is unknown or may not act: to a stranger these look alike."""
    if record is None or not record.usable(at=at):
        raise Refused("unknown_client", "The client is not known here, or is not active.")
    return Registered(record)


class Signers(PrivateKeyJwt):
    """Looks clients, their keys and used-up assertions up, from inside Authlib's synchronous core."""

    def __init__(
        self,
        clients: ClientStore,
        audiences: list[str],
        now: Callable[[], datetime],
        keys_at: Callable[[str, str], Awaitable[Key | None]],
    ) -> None:
        super().__init__()
        self._clients, self._audiences, self._now, self._keys_at = clients, audiences, now, keys_at
        self._known: dict[str, Registered] = {}

    def now(self) -> datetime:
        return self._now()

    def get_audiences(self) -> list[str]:
        return self._audiences

    def signer(self, query_client: Any, request: Any) -> Any:  # noqa: ARG002 - it is asked for more than that knows
        """The client, by what is remembered of it if that lets it in, else by what is registered now."""
        try:
            return super().signer(self._remembered, request)
        except Refused:
            request.client = None
        found: Edition | None = None

        def look(client_id: str) -> Registered:
            nonlocal found
            found = bridge.wait(self._clients.edition(client_id))
            return admitted(None if found is None else found.client, at=self._now())

        client = super().signer(look, request)
        if found is not None:  # only who has proven to be a client is remembered
            self._remember(found)
        return client

    def burn(self, client: Registered, jti: str, until: datetime) -> bool:
        return bridge.wait(self._clients.burn(client.get_client_id(), jti, until, client.edition))

    def key_of(self, client: Registered, header: Mapping[str, Any]) -> Key | None:
        kid = header.get("kid")
        if not isinstance(kid, str):
            return None
        if client.record.jwks_uri is None:
            return client.key(kid)
        return bridge.wait(bridge.awaited(self._keys_at(client.record.jwks_uri, kid)))

    def _remembered(self, client_id: str) -> Registered:
        known = self._known.get(client_id)
        if known is None or not known.record.usable(at=self._now()):
            raise Refused("unknown_client", "The client is not remembered.")
        return known

    def _remember(self, found: Edition) -> None:
        if len(self._known) >= MOST:
            self._known.clear()
        self._known[found.client.client_id] = Registered(found.client, found.number)
