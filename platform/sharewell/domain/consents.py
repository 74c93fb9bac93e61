"""Standing consents: what an owner lets be confirmed in its name while surge mode is in force, and at no other time."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from sharewell.domain import checks
from sharewell.domain.audit import UNDECIDED
from sharewell.domain.errors import Conflict, Invalid

LONGEST: Final = timedelta(days=366)


@dataclass(frozen=True, slots=True, kw_only=True)
class Consent:
    """An institution consents once for the units it pledges of one resource. It can take that back at any moment."""

    id: UUID
    institution: UUID
    resource: str
    given_at: datetime
    until: datetime
    withdrawn_at: datetime | None = None
    changed_by: UUID = UNDECIDED  #: the decision that changed it last

    @classmethod
    def give(cls, *, id: UUID, by: UUID, resource: str, until: datetime, at: datetime) -> Consent:  # noqa: A002
        """Consent for institution `by`, or raise `Invalid` naming the field that is wrong."""
        checks.moment(until, "until")
        if not at < until <= at + LONGEST:
            raise Invalid(f"until must lie ahead, by at most {LONGEST.days} days.", field="until")
        return cls(id=id, institution=by, resource=checks.code(resource, "resource"), given_at=at, until=until)

    def stands(self, at: datetime) -> bool:
        """Whether it counts at `at`."""
        return self.withdrawn_at is None and at < self.until

    def withdraw(self, *, at: datetime) -> Consent:
        """Take it back. What it confirmed already stays confirmed, and may be declined like anything confirmed."""
        if not self.stands(at):
            raise Conflict("the consent does not stand any more.")
        return replace(self, withdrawn_at=at)
