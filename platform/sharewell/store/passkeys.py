"""Passkeys and the challenges they answer, in PostgreSQL."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sharewell.domain.errors import Conflict, NotFound

if TYPE_CHECKING:
    from datetime import datetime
    from uuid import UUID

    import asyncpg

ADD = """
insert into oauth.passkey (id, person, credential, sign_count, created_at, decision_id, name)
values ($1, $2, $3, $4, $5, $6, $7) on conflict (id) do nothing returning true
"""
BY_ID = "select person, credential, sign_count from oauth.passkey where id = $1"
# Of two that count alike at the same moment one is let in; an authenticator that does not count always says 0.
COUNT = """
update oauth.passkey set sign_count = $2, last_used_at = $3
 where id = $1 and (sign_count < $2 or (sign_count = 0 and $2 = 0)) returning true
"""
OF_PERSON = """
select decision_id as added_by, id, name, created_at, last_used_at from oauth.passkey
 where person = $1 order by created_at, decision_id
"""
REMOVE = "delete from oauth.passkey where person = $1 and decision_id = $2 returning true"
REMOVE_ALL = "delete from oauth.passkey where person = $1"
ASK = """
with old as (select hash from oauth.challenge where exp < $2 order by exp limit 8),
     swept as (delete from oauth.challenge c using old where c.hash = old.hash)
insert into oauth.challenge (hash, exp) values ($1, $3)
"""
ANSWER = "delete from oauth.challenge where hash = $1 and exp > $2 returning true"


@dataclass(frozen=True, slots=True, kw_only=True)
class Passkey:
    """Whose passkey it is, and what its signatures are checked against."""

    person: UUID
    credential: bytes  #: WebAuthn, 6.5.2: attested credential data, with id and public key
    sign_count: int  #: of its last use


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnPasskey:
    """A passkey as its owner sees it."""

    added_by: UUID  #: the decision by which it was added; no two share one
    id: bytes  #: the credential id
    name: str
    created_at: datetime
    last_used_at: datetime | None


class PasskeyRepository:
    """Every passkey."""

    def __init__(self, conn: asyncpg.Connection[Any]) -> None:
        self._conn = conn

    async def add(self, id: bytes, passkey: Passkey, at: datetime, decision: UUID, name: str) -> None:  # noqa: A002
        """Store it; raises `Conflict` where its id is taken."""
        if not await self._conn.fetchval(
            ADD, id, passkey.person, passkey.credential, passkey.sign_count, at, decision, name
        ):
            raise Conflict("this passkey is registered already; make another.", field="passkey")

    async def find(self, id: bytes) -> Passkey | None:  # noqa: A002
        row = await self._conn.fetchrow(BY_ID, id)
        return None if row is None else Passkey(**row)

    async def of(self, person: UUID) -> list[OwnPasskey]:
        """All that `person` has, the oldest first."""
        return [OwnPasskey(**row) for row in await self._conn.fetch(OF_PERSON, person)]

    async def count(self, id: bytes, sign_count: int, at: datetime) -> bool:  # noqa: A002
        """Note how often it signed, and when last; False where it signed as often, or more often, before."""
        return bool(await self._conn.fetchval(COUNT, id, sign_count, at))

    async def remove(self, person: UUID, added_by: UUID) -> None:
        """Raises `NotFound` where `person` has no such passkey."""
        if not await self._conn.fetchval(REMOVE, person, added_by):
            raise NotFound("You have no such passkey; it may be removed already.", field="remove")

    async def remove_all(self, person: UUID) -> None:
        await self._conn.execute(REMOVE_ALL, person)

    async def ask(self, hash: bytes, *, at: datetime, until: datetime) -> None:  # noqa: A002
        """A challenge is out."""
        await self._conn.execute(ASK, hash, at, until)

    async def answered(self, hash: bytes, *, at: datetime) -> bool:  # noqa: A002
        """Use a challenge up: True the first time only."""
        return bool(await self._conn.fetchval(ANSWER, hash, at))
