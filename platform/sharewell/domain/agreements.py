"""Sharing agreements: whom an institution lets see more of its numbers than everybody sees, of what, until when.

The giver decides: it proposes, and nothing is shown that it did not propose. The receiver accepts, and with that takes
on to use what it sees for planning and care and to pass it to nobody. Either ends it at any moment, with no reason.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final
from uuid import UUID

from sharewell.domain import checks
from sharewell.domain.audit import UNDECIDED
from sharewell.domain.errors import Conflict, Invalid

LONGEST: Final = timedelta(days=366)  #: so that each is looked at once a year


class SharedDetail(StrEnum):
    """What the receiver sees beside what every institution sees."""

    COUNTS = "counts"  #: exact counts of capacity reports
    FORECASTS = "forecasts"  #: these, and the forecasts of need


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """One institution lets one other see more."""

    id: UUID
    giver: UUID  #: whose numbers are shown
    receiver: UUID  #: who sees them
    resource: str | None  #: None: all resources
    detail: SharedDetail
    starts_at: datetime
    until: datetime
    proposed_at: datetime
    accepted_at: datetime | None = None
    ended_at: datetime | None = None
    changed_by: UUID = UNDECIDED  #: the decision that changed it last

    @classmethod
    def propose(
        cls, *, id: UUID, giver: UUID, receiver: UUID, resource: str | None, detail: SharedDetail,  # noqa: A002
        starts_at: datetime | None, until: datetime, at: datetime,
    ) -> Agreement:  # fmt: skip
        """Offer to show; from now on where `starts_at` is None. Raises `Invalid` naming the field that is wrong."""
        starts = at if starts_at is None else starts_at
        checks.window(starts, until, ("startsAt", "until"))
        if starts < at:
            raise Invalid("startsAt lies in the past; leave it out to begin at once.", field="startsAt")
        if until > at + LONGEST:
            raise Invalid(f"until must lie at most {LONGEST.days} days ahead; agree anew then.", field="until")
        if giver == receiver:
            raise Invalid("an institution sees its own numbers anyhow; name another one.", field="receiver")
        return cls(
            id=id, giver=giver, receiver=receiver, detail=detail, starts_at=starts, until=until, proposed_at=at,
            resource=None if resource is None else checks.code(resource, "resource"),
        )  # fmt: skip

    def accept(self, *, at: datetime) -> Agreement:
        """The receiver takes on what comes with it."""
        self._check_open(at)
        if self.accepted_at is not None:
            raise Conflict("the agreement is accepted already.")
        return replace(self, accepted_at=at)

    def end(self, *, at: datetime) -> Agreement:
        """Take it back, decline it or leave it: from `at` on nothing is shown. What was seen cannot be unseen."""
        self._check_open(at)
        return replace(self, ended_at=at)

    def shows(self, detail: SharedDetail, at: datetime) -> bool:
        """Whether it is in force at `at` and covers `detail`."""
        agreed = self.accepted_at is not None and self.ended_at is None
        return agreed and self.starts_at <= at < self.until and detail in COVERS[self.detail]

    def _check_open(self, at: datetime) -> None:
        if self.ended_at is not None or at >= self.until:
            raise Conflict("the agreement is over.")


#: What each detail shows.
COVERS: Final = {
    SharedDetail.COUNTS: frozenset({SharedDetail.COUNTS}),
    SharedDetail.FORECASTS: frozenset(SharedDetail),
}


@dataclass(frozen=True, slots=True)
class Shown:
    """What agreements in force let one institution see: by giver, the resources (None: all) at one detail."""

    receiver: UUID | None
    resources: dict[UUID, frozenset[str | None]]

    def to(self, giver: UUID | None, resource: str | None) -> frozenset[UUID]:
        """Whom `giver` shows `resource` (None: all of them), as far as known: the receiver, or nobody."""
        covered = frozenset[str | None]() if giver is None else self.resources.get(giver, frozenset())
        if self.receiver is None or not covered & {None, resource}:
            return frozenset()
        return frozenset({self.receiver})

    @classmethod
    def of(cls, receiver: UUID | None, agreements: list[Agreement], detail: SharedDetail, at: datetime) -> Shown:
        """By the agreements of `receiver` that are in force at `at`."""
        found: dict[UUID, frozenset[str | None]] = {}
        for one in agreements:
            if one.shows(detail, at):
                found[one.giver] = found.get(one.giver, frozenset()) | {one.resource}
        return cls(receiver, found)
