"""Transfers: units on their way from an offer to a request, step by step, each step on record.

proposed -> held (expires) -> confirmed or declined (coded reason) -> dispatched -> received -> return due -> returned.
What leaves and what arrives is counted, and may differ from what was adopted; see `deviations`. Before anything has
left, an override may take a transfer out of its plan, or let its units leave unconfirmed; see `overrides`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final
from uuid import UUID

from sharewell.domain import checks
from sharewell.domain.audit import UNDECIDED
from sharewell.domain.errors import HoldExpired, Invalid, WrongStep
from sharewell.domain.resources import Resource, ResourceKind

HOLD: Final = timedelta(hours=24)  #: how long a giver has to confirm before the units are free again


class TransferState(StrEnum):
    """Where the transfer stands."""

    PROPOSED = "proposed"  #: in a plan that is not adopted
    HELD = "held"  #: units are reserved until the hold expires
    CONFIRMED = "confirmed"
    DECLINED = "declined"
    EXPIRED = "expired"  #: the hold ran out unanswered
    CANCELLED = "cancelled"  #: taken out of the plan by an override
    DISPATCHED = "dispatched"
    RECEIVED = "received"
    RETURN_DUE = "return_due"  #: a loan or a stay whose end has come
    RETURNED = "returned"


class DeclineReason(StrEnum):
    """Why a giver declines; a closed list, so that deviations can be counted."""

    OWN_NEED_ROSE = "own_need_rose"
    UNIT_UNAVAILABLE = "unit_unavailable"
    TRANSPORT_UNAVAILABLE = "transport_unavailable"
    RECEIVER_NO_LONGER_NEEDS = "receiver_no_longer_needs"
    CLINICALLY_UNSUITABLE = "clinically_unsuitable"


NEXT: Final[Mapping[TransferState, frozenset[TransferState]]] = {
    TransferState.PROPOSED: frozenset({TransferState.HELD}),
    TransferState.HELD: frozenset({TransferState.CONFIRMED, TransferState.DECLINED, TransferState.EXPIRED}),
    TransferState.CONFIRMED: frozenset({TransferState.DISPATCHED, TransferState.DECLINED}),
    TransferState.DISPATCHED: frozenset({TransferState.RECEIVED}),
    TransferState.RECEIVED: frozenset({TransferState.RETURN_DUE, TransferState.RETURNED}),
    TransferState.RETURN_DUE: frozenset({TransferState.RETURNED}),
    TransferState.DECLINED: frozenset(),
    TransferState.EXPIRED: frozenset(),
    TransferState.CANCELLED: frozenset(),
    TransferState.RETURNED: frozenset(),
}

#: Steps that only an override takes.
BY_OVERRIDE: Final[Mapping[TransferState, frozenset[TransferState]]] = {
    TransferState.HELD: frozenset({TransferState.CANCELLED, TransferState.DISPATCHED}),
    TransferState.CONFIRMED: frozenset({TransferState.CANCELLED}),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Transfer:
    """Units of one offer assigned to one request."""

    id: UUID
    offer: UUID
    request: UUID
    giver: UUID
    receiver: UUID
    resource: str
    quantity: int
    state: TransferState
    reason: str  #: why the plan makes this transfer, in words
    allocation: UUID  #: the run whose plan proposed it
    hold_until: datetime
    decline_reason: DeclineReason | None
    return_due_at: datetime | None
    changed_at: datetime
    dispatched: int | None = None  #: units that really left
    dispatched_at: datetime | None = None
    received: int | None = None  #: units that really arrived
    received_at: datetime | None = None
    changed_by: UUID = UNDECIDED  #: the decision that changed it last

    @property
    def on_the_way(self) -> int:
        """Units the request may count on: of those adopted, the ones that left, or all while none have."""
        return self.quantity if self.dispatched is None else min(self.quantity, self.dispatched)

    @property
    def arrived(self) -> int:
        """Units that the request has by this transfer; what arrived beyond those adopted answers no request."""
        return 0 if self.received is None else min(self.on_the_way, self.received)

    def confirm(self, *, at: datetime) -> Transfer:
        """The giver stands by its pledge. Raises `HoldExpired` once the hold ran out."""
        if self.state is TransferState.HELD and at >= self.hold_until:
            raise HoldExpired
        return self._step(TransferState.CONFIRMED, at)

    def decline(self, reason: DeclineReason, *, at: datetime) -> Transfer:
        """The giver takes its pledge back, for a coded reason, before anything has left."""
        return replace(self._step(TransferState.DECLINED, at), decline_reason=DeclineReason(reason))

    def expire(self, *, at: datetime) -> Transfer:
        """Nobody answered in time."""
        if at < self.hold_until:
            raise WrongStep(f"the hold lasts until {self.hold_until.isoformat()}.")
        return self._step(TransferState.EXPIRED, at)

    def cancel(self, *, at: datetime) -> Transfer:
        """Take it out of its plan before anything has left. By override only."""
        return self._step(TransferState.CANCELLED, at, BY_OVERRIDE)

    def dispatch(self, units: int | None = None, *, at: datetime, unconfirmed: bool = False) -> Transfer:
        """So many units (or, for a place, people) have left; as many as adopted where not said otherwise.

        `unconfirmed`: before the giver has confirmed, by override only.
        """
        left = checks.units(self.quantity if units is None else units, "units", least=1)
        step = self._step(TransferState.DISPATCHED, at, BY_OVERRIDE if unconfirmed else NEXT)
        return replace(step, dispatched=left, dispatched_at=at)

    def receive(self, resource: Resource, units: int | None = None, *, at: datetime) -> Transfer:
        """So many units have arrived, as many as left where not said; a device is due back after its loan days."""
        came = checks.units(self.dispatched or self.quantity if units is None else units, "units", least=1)
        due = at + timedelta(days=resource.loan_days) if resource.kind is ResourceKind.DEVICE else None
        step = self._step(TransferState.RECEIVED, at)
        return replace(step, return_due_at=due, received=came, received_at=at)

    def fall_due(self, *, at: datetime) -> Transfer:
        """The loan's time is over."""
        if self.return_due_at is None or at < self.return_due_at:
            raise WrongStep("the loan is not due yet.")
        return self._step(TransferState.RETURN_DUE, at)

    def give_back(self, resource: Resource, *, at: datetime) -> Transfer:
        """The units are back with the giver; a consumable never comes back."""
        if resource.kind is ResourceKind.CONSUMABLE:
            raise Invalid("a consumable leaves for good and cannot be returned.", field="transfer")
        return self._step(TransferState.RETURNED, at)

    def _step(
        self, state: TransferState, at: datetime,
        steps: Mapping[TransferState, frozenset[TransferState]] = NEXT,
    ) -> Transfer:  # fmt: skip
        if state not in steps.get(self.state, frozenset()):
            allowed = ", ".join(sorted(steps.get(self.state, ()))) or "nothing; it has ended"
            raise WrongStep(f"the transfer is {self.state}; from there it can become {allowed}.")
        return replace(self, state=state, changed_at=at)
