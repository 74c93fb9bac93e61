"""Every limit that was typed and every rule is checked again on the schedule, day by day."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest
from tests.unit.allocation.conftest import broken

from sharewell.domain.allocation import NotProven, PlanRefused
from sharewell.domain.horizon import Aim, Horizon
from sharewell.domain.horizon_certificate import check_bounds
from sharewell.domain.horizon_check import check_schedule
from sharewell.domain.horizon_measures import share_table
from sharewell.domain.horizon_program import stretches
from sharewell.domain.horizon_rows import Item, Lot, Shipment, Site, Standing, Substitute, Ward, Way
from sharewell.domain.horizon_rules import program_of
from sharewell.domain.horizon_walk import alone
from sharewell.domain.plan import Status
from sharewell.domain.resources import ResourceKind
from sharewell.domain.schedule import Cause
from sharewell_workers.solving import solve_horizon
from sharewell_workers.solving.read_off import fresh_last, read_off

Build = Callable[..., Horizon]
HERE, THERE, AFAR = "champignac", "bobeline", "marsupilami"


def sent(day: int, units: int, item: str = "ventilator", **more: Any) -> Shipment:
    row = Shipment(item=item, origin=HERE, destination=THERE, day=day, until=4, units=units)
    return replace(row, **more)


def rows(horizon: Horizon, name: str, **changes: Any) -> tuple[Any, ...]:
    """The rows of one list, `changes` made to those of the item ventilator."""
    return tuple(replace(row, **changes) if row.item == "ventilator" else row for row in getattr(horizon, name))


def one_item(a_horizon: Build, kind: ResourceKind, days: int = 4, **more: Any) -> Horizon:
    """Two sites, one item, lanes both ways of a day; Bobeline needs 2 a day."""
    members: dict[str, Any] = {
        "items": (Item(item="x", kind=kind, **more.pop("item", {})),),
        "days": days,
        "lots": more.pop("lots"),
        "standings": (
            Standing(site=HERE, item="x", need=(0,) * days, kept=(0,) * days, pledge=1000),
            Standing(site=THERE, item="x", need=(2,) * days, kept=(0,) * days, pledge=1000),
        ),
        "lanes": tuple(
            Way(item="x", origin=a, destination=b, days=1, metres=1) for a, b in [(HERE, THERE), (THERE, HERE)]
        ),
    }  # fmt: skip
    return a_horizon(**(members | more))


def best(horizon: Horizon) -> Any:
    schedule = solve_horizon(horizon)
    check_schedule(horizon, schedule)
    check_bounds(horizon, schedule)
    return schedule


def test_a_good_schedule_passes(a_horizon: Build) -> None:
    horizon = a_horizon()
    schedule = best(horizon)
    assert schedule.search.status is Status.OPTIMAL
    moved = {row.item: row.units for row in schedule.shipments}
    assert moved["ventilator"] == 3
    table = share_table(horizon, schedule)
    # Of ventilators 10 days' need is open alone; 3 can come, 2 of them needed on day 1.
    assert table["items"]["ventilator"] == {"alone": 10, "shared": 2, "worse_off": 0, "moved": 3}


@pytest.mark.parametrize(
    ("shipments", "words"),
    [
        ([sent(0, 4)], "keeps 2"),
        ([sent(0, 6)], "ships 1 more"),
        ([sent(0, 1, until=3)], "than it has"),
        ([sent(0, 6, "mask", until=4)], "pledged 5"),
        ([sent(0, 5, "mask", until=2)], "ships 1 more of mask"),
    ],
)
def test_a_limit_passed_is_told_in_words(a_horizon: Build, shipments: list[Shipment], words: str) -> None:
    assert words in "; ".join(broken(a_horizon(), shipments, {}))


@pytest.mark.parametrize(
    ("name", "changes", "shipment", "words"),
    [
        ("lanes", {"cap": 1}, sent(0, 2), "carries 2 of ventilator on day 0, at most 1"),
        ("standings", {"gives": 1}, sent(0, 2), "sends 2 of ventilator on day 0, at most 1"),
        ("standings", {"takes": 1}, sent(0, 2), "receives 2 of ventilator on day 1, at most 1"),
        ("standings", {"ceiling": 1}, sent(0, 2), "receives 2 of ventilator, at most 1"),
        ("standings", {"pledge": 200}, sent(0, 2), "keeps 4"),
        ("items", {"lot_size": 2}, sent(0, 1), "in lots of 2"),
    ],
)
def test_a_limit_that_was_typed_is_never_ignored(
    a_horizon: Build, name: str, changes: dict[str, Any], shipment: Shipment, words: str
) -> None:
    horizon = a_horizon()
    assert not broken(horizon, [shipment], {("champignac", day, "mask", "mask"): 1 for day in range(4)})
    one_list: dict[str, Any] = {name: rows(horizon, name, **changes)}
    tight = replace(horizon, **one_list)
    assert any(words in problem for problem in broken(tight, [shipment], {}))
    assert not set(best(tight).shipments) & {shipment}


def test_a_schedule_that_speaks_of_something_else_is_refused(a_horizon: Build) -> None:
    horizon = a_horizon()
    schedule = best(horizon)
    for wrong, words in (
        (replace(schedule, instance_hash="0" * 64), "answers instance"),
        (replace(schedule, shipments=(sent(0, 1, destination=AFAR),)), "no such lane"),
        (replace(schedule, shipments=(sent(3, 1),)), "arrives within the horizon"),
        (replace(schedule, shipments=(sent(0, 1, until=0),)), "no lot that ends"),
        (replace(schedule, shipments=(sent(0, 1), sent(0, 1))), "two rows"),
        (replace(schedule, uses=(*schedule.uses, schedule.uses[0])), "twice"),
        (replace(schedule, uses=(replace(schedule.uses[0], item="ventilator"),)), "cannot use"),
        (replace(schedule, unmet=()), "not as stated"),
        (replace(schedule, stages=schedule.stages[1:]), "every stage"),
        (replace(schedule, search=replace(schedule.search, gap=7)), "the gap to the bounds is 0"),
    ):
        with pytest.raises(PlanRefused, match=words):
            check_schedule(horizon, wrong)


def test_a_valid_schedule_that_favours_somebody_is_not_proven(a_horizon: Build) -> None:
    """Both lack the same; giving all to one is valid, and still refused where the other was more urgent."""
    horizon = a_horizon(
        sites=(Site(site=HERE), Site(site=THERE), Site(site=AFAR)), aims=(Aim.SHORTAGE,),
        lots=(Lot(site=HERE, item="ventilator", units=2, since=0, until=4),),
        standings=(
            Standing(site=HERE, item="ventilator", need=(0,) * 4, kept=(0,) * 4, pledge=1000),
            Standing(site=THERE, item="ventilator", need=(2,) * 4, kept=(0,) * 4, urgency=5),
            Standing(site=AFAR, item="ventilator", need=(2,) * 4, kept=(0,) * 4, urgency=4),
        ),
        lanes=tuple(Way(item="ventilator", origin=HERE, destination=to, days=1, metres=1) for to in (THERE, AFAR)),
    )  # fmt: skip
    fair = best(horizon)
    turned = {HERE: 3, THERE: 4, AFAR: 5}
    biased = solve_horizon(
        replace(horizon, standings=tuple(replace(row, urgency=turned[row.site]) for row in horizon.standings))
    )
    claim = replace(
        fair, shipments=biased.shipments, unmet=biased.unmet,
        stages=tuple(replace(row, value=row.value + 6) for row in fair.stages),
        search=replace(fair.search, status=Status.FEASIBLE),
    )  # fmt: skip
    gap = -(-1_000_000 * 6 // claim.stages[0].value)
    honest = replace(claim, search=replace(claim.search, gap=gap))
    check_schedule(horizon, honest)
    check_bounds(horizon, honest)  # it says itself that it may be worse by the gap
    with pytest.raises(PlanRefused, match="optimal"):
        check_schedule(horizon, replace(honest, search=replace(honest.search, status=Status.OPTIMAL)))
    boast = replace(claim, stages=tuple(replace(row, bound=row.value) for row in claim.stages))
    with pytest.raises(NotProven, match="the multipliers prove"):
        check_bounds(horizon, boast)


def test_loans_come_back(a_horizon: Build) -> None:
    lots = (Lot(site=HERE, item="x", units=2, since=0, until=6),)
    horizon = one_item(a_horizon, ResourceKind.DEVICE, 6, item={"loan_days": 2}, lots=lots)
    schedule = best(horizon)
    # Out on day 0, there on 1 and 2, home on 4, and only then out again: days 5 is served too.
    assert [(row.day, row.units) for row in schedule.shipments] == [(0, 2), (4, 2)]
    assert schedule.unmet[0].units == 2 * 6 - 2 * 2 - 2
    home = one_item(a_horizon, ResourceKind.DEVICE, 6, item={"loan_days": 4, "home_by_end": 1}, lots=lots)
    # A loan of 4 days from day 1 is cut short on day 5, so that it is home on day 6.
    assert best(home).unmet[0].units == 2 * 6 - 2 * 4


def test_borrowed_units_are_not_lent_on(a_horizon: Build) -> None:
    lots = (Lot(site=HERE, item="x", units=2, since=0, until=6),)
    horizon = one_item(a_horizon, ResourceKind.DEVICE, 6, item={"loan_days": 3}, lots=lots)
    there = Shipment(item="x", origin=HERE, destination=THERE, day=0, until=6, units=2)
    on = Shipment(item="x", origin=THERE, destination=HERE, day=1, until=6, units=1)
    assert "more than its own" in "; ".join(broken(horizon, [there, on], {}))


def test_units_received_are_held_before_they_are_shipped_on(a_horizon: Build) -> None:
    lots = (Lot(site=HERE, item="x", units=2, since=0, until=6),)
    there = Shipment(item="x", origin=HERE, destination=THERE, day=0, until=6, units=2)
    for day, allowed in ((2, False), (3, True)):
        horizon = one_item(a_horizon, ResourceKind.DEVICE, 6, item={"hold_days": 2}, lots=lots)
        idle = replace(horizon, standings=tuple(replace(row, need=(0,) * 6) for row in horizon.standings))
        on = Shipment(item="x", origin=THERE, destination=HERE, day=day, until=6, units=2)
        assert (not broken(idle, [there, on], {})) is allowed


def relay(a_horizon: Build, item: Item, pledge: int = 1000) -> Horizon:
    """Units can reach Marsupilami, who needs them daily, only through Bobeline, who needs none."""
    return a_horizon(
        days=6, items=(item,), sites=(Site(site=HERE), Site(site=THERE), Site(site=AFAR)),
        lots=(Lot(site=HERE, item="x", units=4, since=0, until=6),),
        standings=tuple(
            Standing(site=site, item="x", need=(need,) * 6, kept=(0,) * 6, pledge=pledge)
            for site, need in ((HERE, 0), (THERE, 0), (AFAR, 1))
        ),
        lanes=tuple(
            Way(item="x", origin=a, destination=b, days=1, metres=1) for a, b in ((HERE, THERE), (THERE, AFAR))
        ),
    )  # fmt: skip


@pytest.mark.parametrize(("hold", "short"), [(0, 2), (1, 3), (2, 4), (3, 5), (5, 6)])
def test_the_best_schedule_waits_for_the_hold(a_horizon: Build, hold: int, short: int) -> None:
    """Shipped on day 0, at the relay on day 1, shipped on when held, there a day later, and used from then on."""
    schedule = best(relay(a_horizon, Item(item="x", kind=ResourceKind.DEVICE, hold_days=hold)))
    assert [row.units for row in schedule.unmet] == [short]


@pytest.mark.parametrize(("pledge", "short"), [(1000, 2), (500, 4), (250, 5), (0, 6)])
def test_the_best_schedule_ships_no_more_of_a_consumable_than_is_pledged(
    a_horizon: Build, pledge: int, short: int
) -> None:
    schedule = best(relay(a_horizon, Item(item="x", kind=ResourceKind.CONSUMABLE), pledge))
    assert [row.units for row in schedule.unmet] == [short]


def test_lots_are_chosen_anew_where_old_ones_are_used_first() -> None:
    """Champignac was to use the fresh unit and ship the old one; used first, the old is gone, so the fresh one goes."""
    horizon = a_perishable()
    used = {(HERE, 0, "x", "x"): 1, (THERE, 1, "x", "x"): 1}
    old = Shipment(item="x", origin=HERE, destination=THERE, day=1, until=2, units=1)
    assert "ships 1 more" in "; ".join(broken(horizon, [old], used))
    assert fresh_last(horizon, [old], used) == [replace(old, until=4)]
    assert not broken(horizon, fresh_last(horizon, [old], used), used)


def test_columns_that_use_the_fresh_unit_first_become_a_schedule_all_the_same() -> None:
    horizon = a_perishable()
    (part,) = stretches(horizon)
    program = program_of(horizon, alone(horizon), part)
    (lane,) = part.lanes
    chosen = {("use", HERE, "x", 4, "x", 0), ("lane", lane, 2, 1), ("use", THERE, "x", 2, "x", 1)}
    shipments, uses = read_off(program, np.array([float(name in chosen) for name in program.names]))
    assert uses == {(HERE, 0, "x", "x"): 1, (THERE, 1, "x", "x"): 1}
    assert [row.until for row in shipments] == [4]
    assert not broken(horizon, shipments, uses)


def a_perishable() -> Horizon:
    return Horizon(
        start=datetime(2026, 1, 31, 12, tzinfo=UTC), days=4, seed="spip",
        items=(Item(item="x", kind=ResourceKind.CONSUMABLE),), sites=(Site(site=HERE), Site(site=THERE)),
        lots=tuple(Lot(site=HERE, item="x", units=1, since=0, until=until) for until in (2, 4)),
        standings=(
            Standing(site=HERE, item="x", need=(1, 0, 0, 0), kept=(0,) * 4, pledge=1000),
            Standing(site=THERE, item="x", need=(0, 1, 0, 0), kept=(0,) * 4),
        ),
        lanes=(Way(item="x", origin=HERE, destination=THERE, days=0, metres=1),),
    )  # fmt: skip


def test_staff_go_only_in_their_window_and_are_home_when_it_ends(a_horizon: Build) -> None:
    lots = (Lot(site=HERE, item="x", units=1, since=1, until=5),)
    horizon = one_item(a_horizon, ResourceKind.STAFF, 6, item={"loan_days": 5}, lots=lots)
    schedule = best(horizon)
    assert [(row.day, row.units) for row in schedule.shipments] == [(1, 1)]
    # There from day 2 to day 3, home on day 5.
    assert schedule.unmet[0].units == 2 * 6 - 2


def test_expiring_lots_go_first_and_expired_ones_help_nobody(a_horizon: Build) -> None:
    lots = (
        Lot(site=HERE, item="x", units=2, since=0, until=2),
        Lot(site=HERE, item="x", units=2, since=0, until=4),
    )
    schedule = best(one_item(a_horizon, ResourceKind.CONSUMABLE, 4, lots=lots))
    # Arriving on day 1, those that expire on day 2 are used that day, the others on day 2.
    assert schedule.unmet[0].units == 2 * 4 - 4
    assert {row.until for row in schedule.shipments} == {2, 4}


def test_a_substitute_meets_the_need_where_it_is(a_horizon: Build) -> None:
    def item(name: str) -> Item:
        return Item(item=name, kind=ResourceKind.CONSUMABLE)

    horizon = a_horizon(
        items=(item("ffp3"), item("ffp2")), substitutes=(Substitute(item="ffp3", serves="ffp2"),),
        lots=(Lot(site=HERE, item="ffp3", units=6, since=0, until=4),),
        standings=(
            Standing(site=HERE, item="ffp3", need=(0,) * 4, kept=(0,) * 4, pledge=1000),
            Standing(site=THERE, item="ffp3", need=(0,) * 4, kept=(0,) * 4),
            Standing(site=THERE, item="ffp2", need=(2,) * 4, kept=(0,) * 4),
        ),
        lanes=(Way(item="ffp3", origin=HERE, destination=THERE, days=1, metres=1),),
    )  # fmt: skip
    schedule = best(horizon)
    assert [(row.item, row.serves) for row in schedule.uses] == [("ffp3", "ffp2")] * 3
    assert [(row.item, row.units) for row in schedule.unmet] == [("ffp2", 2)]


def wards(**of_there: Any) -> Horizon:
    members: dict[str, Any] = {"arrivals": (2, 2, 0, 0), "pledge": 1000}
    return Horizon(
        start=datetime(2026, 1, 31, 12, tzinfo=UTC), days=4, seed="spip", aims=(Aim.SHORTAGE, Aim.MOVES),
        items=(Item(item="bed", kind=ResourceKind.PLACE, stay=(1000, 500, 250)),),
        sites=(Site(site=HERE), Site(site=THERE)),
        wards=(
            Ward(site=HERE, item="bed", beds=(1,) * 4, kept=(0,) * 4, occupied=(2000, 3000, 2500, 500),
                 arrivals=(2, 2, 0, 0)),
            Ward(**({"site": THERE, "item": "bed", "beds": (2,) * 4, "kept": (0,) * 4, "occupied": (0,) * 4}
                    | members | of_there)),
        ),
        lanes=(Way(item="bed", origin=HERE, destination=THERE, days=0, metres=1),),
    )  # fmt: skip


def test_patients_take_their_stay_with_them() -> None:
    schedule = best(wards())
    assert [(row.day, row.units) for row in schedule.shipments] == [(0, 2), (1, 1)]
    # Alone 1, 2 and 1.5 beds too few on days 0 to 2. Of two moved on day 0 one is left on day 1, so that the two beds
    # there take one more; on day 2 they count a half each.
    assert schedule.unmet[0].units == 0 + 0 + 1500 - 500 - 500


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"pledge": 0}, "0 are pledged"),
        ({"kept": (2,) * 4}, "0 are pledged"),
        ({"occupied": (2000,) * 4}, "alone it would lack 0"),
        ({"takes": 0}, "at most 0"),
    ],
)
def test_a_ward_is_not_filled_beyond_what_it_offers(changes: dict[str, Any], words: str) -> None:
    horizon = wards(**changes)
    moved = Shipment(item="bed", origin=HERE, destination=THERE, day=0, until=0, units=1)
    assert not broken(wards(), [moved], {})
    assert words in "; ".join(broken(horizon, [moved], {}))
    assert not best(horizon).shipments


def test_only_people_admitted_that_day_are_moved() -> None:
    moved = Shipment(item="bed", origin=HERE, destination=THERE, day=2, until=0, units=1)
    assert "admits 0" in "; ".join(broken(wards(), [moved], {}))


def test_each_cause_of_a_shortage_is_told(a_horizon: Build) -> None:
    def causes(horizon: Horizon) -> dict[str, Cause]:
        return {row.item: row.code for row in best(horizon).unmet if row.site == THERE}

    horizon = a_horizon()
    assert causes(horizon)["ventilator"] is Cause.ELSEWHERE
    assert causes(a_horizon(lanes=()))["ventilator"] is Cause.NO_LANE
    late = replace(horizon, lanes=tuple(replace(lane, days=4) for lane in horizon.lanes))
    assert causes(late)["ventilator"] is Cause.NOT_IN_TIME
    keeping = replace(horizon, standings=rows(horizon, "standings", pledge=0))
    assert causes(keeping)["ventilator"] is Cause.OWNERS_AT_FLOOR
