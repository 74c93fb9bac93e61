"""People who sign in: an admin invites them, they set password and second factor, and they are let in or not.

To a stranger every failure looks and takes alike: an unknown login, a wrong password, a wrong or spent code, a login
that is locked. The log tells them apart, by the person's random id.
"""

from __future__ import annotations

import secrets
from dataclasses import replace
from datetime import datetime
from uuid import UUID

from sharewell.domain.audit import Json
from sharewell.domain.errors import Invalid, NotFound
from sharewell.domain.people import INVITATION_LIFE, Person, PersonDraft, PersonStatus, check_password
from sharewell.domain.policy import Action, Target
from sharewell.domain.principals import Caller
from sharewell.domain.subjects import Ground
from sharewell.services.access import Refusal, about_a_credential
from sharewell.services.act import Act, Done
from sharewell.services.authenticator import new_key, step_of
from sharewell.services.grants import end_all_of
from sharewell.services.ids import hashed
from sharewell.services.office import Office
from sharewell.services.passkeys import PasskeyService, Site
from sharewell.services.passwords import OwnTry, Passwords, count_try
from sharewell.services.visits import VisitService
from sharewell.store.answered import Wish
from sharewell.store.paging import Page, Place
from sharewell.store.people import Secrets


class PersonService:
    """Who may sign in, and whether it is them."""

    def __init__(self, office: Office) -> None:
        self._office = office
        self.passkeys = PasskeyService(office)
        self.visits = VisitService(office, self.passkeys)
        self._passwords = Passwords()

    async def register(
        self, caller: Caller, draft: PersonDraft, wish: Wish | None = None
    ) -> tuple[Done[Person], str | None]:
        """The person, and the invitation to hand over; it is told once, so a repeated wish gets None.

        Raises `Invalid` naming the field that is wrong, `NotFound` for an institution that does not take part,
        `Conflict` where the login is taken.
        """
        # At random, not by time: the id is all that the log says of a person.
        id, invitation = UUID(bytes=secrets.token_bytes(16), version=4), secrets.token_urlsafe(24)  # noqa: A001
        target = Target(kind="person", id=str(id), owner=draft.institution)
        async with self._office.act(caller, Action.REGISTER_PERSON, target, wish) as act:
            if act.repeated:
                return await _again(act), None
            person = Person.invite(draft, id=id, at=act.at)
            if person.institution is not None:
                await act.tx.institutions.get(person.institution)  # NotFound leaves here
            details: dict[str, Json] = {"roles": sorted(person.roles)}
            if person.jurisdiction:
                details["jurisdiction"] = list(person.jurisdiction)
            decision = await act.record("person.registered", "person", id, details, institution=person.institution)
            await act.tx.people.add(person, hashed(invitation), act.at + INVITATION_LIFE, decision)
            return await _done(act, person, decision), invitation

    async def invite_again(
        self, caller: Caller, id: UUID, wish: Wish | None = None  # noqa: A002
    ) -> tuple[Done[Person], str | None]:
        """A new invitation, told once; password, second factor, passkeys and tokens of the person are dead at once.

        Raises `NotFound`, or `Conflict` for a person who is disabled.
        """
        target, invitation = await self._target(id), secrets.token_urlsafe(24)
        async with self._office.act(caller, Action.REGISTER_PERSON, target, wish) as act:
            if act.repeated:
                return await _again(act), None
            person = (await act.tx.people.get(id)).invite_again()
            decision = await act.record("person.invited_again", "person", id, {}, institution=person.institution)
            await act.tx.people.invite_again(id, hashed(invitation), act.at + INVITATION_LIFE, decision)
            await act.tx.passkeys.remove_all(id)
            await act.tx.visits.end_all(id)
            await act.tx.people.forget(hashed(person.login))
            await end_all_of(
                act.tx, id, "invited_again", at=act.at, actor=caller.principal, request_id=caller.request_id
            )
            return await _done(act, replace(person, invited_by=decision), decision), invitation

    async def disable(self, caller: Caller, id: UUID, wish: Wish | None = None) -> Done[Person]:  # noqa: A002
        """Refuse the person from now on; tokens apps hold for it stop working within seconds."""
        target = await self._target(id)
        async with self._office.act(caller, Action.DISABLE_PERSON, target, wish) as act:
            if act.repeated:
                return await _again(act)
            person = (await act.tx.people.get(id)).disable()
            decision = await act.record("person.disabled", "person", id, {}, institution=person.institution)
            await act.tx.people.disable(id, decision)
            return await _done(act, person, decision)

    async def erase(
        self, caller: Caller, id: UUID, ground: Ground, wish: Wish | None = None  # noqa: A002
    ) -> Done[Person]:
        """Forget login, name and passkeys of a person who is disabled, for good; entries still name its id.

        Raises `NotFound`, or `Conflict` for a person who still has access or is erased.
        """
        target = await self._target(id)
        async with self._office.act(caller, Action.ERASE_PERSON, target, wish) as act:
            if act.repeated:
                return await _again(act)
            before = await act.tx.people.get(id)
            person, details = before.erase(), {"ground": ground, "article": ground.article}
            decision = await act.record("person.erased", "person", id, details, institution=person.institution)
            await act.tx.people.erase(id, decision)
            await act.tx.passkeys.remove_all(id)
            await act.tx.visits.end_all(id)
            await act.tx.people.forget(hashed(before.login))
            return await _done(act, replace(person, erased_by=decision), decision)

    async def page(self, caller: Caller, *, after: UUID, first: int, place: Place | None = None) -> Page[Person]:
        extent = await self._office.extent(caller, Action.VIEW_PERSON, Target.list("person"))
        async with self._office.reading(caller) as tx:
            page = await tx.people.page(after=after, first=first, seen=extent.seen, place=place)
        told = {each.institution for each in page.items if each.institution is not None}
        targets = {who: Target.list("person", owner=who) for who in told}
        await self._office.shown(caller, Action.VIEW_PERSON, extent, targets)
        return page

    async def find(self, id: UUID) -> Person | None:  # noqa: A002
        """The person as it is now, for the gateway, before anybody is a caller."""
        async with self._office.looking() as tx:
            return await tx.people.find(id)

    async def open_invitation(self, invitation: str, *, anew: bool) -> tuple[Person, str] | None:
        """Whose invitation it is and the secret for its second factor; None if it does not hold.

        Opened `anew`, the secret is a new one: whoever saw an earlier one knows nothing.
        """
        async with self._office.database.transaction() as tx:
            person = await tx.people.invited(hashed(invitation), at=self._office.now())
            if person is None:
                return None
            secret = None if anew else await tx.people.secret(person.id)
            if secret is None:
                secret = new_key()
                await tx.people.set_secret(person.id, secret)
            return person, secret

    async def enrol(
        self, invitation: str, password: str, code: str, *, request_id: str, passkey: str = "", site: Site | None = None
    ) -> Person:
        """Set password and second factor, and a passkey of `site` if one was made.

        Raises `NotFound` for an invitation that does not hold, or `Invalid`; nothing is set then.
        """
        at = self._office.now()
        async with self._office.database.transaction() as tx:
            person = await tx.people.invited(hashed(invitation), at=at)
            if person is None:
                raise NotFound("This invitation does not hold, or was used.", field="invitation")
            check_password(password, person.login)
            step = step_of(await tx.people.secret(person.id), code, 0, at=at)
            if step is None:
                raise Invalid("The code is not the one your app shows now.", field="code")
            password_hash = await self._passwords.hash(password)
            decision = about_a_credential(
                "person.enrolled", "enrol", at=at, actor=person.principal, subject=("person", str(person.id)),
                details={"passkey": True} if passkey else {}, request_id=request_id,
            )  # fmt: skip
            await tx.audit.record(decision)
            await tx.people.enrol(person.id, password_hash, step)
            if passkey and site is not None:
                await self.passkeys.add(tx, person, passkey, decision.id, site=site, shown_for=invitation)
            return person

    async def sign_in(self, login: str, password: str, code: str, *, request_id: str) -> Person | Refusal:
        """Who it is, if everything holds; otherwise what to put on record before anybody is told."""
        at, tried = self._office.now(), hashed(login.strip().lower())
        async with self._office.database.transaction() as tx:
            free = await count_try(tx, tried, at=at) is not None
            found = await tx.people.secrets(login.strip().lower()) if "\0" not in login else None
        reason = await self._fault(found, password, code, locked=not free, at=at)
        if reason is None and found is not None:
            async with self._office.database.transaction() as tx:
                await tx.people.forget(tried)
                return replace(await tx.people.get(found.id), renewals=found.renewals)  # as it was when compared
        return _refused(reason or "unknown_person", None if found is None else found.id, request_id)

    async def change_password(
        self, login: str, password: str, code: str, new: str, *, request_id: str
    ) -> Person | Refusal:
        """Set a new password for whoever signs in with the old one; otherwise what to put on record.

        Raises `Invalid` for a new password that will not do, before anything is looked at.
        """
        check_password(new, login.strip().lower() or "-")
        person = await self.sign_in(login, password, code, request_id=request_id)
        if isinstance(person, Refusal):
            return person
        password_hash = await self._passwords.hash(new)
        at, who = self._office.now(), person.principal
        decision = about_a_credential(
            "person.password_changed", "changePassword", at=at, actor=who, subject=("person", str(person.id)),
            details={}, request_id=request_id,
        )  # fmt: skip
        async with self._office.database.transaction() as tx:
            if not await tx.people.lock(person.id) or not await tx.people.as_it_was(person):
                return _refused("changed_meanwhile", person.id, request_id)
            await tx.audit.record(decision)
            await tx.people.set_password(person.id, password_hash)
            await tx.visits.end_all(person.id)
            await end_all_of(tx, person.id, "password_changed", at=at, actor=who, request_id=request_id)
        return person

    async def knows_password(self, person: Person, password: str, *, request_id: str) -> Refusal | None:
        """None if it is the password of somebody who is signed in already.

        Tries count as those to sign in do, see `OwnTry`.
        """
        at, own, tried = self._office.now(), hashed(f"visit {person.id}"), hashed(person.login)
        async with self._office.database.transaction() as tx:
            made = await OwnTry.count(tx, own, tried, at=at)
            password_hash = await tx.people.password(person.id) if made.allowed else None
        if not await self._passwords.holds(password_hash, password):
            return _refused("wrong_password" if made.allowed else "locked", person.id, request_id)
        async with self._office.database.transaction() as tx:
            await made.take_back(tx)
        return None

    async def _fault(
        self, found: Secrets | None, password: str, code: str, *, locked: bool, at: datetime
    ) -> str | None:
        """Why it is refused, as a word for the log. The costly part is done in every case."""
        usable = found is not None and found.status == PersonStatus.ACTIVE and not locked
        right = await self._passwords.holds(found.password_hash if found is not None and usable else None, password)
        if locked:
            return "locked"
        if found is None or not usable:
            return "unknown_person"
        if not right:
            return "wrong_password"
        step = step_of(found.totp_secret, code, found.totp_step, at=at)
        if step is None:
            return "wrong_code"
        async with self._office.database.transaction() as tx:
            return None if await tx.people.spend_step(found, step) else "code_replayed"

    async def _target(self, id: UUID) -> Target:  # noqa: A002
        person = await self.find(id)
        return Target(kind="person", id=str(id), owner=person.institution if person else None)


def _refused(reason: str, person: UUID | None, request_id: str) -> Refusal:
    return Refusal(
        reason=reason, actor=None, kind="person", client_id=None if person is None else str(person),
        details={"endpoint": "sign-in"}, request_id=request_id,
    )  # fmt: skip


async def _done(act: Act, person: Person, decision: UUID) -> Done[Person]:
    """Name and login are kept in one place, and an answer that is kept for a repeated wish is not that."""
    kept = await act.done(replace(person, login="", name=""), decision)
    return replace(kept, subject=person)


async def _again(act: Act) -> Done[Person]:
    given: Done[Person] = act.again(Person)
    person = await act.tx.people.get(given.subject.id)
    return replace(given, subject=replace(given.subject, login=person.login, name=person.name))
