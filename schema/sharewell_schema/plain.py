"""What is selected as columns and nothing else: PostgreSQL writes it, and the text goes to the socket untouched.

A resolver asks `plain`, or `plain_one`, whether its field is selected so. If it is, one statement answers with the
finished text, which the fast executor takes for the value (see `executor`). One thing that a row names by an edge is
written with it, where columns alone are selected of it, too; anything else in the selection, and all is read as usual.
What a selection comes to is worked out once for each document, and forgotten with it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, TypeVar

import orjson
from graphql import (
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLObjectType,
    GraphQLResolveInfo,
    get_named_type,
)
from strawberry.schema.schema_converter import GraphQLCoreConverter

from sharewell.services.links import can_be_linked
from sharewell.store.written import CURSOR, Columns, Fixed, Linked, Members, Wanted, WantedOne, Written
from sharewell_schema.context import Info, shown
from sharewell_schema.executor import Finished
from sharewell_schema.paging import Connection, around, write_cursor
from sharewell_schema.stretch import Stretch

MOST_KEPT: Final = 64  #: selections of one document; more than it has fields there are by variables alone

Shown = TypeVar("Shown")
Fields = Mapping[str, list[FieldNode]]  #: by name in the answer
PageParts = tuple[tuple[str, str], ...]  #: of `pageInfo`: names in the answer, and the field


class Raw(NamedTuple):
    """What is looked at of the field that is resolved, as graphql-core has it."""

    field_nodes: list[FieldNode]
    fragments: Mapping[str, FragmentDefinitionNode]
    return_type: Any


class NotPlain(Exception):
    """Something is selected that is no column."""


@dataclass(frozen=True, slots=True)
class Plain:
    """What is selected of a connection."""

    wanted: Wanted
    parts: tuple[tuple[str, int | Fixed | PageParts], ...]  #: by name in the answer; a number is that of a list

    def told(self, page: Written, stretch: Stretch) -> Connection[Any]:
        """The text of the connection, which stands in for it."""
        told = (f'"{name}":{self._part(part, page, stretch)}' for name, part in self.parts)
        return shown(Connection, Finished(f"{{{','.join(told)}}}"))

    def _part(self, part: int | Fixed | PageParts, page: Written, stretch: Stretch) -> str:
        match part:
            case int():
                return f"[{page.lists[part]}]"
            case Fixed():
                return f'"{part.text}"'
            case _:
                known = _page_info(page, stretch)
                return orjson.dumps({name: known[field] for name, field in part}).decode()


def _page_info(page: Written, stretch: Stretch) -> Mapping[str, object]:
    follow, precede = around(stretch, has_more=page.has_more)
    start, end = (None, None) if page.ends is None else (write_cursor(each.bytes) for each in page.ends)
    return {
        "hasNextPage": follow, "hasPreviousPage": precede, "startCursor": start, "endCursor": end,
        "__typename": "PageInfo",
    }  # fmt: skip


def plain(info: Info, columns: Columns) -> Plain | None:
    """What is selected of the connection that is being resolved, if `columns` and their edges have all of it."""
    found = _found(info, columns, _Selection.plain)
    return found if isinstance(found, Plain) and _permitted(info, found.wanted) else None


def plain_one(info: Info, columns: Columns) -> WantedOne | None:
    """What is selected of the one thing that is being resolved, likewise."""
    found = _found(info, columns, _Selection.one)
    return found if isinstance(found, WantedOne) and _permitted(info, found) else None


def finished(kind: type[Shown], text: str) -> Shown:
    """The text of a thing, which stands in for it."""
    return shown(kind, Finished(text))


def _permitted(info: Info, wanted: Wanted | WantedOne) -> bool:
    context = info.context
    return not wanted.links or can_be_linked(context.services.office, context.caller, wanted.links)


def selection_of(raw: Raw, columns: Columns, *, one: bool) -> Wanted | WantedOne | None:
    """What is selected of a field, of one thing or of a connection, if `columns` and their edges have all of it."""
    found = _read(raw, columns, _Selection.one if one else _Selection.plain)
    return found.wanted if isinstance(found, Plain) else found


def _found(info: Info, columns: Columns, read: Callable[[_Selection, Any], Plain | WantedOne]) -> object:
    if not info.context.writes:
        return None
    raw, kept = info._raw_info, info.context.selections  # noqa: SLF001 - strawberry's own view costs far more
    key = tuple(map(id, raw.field_nodes))
    if key not in kept:
        if len(kept) >= MOST_KEPT:
            kept.clear()
        kept[key] = _read(raw, columns, read)
    return kept[key]


def _read(
    raw: Raw | GraphQLResolveInfo[Any], columns: Columns, read: Callable[[_Selection, Any], Plain | WantedOne]
) -> Plain | WantedOne | None:
    try:
        return read(_Selection(raw, columns), get_named_type(raw.return_type))
    except NotPlain:
        return None


class _Selection:
    """Reads one selection. Raises `NotPlain`."""

    def __init__(self, raw: Raw | GraphQLResolveInfo[Any], columns: Columns) -> None:
        self._columns, self._fragments = columns, raw.fragments
        self._nodes = raw.field_nodes
        self._links: dict[Linked, None] = {}  # in the order they were met

    def plain(self, kind: Any) -> Plain:
        lists: list[Members] = []
        parts: list[tuple[str, int | Fixed | PageParts]] = []
        for name, nodes in self._fields(kind, self._nodes).items():
            match field := nodes[0].name.value:
                case "__typename":
                    parts.append((name, Fixed(kind.name)))
                case "nodes" | "edges":
                    parts.append((name, len(lists)))
                    lists.append(self._members(get_named_type(kind.fields[field].type), nodes, self._columns))
                case "pageInfo":
                    below = self._fields(get_named_type(kind.fields[field].type), nodes)
                    parts.append((name, tuple((told, those[0].name.value) for told, those in below.items())))
                case _:
                    raise NotPlain(field)
        ends = _asks_for_ends(part for _, part in parts)
        return Plain(Wanted(tuple(lists), ends=ends, links=tuple(self._links)), tuple(parts))

    def one(self, kind: Any) -> WantedOne:
        members = self._members(kind, self._nodes, self._columns)
        return WantedOne(members, links=tuple(self._links))

    def _members(self, kind: GraphQLObjectType, nodes: list[FieldNode], columns: Columns) -> Members:
        fields = self._fields(kind, nodes).items()
        return tuple((name, self._member(kind, those, columns)) for name, those in fields)

    def _member(
        self, kind: GraphQLObjectType, nodes: list[FieldNode], columns: Columns
    ) -> str | Fixed | Linked | Members:
        name = nodes[0].name.value
        if name == "__typename":
            return Fixed(kind.name)
        if kind.fields.keys() == {"cursor", "node"}:
            inner: Any = get_named_type(kind.fields[name].type)
            return CURSOR if name == "cursor" else self._members(inner, nodes, columns)
        definition = kind.fields[name].extensions.get(GraphQLCoreConverter.DEFINITION_BACKREF)
        attribute: str = "" if definition is None else definition.python_name
        if attribute in columns.edges:
            edge = columns.edges[attribute]
            link = Linked(edge, self._members(get_named_type(kind.fields[name].type), nodes, edge.noun.columns))
            self._links[link] = None
            return link
        if attribute not in columns.texts or not definition.is_basic_field:
            raise NotPlain(name)
        return attribute

    def _fields(self, kind: GraphQLObjectType, nodes: Iterable[FieldNode]) -> Fields:
        """What is selected of an object of `kind`: the nodes of each name, in the order of the answer."""
        found: dict[str, list[FieldNode]] = {}
        for node in nodes:
            self._collect(kind, node, found)
        return found

    def _collect(self, kind: GraphQLObjectType, above: Any, found: dict[str, list[FieldNode]]) -> None:
        for node in above.selection_set.selections if above.selection_set else ():
            if node.directives:
                raise NotPlain("a directive")
            if isinstance(node, FieldNode):
                found.setdefault((node.alias or node.name).value, []).append(node)
                continue
            inner: Any = self._fragments[node.name.value] if isinstance(node, FragmentSpreadNode) else node
            if inner.directives:
                raise NotPlain("a directive")
            if inner.type_condition is not None and inner.type_condition.name.value != kind.name:
                raise NotPlain("an abstract type")
            self._collect(kind, inner, found)


def _asks_for_ends(parts: Iterable[int | Fixed | PageParts]) -> bool:
    fields = (field for part in parts if isinstance(part, tuple) for _, field in part)
    return not {"startCursor", "endCursor"}.isdisjoint(fields)
