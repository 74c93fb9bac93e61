"""Keyset connections: pages by the key of their last item, so that none is skipped or seen twice, however deep.

The shape is that of Relay's cursor connections, forwards only. A cursor is the key of an item in base64url, opaque to
clients: send back the `endCursor` you were given.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from typing import Annotated, Any, Generic, NamedTuple, TypeVar
from uuid import UUID

import strawberry

from sharewell.domain.errors import Invalid
from sharewell.store.paging import MOST, Page
from sharewell_schema.context import shown

Item = TypeVar("Item")

FIRST = 50  #: items on a page where nothing is asked
LONGEST_CURSOR = 200
OLDEST = UUID(int=0)
NEWEST = UUID(int=2**128 - 1)

First = Annotated[int, strawberry.argument(description=f"How many items the page may have, 1 to {MOST}.")]
After = Annotated[
    str | None,
    strawberry.argument(description="The `endCursor` of the page before this one; leave it out for the first page."),
]


# Others define it just so: a federated graph takes it from whichever is asked.
@strawberry.federation.type(shareable=True, description="Where a page lies in its list.")
class PageInfo:
    has_next_page: bool = strawberry.field(description="Whether more items follow this page.")
    has_previous_page: bool = strawberry.field(description="Whether you came here with a cursor: items precede.")
    start_cursor: str | None = strawberry.field(description="Cursor of the first item; null on an empty page.")
    end_cursor: str | None = strawberry.field(
        description="Cursor of the last item, to be sent as `after` for the next page; null on an empty page."
    )


@strawberry.type(description="One item of a page, and its place in the list.")
class Edge(Generic[Item]):
    cursor: str = strawberry.field(description="The item's place in the list; opaque, and good for ever.")
    node: Item = strawberry.field(description="The item itself.")


@strawberry.type(description="A page of a list that is read forwards, by cursor.")
class Connection(Generic[Item]):
    edges: list[Edge[Item]] = strawberry.field(description="The items with their cursors.")
    nodes: list[Item] = strawberry.field(description="The items alone; shorter to ask for and quicker to read.")
    page_info: PageInfo = strawberry.field(description="How to get the next page.")


class Edged(NamedTuple):
    """What stands in for an `Edge`."""

    cursor: str
    node: Any


@dataclass(frozen=True, slots=True)
class Slice(Generic[Item]):
    """What stands in for a `Connection`; cursors are made where they are asked for."""

    nodes: tuple[Item, ...]
    has_more: bool
    continued: bool
    key: Callable[[Item], bytes]

    @property
    def edges(self) -> list[Edged]:
        return [Edged(write_cursor(self.key(node)), node) for node in self.nodes]

    @property
    def page_info(self) -> PageInfo:
        ends: list[str | None] = [write_cursor(self.key(node)) for node in (*self.nodes[:1], *self.nodes[-1:])]
        ends = ends or [None, None]
        return PageInfo(
            has_next_page=self.has_more, has_previous_page=self.continued, start_cursor=ends[0], end_cursor=ends[1]
        )


def connection(kind: type[Item], page: Page[Any], after: str | None, key: Callable[[Any], bytes]) -> Connection[Item]:
    """The page, whose items stand in for the GraphQL type `kind`."""
    return shown(Connection[kind], Slice(page.items, page.has_more, after is not None, key))  # type: ignore[valid-type]


def how_many(first: int, most: int = MOST) -> int:
    """The size of a page, if it is one."""
    if not 1 <= first <= most:
        raise Invalid(f"first is {first}; it must be 1 to {most}.", field="first")
    return first


def write_cursor(key: bytes) -> str:
    return base64.urlsafe_b64encode(key).rstrip(b"=").decode()


def read_cursor(cursor: str) -> bytes:
    """The key a cursor stands for. Raises `Invalid` for what `write_cursor` never wrote."""
    try:
        key = base64.urlsafe_b64decode(cursor[:LONGEST_CURSOR] + "=" * (-len(cursor) % 4))
    except (ValueError, binascii.Error):
        raise bad_cursor() from None
    if not key or write_cursor(key) != cursor:
        raise bad_cursor()
    return key


def bad_cursor() -> Invalid:
    return Invalid("after is no cursor of this list; send the endCursor of the page before.", field="after")


def id_key(item: Any) -> bytes:
    """The key of things that are listed by id."""
    key: bytes = item.id.bytes
    return key


def read_id(after: str | None, start: UUID) -> UUID:
    """The id a page begins beyond: of the cursor, or `start`."""
    if after is None:
        return start
    key = read_cursor(after)
    if len(key) != 16:
        raise bad_cursor()
    return UUID(bytes=key)


def read_code(after: str | None) -> str:
    """The code a page begins beyond: of the cursor, or before all others."""
    if after is None:
        return ""
    try:
        code = read_cursor(after).decode("ascii")
    except UnicodeDecodeError:
        raise bad_cursor() from None
    if not code.isprintable():
        raise bad_cursor()
    return code


def day_key(code: str, day: date) -> bytes:
    """The key of things that are listed by code and day."""
    return f"{code} {day.isoformat()}".encode()


def read_code_and_day(after: str | None) -> tuple[str, date]:
    """The code and day a page begins beyond."""
    code, _, day = read_code(after).rpartition(" ")
    if after is None:
        return "", date.min
    try:
        return code, date.fromisoformat(day)
    except ValueError:
        raise bad_cursor() from None
