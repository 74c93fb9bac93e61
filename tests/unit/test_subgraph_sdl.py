"""What composers and gateways read in our subgraph's schema: keys, and what every field costs."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from graphql import (
    ConstDirectiveNode,
    DocumentNode,
    FieldDefinitionNode,
    ListTypeNode,
    NamedTypeNode,
    NonNullTypeNode,
    ObjectTypeDefinitionNode,
    TypeNode,
    parse,
    value_from_ast_untyped,
)
from typer.testing import CliRunner

from sharewell.cli.main import app
from sharewell_schema import costs
from sharewell_schema.stretch import FIRST

GATEWAYS_ONLY = {"_entities", "_service"}


@pytest.fixture(scope="module")
def sdl() -> DocumentNode:
    """As `sharewell schema --subgraph` prints it."""
    done = CliRunner().invoke(app, ["schema", "--subgraph"])
    assert done.exit_code == 0
    return parse(done.stdout)


def objects(sdl: DocumentNode) -> Iterator[ObjectTypeDefinitionNode]:
    return (node for node in sdl.definitions if isinstance(node, ObjectTypeDefinitionNode))


def fields(sdl: DocumentNode) -> Iterator[tuple[str, FieldDefinitionNode]]:
    for each in objects(sdl):
        yield from ((each.name.value, made) for made in each.fields or () if made.name.value not in GATEWAYS_ONLY)


def said(nodes: tuple[ConstDirectiveNode, ...] | None) -> dict[str, dict[str, object]]:
    return {
        node.name.value: {arg.name.value: value_from_ast_untyped(arg.value) for arg in node.arguments or ()}
        for node in nodes or ()
    }


def innermost(node: TypeNode) -> tuple[str, bool]:
    """The name of a field's type, and whether it is a list."""
    listed = False
    while isinstance(node, ListTypeNode | NonNullTypeNode):
        listed = listed or isinstance(node, ListTypeNode)
        node = node.type
    assert isinstance(node, NamedTypeNode)
    return node.name.value, listed


def test_what_others_may_name_has_its_keys(sdl: DocumentNode) -> None:
    keys = {
        each.name.value: [
            value_from_ast_untyped((one.arguments or ())[0].value)
            for one in each.directives or () if one.name.value == "key"
        ]
        for each in objects(sdl)
    }
    assert {name: named for name, named in keys.items() if named} == {
        "Institution": ["id", "code"], "Resource": ["code"], "Offer": ["id"], "Request": ["id"], "Transfer": ["id"],
        "Allocation": ["id"],
    }  # fmt: skip


def test_every_page_is_as_long_as_its_first_or_last_says_and_every_other_list_as_is_usual(sdl: DocumentNode) -> None:
    kinds = {each.name.value for each in objects(sdl)}
    for owner, made in fields(sdl):
        size = said(made.directives).get("listSize")
        name, listed = innermost(made.type)
        if any(argument.name.value == "first" for argument in made.arguments or ()):
            assert size == {
                "assumedSize": FIRST, "slicingArguments": ["first", "last"], "sizedFields": ["edges", "nodes"],
                "requireOneSlicingArgument": False,
            }, made.name.value  # fmt: skip
        elif listed and name in kinds and not owner.endswith("Connection"):
            assert size == {"assumedSize": costs.USUAL, "requireOneSlicingArgument": False}, made.name.value
        else:
            assert size is None, made.name.value


def test_deeds_count_and_solving_cost_more_than_a_row(sdl: DocumentNode) -> None:
    weights = {
        (owner, made.name.value): said(made.directives)["cost"]["weight"]
        for owner, made in fields(sdl)
        if "cost" in said(made.directives)
    }
    mutations = {at for at in weights if at[0] == "Mutation"}
    assert mutations == {(owner, made.name.value) for owner, made in fields(sdl) if owner == "Mutation"}
    assert {weights[at] for at in mutations} == {costs.WRITES}
    assert {at[1] for at, weight in weights.items() if weight == costs.SOLVES} == {
        "allocationFrontier", "policyComparison", "policySimulation", "simulatedChanges", "whatWouldChange",
        "whatWouldRelieve",
    }  # fmt: skip
    assert {at[1] for at, weight in weights.items() if weight == costs.COUNTS} == {
        "accessReview", "case", "decisionFacets", "deviationRates", "giveAndTake", "totalCount", "totalCountRelation",
        "whatCan", "whoCan",
    }  # fmt: skip


def test_the_page_of_the_api_leaves_out_what_only_gateways_ask_for() -> None:
    done = CliRunner().invoke(app, ["schema"])
    assert done.exit_code == 0
    assert not GATEWAYS_ONLY & {made.name.value for _, made in fields(parse(done.stdout))}
    assert "_service" not in done.stdout
    assert "@key" not in done.stdout
