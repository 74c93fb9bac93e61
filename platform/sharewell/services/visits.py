"""Visits: who has just signed in on our page adds and removes passkeys, and takes another authenticator app.

A visit lasts minutes, in one browser. What the page holds counts for one change: each change names the visit anew and
ends every other visit of the person, so that who gets rid of a stolen passkey gets rid of the thief's page, too.
"""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sharewell.domain import checks
from sharewell.domain.audit import Json
from sharewell.domain.errors import Conflict, Invalid, NotFound
from sharewell.domain.people import LONGEST_PASSKEY_NAME, MOST_PASSKEYS, VISIT_LIFE, Person
from sharewell.services.access import about_a_credential
from sharewell.services.authenticator import new_key, step_of
from sharewell.services.grants import end_all_of
from sharewell.services.office import Office
from sharewell.services.passkeys import PasskeyService, Site
from sharewell.store.database import Transaction
from sharewell.store.passkeys import OwnPasskey
from sharewell.store.visits import Visit

OVER = "This took longer than a few minutes, or was changed elsewhere meanwhile. Sign in anew."


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """What a person sees of what signs it in."""

    person: Person
    passkeys: tuple[OwnPasskey, ...]
    handle: str  #: what the page holds: good for one change

    @property
    def full(self) -> bool:
        """Whether no further passkey is taken."""
        return len(self.passkeys) >= MOST_PASSKEYS


@dataclass(frozen=True, slots=True, kw_only=True)
class _Change:
    """One that is being made."""

    tx: Transaction
    at: datetime
    visit: Visit
    person: Person
    held: list[OwnPasskey]  #: before the change


class VisitService:
    """What people change of what signs them in."""

    def __init__(self, office: Office, passkeys: PasskeyService) -> None:
        self._office, self._passkeys = office, passkeys

    async def begin(self, person: Person, browser: str, *, by_code: bool) -> Account:
        """The visit of somebody who has just signed in. Raises `NotFound` where the person was shut out meanwhile."""
        handle, at = secrets.token_urlsafe(32), self._office.now()
        visit = Visit(person=person.id, by_code=by_code)
        async with self._office.database.transaction() as tx:
            if not await tx.people.as_it_was(person):
                raise NotFound(OVER, field="handle")
            await tx.visits.begin(_hash(handle, browser), visit, at=at, until=at + VISIT_LIFE)
        return await self.account(handle, browser)

    async def account(self, handle: str, browser: str) -> Account:
        """What the page shows. Raises `NotFound` for a visit that is over, used, or another browser's."""
        async with self._office.database.transaction() as tx:
            visit = await tx.visits.find(_hash(handle, browser), at=self._office.now())
            if visit is None:
                raise NotFound(OVER, field="handle")
            return Account(
                person=await tx.people.get(visit.person), passkeys=tuple(await tx.passkeys.of(visit.person)),
                handle=handle,
            )  # fmt: skip

    async def options_to_add(self, account: Account, browser: str, site: Site) -> dict[str, object]:
        """What the browser is asked for a further passkey with."""
        shown_for = f"{account.handle} {browser}"
        return await self._passkeys.options_to_add(site, account.person, shown_for, account.passkeys)

    async def add(
        self, handle: str, browser: str, name: str, sent: str, *, site: Site, request_id: str
    ) -> Account:
        """Keep a further passkey, called `name`.

        Raises `NotFound` for a visit that is over, `Invalid` for a name or passkey that will not do, `Conflict` for
        one too many; nothing is changed then, and the visit goes on as it was.
        """
        new = secrets.token_urlsafe(32)
        async with self._change(handle, browser, new) as change:
            name = checks.text(name, "name", most=LONGEST_PASSKEY_NAME)
            if len(change.held) >= MOST_PASSKEYS:
                raise Conflict(f"You have {MOST_PASSKEYS} passkeys; remove one first.", field="passkey")
            decision = await _record(
                change, "person.passkey_added", "addPasskey", {"passkeys": len(change.held) + 1}, request_id
            )
            await self._passkeys.add(
                change.tx, change.person, sent, decision, site=site, shown_for=f"{handle} {browser}", name=name
            )
        return await self.account(new, browser)

    async def remove(self, handle: str, browser: str, added_by: UUID, *, request_id: str) -> Account:
        """Remove the passkey that the decision `added_by` added.

        Raises `NotFound` for a visit that is over or no passkey of the person's, `Conflict` for the last one where
        the person did not show that there is another second factor; the visit goes on then.
        """
        new = secrets.token_urlsafe(32)
        async with self._change(handle, browser, new) as change:
            left = len(change.held) - 1
            if not left and not change.visit.by_code:
                raise Conflict(
                    "This is your last passkey. Sign in here with password and code, to show that you can without it.",
                    field="remove",
                )
            details: dict[str, Json] = {"added_by": str(added_by), "passkeys": left}
            await _record(change, "person.passkey_removed", "removePasskey", details, request_id)
            await change.tx.passkeys.remove(change.person.id, added_by)
            await _end_all(change, "passkey_removed", request_id)
        return await self.account(new, browser)

    async def new_key(self, handle: str, browser: str) -> tuple[Account, str]:
        """A key for another authenticator app, which counts once a code shows that the app has it; it is told once.

        Raises `NotFound` for a visit that is over.
        """
        account, key = await self.account(handle, browser), new_key()
        async with self._office.database.transaction() as tx:
            await tx.visits.set_key(_hash(handle, browser), key)
        return account, key

    async def change_authenticator(self, handle: str, browser: str, code: str, *, request_id: str) -> Account:
        """The app that shows `code` by the key told last is the person's from now on, and no other.

        That the person knows the password is for the caller to ask. Raises `NotFound` for a visit that is over or has
        no such key, `Invalid` for a code that the app does not show now; the old app goes on counting then.
        """
        new = secrets.token_urlsafe(32)
        async with self._change(handle, browser, new) as change:
            key = change.visit.totp_secret
            if key is None:
                raise NotFound(OVER, field="handle")
            step = step_of(key, code, 0, at=change.at)
            if step is None:
                raise Invalid("The code is not the one your new app shows now.", field="code")
            await _record(change, "person.authenticator_changed", "changeAuthenticator", {}, request_id)
            await change.tx.people.set_key(change.person.id, key, step)
            await _end_all(change, "authenticator_changed", request_id)
        return await self.account(new, browser)

    @asynccontextmanager
    async def _change(self, handle: str, browser: str, new: str) -> AsyncIterator[_Change]:
        """One change of a person at a time; when it is made, the visit goes by the handle `new`."""
        at, hashed = self._office.now(), _hash(handle, browser)
        async with self._office.database.transaction() as tx:
            visit = await tx.visits.find(hashed, at=at)
            if (
                visit is None
                or not await tx.people.lock(visit.person)
                or not await tx.visits.go_on(visit.person, hashed, _hash(new, browser))
            ):
                raise NotFound(OVER, field="handle")
            person, held = await tx.people.get(visit.person), await tx.passkeys.of(visit.person)
            yield _Change(tx=tx, at=at, visit=visit, person=person, held=held)


async def _record(change: _Change, kind: str, action: str, details: dict[str, Json], request_id: str) -> UUID:
    decision = about_a_credential(
        kind, action, at=change.at, actor=change.person.principal, subject=("person", str(change.person.id)),
        details=details, request_id=request_id,
    )  # fmt: skip
    await change.tx.audit.record(decision)
    return decision.id


async def _end_all(change: _Change, reason: str, request_id: str) -> None:
    """Whoever had what is gone now leaves every app by it."""
    await end_all_of(
        change.tx, change.person.id, reason, at=change.at, actor=change.person.principal, request_id=request_id
    )


def _hash(handle: str, browser: str) -> bytes:
    return hashlib.sha256(json.dumps(["visit", handle, browser]).encode()).digest()
