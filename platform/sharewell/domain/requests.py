"""Requests: what an institution lacks. Requested, approved and fulfilled are three numbers."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any
from uuid import UUID

from sharewell.domain import checks
from sharewell.domain.audit import UNDECIDED
from sharewell.domain.errors import Conflict, Invalid

FURTHEST_AHEAD = timedelta(days=92)  #: nobody knows a need further ahead than this


class RequestReason(StrEnum):
    """Why units are needed; coded, so that reasons can be counted."""

    SURGE = "surge"
    FORECAST_SHORTAGE = "forecast_shortage"
    STOCK_OUT = "stock_out"
    EQUIPMENT_FAILURE = "equipment_failure"
    STAFF_ABSENCE = "staff_absence"
    DISASTER = "disaster"


class RaiseReason(StrEnum):
    """Why more counts as needed than forecast and census bear out; a closed list, so that raises can be counted."""

    INCOMING_PATIENTS = "incoming_patients"  #: on their way, and in no report yet
    EQUIPMENT_FAILED = "equipment_failed"  #: since the newest report
    STAFF_ABSENT = "staff_absent"  #: since the newest report
    SUPPLY_FAILED = "supply_failed"  #: a delivery that the stock was planned on does not come
    DISASTER = "disaster"  #: no forecast knows of it
    NOT_REPORTED = "not_reported"  #: the institution has no report or forecast that would show the need


class RequestStatus(StrEnum):
    """How far the request has come."""

    OPEN = "open"  #: no plan has answered it yet
    APPROVED = "approved"  #: a plan approves all or part; the rest lives on as a remainder
    FULFILLED = "fulfilled"
    SUPERSEDED = "superseded"  #: every giver took its pledge back; what is needed lives on in its remainders
    CANCELLED = "cancelled"
    EXPIRED = "expired"


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestDraft:
    """What an institution asks for."""

    resource: str
    quantity: int
    needed_by: datetime
    needed_until: datetime
    urgency: int  #: 1 (can wait) to 5 (lives at stake now)
    reason: RequestReason
    raised: int = 0  #: units of the quantity that count as needed even where forecast and census do not show them
    raise_reason: RaiseReason | None = None  #: why; required where units are raised


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A need that is on record."""

    id: UUID
    institution: UUID
    resource: str
    requested: int  #: units asked for
    approved: int  #: units a plan assigned to it
    fulfilled: int  #: units received
    urgency: int
    needed_by: datetime
    needed_until: datetime
    reason: RequestReason
    status: RequestStatus
    remainder_of: UUID | None  #: the request whose unfilled part this is
    note: str  #: why it was cut or refused, in words; empty while nothing was
    opened_at: datetime
    raised: int = 0  #: units that count as needed on the institution's word, where forecast and census fall short
    raise_reason: RaiseReason | None = None
    changed_by: UUID = UNDECIDED  #: the decision that changed it last

    @classmethod
    def open(cls, draft: RequestDraft, *, id: UUID, by: UUID, at: datetime) -> Request:  # noqa: A002
        """Put `draft` on record for institution `by`, or raise `Invalid` naming the field that is wrong."""
        checks.window(draft.needed_by, draft.needed_until, ("neededBy", "neededUntil"))
        if not at - timedelta(days=1) <= draft.needed_by <= at + FURTHEST_AHEAD:
            raise Invalid(
                f"neededBy must lie between yesterday and {FURTHEST_AHEAD.days} days ahead.", field="neededBy"
            )
        _check_raise(draft)
        return cls(
            id=id, institution=by, resource=checks.code(draft.resource, "resource"),
            requested=checks.units(draft.quantity, "quantity", least=1), approved=0, fulfilled=0,
            urgency=checks.units(draft.urgency, "urgency", least=1, most=5), needed_by=draft.needed_by,
            needed_until=draft.needed_until, reason=RequestReason(draft.reason), status=RequestStatus.OPEN,
            remainder_of=None, note="", opened_at=at, raised=draft.raised, raise_reason=draft.raise_reason,
        )  # fmt: skip

    def approve(self, units: int, *, note: str) -> Request:
        """A plan assigns `units` (0 or more) to it and says why it is no more."""
        if self.status is not RequestStatus.OPEN:
            raise Conflict(f"request {self.id} is {self.status}, no longer open.")
        if not 0 <= units <= self.requested:
            raise Invalid(f"approved is {units}; it must be 0 to {self.requested}.", field="approved")
        status = RequestStatus.APPROVED if units else RequestStatus.OPEN
        return replace(self, approved=units, status=status, note=note)

    def remainder(self, *, id: UUID, at: datetime) -> Request | None:  # noqa: A002
        """The part a plan left open, as a request of its own linked to this one; None where nothing is left."""
        left = self.requested - self.approved
        if left == 0 or self.status is not RequestStatus.APPROVED:
            return None
        return replace(
            self, id=id, requested=left, approved=0, fulfilled=0, status=RequestStatus.OPEN, remainder_of=self.id,
            opened_at=at, **self._raised_of(left),
        )  # fmt: skip

    def release(self, units: int, *, id: UUID, at: datetime) -> tuple[Request, Request | None]:  # noqa: A002
        """A giver took `units` back: they are approved no longer, and asked for again while there is time."""
        if not 0 < units <= self.approved - self.fulfilled:
            raise Conflict(f"only {self.approved - self.fulfilled} units of the request are on their way.")
        approved = self.approved - units
        in_time = at < self.needed_until
        if not approved:
            status = RequestStatus.SUPERSEDED if in_time else RequestStatus.EXPIRED
        else:
            status = RequestStatus.FULFILLED if approved == self.fulfilled else self.status
        remainder = None
        if in_time:
            remainder = replace(
                self, id=id, requested=units, approved=0, fulfilled=0, status=RequestStatus.OPEN,
                remainder_of=self.id, note="", opened_at=at, **self._raised_of(units),
            )  # fmt: skip
        return replace(self, approved=approved, status=status), remainder

    def _raised_of(self, units: int) -> dict[str, Any]:
        """What a remainder of `units` still raises: no more than is open."""
        raised = min(self.raised, units)
        return {"raised": raised, "raise_reason": self.raise_reason if raised else None}

    def fulfil(self, units: int) -> Request:
        """`units` (1 or more) have arrived."""
        fulfilled = self.fulfilled + checks.units(units, "units", least=1)
        if fulfilled > self.approved:
            raise Conflict(f"{fulfilled} units received are more than the {self.approved} approved.")
        status = RequestStatus.FULFILLED if fulfilled == self.approved else self.status
        return replace(self, fulfilled=fulfilled, status=status)

    def expire(self) -> Request:
        """The time the units were needed in is over; what a plan has answered is on its way and ends by itself."""
        if self.status is not RequestStatus.OPEN:
            raise Conflict(f"the request is {self.status}; only an open one runs out.")
        return replace(self, status=RequestStatus.EXPIRED)

    def cancel(self) -> Request:
        """The need is gone; only what no plan has answered can be cancelled."""
        if self.status is not RequestStatus.OPEN:
            raise Conflict(f"the request is {self.status}; only an open one can be cancelled.")
        return replace(self, status=RequestStatus.CANCELLED)


def _check_raise(draft: RequestDraft) -> None:
    checks.units(draft.raised, "raised", most=checks.units(draft.quantity, "quantity", least=1))
    if (draft.raised > 0) != (draft.raise_reason is not None):
        raise Invalid("raiseReason stands where units are raised, and only there.", field="raiseReason")
