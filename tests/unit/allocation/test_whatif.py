"""What would change an answer is found by solving again, and is true when the change is made."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from sharewell.domain.allocation import Fairness, Instance, Receiver, Rule
from sharewell.domain.errors import NotFound
from sharewell_workers.solving import Change, solve, what_would_change

Build = Callable[..., Instance]


def changes(instance: Instance, request: str) -> dict[str, Change]:
    return {row.change: row for row in what_would_change(instance, solve(instance), request)}


def test_the_fewest_units_of_the_nearest_owner_that_help_are_told(an_instance: Build) -> None:
    # r and s share one floor: a single unit more is drawn or shared, two bring each one more.
    instance = an_instance({"o": 4}, {"r": 4, "s": 4}, lanes={("o", "r"): 7000, ("o", "s"): 7000})
    found = changes(instance, "r")["owner_spares_more"]
    assert (found.units, found.received) in {(1, 3), (2, 3)}
    assert found.sentence.startswith(f"If the owner 7 km away could spare {found.units} more, this request would get 3")
    (owner,) = instance.owners
    richer = replace(owner, stock=owner.stock + found.units, quantity=owner.quantity + found.units)
    assert solve(replace(instance, owners=(richer,))).received["r"] == 3


def test_an_owner_at_its_minimum_is_asked_for_what_lies_above_it(an_instance: Build) -> None:
    instance = an_instance({"o": 0}, {"r": 2}, caps={("o", "r"): 5})
    found = changes(instance, "r")["owner_spares_more"]
    assert (found.units, found.received) == (1, 1)


def test_a_wider_lane_is_told_where_the_lane_was_the_limit(an_instance: Build) -> None:
    found = changes(an_instance({"o": 5}, {"r": 5}, caps={("o", "r"): 2}), "r")
    assert (found["lanes_carry_more"].units, found["lanes_carry_more"].received) == (3, 5)


def test_a_higher_urgency_is_told_where_it_would_help(an_instance: Build) -> None:
    instance = an_instance({"o": 3}, {"r": (3, 2), "s": (3, 4)}, fairness=Fairness(rule=Rule.UTILITARIAN))
    assert changes(instance, "r")["more_urgent"].received == 3
    assert "more_urgent" not in changes(an_instance({"o": 1}, {"r": (3, 2)}), "r")


def test_a_need_that_is_borne_out_is_told_where_it_would_help(an_instance: Build) -> None:
    receivers = (Receiver(request="r", institution="at-r", need=1, asked=4, urgency=3),)
    found = changes(an_instance({"o": 3}, {"r": 1}, receivers=receivers), "r")
    assert (found["need_borne_out"].units, found["need_borne_out"].received) == (3, 3)


@pytest.mark.parametrize("gives", [{}, {"o": 5}])
def test_nothing_is_told_where_nothing_helps(an_instance: Build, gives: dict[str, int]) -> None:
    assert changes(an_instance(gives, {"r": 2}, lanes={}), "r") == {}


def test_a_filled_request_has_nothing_to_change(an_instance: Build) -> None:
    assert changes(an_instance({"o": 5}, {"r": 2}), "r") == {}


def test_an_unknown_request_is_named(an_instance: Build) -> None:
    instance = an_instance({"o": 5}, {"r": 2})
    with pytest.raises(NotFound, match="request x is not part"):
        what_would_change(instance, solve(instance), "x")
