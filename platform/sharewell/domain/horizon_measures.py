"""What a schedule reaches, what sharing could reach at all, and why somebody stays short; from the walk alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sharewell.domain.horizon import URGENCY_WEIGHTS, Aim, Horizon
from sharewell.domain.horizon_program import Stretch, ticket, whole_need
from sharewell.domain.horizon_walk import Walk, alone, walk
from sharewell.domain.schedule import Cause, Schedule, Unmet

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from sharewell.domain.horizon_rows import Shipment, Way
    from sharewell.domain.horizon_walk import Alone, Node

_WORDS = {
    Cause.NO_LANE: "No lane reaches it.",
    Cause.NOT_IN_TIME: "It is short only before the first help could arrive.",
    Cause.OWNERS_AT_FLOOR: "All in its reach keep what they have, by their pledge and their own need.",
    Cause.ELSEWHERE: (
        "What is in its reach does more elsewhere by the aims of the run, or a cap, a hold or the least load of a lane "
        "keeps it."
    ),
}
_ORDER = {cause: number for number, cause in enumerate(Cause)}  #: the less can be done about it, the earlier


def values(
    horizon: Horizon, stretch: Stretch, result: Walk, shipments: Sequence[Shipment]
) -> dict[Aim, int]:
    """What `stretch` reaches in every aim of the horizon, given the shipments along its lanes."""
    short = {node: result.total_short(node) for node in stretch.nodes}
    weighted = sum(weight(horizon, node) * units for node, units in short.items())
    fills = (-(-1000 * units // whole_need(horizon, node)) for node, units in short.items() if units)
    found = {
        Aim.SHORTAGE: max(0, weighted - horizon.enough),
        Aim.MOVES: sum(row.units for row in shipments),
        Aim.FILL: max(fills, default=0),
        Aim.DISTANCE: sum(row.units * _lane(horizon, row).metres for row in shipments),
        Aim.CHARGES: sum(lane.charge for lane, _ in {(_lane(horizon, row), row.day) for row in shipments}),
        Aim.STABILITY: _changes(horizon, stretch, shipments),
        Aim.LOTTERY: sum(row.units * ticket(horizon.seed, _lane(horizon, row)) for row in shipments),
    }
    return {aim: found[aim] for aim in horizon.aims}


def weight(horizon: Horizon, node: Node) -> int:
    """Worth of a unit short at `node`; 1 where nothing says how urgent it is."""
    standing = horizon.standing.get(node) or horizon.ward.get(node)
    return URGENCY_WEIGHTS[standing.urgency - 1] if standing else 1


def of_stretch(stretch: Stretch, shipments: Iterable[Shipment]) -> list[Shipment]:
    """The shipments along the lanes of `stretch`."""
    lanes = {(lane.item, lane.origin, lane.destination) for lane in stretch.lanes}
    return [row for row in shipments if (row.item, row.origin, row.destination) in lanes]


def _lane(horizon: Horizon, row: Shipment) -> Way:
    return horizon.lane[row.item, row.origin, row.destination]


def _changes(horizon: Horizon, stretch: Stretch, shipments: Iterable[Shipment]) -> int:
    differs: dict[tuple[str, str, str, int], int] = {}
    for sign, rows in ((1, shipments), (-1, of_stretch(stretch, horizon.in_force))):
        for row in rows:
            key = (row.item, row.origin, row.destination, row.day)
            differs[key] = differs.get(key, 0) + sign * row.units
    return sum(map(abs, differs.values()))


def unmet(horizon: Horizon, by_itself: Alone, result: Walk) -> tuple[Unmet, ...]:
    """Every need that stays open, with its cause."""
    into: dict[Node, list[tuple[int, Node]]] = {}  #: days to the first help, and who helps
    for lane in horizon.lanes:
        origin, destination = (lane.origin, lane.item), (lane.destination, lane.item)
        if horizon.item[lane.item].is_place:
            into.setdefault(origin, []).append((0, destination))
        else:
            into.setdefault(destination, []).append((lane.days, origin))
    spare = {node for node in by_itself.keeps if _ever_spares(horizon, by_itself, node)}
    rows = []
    for node in sorted(result.short):
        if result.total_short(node):
            chances = list(_chances(horizon, node, result, into, spare))
            cause, words = max(chances, key=lambda chance: _ORDER[chance[0]])
            rows.append(Unmet(site=node[0], item=node[1], units=result.total_short(node), code=cause, reason=words))
    return tuple(rows)


def _chances(
    horizon: Horizon, node: Node, result: Walk, into: Mapping[Node, Sequence[tuple[int, Node]]], spare: set[Node]
) -> Iterator[tuple[Cause, str]]:
    """Why the need of `node` is not met by plain items; and for each other that could meet it, by its scarcest part."""
    site, short = node[0], result.short[node]
    plain = [item for item in horizon.serving[node[1]] if not horizon.takes_more(item)]
    if plain:
        cause = _cause(short, [helper for item in plain for helper in into.get((site, item), ())], spare)
        yield cause, _WORDS[cause]
    for item in horizon.serving[node[1]]:
        if item in plain:
            continue
        need, causes = horizon.standing[node].need, [(Cause.ELSEWHERE, _WORDS[Cause.ELSEWHERE])]
        for part, units in horizon.recipe[item].items():
            there = result.on_hand.get((site, part), [0] * horizon.days)
            days = [lacks if units * wanted > has else 0 for lacks, wanted, has in zip(short, need, there, strict=True)]
            if any(days):
                cause = _cause(days, into.get((site, part), ()), spare)
                causes.append((cause, f"Of {part}: {_WORDS[cause]}"))
        yield min(causes, key=lambda found: (_ORDER[found[0]], found[1]))


def _cause(short: Sequence[int], helpers: Sequence[tuple[int, Node]], spare: set[Node]) -> Cause:
    if not helpers:
        return Cause.NO_LANE
    if max(day for day, units in enumerate(short) if units) < min(days for days, _ in helpers):
        return Cause.NOT_IN_TIME
    if not any(node in spare for _, node in helpers):
        return Cause.OWNERS_AT_FLOOR
    return Cause.ELSEWHERE


def _ever_spares(horizon: Horizon, by_itself: Alone, node: Node) -> bool:
    keeps = by_itself.keeps[node]
    ward = horizon.ward.get(node)
    if ward is None:
        return any(units > kept for units, kept in zip(by_itself.walk.on_hand[node], keeps, strict=True))
    free = (1000 * beds - occupied for beds, occupied in zip(ward.beds, ward.occupied, strict=True))
    return any(room > 0 and beds > kept for room, beds, kept in zip(free, ward.beds, keeps, strict=True))


def share_table(horizon: Horizon, schedule: Schedule) -> dict[str, Any]:
    """What a valid `schedule` changes: unit-days short per item, and which share of the shortage can be fixed at all.

    Shares are per mille of the shortage alone, weighted by urgency. What is redistributable is at most what the
    multipliers do not rule out; with a status of optimal and shortage as the first aim it is exactly that.
    """
    by_itself = alone(horizon).walk
    result = walk(horizon, schedule.shipments, {(u.site, u.day, u.item, u.serves): u.units for u in schedule.uses})
    items = {item.item: _of_item(horizon, schedule, item.item, by_itself, result) for item in horizon.items}
    before, after = (
        sum(weight(horizon, node) * outcome.total_short(node) for node in outcome.short)
        for outcome in (by_itself, result)
    )
    value, bound = schedule.total(Aim.SHORTAGE)
    # Where some shortage is enough, nobody has looked how much less there could be.
    least = None if horizon.enough else after - (value - bound)
    return {
        "weighted_alone": before, "weighted_shared": after, "weighted_least": least,
        "fixed_per_mille": _per_mille(before - after, before),
        "redistributable_per_mille": None if least is None else _per_mille(before - least, before), "items": items,
    }  # fmt: skip


def _of_item(horizon: Horizon, schedule: Schedule, item: str, by_itself: Walk, result: Walk) -> dict[str, Any]:
    nodes = [node for node in result.short if node[1] == item]
    unit = 1000 if horizon.item[item].is_place else 1
    return {
        "alone": sum(map(by_itself.total_short, nodes)) / unit,
        "shared": sum(map(result.total_short, nodes)) / unit,
        "worse_off": sum(result.total_short(node) > by_itself.total_short(node) for node in nodes),
        "moved": sum(row.units for row in schedule.shipments if row.item == item),
    }


def _per_mille(part: int, whole: int) -> int:
    return round(1000 * part / whole) if whole else 0
