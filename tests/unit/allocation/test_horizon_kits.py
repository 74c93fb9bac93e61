"""Needs that several things meet together: whole kits of parts, and devices with what is fitted to them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.allocation.conftest import broken

from sharewell.domain.allocation import PlanRefused
from sharewell.domain.horizon import Aim, Horizon
from sharewell.domain.horizon_certificate import check_bounds
from sharewell.domain.horizon_check import check_schedule
from sharewell.domain.horizon_measures import weight
from sharewell.domain.horizon_program import stretches
from sharewell.domain.horizon_rows import Item, Lot, Part, Shipment, Site, Standing, Substitute, Way
from sharewell.domain.horizon_walk import Uses, walk
from sharewell.domain.plan import Status
from sharewell.domain.resources import ResourceKind
from sharewell.domain.schedule import Cause, Schedule
from sharewell_workers.solving import solve_horizon
from sharewell_workers.solving.read_off import fresh_last

HERE, THERE = "champignac", "bobeline"
LARGEST_SEARCH = 5000  #: sets of shipments and uses tried one by one
KINDS = {
    "ventilator": ResourceKind.DEVICE, "monitor": ResourceKind.DEVICE, "nurse": ResourceKind.STAFF,
    "circuit": ResourceKind.CONSUMABLE, "tube": ResourceKind.CONSUMABLE, "team": ResourceKind.DEVICE,
}  # fmt: skip


def together(
    needs: Mapping[str, tuple[int, ...]], spare: Mapping[str, int], *, has: Mapping[str, int] | None = None,
    lanes: tuple[str, ...] | None = None, kits: tuple[Part, ...] = (), fittings: tuple[Part, ...] = (),
    substitutes: tuple[Substitute, ...] = (), aims: tuple[Aim, ...] = (Aim.SHORTAGE, Aim.MOVES),
) -> Horizon:  # fmt: skip
    """Champignac can spare `spare`, Bobeline `has` and `needs`; what `lanes` name gets there on the day it leaves."""
    days = len(next(iter(needs.values())))
    items = sorted({*needs, *spare, *(has or {})})
    nothing = (0,) * days
    return Horizon(
        start=datetime(2026, 1, 31, 12, tzinfo=UTC), days=days, seed="spip", aims=aims,
        items=tuple(Item(item=item, kind=KINDS[item]) for item in items),
        sites=(Site(site=HERE), Site(site=THERE)), kits=kits, fittings=fittings, substitutes=substitutes,
        lots=tuple(
            Lot(site=site, item=item, units=units, since=0, until=days)
            for site, lots in ((HERE, spare), (THERE, has or {})) for item, units in lots.items()
        ),
        standings=tuple(
            Standing(site=site, item=item, need=needs.get(item, nothing) if site == THERE else nothing, kept=nothing,
                     pledge=1000)
            for site in (HERE, THERE) for item in items
        ),
        lanes=tuple(
            Way(item=item, origin=HERE, destination=THERE, days=0, metres=1000)
            for item in (spare if lanes is None else lanes)
        ),
    )  # fmt: skip


def best(horizon: Horizon) -> Schedule:
    schedule = solve_horizon(horizon)
    check_schedule(horizon, schedule)
    check_bounds(horizon, schedule)
    return schedule


def moved(schedule: Schedule) -> dict[str, int]:
    return {item: sum(row.units for row in schedule.shipments if row.item == item) for item in
            {row.item for row in schedule.shipments}}  # fmt: skip


TEAM = (Part(item="team", part="ventilator", units=1), Part(item="team", part="nurse", units=2))


def test_only_whole_kits_meet_a_need_and_no_part_travels_in_vain() -> None:
    schedule = best(together({"team": (2, 2)}, {"ventilator": 3, "nurse": 3}, kits=TEAM))
    assert moved(schedule) == {"ventilator": 1, "nurse": 2}
    assert [(row.item, row.day, row.units) for row in schedule.uses] == [("team", 0, 1), ("team", 1, 1)]
    assert [(row.item, row.units) for row in schedule.unmet] == [("team", 2)]


def test_parts_that_are_there_already_are_put_together_with_what_comes() -> None:
    schedule = best(together({"team": (2, 2)}, {"nurse": 4}, has={"ventilator": 2}, kits=TEAM))
    assert moved(schedule) == {"nurse": 4}
    assert not schedule.unmet


def test_a_part_serves_its_own_need_or_the_kit_and_not_both() -> None:
    horizon = together({"team": (1,), "ventilator": (1,)}, {"nurse": 2}, has={"ventilator": 1}, kits=TEAM)
    assert [row.units for row in best(horizon).unmet] == [1]
    both = {(THERE, 0, "team", "team"): 1, (THERE, 0, "ventilator", "ventilator"): 1}
    nurses = Shipment(item="nurse", origin=HERE, destination=THERE, day=0, until=1, units=2)
    assert "more than it has all parts for or needs" in "; ".join(broken(horizon, [nurses], both))


def test_a_part_that_is_used_up_is_gone_the_next_day() -> None:
    kit = (Part(item="team", part="ventilator", units=1), Part(item="team", part="circuit", units=2))
    schedule = best(together({"team": (1, 1, 1)}, {"ventilator": 1, "circuit": 5}, kits=kit))
    assert moved(schedule) == {"ventilator": 1, "circuit": 4}
    assert [row.units for row in schedule.unmet] == [1]


FITTED = (Part(item="ventilator", part="circuit", units=1),)


def test_a_device_serves_only_as_far_as_what_is_fitted_to_it_is_there() -> None:
    schedule = best(together({"ventilator": (2, 2)}, {"ventilator": 2, "circuit": 3}, fittings=FITTED))
    assert moved(schedule) == {"ventilator": 2, "circuit": 3}
    assert sum(row.units for row in schedule.uses if row.item == "ventilator") == 3
    assert [(row.item, row.units) for row in schedule.unmet] == [("ventilator", 1)]
    bare = best(together({"ventilator": (2, 2)}, {"ventilator": 2, "circuit": 3}))
    assert moved(bare) == {"ventilator": 2}


def test_of_what_is_fitted_the_old_is_used_first_so_that_the_fresh_is_shipped() -> None:
    """Champignac uses two circuits on the first day; the two to be shipped afterwards are those that last."""
    horizon = together({"circuit": (0, 0, 2)}, {"ventilator": 1}, lanes=("circuit",), fittings=(
        Part(item="ventilator", part="circuit", units=2),
    ))  # fmt: skip
    lots = tuple(Lot(site=HERE, item="circuit", units=2, since=0, until=until) for until in (2, 3))
    used = tuple(
        replace(row, need=(1, 0, 0)) if (row.site, row.item) == (HERE, "ventilator") else row
        for row in horizon.standings
    )
    horizon = replace(horizon, lots=horizon.lots + lots, standings=used)
    uses = {(HERE, 0, "ventilator", "ventilator"): 1, (THERE, 2, "circuit", "circuit"): 2}
    old = Shipment(item="circuit", origin=HERE, destination=THERE, day=1, until=2, units=2)
    assert fresh_last(horizon, [old], uses) == [replace(old, until=3)]
    assert not broken(horizon, fresh_last(horizon, [old], uses), uses)
    assert not best(horizon).unmet


def test_a_kit_takes_the_fittings_of_its_parts() -> None:
    horizon = together({"team": (2, 2)}, {"ventilator": 2, "nurse": 4, "circuit": 3}, kits=TEAM, fittings=FITTED)
    assert horizon.recipe["team"] == {"ventilator": 1, "circuit": 1, "nurse": 2}
    assert [row.units for row in best(horizon).unmet] == [1]


def test_makes_that_stand_in_for_one_another_take_each_its_own_consumable() -> None:
    fittings = (*FITTED, Part(item="monitor", part="tube", units=2))
    stand_in = (Substitute(item="monitor", serves="ventilator"),)
    spare = {"ventilator": 1, "circuit": 1, "monitor": 2, "tube": 3}
    schedule = best(together({"ventilator": (3,)}, spare, fittings=fittings, substitutes=stand_in))
    assert moved(schedule) == {"ventilator": 1, "circuit": 1, "monitor": 1, "tube": 2}
    assert {(row.item, row.serves, row.units) for row in schedule.uses} == {
        ("ventilator", "ventilator", 1), ("monitor", "ventilator", 1),
    }  # fmt: skip


def test_the_cause_names_the_part_that_is_least_to_be_had() -> None:
    def cause(horizon: Horizon) -> tuple[Cause, str]:
        (row,) = best(horizon).unmet
        return row.code, row.reason

    spare = {"ventilator": 2, "nurse": 2}
    assert cause(together({"team": (2,)}, spare, kits=TEAM, lanes=("nurse",))) == (
        Cause.NO_LANE, "Of ventilator: No lane reaches it.",
    )  # fmt: skip
    code, words = cause(together({"team": (2,)}, spare, kits=TEAM))
    assert (code, words.startswith("Of nurse: What is in its reach")) == (Cause.ELSEWHERE, True)
    keeping = together({"team": (2,)}, spare, kits=TEAM)
    kept = tuple(replace(row, kept=(2,)) if row.site == HERE and row.item == "nurse" else row
                 for row in keeping.standings)  # fmt: skip
    assert cause(replace(keeping, standings=kept))[0] is Cause.OWNERS_AT_FLOOR


def test_what_is_used_together_is_decided_together() -> None:
    horizon = together({"team": (1,)}, {"ventilator": 1, "nurse": 2})
    assert [len(part.nodes) for part in stretches(horizon)] == [2, 2]
    assert [len(part.nodes) for part in stretches(replace(horizon, kits=TEAM))] == [6]


def test_a_kit_is_not_used_where_nobody_needs_one() -> None:
    horizon = together({"team": (1,)}, {"ventilator": 1, "nurse": 2}, kits=TEAM)
    horizon = replace(
        horizon, standings=tuple(row for row in horizon.standings if (row.site, row.item) != (HERE, "team"))
    )
    schedule = best(horizon)
    with pytest.raises(PlanRefused, match="champignac cannot use team for team on day 0"):
        check_schedule(horizon, replace(schedule, uses=(*schedule.uses, replace(schedule.uses[0], site=HERE))))


@st.composite
def drawn(draw: st.DrawFn) -> Horizon:
    """A kit, a fitting or both, of a device and a consumable, wanted for two days."""
    each = st.sampled_from([1, 1, 2])
    few, some = st.sampled_from([0, 0, 1]), st.sampled_from([0, 1, 2, 2])
    with_kit, with_fitting = draw(st.sampled_from([(True, False), (True, True), (False, True)]))
    kits = tuple(
        Part(item="team", part=part, units=draw(each)) for part in ("ventilator", "circuit") if with_kit
    )
    fittings = (Part(item="ventilator", part="circuit", units=draw(each)),) if with_fitting else ()
    needs = {name: (draw(some), 2) for name in (["team"] if with_kit else ["ventilator"])}
    if draw(st.booleans()):
        needs |= {"ventilator": (0, draw(few)), "circuit": (draw(few), 0)} | needs
    made = together(
        needs, {"ventilator": draw(some), "circuit": 1 + draw(some)}, kits=kits, fittings=fittings,
        has={"ventilator": draw(few), "circuit": draw(few)}, aims=(Aim.SHORTAGE, Aim.MOVES),
    )  # fmt: skip
    standings = tuple(replace(row, urgency=draw(st.integers(1, 5))) for row in made.standings)
    if draw(st.booleans()):  # the giver has needs of its own, which sharing must not leave open
        standings = tuple(
            replace(row, need=(0, 1)) if row.site == HERE and row.item == "ventilator" else row for row in standings
        )
    return replace(made, standings=standings)


def everything(horizon: Horizon) -> Iterator[tuple[tuple[Shipment, ...], Uses]]:
    """All sets of shipments and uses, whether valid or not; none if there are too many."""
    ends = {item: [lot.units for lot in horizon.lots if lot.item == item and lot.site == HERE] for item in KINDS}
    trips = [(lane.item, day) for lane in horizon.lanes for day in range(horizon.days)]
    wanted = [
        (row.site, day, item, row.item, need) for row in horizon.standings for day, need in enumerate(row.need) if need
        for item in horizon.serving[row.item]
    ]  # fmt: skip
    ranges = [range(sum(ends[item]) + 1) for item, _ in trips] + [range(need + 1) for *_, need in wanted]
    size = 1
    for choice in ranges:
        size *= len(choice)
    if size > LARGEST_SEARCH:
        return
    for numbers in product(*ranges):
        shipments = tuple(
            Shipment(item=item, origin=HERE, destination=THERE, day=day, until=horizon.days, units=units)
            for (item, day), units in zip(trips, numbers, strict=False) if units
        )  # fmt: skip
        used = zip(wanted, numbers[len(trips) :], strict=True)
        yield shipments, {(site, day, item, serves): units for (site, day, item, serves, _), units in used if units}


@settings(max_examples=60, deadline=None)
@given(horizon=drawn())
def test_no_shipments_and_uses_do_better(horizon: Horizon) -> None:
    schedule = best(horizon)
    nodes = [node for part in stretches(horizon) for node in part.nodes]
    least: tuple[int, int] | None = None
    for shipments, uses in everything(horizon):
        result = walk(horizon, shipments, uses)
        reached = (
            sum(weight(horizon, node) * result.total_short(node) for node in nodes), sum(row.units for row in shipments)
        )  # fmt: skip
        if (least is None or reached < least) and not broken(horizon, shipments, uses):
            least = reached
    if least is not None:
        assert (schedule.total(Aim.SHORTAGE)[0], schedule.total(Aim.MOVES)[0]) == least


@settings(max_examples=40, deadline=None)
@given(horizon=drawn())
def test_a_schedule_in_force_with_kits_is_kept_and_no_time_still_gives_one(horizon: Horizon) -> None:
    first = best(horizon)
    again = replace(horizon, in_force=first.shipments)
    second = best(again)
    assert second.total(Aim.SHORTAGE)[0] == first.total(Aim.SHORTAGE)[0]
    idle = solve_horizon(horizon, seconds=0)
    check_schedule(horizon, idle)
    check_bounds(horizon, idle)
    assert idle.search.status is not Status.OPTIMAL or idle.total(Aim.SHORTAGE) == first.total(Aim.SHORTAGE)


@pytest.mark.parametrize("change", ["kits", "fittings"])
def test_a_schedule_made_without_a_recipe_is_refused_with_it(change: str) -> None:
    """Uses that were right for plain ventilators are not for fitted ones, nor teams for larger teams."""
    horizon = together({"team": (1,), "ventilator": (1,)}, {"ventilator": 2, "nurse": 2, "circuit": 1}, kits=TEAM)
    schedule = best(horizon)
    assert not schedule.unmet
    larger = replace(horizon, kits=(*TEAM, Part(item="team", part="circuit", units=2)))
    changed = larger if change == "kits" else replace(horizon, fittings=FITTED)
    uses = {(row.site, row.day, row.item, row.serves): row.units for row in schedule.uses}
    assert not broken(horizon, schedule.shipments, uses)
    assert "all parts for" in "; ".join(broken(changed, schedule.shipments, uses))
