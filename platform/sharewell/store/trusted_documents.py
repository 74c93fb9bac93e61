"""Trusted documents in PostgreSQL; the newest list of a client is in force."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson

from sharewell.domain.trusted_documents import TrustedDocuments

if TYPE_CHECKING:
    from uuid import UUID

    import asyncpg

ADD = """
insert into oauth.trusted_documents (decision_id, client_id, texts, trusted_at) values ($1, $2, $3::text::jsonb, $4)
"""
#: Of two that give a client lists at once, the second sees the list of the first.
ALONE = "select pg_advisory_xact_lock(hashtextextended('trusted documents ' || $1, 0))"
IN_FORCE = """
select client_id, texts, trusted_at, decision_id from oauth.trusted_documents
 where client_id = $1 order by decision_id desc limit 1
"""


class TrustedDocumentRepository:
    """What clients may send."""

    def __init__(self, conn: asyncpg.Connection[Any]) -> None:
        self._conn = conn

    async def add(self, trusted: TrustedDocuments, decision: UUID) -> None:
        texts = orjson.dumps(trusted.texts).decode()
        await self._conn.execute(ADD, decision, trusted.client_id, texts, trusted.trusted_at)

    async def alone(self, client_id: str) -> None:
        """Nobody else gives this client a list until the transaction ends."""
        await self._conn.execute(ALONE, client_id)

    async def in_force(self, client_id: str) -> TrustedDocuments | None:
        """The newest list; None where none was ever given."""
        row = await self._conn.fetchrow(IN_FORCE, client_id)
        if row is None:
            return None
        return TrustedDocuments(
            client_id=row["client_id"], texts=orjson.loads(row["texts"]), trusted_at=row["trusted_at"],
            changed_by=row["decision_id"],
        )  # fmt: skip
