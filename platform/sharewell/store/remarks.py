"""Remarks in PostgreSQL: the only place where what people typed beside a code is kept."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from uuid import UUID

    import asyncpg

    from sharewell.domain.remarks import Remark

ADD = "insert into sharewell.remark (decision_id, salt, body, subject_ref) values ($1, $2, $3, $4)"


class RemarkRepository:
    """What was written about decisions."""

    def __init__(self, conn: asyncpg.Connection[Any]) -> None:
        self._conn = conn

    async def add(self, decision: UUID, remark: Remark | None, subject: UUID | None) -> None:
        """Keep what was written about `decision`, if anything was; it goes when `subject`, who wrote it, is erased."""
        if remark is not None:
            await self._conn.execute(ADD, decision, remark.salt, remark.body, subject)
