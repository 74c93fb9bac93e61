"""Many rows in few statements. COPY would be quicker, but PostgreSQL has none for tables behind row-level security."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any

import orjson

if TYPE_CHECKING:
    import asyncpg

AT_ONCE = 5_000  #: rows of one statement


async def add_rows(
    conn: asyncpg.Connection[Any], table: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]
) -> None:
    """Add `rows` of values in the order of `columns`; numbers come out as they went in, to the last bit."""
    names, left = ", ".join(columns), iter(rows)
    statement = f"""
insert into {table} ({names})
  select {names} from json_populate_recordset(null::{table}, $1::text::json)
"""
    while some := list(islice(left, AT_ONCE)):
        body = orjson.dumps([dict(zip(columns, row, strict=True)) for row in some], default=str)
        await conn.execute(statement, body.decode())
