"""What a list is ordered by, where a client says so, and the cursors of such a list.

A cursor then holds the order, the item's key and its value: the next page begins just behind it, whatever was added or
changed since. One that was given under another order is refused, for its place would mean nothing here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from enum import StrEnum
from operator import attrgetter
from typing import Any, Final, NamedTuple, Protocol

from sharewell.store.paging import Place, Sort
from sharewell_schema.describe import described
from sharewell_schema.paging import USUAL, bad_cursor, id_key, id_of, moment_of, order_of, other_order, read_cursor
from sharewell_schema.stretch import Stretch


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


class Keyed(NamedTuple):
    """The keys that a list goes by in its usual order, as cursors have them."""

    write: Callable[[Any], bytes]
    read: Callable[[bytes], tuple[object, ...]]  #: all but what a `Sort` of a kind sorts; raises `ValueError`
    length: int | None = None  #: in bytes; None: to the first zero byte, or the end


def _read_id(key: bytes) -> tuple[object, ...]:
    return (id_of(key),)


BY_ID: Final = Keyed(id_key, _read_id, 16)
NO_ORDER: Final = ("", Direction.ASC)  #: the usual order of a list where that is none anybody would ask for


@dataclass(frozen=True, slots=True)
class Ordering:
    """The order of one list that is asked for."""

    place: Place | None  #: where the page begins; None in the usual order, whose cursors are the keys alone
    key: Callable[[Any], bytes]  #: of an item's cursor

    @classmethod
    def read(
        cls, order: Order | None, stretch: Stretch, sorts: Mapping[str, Sort], usual: tuple[str, Direction],
        keyed: Keyed = BY_ID,
    ) -> Ordering:  # fmt: skip
        """The order, and where in it the page begins. Raises `Invalid` for a cursor of another order."""
        if order is None or (order.by.value, order.direction) == usual:
            return cls(None, keyed.write)
        sort, descending = sorts[order.by.value], order.direction is Direction.DESC
        told = _Told(f"{order.by.name} {order.direction.name}", sort, keyed)
        return cls(Place(sort, descending, told.read(stretch)), told.key)

    def usual(self, stretch: Stretch) -> Stretch:
        """The stretch, without its cursor where that is none of the usual order."""
        return stretch if self.place is None else replace(stretch, cursor=None)


class _Told(NamedTuple):
    """How the cursors of an order are written."""

    order: str
    sort: Sort
    keyed: Keyed

    def key(self, item: Any) -> bytes:
        prefix = self.order.encode() + b"\0" + self.keyed.write(item)
        if not self.sort.kind:
            return prefix
        mark = b"" if self.keyed.length else b"\0"
        return prefix + mark + _KINDS[self.sort.kind].write(attrgetter(self.sort.attribute)(item)).encode()

    def read(self, stretch: Stretch) -> tuple[object, ...] | None:
        """Value and keys of the item that the page begins at; None where it begins at an end."""
        if stretch.cursor is None:
            return None
        argument = stretch.cursor_argument
        key = read_cursor(stretch.cursor, argument)
        order = order_of(key)
        try:
            if order == self.order:
                return self._at(key[len(order) + 1 :])
            if order is None:
                self.keyed.read(key)
                order = USUAL
        except (ValueError, OverflowError):
            raise bad_cursor(argument) from None
        raise other_order(argument, order, self.order)

    def _at(self, told: bytes) -> tuple[object, ...]:
        length = self.keyed.length or (told.index(0) if self.sort.kind else len(told))
        value = told[length:] if self.keyed.length else told[length + 1 :]
        return self._value(value), *self.keyed.read(told[:length])

    def _value(self, written: bytes) -> object:
        if not self.sort.kind:
            if written:
                raise ValueError(written)
            return None
        kind = _KINDS[self.sort.kind]
        value = kind.read(text := written.decode())
        if kind.write(value) != text:
            raise ValueError(text)
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


def _text(text: str) -> str:
    if "\0" in text:
        raise ValueError(text)
    return text


_LAST: Final = datetime.max.replace(tzinfo=UTC)  #: PostgreSQL's infinity, as `date.max` is
_KINDS: Final[Mapping[str, _Kind]] = {
    "timestamptz": _Kind(lambda at: (at or _LAST).astimezone(UTC).isoformat(), moment_of),
    "integer": _Kind(str, _whole(2**31 - 1)),
    "smallint": _Kind(str, _whole(2**15 - 1)),
    "date": _Kind(lambda day: (day or date.max).isoformat(), date.fromisoformat),
    "text": _Kind(str, _text),
}
