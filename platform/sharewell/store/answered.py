"""Idempotency keys: what was answered to which, kept in the transaction that did the work."""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from uuid import UUID

import orjson

from sharewell.domain.errors import IdempotencyConflict

if TYPE_CHECKING:
    from datetime import datetime

    import asyncpg

    from sharewell.domain.subjects import Person

#: Waits for another transaction that holds the same key, so of two at once one works and one repeats its answer.
#: The standing of the caller's institution is asked for in the same round trip: every write needs both.
CLAIM = """
with claimed as (
  insert into sharewell.answered (principal, key, operation, input_sha256, answered_at) values ($1, $2, $3, $4, $5)
  on conflict do nothing returning true as ours
)
select (select ours from claimed) as ours, (select status from sharewell.institution where id = $6) as standing
"""
ANSWER = "select operation, input_sha256, answer::text from sharewell.answered where principal = $1 and key = $2"
KEEP = "update sharewell.answered set answer = $3::text::jsonb where principal = $1 and key = $2"


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """One thing a caller wants done once, however often it asks."""

    key: str
    operation: str
    input_sha256: str  #: says nothing of the person: a hash would outlive an erasure, and confirm a guess
    on_behalf_of: Person | None = None  #: never stored here
    if_changed_by: UUID | None = None  #: the decision that changed the thing last when the caller read it
    if_none: bool = False  #: there was no such thing when the caller looked


class AnsweredRepository:
    """The keys one principal has used."""

    def __init__(self, conn: asyncpg.Connection[Any]) -> None:
        self._conn = conn

    async def claim(
        self, principal: str, wish: Wish, at: datetime, institution: UUID | None
    ) -> tuple[Any | None, str | None]:
        """The answer given before, or None when the work is ours to do now; and the standing of `institution`.

        Raises `IdempotencyConflict` when the key was used for something else.
        """
        ours, standing = await self._conn.fetchrow(  # type: ignore[misc]  # it always answers
            CLAIM, principal, wish.key, wish.operation, wish.input_sha256, at, institution
        )
        if ours:
            return None, standing
        return await self.find(principal, wish), standing

    async def find(self, principal: str, wish: Wish) -> Any | None:
        """The answer given before, claiming nothing; None where there is none. Raises as `claim`."""
        row = await self._conn.fetchrow(ANSWER, principal, wish.key)
        if row is None:
            return None
        if (row["operation"], row["input_sha256"]) != (wish.operation, wish.input_sha256):
            raise IdempotencyConflict(field="idempotencyKey")
        return orjson.loads(row["answer"])

    async def keep(self, principal: str, wish: Wish, answer: Any) -> None:
        """Remember `answer`, nouns and all, for the next time the key comes."""
        await self._conn.execute(KEEP, principal, wish.key, orjson.dumps(answer, default=_plain).decode())


def _plain(value: object) -> object:
    """What orjson has no word for: asyncpg's ids, read-only mappings, and sets, in an order that is always the same."""
    if isinstance(value, UUID):
        return str(value)  # asyncpg has a class of its own for them
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, AbstractSet):
        return sorted(value)
    raise TypeError(f"{type(value).__name__} cannot be kept")
