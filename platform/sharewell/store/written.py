"""What PostgreSQL itself writes as JSON: where a reader is shown columns as they are, no object is made of a row.

A row may name others, one by each edge: they are joined, each as far as its reader may see it.

What is written is what the API writes of the same values: times in UTC with six places or none, names of enumerations
in capitals, identifiers and numbers as they are.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

from sharewell.domain.predicate import Predicate
from sharewell.store.paging import Listed, in_order

if TYPE_CHECKING:
    import asyncpg

#: The members of a JSON object, by name: an attribute of the row, an object of its own, what an edge leads to, or what
#: is the same for all.
Members = tuple[tuple[str, "str | Fixed | Linked | Members"], ...]
CURSOR: Final = "cursor"  #: the attribute that every row has: its place in the list
_MOST_PARTS: Final = 80  #: of one text; PostgreSQL takes a hundred arguments


@dataclass(frozen=True, slots=True)
class Fixed:
    """A text that stands in every row."""

    text: str


@dataclass(frozen=True, slots=True)
class Linked:
    """What an edge leads to; null where there is none, or none that the reader may see."""

    edge: Edge
    members: Members


@dataclass(frozen=True, slots=True, eq=False)  # there is one for each selection: it is known by what it is
class Wanted:
    """What is to be written of a page: each list with the members of its objects."""

    lists: tuple[Members, ...]
    ends: bool = False  #: also the ids of the first row and the last
    links: tuple[Linked, ...] = ()  #: that stand in the lists, each once


@dataclass(frozen=True, slots=True, eq=False)
class WantedOne:
    """What is to be written of one thing."""

    members: Members
    links: tuple[Linked, ...] = ()  #: that stand in it, each once


@dataclass(frozen=True, slots=True)
class Shown:
    """Whose a row is that is on the page, for the record."""

    id: UUID
    parties: tuple[UUID, ...]


@dataclass(frozen=True, slots=True)
class Written:
    """A page, written."""

    lists: tuple[str, ...]  #: the text of each list that was wanted, without its brackets
    has_more: bool
    ends: tuple[UUID, UUID] | None  #: ids of its first row and its last; None where they were not wanted, or no row is
    shown: tuple[Shown, ...]  #: its rows, where they were asked for
    rows: int = 0  #: how many it has, at least where it has none
    linked: Mapping[str, Mapping[UUID, UUID]] = field(default_factory=dict)  #: see `One`


@dataclass(frozen=True, slots=True)
class One:
    """One thing, written."""

    text: str
    parties: tuple[UUID, ...]
    #: By kind, of things that edges led to and that have owners: the owner of each, by id.
    linked: Mapping[str, Mapping[UUID, UUID]]


@dataclass(frozen=True, slots=True)
class Columns:
    """How the attributes of a noun are written, and in which columns stands whose a row is."""

    texts: Mapping[str, str | Quoted]  #: by attribute, SQL that gives its JSON as a text and never null
    parties: tuple[str, ...]
    edges: Mapping[str, Edge] = field(default_factory=dict)  #: by attribute

    def __hash__(self) -> int:  # there is one for each noun, and it stays
        return id(self)


@dataclass(frozen=True, slots=True)
class Noun:
    """A kind of thing that rows of others name."""

    kind: str  #: as policies call it
    table: str
    key: str  #: the column it is named by
    columns: Columns
    place: Mapping[str, str] | None = None  #: where policies find its attributes; None where they judge all alike

    def __hash__(self) -> int:  # as of its columns
        return id(self)


@dataclass(frozen=True, slots=True)
class Edge:
    """A column that names one thing of another kind, or of the same, or none."""

    column: str
    noun: Noun


@dataclass(frozen=True, slots=True)
class Quoted:
    """SQL that gives a text which needs nothing but the quotes around it."""

    text: str


def uuid(column: str) -> Quoted:
    return Quoted(column)


def text(column: str) -> str:
    return f"to_json({column})::text"


def number(column: str) -> str:
    return f"({column})::text"


def degrees(column: str) -> str:
    return f"case when {column} = trunc({column}) then {column}::text || '.0' else {column}::text end"


def moment(column: str) -> Quoted:
    told = f"""to_char({column} at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')"""
    return Quoted(f"replace({told}, '.000000', '')")


def day(column: str) -> str:
    return f"to_json({column})::text"


def named(column: str, kind: type[StrEnum]) -> Quoted:
    """A member of an enumeration, by its name."""
    assert all(member.name == member.value.upper() for member in kind)
    return Quoted(f"upper({column})")


def optional(written: str | Quoted) -> str:
    told = f"""'"' || {written.text} || '"'""" if isinstance(written, Quoted) else written
    return f"coalesce({told}, 'null')"


_CURSOR_TEXT: Final = Quoted("translate(encode(uuid_send(id), 'base64'), '+/=', '-_')")


async def write_page(
    conn: asyncpg.Connection[Any], columns: Columns, wanted: Wanted, listed: Listed, first: int, *,
    told: bool, seen: Mapping[str, Predicate],
) -> Written:  # fmt: skip
    """The page of `first` items of `listed`.

    With `told` also whose the rows are. `seen` says, by kind, what the reader may see of the things that rows name.
    """
    conditions = tuple(seen[link.edge.noun.kind] for link in wanted.links)
    texts = tuple((each.text, len(each.values)) for each in conditions)
    here = listed.paged(first)
    values = here.given(first)
    query = written(columns, wanted, here.statement, len(values), texts, told=told)
    found = await conn.fetch(query, *values, *(value for each in conditions for value in each.values))
    rows = in_order(found[:first], first)
    return Written(
        lists=tuple(",".join([row[number] for row in rows]) for number in range(len(wanted.lists))),
        has_more=len(found) > len(rows),
        ends=(rows[0]["id"], rows[-1]["id"]) if wanted.ends and rows else None,
        shown=tuple(Shown(row["id"], tuple(row[each] for each in columns.parties)) for row in rows) if told else (),
        rows=len(rows),
        linked=_owners(wanted.links, rows),
    )


async def write_one(
    conn: asyncpg.Connection[Any], columns: Columns, wanted: WantedOne, statement: str, id: UUID,  # noqa: A002
    seen: Mapping[str, Predicate],
) -> One | None:  # fmt: skip
    """The thing that `statement` finds by its id, if there is one; `seen` as above."""
    conditions = tuple(seen[link.edge.noun.kind] for link in wanted.links)
    texts = tuple((each.text, len(each.values)) for each in conditions)
    query = written_one(columns, wanted, statement, texts)
    row = await conn.fetchrow(query, id, *(value for each in conditions for value in each.values))
    if row is None:
        return None
    return One(row["told"], tuple(row[column] for column in columns.parties), _owners(wanted.links, [row]))


def _owners(links: Sequence[Linked], rows: Sequence[Mapping[str, Any]]) -> dict[str, dict[UUID, UUID]]:
    """By kind, of what `links` led to, the owner of each by id."""
    found: dict[str, dict[UUID, UUID]] = {}
    for number, link in enumerate(links):
        if _is_owned(link.edge.noun):
            id, owner = f"id_{number}", f"owner_{number}"  # noqa: A001
            owners = found.setdefault(link.edge.noun.kind, {})
            owners.update((row[id], row[owner]) for row in rows if row[id] is not None)
    return found


def _is_owned(noun: Noun) -> bool:
    return noun.place is not None


Texts = tuple[tuple[str, int], ...]  #: of a predicate for each link: its text, and how many values it has


@lru_cache(maxsize=512)
def written(columns: Columns, wanted: Wanted, statement: str, given: int, seen: Texts, *, told: bool) -> str:
    """The statement that writes the rows of `statement`, in its order, one text for each list that is wanted.

    It has `given` values; those of `seen` follow. Rows are sent one by one, so that they are read while others are yet
    to be written; put together in PostgreSQL they are there later by a third.
    """
    parts = [f"{_object(members, columns, wanted.links)} as list_{n}" for n, members in enumerate(wanted.lists)]
    parts += _owned(wanted.links)
    if wanted.ends or told or not parts:
        parts.append("id")
    if told:
        parts += columns.parties
    if not wanted.links:
        return f"select {', '.join(parts)} from ({statement}) page"
    page = f"(select *, row_number() over () as n from ({statement}) found) page"  # a join may lose the order
    return f"select {', '.join(parts)} from {page}{_joins(wanted.links, seen, given)} order by n"


@lru_cache(maxsize=512)
def written_one(columns: Columns, wanted: WantedOne, statement: str, seen: Texts) -> str:
    """The statement that writes what `statement` finds, which has one value; those of `seen` follow."""
    parts = [f"{_object(wanted.members, columns, wanted.links)} as told", *columns.parties, *_owned(wanted.links)]
    return f"select {', '.join(parts)} from ({statement}) page{_joins(wanted.links, seen, 1)}"


def _owned(links: Sequence[Linked]) -> list[str]:
    """Of what `links` lead to, columns that say whose it is."""
    return [f"id_{n}, owner_{n}" for n, link in enumerate(links) if _is_owned(link.edge.noun)]


def _joins(links: Sequence[Linked], seen: Texts, given: int) -> str:
    """What edges lead to, joined to `page`. Names of its own columns mean those, of no others."""
    joins = []
    for number, (link, (text, values)) in enumerate(zip(links, seen, strict=True)):
        noun = link.edge.noun
        marks = [f"${given + 1 + n}" for n in range(values)]
        given += values
        parts = [f"{_object(link.members, noun.columns, ())} as told_{number}"]
        if _is_owned(noun):
            parts.append(f"{noun.key} as id_{number}, {noun.columns.parties[0]} as owner_{number}")
        found = f"{noun.key} = page.{link.edge.column} and {text.format(*marks, **(noun.place or {}))}"
        joins.append(
            f" left join lateral (select {', '.join(parts)} from {noun.table} where {found}) link_{number} on true"
        )
    return "".join(joins)


def _object(members: Members, columns: Columns, links: Sequence[Linked]) -> str:
    """SQL that writes one object."""
    parts = _joined([*_parts(members, columns, links)])
    while len(parts) > _MOST_PARTS:
        parts = [_concat(parts[start : start + _MOST_PARTS]) for start in range(0, len(parts), _MOST_PARTS)]
    return _concat(parts)


def _parts(members: Members, columns: Columns, links: Sequence[Linked]) -> Iterator[str | Fixed]:
    """What stands in an object: texts that are the same in every row, and the SQL of those that are not."""
    opening = "{"
    for name, value in members:
        yield Fixed(f'{opening}"{name}":')
        match value:
            case Fixed():
                yield Fixed(f'"{value.text}"')
            case str():
                yield from _attribute(_CURSOR_TEXT if value == CURSOR else columns.texts[value])
            case Linked():
                yield optional(f"told_{links.index(value)}")
            case _:
                yield from _parts(value, columns, links)
        opening = ","
    yield Fixed("}")


def _attribute(text: str | Quoted) -> Iterator[str | Fixed]:
    if isinstance(text, str):
        yield text
        return
    yield Fixed('"')
    yield text.text
    yield Fixed('"')


def _joined(parts: Iterable[str | Fixed]) -> list[str]:
    """As SQL, texts that follow each other in one."""
    joined: list[str] = []
    standing = ""
    for part in parts:
        if isinstance(part, Fixed):
            standing += part.text
            continue
        joined += [_quoted(standing), part]
        standing = ""
    return [*joined, _quoted(standing)]


def _quoted(text: str) -> str:
    doubled = text.replace("'", "''")
    return f"'{doubled}'"


def _concat(parts: Sequence[str]) -> str:
    return f"concat({', '.join(parts)})"
