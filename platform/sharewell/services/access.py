"""Refused access: somebody knocked with a credential that does not open, and the log says so before they hear it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from sharewell.domain.audit import ALLOWED, REFUSED, Decision, Json
from sharewell.domain.principals import ANONYMOUS
from sharewell.services.ids import new_id, new_salt
from sharewell.services.office import Office


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """One credential that was presented and refused. Holds digests of it, never the credential."""

    reason: str  #: a word such as `expired` or `replayed`
    actor: str | None  #: the client that presented it, where a signature proved so
    client_id: str | None  #: the registered client it was about, proven or only claimed
    details: Mapping[str, str]
    request_id: str
    kind: str = "client"  #: what it was about: a client, or a person by its random id


def about_a_credential(
    kind: str, action: str, *, at: datetime, actor: str | None, subject: tuple[str, str], details: Mapping[str, Json],
    request_id: str, outcome: str = ALLOWED,
) -> Decision:  # fmt: skip
    """What holders do with credentials of their own: the protocol permits or refuses it, and no policy is asked."""
    return Decision(
        id=new_id(), kind=kind, at=at, actor=actor or ANONYMOUS, institution=None, action=action, outcome=outcome,
        policy_set="", policies=(), subject_kind=subject[0], subject_id=subject[1], details=details,
        request_id=request_id, nonce=new_salt(),
    )  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Beyond:
    """Refusals that came faster than they are recorded one by one: how many in which span, where and why."""

    times: int
    since: datetime
    until: datetime
    endpoints: Mapping[str, int]
    reasons: Mapping[str, int]


class AccessService:
    """Records refusals, each in its own transaction."""

    def __init__(self, office: Office) -> None:
        self._office = office

    async def refused(self, refusal: Refusal) -> None:
        """Return once the refusal is on record; raises `Unavailable` if it cannot be: no answer without a record."""
        decision = about_a_credential(
            "access.refused", "presentCredential", outcome=REFUSED, at=self._office.now(), actor=refusal.actor,
            subject=(refusal.kind, refusal.client_id or "unknown"),
            details={"reason": refusal.reason, **refusal.details}, request_id=refusal.request_id,
        )  # fmt: skip
        await self._office.record_alone([decision])

    async def beyond(self, beyond: Beyond) -> None:
        """Record many refusals in one entry. Raises `Unavailable` if it cannot be."""
        details: dict[str, Json] = {
            "reason": "beyond_rate", "times": beyond.times, "since": beyond.since.isoformat(),
            "until": beyond.until.isoformat(), "endpoints": dict(beyond.endpoints), "reasons": dict(beyond.reasons),
        }  # fmt: skip
        decision = about_a_credential(
            "access.refused", "presentCredential", outcome=REFUSED, at=self._office.now(), actor=None,
            subject=("client", "unknown"), details=details, request_id="beyond-rate",
        )  # fmt: skip
        await self._office.record_alone([decision])
