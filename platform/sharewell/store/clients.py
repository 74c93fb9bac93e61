"""OAuth clients and the assertions they have used up, in PostgreSQL."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from asyncpg import UniqueViolationError

from sharewell.domain.clients import Client, ClientStatus, Edition, Purpose, RateClass
from sharewell.domain.errors import Conflict, NotFound, quoted
from sharewell.domain.predicate import EVERYTHING, Predicate
from sharewell.domain.principals import Role
from sharewell.store.paging import LIMIT, SEEN, From, Listed, Page, Place, Sort, of_owner

if TYPE_CHECKING:
    from datetime import datetime
    from uuid import UUID

    import asyncpg

_COLUMNS = (
    "client_id, name, roles, scopes, jwks, institution, status, expires_at, created_at, jwks_uri, redirect_uris, "
    "rate_class, sender_constrained, purposes, jurisdiction"
)
ADD = f"""
insert into oauth.client ({_COLUMNS}, decision_id)
values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)
"""
BY_ID = f"select {_COLUMNS} from oauth.client where client_id = $1"
#: PostgreSQL gives a row another xmin with every change, whoever makes it.
EDITION = f"select {_COLUMNS}, xmin as number from oauth.client where client_id = $1"
PAGE = f"select {_COLUMNS} from oauth.client where client_id > $1 and {SEEN} order by client_id limit $2"
#: Those that people use, with which a person can come.
APPS = f"""
select {_COLUMNS} from oauth.client
 where cardinality(redirect_uris) > 0 and status = 'active' and (expires_at is null or expires_at > $1)
 order by client_id
"""
DISABLE = """
update oauth.client set status = 'disabled', disabled_by = $2 where client_id = $1 and status = 'active' returning true
"""
# One bootstrap at a time: of two that start together, the second sees the first one's admin.
LOCK_ADMINS = "select pg_advisory_xact_lock(hashtextextended('sharewell.oauth.admins', 0))"
HAS_ADMIN = """
select exists (select from oauth.client
                where 'admin' = any (roles) and status = 'active' and (expires_at is null or expires_at > $1)
                  and exists (select from unnest(scopes) s where s like 'system/%'))
"""
LINES_BEHIND = "select oauth.lines_behind($1, $2)"
HAS_ADMIN_APART = "select oauth.has_admin_apart($1, $2)"
HAS_TWO_LINES = "select oauth.has_two_lines($1)"
# Each assertion used up sweeps away a few that are too old to count, so the table stays as small as its traffic.
# Whoever finds another sweeping leaves it alone: two sweeps could wait for each other's rows.
BURN = """
with turn as materialized (select pg_try_advisory_xact_lock(hashtextextended('sharewell.oauth.jti', 0)) as ours),
     old as (select client_id, jti from oauth.jti, turn where ours and exp < now() order by exp limit 8),
     swept as (delete from oauth.jti as j using old where j.client_id = old.client_id and j.jti = old.jti)
insert into oauth.jti (client_id, jti, exp)
select client_id, $2, $3 from oauth.client where client_id = $1 and ($4::xid is null or xmin = $4)
    on conflict do nothing returning true
"""

#: What they can be ordered by; each is told to whoever sees the row.
SORTS: Final = {
    "client_id": Sort("client_id"), "name": Sort('name collate "C"', "text", "name"),
    "registered": Sort("created_at", "timestamptz", "created_at"),
    "expires": Sort("case when expires_at is null then 'infinity' else expires_at end", "timestamptz", "expires_at"),
}  # fmt: skip


class ClientRepository:
    """Everyone who may ask for a token."""

    def __init__(self, conn: asyncpg.Connection[Any]) -> None:
        self._conn = conn

    async def add(self, client: Client, decision: UUID) -> None:
        """Store it; raises `Conflict` where the id is taken."""
        c = client
        jwks = json.dumps({"keys": [dict(key) for key in c.keys]})
        try:
            await self._conn.execute(
                ADD, c.client_id, c.name, sorted(c.roles), list(c.scopes), jwks, c.institution, c.status, c.expires_at,
                c.created_at, c.jwks_uri, list(c.redirect_uris), c.rate_class, c.sender_constrained, list(c.purposes),
                list(c.jurisdiction), decision,
            )  # fmt: skip
        except UniqueViolationError as error:
            raise Conflict(f"a client {c.client_id} is registered already.", field="clientId") from error

    async def find(self, client_id: str) -> Client | None:
        row = await self._conn.fetchrow(BY_ID, client_id)
        return None if row is None else _client(row)

    async def edition(self, client_id: str) -> Edition | None:
        row = await self._conn.fetchrow(EDITION, client_id)
        return None if row is None else Edition(_client(row), row["number"])

    async def get(self, client_id: str) -> Client:
        client = await self.find(client_id)
        if client is None:
            raise NotFound(f"no client has the id {quoted(client_id)}.", field="clientId")
        return client

    async def page(
        self, *, after: str, first: int, seen: Predicate = EVERYTHING, place: Place | None = None
    ) -> Page[Client]:
        asked = Listed(PAGE, (From(after, ""), LIMIT)).seen(seen, [of_owner("client.institution")])
        return await asked.page(self._conn, _client, first, place)

    async def apps(self, *, at: datetime) -> list[Client]:
        """All that people can use."""
        return [_client(row) for row in await self._conn.fetch(APPS, at)]

    async def disable(self, client_id: str, decision: UUID) -> None:
        """Refuse it from now on; raises `Conflict` where somebody else did so meanwhile."""
        if not await self._conn.fetchval(DISABLE, client_id, decision):
            raise Conflict(f"client {client_id} is disabled already.", field="clientId")

    async def has_admin(self, *, at: datetime) -> bool:
        """Whether any admin can act. Until the transaction ends, nobody else gets an answer."""
        await self._conn.execute(LOCK_ADMINS)
        return bool(await self._conn.fetchval(HAS_ADMIN, at))

    async def has_two_lines(self, *, at: datetime) -> bool:
        """Whether one of two admins who can act could approve what the other wrote."""
        return bool(await self._conn.fetchval(HAS_TWO_LINES, at))

    async def lines_behind(self, principal: str, *apps: str | None) -> frozenset[str]:
        """With which admins, whom the operator let in, the access of a client or person begins, and of its `apps`."""
        return frozenset(await self._conn.fetchval(LINES_BEHIND, principal, [*filter(None, apps)]))

    async def has_admin_apart(self, lines: frozenset[str], *, at: datetime) -> bool:
        """Whether some admin who can act has none of these lines."""
        return bool(await self._conn.fetchval(HAS_ADMIN_APART, sorted(lines), at))

    async def burn(self, client_id: str, jti: str, until: datetime, edition: int | None = None) -> bool:
        """Use an assertion up: True the first time, False ever after (until `until`, when it expires anyway).

        With `edition`, it is used up only if that is still how the client is registered; False otherwise.
        """
        return bool(await self._conn.fetchval(BURN, client_id, jti, until, edition))


def _client(row: asyncpg.Record) -> Client:
    return Client(
        client_id=row["client_id"], name=row["name"], roles=frozenset(map(Role, row["roles"])),
        scopes=tuple(row["scopes"]), keys=tuple(json.loads(row["jwks"])["keys"]), institution=row["institution"],
        status=ClientStatus(row["status"]), expires_at=row["expires_at"], created_at=row["created_at"],
        jwks_uri=row["jwks_uri"], redirect_uris=tuple(row["redirect_uris"]), rate_class=RateClass(row["rate_class"]),
        sender_constrained=row["sender_constrained"], purposes=tuple(map(Purpose, row["purposes"])),
        jurisdiction=tuple(row["jurisdiction"]),
    )  # fmt: skip
