"""What a list is ordered by, where a client says so, and the cursors of such a list.

A cursor then holds the order, the item's id and its value: the next page begins just behind it, whatever was added or
changed since. One that was given under another order is refused, for its place would mean nothing here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from enum import StrEnum
from operator import attrgetter
from typing import Any, Final, NamedTuple, Protocol
from uuid import UUID

from sharewell.store.paging import Place, Sort
from sharewell_schema.describe import described
from sharewell_schema.paging import USUAL, bad_cursor, id_key, order_of, other_order, read_cursor


class Direction(StrEnum):
    """Which end of an order comes first."""

    ASC = "asc"
    DESC = "desc"


described(
    Direction, "Which end of an order comes first.",
    asc="The earliest, smallest or first in the alphabet.", desc="The latest, largest or last in the alphabet.",
)  # fmt: skip


class Order(Protocol):
    """What a client sends as `orderBy`."""

    by: Any
    direction: Direction


@dataclass(frozen=True, slots=True)
class Ordering:
    """The order of one list that is asked for."""

    place: Place | None  #: where the page begins; None in the usual order, whose cursors are ids
    key: Callable[[Any], bytes]  #: of an item's cursor

    @classmethod
    def read(
        cls, order: Order | None, after: str | None, sorts: Mapping[str, Sort], usual: tuple[str, Direction]
    ) -> Ordering:
        """The order, and from `after` where the page begins. Raises `Invalid` for a cursor of another order."""
        if order is None or (order.by.value, order.direction) == usual:
            return cls(None, id_key)
        sort, descending = sorts[order.by.value], order.direction is Direction.DESC
        told = _Told(f"{order.by.name} {order.direction.name}", sort)
        return cls(Place(sort, descending, None if after is None else told.read(read_cursor(after))), told.key)

    def usual(self, after: str | None) -> str | None:
        """The cursor, if it is one of the usual order."""
        return after if self.place is None else None


class _Told(NamedTuple):
    """How the cursors of an order are written."""

    order: str
    sort: Sort

    def key(self, item: Any) -> bytes:
        prefix: bytes = self.order.encode() + b"\0" + item.id.bytes
        if not self.sort.kind:
            return prefix
        return prefix + _KINDS[self.sort.kind].write(attrgetter(self.sort.attribute)(item)).encode()

    def read(self, key: bytes) -> tuple[object, UUID]:
        """Value and id of the item that the page begins behind."""
        prefix = self.order.encode() + b"\0"
        order = USUAL if len(key) == _ID else order_of(key)
        if order is not None and order != self.order:
            raise other_order(order, self.order)
        if order is None or len(key) < len(prefix) + _ID:
            raise bad_cursor()
        rest = key[len(prefix) :]
        return self._value(rest[_ID:]), UUID(bytes=rest[:_ID])

    def _value(self, written: bytes) -> object:
        if not self.sort.kind:
            if written:
                raise bad_cursor()
            return None
        kind = _KINDS[self.sort.kind]
        try:
            value = kind.read(text := written.decode())
        except (ValueError, OverflowError):
            raise bad_cursor() from None
        if kind.write(value) != text:
            raise bad_cursor()
        return value


class _Kind(NamedTuple):
    """How values of a type are written in a cursor. `read` raises `ValueError`."""

    write: Callable[[Any], str]
    read: Callable[[str], Any]


def _whole(most: int) -> Callable[[str], int]:
    def read(text: str) -> int:
        if not 0 <= (found := int(text)) <= most:
            raise ValueError(text)
        return found

    return read


def _moment(text: str) -> datetime:
    found = datetime.fromisoformat(text)
    if found.tzinfo is None or found.utcoffset():
        raise ValueError(text)
    return found


def _text(text: str) -> str:
    if "\0" in text:
        raise ValueError(text)
    return text


_ID: Final = 16  #: bytes of an id
_KINDS: Final[Mapping[str, _Kind]] = {
    "timestamptz": _Kind(lambda at: at.astimezone(UTC).isoformat(), _moment),
    "integer": _Kind(str, _whole(2**31 - 1)),
    "smallint": _Kind(str, _whole(2**15 - 1)),
    "date": _Kind(lambda day: (day or date.max).isoformat(), date.fromisoformat),  # PostgreSQL's infinity
    "text": _Kind(str, _text),
}
