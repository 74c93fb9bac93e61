"""Authorizations under way, families of tokens, and what was used up or called back, in PostgreSQL."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sharewell.domain.grants import AuthorizationRequest, Family

if TYPE_CHECKING:
    from datetime import datetime
    from uuid import UUID

    import asyncpg

_REQUEST = "client_id, redirect_uri, scopes, state, challenge, purpose, key"
_UNDERWAY = f"{_REQUEST}, expires_at, browser_hash, person, code_used_at, family"
# Each new request sweeps away a few that are long over; a code is remembered for a day, to notice a replay.
ADD_REQUEST = f"""
with old as (select handle_hash from oauth.authorization where expires_at < $9::timestamptz - interval '1 day'
              order by expires_at limit 8 for update skip locked),
     swept as (delete from oauth.authorization a using old where a.handle_hash = old.handle_hash)
insert into oauth.authorization (handle_hash, {_REQUEST}, expires_at) values ($1, $2, $3, $4, $5, $6, $7, $8, $10)
"""
BY_HANDLE = f"select {_UNDERWAY} from oauth.authorization where handle_hash = $1 and expires_at > $2 for update"
BIND = "update oauth.authorization set browser_hash = $2, expires_at = $3 where handle_hash = $1"
KNOW = "update oauth.authorization set person = $2 where handle_hash = $1"
CONSENT = """
update oauth.authorization set code_hash = $2, family = $3, expires_at = $4 where handle_hash = $1 and code_hash is null
"""
DROP = "delete from oauth.authorization where handle_hash = $1 and code_hash is null"
BY_CODE = f"select {_UNDERWAY} from oauth.authorization where code_hash = $1 for update"
USE_CODE = "update oauth.authorization set code_used_at = $2 where code_hash = $1"

_FAMILY = "id, client_id, person, scopes, purpose, key, created_at, expires_at"
ADD_FAMILY = f"""
insert into oauth.family ({_FAMILY}, decision_id) values ($1, $2, $3, $4, $5, $6, $7, $8, $9)
"""
FAMILY = f"select {_FAMILY}, revoked_by is not null as revoked from oauth.family where id = $1 for update"
END_FAMILY = "update oauth.family set revoked_by = $2 where id = $1 and revoked_by is null returning true"
OPEN_FAMILIES = "select id from oauth.family where person = $1 and revoked_by is null"
DROP_OF = "delete from oauth.authorization where person = $1"
# What is older than any family can be is of no more use.
ADD_REFRESH = """
with turn as materialized (select pg_try_advisory_xact_lock(hashtextextended('sharewell.oauth.refresh', 0)) as ours),
     old as (select hash from oauth.refresh, turn
              where ours and issued_at < now() - interval '31 days' order by issued_at limit 8),
     swept as (delete from oauth.refresh r using old where r.hash = old.hash)
insert into oauth.refresh (hash, family, issued_at, key) values ($1, $2, $3, $4)
"""
REFRESH = "select family, used_at, key from oauth.refresh where hash = $1 for update"
REFRESH_FAMILY = "select family, key from oauth.refresh where hash = $1"
USE_REFRESH = "update oauth.refresh set used_at = $2 where hash = $1"

CALL_BACK = """
with turn as materialized (select pg_try_advisory_xact_lock(hashtextextended('sharewell.oauth.revoked', 0)) as ours),
     old as (select name from oauth.revoked, turn where ours and exp < now() order by exp limit 8),
     swept as (delete from oauth.revoked r using old where r.name = old.name)
insert into oauth.revoked (name, exp, decision_id) values ($1, $2, $3) on conflict do nothing returning true
"""
CALLED_BACK = "select name from oauth.revoked where exp > $1"
BURN_PROOF = """
with turn as materialized (select pg_try_advisory_xact_lock(hashtextextended('sharewell.oauth.proof', 0)) as ours),
     old as (select key, jti from oauth.proof, turn where ours and exp < now() order by exp limit 8),
     swept as (delete from oauth.proof p using old where p.key = old.key and p.jti = old.jti)
insert into oauth.proof (key, jti, exp) values ($1, $2, $3) on conflict do nothing returning true
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Underway:
    """One authorization, as far as it has come."""

    request: AuthorizationRequest
    expires_at: datetime
    browser_hash: bytes | None
    person: UUID | None
    code_used_at: datetime | None
    family: UUID | None


class GrantRepository:
    """What people granted, and what came of it."""

    def __init__(self, conn: asyncpg.Connection[Any]) -> None:
        self._conn = conn

    async def add_request(self, handle: bytes, asked: AuthorizationRequest, *, at: datetime, until: datetime) -> None:
        a = asked
        await self._conn.execute(
            ADD_REQUEST, handle, a.client_id, a.redirect_uri, list(a.scopes), a.state, a.challenge, a.purpose, a.key,
            at, until,
        )  # fmt: skip

    async def underway(self, handle: bytes, *, at: datetime) -> Underway | None:
        """Locked until the transaction ends."""
        return _underway(await self._conn.fetchrow(BY_HANDLE, handle, at))

    async def bind(self, handle: bytes, browser: bytes, until: datetime) -> None:
        await self._conn.execute(BIND, handle, browser, until)

    async def know(self, handle: bytes, person: UUID) -> None:
        await self._conn.execute(KNOW, handle, person)

    async def consent(self, handle: bytes, code: bytes, family: UUID, until: datetime) -> None:
        await self._conn.execute(CONSENT, handle, code, family, until)

    async def drop(self, handle: bytes) -> None:
        await self._conn.execute(DROP, handle)

    async def by_code(self, code: bytes) -> Underway | None:
        """Locked until the transaction ends."""
        return _underway(await self._conn.fetchrow(BY_CODE, code))

    async def use_code(self, code: bytes, at: datetime) -> None:
        await self._conn.execute(USE_CODE, code, at)

    async def add_family(self, family: Family, decision: UUID) -> None:
        f = family
        await self._conn.execute(
            ADD_FAMILY, f.id, f.client_id, f.person, list(f.scopes), f.purpose, f.key, f.created_at, f.expires_at,
            decision,
        )  # fmt: skip

    async def family(self, id: UUID) -> Family | None:  # noqa: A002
        """Locked until the transaction ends."""
        row = await self._conn.fetchrow(FAMILY, id)
        return None if row is None else _family(row)

    async def open_families(self, person: UUID) -> list[UUID]:
        return [row["id"] for row in await self._conn.fetch(OPEN_FAMILIES, person)]

    async def drop_of(self, person: UUID) -> None:
        """Forget what the person signed in to and did not finish."""
        await self._conn.execute(DROP_OF, person)

    async def end_family(self, id: UUID, decision: UUID) -> bool:  # noqa: A002
        return bool(await self._conn.fetchval(END_FAMILY, id, decision))

    async def add_refresh(self, token: bytes, family: UUID, at: datetime, key: str | None) -> None:
        """`key`: thumbprint of the key that the token itself is bound to."""
        await self._conn.execute(ADD_REFRESH, token, family, at, key)

    async def refresh(self, token: bytes) -> tuple[UUID, datetime | None, str | None] | None:
        """Family, when it was used, and the key it is bound to; locked until the transaction ends."""
        row = await self._conn.fetchrow(REFRESH, token)
        return None if row is None else (row["family"], row["used_at"], row["key"])

    async def family_of(self, token: bytes) -> tuple[UUID, str | None] | None:
        """Family, and the key that the token is bound to."""
        row = await self._conn.fetchrow(REFRESH_FAMILY, token)
        return None if row is None else (row["family"], row["key"])

    async def use_refresh(self, token: bytes, at: datetime) -> None:
        await self._conn.execute(USE_REFRESH, token, at)

    async def call_back(self, name: str, until: datetime, decision: UUID) -> bool:
        """True the first time only."""
        return bool(await self._conn.fetchval(CALL_BACK, name, until, decision))

    async def called_back(self, *, at: datetime) -> frozenset[str]:
        """Everything that was called back and has not expired."""
        return frozenset(row["name"] for row in await self._conn.fetch(CALLED_BACK, at))

    async def burn_proof(self, key: str, jti: str, until: datetime) -> bool:
        """True the first time only."""
        return bool(await self._conn.fetchval(BURN_PROOF, key, jti, until))


def _underway(row: asyncpg.Record | None) -> Underway | None:
    if row is None:
        return None
    request = AuthorizationRequest(
        client_id=row["client_id"], redirect_uri=row["redirect_uri"], scopes=tuple(row["scopes"]), state=row["state"],
        challenge=row["challenge"], purpose=row["purpose"], key=row["key"],
    )  # fmt: skip
    return Underway(
        request=request, expires_at=row["expires_at"], browser_hash=row["browser_hash"], person=row["person"],
        code_used_at=row["code_used_at"], family=row["family"],
    )  # fmt: skip


def _family(row: asyncpg.Record) -> Family:
    return Family(
        id=row["id"], client_id=row["client_id"], person=row["person"], scopes=tuple(row["scopes"]),
        purpose=row["purpose"], key=row["key"], created_at=row["created_at"], expires_at=row["expires_at"],
        revoked=row["revoked"],
    )  # fmt: skip
