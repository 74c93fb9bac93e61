"""What a schedule means now, and to whom: the movements of day 0 by offer and request, and each site's days.

Day 0 binds as a plan does: its units are held for their requests. Later days are an outlook, decided anew by the next
run.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, replace
from datetime import timedelta
from fractions import Fraction
from statistics import median
from typing import TYPE_CHECKING

from sharewell.domain.fairness import Receipt, gini, jain, per_mille
from sharewell.domain.horizon_records import DAY, due_today, ends_on, last_day
from sharewell.domain.horizon_walk import Alone, Node, Walk, alone, walk
from sharewell.domain.moves import total
from sharewell.domain.plan import Assignment, Reason, Unfilled
from sharewell.domain.schedule import Cause
from sharewell.domain.visibility import KEEPS

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    from sharewell.domain.canonical import Json
    from sharewell.domain.horizon import Horizon
    from sharewell.domain.horizon_rows import Shipment
    from sharewell.domain.lanes import Reach
    from sharewell.domain.offers import Offer
    from sharewell.domain.requests import Request
    from sharewell.domain.schedule import Schedule

MILLI = 1000

_CODES = {
    Cause.NO_LANE: Reason.NO_LANE,
    Cause.NOT_IN_TIME: Reason.NO_LANE,
    Cause.OWNERS_AT_FLOOR: Reason.OWNERS_AT_MINIMUM,
    Cause.ELSEWHERE: Reason.OUTCOMPETED,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteDay:
    """One institution's day with one resource; what it needs and lacks is in thousandths of a unit."""

    site: str
    item: str
    day: int
    need: int
    short_alone: int
    short_shared: int
    given: int  #: units, or places, that it begins to give on this day
    received: int  #: units that arrive, or people of its own who find a place elsewhere


@dataclass(frozen=True, slots=True)
class Outcome:
    """A horizon with a valid schedule, played day by day."""

    horizon: Horizon
    schedule: Schedule
    by_itself: Alone
    shared: Walk

    @classmethod
    def of(cls, horizon: Horizon, schedule: Schedule) -> Outcome:
        """Play it."""
        uses = {(row.site, row.day, row.item, row.serves): row.units for row in schedule.uses}
        return cls(horizon, schedule, alone(horizon), walk(horizon, schedule.shipments, uses))

    def parties(self, row: Shipment) -> tuple[str, str]:
        """Who gives and who is helped: places are given where the people go."""
        place = self.horizon.item[row.item].is_place
        return (row.destination, row.origin) if place else (row.origin, row.destination)

    def arrives(self, row: Shipment) -> int:
        """Day of the arrival."""
        return row.day + self.horizon.lane[row.item, row.origin, row.destination].days

    def metres(self, row: Shipment) -> int:
        """Length of its lane."""
        return self.horizon.lane[row.item, row.origin, row.destination].metres

    def milli(self, node: Node, units: int) -> int:
        """Thousandths of a unit, of a number in the unit in which `node` lacks."""
        return units if self.horizon.item[node[1]].is_place else MILLI * units

    def days(self) -> Iterator[SiteDay]:
        """The days of every site on which anything is needed, lacked or moved, by site, item and day."""
        given, received = defaultdict[tuple[Node, int], int](int), defaultdict[tuple[Node, int], int](int)
        for row in self.schedule.shipments:
            giver, receiver = self.parties(row)
            given[(giver, row.item), row.day] += row.units
            received[(receiver, row.item), self.arrives(row)] += row.units
        for node in sorted(self.shared.short):
            ward = self.horizon.ward.get(node)
            needs = ward.occupied if ward else [MILLI * units for units in self.horizon.standing[node].need]
            for day, need in enumerate(needs):
                found = SiteDay(
                    site=node[0], item=node[1], day=day, need=need,
                    short_alone=self.milli(node, self.by_itself.walk.short[node][day]),
                    short_shared=self.milli(node, self.shared.short[node][day]),
                    given=given[node, day], received=received[node, day],
                )  # fmt: skip
                if found.need or found.given or found.received:
                    yield found

    def lacks(self, node: Node, *, by_itself: bool = False) -> int:
        """Unit-days `node` is short over the horizon, in whole units rounded up."""
        result = self.by_itself.walk if by_itself else self.shared
        return -(-self.milli(node, result.total_short(node)) // MILLI)


@dataclass(frozen=True, slots=True)
class Today:
    """What of day 0 binds, and what it leaves open of each request."""

    outcome: Outcome
    assignments: tuple[Assignment, ...]
    unfilled: tuple[Unfilled, ...]
    bound: Mapping[Shipment, int]  #: units of shipments of day 0 that are held for requests

    def of(self, requests: Collection[str]) -> Today:
        """What of it concerns these requests."""
        assignments = tuple(row for row in self.assignments if row.request in requests)
        return replace(
            self, assignments=assignments, unfilled=tuple(row for row in self.unfilled if row.request in requests)
        )

    @property
    def received(self) -> Mapping[str, int]:
        """Units held for each request."""
        return total((row.request, row.quantity) for row in self.assignments)


def bind_today(outcome: Outcome, offers: Sequence[Offer], requests: Sequence[Request], reach: Reach) -> Today:
    """Give the shipments of day 0 to offers and requests: the most urgent first, from offers that end first.

    Units nobody has asked for, or no offer covers, are not held; they stay part of the outlook.
    """
    return _Binding(outcome, offers, requests, reach).bind()


class _Binding:
    def __init__(self, outcome: Outcome, offers: Sequence[Offer], requests: Sequence[Request], reach: Reach) -> None:
        self.outcome, self.reach, self.at = outcome, reach, outcome.horizon.start
        self.requests = sorted(requests, key=lambda row: (-row.urgency, row.needed_by, row.id))
        self.offers = sorted(offers, key=lambda row: (row.available_until, row.id))
        self.left = {row.id: row.remaining for row in offers}
        self.open = {row.id: row.requested for row in requests}
        self.asked: dict[Node, list[Request]] = defaultdict(list)
        for request in self.requests:
            self.asked[str(request.institution), request.resource].append(request)
        self.offered: dict[Node, list[Offer]] = defaultdict(list)
        for offer in self.offers:
            self.offered[str(offer.institution), offer.resource].append(offer)

    def bind(self) -> Today:
        moved: dict[tuple[str, str], tuple[int, Shipment]] = {}
        bound: dict[Shipment, int] = {}
        for row in self.outcome.schedule.shipments:
            if row.day == 0:
                bound[row] = 0
                for offer, request, units in self._matched(row):
                    before = moved.get((str(offer.id), str(request.id)), (0, row))[0]
                    moved[str(offer.id), str(request.id)] = (before + units, row)
                    bound[row] += units
        assignments = tuple(
            Assignment(offer=offer, request=request, quantity=units, reason=self._why(row, units))
            for (offer, request), (units, row) in sorted(moved.items())
        )
        unfilled = tuple(self._unfilled(row, bound) for row in self.requests if self.open[row.id])
        return Today(self.outcome, assignments, unfilled, bound)

    def _matched(self, row: Shipment) -> Iterator[tuple[Offer, Request, int]]:
        giver, receiver = self.outcome.parties(row)
        rest, hours = row.units, timedelta(hours=self.reach.hours(self.outcome.metres(row)))
        # What is offered leaves, also where the schedule counted on units of the owner's that last longer.
        days = self.outcome.horizon.days
        offers = sorted(self.offered[giver, row.item], key=lambda o: last_day(o, self.at, days) != row.until)
        for request in self.asked[receiver, row.item]:
            for offer in offers:
                units = min(rest, self.left[offer.id], self.open[request.id])
                if units and self._fits(offer, request, hours):
                    self.left[offer.id] -= units
                    self.open[request.id] -= units
                    rest -= units
                    yield offer, request, units

    def _fits(self, offer: Offer, request: Request, hours: timedelta) -> bool:
        leaves = max(self.at, offer.available_from)
        today = leaves <= offer.available_until and leaves < self.at + DAY
        wanted = due_today(request, self.at) or ends_on(offer, self.at)
        return today and wanted and leaves + hours <= request.needed_until

    def _why(self, row: Shipment, units: int) -> str:
        giver, receiver = self.outcome.parties(row)
        node, days = (receiver, row.item), self.outcome.horizon.days
        keeps = self.outcome.by_itself.keeps[giver, row.item][0]
        return (
            f"{_units(units).capitalize()} over {self.outcome.metres(row) / 1000:.0f} km today. Within {days} days "
            f"it would lack {self.outcome.lacks(node, by_itself=True)} unit-days alone, with the schedule "
            f"{self.outcome.lacks(node)}{KEEPS}the {keeps} it must."
        )

    def _unfilled(self, request: Request, bound: Mapping[Shipment, int]) -> Unfilled:
        code, reason = self._cause(request, bound)
        return Unfilled(request=str(request.id), quantity=self.open[request.id], code=code, reason=reason)

    def _cause(self, request: Request, bound: Mapping[Shipment, int]) -> tuple[Reason, str]:
        node, days = (str(request.institution), request.resource), self.outcome.horizon.days
        left = _units(self.open[request.id])
        foreseen = {
            row: row.units - bound.get(row, 0)
            for row in self.outcome.schedule.shipments
            if (self.outcome.parties(row)[1], row.item) == node and row.units > bound.get(row, 0)
        }
        if foreseen:
            first = min(row.day for row in foreseen)
            return Reason.LATER, (
                f"{left.capitalize()} more are not held today; the schedule foresees "
                f"{_units(sum(foreseen.values()))} from day {first} on, and the next one decides."
            )
        unmet = {(row.site, row.item): row for row in self.outcome.schedule.unmet}.get(node)
        if unmet is None:
            return Reason.ABOVE_NEED, (
                f"Within {days} days forecast, census and what is on its way bear out no lack that {left} more "
                "would fill."
            )
        return _CODES[unmet.code], f"{left.capitalize()} stay open. {unmet.reason}"


def receipts_today(today: Today, item: str) -> list[Receipt]:
    """What day 0 means to each site of `item` against what it would have had alone that day."""
    outcome = today.outcome
    given, received = defaultdict[str, int](int), defaultdict[str, int](int)
    for row, units in today.bound.items():
        if row.item == item:
            giver, receiver = outcome.parties(row)
            given[giver] += units
            received[receiver] += units
    return [
        _receipt(outcome, node, given[node[0]], received[node[0]])
        for node in sorted(outcome.by_itself.keeps)
        if node[1] == item
    ]


def _receipt(outcome: Outcome, node: Node, given: int, received: int) -> Receipt:
    ward = outcome.horizon.ward.get(node)
    short = -(-outcome.milli(node, outcome.by_itself.walk.short[node][0]) // MILLI)
    return Receipt(
        institution=node[0], given=given, received=received,
        stock=ward.beds[0] if ward else outcome.by_itself.walk.on_hand[node][0],
        kept=outcome.by_itself.keeps[node][0], short_alone=short, short_shared=max(0, short - received),
    )  # fmt: skip


def measures_today(today: Today, item: str) -> dict[str, Json]:
    """What is stored and shown of the run of one item: shortages in unit-days of the horizon, movements of day 0."""
    outcome = today.outcome
    nodes = [node for node in outcome.shared.short if node[1] == item]
    alone_, shared = ({n: outcome.lacks(n, by_itself=flag) for n in nodes} for flag in (True, False))
    moves = {row: units for row, units in today.bound.items() if row.item == item and units}
    moved, without = sum(moves.values()), sum(alone_.values())
    rates = [Fraction(alone_[n] - shared[n], alone_[n]) for n in nodes if alone_[n]]
    beyond = min(without, beyond_all(outcome, item))
    return {
        "shortage_without": without, "shortage_with": sum(shared.values()), "units_moved": moved,
        "lanes_used": len(moves),
        "mean_metres": sum(units * outcome.metres(row) for row, units in moves.items()) // moved if moved else 0,
        "smallest_fill": per_mille(min(rates, default=Fraction(1))),
        "median_fill": per_mille(median(rates) if rates else Fraction(1)),
        "gini": per_mille(gini(rates)), "jain": per_mille(jain(rates)),
        "donors_worse_off": sum(row.worse_off and not row.short_alone for row in receipts_today(today, item)),
        "beyond_all_sharing": beyond, "beyond_reach": max(beyond, _least(outcome, item, sum(shared.values()))),
    }  # fmt: skip


def beyond_all(outcome: Outcome, item: str) -> int:
    """Unit-days of which everyone together is short even if distance were nothing; at least so many."""
    horizon, lacking = outcome.horizon, 0
    wards = [ward for node, ward in horizon.ward.items() if node[1] == item]
    for day in range(horizon.days):
        if wards:
            lacking += max(0, sum(w.occupied[day] - MILLI * w.beds[day] for w in wards))
        elif not horizon.item[item].is_used_up:
            need = sum(row.need[day] for row in horizon.standings if row.item == item)
            has = sum(lot.units for lot in horizon.lots if lot.item == item and lot.since <= day < lot.until)
            lacking += MILLI * max(0, need - has)
    if horizon.item[item].is_used_up:
        need = sum(sum(row.need) for row in horizon.standings if row.item == item)
        lacking = MILLI * max(0, need - sum(lot.units for lot in horizon.lots if lot.item == item))
    return lacking // MILLI


def _least(outcome: Outcome, item: str, shared: int) -> int:
    """What is short of `item` where it is proven that no schedule lacks less; else 0, for nothing is known."""
    standings, wards = outcome.horizon.standings, outcome.horizon.wards
    alike = len({row.urgency for row in standings} | {row.urgency for row in wards}) == 1
    only = [row.item for row in outcome.horizon.items] == [item]
    return shared if alike and only and not outcome.schedule.search.gap else 0


def _units(count: int) -> str:
    return "1 unit" if count == 1 else f"{count} units"
