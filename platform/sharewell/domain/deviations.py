"""Deviations: what was done otherwise than adopted without anybody saying so, found by comparing both.

They are found by the step itself, or by the sweep where a step did not happen, each kind once for a transfer. Where an
override says so beforehand, what it announces is no deviation; both count as departures in the chart of `control`.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final
from uuid import UUID

from sharewell.domain import checks
from sharewell.domain.errors import Invalid
from sharewell.domain.transfers import Transfer, TransferState


class DeviationKind(StrEnum):
    """In which way."""

    DISPATCHED_LESS = "dispatched_less"
    DISPATCHED_MORE = "dispatched_more"  #: the units beyond those adopted are in nobody's plan
    DISPATCHED_LATE = "dispatched_late"
    NOT_DISPATCHED = "not_dispatched"  #: confirmed, and nothing had left when it was due
    TAKEN_BACK = "taken_back"  #: declined after it had been confirmed
    RECEIVED_LESS = "received_less"
    RECEIVED_MORE = "received_more"
    OUTSIDE_PLAN = "outside_plan"  #: units moved that no plan asked for


#: Kinds that the giver answers for. Who lost units on the way, or counted wrong, nobody can tell from the record.
OF_THE_GIVER: Final = frozenset({
    DeviationKind.DISPATCHED_LESS, DeviationKind.DISPATCHED_MORE, DeviationKind.DISPATCHED_LATE,
    DeviationKind.NOT_DISPATCHED, DeviationKind.TAKEN_BACK,
})  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Deviation:
    """One that is on record."""

    id: UUID
    kind: DeviationKind
    transfer: UUID | None  #: None where units moved outside of any plan
    giver: UUID
    receiver: UUID
    resource: str
    adopted: int  #: units that should have moved
    moved: int  #: units that did
    detected_at: datetime
    decision: UUID


@dataclass(frozen=True, slots=True, kw_only=True)
class Unplanned:
    """Units that moved though no plan asked for it, as one of the two parties tells."""

    giver: UUID
    receiver: UUID
    resource: str
    units: int

    def check(self, told_by: UUID) -> None:
        """Raise `Invalid` naming the field, unless `told_by` is one of two parties and the rest makes sense."""
        checks.code(self.resource, "resource")
        checks.units(self.units, "units", least=1)
        if self.giver == self.receiver:
            raise Invalid("an institution does not give to itself.", field="receiver")
        if told_by not in {self.giver, self.receiver}:
            raise Invalid("it is told by the giver or the receiver.", field="giver")


def due(transfer: Transfer, needed_by: datetime) -> datetime:
    """When the units should have left: once they are needed and the time to answer is over, whichever is later."""
    return max(needed_by, transfer.hold_until)


def found_in_step(before: Transfer, after: Transfer, needed_by: datetime) -> tuple[DeviationKind, ...]:
    """In which ways the step from `before` to `after` departs from what was adopted; usually in none."""
    match after.state:
        case TransferState.DISPATCHED:
            late = (DeviationKind.DISPATCHED_LATE,) if after.changed_at > due(after, needed_by) else ()
            return (*_compared(after.dispatched, after.quantity, "dispatched"), *late)
        case TransferState.RECEIVED:
            return _compared(after.received, after.dispatched, "received")
        case TransferState.DECLINED if before.state is TransferState.CONFIRMED:
            return (DeviationKind.TAKEN_BACK,)
        case _:
            return ()


def moved(kind: DeviationKind, transfer: Transfer) -> tuple[int, int]:
    """Units that should have moved, and that did, as far as a deviation of this kind is concerned."""
    match kind:
        case DeviationKind.RECEIVED_LESS | DeviationKind.RECEIVED_MORE:
            return transfer.dispatched or transfer.quantity, transfer.received or 0
        case _:
            return transfer.quantity, transfer.dispatched or 0


def _compared(units: int | None, wanted: int | None, step: str) -> tuple[DeviationKind, ...]:
    if units is None or wanted is None or units == wanted:
        return ()
    return (DeviationKind(f"{step}_less" if units < wanted else f"{step}_more"),)
