"""Lanes that carry no less than some, and that cost something on each day they carry anything."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from tests.unit.allocation.conftest import broken

from sharewell.domain.allocation import PlanRefused
from sharewell.domain.horizon import Aim, Horizon
from sharewell.domain.horizon_certificate import check_bounds
from sharewell.domain.horizon_check import check_schedule
from sharewell.domain.horizon_rows import Item, Lot, Shipment, Site, Standing, Ward, Way
from sharewell.domain.resources import ResourceKind
from sharewell_workers.solving import search, solve_horizon

Build = Callable[..., Horizon]
HERE, THERE, AFAR = "champignac", "bobeline", "marsupilami"


def two_givers(a_horizon: Build, **of_lanes: Any) -> Horizon:
    """Champignac and Bobeline have 3 ventilators each, Marsupilami needs 3 on each of four days."""
    return a_horizon(
        sites=tuple(Site(site=site) for site in (HERE, THERE, AFAR)), aims=(Aim.SHORTAGE, Aim.CHARGES, Aim.DISTANCE),
        lots=tuple(Lot(site=site, item="ventilator", units=3, since=0, until=4) for site in (HERE, THERE)),
        standings=tuple(
            Standing(site=site, item="ventilator", need=(need,) * 4, kept=(0,) * 4, pledge=pledge)
            for site, need, pledge in ((HERE, 0, 1000), (THERE, 0, 700), (AFAR, 3, 0))
        ),
        lanes=tuple(
            Way(item="ventilator", origin=site, destination=AFAR, days=0, metres=metres, **of_lanes)
            for site, metres in ((HERE, 9000), (THERE, 1000))
        ),
    )  # fmt: skip


def sent(units: int, origin: str = HERE) -> Shipment:
    return Shipment(item="ventilator", origin=origin, destination=AFAR, day=0, until=4, units=units)


def test_one_vehicle_is_sent_where_two_would_drive_less(a_horizon: Build) -> None:
    free, dear = two_givers(a_horizon), two_givers(a_horizon, charge=50)
    near, one = solve_horizon(free), solve_horizon(dear)
    assert [(row.origin, row.units) for row in near.shipments] == [(THERE, 2), (HERE, 1)]
    assert [(row.origin, row.units) for row in one.shipments] == [(HERE, 3)]
    assert one.total(Aim.CHARGES) == (50, 50)
    check_schedule(dear, one)
    check_bounds(dear, one)


def test_charges_that_are_not_as_stated_are_refused(a_horizon: Build) -> None:
    horizon = two_givers(a_horizon, charge=50)
    schedule = solve_horizon(horizon)
    cheaper = tuple(
        replace(row, value=0, bound=0) if row.aim is Aim.CHARGES else row for row in schedule.stages
    )
    with pytest.raises(PlanRefused, match="charges: reached is 50"):
        check_schedule(horizon, replace(schedule, stages=cheaper))


def test_a_lane_that_carries_less_than_its_least_is_told_in_words(a_horizon: Build) -> None:
    horizon = two_givers(a_horizon, least=3)
    assert not broken(two_givers(a_horizon), [sent(2)], {})
    assert broken(horizon, [sent(2)], {}) == [
        "lane champignac-marsupilami carries 2 of ventilator on day 0, at least 3 where it carries any"
    ]
    assert not broken(horizon, [sent(3)], {})
    # Bobeline may give 2 only, so all come from Champignac although it is farther.
    assert [(row.origin, row.units) for row in solve_horizon(horizon).shipments] == [(HERE, 3)]


def test_lots_of_several_ends_together_are_one_load(a_horizon: Build) -> None:
    horizon = two_givers(a_horizon, least=3, charge=50)
    ends = [(1, 3), (2, 4)]
    lots = tuple(Lot(site=HERE, item="ventilator", units=units, since=0, until=until) for units, until in ends)
    schedule = solve_horizon(replace(horizon, lots=lots))
    assert {(row.until, row.units) for row in schedule.shipments} == {(3, 1), (4, 2)}
    assert schedule.total(Aim.CHARGES) == (50, 50)


def test_people_go_the_way_that_charges_less_though_another_is_shorter(a_horizon: Build) -> None:
    wards = tuple(
        Ward(site=site, item="bed", beds=(beds,) * 4, occupied=(occupied,) * 4, arrivals=(2, 0, 0, 0), kept=(0,) * 4,
             pledge=1000)
        for site, beds, occupied in ((HERE, 0, 2000), (THERE, 0, 2000), (AFAR, 2, 0), ("zyglotrop", 2, 0))
    )  # fmt: skip
    ways = {(HERE, AFAR): (1, 90), (HERE, "zyglotrop"): (5, 1), (THERE, AFAR): (5, 1), (THERE, "zyglotrop"): (1, 90)}
    horizon = a_horizon(
        items=(Item(item="bed", kind=ResourceKind.PLACE, stay=(1000,) * 4),), aims=(Aim.SHORTAGE, Aim.CHARGES),
        sites=tuple(Site(site=ward.site) for ward in wards), wards=wards, lots=(), standings=(),
        lanes=tuple(
            Way(item="bed", origin=origin, destination=destination, days=0, metres=metres, charge=charge)
            for (origin, destination), (metres, charge) in ways.items()
        ),
    )  # fmt: skip
    schedule = solve_horizon(horizon)
    assert not schedule.unmet
    assert schedule.total(Aim.CHARGES) == (2, 2)
    assert {(row.origin, row.destination) for row in schedule.shipments} == {(HERE, "zyglotrop"), (THERE, AFAR)}


def test_a_load_is_of_what_its_origin_has_and_of_what_came_to_it(a_horizon: Build) -> None:
    """Two of Champignac's go on at once with Bobeline's own one: two loads, and no fraction of a load does the same."""
    members = two_givers(a_horizon)
    horizon = replace(
        members, aims=(Aim.SHORTAGE, Aim.CHARGES), items=tuple(replace(row, hold_days=0) for row in members.items),
        lots=tuple(
            Lot(site=site, item="ventilator", units=units, since=0, until=4) for site, units in ((HERE, 2), (THERE, 1))
        ),
        standings=tuple(replace(row, pledge=1000) for row in members.standings),
        lanes=tuple(
            Way(item="ventilator", origin=origin, destination=destination, days=0, metres=1, charge=50, least=2)
            for origin, destination in ((HERE, THERE), (THERE, AFAR))
        ),
    )  # fmt: skip
    schedule = solve_horizon(horizon)
    check_bounds(horizon, schedule)
    assert [(row.origin, row.units) for row in schedule.shipments] == [(THERE, 3), (HERE, 2)]
    assert (schedule.total(Aim.SHORTAGE), schedule.total(Aim.CHARGES)) == ((0, 0), (100, 100))


def test_a_load_in_force_remains_where_the_search_finds_nothing(
    a_horizon: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    horizon = two_givers(a_horizon, least=2, charge=50)
    planned = (replace(sent(2), day=1),)
    for step in ("_relaxed", "_in_whole_numbers"):
        monkeypatch.setattr(search._Search, step, lambda *_: None)
    again = replace(horizon, in_force=planned)
    schedule = solve_horizon(again)
    check_schedule(again, schedule)
    assert schedule.shipments == planned
    assert not solve_horizon(replace(horizon, in_force=(replace(sent(1), day=1),))).shipments


def test_a_least_that_nobody_can_reach_leaves_the_need_open_with_a_bound_by_fractions(a_horizon: Build) -> None:
    """The relaxed program carries 2 of 3 in two thirds of a vehicle; the schedule says that its bound is only that."""
    horizon = two_givers(a_horizon, least=4)
    schedule = solve_horizon(horizon)
    check_schedule(horizon, schedule)
    check_bounds(horizon, schedule)
    assert not schedule.shipments
    assert schedule.total(Aim.SHORTAGE)[0] == 3 * 3 * 4
