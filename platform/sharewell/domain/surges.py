"""Surge mode: while a region is overrun, holds are short and standing consents count. What is recorded never changes.

It is declared for a reason from a closed list, ends by itself after three days at most, and can be renewed or ended
early. It is in force only once its declaration is in the log under a signed checkpoint: what shortens approvals can be
proven to a stranger before it shortens the first one.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final
from uuid import UUID

from sharewell.domain import checks
from sharewell.domain.errors import Conflict, Invalid
from sharewell.domain.transfers import HOLD

LONGEST: Final = timedelta(hours=72)
SHORT_HOLD: Final = timedelta(hours=2)  #: how long a giver has to confirm while surge mode is in force


class SurgeReason(StrEnum):
    """Why it is declared; a closed list, so that declarations can be counted."""

    EPIDEMIC_PEAK = "epidemic_peak"
    MASS_CASUALTIES = "mass_casualties"
    DISASTER = "disaster"
    UTILITY_FAILURE = "utility_failure"
    ATTACK_ON_SYSTEMS = "attack_on_systems"


class SurgeEnding(StrEnum):
    """How it came to its end."""

    ENDED = "ended"  #: early, by somebody entitled
    EXPIRED = "expired"  #: its time was over
    RENEWED = "renewed"  #: a later declaration took its place


@dataclass(frozen=True, slots=True, kw_only=True)
class SurgeDraft:
    """What is to be declared."""

    region: str
    resource: str | None  #: None: every resource
    reason: SurgeReason
    until: datetime
    remark: str | None = None

    def check(self, at: datetime) -> None:
        """Raise `Invalid` naming the field that keeps this from being declared at `at`."""
        checks.code(self.region, "region")
        if self.resource is not None:
            checks.code(self.resource, "resource")
        checks.moment(self.until, "until")
        if not at < self.until <= at + LONGEST:
            hours = LONGEST // timedelta(hours=1)
            raise Invalid(f"until must lie ahead, by at most {hours} hours; renew it for more.", field="until")


@dataclass(frozen=True, slots=True, kw_only=True)
class SurgeMode:
    """One that was declared."""

    id: UUID
    region: str
    resource: str | None
    reason: SurgeReason
    declared_at: datetime
    until: datetime
    renews: UUID | None  #: the one whose place it took
    client: str  #: who declared it
    ended_at: datetime | None
    ending: SurgeEnding | None
    decision: UUID
    ended_by: UUID | None  #: the decision that ended it
    signed: bool  #: whether the declaration is under a signed checkpoint

    @classmethod
    def declare(
        cls, draft: SurgeDraft, *, id: UUID, at: datetime, client: str, renews: UUID | None, decision: UUID  # noqa: A002
    ) -> SurgeMode:
        """Declare `draft`, or raise `Invalid` naming the field that is wrong. It is not signed yet."""
        draft.check(at)
        return cls(
            id=id, region=draft.region, resource=draft.resource, reason=SurgeReason(draft.reason), declared_at=at,
            until=draft.until, renews=renews, client=client, ended_at=None, ending=None, decision=decision,
            ended_by=None, signed=False,
        )  # fmt: skip

    @property
    def changed_by(self) -> UUID:
        """The decision that changed it last."""
        return self.ended_by or self.decision

    def in_force(self, at: datetime) -> bool:
        """Whether it shortens approvals at `at`."""
        return self.signed and self.ended_at is None and at < self.until

    def check_ends(self, ending: SurgeEnding, at: datetime) -> None:
        """Raise `Conflict` where it cannot come to this end now."""
        if self.ended_at is not None:
            raise Conflict("this surge mode has ended already.")
        if ending is SurgeEnding.EXPIRED and at < self.until:
            raise Conflict(f"this surge mode lasts until {self.until.isoformat()}.")


def hold(surge: SurgeMode | None) -> timedelta:
    """How long the givers of a plan have to answer."""
    return HOLD if surge is None else SHORT_HOLD
