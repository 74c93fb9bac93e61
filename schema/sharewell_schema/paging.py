"""Keyset connections: pages by the key of their last item, so that none is skipped or seen twice, however deep.

The shape is that of Relay's cursor connections; `stretch` has the arguments. A cursor is the key of an item in
base64url, opaque to clients: send back the `endCursor` or `startCursor` you were given. The total is counted where it
is selected, and nowhere else.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum
from typing import Any, Final, Generic, NamedTuple, TypeVar
from uuid import UUID

import strawberry
from graphql import FieldNode, FragmentSpreadNode, GraphQLResolveInfo, VariableNode
from strawberry.federation.schema_directives import Cost

from sharewell.domain.errors import Invalid
from sharewell.store.paging import COUNTED, MOST, Page, Size, Total
from sharewell_schema.context import Info, shown
from sharewell_schema.costs import COUNTS
from sharewell_schema.describe import described
from sharewell_schema.stretch import Stretch

Item = TypeVar("Item")
Place = TypeVar("Place")

LONGEST_CURSOR = 1_400  #: an order, a client id, and a name of 200 characters
USUAL: Final = "the usual order"
_ORDER = re.compile(rb"([A-Z_]+ (?:ASC|DESC))\0", re.ASCII)  #: begins the key of an item in a list in this order

# Others define it just so: a federated graph takes it from whichever is asked.
@strawberry.federation.type(shareable=True, description="Where a page lies in its list.")
class PageInfo:
    has_next_page: bool = strawberry.field(
        description="Whether more items follow this page; read backwards, whether you came with a cursor."
    )
    has_previous_page: bool = strawberry.field(
        description="Whether you came here with a cursor: items precede; read backwards, whether more precede it."
    )
    start_cursor: str | None = strawberry.field(
        description="Cursor of the first item, to be sent as `before` for the page before; null on an empty page."
    )
    end_cursor: str | None = strawberry.field(
        description="Cursor of the last item, to be sent as `after` for the next page; null on an empty page."
    )


@strawberry.type(description="One item of a page, and its place in the list.")
class Edge(Generic[Item]):
    cursor: str = strawberry.field(description="The item's place in the list; opaque, and good for ever.")
    node: Item = strawberry.field(description="The item itself.")


class CountRelation(StrEnum):
    """How a count compares with what there is."""

    EXACT = "exact"
    AT_LEAST = "at_least"


described(
    CountRelation, "How `totalCount` compares with the number of items that there are.",
    exact="There are just so many.", at_least=f"There are more; they are counted up to {COUNTED:,}.",
)  # fmt: skip


@strawberry.type(description="A page of a list that is read by cursor, forwards or backwards.")
class Connection(Generic[Item]):
    edges: list[Edge[Item]] = strawberry.field(description="The items with their cursors.")
    nodes: list[Item] = strawberry.field(description="The items alone; shorter to ask for and quicker to read.")
    page_info: PageInfo = strawberry.field(description="How to get the next page.")
    total_count: int | None = strawberry.field(
        description=f"How many items the list has for you on all its pages under these filters, counted up to "
        f"{COUNTED:,}; counted only where you select it.",
        directives=[Cost(weight=COUNTS)],
    )
    total_count_relation: CountRelation | None = strawberry.field(
        description="Whether `totalCount` is exact, or there are more.",
        directives=[Cost(weight=COUNTS)],
    )


class Edged(NamedTuple):
    """What stands in for an `Edge`."""

    cursor: str
    node: Any


@dataclass(frozen=True, slots=True)
class Slice(Generic[Item]):
    """What stands in for a `Connection`; cursors are made where they are asked for."""

    nodes: tuple[Item, ...]
    has_more: bool
    stretch: Stretch
    key: Callable[[Item], bytes]
    total: Total | None

    @property
    def total_count(self) -> int | None:
        return None if self.total is None else self.total.count

    @property
    def total_count_relation(self) -> CountRelation | None:
        if self.total is None:
            return None
        return CountRelation.EXACT if self.total.exact else CountRelation.AT_LEAST

    @property
    def edges(self) -> list[Edged]:
        return [Edged(write_cursor(self.key(node)), node) for node in self.nodes]

    @property
    def page_info(self) -> PageInfo:
        ends: list[str | None] = [write_cursor(self.key(node)) for node in (*self.nodes[:1], *self.nodes[-1:])]
        ends = ends or [None, None]
        follow, precede = around(self.stretch, has_more=self.has_more)
        return PageInfo(has_next_page=follow, has_previous_page=precede, start_cursor=ends[0], end_cursor=ends[1])


def around(stretch: Stretch, *, has_more: bool) -> tuple[bool, bool]:
    """Whether items follow a page, and whether some precede it: the way it was read it is known, else by the cursor."""
    continued = stretch.cursor is not None
    return (continued, has_more) if stretch.backwards else (has_more, continued)


def connection(kind: type[Item], page: Page[Any], stretch: Stretch, key: Callable[[Any], bytes]) -> Connection[Item]:
    """The page, whose items stand in for the GraphQL type `kind`."""
    return shown(Connection[kind], Slice(page.items, page.has_more, stretch, key, page.total))  # type: ignore[valid-type]


def how_many(info: Info, stretch: Stretch, most: int = MOST) -> Size:
    """The size of a page, if it is one; with the wish that the list be counted, if its total is selected."""
    if not 1 <= stretch.items <= most:
        name = stretch.size_argument
        raise Invalid(f"{name} is {stretch.items}; it must be 1 to {most}.", field=name)
    raw: GraphQLResolveInfo[Any] = info._raw_info  # noqa: SLF001 - strawberry's own view costs far more
    counted = any(_counts(raw, node) for node in raw.field_nodes)
    return Size(stretch.items, counted=counted, backwards=stretch.backwards)


def _counts(raw: GraphQLResolveInfo[Any], above: Any) -> bool:
    """Whether the total is selected of a connection, in fragments or not."""
    for node in above.selection_set.selections if above.selection_set else ():
        if node.directives and not _included(raw, node):
            continue
        if isinstance(node, FieldNode):
            if node.name.value in _TOTALS:
                return True
        elif _counts(raw, raw.fragments[node.name.value] if isinstance(node, FragmentSpreadNode) else node):
            return True
    return False


def _included(raw: GraphQLResolveInfo[Any], node: Any) -> bool:
    """As `@skip` and `@include` say."""
    values: Any = raw.variable_values  # strawberry hands on the mapping of coerced values
    for directive in node.directives:
        if (wanted := _INCLUDED_IF.get(directive.name.value)) is not None:
            given = directive.arguments[0].value
            said = values.get(given.name.value) if isinstance(given, VariableNode) else given.value
            if said is not wanted:
                return False
    return True


_TOTALS: Final = frozenset({"totalCount", "totalCountRelation"})
_INCLUDED_IF: Final = {"include": True, "skip": False}


def write_cursor(key: bytes) -> str:
    return base64.urlsafe_b64encode(key).rstrip(b"=").decode()


def read_cursor(cursor: str, argument: str = "after") -> bytes:
    """The key a cursor stands for. Raises `Invalid` for what `write_cursor` never wrote."""
    try:
        key = base64.urlsafe_b64decode(cursor[:LONGEST_CURSOR] + "=" * (-len(cursor) % 4))
    except (ValueError, binascii.Error):
        raise bad_cursor(argument) from None
    if not key or write_cursor(key) != cursor:
        raise bad_cursor(argument)
    return key


def read_place(stretch: Stretch, read: Callable[[bytes], Place], start: Place) -> Place:
    """The place in its list that a stretch begins at; `start` where it has no cursor.

    `read` raises `ValueError` for a key that is none of the list. Raises `Invalid`.
    """
    if stretch.cursor is None:
        return start
    key = read_cursor(stretch.cursor, stretch.cursor_argument)
    try:
        return read(key)
    except (ValueError, OverflowError):
        raise bad_cursor(stretch.cursor_argument, key) from None


def bad_cursor(argument: str = "after", key: bytes = b"") -> Invalid:
    """Why `key` is no place in a list that is in its usual order."""
    if (order := order_of(key)) is not None:
        return other_order(argument, order, USUAL)
    told = "the startCursor of the page behind" if argument == "before" else "the endCursor of the page before"
    return Invalid(f"{argument} is no cursor of this list; send {told}.", field=argument)


def other_order(argument: str, there: str, here: str) -> Invalid:
    """Why a cursor that was given under one order is no place under another."""
    return Invalid(
        f"{argument} is a cursor of {there}, and what you ask for is {here}; send the orderBy under which it was "
        "given, or begin without a cursor.", field=argument,
    )  # fmt: skip


def order_of(key: bytes) -> str | None:
    """The order that a cursor's key is of; None where it names none."""
    found = _ORDER.match(key)
    return None if found is None else found[1].decode()


def id_key(item: Any) -> bytes:
    """The key of things that are listed by id."""
    key: bytes = item.id.bytes
    return key


def read_id(stretch: Stretch, start: UUID) -> UUID:
    """The id a page begins beyond: of the cursor, or `start`."""
    return read_place(stretch, id_of, start)


def id_of(key: bytes) -> UUID:
    """The id that is the key of a thing. Raises `ValueError`."""
    return UUID(bytes=key)


def moment_of(text: str) -> datetime:
    """The time that a key holds, which is one of UTC. Raises `ValueError`."""
    found = datetime.fromisoformat(text)
    if found.tzinfo is None or found.utcoffset():
        raise ValueError(text)
    return found


def read_code(stretch: Stretch) -> str:
    """The code a page begins beyond: of the cursor, or before all others."""
    return read_place(stretch, code_of, "")


def code_of(key: bytes) -> str:
    """The code that is the key of a thing. Raises `ValueError`."""
    code = key.decode("ascii")
    if not (code and code.isprintable()):
        raise ValueError(code)
    return code


def day_key(code: str, day: date) -> bytes:
    """The key of things that are listed by code and day."""
    return f"{code} {day.isoformat()}".encode()


def code_and_day_of(key: bytes) -> tuple[str, date]:
    """The code and day that are the key of a thing. Raises `ValueError`."""
    code, _, day = code_of(key).rpartition(" ")
    return code, date.fromisoformat(day)


def read_code_and_day(stretch: Stretch) -> tuple[str, date]:
    """The code and day a page begins beyond."""
    return read_place(stretch, code_and_day_of, ("", date.min))
