"""Keyset pages: a page starts after a key, so it is found by index however deep it lies, and never skips or repeats."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final, Generic, NamedTuple, TypeVar
from uuid import UUID

from sharewell.domain.predicate import EVERYTHING, Predicate

if TYPE_CHECKING:
    import asyncpg

Item = TypeVar("Item")
Other = TypeVar("Other")

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


class AndCounted(int):
    """How many items a page may have, where it is to be told as well how many the whole list has."""


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
    """Some items in the order of their list, and whether more follow."""

    items: tuple[Item, ...]
    has_more: bool
    total: Total | None = None  #: of the list, where it was asked for

    @classmethod
    def of(cls, items: list[Item], first: int) -> Page[Item]:
        """Cut the one extra item that was asked for only to learn whether more follow."""
        return cls(tuple(items[:first]), len(items) > first)

    def told(self, items: Iterable[Other]) -> Page[Other]:
        """The same page, with what is told of each of its items."""
        return Page(tuple(items), self.has_more, self.total)


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
    """What a list can be ordered by; rows that are alike in it go by id.

    Nothing may stand here, nor in a `Condition`, that any reader of the rows is not told exactly: the order of a list
    tells of a number that is withheld where it lies among others, and a filter tells it in a few questions.
    """

    column: str  #: SQL that is never null
    kind: str = ""  #: its type in SQL; empty where the rows go by id alone
    attribute: str = ""  #: where an item has the value; None there stands for the last of all


IN_TURN: Final = Sort("id")  #: ids are in order of time


class Place(NamedTuple):
    """In which order a list is read, and behind which row its page begins."""

    sort: Sort
    descending: bool
    behind: tuple[object, UUID] | None = None  #: value and id of the row; None: from the start


@dataclass(frozen=True, slots=True)
class Listed:
    """A list: a statement that gives one page of it by id, and its values, `From` and `LIMIT` among them."""

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

    def ordered(self, place: Place | None) -> Listed:
        """The page at `place`; the first value of the statement is then without meaning."""
        if place is None:
            return self
        behind: tuple[object, ...] = ()
        if place.behind is not None:
            value, id = place.behind  # noqa: A001
            behind = (id, value) if place.sort.kind else (id,)
        text = _ordered(self.statement, place.sort, len(self.values), descending=place.descending, behind=bool(behind))
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
        here = self.ordered(place)
        rows = await conn.fetch(here.statement, *here.given(first))
        page = Page.of([make(row) for row in rows], first)
        return replace(page, total=await self.total(conn)) if isinstance(first, AndCounted) else page

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


@lru_cache(maxsize=1024)
def _ordered(statement: str, sort: Sort, given: int, *, descending: bool, behind: bool) -> str:
    way, beyond = ("desc", "<") if descending else ("asc", ">")
    keys = [sort.column, "id"] if sort.kind else ["id"]
    start = "$1::uuid is not null"  # so that every value has its use
    if behind:
        marks = [f"${given + 2}::{sort.kind}", f"${given + 1}::uuid"] if sort.kind else [f"${given + 1}::uuid"]
        start += f" and ({', '.join(keys)}) {beyond} ({', '.join(marks)})"
    found = _BY_ID.fullmatch(statement)
    assert found is not None, statement
    before, between, after = found.groups()
    return f"{before}{start}{between}order by {', '.join(f'{key} {way}' for key in keys)}{after}"


#: A statement whose rows go by id: where its page begins, and its order.
_BY_ID: Final = re.compile(r"(.*?\bwhere )id [<>] \$1(?= and)(.*)order by id(?: desc)?(?= limit)(.*)", re.DOTALL)


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
