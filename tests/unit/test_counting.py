"""What an operation costs before it runs."""

from __future__ import annotations

from typing import Any

import pytest
from graphql import OperationDefinitionNode, is_required_argument, parse, validate
from hypothesis import given
from hypothesis import strategies as st

from sharewell_schema.costs import COUNTS, SOLVES, USUAL, WRITES
from sharewell_schema.counting import MOST_COST, counter
from sharewell_schema.schema import build_schema
from sharewell_schema.stretch import FIRST

SCHEMA = build_schema()._schema


def cost(query: str, **variables: Any) -> int:
    document = parse(query)
    assert validate(SCHEMA, document) == []
    (operation,) = (one for one in document.definitions if isinstance(one, OperationDefinitionNode))
    return counter(SCHEMA, document, operation)(variables)


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("{ __typename }", 0),
        ("{ me { clientId } }", 1),
        ("{ me { clientId institution { code } } }", 2),
        ("{ offers(first: 7) { pageInfo { endCursor } nodes { id } } }", 1 + 1 + 7),
        ("{ offers(first: 7) { nodes { id institution { code } } } }", 1 + 7 * 2),
        ("{ offers(first: 7) { edges { cursor node { id } } } }", 1 + 7 * 2),
        ("{ ...Q } fragment Q on Query { offers(first: 3) { ... on OfferConnection { nodes { id } } } }", 1 + 3),
        ("{ a: me { clientId } b: me { clientId } }", 2),
        ("query ($n: Int = 4) { offers(first: $n) { nodes { id } } }", 1 + 4),
    ],
)
def test_an_object_costs_one_and_what_hangs_on_it_as_often_as_it_may_come(query: str, expected: int) -> None:
    assert cost(query) == expected


def test_a_page_costs_what_its_variable_says() -> None:
    query = "query ($n: Int!) { offers(first: $n) { nodes { id } } }"
    assert [cost(query, n=n) for n in (1, 1000)] == [2, 1001]


@pytest.mark.parametrize(
    ("asked", "length"),
    [("last: 7", 7), ("last: $n", 9), ("first: 3, last: $n", 9), ("first: $m, last: 4", 4), ("first: null", FIRST),
     ("first: $m", FIRST), ("before: null", FIRST)],
)  # fmt: skip
def test_a_page_that_is_read_backwards_costs_what_it_costs_forwards(asked: str, length: int) -> None:
    told = ", ".join(f"${name}: Int" for name in "mn" if f"${name}" in asked)
    query = f"{{ offers({asked}) {{ nodes {{ id }} }} }}"
    assert cost(f"query ({told}) {query}" if told else query, n=9) == 1 + length


def test_a_deed_and_a_question_for_the_solver_cost_more() -> None:
    deed = "mutation ($i: CancelRequestInput!) { cancelRequest(input: $i) { decision { id } } }"
    assert cost(deed) == WRITES + 2
    asked = "query ($id: UUID!) { allocationFrontier(id: $id) { __typename } }"
    assert cost(asked) >= SOLVES + 1


HEAVY = {
    "policyComparison": SOLVES, "policySimulation": SOLVES, "simulatedChanges": SOLVES, "whoCan": COUNTS,
    "whatCan": COUNTS, "accessReview": COUNTS,
}  # fmt: skip


@pytest.mark.parametrize(("name", "weight"), HEAVY.items())
def test_what_tries_policies_on_much_costs_as_much(name: str, weight: int) -> None:
    assert SCHEMA.query_type is not None
    arguments = SCHEMA.query_type.fields[name].args
    needed = {arg: of.type for arg, of in arguments.items() if is_required_argument(of)}
    kinds, given = (", ".join(f"${arg}: {of}" for arg, of in needed.items()),
                    ", ".join(f"{arg}: ${arg}" for arg in needed))  # fmt: skip
    asked = f"{name}({given}) {{ __typename }}" if needed else f"{name} {{ __typename }}"
    assert cost(f"query {f'({kinds})' if needed else ''} {{ {asked} }}") >= weight + 1


ENTITIES = "_entities(representations: {}) {{ ... on Offer {{ id institution {{ id }} }} }}"


@given(st.integers(0, 500))
def test_entities_cost_what_is_selected_as_often_as_they_are_named(times: int) -> None:
    one = {"__typename": "Offer", "id": "x"}
    query = f"query ($of: [_Any!]!) {{ {ENTITIES.format('$of')} }}"
    assert cost(query, of=[one] * times) == 2 * times
    literal = ", ".join(['{__typename: "Offer", id: "x"}'] * times)
    assert cost(f"{{ {ENTITIES.format(f'[{literal}]')} }}") == 2 * times


def test_entities_named_by_default_or_alone_are_counted_too() -> None:
    one = '{__typename: "Offer", id: "x"}'
    query = f"query ($of: [_Any!]! = [{one}, {one}, {one}]) {{ {ENTITIES.format('$of')} }}"
    assert cost(query) == 3 * 2
    assert cost(query, of=[{}]) == 2
    assert cost(query, of={"__typename": "Offer", "id": "x"}) == 2
    assert cost(f"{{ {ENTITIES.format(one)} }}") == 2


def test_more_entities_than_an_operation_may_cost_are_not_affordable() -> None:
    many = " ".join(f"a{n}: institution {{ id }}" for n in range(200))
    query = f"query ($of: [_Any!]!) {{ _entities(representations: $of) {{ ... on Offer {{ {many} }} }} }}"
    assert cost(query, of=[{}] * 10) < MOST_COST < cost(query, of=[{}] * 500)


@pytest.mark.parametrize("wrong", ["x", None, -3])
def test_a_length_that_is_none_counts_as_something_that_is_refused_later(wrong: Any) -> None:
    assert cost("query ($n: Int!) { offers(first: $n) { nodes { id } } }", n=wrong) >= 1


@given(st.integers(1, 1000), st.integers(1, 20))
def test_the_same_page_asked_for_more_often_costs_as_much_more(first: int, times: int) -> None:
    one = f"offers(first: {first}) {{ nodes {{ id institution {{ id }} }} }}"
    many = "{ " + " ".join(f"a{n}: {one}" for n in range(times)) + " }"
    assert cost(many) == times * cost("{ " + one + " }")


def test_the_longest_page_with_its_edges_is_affordable_and_ten_of_them_with_lists_are_not() -> None:
    page = "offers(first: 1000) { edges { node { id institution { id } resourceLine { code } } } }"
    assert cost("{ " + page + " }") < MOST_COST
    assert cost("{ " + " ".join(f"a{n}: {page}" for n in range(20)) + " }") > MOST_COST
    assert USUAL > 1
