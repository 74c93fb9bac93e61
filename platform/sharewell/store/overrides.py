"""Overrides in PostgreSQL; they are only ever added."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from sharewell.domain.errors import NotFound
from sharewell.domain.overrides import Override, OverrideCode, OverrideKind
from sharewell.domain.predicate import EVERYTHING, Predicate
from sharewell.store.paging import LIMIT, NEWEST, SEEN, From, Listed, Page, of_owner

if TYPE_CHECKING:
    from uuid import UUID

    import asyncpg

_COLUMNS = """id, kind, code, transfer_id, request_id, replacement_id, giver_id, receiver_id, client, made_at,
  decision_id"""
ADD = f"""
insert into sharewell.override ({_COLUMNS}) values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
"""
BY_ID = f"select {_COLUMNS} from sharewell.override where id = $1"
BY_IDS = f"select {_COLUMNS} from sharewell.override where id = any ($1::uuid[])"
PAGE = f"""
select {_COLUMNS} from sharewell.override
 where id < $1 and {SEEN} and ($2::uuid is null or giver_id = $2 or receiver_id = $2)
   and ($3::text is null or code = $3)
 order by id desc limit $4
"""
REMARKS = """
select o.id, r.body from sharewell.override o join sharewell.remark r using (decision_id) where o.id = any ($1::uuid[])
"""
BY_CODE = """
select kind, code, client, count(*)::integer as overrides from sharewell.override
 where made_at >= $1 and made_at < $2 and ($3::uuid is null or giver_id = $3)
 group by kind, code, client order by overrides desc, kind, code, client limit 1000
"""


#: An override belongs to either party.
EITHER = [of_owner("giver_id"), of_owner("receiver_id")]


@dataclass(frozen=True, slots=True)
class OverrideCount:
    """How often one client gave one code for one kind of departure."""

    kind: OverrideKind
    code: OverrideCode
    client: str
    overrides: int


class OverrideRepository:
    """Departures on purpose."""

    def __init__(self, conn: asyncpg.Connection[Any]) -> None:
        self._conn = conn

    async def add(self, override: Override) -> None:
        o = override
        await self._conn.execute(
            ADD, o.id, o.kind, o.code, o.transfer, o.request, o.replacement, o.giver, o.receiver, o.client, o.made_at,
            o.decision,
        )  # fmt: skip

    async def get(self, id: UUID) -> Override:  # noqa: A002
        row = await self._conn.fetchrow(BY_ID, id)
        if row is None:
            raise NotFound(f"no override has the id {id}.", field="override")
        return _override(row)

    async def by_ids(self, ids: list[UUID]) -> list[Override]:
        return [_override(row) for row in await self._conn.fetch(BY_IDS, ids)]

    async def page(
        self, *, before: UUID, party: UUID | None, code: str | None, first: int, seen: Predicate = EVERYTHING
    ) -> Page[Override]:
        """Newest first."""
        asked = Listed(PAGE, (From(before, NEWEST), party, code, LIMIT)).seen(seen, EITHER)
        return await asked.page(self._conn, _override, first)

    async def remarks(self, ids: list[UUID]) -> dict[UUID, str]:
        """What was written about these, by override; those without a remark are left out."""
        return {row["id"]: row["body"] for row in await self._conn.fetch(REMARKS, ids)}

    async def by_code(self, since: datetime, until: datetime, giver: UUID | None) -> list[OverrideCount]:
        """How often which code was given in a window, most frequent first."""
        rows = await self._conn.fetch(BY_CODE, since, until, giver)
        return [OverrideCount(OverrideKind(kind), OverrideCode(code), *rest) for kind, code, *rest in rows]


def _override(row: asyncpg.Record) -> Override:
    return Override(
        id=row["id"], kind=OverrideKind(row["kind"]), code=OverrideCode(row["code"]), transfer=row["transfer_id"],
        request=row["request_id"], replacement=row["replacement_id"], giver=row["giver_id"],
        receiver=row["receiver_id"], client=row["client"], made_at=row["made_at"], decision=row["decision_id"],
    )  # fmt: skip
