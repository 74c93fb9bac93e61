"""What filters of lists have in common: how their values are read, and refused."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from sharewell.domain import checks
from sharewell.domain.errors import Invalid

Value = TypeVar("Value")

MOST_NAMED = 100  #: values that one member of a filter may name


def some(values: Sequence[Value] | None, field: str) -> list[Value] | None:
    """The values, each once. None names no value and asks for none to be kept from; an empty list is a mistake."""
    if values is None:
        return None
    if not 1 <= len(values) <= MOST_NAMED:
        raise Invalid(
            f"{field} names {len(values)} values; name 1 to {MOST_NAMED}, or leave it out to have all.", field=field
        )
    return list(dict.fromkeys(values))


def codes(values: Sequence[str] | None, field: str) -> list[str] | None:
    """The same, of codes such as `bed.adult`."""
    named = some(values, field)
    return None if named is None else [checks.code(each, field) for each in named]
