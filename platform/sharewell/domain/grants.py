"""What a person grants an app: the request, the consent, and the family of tokens that comes of it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from uuid import UUID

#: A pushed request is opened at once (RFC 9126, 2.2); signing in takes people a while; a code is redeemed at once.
PUSHED_LIFE = timedelta(seconds=90)
SIGN_IN_LIFE = timedelta(minutes=10)
CODE_LIFE = timedelta(seconds=60)
FAMILY_LIFE = timedelta(days=30)
#: Two tabs that refresh at once are no theft: the second is refused, and nothing more.
RACE = timedelta(seconds=5)


@dataclass(frozen=True, slots=True, kw_only=True)
class AuthorizationRequest:
    """What an app asks for, checked already."""

    client_id: str
    redirect_uri: str
    scopes: tuple[str, ...]
    state: str | None
    challenge: str  #: S256 of the verifier (RFC 7636)
    purpose: str | None = None
    key: str | None = None  #: thumbprint the tokens are to be bound to (RFC 9449, 10)


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """All tokens that one consent leads to; they end together."""

    id: UUID
    client_id: str
    person: UUID
    scopes: tuple[str, ...]
    purpose: str | None
    key: str | None
    created_at: datetime
    expires_at: datetime
    revoked: bool

    def open(self, *, at: datetime) -> bool:
        """Whether new tokens may come of it."""
        return not self.revoked and at < self.expires_at


class Verdict(StrEnum):
    """What becomes of a code or refresh token that is presented."""

    GOOD = "good"
    UNKNOWN = "unknown_token"
    OVER = "expired"
    RACED = "refresh_raced"  #: used a moment ago, by a request that was faster
    REUSED = "reused"  #: used before: somebody else has it, so the family ends


def judge_refresh(family: Family, used_at: datetime | None, *, at: datetime) -> Verdict:
    """RFC 9700, 4.14.2: a refresh token counts once."""
    if not family.open(at=at):
        return Verdict.OVER
    if used_at is None:
        return Verdict.GOOD
    return Verdict.RACED if at - used_at < RACE else Verdict.REUSED
