"""Standing consents in PostgreSQL."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from sharewell.domain.consents import Consent
from sharewell.domain.errors import NotFound
from sharewell.domain.predicate import EVERYTHING, Predicate
from sharewell.store.paging import IN_TURN, LIMIT, NEWEST, SEEN, From, Listed, Page, Place, Sort, of_owner

if TYPE_CHECKING:
    from datetime import datetime
    from uuid import UUID

    import asyncpg

_COLUMNS = "id, institution_id, resource, given_at, until, withdrawn_at, decision_id"
ADD = f"insert into sharewell.consent ({_COLUMNS}) values ($1, $2, $3, $4, $5, $6, $7)"
WITHDRAW = "update sharewell.consent set withdrawn_at = $2, decision_id = $3 where id = $1"
BY_ID = f"select {_COLUMNS} from sharewell.consent where id = $1"
BY_ID_LOCKED = f"{BY_ID} for update"
#: Of each of these institutions, the consent that stands longest.
STANDING = f"""
select distinct on (institution_id) {_COLUMNS} from sharewell.consent
 where institution_id = any ($1::uuid[]) and resource = $2 and withdrawn_at is null and until > $3
 order by institution_id, until desc, id
"""
PAGE = f"""
select {_COLUMNS} from sharewell.consent
 where id < $1 and {SEEN} and ($2::uuid is null or institution_id = $2)
   and (not $3 or (withdrawn_at is null and until > $4))
 order by id desc limit $5
"""


OWNER = [of_owner("institution_id")]
#: What they can be ordered by; each is told to whoever sees the row.
SORTS: Final = {"given": IN_TURN, "until": Sort("until", "timestamptz", "until")}


class ConsentRepository:
    """Who lets what be confirmed in surge mode."""

    def __init__(self, conn: asyncpg.Connection[Any]) -> None:
        self._conn = conn

    async def add(self, consent: Consent, decision: UUID) -> None:
        c = consent
        await self._conn.execute(ADD, c.id, c.institution, c.resource, c.given_at, c.until, c.withdrawn_at, decision)

    async def withdraw(self, consent: Consent, decision: UUID) -> None:
        await self._conn.execute(WITHDRAW, consent.id, consent.withdrawn_at, decision)

    async def get(self, id: UUID, *, lock: bool = False) -> Consent:  # noqa: A002
        row = await self._conn.fetchrow(BY_ID_LOCKED if lock else BY_ID, id)
        if row is None:
            raise NotFound(f"no consent has the id {id}.", field="consent")
        return _consent(row)

    async def standing(self, institutions: list[UUID], resource: str, at: datetime) -> dict[UUID, Consent]:
        """By institution, the consents that stand at `at`."""
        rows = await self._conn.fetch(STANDING, institutions, resource, at)
        return {row["institution_id"]: _consent(row) for row in rows}

    async def page(
        self, *, before: UUID, institution: UUID | None, only_standing: bool, at: datetime, first: int,
        seen: Predicate = EVERYTHING, place: Place | None = None,
    ) -> Page[Consent]:  # fmt: skip
        """Newest first, or in the order of `place`."""
        asked = Listed(PAGE, (From(before, NEWEST), institution, only_standing, at, LIMIT)).seen(seen, OWNER)
        return await asked.page(self._conn, _consent, first, place)


def _consent(row: asyncpg.Record) -> Consent:
    return Consent(
        id=row["id"], institution=row["institution_id"], resource=row["resource"], given_at=row["given_at"],
        until=row["until"], withdrawn_at=row["withdrawn_at"], changed_by=row["decision_id"],
    )  # fmt: skip
