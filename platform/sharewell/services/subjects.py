"""Find the person that entries speak of, open its details for who may read them, and erase it by a ground of law."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from sharewell.domain.errors import Invalid, NotFound
from sharewell.domain.policy import MANY, Action, Target
from sharewell.domain.principals import Caller
from sharewell.domain.subjects import ERASED, Ground, Person, Sealed
from sharewell.services.act import Act, Done
from sharewell.services.office import Office
from sharewell.store.answered import Wish
from sharewell.store.subjects import SubjectKey

BATCH = 500  #: keys that one transaction deletes or wraps anew


@dataclass(frozen=True, slots=True, kw_only=True)
class ActedFor:
    """On whose behalf a decision was asked for, as far as it can still be read."""

    subject: UUID
    identifier: str
    name: str
    email: str
    erased: bool


class SubjectService:
    """Data subjects."""

    def __init__(self, office: Office) -> None:
        self._office = office

    async def find(
        self, caller: Caller, institution: UUID | None, client: str | None, identifier: str
    ) -> SubjectKey | None:
        """The person that the programs of `institution` call so or, where it acts for none, those of `client`."""
        if (institution is None) == (client is None):
            raise Invalid("name either the institution, or the client where it acts for none.", field="institution")
        target = Target(kind="subject", id=MANY, owner=institution)
        async with self._office.act(caller, Action.FIND_SUBJECT, target) as act:
            found = await act.vault.find(act.tx.subjects, institution, client or "", identifier)
            about = MANY if found is None else found.subject_ref
            await act.record("subject.found", "subject", about, {}, institution=institution)
            return found

    async def acted_for(self, caller: Caller, decision: UUID) -> ActedFor | None:
        """On whose behalf `decision` was asked for; None where nobody's was given. Each opening is on record."""
        async with self._office.reading(caller) as tx:
            recorded = (await tx.audit.get(decision)).decision
        sealed = Sealed.of(recorded.details)
        if sealed is None:
            return None
        target = Target(kind="subject", id=str(sealed.subject), owner=recorded.institution)
        async with self._office.act(caller, Action.VIEW_SUBJECT, target) as act:
            await act.record(
                "subject.opened", "subject", sealed.subject, {"decision": str(decision)},
                institution=recorded.institution,
            )  # fmt: skip
            key = await act.tx.subjects.by_ref(sealed.subject)
            if key is None:
                return _erased(sealed.subject)
            return _read(sealed.subject, (await act.vault.open(key)).open(sealed, decision))

    async def erase(self, caller: Caller, subject: UUID, ground: Ground, wish: Wish | None = None) -> Done[UUID]:
        """Delete the key of `subject`, and what it typed beside decisions. Raises `NotFound` where it is gone."""
        async with self._office.reading(caller) as tx:
            owner = await tx.subjects.owner(subject)
        target = Target(kind="subject", id=str(subject), owner=owner)
        async with self._office.act(caller, Action.ERASE_SUBJECT, target, wish) as act:
            if act.repeated:
                return act.again(UUID)
            key = await act.tx.subjects.get(subject, lock=True)
            decision = await _recorded(act, subject, ground, key.institution)
            await act.tx.subjects.delete([subject])
            return await act.done(subject, decision)

    async def erase_remark(self, caller: Caller, decision: UUID, ground: Ground) -> UUID:
        """Remove what was typed beside `decision`; return the decision of the removal. Raises `NotFound`."""
        async with self._office.reading(caller) as tx:
            about = (await tx.audit.get(decision)).decision
        target = Target(kind="subject", id=MANY, owner=about.institution)
        async with self._office.act(caller, Action.ERASE_SUBJECT, target) as act:
            details = {"ground": ground, "article": ground.article}
            made = await act.record("remark.erased", about.subject_kind, about.subject_id,
                                    {**details, "decision": str(decision)}, institution=about.institution)  # fmt: skip
            if not await act.tx.subjects.erase_remark(decision):
                raise NotFound("nothing is written beside this decision.", field="decision")
            return made

    async def sweep(self, caller: Caller) -> int:
        """Erase those whose time is over, in short transactions that hold nobody up; return how many."""
        erased, target = 0, Target.list("subject")
        while True:
            async with self._office.act(caller, Action.ERASE_SUBJECT, target) as act:
                due = await act.tx.subjects.due(act.at, BATCH)
                for subject, institution in due:
                    await _recorded(act, subject, Ground.STORAGE_LIMITATION, institution)
                if due:
                    await act.tx.subjects.delete([subject for subject, _ in due])
            erased += len(due)
            if len(due) < BATCH:
                return erased

    async def rewrap(self, caller: Caller) -> int:
        """Wrap every key by the current key-encryption key; return how many. No entry of a person changes."""
        vault, done = self._office.vault, 0
        current = await vault.wrapper.current()
        old = [kek for kek in await self.keks() if kek != current]
        target = Target(kind="key", id=current)
        while True:
            async with self._office.act(caller, Action.ROTATE_KEY, target) as act:
                if old and not done:
                    await act.record("key.rotated", "key", current, {"use": "personal details"})
                    await vault.rewrap_lookup_key(act.tx.subjects)
                batch = await act.tx.subjects.under(old, BATCH)
                for key in batch:
                    again = await vault.rewrap(key)
                    await act.tx.subjects.rewrap(again.subject_ref, again.kek_id, again.wrapped)
            done += len(batch)
            if len(batch) < BATCH:
                return done

    async def keks(self) -> list[str]:
        """Ids of the key-encryption keys that something is still wrapped by."""
        async with self._office.looking() as tx:
            return await tx.subjects.keks()


async def _recorded(act: Act, subject: UUID, ground: Ground, institution: UUID | None) -> UUID:
    details = {"ground": ground, "article": ground.article}
    return await act.record("subject.erased", "subject", subject, details, institution=institution)


def _read(subject: UUID, person: Person) -> ActedFor:
    return ActedFor(
        subject=subject, identifier=person.identifier, name=person.name, email=person.email, erased=False
    )


def _erased(subject: UUID) -> ActedFor:
    return ActedFor(subject=subject, identifier=ERASED, name=ERASED, email=ERASED, erased=True)
