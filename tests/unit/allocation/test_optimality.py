"""The solver against brute force: every whole way of moving units is tried, and none is better by the rule."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from fractions import Fraction
from itertools import product
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sharewell.domain import canonical
from sharewell.domain.allocation import (
    Instance,
    NotProven,
    Plan,
    PlanRefused,
    Rule,
    check_certificate,
    check_plan,
    compose,
    moved_by,
    stated_floors,
)
from sharewell.domain.certificate import floor_units
from sharewell.domain.instance import Part
from sharewell.domain.lottery import lottery
from sharewell.domain.welfare import welfare
from sharewell_workers.solving import solve

Instances = Callable[..., st.SearchStrategy[Instance]]
Moved = Mapping[tuple[str, str], int]

THOROUGH = settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def ways(instance: Instance, part: Part) -> Iterator[Moved]:
    """Every whole movement of `part` that breaks no limit, found without any of the code under test."""
    yield from extended(instance, [(lane.offer, lane.request, lane.cap) for lane in part.lanes], {})


def extended(instance: Instance, lanes: list[tuple[str, str, int]], moved: Moved) -> Iterator[Moved]:
    if not lanes:
        yield moved
        return
    (offer, request, cap), *rest = lanes
    for units in range(cap + 1):
        longer = {**moved, (offer, request): units}
        if not permitted(instance, longer, offer, request):
            return
        yield from extended(instance, rest, longer)


def permitted(instance: Instance, moved: Moved, offer: str, request: str) -> bool:
    """Whether the limits of one offer, its institution and one request hold."""
    owner = next(row for row in instance.owners if row.offer == offer)
    receiver = next(row for row in instance.receivers if row.request == request)
    sisters = {row.offer: row for row in instance.owners if row.institution == owner.institution}
    together = sum(units for (name, _), units in moved.items() if name in sisters)
    keep = max([owner.own_need, *(row.minimum_kept for row in sisters.values())])
    short = any(row.need > 0 and row.institution == owner.institution for row in instance.receivers)
    return (
        sum(units for (name, _), units in moved.items() if name == offer) <= owner.quantity
        and got(moved, request) <= receiver.need
        and (together == 0 or (owner.stock - together >= keep and not short))
    )


def got(moved: Moved, request: str) -> int:
    return sum(units for (_, name), units in moved.items() if name == request)


def fills(part: Part, moved: Moved) -> list[Fraction]:
    return sorted(Fraction(row.held + got(moved, row.request), row.whole_need) for row in part.receivers)


def best(instance: Instance, part: Part) -> tuple[object, ...]:
    """Value of the best way, stage after stage."""
    found = list(ways(instance, part))
    floor = max(fills(part, moved)[0] for moved in found)
    if instance.fairness.rule is Rule.FLOOR:
        least = floor_units(instance, part, floor.numerator, floor.denominator)
        found = [
            moved
            for moved in found
            if all(got(moved, row.request) >= n for row, n in zip(part.receivers, least, strict=True))
        ]
    return max(value(instance, part, moved) for moved in found)


def value(instance: Instance, part: Part, moved: Moved) -> tuple[object, ...]:
    lanes = {(lane.offer, lane.request): lane for lane in part.lanes}
    tickets = dict(zip(lanes, lottery(instance.seed, part), strict=True))
    leximin = leaning_fills(instance, part, moved) if instance.fairness.rule is Rule.LEXIMIN else []
    return (
        charged(instance, part, moved),
        leximin,
        sum(welfare(instance.fairness, row, got(moved, row.request)) for row in part.receivers),
        -sum(units * lanes[key].metres for key, units in moved.items()),
        -changed(instance, part, moved),
        -sum(units * tickets[key] for key, units in moved.items()),
    )


def leaning_fills(instance: Instance, part: Part, moved: Moved) -> list[Fraction]:
    """Fill rates less what credit for earlier runs is worth."""
    return sorted(
        Fraction(row.held + got(moved, row.request), row.whole_need)
        - max(Fraction(-1, 2), min(Fraction(1), Fraction(
            instance.fairness.credit * row.credit // (1000 * row.whole_need), 1000)))
        for row in part.receivers
    )  # fmt: skip


def changed(instance: Instance, part: Part, moved: Moved) -> int:
    """Units moved otherwise than by the plan in force."""
    before = {(row.offer, row.request): row.quantity for row in instance.in_force}
    keys = [(lane.offer, lane.request) for lane in part.lanes]
    return sum(abs(moved.get(key, 0) - before.get(key, 0)) for key in keys)


def charged(instance: Instance, part: Part, moved: Moved) -> int:
    """Units charged to reserves at most, by trying every way of charging request after request."""
    spare, houses = 0, {row.institution for row in part.owners}
    for house in houses:
        mine = [row for row in instance.owners if row.institution == house]
        short = any(row.institution == house and row.need for row in instance.receivers)
        keep = max([row.own_need for row in mine] + [row.minimum_kept for row in mine])
        free = 0 if short else max(0, mine[0].stock - keep)
        spare += min(free, sum(min(row.quantity, free) for row in mine if row in part.owners))
    quotas = tuple(row.share * spare // 1000 for row in instance.reserves)
    names = [row.category for row in instance.reserves]
    left = {quotas}  # what quotas can be left, with the most charged so far
    reached = {quotas: 0}
    for row in part.receivers:
        most = -(-row.need // (len(row.categories) + 1))
        after: dict[tuple[int, ...], int] = {}
        for state in left:
            for charge in product(*(range(most + 1) if name in row.categories else (0,) for name in names)):
                rest = tuple(quota - units for quota, units in zip(state, charge, strict=True))
                if sum(charge) <= got(moved, row.request) and min(rest, default=0) >= 0:
                    after[rest] = max(after.get(rest, 0), reached[state] + sum(charge))
        left, reached = set(after), after
    return max(reached.values())


def moved_in(part: Part, plan: Plan) -> Moved:
    quantities = {(row.offer, row.request): row.quantity for row in plan.assignments}
    return {(lane.offer, lane.request): quantities.get((lane.offer, lane.request), 0) for lane in part.lanes}


@THOROUGH
@given(data=st.data())
def test_no_other_way_of_moving_units_is_better(instances: Instances, data: st.DataObject) -> None:
    instance = data.draw(instances(sides=3, most=2, rules=tuple(Rule)))
    plan = solve(instance)
    for part in instance.parts:
        assert value(instance, part, moved_in(part, plan)) == best(instance, part)


@THOROUGH
@given(data=st.data())
def test_the_floor_stated_is_the_largest_smallest_fill_rate(instances: Instances, data: st.DataObject) -> None:
    instance = data.draw(instances(sides=3, most=2))
    stated = {stage.part: stage for stage in solve(instance).stages if stage.name == "floor"}
    for part in instance.parts:
        largest = max(fills(part, moved)[0] for moved in ways(instance, part))
        assert Fraction(stated[part.index].value, stated[part.index].over) == largest


@THOROUGH
@given(data=st.data())
def test_the_certificate_proves_every_best_way_and_no_other(instances: Instances, data: st.DataObject) -> None:
    instance = data.draw(instances(sides=3, most=2, rules=tuple(Rule)))
    plan = solve(instance)
    floors = stated_floors(instance, plan)
    for part, floor in zip(instance.parts, floors, strict=True):
        top, least = best(instance, part), floor_units(instance, part, *floor)
        for moved in ways(instance, part):
            everywhere = {**moved_by(plan), **moved}
            other = compose(
                instance, {key: units for key, units in everywhere.items() if units}, floors, report=plan.solver,
                certificate=plan.certificate,
            )  # fmt: skip
            kept = all(got(moved, row.request) >= n for row, n in zip(part.receivers, least, strict=True))
            assert proven(instance, other) == (kept and value(instance, part, moved) == top)


def proven(instance: Instance, plan: Plan) -> bool:
    """Whether both checks pass."""
    try:
        check_plan(instance, plan)
        check_certificate(instance, plan)
    except (PlanRefused, NotProven):
        return False
    return True


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_every_plan_found_is_valid_and_proven(instances: Instances, data: st.DataObject) -> None:
    instance = data.draw(instances(sides=6, most=9, rules=tuple(Rule)))
    plan = solve(instance)
    check_plan(instance, plan)
    check_certificate(instance, plan)


@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_row_order_changes_nothing_of_a_plan(instances: Instances, data: st.DataObject) -> None:
    instance = data.draw(instances(sides=5, most=5, rules=tuple(Rule)))
    document: dict[str, Any] = dict(instance.to_json())
    shuffled = {
        **document,
        **{
            name: data.draw(st.permutations(document[name]))
            for name in ("owners", "receivers", "lanes", "reserves", "in_force")
        },
    }
    again = Instance.from_json(shuffled)
    assert again.hash == instance.hash
    assert solve(again).hash == solve(instance).hash


@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_the_fill_rates_do_not_depend_on_names(instances: Instances, data: st.DataObject) -> None:
    instance = data.draw(instances(sides=5, most=5, rules=(Rule.FLOOR, Rule.LEXIMIN)))
    renamed = Instance.from_json(rename(instance.to_json()))
    assert values_of(renamed) == values_of(instance)


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_as_many_units_are_served_as_any_flow_can_bring(instances: Instances, data: st.DataObject) -> None:
    """Fairness costs no units: whatever the rule, the plan serves the maximum flow, found here without the solver."""
    instance = data.draw(instances(sides=5, most=6, rules=tuple(Rule)))
    assert sum(solve(instance).received.values()) == largest_flow(instance)


def largest_flow(instance: Instance) -> int:
    """Maximum flow from institutions over offers to requests (Ford & Fulkerson 1956), one unit a path."""
    room: dict[tuple[str, str], int] = {}
    for owner in instance.owners:
        sisters = [row for row in instance.owners if row.institution == owner.institution]
        keep = max([owner.own_need, *(row.minimum_kept for row in sisters)])
        short = any(row.need > 0 and row.institution == owner.institution for row in instance.receivers)
        room["source", owner.institution] = 0 if short else max(0, owner.stock - keep)
        room[owner.institution, owner.offer] = owner.quantity
    for lane in instance.lanes:
        room[lane.offer, lane.request] = lane.cap
    for row in instance.receivers:
        room[row.request, "sink"] = row.need
    units = 0
    while path := augmenting(room):
        for tail, head in path:
            room[tail, head] -= 1
            room[head, tail] = room.get((head, tail), 0) + 1
        units += 1
    return units


def augmenting(room: Mapping[tuple[str, str], int]) -> list[tuple[str, str]]:
    """Arcs of a way from source to sink that has room; empty where there is none."""
    ways: dict[str, list[tuple[str, str]]] = {"source": []}
    agenda = ["source"]
    while agenda:
        node = agenda.pop()
        for (tail, head), units in room.items():
            if tail == node and units > 0 and head not in ways:
                ways[head] = [*ways[node], (tail, head)]
                agenda.append(head)
    return ways.get("sink", [])


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_the_same_instance_has_byte_for_byte_the_same_plan_and_proof(instances: Instances, data: st.DataObject) -> None:
    instance = data.draw(instances(sides=5, most=6, rules=tuple(Rule)))
    one, other = (solve(Instance.from_json(instance.to_json())) for _ in range(2))
    assert decided(one) == decided(other)


def decided(plan: Plan) -> bytes:
    """All of a plan but what was measured on the way."""
    return canonical.encode({name: part for name, part in plan.to_json().items() if name != "solver"})


def test_the_same_instance_has_the_same_plan_in_another_process(an_instance: Callable[..., Instance]) -> None:
    instance = an_instance({"o": 3, "p": 5, "q": 2}, {"r": (4, 3), "s": (4, 3), "t": (5, 3), "u": (2, 5)})
    told = {
        subprocess.run(
            [sys.executable, "-c", AGAIN], input=canonical.encode(instance.to_json()), capture_output=True, check=True,
            env={**os.environ, "PYTHONHASHSEED": seed},
        ).stdout.strip()
        for seed in ("1", "2")
    }  # fmt: skip
    assert told == {solve(instance).hash.encode()}


AGAIN = """
import sys
from sharewell.domain import canonical
from sharewell.domain.allocation import Instance
from sharewell_workers.solving import solve
print(solve(Instance.read(sys.stdin.buffer.read())).hash)
"""


def rename(document: object) -> object:
    """Names in the opposite order: o0 becomes o9, r1 becomes r8."""
    if isinstance(document, dict):
        return {key: rename(item) for key, item in document.items()}
    if isinstance(document, list):
        return [rename(item) for item in document]
    if isinstance(document, str) and len(document) == 2 and document[0] in "or" and document[1].isdigit():
        return document[0] + str(9 - int(document[1]))
    return document


def values_of(instance: Instance) -> list[tuple[str, int, int]]:
    """Stage values over all parts; the lottery is left out, for it is drawn by name."""
    return sorted((s.name, s.value, s.over) for s in solve(instance).stages if s.name != "lottery")


@settings(max_examples=60, deadline=None)
@given(data=st.data(), more=st.integers(1, 4))
def test_more_stock_never_lowers_the_sorted_fill_rates(instances: Instances, data: st.DataObject, more: int) -> None:
    drawn = data.draw(instances(sides=4, most=4, rules=(Rule.LEXIMIN,)))
    # Credit and reserves put some before others on purpose; without them the vector is what leximin makes largest.
    plain = tuple(replace(row, credit=0, categories=()) for row in drawn.receivers)
    instance = replace(drawn, receivers=plain, reserves=())
    document: dict[str, Any] = dict(instance.to_json())
    richer = [{**row, "quantity": row["quantity"] + more, "stock": row["stock"] + more} for row in document["owners"]]
    assert sorted_fills(Instance.from_json({**document, "owners": richer})) >= sorted_fills(instance)


def sorted_fills(instance: Instance) -> list[Fraction]:
    received = solve(instance).received
    return sorted(
        Fraction(row.held + received.get(row.request, 0), row.whole_need)
        for row in instance.receivers
        if row.whole_need
    )
