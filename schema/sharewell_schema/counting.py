"""What an operation costs, counted before it runs from what the schema declares (see `costs`) and its variables.

As in IBM's cost specification (https://ibm.github.io/graphql-specs/cost-spec.html): a field costs what is declared for
it, and 1 for each object it may bring; what is selected of these objects counts for each. What is asked of the schema
itself counts by how long its own lists are, on average.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence, Sized
from functools import lru_cache
from math import ceil
from typing import Any, Final

from graphql import (
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLEnumType,
    GraphQLField,
    GraphQLInputObjectType,
    GraphQLInterfaceType,
    GraphQLObjectType,
    GraphQLSchema,
    GraphQLUnionType,
    IntValueNode,
    ListValueNode,
    OperationDefinitionNode,
    SelectionSetNode,
    ValueNode,
    VariableNode,
    get_named_type,
    is_composite_type,
)
from graphql.type import SchemaMetaFieldDef, TypeMetaFieldDef
from strawberry.federation.schema_directives import Cost, ListSize
from strawberry.schema.schema_converter import GraphQLCoreConverter

from sharewell.store.paging import MOST
from sharewell_schema.costs import USUAL
from sharewell_schema.stretch import FIRST, SIZES

MOST_COST = 50_000  #: of one operation: the longest page, and for each of its items some fifty objects
NAMED = "representations"  #: the argument of `_entities`; neither `@listSize` nor another directive speaks of it
Count = Callable[[Mapping[str, Any]], int]  #: of the variables
Share = Callable[[Mapping[str, Any]], float]  #: of a count; lists that are counted by their average length have any
LARGE: Final = 10  #: average types that one is counted as which is asked for by name: it may be one of the large ones
_META: Final = {"__schema": SchemaMetaFieldDef, "__type": TypeMetaFieldDef}
_NONE: Mapping[str, Share] = {}


def counter(schema: GraphQLSchema, document: DocumentNode, operation: OperationDefinitionNode) -> Count:
    """A function that gives the cost of a valid `operation` for the variables it is sent with."""
    fragments = {d.name.value: d for d in document.definitions if isinstance(d, FragmentDefinitionNode)}
    defaults = {
        one.variable.name.value: _default(one.default_value)
        for one in operation.variable_definitions or ()
        if isinstance(one.default_value, IntValueNode | ListValueNode)
    }
    root = schema.get_root_type(operation.operation)
    count = _Counting(schema, fragments).selected(root, operation.selection_set, {"__type": _always(LARGE)})
    return lambda variables: ceil(count({**defaults, **variables}))


@lru_cache(maxsize=1)
def _lengths(schema: GraphQLSchema) -> Mapping[str, Mapping[str, Share]]:
    """By type of introspection, how many items its lists have on average in this schema."""
    kinds = schema.type_map.values()
    made = [kind.fields for kind in kinds if isinstance(kind, GraphQLObjectType | GraphQLInterfaceType)]
    of_a_type: Mapping[str, Sequence[Sized]] = {
        "fields": made,
        "inputFields": [kind.fields for kind in kinds if isinstance(kind, GraphQLInputObjectType)],
        "enumValues": [kind.values for kind in kinds if isinstance(kind, GraphQLEnumType)],
        "interfaces": [kind.interfaces for kind in kinds if isinstance(kind, GraphQLObjectType)],
        "possibleTypes": [schema.get_possible_types(kind) for kind in kinds if isinstance(kind, GraphQLUnionType)],
    }
    taken = [field.args for fields in made for field in fields.values()]
    return {
        "__Schema": {"types": _always(len(kinds)), "directives": _always(len(schema.directives))},
        "__Type": {name: _always(_all_of(lists) / len(kinds)) for name, lists in of_a_type.items()},
        "__Field": {"args": _always(_all_of(taken) / len(taken))},
        "__Directive": {"args": _always(_all_of([one.args for one in schema.directives]) / len(schema.directives))},
    }


def _all_of(lists: Sequence[Sized]) -> int:
    return sum(map(len, lists))


def _always(length: float) -> Share:
    return lambda _: length


class _Counting:
    """Makes the counts of one document; `lengths` are of the lists that the field above declares to be a page of."""

    def __init__(self, schema: GraphQLSchema, fragments: Mapping[str, FragmentDefinitionNode]) -> None:
        self._schema, self._fragments, self._told = schema, fragments, _lengths(schema)

    def selected(self, kind: Any, selections: SelectionSetNode | None, lengths: Mapping[str, Share]) -> Share:
        """The cost of what is selected of one object of `kind`."""
        fields = () if selections is None else self._fields(kind, selections)
        counts = [
            self._field(_META.get(node.name.value) or of.fields[node.name.value], node, lengths) for of, node in fields
        ]
        return lambda variables: sum(count(variables) for count in counts)

    def _fields(self, kind: Any, selections: SelectionSetNode) -> Iterator[tuple[Any, FieldNode]]:
        """Each field with the type that it is selected of, fragments spread out."""
        for node in selections.selections:
            if isinstance(node, FieldNode):
                if node.name.value != "__typename":
                    yield kind, node
                continue
            inner: Any = self._fragments[node.name.value] if isinstance(node, FragmentSpreadNode) else node
            condition = inner.type_condition
            yield from self._fields(
                kind if condition is None else self._schema.get_type(condition.name.value), inner.selection_set
            )

    def _field(self, field: GraphQLField, node: FieldNode, lengths: Mapping[str, Share]) -> Share:
        inner = get_named_type(field.type)
        declared = _declared(field)
        weight = sum(int(one.weight) for one in declared if isinstance(one, Cost))
        if not is_composite_type(inner):
            return lambda _: weight
        listed = next((one for one in declared if isinstance(one, ListSize)), None)
        length: Share = lengths.get(node.name.value, _one)
        below = self._told.get(inner.name, _NONE)
        if listed is not None and listed.sized_fields:
            below = dict.fromkeys(listed.sized_fields, _length(field, node))
        elif listed is not None:
            length = _length(field, node)
        elif NAMED in field.args:
            length = _as_many_as_named(node)
        each = self.selected(inner, node.selection_set, below)
        return lambda variables: weight + length(variables) * (1 + each(variables))


def _declared(field: GraphQLField) -> tuple[object, ...]:
    definition = field.extensions.get(GraphQLCoreConverter.DEFINITION_BACKREF)
    return tuple(getattr(definition, "directives", ()))


def _one(_: Mapping[str, Any]) -> int:
    return 1


def _length(field: GraphQLField, node: FieldNode) -> Count:
    """How many items the field may bring: as many as are asked for, by the larger of two sizes, or what is usual."""
    if "first" not in field.args:
        return lambda _: USUAL
    given = [one.value for one in node.arguments or () if one.name.value in SIZES]
    return lambda variables: max((n for one in given if (n := _whole(one, variables)) is not None), default=FIRST)


def _as_many_as_named(node: FieldNode) -> Count:
    """How many items the field may bring: one for each that its argument `representations` names."""
    given = next((one.value for one in node.arguments or () if one.name.value == NAMED), None)
    if isinstance(given, VariableNode):
        name = given.name.value
        return lambda variables: _how_many(variables.get(name))
    return lambda _: len(given.values) if isinstance(given, ListValueNode) else 1


def _how_many(named: Any) -> int:
    return len(named) if isinstance(named, list) else 1  # GraphQL takes what is no list for a list of one


def _default(node: IntValueNode | ListValueNode) -> int | list[ValueNode]:
    return int(node.value) if isinstance(node, IntValueNode) else list(node.values)


def _whole(given: ValueNode, variables: Mapping[str, Any]) -> int | None:
    value = variables.get(given.name.value) if isinstance(given, VariableNode) else getattr(given, "value", None)
    try:
        return None if value is None else min(max(0, int(value)), MOST)  # a longer page is refused when it is read
    except (TypeError, ValueError):
        return None  # no number: it is refused when it is read
