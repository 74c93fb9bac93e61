"""Refused access: somebody knocked with a credential that does not open, and the log says so before they hear it."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass

from sharewell.domain.audit import REFUSED, Decision
from sharewell.services.office import Office, new_id

ANONYMOUS = "anonymous"  #: the actor where nothing was proven


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """One credential that was presented and refused. Holds digests of it, never the credential."""

    reason: str  #: a word such as `expired` or `replayed`
    actor: str | None  #: the client that presented it, where a signature proved so
    client_id: str | None  #: the registered client it was about, proven or only claimed
    details: Mapping[str, str]
    request_id: str


class AccessService:
    """Records refusals, each in its own transaction."""

    def __init__(self, office: Office) -> None:
        self._office = office

    async def refused(self, refusal: Refusal) -> None:
        """Return once the refusal is on record; raises `Unavailable` if it cannot be: no answer without a record."""
        decision = Decision(
            id=new_id(),
            kind="access.refused",
            at=self._office.now(),
            actor=refusal.actor or ANONYMOUS,
            institution=None,
            action="presentCredential",
            outcome=REFUSED,
            policy_set="",
            policies=(),
            subject_kind="client",
            subject_id=refusal.client_id or "unknown",
            details={"reason": refusal.reason, **refusal.details},
            request_id=refusal.request_id,
            nonce=secrets.token_hex(16),
        )
        await self._office.record_alone([decision])
