"""What would change that a site stays short over a horizon, each told from real second runs.

Multipliers of the first run would be cheaper, but they mislead where schedules tie, and most schedules do.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

from sharewell.domain.canonical import Json
from sharewell.domain.errors import NotFound
from sharewell.domain.horizon import Horizon
from sharewell.domain.horizon_rows import UNLIMITED, Gate, Lot, Way
from sharewell.domain.horizon_walk import Node
from sharewell.domain.plan import Status
from sharewell.domain.schedule import Schedule
from sharewell_workers.solving.schedule import SECONDS, solve_horizon

MOST_OWNERS = 3  #: owners, nearest first, of whom it is asked what one of them could change


@dataclass(frozen=True, slots=True, kw_only=True)
class Relief:
    """One change of the horizon, and what it would leave short."""

    change: str  #: `owner_has_more`, `windows_stay_open`, `more_is_asked` or `more_urgent`
    item: str
    units: int  #: units that the owner would have more, the fewest that help; else 0
    short: int  #: unit-days short then; of places thousandths
    sentence: str

    def to_json(self) -> dict[str, Json]:
        """Members as they are shown."""
        return {
            "change": self.change, "item": self.item, "units": self.units, "short": self.short,
            "sentence": self.sentence,
        }  # fmt: skip


class _OutOfTime(Exception):
    """The time for all questions is over, or a run of one was cut short."""


@dataclass(frozen=True, slots=True)
class _Question:
    horizon: Horizon
    node: Node
    short: int
    seconds: float
    deadline: float

    @property
    def is_place(self) -> bool:
        return self.horizon.item[self.node[1]].is_place

    def then(self, other: Horizon) -> int:
        """What the site lacks in `other`. Raises `_OutOfTime` where that cannot be told for certain in time."""
        left = self.deadline - time.monotonic()
        schedule = solve_horizon(other, seconds=min(self.seconds, max(0.0, left)))
        if schedule.search.status is not Status.OPTIMAL:
            raise _OutOfTime
        return _short_of(schedule, self.node)


def what_would_relieve(
    horizon: Horizon, schedule: Schedule, site: str, *, seconds: float = SECONDS, within: float = math.inf
) -> tuple[Relief, ...]:
    """Try single changes for each item that `site` stays short of; tell those that help, the best first.

    Tried are: more units at the nearest owners, offers that stay open, more being asked for, the highest urgency. What
    cannot be solved to the end in `seconds` a run, and `within` for all, is left out. Raises `NotFound` where the
    horizon has no such site.
    """
    if site not in horizon.site:
        raise NotFound(f"site {site} is not part of this horizon.", field="site")
    found: list[Relief] = []
    deadline = time.monotonic() + within
    for row in schedule.unmet:
        if row.site == site:
            question = _Question(horizon, (site, row.item), row.units, seconds, deadline)
            with suppress(_OutOfTime):
                found.extend(_reliefs(question))
    return tuple(sorted(found, key=lambda row: (row.item, row.short)))


def _reliefs(question: _Question) -> Iterator[Relief]:
    horizon, node = question.horizon, question.node
    lanes = sorted(
        (lane for lane in horizon.lanes if _helped(question, lane) == node),
        key=lambda lane: (lane.metres, _helper(question, lane)),
    )
    yield from _first_owner(question, lanes[:MOST_OWNERS])
    helpers = {_helper(question, lane) for lane in lanes}
    if any(helper in horizon.gate for helper in helpers):
        yield from _if_less(question, "windows_stay_open", _open(question, helpers), "If offers in reach stayed open")
    if node in horizon.gate:
        yield from _if_less(question, "more_is_asked", _asking(question), "If more were asked for, and sooner")
    standing = horizon.standing.get(node) or horizon.ward[node]
    if standing.urgency < 5:
        yield from _if_less(question, "more_urgent", _urgent(horizon, node), "At urgency 5")


def _if_less(question: _Question, change: str, other: Horizon, words: str, units: int = 0) -> Iterator[Relief]:
    short = question.then(other)
    if short < question.short:
        over = 1000 if question.is_place else 1
        yield Relief(
            change=change, item=question.node[1], units=units, short=short,
            sentence=f"{words}, it would be short {short / over:g} unit-days and not {question.short / over:g}.",
        )  # fmt: skip


def _first_owner(question: _Question, lanes: list[Way]) -> Iterator[Relief]:
    """The nearest owner whose units would help, and the fewest that do, by bisection."""
    for lane in lanes:
        helper, most = _helper(question, lane), -(-question.short // (1000 if question.is_place else 1))
        if question.then(_richer(question, helper, most)) >= question.short:
            continue
        low, high = 0, most
        while high - low > 1:
            middle = (low + high) // 2
            helps = question.then(_richer(question, helper, middle)) < question.short
            low, high = (low, middle) if helps else (middle, high)
        words = f"If the owner {lane.metres / 1000:.0f} km away had {high} more to give"
        yield from _if_less(question, "owner_has_more", _richer(question, helper, high), words, high)
        return


def _helped(question: _Question, lane: Way) -> Node:
    return (lane.origin if question.is_place else lane.destination, lane.item)


def _helper(question: _Question, lane: Way) -> Node:
    return (lane.destination if question.is_place else lane.origin, lane.item)


def _richer(question: _Question, helper: Node, units: int) -> Horizon:
    """`helper` has so many units, or beds, more, and offers them on every day."""
    horizon, (site, item) = question.horizon, helper
    gated = _gated(
        horizon, {helper}, lambda limits: [limit + units for limit in limits], giving=not question.is_place
    )
    if question.is_place:
        wards = (
            replace(row, beds=tuple(n + units for n in row.beds)) if (row.site, row.item) == helper else row
            for row in gated.wards
        )
        return replace(gated, wards=tuple(wards))
    span = (0, horizon.days)
    before = sum(
        row.units for row in horizon.lots_of.get(helper, ()) if (row.since, row.until) == span
    )
    others = tuple(row for row in horizon.lots if (row.site, row.item, row.since, row.until) != (site, item, *span))
    return replace(gated, lots=(*others, Lot(site=site, item=item, units=before + units, since=0, until=span[1])))


def _open(question: _Question, helpers: set[Node]) -> Horizon:
    """Whoever helps may do so on every day as much as on its best."""
    return _gated(question.horizon, helpers, lambda limits: [max(limits)] * len(limits), giving=not question.is_place)


def _asking(question: _Question) -> Horizon:
    unlimited = [UNLIMITED] * question.horizon.days
    return _gated(question.horizon, {question.node}, lambda _: unlimited, giving=question.is_place)


def _gated(
    horizon: Horizon, nodes: set[Node], limits: Callable[[Sequence[int]], Sequence[int]], *, giving: bool
) -> Horizon:
    """The horizon with other limits on what leaves (`giving`), or arrives, at `nodes`."""

    def changed(row: Gate) -> Gate:
        if (row.site, row.item) not in nodes:
            return row
        new = tuple(min(UNLIMITED, units) for units in limits(row.gives if giving else row.takes))
        return replace(row, gives=new) if giving else replace(row, takes=new)

    return replace(horizon, gates=tuple(map(changed, horizon.gates)))


def _urgent(horizon: Horizon, node: Node) -> Horizon:
    return replace(
        horizon,
        standings=tuple(
            replace(row, urgency=5) if (row.site, row.item) == node else row for row in horizon.standings
        ),
        wards=tuple(replace(row, urgency=5) if (row.site, row.item) == node else row for row in horizon.wards),
    )  # fmt: skip


def _short_of(schedule: Schedule, node: Node) -> int:
    return sum(row.units for row in schedule.unmet if (row.site, row.item) == node)
