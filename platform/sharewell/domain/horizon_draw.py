"""How a horizon is drawn from what is on record: stock, offers, requests, transfers under way, forecasts, day by day.

A pure function of rows, as `snapshot` is for one moment. Day d begins d times 24 hours after the start; its forecast is
that of the start's date plus d.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING

from sharewell.domain.horizon import Aim, Horizon
from sharewell.domain.horizon_records import DAY, due_today, last_day
from sharewell.domain.horizon_rows import UNLIMITED, Gate, Item, Lot, Shipment, Site, Standing, Ward, Way
from sharewell.domain.horizon_walk import Alone, Node, alone
from sharewell.domain.lanes import Reach, Spot, nearest_lanes
from sharewell.domain.resources import Resource, ResourceKind
from sharewell.domain.rule import Rule
from sharewell.domain.transfers import TransferState

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from datetime import datetime

    from sharewell.domain.capacity import CapacityReport
    from sharewell.domain.horizon_records import Stored, Terms, UnderWay
    from sharewell.domain.institutions import Institution
    from sharewell.domain.offers import Offer
    from sharewell.domain.requests import Request

#: Share of people, per mille, still in their bed n days after they came: the Weibull law fitted to New Jersey's
#: hospitals in spring 2020 (shape 1.38, scale 12.88 days), as in `docs/allocation.md`.
STAY = (
    1000, 971, 926, 875, 819, 763, 706, 650, 596, 543, 494, 447, 404, 363,
    326, 291, 260, 231, 205, 181, 160, 140, 123, 108, 94, 82, 72, 62,
)  # fmt: skip
LEFT = frozenset({TransferState.DISPATCHED, TransferState.RECEIVED, TransferState.RETURN_DUE})

#: Lane-days up to which a floor is looked for. In larger regions it takes the search so long that little time is left
#: for what is short: of 500 institutions a minute then mends 33 % of the shortage, and 69 % without.
MOST_WITH_FLOOR = 40_000


def draw_horizon(stored: Stored, terms: Terms, *, region: str, at: datetime, reach: Reach | None = None) -> Horizon:
    """Draw the horizon of a region from `at` on.

    Only what is offered leaves: an owner keeps everything else, its own need at the chosen quantile and the minimum it
    stated, and nothing leaves outside the window of an offer. What arrives answers requests that are due by then; from
    day 1 on it may also go to whoever is only expected to lack it and has said nothing of that day.
    """
    return _Drawing(stored, terms, region, at, reach or Reach()).draw()


class _Drawing:
    def __init__(self, stored: Stored, terms: Terms, region: str, at: datetime, reach: Reach) -> None:
        self.stored, self.terms, self.at, self.reach, self.days = stored, terms, at, reach, terms.days
        self.seed = f"{at.date()}/{region}/{'+'.join(sorted(row.code for row in stored.resources))}"[:200]
        self.resource = {row.code: row for row in stored.resources}
        self.offers: dict[Node, list[Offer]] = defaultdict(list)
        for offer in stored.offers:
            self.offers[str(offer.institution), offer.resource].append(offer)
        self.ending: dict[str, set[int]] = defaultdict(set)  #: days on which an offer of an item ends
        for offer in stored.offers:
            self.ending[offer.resource].add((offer.available_until - at) // DAY)
        self.requests: dict[Node, list[Request]] = defaultdict(list)
        for request in stored.requests:
            self.requests[str(request.institution), request.resource].append(request)
        self.coming: dict[Node, list[UnderWay]] = defaultdict(list)
        for row in stored.under_way:
            self.coming[row.receiver, row.resource].append(row)
        known = {*stored.reports, *stored.forecasts, *self.offers, *self.requests}
        taking_part = {str(row.id) for row in stored.institutions}
        self.nodes = sorted(node for node in known if node[0] in taking_part and node[1] in self.resource)
        self.need = {node: self._expected(node) for node in self.nodes}
        self.raised = {node: [0] * self.days for node in self.nodes}
        self.lots = tuple(self._lots())

    def draw(self) -> Horizon:
        by_itself = alone(self._bare())
        for node in self.nodes:
            self._raise(node, by_itself)
        bare = self._bare()
        by_itself = alone(bare)
        ways = tuple(self._ways(bare, by_itself))
        in_force = tuple(self._in_force({(way.item, way.origin, way.destination) for way in ways}))
        return replace(
            bare, lanes=ways, in_force=in_force, gates=tuple(self._gates(ways)),
            standings=tuple(replace(row, kept=self._kept(row, by_itself)) for row in bare.standings),
            aims=self._aims(len(ways), in_force),
        )  # fmt: skip

    def _aims(self, lanes: int, in_force: Sequence[Shipment]) -> tuple[Aim, ...]:
        """The rule that a run has by default, unless those whom it binds chose one without a floor for any resource."""
        floorless = {Rule.WELFARE, Rule.UTILITARIAN}.intersection(self.stored.rules.values())
        floor = () if floorless or lanes * self.days > MOST_WITH_FLOOR else (Aim.FILL,)
        return (*floor, Aim.SHORTAGE, Aim.DISTANCE, *([Aim.STABILITY] if in_force else []))

    def _bare(self) -> Horizon:
        """Everything but lanes and what follows from the outcome without them."""
        places = [node for node in self.nodes if self._kind(node) is ResourceKind.PLACE]
        things = [node for node in self.nodes if self._kind(node) is not ResourceKind.PLACE]
        return Horizon(
            start=self.at, days=self.days, seed=self.seed, items=tuple(map(self._item, self.stored.resources)),
            sites=tuple(Site(site=site) for site in sorted({site for site, _ in self.nodes})), lots=self.lots,
            standings=tuple(
                Standing(site=node[0], item=node[1], need=tuple(self.need[node]), kept=(0,) * self.days,
                         urgency=self._urgency(node), pledge=1000)
                for node in things
            ),
            wards=tuple(map(self._ward, places)),
        )  # fmt: skip

    def _item(self, row: Resource) -> Item:
        # A nurse who was sent stays as long as the horizon looks; only devices have a loan of their own.
        loan = {ResourceKind.DEVICE: row.loan_days, ResourceKind.STAFF: self.days}.get(row.kind, 0)
        place, used_up = row.kind is ResourceKind.PLACE, row.kind is ResourceKind.CONSUMABLE
        return Item(
            item=row.code, kind=row.kind, loan_days=loan, hold_days=self.terms.hold_days if used_up else 0,
            stay=STAY if place else (),
        )  # fmt: skip

    def _kind(self, node: Node) -> ResourceKind:
        return self.resource[node[1]].kind

    def _day(self, moment: datetime) -> int:
        """The day in which `moment` lies; 0 for what is past."""
        return max(0, (moment - self.at) // DAY)

    def _is_open(self, offer: Offer, day: int) -> bool:
        begins = self.at + day * DAY
        return offer.available_from < begins + DAY and offer.available_until >= begins

    def _stock(self, node: Node) -> int:
        report = self.stored.reports.get(node)
        has = 0 if report is None else (report.staffed or 0) - (report.blocked or 0)
        return max(0, has - self.stored.promised.get(node, 0))

    def _expected(self, node: Node) -> list[int]:
        """Need of each day: the forecast at the chosen quantile or, before there is one, the newest report."""
        report, forecasts = self.stored.reports.get(node), self.stored.forecasts.get(node, {})
        reported = 0 if report is None else report.need or 0
        found, last = [], reported
        for day in range(self.days):
            forecast = forecasts.get((self.at + day * DAY).date())
            last = last if forecast is None else forecast.units(self.terms.level)
            found.append(max(last, reported) if day == 0 else last)
        if self._kind(node) is ResourceKind.PLACE:
            # People who are about to leave, or have left since the report, need no place here.
            for row in self.coming[node]:
                for day in range(self.days if row.reported else self._arrives(row), self.days):
                    found[day] = max(0, found[day] - row.units)
        return found

    def _arrives(self, row: UnderWay) -> int:
        """Day on which it is there: today what has left, the rest when it is needed."""
        return 0 if row.state in LEFT else self._day(row.needed_by)

    def _lots(self) -> Iterator[Lot]:
        units: dict[tuple[str, str, int, int], int] = defaultdict(int)
        for node in self.nodes:
            kind = self._kind(node)
            if kind is ResourceKind.PLACE:
                continue
            left = self._stock(node)
            if kind is ResourceKind.CONSUMABLE:
                for offer in sorted(self.offers[node], key=lambda row: (self.expires(row), row.id)):
                    taken = min(left, offer.remaining)
                    units[*node, 0, self.expires(offer)] += taken
                    left -= taken
            for row in self.coming[node] if kind is not ResourceKind.CONSUMABLE else ():
                back = self._back(row)
                if row.reported and back < self.days:  # borrowed, counted among its own, and about to go home
                    taken = min(left, row.units)
                    units[*node, 0, back] += taken
                    left -= taken
            units[*node, 0, self.days] += left
        for row in self.stored.under_way:
            self._moving(row, units)
        known = set(self.nodes)
        for (site, item, since, until), number in units.items():
            if number and (site, item) in known:
                yield Lot(site=site, item=item, units=number, since=since, until=until)

    def _moving(self, row: UnderWay, units: dict[tuple[str, str, int, int], int]) -> None:
        """Own lots for what arrives, and for loans that come home."""
        kind = self.resource[row.resource].kind
        if kind is ResourceKind.PLACE:
            return
        back = self.days if kind is ResourceKind.CONSUMABLE else min(self.days, self._back(row))
        since = self._arrives(row)
        if not row.reported and since < back:
            units[row.receiver, row.resource, since, back] += row.units
        if row.counted and back < self.days:
            units[row.giver, row.resource, back, self.days] += row.units

    def _back(self, row: UnderWay) -> int:
        """Day on which a loan is home; tomorrow where it is overdue."""
        if row.return_due_at is not None:
            return max(1, self._day(row.return_due_at))
        if self.resource[row.resource].kind is ResourceKind.STAFF:
            return max(1, self._day(row.needed_until))
        return max(1, self._day(row.needed_by) + self.resource[row.resource].loan_days)

    def expires(self, offer: Offer) -> int:
        """First day on which the units offered are of no use any more."""
        return last_day(offer, self.at, self.days)

    def _raise(self, node: Node, by_itself: Alone) -> None:
        """Count what requests raise above forecast and census, as far as these fall short of what is asked."""
        if not any(row.raised for row in self.requests[node]):
            return
        lacks = [-(-units // self._unit(node)) for units in by_itself.walk.short[node]]
        used_up = self._kind(node) is ResourceKind.CONSUMABLE
        for day in range(self.days):
            begins = self.at + day * DAY
            active = [row for row in self.requests[node] if due_today(row, begins)]
            if used_up:  # what is used up is needed once
                active = [row for row in active if day == self._day(row.needed_by)]
            counted = _raised(active, lacks[day])
            if counted:
                has = 0 if used_up else self._has(node, day, by_itself)
                self.need[node][day] = max(self.need[node][day], has) + counted
                self.raised[node][day] = counted

    def _unit(self, node: Node) -> int:
        return 1000 if self._kind(node) is ResourceKind.PLACE else 1

    def _has(self, node: Node, day: int, by_itself: Alone) -> int:
        return self._stock(node) if self._kind(node) is ResourceKind.PLACE else by_itself.walk.on_hand[node][day]

    def _urgency(self, node: Node) -> int:
        """That of its most urgent request; the least where it has asked for nothing."""
        return max((row.urgency for row in self.requests[node]), default=1)

    def _opened(self, node: Node) -> list[int]:
        """Units in offers whose window has begun by each day."""
        begun = [self.at + (day + 1) * DAY for day in range(self.days)]
        return [sum(o.remaining for o in self.offers[node] if o.available_from < moment) for moment in begun]

    def _minimum(self, node: Node) -> int:
        """What its offers say it keeps, of all units: an offer's minimum is of those that are free."""
        stated = max((offer.minimum_kept for offer in self.offers[node]), default=0)
        report = self.stored.reports.get(node)
        in_use = 0 if report is None or self._kind(node) is ResourceKind.CONSUMABLE else report.occupied or 0
        return min(UNLIMITED, stated + in_use)

    def _kept(self, row: Standing, by_itself: Alone) -> tuple[int, ...]:
        node = row.site, row.item
        floor, opened, has = self._minimum(node), self._opened(node), by_itself.walk.on_hand[node]
        return tuple(max(floor, row.need[day], has[day] - opened[day]) for day in range(self.days))

    def _ward(self, node: Node) -> Ward:
        beds, report, need = self._stock(node), self.stored.reports.get(node), self.need[node]
        opened, floor = self._opened(node), self._minimum(node)
        arrivals = [a + b for a, b in zip(_admitted(report, self.days), self.raised[node], strict=True)]
        # Whoever waits is taken to move on the day the first request is due; a horizon moves nobody twice.
        first = min((self._day(row.needed_by) for row in self.requests[node]), default=0)
        arrivals[min(first, self.days - 1)] += 0 if report is None else report.waiting or 0
        return Ward(
            site=node[0], item=node[1], beds=(beds,) * self.days, occupied=tuple(1000 * units for units in need),
            arrivals=tuple(arrivals),
            kept=tuple(min(beds, max(floor, need[d], beds - opened[d])) for d in range(self.days)),
            urgency=self._urgency(node), pledge=1000,
        )  # fmt: skip

    def _gates(self, ways: Sequence[Way]) -> Iterator[Gate]:
        """Windows of offers, and what is asked for by then."""
        for node in sorted({(end, way.item) for way in ways for end in (way.origin, way.destination)}):
            offered = tuple(
                sum(o.remaining for o in self.offers[node] if self._is_open(o, day)) for day in range(self.days)
            )
            wanted = tuple(self._wanted(node, day) for day in range(self.days))
            place = self._kind(node) is ResourceKind.PLACE
            yield Gate(
                site=node[0], item=node[1], gives=wanted if place else offered, takes=offered if place else wanted
            )

    def _wanted(self, node: Node, day: int) -> int:
        """Most that may come on `day`: what is asked for by then; without limit once its requests say no more.

        On day 0, which binds, nothing comes that was not asked for. Where an offer ends that day, what is asked for
        later may come as well, or it would never come.
        """
        begins = self.at + day * DAY
        requests = [row for row in self.requests[node] if row.needed_until > begins]
        if day and not requests:
            return UNLIMITED
        early = day in self.ending[node[1]]
        return sum(row.requested for row in requests if early or due_today(row, begins))

    def _ways(self, bare: Horizon, by_itself: Alone) -> Iterator[Way]:
        """Lanes from whoever offers to whoever is short on some day, the nearest within reach."""
        where = {str(row.id): row for row in self.stored.institutions}
        for item in sorted(self.resource):
            givers = [node[0] for node in self.nodes if node[1] == item and self._spares(node, by_itself)]
            takers = [node[0] for node in self.nodes if node[1] == item and any(by_itself.walk.short[node])]
            place = bare.item[item].is_place
            for giver, taker, metres in _site_lanes(givers, takers, where, self.reach):
                days = self.reach.hours(metres) // 24
                ends = (taker, giver) if place else (giver, taker)
                if days < self.days:
                    yield Way(item=item, origin=ends[0], destination=ends[1], days=days, metres=metres)

    def _spares(self, node: Node, by_itself: Alone) -> bool:
        """Whether it offers anything and has more than it keeps on some day."""
        if not self.offers[node]:
            return False
        floor, need = self._minimum(node), self.need[node]
        return any(self._has(node, day, by_itself) > max(floor, need[day]) for day in range(self.days))

    def _in_force(self, lanes: set[tuple[str, str, str]]) -> Iterator[Shipment]:
        """What the last schedule foresaw for days that are still to come; what it held is under way by itself."""
        last = self.stored.in_force
        if last is None:
            return
        gone, found = (self.at - last.start) // DAY, dict[tuple[str, str, str, int, int], int]()
        for row in last.shipments:
            day, lasting = row.day - gone, row.until == last.days
            until = self.days if lasting else row.until - gone
            until = 0 if self.resource[row.item].kind is ResourceKind.PLACE else min(until, self.days)
            fits = 0 <= day < self.days and row.day > 0 and (until == 0 or day < until)
            if fits and (row.item, row.origin, row.destination) in lanes:
                key = (row.item, row.origin, row.destination, day, until)
                found[key] = found.get(key, 0) + row.units
        for (item, origin, destination, day, until), units in found.items():
            yield Shipment(item=item, origin=origin, destination=destination, day=day, until=until, units=units)


def _raised(requests: Sequence[Request], lacks: int) -> int:
    """Units that requests raise beyond what is lacked by forecast and census, which the most urgent have first."""
    counted = 0
    for row in sorted(requests, key=lambda row: (-row.urgency, row.needed_by, row.id)):
        borne_out = min(row.requested, lacks)
        lacks -= borne_out
        counted += min(row.raised, row.requested - borne_out)
    return counted


def _admitted(report: CapacityReport | None, days: int) -> list[int]:
    """People admitted each day: as reported, or as many as keep the places in use filled at the usual stay."""
    people, over = 0, 1
    if report is not None and report.admissions is not None:
        people, over = report.admissions, report.period_days
    elif report is not None:
        people, over = 1000 * (report.occupied or 0), sum(STAY)
    by_then = [people * day // over for day in range(days + 1)]
    return [after - before for before, after in pairwise(by_then)]


def _site_lanes(
    givers: Sequence[str], takers: Sequence[str], where: Mapping[str, Institution], reach: Reach
) -> Iterator[tuple[str, str, int]]:
    spots = {name: spot for name in {*givers, *takers} if (spot := _spot(where[name])) is not None}
    located: Iterable[tuple[str, str, int]] = nearest_lanes(
        [spots[name] for name in givers if name in spots], [spots[name] for name in takers if name in spots], reach
    )
    yield from (lane for lane in located if lane[0] != lane[1])
    for giver in givers if reach.unlocated_metres is not None else ():
        for taker in takers:
            if giver != taker and (giver not in spots or taker not in spots):
                yield giver, taker, reach.unlocated_metres or 0


def _spot(row: Institution) -> Spot | None:
    if row.latitude is None or row.longitude is None:
        return None
    return Spot(id=str(row.id), latitude=row.latitude, longitude=row.longitude)
