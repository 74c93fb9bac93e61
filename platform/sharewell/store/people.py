"""People who sign in, and failed tries to, in PostgreSQL."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from sharewell.domain.errors import Conflict, NotFound
from sharewell.domain.people import Person, PersonStatus
from sharewell.domain.predicate import EVERYTHING, Predicate
from sharewell.domain.principals import Role
from sharewell.domain.subjects import ERASED
from sharewell.store.paging import LIMIT, OLDEST, SEEN, From, Listed, Page, Place, Sort, of_owner

if TYPE_CHECKING:
    from datetime import datetime
    from uuid import UUID

    import asyncpg

_STORED = "id, login, name, roles, institution, status, created_at, jurisdiction"
_PASSKEYS = "(select count(*) from oauth.passkey k where k.person = person.id)::int as passkeys"
_COLUMNS = f"{_STORED}, invited_by, erased_by, renewals, {_PASSKEYS}"
ADD = f"""
insert into oauth.person ({_STORED}, invitation_hash, invitation_until, decision_id)
values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) on conflict (login) do nothing returning true
"""
BY_ID = f"select {_COLUMNS} from oauth.person where id = $1"
PAGE = f"select {_COLUMNS} from oauth.person where id > $1 and {SEEN} order by id limit $2"
INVITED = f"""
select {_COLUMNS} from oauth.person
 where invitation_hash = $1 and invitation_until > $2 and status = 'invited' for update
"""
SECRETS = "select id, status, password_hash, totp_secret, totp_step, renewals from oauth.person where login = $1"
SET_TOTP = "update oauth.person set totp_secret = $2 where id = $1 and status = 'invited'"
HASH = "select password_hash from oauth.person where id = $1 and status = 'active'"
TOTP = "select totp_secret from oauth.person where id = $1"
ENROL = """
update oauth.person set status = 'active', password_hash = $2, totp_step = $3, invitation_hash = null,
       invitation_until = null where id = $1
"""
# A code of the second factor counts once, also for two that send it at the same moment, and only while password and key
# are those that were compared.
SPEND_STEP = """
update oauth.person set totp_step = $2
 where id = $1 and totp_step < $2 and status = 'active' and password_hash = $3 and totp_secret = $4 returning true
"""
SET_HASH = "update oauth.person set password_hash = $2 where id = $1 and status = 'active'"
SET_KEY = "update oauth.person set totp_secret = $2, totp_step = $3 where id = $1 and status = 'active'"
# Who changes what signs a person in goes one after the other, and not while somebody is being let in as that person.
LOCK = "select id from oauth.person where id = $1 and status = 'active' for no key update"
AS_IT_WAS = "select id from oauth.person where id = $1 and status = 'active' and renewals = $2 for share"
RENEW = "update oauth.person set renewals = renewals + 1 where id = $1"
DISABLE = """
update oauth.person set status = 'disabled', disabled_by = $2, invitation_hash = null, password_hash = null,
       totp_secret = null
 where id = $1 and status <> 'disabled' returning true
"""
INVITE_AGAIN = """
update oauth.person set status = 'invited', invited_by = $2, invitation_hash = $3, invitation_until = $4,
       password_hash = null, totp_secret = null, totp_step = 0
 where id = $1 and status <> 'disabled' returning true
"""
# Logins are unique, so the place of an erased one is taken by the id.
ERASE = f"""
update oauth.person set login = '{ERASED} ' || id, name = '{ERASED}', erased_by = $2, totp_step = 0,
       invitation_until = null
 where id = $1 and erased_by is null returning true
"""
# A try is counted before the password is looked at, so that many at once cannot all try; no row, no try. A lock is set
# in the same transaction, before the next one gets its turn.
TRY = """
with turn as materialized (select pg_try_advisory_xact_lock(hashtextextended('sharewell.oauth.attempt', 0)) as ours),
     old as (select a.login_hash from oauth.attempt a, turn
              where ours and a.forget_at < $2 and a.login_hash <> $1 order by a.forget_at limit 8),
     swept as (delete from oauth.attempt a using old where a.login_hash = old.login_hash)
insert into oauth.attempt as a (login_hash, failures, locked_until, forget_at) values ($1, 1, $2, $3)
on conflict (login_hash) do update
   set failures = case when a.forget_at < $2 then 1 else a.failures + 1 end, forget_at = excluded.forget_at
 where a.locked_until <= $2
returning failures
"""
LOCK_OUT = "update oauth.attempt set locked_until = $2 where login_hash = $1"
FORGET = "delete from oauth.attempt where login_hash = $1"
#: One try less, and the lock that it set, if it did. Nobody tries under a lock, so none has set another since.
TAKE_BACK = """
update oauth.attempt
   set failures = failures - 1, locked_until = case when locked_until = $2 then $3 else locked_until end
 where login_hash = $1 and failures > 0
"""

#: What they can be ordered by; each is told to whoever sees the row.
SORTS: Final = {
    "name": Sort('name collate "C"', "text", "name"), "invited": Sort("created_at", "timestamptz", "created_at"),
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Secrets:
    """What a sign-in is checked against."""

    id: UUID
    status: str
    password_hash: str | None
    totp_secret: str | None
    totp_step: int  #: the last 30 seconds whose code was used
    renewals: int


class PersonRepository:
    """Everyone who may sign in."""

    def __init__(self, conn: asyncpg.Connection[Any]) -> None:
        self._conn = conn

    async def add(self, person: Person, invitation: bytes, until: datetime, decision: UUID) -> None:
        """Store it; raises `Conflict` where the login is taken."""
        p = person
        added = await self._conn.fetchval(
            ADD, p.id, p.login, p.name, sorted(p.roles), p.institution, p.status, p.created_at,
            list(p.jurisdiction), invitation, until, decision,
        )  # fmt: skip
        if not added:
            raise Conflict("this login is taken; choose another.", field="login")

    async def find(self, id: UUID) -> Person | None:  # noqa: A002
        row = await self._conn.fetchrow(BY_ID, id)
        return None if row is None else _person(row)

    async def get(self, id: UUID) -> Person:  # noqa: A002
        if (person := await self.find(id)) is None:
            raise NotFound(f"there is no person {id}.", field="id")
        return person

    async def page(
        self, *, after: UUID, first: int, seen: Predicate = EVERYTHING, place: Place | None = None
    ) -> Page[Person]:
        asked = Listed(PAGE, (From(after, OLDEST), LIMIT)).seen(seen, [of_owner("person.institution")])
        return await asked.page(self._conn, _person, first, place)

    async def invited(self, invitation: bytes, *, at: datetime) -> Person | None:
        """Whoever was sent this invitation, if it still holds; locked until the transaction ends."""
        row = await self._conn.fetchrow(INVITED, invitation, at)
        return None if row is None else _person(row)

    async def set_secret(self, id: UUID, totp_secret: str) -> None:  # noqa: A002
        """The second factor that is about to be set up."""
        await self._conn.execute(SET_TOTP, id, totp_secret)

    async def secret(self, id: UUID) -> str | None:  # noqa: A002
        found: str | None = await self._conn.fetchval(TOTP, id)
        return found

    async def enrol(self, id: UUID, password_hash: str, step: int) -> None:  # noqa: A002
        await self._conn.execute(ENROL, id, password_hash, step)

    async def set_password(self, id: UUID, password_hash: str) -> None:  # noqa: A002
        await self._conn.execute(SET_HASH, id, password_hash)

    async def set_key(self, id: UUID, totp_secret: str, step: int) -> None:  # noqa: A002
        """Another authenticator app from now on; its code of `step` is used up."""
        await self._conn.execute(SET_KEY, id, totp_secret, step)

    async def secrets(self, login: str) -> Secrets | None:
        row = await self._conn.fetchrow(SECRETS, login)
        return None if row is None else Secrets(**row)

    async def password(self, id: UUID) -> str | None:  # noqa: A002
        """The hash of the password of a person who can sign in."""
        found: str | None = await self._conn.fetchval(HASH, id)
        return found

    async def spend_step(self, compared: Secrets, step: int) -> bool:
        """Use a code of the second factor up: True the first time only, and while `compared` is what counts."""
        c = compared
        return bool(await self._conn.fetchval(SPEND_STEP, c.id, step, c.password_hash, c.totp_secret))

    async def lock(self, id: UUID) -> bool:  # noqa: A002
        """Keep everybody else from changing the person until the transaction ends; False where it cannot sign in."""
        return await self._conn.fetchval(LOCK, id) is not None

    async def as_it_was(self, person: Person) -> bool:
        """Whether `person` is still signed in by what it was when read; it stays so until the transaction ends."""
        return await self._conn.fetchval(AS_IT_WAS, person.id, person.renewals) is not None

    async def renew(self, id: UUID) -> None:  # noqa: A002
        """Something that signs the person in was replaced or taken away."""
        await self._conn.execute(RENEW, id)

    async def disable(self, id: UUID, decision: UUID) -> None:  # noqa: A002
        if not await self._conn.fetchval(DISABLE, id, decision):
            raise Conflict("this person is disabled already.", field="id")

    async def erase(self, id: UUID, decision: UUID) -> None:  # noqa: A002
        """Forget login and name for good; raises `Conflict` where that was done."""
        if not await self._conn.fetchval(ERASE, id, decision):
            raise Conflict("this person is erased already.", field="person")

    async def invite_again(self, id: UUID, invitation: bytes, until: datetime, decision: UUID) -> None:  # noqa: A002
        """What signed in before does so no more; the new invitation does. Raises `Conflict` for who is disabled."""
        if not await self._conn.fetchval(INVITE_AGAIN, id, decision, invitation, until):
            raise Conflict("this person is disabled, just now.", field="person")

    async def try_once(self, login_hash: bytes, *, at: datetime, forget_at: datetime) -> int | None:
        """Count one try; how many there were in a row, or None while the login is locked."""
        found: int | None = await self._conn.fetchval(TRY, login_hash, at, forget_at)
        return found

    async def lock_out(self, login_hash: bytes, until: datetime) -> None:
        await self._conn.execute(LOCK_OUT, login_hash, until)

    async def take_back(self, login_hash: bytes, until: datetime, *, at: datetime) -> None:
        """A try of that time was no failure; `until` is how long it locked the login."""
        await self._conn.execute(TAKE_BACK, login_hash, until, at)

    async def forget(self, login_hash: bytes) -> None:
        """It went well: the count begins anew."""
        await self._conn.execute(FORGET, login_hash)


def _person(row: asyncpg.Record) -> Person:
    return Person(
        id=row["id"], login=ERASED if row["erased_by"] else row["login"], name=row["name"],
        roles=frozenset(map(Role, row["roles"])), institution=row["institution"], status=PersonStatus(row["status"]),
        created_at=row["created_at"], jurisdiction=tuple(row["jurisdiction"]), invited_by=row["invited_by"],
        erased_by=row["erased_by"], passkeys=row["passkeys"], renewals=row["renewals"],
    )  # fmt: skip
