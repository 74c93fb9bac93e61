"""How the owners have answered a plan: it is a proposal until each of them has."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from uuid import UUID

from sharewell.domain.errors import Invalid
from sharewell.domain.transfers import DeclineReason, TransferState


class PlanState(StrEnum):
    """How far the owners' answers have come."""

    PROPOSED = "proposed"  #: some owner has still to answer
    CONFIRMED = "confirmed"  #: every owner stood by all of it
    CHANGED = "changed"  #: all is answered, and some of it fell away


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanAnswers:
    """The transfers of one plan, by how they were answered."""

    open: int = 0
    accepted: int = 0  #: confirmed, and not taken back since
    declined: int = 0
    expired: int = 0
    cancelled: int = 0  #: taken out by an override
    units_open: int = 0
    units_accepted: int = 0
    units_lost: int = 0  #: declined, expired or cancelled

    @property
    def state(self) -> PlanState:
        if self.open:
            return PlanState.PROPOSED
        return PlanState.CHANGED if self.units_lost else PlanState.CONFIRMED

    def without_units(self) -> VeiledAnswers:
        """What is told of it to whoever may not read the plan: each knows the units of its own transfers."""
        return VeiledAnswers(
            state=self.state, open=self.open, accepted=self.accepted, declined=self.declined, expired=self.expired,
            cancelled=self.cancelled,
        )  # fmt: skip

    @classmethod
    def count(cls, transfers: Mapping[TransferState, tuple[int, int]]) -> PlanAnswers:
        """From how many transfers stand in each state, and their units."""
        counted: dict[str, int] = {}
        for state, (number, units) in transfers.items():
            name = _answer(state)
            total = f"units_{name}" if name in {"open", "accepted"} else "units_lost"
            counted[name] = counted.get(name, 0) + number
            counted[total] = counted.get(total, 0) + units
        return cls(**counted)


@dataclass(frozen=True, slots=True, kw_only=True)
class VeiledAnswers:
    """The transfers of one plan without their units."""

    state: PlanState
    open: int
    accepted: int
    declined: int
    expired: int
    cancelled: int
    units_open: None = None
    units_accepted: None = None
    units_lost: None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanReply:
    """What an owner answers to all its open holds in one plan."""

    declines: Mapping[UUID, tuple[DeclineReason, str | None]]  #: by transfer; with a remark
    others: DeclineReason | None = None  #: why the rest is declined; None confirms it

    def check(self, held: frozenset[UUID]) -> None:
        """Raise `Invalid` for a transfer that is none of the owner's open holds in this plan."""
        for place, transfer in enumerate(self.declines):
            if transfer not in held:
                field = f"declines.{place}.transfer"
                raise Invalid(f"{transfer} is no open hold of yours in this plan.", field=field)

    def to(self, transfer: UUID) -> tuple[DeclineReason, str | None] | None:
        """Why `transfer` is declined, with a remark; None where it is confirmed."""
        if transfer in self.declines:
            return self.declines[transfer]
        return None if self.others is None else (self.others, None)


def _answer(state: TransferState) -> str:
    match state:
        case TransferState.PROPOSED | TransferState.HELD:
            return "open"
        case TransferState.DECLINED | TransferState.EXPIRED | TransferState.CANCELLED:
            return state.value
        case _:
            return "accepted"
