"""Visits of people who change what signs in, in PostgreSQL."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from datetime import datetime
    from uuid import UUID

    import asyncpg

# Each new visit sweeps away a few that are over.
BEGIN = """
with old as (select hash from oauth.visit where exp < $4 order by exp limit 8 for update skip locked),
     swept as (delete from oauth.visit v using old where v.hash = old.hash)
insert into oauth.visit (hash, person, by_code, exp) values ($1, $2, $3, $5)
"""
BY_HASH = "select person, by_code, totp_secret from oauth.visit where hash = $1 and exp > $2"
SET_KEY = "update oauth.visit set totp_secret = $2 where hash = $1"
NEXT = "update oauth.visit set hash = $2, totp_secret = null where hash = $1 returning true"
END_OTHERS = "delete from oauth.visit where person = $1 and hash <> $2"
END_ALL = "delete from oauth.visit where person = $1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Visit:
    """Whose visit it is, and how the person signed in."""

    person: UUID
    by_code: bool  #: with password and code, not with a passkey
    totp_secret: str | None = field(default=None, repr=False)  #: of an authenticator app that is being set up


class VisitRepository:
    """Every visit that is not over."""

    def __init__(self, conn: asyncpg.Connection[Any]) -> None:
        self._conn = conn

    async def begin(self, hash: bytes, visit: Visit, *, at: datetime, until: datetime) -> None:  # noqa: A002
        await self._conn.execute(BEGIN, hash, visit.person, visit.by_code, at, until)

    async def find(self, hash: bytes, *, at: datetime) -> Visit | None:  # noqa: A002
        row = await self._conn.fetchrow(BY_HASH, hash, at)
        return None if row is None else Visit(**row)

    async def set_key(self, hash: bytes, totp_secret: str) -> None:  # noqa: A002
        """The key of an authenticator app that is about to be set up."""
        await self._conn.execute(SET_KEY, hash, totp_secret)

    async def go_on(self, person: UUID, old: bytes, new: bytes) -> bool:
        """After a change: the visit `old` is called `new`, all others of the person are over. False: so was it."""
        if not await self._conn.fetchval(NEXT, old, new):
            return False
        await self._conn.execute(END_OTHERS, person, new)
        return True

    async def end_all(self, person: UUID) -> None:
        await self._conn.execute(END_ALL, person)
