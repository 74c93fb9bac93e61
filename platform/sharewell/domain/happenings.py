"""What happens, as those hear of it who follow: which entries of the log belong to which topic, and places in the log.

The log itself is what is followed. It has an order that everybody agrees on, never changes and is numbered without
gaps, so a position in it is all that a follower needs to go on from, at whichever gateway.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final, NamedTuple
from uuid import UUID

from sharewell.domain.audit import Json
from sharewell.domain.errors import Invalid

FURTHEST: Final = 1_000_000  #: entries that a position may lie behind the end of the log

#: Things are named by an id, watched forecasts by institution and resource, versions of the policies by their number.
_POSITION = re.compile(r"(\d{1,18})(?:@([0-9a-f-]{36}(?:/[a-z0-9_.-]{1,64})?|\d{1,10}))?")


class Topic(StrEnum):
    """What can be followed."""

    OFFERS = "offers"
    REQUESTS = "requests"
    TRANSFERS = "transfers"
    PLANS = "plans"
    ALERTS = "alerts"


_ADOPTED = frozenset({"plan.adopted", "urgent_plan.adopted", "schedule.adopted"})
_STEPS = frozenset({
    "transfer.proposed", "transfer.held", "transfer.confirmed", "transfer.declined", "transfer.dispatched",
    "transfer.received", "transfer.return_due", "transfer.returned", "transfer.expired", "plan.overridden",
})  # fmt: skip
BROKEN_GLASS: Final = frozenset({"policy.glass_broken", "policy.glass_ended", "policy.glass_expired"})
PASSED_OVER: Final = "policy.passed_over"

#: The kinds of entry that each topic is about. Readings are in none: to be told of something is a reading itself, and
#: a stream must not feed on its own traces.
KINDS_OF: Final[Mapping[Topic, frozenset[str]]] = {
    Topic.OFFERS: frozenset({"offer.published", "offer.withdrawn"}),
    # Steps of transfers too: what does not come is asked for anew, and what arrives closes a request.
    Topic.REQUESTS: _ADOPTED | _STEPS | {"request.opened", "request.cancelled", "request.expired"},
    Topic.TRANSFERS: _ADOPTED | _STEPS,
    Topic.PLANS: _ADOPTED | {"plan.answered"},
    Topic.ALERTS: BROKEN_GLASS | {PASSED_OVER} | {
        "surge.declared", "surge.ended", "surge.expired", "deviation.detected", "plan.overridden", "transfer.expired",
        "forecast.drifting", "forecast.recovered", "access.refused",
    },
}  # fmt: skip
FOLLOWED: Final = frozenset().union(*KINDS_OF.values())


class Position(NamedTuple):
    """A position in the log: all before an entry was told, and of it what is named up to `name`."""

    entry: int  #: its index
    name: str = ""  #: the last thing of the entry that was told, in the order of names; empty where none was

    def text(self) -> str:
        return f"{self.entry}@{self.name}" if self.name else str(self.entry)


class CursorTooOld(Invalid):
    """The cursor lies further back than can be followed; read the list, and follow from where `followFrom` says."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Happening:
    """An entry of the log, as far as followers need it."""

    index: int
    decision: UUID
    kind: str  #: one of `domain.audit.KINDS`
    at: datetime
    institution: UUID | None  #: the one it is about
    subject_kind: str
    subject: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Following:
    """What somebody follows. What is None does not matter."""

    topic: Topic
    institution: UUID | None = None  #: whose; of transfers and alerts: one of the parties
    region: str | None = None
    resource: str | None = None

    def to_json(self) -> dict[str, Json]:
        """As the entry of the opening has it."""
        asked = {
            "institution": None if self.institution is None else str(self.institution), "region": self.region,
            "resource": self.resource,
        }  # fmt: skip
        return {"topic": str(self.topic), **{name: value for name, value in asked.items() if value is not None}}


def read_position(text: str) -> Position:
    """The position that `Position.text` wrote. Raises `Invalid`."""
    found = _POSITION.fullmatch(text)
    if found is None:
        raise Invalid("after is no cursor of an event; send the one of the last event you have.", field="after")
    return Position(int(found[1]), found[2] or "")


def check_position(position: Position, end: int) -> None:
    """Raises `Invalid` or `CursorTooOld` where the log, which ends before `end`, cannot be followed from there."""
    if position.entry > end:
        raise Invalid(
            "after lies beyond the end of the log: it comes from another platform, or this one was restored from a "
            "backup. Read the list, and follow from where followFrom says.", field="after",
        )  # fmt: skip
    if end - position.entry > FURTHEST:
        raise CursorTooOld(field="after")
