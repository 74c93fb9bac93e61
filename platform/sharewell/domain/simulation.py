"""What a draft of the policies would have said to decisions of the past: counts, and those that come out otherwise.

A decision on record holds what was asked (`Inquiry`), so the draft can be asked the same. What was never put on record,
such as an institution's readings of what is its own, cannot be replayed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from sharewell.domain.inquiry import Inquiry
from sharewell.domain.policy import MANY, Target
from sharewell.domain.principals import Caller
from sharewell.domain.scopes import is_internal

#: Entities that a policy names: type and id.
Named = AbstractSet[tuple[str, str]]


class Unplayed(StrEnum):
    """Why a decision cannot be asked again."""

    NOT_ASKED = "not_asked"  #: no policy was asked: a credential that did not hold, or a protocol's own rule
    NOT_TOLD = "not_told"  #: the entry, an old one, does not hold what was asked
    HALF_TOLD = "half_told"  #: nor what its token was for and bound to, which matters here
    UNREADABLE = "unreadable"  #: it asks for an act, or holds a role, that this release does not know
    DRAFT_FAILS = "draft_fails"  #: the draft fails while it decides; in force, it would let nobody through


@dataclass(frozen=True, slots=True)
class Verdict:
    """What policies said."""

    allowed: bool
    policies: tuple[str, ...]  #: ids of those that decided; none where nothing permits


@dataclass(frozen=True, slots=True, kw_only=True)
class Changed:
    """A decision that the draft decides otherwise."""

    id: UUID
    at: datetime
    kind: str
    actor: str
    institution: UUID | None
    action: str
    then: Verdict
    now: Verdict


@dataclass(slots=True)
class Counts:
    """How decisions come out under the draft."""

    unchanged: int = 0
    newly_allowed: int = 0
    newly_denied: int = 0
    not_replayable: int = 0

    @property
    def decisions(self) -> int:
        return self.unchanged + self.newly_allowed + self.newly_denied + self.not_replayable

    def add(self, then: bool, now: Verdict | Unplayed) -> None:
        if isinstance(now, Unplayed):
            self.not_replayable += 1
        elif now.allowed == then:
            self.unchanged += 1
        elif now.allowed:
            self.newly_allowed += 1
        else:
            self.newly_denied += 1


@dataclass(slots=True)
class Tally:
    """Counts of a window, in all and by whose decision it is and what was asked for."""

    total: Counts = field(default_factory=Counts)
    by: dict[tuple[UUID | None, str], Counts] = field(default_factory=dict)
    unplayed: Counter[Unplayed] = field(default_factory=Counter)

    def add(self, institution: UUID | None, action: str, then: bool, now: Verdict | Unplayed) -> None:
        for counts in (self.total, self.by.setdefault((institution, action), Counts())):
            counts.add(then, now)
        if isinstance(now, Unplayed):
            self.unplayed[now] += 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Simulation:
    """Decisions of a window under a draft."""

    decision: UUID  #: that is on record for the simulation itself
    draft: str  #: hash of the draft
    since: datetime
    until: datetime  #: exclusive
    tally: Tally
    changed: tuple[Changed, ...]  #: the first of them that may be named, in order of time
    more_changed: bool  #: whether there are more that may be named
    withheld: int  #: that come out otherwise and may not be named to whoever asked
    questions: int  #: that were put to Cedar; the rest had been asked already


def named_in(kept: Mapping[str, Any], readable: AbstractSet[UUID]) -> dict[str, Any]:
    """What is kept of a simulation with a version, with those decisions alone that are `readable`; the rest counted."""
    named = [each for each in kept["changed"] if UUID(each["id"]) in readable]
    return {**kept, "changed": named, "withheld": len(kept["changed"]) - len(named)}


def same_question(inquiry: Inquiry, named: Named) -> Inquiry:
    """The inquiry with every id that no policy names replaced, equal ones by equal ones; regions stay as they are.

    Cedar compares ids for equality alone, so policies that name none of them answer both alike. `named` are the
    entities that the policies name.
    """
    caller, target = inquiry.caller, inquiry.target
    given: dict[str, UUID] = {}
    fresh = (UUID(int=number) for number in range(1, 2**16))

    def place(institution: UUID | None) -> UUID | None:
        if institution is None or ("Institution", str(institution)) in named:
            return institution
        if str(institution) not in given:
            given[str(institution)] = next(id for id in fresh if ("Institution", str(id)) not in named)  # noqa: A001
        return given[str(institution)]

    who = replace(
        caller, principal=_name(caller, named), institution=place(caller.institution), request_id="", client_id=None,
    )  # fmt: skip
    owner, giver, receiver = place(target.owner), place(target.giver), place(target.receiver)
    # Those of whom nothing else is said come last, so that it is only their number that is kept of them.
    shown = sorted(target.shared_with, key=lambda each: (str(each) not in given, str(each)))
    what = replace(
        target, owner=owner, giver=giver, receiver=receiver, id=_id(target, given, named),
        author=_author(target.author, caller, who.principal, named),
        shared_with=frozenset(one for each in shown if (one := place(each)) is not None),
    )  # fmt: skip
    return replace(inquiry, caller=who, target=what)


def _name(caller: Caller, named: Named) -> str:
    if is_internal(caller.scopes) or ("Caller", caller.principal) in named:
        return caller.principal
    return _unnamed("somebody", "Caller", named)


def _author(author: str | None, caller: Caller, name: str, named: Named) -> str | None:
    """Whether the author is the caller is all that matters of one that no policy names."""
    if author is None or ("Caller", author) in named:
        return author
    return name if author == caller.principal else _unnamed("an author", "Caller", named)


def _id(target: Target, given: dict[str, UUID], named: Named) -> str:
    kind = target.kind.capitalize()
    if target.id == MANY or (kind, target.id) in named:
        return target.id
    if target.kind == "institution" and target.id in given:  # it may be the caller's own, or its own owner
        return str(given[target.id])
    return _unnamed("something", kind, named)


def _unnamed(word: str, kind: str, named: Named) -> str:
    while (kind, word) in named:
        word += "'"
    return word


def key_of(inquiry: Inquiry) -> Hashable:
    """Equal for inquiries that are equal."""
    return inquiry.caller, inquiry.action, inquiry.target, tuple(sorted(inquiry.context.items()))
