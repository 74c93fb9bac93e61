"""The curve on which a rule is chosen: what each rule reaches on one instance, and its price."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from xml.etree import ElementTree as ET

from sharewell.domain.allocation import Fairness, Instance, Reserve, Rule
from sharewell.domain.frontier import Family
from sharewell.domain.frontier_picture import HEIGHT, WIDTH, picture
from sharewell_workers.solving import frontier

Build = Callable[..., Instance]


def torn(an_instance: Build, **more: Fairness) -> Instance:
    """One owner between a large urgent request and several small calm ones."""
    return an_instance({"o": 12}, {"urgent": (12, 5), "a": (4, 1), "b": (4, 2), "c": (4, 1)}, **more)


def test_the_rules_lie_between_urgency_alone_and_equality_alone(an_instance: Build) -> None:
    points = {(p.fairness.rule, p.fairness.theta, p.fairness.alpha): p for p in frontier(torn(an_instance))}
    urgency, equality = points[Rule.UTILITARIAN, 1000, 2000], points[Rule.LEXIMIN, 1000, 2000]
    assert (urgency.smallest_fill, urgency.need_met) == (0, 60)
    assert equality.smallest_fill == 500
    assert urgency.price([*points.values()]) == 0
    assert equality.price([*points.values()]) == 366  # (60 - 38) / 60
    assert {p.units for p in points.values()} == {12}


def test_a_higher_guarantee_never_lowers_the_smallest_fill(an_instance: Build) -> None:
    floors = [p for p in frontier(torn(an_instance)) if p.fairness.rule is Rule.FLOOR]
    assert len(floors) > 3
    ordered = sorted(floors, key=lambda p: p.fairness.theta)
    assert all(one.smallest_fill <= other.smallest_fill for one, other in pairwise(ordered))
    assert all(one.need_met >= other.need_met for one, other in pairwise(ordered))


def test_the_rule_of_the_instance_is_marked_once(an_instance: Build) -> None:
    for rule in (Fairness(), Fairness(theta=333, buckets=4), Fairness(rule=Rule.WELFARE)):
        chosen = [p.fairness for p in frontier(torn(an_instance, fairness=rule)) if p.chosen]
        assert chosen == [rule]


def test_an_instance_too_large_for_leximin_is_compared_without_it(an_instance: Build) -> None:
    rules = {p.fairness.rule for p in frontier(an_instance({"o": 999_998}, {"r": 1_000_000}))}
    assert rules == {Rule.FLOOR, Rule.WELFARE, Rule.UTILITARIAN}


def test_the_picture_is_well_formed_and_shows_every_rule(an_instance: Build) -> None:
    points = list(frontier(torn(an_instance)))
    drawn = ET.fromstring(picture(points))
    texts = " ".join(element.text or "" for element in drawn.iter("{http://www.w3.org/2000/svg}text"))
    assert "utilitarian" in texts
    assert "leximin" in texts
    assert "floor 100 %" in texts


def test_the_picture_of_an_empty_instance_is_drawn_too(an_instance: Build) -> None:
    ET.fromstring(picture(list(frontier(an_instance({}, {})))))


def test_reserve_shares_are_tried_around_those_chosen(an_instance: Build) -> None:
    instance = an_instance({"o": 12}, {"city": (12, 5), "farm": (12, 1)}, fairness=Fairness(rule=Rule.UTILITARIAN))
    rows = tuple(replace(r, categories=("rural",) if r.request == "farm" else ()) for r in instance.receivers)
    instance = replace(instance, receivers=rows, reserves=(Reserve(category="rural", share=250),))
    points = sorted(
        (p for p in frontier(instance) if p.chosen or p.family is Family.RESERVE), key=lambda p: p.reserve_share
    )
    shares, fills = zip(*((p.reserve_share, p.smallest_fill) for p in points), strict=True)
    assert (shares, fills) == ((0, 125, 250, 375, 500), (0, 83, 250, 333, 500))
    assert "the share reserved" in picture(points)


def test_rules_that_time_does_not_suffice_for_are_left_out_but_never_the_own(an_instance: Build) -> None:
    (own,) = frontier(torn(an_instance), within=0)
    assert own.chosen
    assert not own.proven


def test_no_label_of_the_picture_leaves_it(an_instance: Build) -> None:
    points = list(frontier(torn(an_instance)))
    for text in ET.fromstring(picture(points)).iter("{http://www.w3.org/2000/svg}text"):
        assert 0 <= float(text.attrib["x"]) < WIDTH
        assert 0 < float(text.attrib["y"]) < HEIGHT
