"""Breaking the glass: policies in force at once, for hours, for a reason, without a second person.

It brings back what was in force before, or gives a named caller named acts and changes nothing else. It ends by
itself, and whoever broke the last glass does not break the next before somebody else approved something.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final
from uuid import UUID

from sharewell.domain import checks
from sharewell.domain.errors import Conflict, Invalid
from sharewell.domain.policy_versions import PolicyVersion, VersionState

LONGEST: Final = timedelta(hours=24)  #: whatever an operator sets
USUAL: Final = timedelta(hours=4)


class GlassReason(StrEnum):
    """Why the glass is broken; a closed list, so that they can be counted."""

    LIFE_AT_STAKE = "life_at_stake"
    CARE_BLOCKED = "care_blocked"  #: the policies keep from acting those who must
    WRONG_RULE = "wrong_rule"  #: what is in force is not what was meant
    ATTACK_ON_SYSTEMS = "attack_on_systems"
    ORDERED_BY_AUTHORITY = "ordered_by_authority"


class GlassEnding(StrEnum):
    """How it came to its end."""

    ENDED = "ended"  #: early, by somebody entitled
    EXPIRED = "expired"  #: its time was over


@dataclass(frozen=True, slots=True, kw_only=True)
class GlassDraft:
    """What an admin says who breaks the glass."""

    version: int
    reason: GlassReason
    until: datetime
    remark: str

    def check(self, at: datetime, longest: timedelta) -> None:
        """Raise `Invalid` naming the field that keeps this from being done at `at`."""
        checks.moment(self.until, "until")
        if not at < self.until <= at + longest:
            hours = longest / timedelta(hours=1)
            raise Invalid(f"until must lie ahead, by at most {hours:g} hours.", field="until")
        if not self.remark.strip():
            raise Invalid("say in a sentence what is going on; the code alone does not do.", field="remark")


@dataclass(frozen=True, slots=True, kw_only=True)
class Somebody:
    """Who did something: a client, and the person on whose behalf if one was named."""

    client: str
    person: UUID | None
    through: str | None = None  #: the app, where a person did it through one

    def is_as(self, client: str, person: UUID | None) -> bool:
        """Whether it is the same client or the same person."""
        return self.client == client or (person is not None and self.person == person)


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokenGlass:
    """One that was broken."""

    id: UUID
    version: int
    reason: GlassReason
    broken_at: datetime
    until: datetime
    client: str  #: who broke it
    person: UUID | None  #: reference of the person on whose behalf
    ended_at: datetime | None
    ending: GlassEnding | None
    decision: UUID
    ended_by: UUID | None  #: the decision that ended it
    through: str | None = None  #: the app by which a person broke it, as its store knows it

    def in_force(self, at: datetime) -> bool:
        """Whether its policies are in force at `at`."""
        return self.ended_at is None and self.broken_at <= at < self.until

    def check_ends(self, ending: GlassEnding, at: datetime) -> None:
        """Raise `Conflict` where it cannot come to this end now."""
        if self.ended_at is not None:
            raise Conflict("this one has ended already.", field="glass")
        if ending is GlassEnding.EXPIRED and at < self.until:
            raise Conflict(f"this one lasts until {self.until.isoformat()}.", field="glass")


def check_breaks(
    last: BrokenGlass | None, *, version: PolicyVersion, by: str, person: UUID | None, same_line: bool,
    approved_since: bool,
) -> None:  # fmt: skip
    """Raise `Conflict` where `by` cannot break the glass after `last`, or `version` is not fit for it.

    `same_line`: whether `by` and who broke `last` have a line in common, so that one may have made the other.
    `approved_since`: whether somebody else approved some version after `last` was broken, see `others_word`.
    """
    if last is not None and last.ended_at is None:
        raise Conflict("a glass is broken already; end that one first.", field="version")
    if version.state in (VersionState.DRAFT, VersionState.WITHDRAWN):
        raise Conflict(f"version {version.number} is {version.state}; it cannot be in force.", field="version")
    same = last is not None and (last.client == by or same_line or (person is not None and last.person == person))
    if same and not approved_since:
        raise Conflict(
            "you broke the last glass, or an admin of your line did; one of another line breaks the next, or a second "
            "person approves a version first."
        )


def others_word(last: BrokenGlass, approvals: Sequence[Somebody], *, by: str, person: UUID | None) -> bool:
    """Whether one of the `approvals` since `last`, of versions not withdrawn, is neither the breaker's nor `by`'s."""
    return any(not each.is_as(by, person) and not each.is_as(last.client, last.person) for each in approvals)
