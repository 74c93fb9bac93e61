"""Operations that need no executor: all that they ask for PostgreSQL writes, and what is left is to call for it.

What does not depend on variables is worked out once, and kept with the document: fields, resolvers, what is selected,
arguments that are written out. For the rest the same is done as graphql-core and strawberry do, by their own functions:
variables and arguments are read, resolvers called, errors told with their place. Whatever is wrong before a resolver is
called is left to the executor, which has the words for it. A differential test holds the two equal.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import orjson
from graphql import (
    ExecutionResult,
    FieldNode,
    FragmentDefinitionNode,
    GraphQLError,
    GraphQLField,
    GraphQLSchema,
    OperationDefinitionNode,
    OperationType,
    VariableNode,
    get_argument_values,
    get_variable_values,
    located_error,
)
from graphql.execution.values import VariableValues
from strawberry.schema.schema_converter import GraphQLCoreConverter
from strawberry.types.arguments import convert_arguments

from sharewell.services.links import can_be_linked
from sharewell.store import institutions, offers, requests, transfers
from sharewell.store.written import Columns, Linked
from sharewell_schema.context import Context
from sharewell_schema.executor import Finished
from sharewell_schema.plain import Raw, selection_of
from sharewell_schema.stretch import ARGUMENTS

#: Fields whose resolvers answer with finished text wherever `plain` has all of their selection: with which columns, and
#: the arguments they know how to do that with.
LISTS: Final[Mapping[str, tuple[Columns, frozenset[str]]]] = {
    "offers": (offers.WRITTEN, ARGUMENTS | {"institution", "resource", "onlyOpen"}),
    "requests": (requests.WRITTEN, ARGUMENTS | {"institution", "resource", "status"}),
    "transfers": (transfers.WRITTEN, ARGUMENTS | {"party", "state", "allocation"}),
    "institutions": (institutions.WRITTEN, ARGUMENTS | {"region"}),
}
SINGLE: Final[Mapping[str, Columns]] = {
    "offer": offers.WRITTEN, "request": requests.WRITTEN, "transfer": transfers.WRITTEN,
    "institution": institutions.WRITTEN,
}  # fmt: skip
_BY_ID: Final = frozenset({"id"})

Arguments = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Asking:
    """What a resolver, and `plain`, look at of the field that is resolved."""

    context: Context
    _raw_info: Raw


@dataclass(frozen=True, slots=True)
class Root:
    """One field of an operation."""

    name: str  #: in the answer
    node: FieldNode
    field: GraphQLField
    definition: Any  #: of strawberry
    owner: Any  #: strawberry's schema
    raw: Raw
    links: tuple[Linked, ...]
    written_out: Arguments | None  #: its arguments, where no variable is among them

    def arguments(self, variables: VariableValues | None) -> Arguments:
        """What its resolver is called with. Raises what the executor would tell."""
        if self.written_out is not None:
            return self.written_out
        values = get_argument_values(self.field, self.node, variables, hide_suggestions=True)
        owner = self.owner
        return convert_arguments(
            values, self.definition.arguments, scalar_registry=owner.schema_converter.scalar_registry,
            config=owner.config,
        )  # fmt: skip

    async def resolved(self, context: Context, arguments: Arguments) -> Any:
        """Its value, or the error in place of that."""
        try:
            return await self.definition.base_resolver.wrapped_func(
                None, info=Asking(context, self.raw), **arguments
            )
        except Exception as error:  # noqa: BLE001 - as the executor does
            return located_error(error, [self.node], [self.name])


@dataclass(frozen=True, slots=True)
class Express:
    """An operation that can do without an executor."""

    schema: GraphQLSchema
    operation: OperationDefinitionNode
    roots: Sequence[Root]

    async def run(self, variables: Mapping[str, Any], context: Context) -> ExecutionResult | None:
        """What it results in; None where that takes an executor after all."""
        calls = self._calls(variables, context)
        if calls is None:
            return None
        if len(calls) == 1:
            values = [await self.roots[0].resolved(context, calls[0])]
        else:
            values = await asyncio.gather(
                *(root.resolved(context, arguments) for root, arguments in zip(self.roots, calls, strict=True))
            )
        data: dict[str, Any] = {}
        errors: list[GraphQLError] = []
        for root, value in zip(self.roots, values, strict=True):
            if type(value) is Finished:
                data[root.name] = orjson.Fragment(value.text)
            elif isinstance(value, GraphQLError):
                data[root.name] = None
                errors.append(value)
            else:
                return None  # policies changed since `_calls` asked them: all is read once more
        return ExecutionResult(data, errors or None)

    def _calls(self, variables: Mapping[str, Any], context: Context) -> list[Arguments] | None:
        """With what the resolver of each root is to be called."""
        try:
            if not all(
                can_be_linked(context.services.office, context.caller, root.links) for root in self.roots if root.links
            ):
                return None
            values = get_variable_values(
                self.schema, self.operation.variable_definitions or (), dict(variables), hide_suggestions=True
            )
            if isinstance(values, list):
                return None
            return [root.arguments(values) for root in self.roots]
        except Exception:  # noqa: BLE001 - the executor meets it again and reports it
            return None


def express(
    schema: GraphQLSchema, operation: OperationDefinitionNode, fragments: Mapping[str, FragmentDefinitionNode]
) -> Express | None:
    """The operation without an executor, if it can do without one."""
    if operation.operation is not OperationType.QUERY or operation.directives:
        return None
    roots: dict[str, Root] = {}
    for node in operation.selection_set.selections:
        root = _root(schema, node, fragments) if isinstance(node, FieldNode) and not node.directives else None
        if root is None or root.name in roots:  # one field that stands there twice is merged by the executor
            return None
        roots[root.name] = root
    return Express(schema, operation, tuple(roots.values()))


def _root(schema: GraphQLSchema, node: FieldNode, fragments: Mapping[str, FragmentDefinitionNode]) -> Root | None:
    name = node.name.value
    if name not in SINGLE and name not in LISTS:
        return None
    columns, known = (SINGLE[name], _BY_ID) if name in SINGLE else LISTS[name]
    given = {argument.name.value: argument.value for argument in node.arguments or ()}
    field = None if schema.query_type is None else schema.query_type.fields.get(name)
    if field is None or not given.keys() <= known:
        return None
    definition = field.extensions.get(GraphQLCoreConverter.DEFINITION_BACKREF)
    raw = Raw([node], fragments, field.type)
    wanted = selection_of(raw, columns, one=name in SINGLE)
    if wanted is None or definition is None or definition.extensions:
        return None
    told = (node.alias or node.name).value
    root = Root(told, node, field, definition, schema._strawberry_schema, raw, wanted.links, None)  # type: ignore[attr-defined]  # noqa: SLF001 - put there by strawberry
    if any(isinstance(value, VariableNode) for value in given.values()):
        return root
    try:
        written_out = root.arguments(None)
    except Exception:  # noqa: BLE001 - the executor meets it again and reports it
        return None
    return replace(root, written_out=written_out)
