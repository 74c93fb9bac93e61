"""The exported SDL is the code's, and says what everything is."""

from __future__ import annotations

from importlib.resources import files

import pytest
from graphql import (
    GraphQLEnumType,
    GraphQLScalarType,
    build_schema,
    introspection_from_schema,
    parse,
    validate,
)

from sharewell.cli.watch import _query as watched
from sharewell.domain.happenings import Topic
from sharewell_schema import schema

#: Types of the arguments of its directives, which its specification describes and no composer takes from us.
FEDERATIONS_OWN = {"_FieldSet", "link__Import", "link__Purpose"}


def test_the_exported_sdl_is_that_of_the_code() -> None:
    exported = (files("sharewell_schema") / "api.graphql").read_text(encoding="utf-8")
    assert exported == schema.sdl(), "run: python -m sharewell_schema.schema > schema/sharewell_schema/api.graphql"


def test_the_sdl_can_be_read_back() -> None:
    introspection_from_schema(build_schema(schema.sdl()))


@pytest.mark.parametrize("topic", Topic)
def test_what_the_command_line_follows_can_be_asked_for(topic: Topic) -> None:
    asked = parse(watched(topic, ["region", "resource"]))
    assert validate(build_schema(schema.sdl()), asked) == []


def test_everything_in_the_schema_is_described() -> None:
    silent = []
    for name, kind in schema.build_schema()._schema.type_map.items():
        if name.startswith("__") or name in FEDERATIONS_OWN:
            continue
        if not kind.description:
            silent.append(name)
        if isinstance(kind, GraphQLEnumType):
            silent += [f"{name}.{value}" for value, said in kind.values.items() if not said.description]
        for field, made in getattr(kind, "fields", {}).items():
            if not made.description:
                silent.append(f"{name}.{field}")
            silent += [f"{name}.{field}({arg})" for arg, a in getattr(made, "args", {}).items() if not a.description]
    assert silent == []


def test_every_scalar_of_ours_says_where_it_is_specified() -> None:
    scalars = [kind for kind in schema.build_schema()._schema.type_map.values() if isinstance(kind, GraphQLScalarType)]
    ours = {scalar.name: scalar.specified_by_url for scalar in scalars if scalar.specified_by_url}
    assert ours.keys() == {"UUID", "DateTime", "Date", "JSON"}


def test_every_mutation_takes_one_input_with_an_idempotency_key_and_gives_a_receipt() -> None:
    mutation = schema.build_schema()._schema.mutation_type
    assert mutation is not None
    for name, field in mutation.fields.items():
        assert list(field.args) == ["input"], name
        asked = field.args["input"].type.of_type
        assert str(asked.fields["idempotencyKey"].type) == "String!", name
        assert str(field.type.fields["decision"].type) == "Receipt!", name
