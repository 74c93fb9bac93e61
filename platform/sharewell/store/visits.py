"""Visits of people who change what signs in, in PostgreSQL."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from datetime import datetime
    from uuid import UUID

    import asyncpg

# Each new visit sweeps away a few that are over.
BEGIN = """
with old as (select hash from oauth.visit where exp < $4 order by exp limit 8 for update skip locked),
     swept as (delete from oauth.visit v using old where v.hash = old.hash)
insert into oauth.visit (hash, person, by_code, exp)
select $1, id, $3, $5 from oauth.person where id = $2 and status = 'active' returning true
"""
BY_HASH = "select person, by_code from oauth.visit where hash = $1 and exp > $2"
NEXT = "update oauth.visit set hash = $2 where hash = $1 returning true"
END_OTHERS = "delete from oauth.visit where person = $1 and hash <> $2"
END_ALL = "delete from oauth.visit where person = $1"
# One change of a person at a time, so that a bound on how many there are holds.
LOCK = "select id from oauth.person where id = $1 and status = 'active' for update"


@dataclass(frozen=True, slots=True, kw_only=True)
class Visit:
    """Whose visit it is, and how the person signed in."""

    person: UUID
    by_code: bool  #: with password and code, not with a passkey


class VisitRepository:
    """Every visit that is not over."""

    def __init__(self, conn: asyncpg.Connection[Any]) -> None:
        self._conn = conn

    async def begin(self, hash: bytes, visit: Visit, *, at: datetime, until: datetime) -> bool:  # noqa: A002
        """Store it; False where the person cannot sign in any more."""
        return bool(await self._conn.fetchval(BEGIN, hash, visit.person, visit.by_code, at, until))

    async def find(self, hash: bytes, *, at: datetime) -> Visit | None:  # noqa: A002
        row = await self._conn.fetchrow(BY_HASH, hash, at)
        return None if row is None else Visit(**row)

    async def lock(self, person: UUID) -> bool:
        """Keep everybody else from changing the person until the transaction ends; False where it cannot sign in."""
        return await self._conn.fetchval(LOCK, person) is not None

    async def go_on(self, person: UUID, old: bytes, new: bytes) -> bool:
        """After a change: the visit `old` is called `new`, all others of the person are over. False: so was it."""
        if not await self._conn.fetchval(NEXT, old, new):
            return False
        await self._conn.execute(END_OTHERS, person, new)
        return True

    async def end_all(self, person: UUID) -> None:
        await self._conn.execute(END_ALL, person)
