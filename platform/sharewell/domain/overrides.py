"""Overrides: departures from an adopted plan on purpose, each by a code from a closed list and on record.

A plan that nobody may depart from is left aside in silence; one that anybody may depart from "for other reasons" is
no plan. So the lists are closed, each code fits only the departures it can explain, and free text comes on top only.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final
from uuid import UUID

from sharewell.domain.errors import Invalid


class OverrideKind(StrEnum):
    """What is done otherwise than planned."""

    CANCEL = "cancel"  #: a transfer is taken out of its plan
    REASSIGN = "reassign"  #: its units go to another request, once their giver confirms that
    MOVE_UNCONFIRMED = "move_unconfirmed"  #: its units leave before the giver has confirmed


class OverrideCode(StrEnum):
    """Why; a closed list, so that overrides can be counted."""

    LIFE_AT_STAKE = "life_at_stake"
    NEED_ENDED = "need_ended"
    RECEIVER_CANNOT_TAKE = "receiver_cannot_take"
    TRANSPORT_FAILED = "transport_failed"
    UNIT_UNSUITABLE = "unit_unsuitable"
    DATA_WERE_WRONG = "data_were_wrong"
    ORDERED_BY_AUTHORITY = "ordered_by_authority"


#: Which codes can explain which departure.
CODES: Final[Mapping[OverrideKind, frozenset[OverrideCode]]] = {
    OverrideKind.CANCEL: frozenset(OverrideCode) - {OverrideCode.LIFE_AT_STAKE},
    OverrideKind.REASSIGN: frozenset(OverrideCode),
    OverrideKind.MOVE_UNCONFIRMED: frozenset({OverrideCode.LIFE_AT_STAKE, OverrideCode.ORDERED_BY_AUTHORITY}),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class OverrideDraft:
    """What somebody means to do otherwise than planned."""

    transfer: UUID
    kind: OverrideKind
    code: OverrideCode
    request: UUID | None = None  #: where the units go instead, for `REASSIGN`
    units: int | None = None  #: how many leave, for `MOVE_UNCONFIRMED`; None: as many as adopted
    remark: str | None = None

    def check(self) -> None:
        """Raise `Invalid` naming the field that does not fit the others."""
        if self.code not in CODES[self.kind]:
            fitting = ", ".join(sorted(CODES[self.kind]))
            raise Invalid(f"{self.code} does not explain a {self.kind}; what does: {fitting}.", field="code")
        if (self.kind is OverrideKind.REASSIGN) != (self.request is not None):
            raise Invalid("request is named to reassign units, and only then.", field="request")
        if self.units is not None and self.kind is not OverrideKind.MOVE_UNCONFIRMED:
            raise Invalid("units are said where they leave unconfirmed, and only then.", field="units")


@dataclass(frozen=True, slots=True, kw_only=True)
class Override:
    """A departure that is on record."""

    id: UUID
    kind: OverrideKind
    code: OverrideCode
    transfer: UUID  #: what was planned
    request: UUID | None  #: where its units go instead
    replacement: UUID | None  #: the transfer by which they do
    giver: UUID
    receiver: UUID  #: of what was planned
    client: str  #: who did it
    made_at: datetime
    decision: UUID
