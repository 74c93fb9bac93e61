"""Everybody who has access, in PostgreSQL: who registered them, until when, and when they last left a trace."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sharewell.domain.clients import Purpose
from sharewell.domain.principals import Role
from sharewell.domain.review import Holder, Registration
from sharewell.store.paging import COUNTED, LIMIT, OLDEST, From, Listed, Total, counting

if TYPE_CHECKING:
    from datetime import datetime
    from uuid import UUID

    import asyncpg

_SEEN = """left join lateral (
    select d.at from audit.decision d where d.actor = {actor} and d.at <= $2 order by d.at desc, d.id desc limit 1
  ) seen on true"""
#: Those behind the client id $1 that were registered by the time $2, and what they left on record until then.
CLIENTS = f"""
select 'client' as holder, c.client_id as id, c.name, c.roles, c.scopes, c.institution, c.created_at,
       made.actor as created_by, c.expires_at, ended.at as disabled_at, seen.at as last_entry, false as invited,
       c.sender_constrained, c.purposes, c.jurisdiction
  from oauth.client c join audit.decision made on made.id = c.decision_id
  left join audit.decision ended on ended.id = c.disabled_by
  {_SEEN.format(actor="c.client_id")}
 where c.client_id > $1 and c.created_at <= $2 order by c.client_id limit $3
"""
#: The same of people, behind the id $1.
PEOPLE = f"""
select 'person' as holder, p.id::text as id, p.name, p.roles, array[]::text[] as scopes, p.institution, p.created_at,
       made.actor as created_by, null::timestamptz as expires_at, ended.at as disabled_at, seen.at as last_entry,
       (select last.kind from audit.decision last where last.subject_kind = 'person' and last.subject_id = p.id::text
           and last.kind in ('person.enrolled', 'person.invited_again') and last.at <= $2
         order by last.staged_id desc limit 1) is distinct from 'person.enrolled' as invited,
       false as sender_constrained, array[]::text[] as purposes, p.jurisdiction
  from oauth.person p join audit.decision made on made.id = p.decision_id
  left join audit.decision ended on ended.id = p.disabled_by
  {_SEEN.format(actor="'person/' || p.id")}
 where p.id > $1 and p.created_at <= $2 order by p.id limit $3
"""


class ReviewRepository:
    """Registrations as a review wants them."""

    def __init__(self, conn: asyncpg.Connection[Any]) -> None:
        self._conn = conn

    async def clients(self, after: str, at: datetime, first: int) -> list[Registration]:
        """At most `first`, by client id; from the last before `after` on where they are read backwards."""
        return await self._read(CLIENTS, From(after, ""), at, first)

    async def people(self, after: UUID, at: datetime, first: int) -> list[Registration]:
        """The same by their random ids."""
        return await self._read(PEOPLE, From(after, OLDEST), at, first)

    async def _read(self, statement: str, after: From, at: datetime, first: int) -> list[Registration]:
        asked = Listed(statement, (after, at, LIMIT)).paged(first)
        rows = await self._conn.fetch(asked.statement, *asked.given(first - 1))  # not one more than `first`
        return [_registration(row) for row in rows]

    async def total(self, at: datetime) -> Total:
        """How many clients and people there were."""
        clients = await self._conn.fetchval(counting(CLIENTS), "", at, COUNTED + 1)
        people = await self._conn.fetchval(counting(PEOPLE), OLDEST, at, COUNTED + 1)
        return Total.of(clients + people)


def _registration(row: asyncpg.Record) -> Registration:
    return Registration(**{
        **row, "holder": Holder(row["holder"]), "roles": frozenset(map(Role, row["roles"])),
        "scopes": tuple(row["scopes"]), "purposes": tuple(map(Purpose, row["purposes"])),
        "jurisdiction": tuple(row["jurisdiction"]),
    })  # fmt: skip
