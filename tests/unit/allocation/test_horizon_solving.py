"""Schedules are valid, as good as any, proven so where they say so, and the same every time."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import product
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.allocation.conftest import broken

from sharewell.domain.allocation import NotProven, PlanRefused
from sharewell.domain.canonical import encode
from sharewell.domain.horizon import Aim, Horizon
from sharewell.domain.horizon_certificate import check_bounds
from sharewell.domain.horizon_check import check_schedule
from sharewell.domain.horizon_measures import weight
from sharewell.domain.horizon_program import stretches
from sharewell.domain.horizon_rows import Shipment
from sharewell.domain.horizon_walk import alone, walk
from sharewell.domain.plan import Status
from sharewell.domain.resources import ResourceKind
from sharewell.domain.schedule import Schedule
from sharewell_workers.solving import solve_horizon

Horizons = Callable[..., st.SearchStrategy[Horizon]]
KINDS = tuple(ResourceKind)
NO_SUBSTITUTES = (ResourceKind.DEVICE, ResourceKind.STAFF, ResourceKind.PLACE)
CHARGED = (Aim.SHORTAGE, Aim.CHARGES)
LARGEST_SEARCH = 4096  #: sets of shipments tried one by one


def shortage(horizon: Horizon, shipments: tuple[Shipment, ...] = ()) -> int:
    result = walk(horizon, shipments, dict(alone(horizon).walk.uses))
    nodes = [node for part in stretches(horizon) for node in part.nodes]
    return sum(weight(horizon, node) * result.total_short(node) for node in nodes)


def charges(horizon: Horizon, shipments: tuple[Shipment, ...]) -> int:
    trips = {(row.item, row.origin, row.destination, row.day) for row in shipments}
    return sum(horizon.lane[item, one, other].charge for item, one, other, _ in trips)


def every_set_of_shipments(horizon: Horizon, most: int) -> Iterator[tuple[Shipment, ...]]:
    """All sets of shipments of at most `most` units a row, whether valid or not; none if there are too many."""
    rows = [
        (lane, day, until)
        for lane in horizon.lanes
        for day in range(horizon.days - lane.days)
        for until in ([0] if horizon.item[lane.item].is_place else sorted({lot.until for lot in horizon.lots}))
        if until == 0 or horizon.loan(lane, day, until) is not None
    ]
    if (most + 1) ** len(rows) > LARGEST_SEARCH:
        return
    for units in product(range(most + 1), repeat=len(rows)):
        yield tuple(
            Shipment(item=lane.item, origin=lane.origin, destination=lane.destination, day=day, until=until, units=n)
            for n, (lane, day, until) in zip(units, rows, strict=True)
            if n
        )


@settings(max_examples=120, deadline=None)
@given(data=st.data())
def test_every_schedule_is_valid_and_its_bounds_are_proven(horizons: Horizons, data: st.DataObject) -> None:
    horizon = data.draw(horizons(kinds=KINDS))
    schedule = solve_horizon(horizon)
    check_schedule(horizon, schedule)
    check_bounds(horizon, schedule)
    assert schedule.search.status is Status.OPTIMAL or any(row.bound < row.value for row in schedule.stages)


@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_no_set_of_shipments_does_better(horizons: Horizons, data: st.DataObject) -> None:
    small: dict[str, Any] = {"sites": 2, "days": 3, "items": 1, "most": 2, "one_lot": True}
    horizon = data.draw(horizons(kinds=NO_SUBSTITUTES, aims=(Aim.SHORTAGE,), **small))
    value, bound = solve_horizon(horizon).total(Aim.SHORTAGE)
    best = min(
        (
            shortage(horizon, shipments)
            for shipments in every_set_of_shipments(horizon, 2)
            if not broken(horizon, shipments, {})
        ),
        default=None,
    )
    if best is not None and not horizon.enough:
        assert value == best
        assert bound <= best


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_nobody_is_worse_off_or_below_what_it_keeps(horizons: Horizons, data: st.DataObject) -> None:
    """Told from the definitions, not by the checker."""
    horizon = data.draw(horizons(kinds=KINDS))
    schedule = solve_horizon(horizon)
    by_itself = walk(horizon)
    shared = walk(horizon, schedule.shipments, {(u.site, u.day, u.item, u.serves): u.units for u in schedule.uses})
    assert not shared.violations
    for node, short in shared.short.items():
        assert all(now <= before for now, before in zip(short, by_itself.short[node], strict=True))
    for site, item in {(row.origin, row.item) for row in schedule.shipments}:
        if horizon.item[item].kind is ResourceKind.DEVICE and not horizon.item[item].loan_days:
            standing = horizon.standing[site, item]
            for day in range(horizon.days):
                was, now = by_itself.on_hand[site, item][day], shared.on_hand[site, item][day]
                assert now >= min(was, standing.kept[day])
                assert 1000 * (was - now) <= standing.pledge * was


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_the_same_horizon_gives_the_same_bytes(horizons: Horizons, data: st.DataObject) -> None:
    horizon = data.draw(horizons(kinds=KINDS))
    shuffled = replace(
        horizon, lanes=horizon.lanes[::-1], lots=horizon.lots[::-1], standings=horizon.standings[::-1],
        sites=horizon.sites[::-1], wards=horizon.wards[::-1], items=horizon.items[::-1],
    )  # fmt: skip
    assert shuffled.hash == horizon.hash
    one, other = (solve_horizon(made) for made in (horizon, shuffled))
    assert one.hash == other.hash
    assert [encode(proof.to_json()) for proof in one.proofs] == [encode(proof.to_json()) for proof in other.proofs]


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_without_time_there_is_still_a_schedule_with_its_bound(horizons: Horizons, data: st.DataObject) -> None:
    horizon = data.draw(horizons(kinds=KINDS))
    schedule = solve_horizon(horizon, seconds=0)
    check_schedule(horizon, schedule)
    check_bounds(horizon, schedule)
    assert schedule.total(Aim.SHORTAGE)[1] <= solve_horizon(horizon).total(Aim.SHORTAGE)[0]


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_a_schedule_with_one_number_changed_is_refused(horizons: Horizons, data: st.DataObject) -> None:
    # Without an aim that counts moves, one movement more can be as good.
    horizon = data.draw(horizons(kinds=KINDS, aims=(Aim.FILL, Aim.SHORTAGE, Aim.MOVES)))
    document = json.loads(json.dumps(solve_horizon(horizon).to_json()))
    place = data.draw(st.sampled_from(["shipments", "uses", "stages", "unmet"]))
    if not document[place]:
        return
    row = data.draw(st.sampled_from(document[place]))
    row["value" if place == "stages" else "units"] += data.draw(st.sampled_from([1, 2]))
    with pytest.raises((PlanRefused, NotProven)):
        changed = Schedule.from_json(document)
        check_schedule(horizon, changed)
        check_bounds(horizon, changed)


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_changed_multipliers_prove_nothing_that_is_not_so(horizons: Horizons, data: st.DataObject) -> None:
    """A bound is never above what a schedule reaches, whatever the multipliers; and a stated bound has to be theirs."""
    horizon = data.draw(horizons(kinds=KINDS))
    schedule = solve_horizon(horizon)
    document = json.loads(json.dumps(schedule.to_json()))
    stages = [stage for proof in document["proofs"] for stage in proof["stages"] if stage["rows"]]
    if not stages:
        return
    rows = data.draw(st.sampled_from(stages))["rows"]
    rows[data.draw(st.integers(0, len(rows) - 1))] += data.draw(st.sampled_from([-3, -1, 1, 3]))
    changed = Schedule.from_json(document)
    try:
        check_bounds(horizon, changed)
    except NotProven:
        return
    assert [stage.bound for stage in changed.stages] == [stage.bound for stage in schedule.stages]
    assert all(stage.bound <= stage.value for stage in changed.stages)


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_an_idle_schedule_that_claims_to_be_best_is_refused(horizons: Horizons, data: st.DataObject) -> None:
    horizon = data.draw(horizons(kinds=KINDS, aims=(Aim.SHORTAGE,)))
    best, idle = solve_horizon(horizon), solve_horizon(horizon, seconds=0)
    if best.total(Aim.SHORTAGE)[0] == idle.total(Aim.SHORTAGE)[0]:
        return
    boast = replace(idle, search=replace(idle.search, status=Status.OPTIMAL), proofs=best.proofs)
    stages = tuple(replace(row, bound=row.value) for row in idle.stages)
    for claim in (boast, replace(boast, stages=stages, search=replace(boast.search, gap=0))):
        with pytest.raises((PlanRefused, NotProven)):
            check_schedule(horizon, claim)
            check_bounds(horizon, claim)


@settings(max_examples=120, deadline=None)
@given(data=st.data())
def test_using_first_what_expires_first_costs_nothing(horizons: Horizons, data: st.DataObject) -> None:
    """The bound knows nothing of the order in which lots are used, and is met all the same."""
    drawn = data.draw(horizons(kinds=(ResourceKind.CONSUMABLE,), items=1, days=5, aims=(Aim.SHORTAGE, Aim.DISTANCE)))
    items = tuple(replace(item, lot_size=1, hold_days=0) for item in drawn.items)
    standings = tuple(replace(row, pledge=1000, kept=(0,) * drawn.days) for row in drawn.standings)
    schedule = solve_horizon(replace(drawn, items=items, standings=standings, enough=0))
    value, bound = schedule.total(Aim.SHORTAGE)
    assert value == bound


@settings(max_examples=30, deadline=None)
@given(data=st.data())
def test_the_schedule_in_force_stays_where_nothing_has_changed(horizons: Horizons, data: st.DataObject) -> None:
    horizon = data.draw(horizons(kinds=KINDS, aims=(Aim.SHORTAGE, Aim.MOVES, Aim.STABILITY)))
    first = solve_horizon(horizon)
    again = replace(horizon, in_force=first.shipments)
    second = solve_horizon(again)
    check_schedule(again, second)
    assert second.total(Aim.SHORTAGE)[0] == first.total(Aim.SHORTAGE)[0]
    assert second.total(Aim.MOVES)[0] <= first.total(Aim.MOVES)[0]
    if second.search.status is Status.OPTIMAL and first.search.status is Status.OPTIMAL:
        assert second.total(Aim.STABILITY)[0] == 0
    idle = solve_horizon(again, seconds=0.000001)
    assert idle.total(Aim.SHORTAGE)[0] <= shortage(horizon)


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_no_set_of_shipments_does_better_or_costs_less(horizons: Horizons, data: st.DataObject) -> None:
    small: dict[str, Any] = {"sites": 2, "days": 3, "items": 1, "most": 2, "one_lot": True, "lumpy": True}
    horizon = replace(data.draw(horizons(kinds=NO_SUBSTITUTES, aims=CHARGED, **small)), enough=0)
    schedule = solve_horizon(horizon)
    check_schedule(horizon, schedule)
    check_bounds(horizon, schedule)
    best = min(
        (
            (shortage(horizon, shipments), charges(horizon, shipments))
            for shipments in every_set_of_shipments(horizon, 2)
            if not broken(horizon, shipments, {})
        ),
        default=None,
    )
    if best is not None:
        assert (schedule.total(Aim.SHORTAGE)[0], schedule.total(Aim.CHARGES)[0]) == best


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_every_schedule_over_lumpy_lanes_is_valid_and_its_bounds_are_proven(
    horizons: Horizons, data: st.DataObject
) -> None:
    aims = data.draw(st.sampled_from([CHARGED, (Aim.FILL, Aim.SHORTAGE, Aim.CHARGES), (Aim.SHORTAGE, Aim.MOVES)]))
    horizon = data.draw(horizons(kinds=tuple(ResourceKind), aims=aims, lumpy=True))
    schedule = solve_horizon(horizon)
    check_schedule(horizon, schedule)
    check_bounds(horizon, schedule)
    again = replace(horizon, in_force=schedule.shipments)
    second = solve_horizon(again)
    check_schedule(again, second)
    if schedule.search.status is Status.OPTIMAL:
        first = {row.aim: row.value for row in schedule.stages}
        assert {row.aim: row.value for row in second.stages} == first
