"""Whether a schedule is a valid answer to its horizon: every limit typed and every rule, by walking the days.

Nothing here knows the program or a solver; the rules are read from the horizon and told in words where broken.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from itertools import accumulate
from typing import TYPE_CHECKING

from sharewell.domain.allocation import PlanRefused
from sharewell.domain.horizon import Aim
from sharewell.domain.horizon_measures import of_stretch, unmet, values
from sharewell.domain.horizon_program import stretches
from sharewell.domain.horizon_walk import Alone, Node, Walk, alone, named, walk
from sharewell.domain.plan import Status
from sharewell.domain.schedule import Schedule, worst_gap

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from sharewell.domain.horizon import Horizon
    from sharewell.domain.horizon_rows import Shipment, Standing, Ward, Way


def check_schedule(horizon: Horizon, schedule: Schedule) -> None:
    """Raise `PlanRefused`, listing the violations, unless `schedule` is a valid answer to `horizon`.

    Checked: (1) it speaks of this horizon, and of its lanes, days and lots; (2) caps of lanes and owners, the least a
    lane carries, lot sizes, ceilings; (3) nothing is shipped, used or lent that is not there, nobody is moved who was
    not admitted that day; (4) every owner keeps its pledge and its own need; (5) units received are not shipped on
    within the hold; (6) no site is worse off than alone, on any day; (7) everybody left short is told why; (8) values
    and gaps are as stated.
    """
    # Each round relies on the one before: only known rows have limits, only what is possible has an outcome.
    problems = list(_foreign(horizon, schedule))
    if not problems:
        uses = {(row.site, row.day, row.item, row.serves): row.units for row in schedule.uses}
        by_itself, result = alone(horizon), walk(horizon, schedule.shipments, uses)
        problems = broken_rules(horizon, schedule.shipments, by_itself, result)
        problems += [] if problems else _told(horizon, schedule, by_itself, result)
    if problems:
        raise PlanRefused(problems)


def broken_rules(horizon: Horizon, shipments: Sequence[Shipment], by_itself: Alone, result: Walk) -> list[str]:
    """What `shipments` along lanes of `horizon` break of its limits and rules, in words, by how they were walked."""
    problems = list(result.violations)
    for check in (_caps, _lots_of_units, _admitted, _keeps, _pledges, _holds, _worse_off):
        problems += check(horizon, shipments, by_itself, result)
    return problems


def _foreign(horizon: Horizon, schedule: Schedule) -> Iterator[str]:
    if schedule.instance_hash != horizon.hash:
        yield f"the schedule answers instance {schedule.instance_hash[:12]}, not {horizon.hash[:12]}"
    seen: set[tuple[object, ...]] = set()
    for row in schedule.shipments:
        key = (row.item, row.origin, row.destination)
        if key not in horizon.lane:
            yield f"{named(row)}: there is no such lane"
            continue
        if row.units < 1 or row.day + horizon.lane[key].days >= horizon.days:
            yield f"{named(row)}: a shipment is of 1 unit or more and arrives within the horizon"
        ends = row.until == 0 if horizon.item[row.item].is_place else row.day < row.until <= horizon.days
        if not ends:
            yield f"{named(row)}: there is no lot that ends on day {row.until}"
        if (*key, row.day, row.until) in seen:
            yield f"{named(row)}: the same lane, day and lot stand in two rows"
        seen.add((*key, row.day, row.until))
    told = Counter((row.site, row.day, row.item, row.serves) for row in schedule.uses)
    for site, day, item, serves in told:
        known = item in horizon.item and (site, serves) in horizon.standing and day < horizon.days
        if not known or item not in horizon.serving[serves] or item not in horizon.stated:
            yield f"{site} cannot use {item} for {serves} on day {day}"
        elif told[site, day, item, serves] > 1:
            yield f"{site} uses {item} for {serves} twice on day {day}"


def _caps(horizon: Horizon, shipments: Sequence[Shipment], *_: object) -> Iterator[str]:
    along: Counter[tuple[Way, int]] = Counter()
    sent: Counter[tuple[str, str, int]] = Counter()
    got: Counter[tuple[str, str, int]] = Counter()
    ever: Counter[Node] = Counter()
    for row in shipments:
        lane = horizon.lane[row.item, row.origin, row.destination]
        along[lane, row.day] += row.units
        sent[row.origin, row.item, row.day] += row.units
        got[row.destination, row.item, row.day + lane.days] += row.units
        ever[row.destination, row.item] += row.units
    for (lane, day), units in along.items():
        way = f"lane {lane.origin}-{lane.destination}"
        if units > lane.cap:
            yield f"{way} carries {units} of {lane.item} on day {day}, at most {lane.cap}"
        if units < lane.least:
            yield f"{way} carries {units} of {lane.item} on day {day}, at least {lane.least} where it carries any"
    limits: dict[Node, Standing | Ward] = {**horizon.standing, **horizon.ward}
    for node, standing in limits.items():
        if ever[node] > standing.ceiling:
            yield f"{node[0]} receives {ever[node]} of {node[1]}, at most {standing.ceiling}"
        for day in range(horizon.days):
            gives, takes = horizon.most_given(node, day), horizon.most_taken(node, day)
            if sent[*node, day] > gives:
                yield f"{node[0]} sends {sent[*node, day]} of {node[1]} on day {day}, at most {gives}"
            if got[*node, day] > takes:
                yield f"{node[0]} receives {got[*node, day]} of {node[1]} on day {day}, at most {takes}"


def _lots_of_units(horizon: Horizon, shipments: Sequence[Shipment], *_: object) -> Iterator[str]:
    for row in shipments:
        size = horizon.item[row.item].lot_size
        if row.units % size:
            yield f"{named(row)}: it is shipped in lots of {size}"


def _admitted(horizon: Horizon, shipments: Sequence[Shipment], *_: object) -> Iterator[str]:
    sent = Counter[tuple[str, str, int]]()
    for row in shipments:
        if horizon.item[row.item].is_place:
            sent[row.origin, row.item, row.day] += row.units
    for (site, item, day), people in sent.items():
        admitted = horizon.ward[site, item].arrivals[day]
        if people > admitted:
            yield f"{site} sends {people} people on day {day} and admits {admitted}"


def _keeps(horizon: Horizon, shipments: Sequence[Shipment], by_itself: Alone, result: Walk) -> Iterator[str]:
    """Owners stay above their floor: only those who send (or take people in) can fall below it."""
    away = _away(horizon, result)
    for site, item in sorted(_givers(horizon, shipments)):
        kind, keeps = horizon.item[item], by_itself.keeps[site, item]
        for day, kept in enumerate(keeps):
            if kind.is_place:
                room = 1000 * (horizon.ward[site, item].beds[day] - kept)
                there = result.received[site, item][day]
                if there > room:
                    yield f"{site} holds {there} thousandths of received people on day {day}, {room} are pledged"
                continue
            has = result.on_hand[site, item][day]
            if kind.loan_days:
                has = by_itself.walk.on_hand[site, item][day] - away[site, item][day]
            if has < kept:
                yield f"{site} would be left with {has} of {item} on day {day} and keeps {kept}"
    for (site, item, until), lent in result.away.items():
        own = by_itself.own.get((site, item, until), [0] * horizon.days)
        for day, units in enumerate(lent[:until]):
            if units > own[day]:
                yield f"{site} lends {units} of {item} on day {day}, more than its own"


def _pledges(horizon: Horizon, shipments: Sequence[Shipment], by_itself: Alone, result: Walk) -> Iterator[str]:
    """Of what is used up, no more leaves than is pledged and what came in."""
    sent = _sent(horizon, shipments)
    for node in sorted(set(sent) & set(by_itself.may_lack)):
        for day, units in enumerate(accumulate(a - b for a, b in zip(sent[node], result.received[node], strict=True))):
            if units > by_itself.may_lack[node][day]:
                yield (
                    f"{node[0]} has shipped {units} of {node[1]} net by day {day} and pledged "
                    f"{by_itself.may_lack[node][day]}"
                )


def _holds(horizon: Horizon, shipments: Sequence[Shipment], by_itself: Alone, result: Walk) -> Iterator[str]:
    for node, sent in sorted(_sent(horizon, shipments).items()):
        item = horizon.item[node[1]]
        if item.is_place or item.loan_days or not item.hold_days:
            continue
        came = list(accumulate(result.received[node]))
        for day, units in enumerate(accumulate(sent)):
            free = by_itself.supply[node][day] + (came[day - item.hold_days] if day >= item.hold_days else 0)
            if units > free:
                yield (
                    f"{node[0]} has shipped {units} of {node[1]} by day {day}; {free} were its own or held for "
                    f"{item.hold_days} days"
                )


def _worse_off(horizon: Horizon, _: object, by_itself: Alone, result: Walk) -> Iterator[str]:
    for node, short in result.short.items():
        before = by_itself.walk.short[node]
        worse = next((day for day in range(horizon.days) if short[day] > before[day]), None)
        if worse is not None:
            yield f"{node[0]} lacks {short[worse]} of {node[1]} on day {worse}, alone it would lack {before[worse]}"


def _told(horizon: Horizon, schedule: Schedule, by_itself: Alone, result: Walk) -> Iterator[str]:
    if schedule.unmet != unmet(horizon, by_itself, result):
        expected = {(row.site, row.item): row for row in unmet(horizon, by_itself, result)}
        told = {(row.site, row.item): row for row in schedule.unmet}
        for node in sorted(set(expected) | set(told)):
            if expected.get(node) != told.get(node):
                yield f"what {node[0]} lacks of {node[1]}, or why, is not as stated"
        if len(told) != len(schedule.unmet):
            yield "a need is explained twice"
    expected_stages = [
        (part.index, aim, value)
        for part in stretches(horizon)
        for aim, value in values(horizon, part, result, of_stretch(part, schedule.shipments)).items()
    ]
    stated = [(row.stretch, row.aim, row.value) for row in schedule.stages]
    if stated != expected_stages:
        for expected_row in set(expected_stages) - set(stated):
            yield "stretch {}, {}: reached is {}".format(*expected_row)
        if len(stated) != len(expected_stages):
            yield "the schedule does not state every stage of every stretch once"
    yield from _report(schedule)


def _report(schedule: Schedule) -> Iterator[str]:
    gap = worst_gap([(row.value, row.bound) for row in schedule.stages if row.aim is Aim.SHORTAGE])
    if schedule.search.gap != gap:
        yield f"the gap to the bounds is {gap} millionths, not {schedule.search.gap}"
    best = all(row.value == row.bound for row in schedule.stages)
    if (schedule.search.status is Status.OPTIMAL) and not best:
        yield "the schedule is called optimal and does not meet its bounds"


def _givers(horizon: Horizon, shipments: Sequence[Shipment]) -> set[Node]:
    """Sites whose own is used by others: those who ship, and of places those who take people in."""
    return {
        (row.destination if horizon.item[row.item].is_place else row.origin, row.item) for row in shipments
    }


def _sent(horizon: Horizon, shipments: Sequence[Shipment]) -> dict[Node, list[int]]:
    """Units each sender ships, day by day."""
    sent: dict[Node, list[int]] = {}
    for row in shipments:
        sent.setdefault((row.origin, row.item), [0] * horizon.days)[row.day] += row.units
    return sent


def _away(horizon: Horizon, result: Walk) -> Mapping[Node, list[int]]:
    """Own units lent out each day that would be there otherwise."""
    away: dict[Node, list[int]] = defaultdict(lambda: [0] * horizon.days)
    for (site, item, until), lent in result.away.items():
        days = away[site, item]
        for day, units in enumerate(lent[:until]):
            days[day] += units
    return away
