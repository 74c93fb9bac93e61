"""Statements of lists, read the other way round or in another order than their own.

Each ends in `order by` its keys and a `limit`, and has one comparison of the same keys with the place that a page
begins behind: `where id < $1 and ... order by id desc limit $6`. So it is taken apart there, and put together anew.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Final, NamedTuple


class _Parts(NamedTuple):
    """A statement, taken apart where its page begins and at its order."""

    before: str
    keys: tuple[str, ...]  #: columns
    behind: str  #: `<` or `>`
    marks: str  #: what of a row there is to compare with the keys
    between: str
    after: str

    @property
    def anywhere(self) -> str:
        """SQL that is true of each row, and has a use for every value of the statement."""
        return f"({_row(self.keys)} {self.behind} {self.marks}) is not null"

    def put_together(self, start: str, keys: Iterable[str], *, descending: bool) -> str:
        way = "desc" if descending else "asc"
        return f"{self.before}{start}{self.between}order by {', '.join(f'{key} {way}' for key in keys)}{self.after}"


@lru_cache(maxsize=1024)
def turned(statement: str, *, begun: bool) -> str:
    """The same the other way round: from its place back to the start of the list, or all from its end."""
    parts = _taken_apart(statement)
    descending = parts.behind == "<"
    start = f"{_row(parts.keys)} {'>' if descending else '<'} {parts.marks}" if begun else parts.anywhere
    return parts.put_together(start, parts.keys, descending=not descending)


@lru_cache(maxsize=1024)
def ordered(statement: str, column: str, kind: str, given: int, *, descending: bool, behind: int) -> str:
    """In the order of `column`, behind a row of which `behind` values follow the `given` ones; see `Sort`.

    These are its other keys, and last its value in `column` where that has a `kind`.
    """
    parts = _taken_apart(statement)
    keys = tuple(dict.fromkeys([column, *parts.keys]))
    start = parts.anywhere
    if behind:
        others = [key for key in parts.keys if not (kind and key == column)]
        marks = {key: f"${given + 1 + n}" for n, key in enumerate(others)}
        if kind:
            marks[column] = f"${given + behind}::{kind}"
        start += f" and {_row(keys)} {'<' if descending else '>'} {_row([marks[key] for key in keys])}"
    return parts.put_together(start, keys, descending=descending)


@lru_cache(maxsize=1024)
def _taken_apart(statement: str) -> _Parts:
    order = _ORDER.search(statement)
    assert order is not None, statement
    keys = tuple(key.removesuffix(" desc") for key in order[1].split(", "))
    start = re.search(rf"(?<![\w.]){re.escape(_row(keys))} ([<>]) (?=[$(])", statement)
    assert start is not None, statement
    end = _end_of_operand(statement, start.end())
    return _Parts(
        statement[: start.start()], keys, start[1], statement[start.end() : end], statement[end : order.start()],
        statement[order.end() :],
    )  # fmt: skip


#: By what the rows of a statement go.
_ORDER: Final = re.compile(r"order by ([^()]+)(?= limit \$\d+\s*\Z)")


def _row(keys: Sequence[str]) -> str:
    return keys[0] if len(keys) == 1 else f"({', '.join(keys)})"


def _end_of_operand(text: str, start: int) -> int:
    """Where the value ends that begins at `start`: a mark, or what stands in brackets."""
    depth = 0
    for place in range(start, len(text)):
        depth += {"(": 1, ")": -1}.get(text[place], 0)
        if depth == 0 and not _IN_A_MARK.match(text, place + 1):
            return place + 1
    raise AssertionError(text)


_IN_A_MARK: Final = re.compile(r"\d")
