"""Client authentication by signed assertion (`private_key_jwt`) as SMART Backend Services has it, on Authlib.

Authlib's class is the frame; what it leaves open or gets wrong for SMART is closed here: the two algorithms, the key
by `kid`, a life of at most five minutes, an identifier that counts once. Every refusal carries a reason to record.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from authlib.oauth2.rfc6749 import InvalidClientError
from authlib.oauth2.rfc7523 import JWTBearerClientAssertion
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import Key

from sharewell.gateway.oauth.jwts import MalformedJwt, unverified

ALGORITHMS = ("ES384", "RS384")  # SMART App Launch 2.2, "Authenticating to the Token endpoint"
MAX_LIFE = timedelta(minutes=5)  # ibidem: "no more than five minutes in the future"
LEEWAY = timedelta(seconds=10)  # for clocks that differ
MAX_BYTES = 8192


class Refused(InvalidClientError):  # type: ignore[misc]  # Authlib ships no types
    """`invalid_client`, with the reason as a word for the audit log."""

    def __init__(self, reason: str, description: str) -> None:
        super().__init__(description=description)
        self.reason = reason


class PrivateKeyJwt(JWTBearerClientAssertion):  # type: ignore[misc]  # Authlib ships no types
    """Authenticates one request. Subclassed by the server, which knows clients, clock and used-up assertions."""

    CLIENT_AUTH_METHOD = "private_key_jwt"

    def now(self) -> datetime:
        """The moment to judge by."""
        raise NotImplementedError

    def burn(self, client: Any, jti: str, until: datetime) -> bool:
        """Use an assertion of `client` up: True the first time, False ever after."""
        raise NotImplementedError

    def __call__(self, query_client: Any, request: Any) -> Any:
        """The client that signed, or None if there is no assertion."""
        client = self.signer(query_client, request)
        if client is not None and request.payload.client_id not in (None, client.get_client_id()):
            # RFC 7521, 4.2: client_id is optional, but must name the same client.
            raise Refused("client_id_mismatch", "client_id is not the one the client_assertion speaks for.")
        return client

    def signer(self, query_client: Any, request: Any) -> Any:
        """The client that signed, as `query_client` knows it. Its assertion is used up then, and nothing refused."""
        return super().__call__(query_client, request)

    def extract_assertion(self, assertion: str) -> tuple[dict[str, Any], dict[str, Any]]:
        """Header and claims, unverified. Authlib's own lets deep nesting through as a crash."""
        try:
            header, claims = unverified(assertion, "client_assertion", MAX_BYTES)
        except MalformedJwt as why:
            raise Refused("malformed", str(why)) from None
        return dict(header), claims

    def resolve_client_public_key(self, client: Any) -> Any:
        """Hand Authlib the client in the place of its key, which is looked up when the header is known as well."""
        return client

    def key_of(self, client: Any, header: Mapping[str, Any]) -> Key | None:
        """The public key of `client` that the header names."""
        raise NotImplementedError

    def process_assertion_claims(self, assertion: str, client: Any) -> dict[str, Any]:
        """Verify the signature, then the claims. Authlib's own would refuse ES384 and RS384."""

        def find(unverified: Any) -> Key:
            key = self.key_of(client, unverified.headers())
            if key is None:
                raise Refused("unknown_key", "The header of the client_assertion names no registered key in kid.")
            return key

        try:
            token = jwt.decode(assertion, find, algorithms=ALGORITHMS)
        except (JoseError, ValueError):
            # Which of the checks failed is nobody's business who could not sign.
            raise Refused("bad_signature", "The client_assertion is not signed by a key of the client.") from None
        until = check_claims(token.claims, self.get_audiences(), at=self.now())
        # Only now: a stranger must not be able to use up what the client has yet to send.
        if not self.burn(client, digest(token.claims["jti"]), until):
            raise Refused("replayed", "This client_assertion was used before; make a new one with a new jti.")
        return token.claims


def check_claims(claims: Mapping[str, Any], audiences: Sequence[str], *, at: datetime) -> datetime:
    """Raise `Refused` unless `claims` are those of a fresh assertion for us; return when it ends to be accepted."""
    # (1) RFC 7523, 3: the client speaks for itself.
    if claims.get("iss") != claims.get("sub"):
        raise Refused("issuer_mismatch", "iss and sub must both be the client_id.")
    # (2) It is meant for us: our token endpoint or our issuer.
    named = claims.get("aud")
    if not any(audience in (named if isinstance(named, list) else [named]) for audience in audiences):
        raise Refused("wrong_audience", f"aud must be {audiences[0]}")
    # (3) It ends, soon, and not before now.
    end = _moment(claims, "exp")
    if end is None or end + LEEWAY <= at:
        raise Refused("expired", "exp is missing or has passed.")
    if end > at + MAX_LIFE + LEEWAY:
        raise Refused("too_long", "exp must be at most five minutes ahead.")
    # (4) It has begun.
    for claim in ("iat", "nbf"):
        begin = _moment(claims, claim)
        if claim in claims and (begin is None or begin > at + LEEWAY):
            raise Refused("not_yet_valid", f"{claim} lies in the future.")
    # (5) It can be told from any other.
    if not isinstance(claims.get("jti"), str) or not claims["jti"]:
        raise Refused("no_jti", "jti is missing.")
    return end + LEEWAY


def digest(text: str) -> str:
    """SHA-256 in hex of whatever text a client sent: bounded, and safe to store and to show."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _moment(claims: Mapping[str, Any], claim: str) -> datetime | None:
    """A NumericDate as a moment; None for anything else, and for times no clock shows."""
    value = claims.get(claim)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    if not math.isfinite(value) or not 0 < value < 1e11:
        return None
    return datetime.fromtimestamp(value, UTC)
