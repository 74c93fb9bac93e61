"""What would change the answer to one request, each told from real second runs.

Multipliers of the first run would be cheaper, but they mislead where plans tie, and most plans do.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace

from sharewell.domain.canonical import Json
from sharewell.domain.checks import MAX_UNITS
from sharewell.domain.errors import NotFound
from sharewell.domain.instance import Instance, Lane, Receiver
from sharewell.domain.plan import Plan, Status
from sharewell_workers.solving.memory import Memory
from sharewell_workers.solving.solve import SECONDS, solve

MOST_OWNERS = 3  #: owners, nearest first, of whom it is asked what one of them could change


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One change of the instance, and what it would have brought the request."""

    change: str  #: `owner_spares_more`, `lanes_carry_more`, `more_urgent` or `need_borne_out`
    units: int  #: units by which the instance was changed; of an owner, the fewest that help
    received: int  #: units the request would get then
    sentence: str

    def to_json(self) -> dict[str, Json]:
        """Members as they are shown."""
        return {"change": self.change, "units": self.units, "received": self.received, "sentence": self.sentence}


@dataclass(frozen=True, slots=True)
class _Question:
    """One request of one run, asked again and again."""

    instance: Instance
    receiver: Receiver
    got: int
    lacking: int  #: units that all requests of the run together lack
    seconds: float
    deadline: float
    memory: Memory = field(default_factory=Memory)  #: the instances differ in one number, so each starts at the last

    def then(self, other: Instance) -> int:
        """Units the request gets in `other`. Raises `_OutOfTime` where that cannot be told for certain in time."""
        left = self.deadline - time.monotonic()
        plan = solve(other, seconds=min(self.seconds, max(0.0, left)), memory=self.memory)
        if plan.solver.status is not Status.OPTIMAL:
            raise _OutOfTime
        return plan.received.get(self.receiver.request, 0)


class _OutOfTime(Exception):
    """The time for all questions is over, or a run of one was cut short."""


def what_would_change(
    instance: Instance, plan: Plan, request: str, *, seconds: float = SECONDS, within: float = math.inf
) -> tuple[Change, ...]:
    """Try single changes, each in runs of its own, and tell those that would bring `request` more, the best first.

    Tried are: more units at the nearest owners, wider lanes, the highest urgency, a need borne out in full.
    `seconds` bounds each run, `within` all of them: changes that time does not suffice for are left out.
    Raises `NotFound` where the instance has no such request.
    """
    receiver = instance.receiver.get(request)
    if receiver is None:
        raise NotFound(f"request {request} is not part of this instance.", field="request")
    lacking = sum(row.need for row in instance.receivers) - sum(plan.received.values())
    got = plan.received.get(request, 0)
    question = _Question(instance, receiver, got, lacking, seconds, time.monotonic() + within)
    found: list[Change] = []
    with suppress(_OutOfTime):
        found.extend(_changes(question))
    return tuple(sorted(found, key=lambda row: -row.received))


def _changes(question: _Question) -> Iterator[Change]:
    instance, receiver = question.instance, question.receiver
    missing = receiver.need - question.got
    lanes = sorted(
        (lane for lane in instance.lanes if lane.request == receiver.request),
        key=lambda lane: (lane.metres, lane.offer),
    )
    if missing > 0:
        yield from _first_owner(question, lanes[:MOST_OWNERS])
        if any(lane.cap < receiver.need for lane in lanes):
            wider = _wider(instance, receiver, missing)
            yield from _if_more(
                question, "lanes_carry_more", missing, wider, f"If every lane to it took {missing} more"
            )
        if receiver.urgency < 5:
            urgent = _with(instance, replace(receiver, urgency=5))
            yield from _if_more(question, "more_urgent", 0, urgent, "At urgency 5")
    if receiver.asked > receiver.need:
        borne_out = _with(instance, replace(receiver, need=receiver.asked))
        words = f"If forecast or census bore out all {receiver.asked}"
        yield from _if_more(question, "need_borne_out", receiver.asked - receiver.need, borne_out, words)


def _if_more(question: _Question, change: str, units: int, other: Instance, words: str) -> Iterator[Change]:
    received = question.then(other)
    if received > question.got:
        sentence = f"{words}, this request would get {received} and not {question.got}."
        yield Change(change=change, units=units, received=received, sentence=sentence)


def _first_owner(question: _Question, lanes: list[Lane]) -> Iterator[Change]:
    """The nearest owner whose units would help, and the fewest that do."""
    for lane in lanes:

        def richer(units: int, lane: Lane = lane) -> Instance:
            return _richer(question.instance, lane, units)

        fewest = _fewest(question, richer)
        if fewest:
            words = f"If the owner {lane.metres // 1000} km away could spare {fewest} more"
            yield from _if_more(question, "owner_spares_more", fewest, richer(fewest), words)
            return


def _fewest(question: _Question, richer: Callable[[int], Instance]) -> int:
    """The fewest units, by bisection, that bring the request at least one more; 0 where not even all would."""
    low, high = 0, question.lacking
    if question.then(richer(high)) <= question.got:
        return 0
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if question.then(richer(middle)) > question.got else (middle, high)
    return high


def _with(instance: Instance, receiver: Receiver) -> Instance:
    rows = (receiver if row.request == receiver.request else row for row in instance.receivers)
    return replace(instance, receivers=tuple(rows))


def _richer(instance: Instance, lane: Lane, units: int) -> Instance:
    """The owner at the other end of `lane` can spare `units` more, whatever it kept for itself before."""
    owner = instance.owner[lane.offer]
    more = units + max(0, instance.kept[owner.institution] - owner.stock)
    owners = (
        replace(
            row,
            stock=min(MAX_UNITS, row.stock + more),
            quantity=min(MAX_UNITS, row.quantity + units) if row.offer == lane.offer else row.quantity,
        )
        if row.institution == owner.institution
        else row
        for row in instance.owners
    )
    # Its lanes to others widen too, or the units could not go where the rule sends them.
    lanes = (
        replace(row, cap=min(MAX_UNITS, row.cap + units)) if row.offer == lane.offer else row for row in instance.lanes
    )
    return replace(instance, owners=tuple(owners), lanes=tuple(lanes))


def _wider(instance: Instance, receiver: Receiver, units: int) -> Instance:
    lanes = (
        replace(row, cap=min(MAX_UNITS, row.cap + units)) if row.request == receiver.request else row
        for row in instance.lanes
    )
    return replace(instance, lanes=tuple(lanes))
