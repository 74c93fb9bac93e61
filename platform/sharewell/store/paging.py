"""Keyset pages: a page starts after a key, so it is found by index however deep it lies, and never skips or repeats."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final, Generic, NamedTuple, Self, TypeVar
from uuid import UUID

from sharewell.domain.predicate import EVERYTHING, Predicate
from sharewell.store.keysets import ordered, turned

if TYPE_CHECKING:
    import asyncpg

Item = TypeVar("Item")
Other = TypeVar("Other")
Start = TypeVar("Start")

MOST = 1000  #: items a page may have
COUNTED: Final = 10_000  #: up to here the items of a list are counted
OLDEST: Final = UUID(int=0)
NEWEST: Final = UUID(int=2**128 - 1)
_PAGE: Final = frozenset({"before", "after", "first"})  #: what says of a list only where its page is
#: Where a statement takes the condition of what its reader may see; by itself it means everything.
SEEN: Final = "true /* what the reader may see */"

#: Where a row's attributes are found: by the names that policies use, expressions of the statement. A row with several
#: parties has an entry for each, and is seen by whoever may see it as any of theirs.
Places = Sequence[Mapping[str, str]]


class Size(int):
    """How many items a page may have, and which: those that follow its place in the list, or those that precede it.

    A plain number says: those that follow, and nobody counts the list.
    """

    counted: bool  #: it is to be told as well how many items the whole list has
    backwards: bool  #: the items wanted are the last before the place; in the order of the list all the same

    def __new__(cls, items: int, *, counted: bool = False, backwards: bool = False) -> Self:
        made = super().__new__(cls, items)
        made.counted, made.backwards = counted, backwards
        return made

    @classmethod
    def of(cls, first: int) -> Size:
        return first if isinstance(first, Size) else cls(first)


@dataclass(frozen=True, slots=True)
class Total:
    """How many items a list has on all its pages."""

    count: int
    exact: bool  #: else there are more; they are counted up to `COUNTED`

    @classmethod
    def of(cls, found: int) -> Total:
        """Where one more than `COUNTED` was looked for."""
        return cls(min(found, COUNTED), found <= COUNTED)


@dataclass(frozen=True, slots=True)
class Page(Generic[Item]):
    """Some items in the order of their list, and whether there are more."""

    items: tuple[Item, ...]
    has_more: bool  #: behind them; before them, where the page was read backwards
    total: Total | None = None  #: of the list, where it was asked for

    @classmethod
    def of(cls, items: Sequence[Item], first: int) -> Page[Item]:
        """Cut the one extra item that was asked for only to learn whether there are more; last first if backwards."""
        return cls(tuple(in_order(items[:first], first)), len(items) > first)

    def told(self, items: Iterable[Other]) -> Page[Other]:
        """The same page, with what is told of each of its items."""
        return Page(tuple(items), self.has_more, self.total)


def in_order(items: Sequence[Item], first: int) -> Sequence[Item]:
    """Items of a page as its list has them, whichever way they were read."""
    return items[::-1] if Size.of(first).backwards else items


async def walked(
    listed: Callable[[Start | None], AsyncIterator[Item]], place: Start | None, first: int,
    place_of: Callable[[Item], Start],
) -> Page[Item]:  # fmt: skip
    """A page of a list whose items are worked out one by one, and the total where `first` asks for it.

    `listed` works them out on from a place, the way `first` says; from None, all of them. Where they are counted, the
    page is taken from among them as they go by, behind the item that `place_of` has at `place`; only a page whose item
    is not met among those counted is worked out by itself.
    """
    if not Size.of(first).counted:
        return Page.of([each async for each in _at_most(first + 1, listed(place))], first)
    found, reached, read, items = 0, place is None, list[Item](), listed(None)
    async for each in _at_most(COUNTED + 1, items):
        found += 1
        if reached and len(read) <= first:
            read.append(each)
        reached = reached or place_of(each) == place
    if len(read) <= first:
        rest = items if reached else listed(place)
        read += [each async for each in _at_most(first + 1 - len(read), rest)]
    return replace(Page.of(read, first), total=Total.of(found))


async def _at_most(most: int, items: AsyncIterator[Item]) -> AsyncIterator[Item]:
    left = most
    async for each in items:
        yield each
        left -= 1
        if left == 0:
            return


class From(NamedTuple):
    """A value of a statement by which its page begins, and the one by which the first page does."""

    value: object
    start: object


def begins(values: Sequence[object], start: Sequence[object]) -> Iterator[From]:
    """The same of several values."""
    return map(From, values, start)


class _Limit:
    """Stands for the value of a statement by which its page ends."""


LIMIT: Final = _Limit()


class Condition(NamedTuple):
    """What rows must fulfil: SQL in which `{0}`, `{1}` stand for the values, each with its type."""

    text: str
    values: tuple[object, ...]


def any_of(column: str, kind: str, values: Sequence[object] | None) -> Iterator[Condition]:
    """That a column holds one of `values`, if there are any."""
    if values is not None:
        yield Condition(f"{column} = any ({{0}}::{kind}[])", (list(values),))


def in_region(institution: str, region: str | None) -> Iterator[Condition]:
    """That the institution in a column is of `region`, if there is one."""
    if region is not None:
        yield Condition(
            f"{institution} in (select place.id from sharewell.institution place where place.region = {{0}}::text)",
            (region,),
        )


@dataclass(frozen=True, slots=True)
class Sort:
    """What a list can be ordered by; rows that are alike in it go by the keys of the list, which is its id for most.

    Nothing may stand here, nor in a `Condition`, that any reader of the rows is not told exactly: the order of a list
    tells of a number that is withheld where it lies among others, and a filter tells it in a few questions.
    """

    column: str  #: SQL that is never null
    kind: str = ""  #: its type in SQL; empty where it is one of the keys, which stand in cursors anyway
    attribute: str = ""  #: where an item has the value; None there stands for the last of all


IN_TURN: Final = Sort("id")  #: ids are in order of time


class Place(NamedTuple):
    """In which order a list is read, and which row its page begins at."""

    sort: Sort
    descending: bool
    at: tuple[object, ...] | None = None  #: the row's value and its other keys; None: from the start, or the end


@dataclass(frozen=True, slots=True)
class Listed:
    """A list: a statement that gives one page of it by its keys, and its values, `From` and `LIMIT` among them."""

    statement: str
    values: tuple[object, ...]

    def where(self, conditions: Iterable[Condition]) -> Listed:
        """Of it, the rows that fulfil all `conditions`."""
        texts, values = [], list(self.values)
        for text, its in conditions:
            texts.append(text.format(*(f"${len(values) + n}" for n in range(1, len(its) + 1))))
            values.extend(its)
        if not texts:
            return self
        return Listed(_where(self.statement, tuple(texts)), tuple(values))

    def seen(self, seen: Predicate, places: Places) -> Listed:
        """Of it, the rows that a reader may see."""
        return Listed(narrowed(self.statement, seen, places, len(self.values)), (*self.values, *seen.values))

    def paged(self, first: int, place: Place | None = None) -> Listed:
        """The page of `first` items at `place`, which may be read from its far end; see `in_order`.

        With a `place`, the values by which the statement itself would begin are without meaning.
        """
        backwards = Size.of(first).backwards
        if place is None:
            begun = any(each.value != each.start for each in self.values if isinstance(each, From))
            return replace(self, statement=turned(self.statement, begun=begun)) if backwards else self
        at = place.at
        behind = () if at is None else (*at[1:], at[0]) if place.sort.kind else at[1:]
        text = ordered(
            self.statement, place.sort.column, place.sort.kind, len(self.values),
            descending=place.descending is not backwards, behind=len(behind),
        )
        return Listed(text, (*self.values, *behind))

    def given(self, first: int) -> tuple[object, ...]:
        """The values that the statement runs with, for a page of `first` items and one more."""
        told = (each.value if isinstance(each, From) else each for each in self.values)
        return tuple(first + 1 if each is LIMIT else each for each in told)

    async def page(
        self, conn: asyncpg.Connection[Any], make: Callable[[asyncpg.Record], Item], first: int,
        place: Place | None = None,
    ) -> Page[Item]:  # fmt: skip
        """One page, and the total where `first` asks for it."""
        here = self.paged(first, place)
        rows = await conn.fetch(here.statement, *here.given(first))
        page = Page.of([make(row) for row in rows], first)
        return replace(page, total=await self.total(conn)) if Size.of(first).counted else page

    async def total(self, conn: asyncpg.Connection[Any]) -> Total:
        """How many rows the list has, by the statement that its pages come from.

        So they are just the rows that the reader can have by reading on to the end, with the same filters, policies and
        wall: that each of them is there is told anyway, and a count of them tells nothing new. What is withheld are
        numbers within rows, and neither a filter nor an order speaks of one (see `Sort`).
        """
        values = [each.start if isinstance(each, From) else each for each in self.values]
        found = await conn.fetchval(counting(self.statement), *(COUNTED + 1 if v is LIMIT else v for v in values))
        return Total.of(found)


def is_whole(asked: Mapping[str, object]) -> bool:
    """Whether a list is asked for as it is: in its usual order, with nothing left out but what other pages have."""
    return all(
        value is None or value is False or (name == "matching" and value == type(value)())
        for name, value in asked.items()
        if name not in _PAGE
    )


def counting(statement: str) -> str:
    """The statement that counts the rows of `statement`."""
    return f"select count(*)::integer from ({statement}) page"


@lru_cache(maxsize=1024)
def _where(statement: str, conditions: tuple[str, ...]) -> str:
    assert SEEN in statement
    return statement.replace(SEEN, " and ".join([SEEN, *(f"({each})" for each in conditions)]))


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
