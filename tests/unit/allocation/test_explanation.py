"""Each reason for a shortage, told in a story small enough to see that it is the right one."""

from __future__ import annotations

from collections.abc import Callable

from sharewell.domain.allocation import Fairness, Instance, Owner, Reason, Receiver, Rule, Unfilled
from sharewell_workers.solving import solve

Build = Callable[..., Instance]


def why(instance: Instance, request: str) -> Unfilled:
    return next(row for row in solve(instance).unfilled if row.request == request)


def test_a_request_out_of_reach_is_told_so(an_instance: Build) -> None:
    row = why(an_instance({"o": 3}, {"r": 5, "far": 2}, lanes={("o", "r"): 1}), "far")
    assert (row.code, row.quantity) == (Reason.NO_LANE, 2)
    assert row.reason == "no units of the 2 needed: no owner is near enough to deliver in time."


def test_a_request_whose_owners_have_nothing_above_their_minimum_is_told_so(an_instance: Build) -> None:
    owners = (Owner(offer="o", institution="at-o", quantity=3, stock=5, own_need=6),)
    row = why(an_instance({"o": 3}, {"r": 5}, owners=owners), "r")
    assert row.code is Reason.OWNERS_AT_MINIMUM
    assert "no owner has a unit above what it must keep itself" in row.reason


def test_an_owner_that_is_short_itself_gives_nothing(an_instance: Build) -> None:
    receivers = (
        Receiver(request="own", institution="at-o", need=1, urgency=1),
        Receiver(request="r", institution="at-r", need=5, urgency=5),
    )
    plan = solve(an_instance({"o": 3}, {"r": 5}, receivers=receivers, lanes={("o", "r"): 1}))
    assert plan.assignments == ()
    assert [row.code for row in plan.unfilled] == [Reason.NO_LANE, Reason.OWNERS_AT_MINIMUM]


def test_a_request_that_got_all_there_is_is_told_so(an_instance: Build) -> None:
    row = why(an_instance({"o": 3}, {"r": 5}), "r")
    assert (row.code, row.quantity) == (Reason.SUPPLY_EXHAUSTED, 2)
    assert row.reason.startswith("3 units of the 5 needed")


def test_a_full_lane_is_told_so(an_instance: Build) -> None:
    row = why(an_instance({"o": 5}, {"r": 5}, caps={("o", "r"): 2}), "r")
    assert (row.code, row.quantity) == (Reason.LANE_CAP, 3)


def test_a_greater_need_elsewhere_is_named_without_a_name(an_instance: Build) -> None:
    fairness = Fairness(rule=Rule.UTILITARIAN)
    row = why(an_instance({"o": 3}, {"r": (3, 2), "s": (3, 5)}, fairness=fairness), "r")
    assert row.code is Reason.OUTCOMPETED
    assert "urgency 5 and is filled to 100 %, against urgency 2 and 0 % here" in row.reason
    assert "at-s" not in row.reason


def test_units_that_hold_others_at_the_common_floor_are_told_as_that(an_instance: Build) -> None:
    # s needs its only unit to reach the floor of one half; r, of higher urgency, has reached it already.
    row = why(an_instance({"o": 2}, {"r": (2, 5), "s": (2, 1)}), "r")
    assert row.code is Reason.OUTCOMPETED
    assert "bring other requests to the common floor of 50 %" in row.reason


def test_an_equal_claim_nearer_by_wins_by_distance(an_instance: Build) -> None:
    lanes = {("o", "r"): 2500, ("o", "s"): 1000}
    row = why(an_instance({"o": 1}, {"r": 1, "s": 1}, lanes=lanes), "r")
    assert row.code is Reason.FARTHER
    assert "is 1.5 km nearer to the last unit" in row.reason


def test_a_full_tie_is_drawn_by_the_published_seed(an_instance: Build) -> None:
    needs = {"r": 1, "s": 1}
    winners = set()
    for seed in ("spip", "houba", "fantasio", "seccotine", "zantafio", "vertignasse"):
        plan = solve(an_instance({"o": 1}, needs, seed=seed))
        (won,) = plan.assignments
        (lost,) = plan.unfilled
        assert lost.code is Reason.LOTTERY
        winners.add(won.request)
    assert winners == {"r", "s"}


def test_units_asked_above_the_need_are_told_apart(an_instance: Build) -> None:
    receivers = (
        Receiver(request="filled", institution="at-f", need=1, asked=3, urgency=3),
        Receiver(request="short", institution="at-s", need=2, asked=3, urgency=3),
    )
    instance = an_instance({"o": 1, "p": 1}, {}, receivers=receivers, lanes={("o", "filled"): 1, ("p", "short"): 1})
    filled, short = why(instance, "filled"), why(instance, "short")
    assert (filled.code, filled.quantity) == (Reason.ABOVE_NEED, 2)
    assert filled.reason == ("1 unit of 3 asked for: the forecast or census bears out 1, and the other 2 lie above it.")
    assert (short.code, short.quantity) == (Reason.SUPPLY_EXHAUSTED, 2)
    assert short.reason.endswith("1 unit asked for beyond that: above the forecast or census.")


def test_an_assignment_says_what_it_lifts_and_what_the_owner_keeps(an_instance: Build) -> None:
    (row,) = solve(an_instance({"o": 3}, {"r": (4, 5)}, lanes={("o", "r"): 34_250})).assignments
    assert row.reason == (
        "3 units over 34.2 km lift this request of urgency 5 from 0 % to 75 % of its need; the owner keeps the 2 it "
        "must and could spare 3."
    )
