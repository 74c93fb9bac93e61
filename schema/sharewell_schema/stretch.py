"""The arguments by which every connection is read, in one place: forwards by `first` and `after`, or backwards.

As in GraphQL's Cursor Connections (https://relay.dev/graphql/connections.htm), `last` items before `before` come in
the same order as they do forwards. What it discourages is refused here: both sizes at once, or a cursor of the other
way, of which nobody can say what is meant.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from typing import Annotated, Any, Final

import strawberry

from sharewell.domain.errors import Invalid
from sharewell.store.paging import MOST

FIRST: Final = 50  #: items on a page where nothing is asked
SIZES: Final = ("first", "last")  #: the arguments that say how many items a page may have
_PLACED: Final = "stretch"  #: how a resolver calls what the arguments come to


@dataclass(frozen=True, slots=True)
class Stretch:
    """Which items of a list are asked for: so many behind a cursor, or so many before it."""

    items: int
    cursor: str | None  #: None: from the start; backwards, from the end
    backwards: bool = False

    @classmethod
    def of(cls, first: int | None, after: str | None, last: int | None, before: str | None) -> Stretch:
        """What the arguments come to. Raises `Invalid` where they go two ways."""
        if last is None:
            if before is not None:
                raise Invalid("before goes with last: send how many items before it you want.", field="before")
            return cls(FIRST if first is None else first, after)
        if first is not None:
            raise Invalid("send first or last, not both: a page is read forwards or backwards.", field="last")
        if after is not None:
            raise Invalid("after goes with first; with last, send before, or no cursor for the end.", field="after")
        return cls(last, before, backwards=True)

    @property
    def size_argument(self) -> str:
        return "last" if self.backwards else "first"

    @property
    def cursor_argument(self) -> str:
        return "before" if self.backwards else "after"


def _described(kind: Any, sentence: str) -> Any:
    return Annotated[kind | None, strawberry.argument(description=sentence)]


_ARGUMENTS: Final = {
    "first": _described(int, f"How many items the page may have, 1 to {MOST}; by default {FIRST}, unless you send "
                             "`last`."),
    "after": _described(str, "The `endCursor` of the page before this one; leave it out for the first page."),
    "last": _described(int, f"Instead of `first`: how many items, 1 to {MOST}, before `before` or at the list's end."),
    "before": _described(str, "The `startCursor` of the page behind this one; with `last` only, and left out for the "
                              "last page."),
}  # fmt: skip

ARGUMENTS: Final = frozenset(_ARGUMENTS)  #: the names of all four


def is_paged(resolver: Callable[..., Any]) -> bool:
    """Whether a resolver takes a `stretch`."""
    return _PLACED in inspect.signature(resolver).parameters


def paged(resolver: Callable[..., Any]) -> Callable[..., Any]:
    """The same resolver with the four arguments in place of its `stretch`."""

    @wraps(resolver)
    async def resolve(
        self: Any, *, first: int | None = None, after: str | None = None, last: int | None = None,
        before: str | None = None, **others: Any
    ) -> Any:  # fmt: skip
        return await resolver(self, **others, stretch=Stretch.of(first, after, last, before))

    said = inspect.signature(resolver)
    kept = [each for each in said.parameters.values() if each.name != _PLACED]
    taken = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=kind)
        for name, kind in _ARGUMENTS.items()
    ]
    resolve.__signature__ = said.replace(parameters=[*kept, *taken])  # type: ignore[attr-defined]
    return resolve
