"""Access tokens (RFC 6750, RFC 9068) as they come: whose they are, what they say, and whether that holds.

External issuers stand beside our own; each is held to its own keys, algorithms and audience, and to what the operator's
list lets it speak for.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol
from uuid import UUID

from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import Key

from sharewell.domain.people import PREFIX
from sharewell.domain.rates import Allowance
from sharewell.gateway.oauth.assertions import digest
from sharewell.gateway.oauth.issuers import External, NotVouchedFor, Vouched
from sharewell.gateway.oauth.jwts import MalformedJwt, unverified
from sharewell.gateway.oauth.keys import ALGORITHM

MAX_BYTES = 8192
MOST_SIGNATURES = 4096
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
    external: External | None = None  #: None: it is us


class TokenRefused(Exception):
    """The token does not open anything; `reason` is a word for the log, the message is for the bearer."""

    def __init__(
        self, reason: str, message: str, *, client_id: str | None = None, error: str = "invalid_token"
    ) -> None:
        super().__init__(message)
        self.reason, self.client_id = reason, client_id  #: client_id only where the signature proved it
        self.error = error
        self.beyond: Allowance | None = None  #: set where refusals come too fast: then it is told, not the reason


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """What a verified token says."""

    client_id: str
    scopes: tuple[str, ...]
    expires_at: datetime
    person: UUID | None = None
    key: str | None = None  #: thumbprint of the key it is bound to
    vouched: Vouched | None = None  #: by an external issuer
    proof_required: bool = False
    claims: Mapping[str, Any]

    @property
    def purpose(self) -> str | None:
        """What it is used for, where it says so."""
        said = self.claims.get("purpose_of_use")
        return said if isinstance(said, str) else None


async def verify(
    token: str, issuers: Mapping[str, Issuer], *, at: datetime, known: Signatures | None = None
) -> Token:
    """Check everything that can be checked without a database. Raises `TokenRefused`."""
    signed = None if known is None else await known.holds(token)
    if signed is None:
        signed = await _signature(token, issuers)
        if known is not None:
            known.keep(token, signed)
    return _check_claims(signed.claims, signed.issuer, at=at)


@dataclass(frozen=True, slots=True)
class Signed:
    """What a token says, and the key by which it holds."""

    claims: Mapping[str, Any]
    issuer: Issuer
    kid: str
    key: Key


class Signatures:
    """Signatures that were found to hold; whoever asks often is not reckoned anew each time.

    A signature holds for as long as its issuer publishes the very key. All else is looked at for each request: time,
    audience, whether it was called back, the registration, the proof of possession.
    """

    def __init__(self, *, most: int = MOST_SIGNATURES) -> None:
        self._most = most
        self._held: dict[str, Signed] = {}  #: by the digest of the token, so that no token lies in memory

    async def holds(self, token: str) -> Signed | None:
        """What was found of the token, if it is still so."""
        signed = self._held.get(digest(token))
        if signed is None or await signed.issuer.keys.find(signed.kid) is not signed.key:
            return None
        return signed

    def keep(self, token: str, signed: Signed) -> None:
        """Remember it in place of the oldest."""
        if len(self._held) >= self._most:
            del self._held[next(iter(self._held))]
        self._held[digest(token)] = signed


async def _signature(token: str, issuers: Mapping[str, Issuer]) -> Signed:
    try:
        header, claimed = unverified(token, "token", MAX_BYTES)
    except MalformedJwt as why:
        raise TokenRefused("malformed", str(why)) from None
    # (1) It claims to come from an issuer we take tokens from; whose it truly is, its key will show.
    issuer = issuers.get(str(claimed.get("iss")))
    if issuer is None:
        raise TokenRefused("unknown_issuer", "The token comes from an issuer that is not accepted here.")
    # (2) It is an access token, not some other JWT of the same issuer (RFC 8725, 3.11).
    if str(header.get("typ")).lower() not in issuer.types:
        raise TokenRefused("wrong_type", "The token is not an access token (typ at+jwt).")
    # (3) It is signed by a key of that issuer, in a way we agreed on before.
    kid = str(header.get("kid"))
    key = await issuer.keys.find(kid)
    if key is None:
        raise TokenRefused("unknown_key", "The token is signed by a key that is not known.")
    try:
        claims = jwt.decode(token, key, algorithms=issuer.algorithms).claims
    except (JoseError, ValueError):
        raise TokenRefused("bad_signature", "The signature of the token does not hold.") from None
    return Signed(claims, issuer, kid, key)


def _check_claims(claims: Mapping[str, Any], issuer: Issuer, *, at: datetime) -> Token:
    client_id = claims.get("client_id") if issuer.external is None else issuer.external.client_id(claims)
    person = _person(claims.get("sub")) if issuer.external is None else None
    if not isinstance(client_id, str) or (
        issuer.external is None and person is None and claims.get("sub") != client_id
    ):
        raise TokenRefused("malformed", "The token does not say whose it is.")
    proven = client_id if issuer.external is None else f"{issuer.external.name}/{client_id[:80]}"
    # (4) It is for us.
    named = claims.get("aud")
    if issuer.audience not in (named if isinstance(named, list) else [named]):
        raise TokenRefused("wrong_audience", "The token is meant for someone else.", client_id=proven)
    # (5) It is in force.
    begin, end, not_before = (_moment(claims.get(name)) for name in ("iat", "exp", "nbf"))
    if end is None or end + LEEWAY <= at:
        raise TokenRefused("expired", "The token has expired; get a new one.", client_id=proven)
    if begin is None or begin > at + LEEWAY or ("nbf" in claims and (not_before is None or not_before > at + LEEWAY)):
        raise TokenRefused("not_yet_valid", "The token is from the future.", client_id=proven)
    # (6) Where somebody else issued it: what it says means something here.
    vouched = _vouched(claims, issuer.external, proven)
    scope = claims.get("scope", "")
    return Token(
        client_id=proven, scopes=tuple(scope.split()) if isinstance(scope, str) else (), expires_at=end, person=person,
        key=_bound_key(claims, proven), vouched=vouched, claims=claims,
        proof_required=issuer.external is not None and issuer.external.sender_constrained,
    )  # fmt: skip


def _vouched(claims: Mapping[str, Any], external: External | None, proven: str) -> Vouched | None:
    if external is None:
        return None
    try:
        return external.vouch(claims)
    except NotVouchedFor as why:
        raise TokenRefused(why.reason, str(why), client_id=proven) from None


def _bound_key(claims: Mapping[str, Any], proven: str) -> str | None:
    """RFC 7800: a confirmation that is not understood must not be passed over."""
    if "cnf" not in claims:
        return None
    key = claims["cnf"].get("jkt") if isinstance(claims["cnf"], Mapping) else None
    if not isinstance(key, str) or len(claims["cnf"]) != 1:
        raise TokenRefused("malformed", "The token is bound in a way that is not known here.", client_id=proven)
    return key


def _moment(value: object) -> datetime | None:
    sane = isinstance(value, int) and not isinstance(value, bool) and 0 < value < 10**11
    return datetime.fromtimestamp(value, UTC) if sane else None  # type: ignore[arg-type]  # sane says it is an int


def _person(subject: object) -> UUID | None:
    if not isinstance(subject, str) or not subject.startswith(PREFIX):
        return None
    try:
        return UUID(subject.removeprefix(PREFIX))
    except ValueError:
        return None
