"""One urgent request between two runs: what the rule gives, what binds it, and what it guarantees over a sequence."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import timedelta
from fractions import Fraction
from importlib.resources import files
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]  # comes with kubernetes-validate

from sharewell.domain.allocation import Assignment, Instance, Owner, PlanRefused, Reason
from sharewell.domain.errors import Invalid
from sharewell.domain.urgent import UrgentQuestion, check_urgent, measures, narrowed, projected_share, urgent_plan

Build = Callable[..., Instance]
Instances = Callable[..., st.SearchStrategy[Instance]]


def ask(instance: Instance, request: str, **more: Any) -> UrgentQuestion:
    return UrgentQuestion(
        instance=instance, request=request, next_run=instance.at + timedelta(hours=1), **({"institutions": 9} | more)
    )


@st.composite
def questions(draw: st.DrawFn, instances: Instances) -> UrgentQuestion:
    """Any request of any small instance."""
    instance = draw(instances(sides=4, most=6))
    names = [row.request for row in instance.receivers]
    request = draw(st.sampled_from(names))
    expected = draw(st.lists(st.sampled_from(names), unique=True).map(lambda rows: [r for r in rows if r != request]))
    return ask(instance, request, expected=tuple(expected), foreseen=draw(st.integers(0, 9)))


def test_the_request_gets_the_share_that_all_expected_needs_could_get(an_instance: Build) -> None:
    plan = urgent_plan(ask(an_instance({"o": 6}, {"now": (4, 5), "later": 8}), "now"))
    (stage,) = plan.stages
    assert (stage.value, stage.over) == (1, 2)
    assert plan.received == {"now": 2}
    (left,) = plan.unfilled
    assert (left.quantity, left.code) == (2, Reason.KEPT_BACK)
    assert "6 units are in reach, and others in reach are expected to need 8 of them" in left.reason


def test_where_nothing_else_is_expected_the_need_is_filled(an_instance: Build) -> None:
    plan = urgent_plan(ask(an_instance({"o": 6}, {"now": (4, 5)}), "now"))
    assert (plan.received, plan.unfilled) == ({"now": 4}, ())


def test_a_part_of_a_unit_is_a_whole_one_for_a_need_that_is_there(an_instance: Build) -> None:
    assert urgent_plan(ask(an_instance({"o": 1}, {"now": (1, 5), "later": 9}), "now")).received == {"now": 1}


def test_the_nearest_units_come_first(an_instance: Build) -> None:
    metres = {("far", "now"): 90_000, ("near", "now"): 1_000}
    plan = urgent_plan(ask(an_instance({"far": 5, "near": 2}, {"now": (3, 5)}, lanes=metres), "now"))
    assert plan.given == {"near": 2, "far": 1}


def test_a_need_that_other_owners_can_serve_counts_only_in_part(an_instance: Build) -> None:
    lanes = {("ours", "now"): 1, ("ours", "later"): 1, ("theirs", "later"): 1}
    question = ask(an_instance({"ours": 4, "theirs": 12}, {"now": (4, 5), "later": 8}, lanes=lanes), "now")
    assert question.rivals == 2  # a quarter of what it can reach is ours
    assert urgent_plan(question).received == {"now": 3}


def test_without_any_forecast_open_requests_alone_count_and_the_answer_says_so(an_instance: Build) -> None:
    (left,) = urgent_plan(ask(an_instance({"o": 6}, {"now": (4, 5), "later": 8}), "now", foreseen=0)).unfilled
    assert "No forecast is in force, so only open requests count" in left.reason
    (left,) = urgent_plan(ask(an_instance({"o": 6}, {"now": (4, 5), "later": 8}), "now", foreseen=7)).unfilled
    assert "in force for 7 of the 9 institutions" in left.reason


@pytest.mark.parametrize(
    ("gives", "lanes", "code"),
    [
        ({"o": 3}, {}, Reason.NO_LANE),
        ({"o": 0}, {("o", "now"): 1}, Reason.OWNERS_AT_MINIMUM),
        ({"o": 3}, {("o", "now"): 1}, Reason.SUPPLY_EXHAUSTED),
    ],
)
def test_a_request_left_short_learns_why(
    an_instance: Build, gives: Mapping[str, int], lanes: Mapping[tuple[str, str], int], code: Reason
) -> None:
    (left,) = urgent_plan(ask(an_instance(gives, {"now": (5, 5)}, lanes=lanes), "now")).unfilled
    assert left.code is code


def test_a_lane_that_is_full_is_named_and_not_the_others(an_instance: Build) -> None:
    plan = urgent_plan(ask(an_instance({"o": 9}, {"now": (5, 5)}, caps={("o", "now"): 2}), "now"))
    assert plan.received == {"now": 2}
    assert [row.code for row in plan.unfilled] == [Reason.LANE_CAP]


@given(data=st.data())
@settings(max_examples=300, deadline=None)
def test_nobody_is_left_below_what_it_keeps_and_nobody_gets_more_than_it_needs(
    instances: Instances, data: st.DataObject
) -> None:
    question = data.draw(questions(instances))
    plan, instance = urgent_plan(question), question.instance
    check_urgent(question, plan)
    assert sum(plan.received.values()) <= question.receiver.need
    given_by = dict.fromkeys(instance.sparable, 0)
    for offer, units in plan.given.items():
        assert units <= instance.owner[offer].quantity
        given_by[instance.owner[offer].institution] += units
    assert all(units <= instance.sparable[house] for house, units in given_by.items())
    for row in plan.assignments:
        assert row.request == question.request
        assert row.quantity <= instance.lane[row.offer, row.request].cap
    told = sum(row.quantity for row in plan.unfilled)
    assert told + sum(plan.received.values()) == question.receiver.asked


@given(data=st.data())
@settings(max_examples=200, deadline=None)
def test_what_can_not_matter_does_not(instances: Instances, data: st.DataObject) -> None:
    question = data.draw(questions(instances))
    small = narrowed(question.instance, question.request)
    kept = tuple(name for name in question.expected if name in small.receiver)
    other = replace(question, instance=small, expected=kept)
    assert urgent_plan(other).assignments == urgent_plan(question).assignments
    assert urgent_plan(other).stages == urgent_plan(question).stages


@given(data=st.data())
@settings(max_examples=200, deadline=None)
def test_an_answer_that_was_bent_is_refused(instances: Instances, data: st.DataObject) -> None:
    question = data.draw(questions(instances))
    plan = urgent_plan(question)
    assume(plan.assignments)
    row = data.draw(st.sampled_from(plan.assignments))
    more = data.draw(st.sampled_from([-1, 1, 5]))
    rows = tuple(replace(r, quantity=r.quantity + more) if r == row else r for r in plan.assignments)
    with pytest.raises(PlanRefused):
        check_urgent(question, replace(plan, assignments=rows))
    with pytest.raises(PlanRefused):
        check_urgent(question, replace(plan, stages=()))


def test_units_for_a_friend_are_refused(an_instance: Build) -> None:
    question = ask(an_instance({"o": 6}, {"now": (4, 5), "friend": 8}), "now")
    bent = replace(
        urgent_plan(question), assignments=(Assignment(offer="o", request="friend", quantity=2, reason="a friend"),)
    )
    with pytest.raises(PlanRefused, match="follows no lane to the request"):
        check_urgent(question, bent)


def test_an_owner_that_asks_for_units_itself_gives_none(an_instance: Build) -> None:
    made = an_instance({"o": 6}, {"now": (4, 5), "own": 1}, lanes={("o", "now"): 1})
    short = replace(made, owners=(Owner(offer="o", institution="at-own", quantity=6, stock=9),))
    assert urgent_plan(ask(short, "now")).received == {}
    assert "own" in narrowed(short, "now").receiver


@given(pieces=st.lists(st.integers(1, 9), min_size=1, max_size=6), units=st.integers(0, 40), others=st.integers(0, 60))
def test_asking_in_pieces_brings_no_more_than_asking_at_once(pieces: list[int], units: int, others: int) -> None:
    """Pieces of one need come one after the other; each knows what the earlier ones got."""
    whole = -(-projected_share(units, sum(pieces), others) * sum(pieces) // 1)
    got, left = 0, units
    for piece in pieces:
        share = projected_share(left + got, got + piece, others)
        more = min(piece, max(0, -(-share * (got + piece) // 1) - got))
        got, left = got + more, left - more
    assert got <= whole


def guarantee(ratio: Fraction, agents: int) -> Fraction:
    """Smallest fill rate that the rule guarantees in expectation.

    For `agents` arriving one after the other whose needs together are expected to be `ratio` times the supply,
    however they are correlated: Manshadi, Niazadeh & Rodilitz (2023), the ex post bound that no policy can beat.
    """
    if ratio <= 1:
        return 1 - ratio * (agents - 1) / (2 * agents)
    return Fraction(agents + 1, 2 * agents) / ratio


Tree = tuple[int, tuple[tuple[Fraction, Any], ...]]  #: a need, and what may come after it, with its probability


def trees(agents: int) -> st.SearchStrategy[Tree]:
    """Needs of `agents` arriving in turn, each distribution free to depend on all that came before."""
    need = st.sampled_from([0, 1, 2, 5, 20, 100, 400])
    if agents == 1:
        return st.tuples(need, st.just(()))
    odds = st.sampled_from([Fraction(1, 2), Fraction(1, 3), Fraction(1, 10), Fraction(9, 10)])
    below = trees(agents - 1)
    after = st.tuples(odds, below, below).map(lambda row: ((row[0], row[1]), (1 - row[0], row[2])))
    return st.tuples(need, after)


def expected_need(tree: Tree) -> Fraction:
    need, after = tree
    return need + sum((odds * expected_need(one) for odds, one in after), Fraction(0))


def expected_smallest(tree: Tree, supply: Fraction, so_far: Fraction) -> Fraction:
    """Expectation of the smallest fill rate when every need of `tree` is answered by the rule; exact."""
    need, after = tree
    still = expected_need(tree) - need
    share = projected_share(supply, need, still)
    smallest = min(so_far, share) if need else so_far
    left = supply - share * need
    if not after:
        return smallest
    return sum((odds * expected_smallest(one, left, smallest) for odds, one in after), Fraction(0))


@given(data=st.data(), agents=st.integers(1, 4), supply=st.integers(1, 300))
@settings(max_examples=400, deadline=None)
def test_over_any_sequence_the_smallest_fill_rate_keeps_the_papers_bound(
    data: st.DataObject, agents: int, supply: int
) -> None:
    tree = data.draw(trees(agents))
    ratio = expected_need(tree) / supply
    assume(ratio > 0)
    assert expected_smallest(tree, Fraction(supply), Fraction(1)) >= guarantee(ratio, agents)


def test_the_bound_is_tight_so_the_test_above_can_fail() -> None:
    """Two agents, needs expected to equal the supply: the second needs nothing, or twice what is left."""
    tree: Tree = (0, ((Fraction(1, 2), (200, ())), (Fraction(1, 2), (0, ()))))
    assert expected_smallest(tree, Fraction(100), Fraction(1)) == guarantee(Fraction(1), 2) == Fraction(3, 4)


@given(data=st.data())
@settings(max_examples=60, deadline=None)
def test_a_question_is_written_and_read_and_fits_its_schema(instances: Instances, data: st.DataObject) -> None:
    question = data.draw(questions(instances))
    document = json.loads(json.dumps(question.to_json()))
    schema = json.loads((files("sharewell_schema") / "json_schemas" / "urgent-1.schema.json").read_text())
    Draft202012Validator(schema).validate(document)
    again = UrgentQuestion.from_json(document)
    assert (again, again.hash) == (question, question.hash)


@pytest.mark.parametrize(
    ("name", "wrong"),
    [("request", "nobody"), ("expected", ["nobody"]), ("expected", ["now"]), ("expected", ["later", "later"]),
     ("next_run", "2020-01-01T00:00:00Z"), ("foreseen", 10), ("institutions", -1), ("format", "sharewell/urgent@0")],
)  # fmt: skip
def test_a_question_that_is_wrong_is_refused_by_name(an_instance: Build, name: str, wrong: object) -> None:
    question = ask(an_instance({"o": 1}, {"now": (1, 5), "later": 1}), "now")
    document: dict[str, Any] = json.loads(json.dumps(question.to_json()))
    with pytest.raises(Invalid) as refused:
        UrgentQuestion.from_json(document | {name: wrong})
    assert str(refused.value.field).startswith(name)


def test_units_kept_back_are_not_counted_as_out_of_reach(an_instance: Build) -> None:
    question = ask(an_instance({"o": 6}, {"now": (8, 5), "later": 8}), "now")
    found = measures(question, urgent_plan(question))
    assert (found["shortage_without"], found["units_moved"], found["beyond_reach"]) == (8, 3, 2)
