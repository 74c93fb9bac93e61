"""Reserve categories: simultaneous, soft, as full as can be, for those who qualify, and respecting priority."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from itertools import permutations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sharewell.domain.allocation import (
    Fairness,
    Instance,
    NotProven,
    PartProof,
    Reason,
    Receiver,
    Reserve,
    Rule,
    check_certificate,
    check_plan,
    compose,
)
from sharewell.domain.errors import Invalid
from sharewell.domain.reserves import Account, presented
from sharewell.domain.welfare import price
from sharewell_workers.solving import solve

Build = Callable[..., Instance]
Instances = Callable[..., st.SearchStrategy[Instance]]
NEED_ALONE = Fairness(rule=Rule.WELFARE, alpha=0)


def reserved(
    an_instance: Build, gives: int, needs: Mapping[str, tuple[int, int]], shares: Mapping[str, int],
    **qualify: str,
) -> Instance:  # fmt: skip
    """One offer for requests of (need, urgency); `qualify` names the categories of requests, comma between."""
    instance = an_instance({"o": gives}, needs, fairness=NEED_ALONE)
    rows = (
        replace(row, categories=tuple(qualify.get(row.request, "").split(",") if row.request in qualify else ()))
        for row in instance.receivers
    )
    kept = tuple(Reserve(category=name, share=share) for name, share in shares.items())
    return replace(instance, receivers=tuple(rows), reserves=kept)


def test_a_share_of_the_supply_goes_to_those_it_is_kept_for(an_instance: Build) -> None:
    needs = {"city": (10, 5), "farm": (10, 1)}
    assert solve(reserved(an_instance, 10, needs, {})).received == {"city": 10}
    instance = reserved(an_instance, 10, needs, {"rural": 300}, farm="rural")
    plan = solve(instance)
    assert plan.received == {"city": 7, "farm": 3}
    assert plan.total("reserve") == 3
    check_plan(instance, plan)
    check_certificate(instance, plan)


def test_what_nobody_it_is_kept_for_can_take_goes_to_everyone(an_instance: Build) -> None:
    instance = reserved(an_instance, 10, {"city": (10, 5), "farm": (1, 1)}, {"rural": 300}, farm="rural")
    assert solve(instance).received == {"city": 9, "farm": 1}


def test_an_nth_of_the_need_is_presented_to_each_category(an_instance: Build) -> None:
    # In two categories and the open one: a third of 6 to each, so 4 of the 6 kept units, not all.
    assert [presented(6, count) for count in (1, 2, 5)] == [3, 2, 1]
    shares = {"burns": 300, "rural": 300}
    instance = reserved(an_instance, 10, {"city": (10, 5), "farm": (6, 1)}, shares, farm="burns,rural")
    assert solve(instance).received == {"city": 6, "farm": 4}


def test_a_request_in_two_categories_leaves_the_scarcer_one_to_whom_only_it_is_open(an_instance: Build) -> None:
    """Processed one after the other, burns first, `both` would be charged to burns and `burn` would get nothing."""
    needs = {"city": (4, 5), "both": (1, 2), "burn": (1, 1)}
    instance = reserved(
        an_instance, 4, needs, {"burns": 250, "rural": 250}, both="burns,rural", burn="burns"
    )
    plan = solve(instance)
    assert plan.total("reserve") == 2
    assert plan.received == {"city": 2, "both": 1, "burn": 1}


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_only_quotas_matter_not_the_names_or_order_of_categories(instances: Instances, data: st.DataObject) -> None:
    instance = data.draw(instances(sides=4, most=4, rules=tuple(Rule), categories=(("burns", "rural"),)))
    other = {"burns": "zz", "rural": "aa"}  # sorts the other way round
    renamed = replace(
        instance,
        reserves=tuple(replace(row, category=other[row.category]) for row in instance.reserves),
        receivers=tuple(
            replace(row, categories=tuple(other[name] for name in row.categories)) for row in instance.receivers
        ),
    )
    assert solve(renamed).received == solve(instance).received


@settings(max_examples=80, deadline=None)
@given(data=st.data())
def test_reserves_waste_nothing(instances: Instances, data: st.DataObject) -> None:
    """Soft: the plan with reserves serves as many units as the one without."""
    instance = data.draw(instances(sides=4, most=4, rules=tuple(Rule)))
    bare = replace(
        instance, reserves=(), receivers=tuple(replace(row, categories=()) for row in instance.receivers)
    )
    assert sum(solve(instance).received.values()) == sum(solve(bare).received.values())


@settings(max_examples=80, deadline=None)
@given(
    quotas=st.lists(st.integers(0, 4), min_size=1, max_size=3),
    rows=st.lists(st.tuples(st.integers(0, 7), st.integers(0, 4), st.integers(0, 4)), max_size=4),
)
def test_the_most_is_charged_that_any_way_of_charging_reaches(
    quotas: list[int], rows: list[tuple[int, int, int]]
) -> None:
    rows = [(mask % (1 << len(quotas)), most, units) for mask, most, units in rows]
    account = Account(tuple(quotas), tuple(r[0] for r in rows), tuple(r[1] for r in rows))
    assert account.charged([units for _, _, units in rows]) == by_trying(quotas, rows)


def by_trying(quotas: list[int], rows: list[tuple[int, int, int]]) -> int:
    """Charge unit after unit in every order of categories, for the best sum."""
    if not rows:
        return 0
    (mask, most, units), *rest = rows
    mine = [c for c in range(len(quotas)) if mask >> c & 1]
    best = 0
    for order in set(permutations(mine)) or {()}:
        for first in range(min(units, most) + 1):
            left, taken, open_units = list(quotas), 0, units
            for place, c in enumerate(order):
                amount = min(left[c], most, open_units, first if place == 0 else open_units)
                left[c], taken, open_units = left[c] - amount, taken + amount, open_units - amount
            best = max(best, taken + by_trying(left, rest))
    return best


@settings(max_examples=80, deadline=None)
@given(data=st.data())
def test_no_stronger_claim_is_passed_over_where_the_reserve_would_be_as_full(
    instances: Instances, data: st.DataObject
) -> None:
    instance = data.draw(instances(sides=4, most=4, rules=(Rule.WELFARE,)))
    plan = solve(instance)
    for part in instance.parts:
        account = instance.account(part)
        got = [plan.received.get(row.request, 0) for row in part.receivers]
        for offer in {lane.offer for lane in part.lanes}:
            for loser, winner in swaps(instance, plan.received, offer):
                i, j = part.receivers.index(loser), part.receivers.index(winner)
                if (offer, winner.request) not in {(a.offer, a.request) for a in plan.assignments}:
                    continue
                if account.falls(account.cuts(got), [(j, got[j], got[j] - 1), (i, got[i], got[i] + 1)]):
                    continue
                assert price(instance.fairness, loser, got[i] + 1) <= price(instance.fairness, winner, got[j])


def swaps(instance: Instance, received: Mapping[str, int], offer: str) -> list[tuple[Receiver, Receiver]]:
    """Requests that lack a unit, with those of which one could be taken, over wide lanes of one offer."""
    wide = [
        instance.receiver[lane.request] for lane in instance.lanes if lane.offer == offer and instance.room(lane) > 0
    ]
    free = [row for row in wide if instance.lane[offer, row.request].cap >= row.need]
    return [
        (loser, winner)
        for loser in free
        for winner in wide
        if loser != winner and received.get(loser.request, 0) < loser.need
    ]


def test_a_plan_that_leaves_a_reserve_emptier_is_not_proven(an_instance: Build) -> None:
    instance = reserved(an_instance, 10, {"city": (10, 5), "farm": (10, 1)}, {"rural": 300}, farm="rural")
    plan = solve(instance)
    other = compose(
        instance, {("o", "city"): 8, ("o", "farm"): 2}, [(0, 1)],
        report=replace(plan.solver, bound=plan.solver.bound * 2, gap=0), certificate=plan.certificate,
    )  # fmt: skip
    with pytest.raises(NotProven, match="reserve: the plan reaches 2, the multipliers allow 3"):
        check_certificate(instance, other)
    proofs = tuple(PartProof(part=row.part, multipliers=row.multipliers[1:]) for row in plan.certificate.parts)
    with pytest.raises(NotProven, match="every stage"):
        check_certificate(instance, replace(plan, certificate=replace(plan.certificate, parts=proofs)))


def test_a_request_that_loses_to_a_reserve_is_told_so(an_instance: Build) -> None:
    instance = reserved(an_instance, 1, {"city": (1, 5), "farm": (1, 1)}, {"rural": 1000}, farm="rural")
    (row,) = solve(instance).unfilled
    assert (row.request, row.code) == ("city", Reason.RESERVED)


@pytest.mark.parametrize(
    ("reserves", "words"),
    [
        ((Reserve(category="a", share=600), Reserve(category="b", share=600)), "more than 1000"),
        ((Reserve(category="a", share=1), Reserve(category="a", share=2)), "stands twice"),
        (tuple(Reserve(category=f"c{n}", share=1) for n in range(7)), "at most 6"),
        ((), "must name reserves of this instance"),
    ],
)
def test_reserves_that_make_no_sense_are_refused(
    an_instance: Build, reserves: tuple[Reserve, ...], words: str
) -> None:
    with pytest.raises(Invalid, match=words):
        an_instance(
            {"o": 1}, {}, lanes={}, reserves=reserves,
            receivers=(Receiver(request="r", institution="x", need=1, urgency=1, categories=("burns",)),),
        )  # fmt: skip
