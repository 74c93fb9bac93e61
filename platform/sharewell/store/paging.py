"""Keyset pages: a page starts after a key, so it is found by index however deep it lies, and never skips or repeats."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, TypeVar

Item = TypeVar("Item")

MOST = 1000  #: items a page may have


@dataclass(frozen=True, slots=True)
class Page(Generic[Item]):
    """Some items in key order, and whether more follow."""

    items: tuple[Item, ...]
    has_more: bool

    @classmethod
    def of(cls, items: list[Item], first: int) -> Page[Item]:
        """Cut the one extra item that was asked for only to learn whether more follow."""
        return cls(tuple(items[:first]), len(items) > first)
