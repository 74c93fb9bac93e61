"""What is too much is refused before it costs anything, and the rules do not defeat the cache."""

from __future__ import annotations

import gc
import time
import weakref
from typing import TYPE_CHECKING

import pytest
from graphql import get_introspection_query, parse

from sharewell_schema.counting import MOST_COST
from sharewell_schema.documents import KEPT, KEPT_CHARACTERS, Document, preparer
from sharewell_schema.limits import DEEPEST, MOST_ALIASES, MOST_CHARACTERS, MOST_DIRECTIVES, MOST_FIELDS, over_budget
from sharewell_schema.schema import build_schema

if TYPE_CHECKING:
    from tests.postgres.graphql.conftest import Api

CYCLE = " ".join(f"fragment F{n} on Query {{ ...F{n + 1} ...F{n + 1} }}" for n in range(60)) + (
    " fragment F60 on Query { ...F0 } { ...F0 }"
)
LAUGHS = " ".join(f"fragment F{n} on Query {{ ...F{n + 1} ...F{n + 1} }}" for n in range(40)) + (
    " fragment F40 on Query { me { clientId } } { ...F0 }"
)
CHAIN = " ".join(f"fragment F{n} on Query {{ ...F{n + 1} }}" for n in range(400)) + (
    " fragment F400 on Query { me { clientId } } { ...F0 }"
)


IDLE = "{ me { clientId } } fragment Idle on Offer { " + "institution { id } " * 900 + "}"
#: Lists in lists, though not so deep that introspection is refused for it.
MANY_TYPES = "{" + " ".join(f"a{n}: __schema {{ types {{ ...F }} }}" for n in range(45)) + (
    "} fragment F on __Type { fields { type { fields { name } ofType { fields { name } } } } }"
)


def same(times: int) -> str:
    return "{ me {" + " clientId" * times + "} }"


def deep(levels: int) -> str:
    inner = "id"
    for _ in range(levels - 3):
        inner = f"remainderOf {{ {inner} }}"
    return f"{{ requests {{ nodes {{ {inner} }} }} }}"


HOSTILE = {
    "too deep": deep(DEEPEST + 1),
    "deep beyond the parser": "{ a " * 3_000,
    "many aliases": "{" + " ".join(f"a{n}: me {{ clientId }}" for n in range(MOST_ALIASES + 1)) + "}",
    "many fields": "{ me {" + " clientId" * (MOST_FIELDS + 1) + "} }",
    "one field many times": same(102),
    "one object many times": "{ offers { nodes {" + " institution { id }" * 102 + "} } }",
    "one field in many operations": " ".join(f"query Q{n} {same(60)}" for n in range(3)),
    "many fragments in one place": "{ " + " ".join(f"...F{n}" for n in range(102)) + " } " + " ".join(
        f"fragment F{n} on Query {{ me {{ clientId }} }}" for n in range(102)
    ),
    "a fragment that nothing spreads": IDLE,
    "types of types": MANY_TYPES,
    "many directives": "{ me { clientId" + " @include(if: true)" * (MOST_DIRECTIVES + 1) + " } }",
    "fragments that double": LAUGHS,
    "fragments in a circle that double": CYCLE,
    "a long chain of fragments": CHAIN,
    "many tokens": "{ me { clientId } }" + " query Q { me { clientId } }" * 1_000,
    "many characters": "{ me { clientId } }" + " " * 70_000,
    "a long list of values": "{ offers(first: [" + "1," * 3_000 + "]) { nodes { id } } }",
}


@pytest.mark.parametrize("name", HOSTILE)
async def test_a_request_that_asks_for_too_much_is_refused_at_once(api: Api, name: str) -> None:
    begun = time.process_time()
    answer = await api.send("planner", HOSTILE[name])
    assert answer.body["errors"][0]["extensions"]["code"] == "INVALID"
    assert "data" not in answer.body
    assert time.process_time() - begun < 20  # without the limits it is hours; no test of speed


async def test_what_lies_at_a_limit_is_answered(api: Api) -> None:
    nine = "clientId " * (MOST_FIELDS // MOST_ALIASES - 1)
    for query in (
        deep(DEEPEST),
        "{" + " ".join(f"a{n}: me {{ clientId }}" for n in range(MOST_ALIASES)) + "}",
        "{" + " ".join(f"a{n}: me {{ {nine} }}" for n in range(MOST_ALIASES)) + "}",
        same(100),  # 4,950 pairs
    ):
        assert (await api.send("planner", query)).data


async def test_common_tools_may_look_at_the_schema(api: Api) -> None:
    query = get_introspection_query(input_value_deprecation=True, specified_by_url=True, directive_is_repeatable=True)
    found = await api.ask("planner", query)
    assert found["__schema"]["queryType"]["name"] == "Query"


def test_each_limit_is_told_by_its_name() -> None:
    for name, word in (
        ("too deep", "levels"), ("many aliases", "aliases"), ("many directives", "directives"),
        ("one field many times", "name each once"), ("one object many times", "name each once"),
        ("one field in many operations", "name each once"), ("many fragments in one place", "name each once"),
        ("a fragment that nothing spreads", "never used"),
    ):
        assert word in (over_budget(parse(HOSTILE[name])) or "")
    assert over_budget(parse("{ me { clientId } }")) is None


def test_every_operation_of_a_document_is_counted() -> None:
    assert over_budget(parse("query A { me { clientId } } query B " + HOSTILE["many aliases"])) is not None


def test_a_query_is_parsed_and_checked_once() -> None:
    prepare = preparer(build_schema()._schema)
    assert prepare("{ me { clientId } }") is prepare("{ me { clientId } }")
    assert prepare("{ nothing }") is prepare("{ nothing }")


def test_no_more_than_some_documents_are_kept() -> None:
    prepare = preparer(build_schema()._schema)
    first = prepare("{ me { clientId } }")
    for n in range(KEPT):
        prepare(f"query Q{n} {{ me {{ clientId }} }}")
    assert prepare("{ me { clientId } }") is not first


def test_no_more_than_some_characters_of_documents_are_kept() -> None:
    prepare = preparer(build_schema()._schema)
    first, last = (prepare(f"query {name} {{ me {{ clientId }} }}") for name in ("First", "Last"))
    long = " " * (MOST_CHARACTERS - 100)
    for n in range(KEPT_CHARACTERS // len(long) + 1):
        prepare(f"query Q{n} {{ me {{ clientId }} }}{long}")
        assert prepare("query Last { me { clientId } }") is last  # those met least lately go first
    assert prepare("query First { me { clientId } }") is not first


def test_nothing_keeps_a_document_in_memory_once_it_is_left_out() -> None:
    prepare = preparer(build_schema()._schema)
    document = prepare("{ offers { nodes { id } } }")
    assert isinstance(document, Document)
    gone = weakref.ref(document.node.definitions[0].selection_set.selections[0])  # type: ignore[attr-defined]
    del document
    for n in range(KEPT):
        prepare(f"query Q{n} {{ me {{ clientId }} }}")
    gc.collect()
    assert gone() is None


async def test_what_is_asked_of_the_schema_costs_as_anything_does(api: Api) -> None:
    answer = await api.send("planner", MANY_TYPES)
    assert f"{MOST_COST} is the most" in answer.error["message"]
    assert "data" not in answer.body


async def test_an_operation_that_may_cost_too_much_is_not_begun(api: Api) -> None:
    page = "offers(first: 1000) { edges { node { id institution { id } resourceLine { code } } } }"
    answer = await api.send("planner", "{ " + " ".join(f"a{n}: {page}" for n in range(20)) + " }")
    assert answer.refusal == ("INVALID", "RequestError", None)
    assert f"{MOST_COST} is the most" in answer.error["message"]
    assert "data" not in answer.body
    assert "a0" in (await api.send("planner", "{ a0: " + page + " }")).data
