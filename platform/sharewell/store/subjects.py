"""Keys of data subjects in PostgreSQL: wrapped, outside of the log, and gone for good when deleted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from uuid import UUID

from sharewell.domain.errors import NotFound

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    import asyncpg

LOOKUP_KEY = "select kek_id, wrapped from erasable.lookup_key"
ADD_LOOKUP_KEY = "insert into erasable.lookup_key (kek_id, wrapped) values ($1, $2) on conflict do nothing"
REWRAP_LOOKUP_KEY = "update erasable.lookup_key set kek_id = $1, wrapped = $2"

_KEY = "select subject_ref, institution, kek_id, wrapped, made_at, keep_until from erasable.subject_key"
#: Locked, so that an erasure waits for the act that seals under the key, and takes what it leaves along.
BY_LOOKUP_HELD = f"{_KEY} where lookup = $1 for key share"
BY_LOOKUP = f"{_KEY} where lookup = $1"
BY_REF = f"{_KEY} where subject_ref = $1"
BY_REF_LOCKED = f"{_KEY} where subject_ref = $1 for update"
#: Whose person it is or, where erased, was: an answer that is asked for again must be permitted again.
OWNER = """
select institution from erasable.subject_key where subject_ref = $1
union all select institution from audit.decision where kind = 'subject.erased' and subject_id = $1::uuid::text
"""
ADD = """
insert into erasable.subject_key (subject_ref, lookup, institution, kek_id, wrapped, made_at, keep_until)
values ($1, $2, $3, $4, $5, $6, $7) on conflict do nothing
"""
KEEP = "update erasable.subject_key set keep_until = $2 where subject_ref = $1"
DELETE = "delete from erasable.subject_key where subject_ref = any($1::uuid[])"
DUE = """
select subject_ref, institution from erasable.subject_key
 where keep_until <= $1 order by keep_until, subject_ref limit $2 for update skip locked
"""
UNDER = f"{_KEY} where kek_id = any($1::text[]) limit $2 for update skip locked"
REWRAP = "update erasable.subject_key set kek_id = $2, wrapped = $3 where subject_ref = $1"
KEKS = "select kek_id from erasable.subject_key union select kek_id from erasable.lookup_key order by 1"
ERASE_REMARK = "select erasable.erase_remark($1)"


@dataclass(frozen=True, slots=True, kw_only=True)
class SubjectKey:
    """The row of one data subject."""

    subject_ref: UUID
    institution: UUID | None  #: whose person it is; None where the program acted for no institution
    kek_id: str
    wrapped: bytes
    made_at: datetime
    keep_until: datetime


class SubjectRepository:
    """Whose details can still be read."""

    def __init__(self, conn: asyncpg.Connection[Any]) -> None:
        self._conn = conn

    async def lookup_key(self) -> tuple[str, bytes] | None:
        """Id of the wrapping key, and the wrapped key by which persons are found again."""
        row = await self._conn.fetchrow(LOOKUP_KEY)
        return None if row is None else (row["kek_id"], row["wrapped"])

    async def add_lookup_key(self, kek_id: str, wrapped: bytes) -> None:
        """Keep it, unless another process was first."""
        await self._conn.execute(ADD_LOOKUP_KEY, kek_id, wrapped)

    async def rewrap_lookup_key(self, kek_id: str, wrapped: bytes) -> None:
        await self._conn.execute(REWRAP_LOOKUP_KEY, kek_id, wrapped)

    async def find(self, lookup: bytes, *, hold: bool = False) -> SubjectKey | None:
        """By keyed hash; with `hold` it is not erased until the transaction has ended."""
        return _key(await self._conn.fetchrow(BY_LOOKUP_HELD if hold else BY_LOOKUP, lookup))

    async def get(self, subject: UUID, *, lock: bool = False) -> SubjectKey:
        """Raises `NotFound` where the key is gone or never was."""
        if (found := await self.by_ref(subject, lock=lock)) is None:
            raise NotFound("there is no key of this data subject; it is erased, or there never was one.")
        return found

    async def by_ref(self, subject: UUID, *, lock: bool = False) -> SubjectKey | None:
        return _key(await self._conn.fetchrow(BY_REF_LOCKED if lock else BY_REF, subject))

    async def owner(self, subject: UUID) -> UUID | None:
        """The institution whose person it is, or was."""
        owner: UUID | None = await self._conn.fetchval(OWNER, subject)
        return owner

    async def add(self, key: SubjectKey, lookup: bytes) -> None:
        """Keep a new key, unless another transaction was first with one for the same person."""
        await self._conn.execute(
            ADD, key.subject_ref, lookup, key.institution, key.kek_id, key.wrapped, key.made_at, key.keep_until
        )

    async def keep(self, subject: UUID, until: datetime) -> None:
        await self._conn.execute(KEEP, subject, until)

    async def delete(self, subjects: Sequence[UUID]) -> None:
        """The database refuses unless the entry of each erasure is staged in this transaction."""
        await self._conn.execute(DELETE, subjects)

    async def due(self, at: datetime, most: int) -> list[tuple[UUID, UUID | None]]:
        """Subjects, with their institution, whose time is over; locked, and those that others work on left out."""
        return [(row["subject_ref"], row["institution"]) for row in await self._conn.fetch(DUE, at, most)]

    async def under(self, keks: Sequence[str], most: int) -> list[SubjectKey]:
        """Keys that are wrapped by one of `keks`; locked, and those that others work on left out."""
        return [SubjectKey(**row) for row in await self._conn.fetch(UNDER, keks, most)]

    async def rewrap(self, subject: UUID, kek_id: str, wrapped: bytes) -> None:
        await self._conn.execute(REWRAP, subject, kek_id, wrapped)

    async def keks(self) -> list[str]:
        """Ids of the wrapping keys that something is still wrapped by."""
        return [row["kek_id"] for row in await self._conn.fetch(KEKS)]

    async def erase_remark(self, decision: UUID) -> bool:
        """Remove what was typed beside `decision`; tell whether there was anything."""
        return bool(await self._conn.fetchval(ERASE_REMARK, decision))


def _key(row: asyncpg.Record | None) -> SubjectKey | None:
    return None if row is None else SubjectKey(**row)
