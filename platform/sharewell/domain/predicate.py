"""What rows of a list a caller may see, as a condition that a database can evaluate.

Made by `sharewell.authz_filter` of the policies and put into statements by the store; neither knows the other.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final
from uuid import UUID

#: A value beside the text; lists are compared with by `any`.
Value = UUID | str | tuple[UUID, ...] | tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Predicate:
    """A condition on a row, in SQL: `{owner}` and the like stand for its attributes, `{0}`, `{1}` for the values.

    The text holds no value, so callers who differ in values only share one statement. It is never null. It may be put
    into a statement with `str.format`, which raises `KeyError` where it speaks of an attribute that is not given: a row
    of which too little is known to judge it must not be shown.
    """

    text: str
    values: tuple[Value, ...] = ()


EVERYTHING: Final = Predicate("true")
NOTHING: Final = Predicate("false")
