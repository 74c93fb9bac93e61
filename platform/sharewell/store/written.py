"""Pages that PostgreSQL itself writes as JSON: where a reader is shown columns as they are, no object is made of a row.

What is written is what the API writes of the same values: times in UTC with six places or none, names of enumerations
in capitals, identifiers and numbers as they are.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

if TYPE_CHECKING:
    import asyncpg

#: The members of a JSON object, by name: an attribute of the row, or an object of its own. `Fixed` is the same for all.
Members = tuple[tuple[str, "str | Fixed | Members"], ...]
CURSOR: Final = "cursor"  #: the attribute that every row has: its place in the list
_MOST_PARTS: Final = 80  #: of one text; PostgreSQL takes a hundred arguments
_CURSOR_TEXT: Final = """'"' || translate(encode(uuid_send(id), 'base64'), '+/=', '-_') || '"'"""


@dataclass(frozen=True, slots=True)
class Fixed:
    """A text that stands in every row."""

    text: str


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is to be written of a page: each list with the members of its objects."""

    lists: tuple[Members, ...]
    ends: bool = False  #: also the ids of the first row and the last


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


@dataclass(frozen=True, slots=True)
class Columns:
    """How the attributes of a noun are written, and in which columns stands whose a row is."""

    texts: Mapping[str, str]  #: by attribute, SQL that gives its JSON as a text and never null
    parties: tuple[str, ...]

    def __hash__(self) -> int:  # there is one for each noun, and it stays
        return id(self)


def uuid(column: str) -> str:
    return f"""'"' || {column} || '"'"""


def text(column: str) -> str:
    return f"to_json({column})::text"


def number(column: str) -> str:
    return f"({column})::text"


def degrees(column: str) -> str:
    return f"case when {column} = trunc({column}) then {column}::text || '.0' else {column}::text end"


def moment(column: str) -> str:
    return rf"""replace(to_char({column} at time zone 'UTC', '\"YYYY-MM-DD"T"HH24:MI:SS.US"Z"\"'), '.000000', '')"""


def day(column: str) -> str:
    return f"to_json({column})::text"


def named(column: str, kind: type[StrEnum]) -> str:
    """A member of an enumeration, by its name."""
    assert all(member.name == member.value.upper() for member in kind)
    return f"""'"' || upper({column}) || '"'"""


def optional(written: str) -> str:
    return f"coalesce({written}, 'null')"


async def write_page(
    conn: asyncpg.Connection[Any], columns: Columns, wanted: Wanted, statement: str, values: Sequence[Any], *,
    limit: int, told: bool,
) -> Written:  # fmt: skip
    """The page of `statement`, whose value number `limit` is one more than the page may have.

    With `told` also whose the rows are.
    """
    (row,) = await conn.fetch(written(columns, wanted, statement, limit, told=told), *values)
    whose = zip(row["ids"], *(row[f"all_{column}"] for column in columns.parties), strict=True) if told else ()
    return Written(
        lists=tuple(row[f"list_{number}"] for number in range(len(wanted.lists))),
        has_more=row["found"] == values[limit - 1],
        ends=(row["opening"], row["closing"]) if wanted.ends and row["found"] else None,
        shown=tuple(Shown(id, tuple(parties)) for id, *parties in whose),  # noqa: A001
    )


@lru_cache(maxsize=512)
def written(columns: Columns, wanted: Wanted, statement: str, limit: int, *, told: bool) -> str:
    """The statement that writes the page of `statement`. Rows are numbered, and put together, in its order."""
    on_page = f"order by n) filter (where n < ${limit}"
    parts = [
        f"coalesce(string_agg({_object(members, columns)}, ',' {on_page}), '') as list_{number}"
        for number, members in enumerate(wanted.lists)
    ]
    parts.append("count(*)::integer as found")
    if wanted.ends:
        ids = f"(array_agg(id {on_page}))"
        parts.append(f"{ids}[1] as opening, {ids}[least(count(*), ${limit} - 1)::integer] as closing")
    if told:
        parts.append(f"coalesce(array_agg(id {on_page}), '{{}}') as ids")
        parts.extend(f"coalesce(array_agg({each} {on_page}), '{{}}') as all_{each}" for each in columns.parties)
    return f"select {', '.join(parts)} from (select *, row_number() over () as n from ({statement}) found) page"


def _object(members: Members, columns: Columns) -> str:
    """SQL that writes one object."""
    parts = _joined([*_parts(members, columns)])
    while len(parts) > _MOST_PARTS:
        parts = [_concat(parts[start : start + _MOST_PARTS]) for start in range(0, len(parts), _MOST_PARTS)]
    return _concat(parts)


def _parts(members: Members, columns: Columns) -> Iterator[str | Fixed]:
    """What stands in an object: texts that are the same in every row, and the SQL of those that are not."""
    opening = "{"
    for name, value in members:
        yield Fixed(f'{opening}"{name}":')
        match value:
            case Fixed():
                yield Fixed(f'"{value.text}"')
            case str():
                yield _CURSOR_TEXT if value == CURSOR else columns.texts[value]
            case _:
                yield from _parts(value, columns)
        opening = ","
    yield Fixed("}")


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
