"""Keyset pages: a page starts after a key, so it is found by index however deep it lies, and never skips or repeats."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, Generic, TypeVar

from sharewell.domain.predicate import EVERYTHING, Predicate

Item = TypeVar("Item")

MOST = 1000  #: items a page may have
#: Where a statement takes the condition of what its reader may see; by itself it means everything.
SEEN: Final = "true /* what the reader may see */"

#: Where a row's attributes are found: by the names that policies use, expressions of the statement. A row with several
#: parties has an entry for each, and is seen by whoever may see it as any of theirs.
Places = Sequence[Mapping[str, str]]


@dataclass(frozen=True, slots=True)
class Page(Generic[Item]):
    """Some items in key order, and whether more follow."""

    items: tuple[Item, ...]
    has_more: bool

    @classmethod
    def of(cls, items: list[Item], first: int) -> Page[Item]:
        """Cut the one extra item that was asked for only to learn whether more follow."""
        return cls(tuple(items[:first]), len(items) > first)


def narrowed(statement: str, seen: Predicate, places: Places, given: int) -> str:
    """`statement`, which has `given` values of its own, for a reader who may see what `seen` says.

    Its values follow those of the statement. There are few texts, so the driver keeps them prepared.
    """
    if seen is EVERYTHING:
        return statement
    return _narrowed(statement, seen.text, len(seen.values), tuple(tuple(place.items()) for place in places), given)


@lru_cache(maxsize=1024)
def _narrowed(
    statement: str, text: str, values: int, places: tuple[tuple[tuple[str, str], ...], ...], given: int
) -> str:
    marks = [f"${given + 1 + n}" for n in range(values)]
    conditions = dict.fromkeys(text.format(*marks, **dict(place)) for place in places)
    assert SEEN in statement
    return statement.replace(SEEN, f"({' or '.join(conditions)})")


def of_owner(column: str) -> dict[str, str]:
    """Where the attributes of a row are found that belongs to the institution in `column`."""
    return {"owner": column, "region": _region(column)}


def of_parties(giver: str, receiver: str) -> dict[str, str]:
    """Where the attributes of a transfer are found."""
    return {
        "giver": giver, "receiver": receiver, "giverRegion": _region(giver), "receiverRegion": _region(receiver),
    }  # fmt: skip


def _region(institution: str) -> str:
    return f"(select place.region from sharewell.institution place where place.id = {institution})"
