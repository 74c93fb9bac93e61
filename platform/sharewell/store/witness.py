"""What this node remembers as a witness of other logs, and what it refused to cosign. Nothing here ever goes back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sharewell.store.paging import LIMIT, From, Listed, Page

if TYPE_CHECKING:
    from datetime import datetime

    import asyncpg

#: One request about a log at a time, the first one ever included.
LOCK_ORIGIN = "select pg_advisory_xact_lock(hashtextextended($1, 5))"
HEAD_OF = "select origin, size, root, note, cosigned_at from witness.head where origin = $1"
HEAD_LIST = "select origin, size, root, note, cosigned_at from witness.head order by origin"
KEEP_HEAD = """
insert into witness.head (origin, size, root, note, cosigned_at) values ($1, $2, $3, $4, $5)
  on conflict (origin) do update
    set size = excluded.size, root = excluded.root, note = excluded.note, cosigned_at = excluded.cosigned_at
"""
ADD_REFUSAL = """
insert into witness.refusal (at, origin, reason, request, known_size, known_note, note_sha256)
  values ($1, $2, $3, $4, $5, $6, sha256($7)) on conflict do nothing
"""
REFUSALS = """
select id, at, origin, reason, request, known_size, known_note from witness.refusal
 where id < $1 and ($2::text is null or origin = $2) order by id desc limit $3
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class WitnessedHead:
    """The largest tree of a log that this node cosigned."""

    origin: str
    size: int
    root: bytes
    note: bytes  #: with the log's signature and ours
    cosigned_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """A checkpoint that a log signed and this node did not cosign."""

    id: int
    at: datetime
    origin: str
    reason: str  #: fork or rollback
    request: bytes  #: the whole body, as it was sent
    known_size: int  #: what was cosigned before
    known_note: bytes


class WitnessRepository:
    """Heads and refusals."""

    def __init__(self, conn: asyncpg.Connection[Any]) -> None:
        self._conn = conn

    async def head_locked(self, origin: str) -> WitnessedHead | None:
        """What was cosigned last, with nobody else at this log until the transaction ends."""
        await self._conn.execute(LOCK_ORIGIN, origin)
        return await self.head(origin)

    async def head(self, origin: str) -> WitnessedHead | None:
        row = await self._conn.fetchrow(HEAD_OF, origin)
        return None if row is None else WitnessedHead(**row)

    async def heads(self) -> list[WitnessedHead]:
        return [WitnessedHead(**row) for row in await self._conn.fetch(HEAD_LIST)]

    async def keep(self, head: WitnessedHead) -> None:
        await self._conn.execute(KEEP_HEAD, head.origin, head.size, head.root, head.note, head.cosigned_at)

    async def refuse(self, refusal: Refusal, note: bytes) -> None:
        """Keep the evidence; the same checkpoint is kept once, however often it is sent. `refusal.id` is not used."""
        r = refusal
        await self._conn.execute(
            ADD_REFUSAL, r.at, r.origin, r.reason, r.request, r.known_size, r.known_note, note
        )  # fmt: skip

    async def refusals(self, *, before: int, origin: str | None, first: int) -> Page[Refusal]:
        """Newest first, with ids below `before`."""
        asked = Listed(REFUSALS, (From(before, 2**63 - 1), origin, LIMIT))
        return await asked.page(self._conn, lambda row: Refusal(**row), first)
