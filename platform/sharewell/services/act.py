"""One permitted act inside its transaction: what it records, keeps and answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass, replace
from datetime import datetime
from functools import cache
from typing import Any, Generic, TypeVar
from uuid import UUID

from asyncpg import PostgresError
from pydantic import TypeAdapter

from sharewell.audit.erasure import Opened, Vault
from sharewell.domain.audit import ALLOWED, REFUSED, Json
from sharewell.domain.errors import ChangedSince, Unavailable
from sharewell.domain.policy import Action, Ruling, Target
from sharewell.domain.principals import Caller
from sharewell.domain.remarks import Remark
from sharewell.domain.subjects import FIELD, Person
from sharewell.services.ids import new_id
from sharewell.services.traces import decided
from sharewell.store.answered import Wish
from sharewell.store.database import Transaction

Subject = TypeVar("Subject")

UNRECORDED = "this cannot be put on record just now, so nothing is done and nothing is answered."


@dataclass(frozen=True, slots=True)
class Done(Generic[Subject]):
    """What a write leaves: the thing as it is now, and the decision that is on record for it."""

    subject: Subject
    decision: UUID
    at: datetime


@dataclass(kw_only=True)
class Act:
    """One act inside its transaction."""

    tx: Transaction
    caller: Caller
    action: Action
    ruling: Ruling | None  #: None where it was refused before the policies were asked
    at: datetime
    vault: Vault
    wish: Wish | None = None
    repeated: Any = field(default=None)  #: the answer given before to the same idempotency key
    person: Opened | None = None  #: the key of the person on whose behalf the caller acts, once something was sealed

    async def record(
        self, kind: str, subject_kind: str, subject_id: object, details: Mapping[str, Json], *,
        institution: UUID | None = None,
    ) -> UUID:  # fmt: skip
        """Stage the entry of this decision in the log, in this very transaction; return the decision's id.

        On whose behalf the caller acts is sealed in it. Raises `Unavailable` where the database refuses the entry.
        """
        owner = institution or self.caller.institution
        return await self._stage(kind, ALLOWED, (subject_kind, str(subject_id)), details, owner)

    def check_as_read(self, changed_by: UUID | None) -> None:
        """Raise `ChangedSince` where the caller read the thing before `changed_by`, the last decision about it if any.

        Call it with the thing locked: of two who read the same, one changes it and the other is told.
        """
        if self.wish is None:
            return
        if self.wish.if_changed_by not in (None, changed_by):
            raise ChangedSince(field="ifChangedBy")
        if self.wish.if_none and changed_by is not None:
            raise ChangedSince("somebody else was the first since you looked; read it, then decide.", field="ifNone")

    async def refused(self, target: Target) -> None:
        """Stage the entry that says it was refused."""
        await self._stage("access.refused", REFUSED, (target.kind, target.id), {}, self.caller.institution)

    async def _stage(
        self, kind: str, outcome: str, subject: tuple[str, str], details: Mapping[str, Json], institution: UUID | None
    ) -> UUID:
        id = new_id()  # noqa: A001
        person = self.wish.on_behalf_of if self.wish else None
        if person is not None:
            details = {**details, FIELD: await self._sealed(person, id)}
        decision = decided(
            kind=kind, outcome=outcome, at=self.at, caller=self.caller, action=self.action, ruling=self.ruling,
            institution=institution, subject=subject, details=details, id=id,
        )  # fmt: skip
        try:
            await self.tx.audit.record(decision)
        except PostgresError as error:
            raise Unavailable(UNRECORDED) from error
        return decision.id

    async def keep_remark(self, decision: UUID, remark: Remark | None) -> None:
        """Keep what was typed beside `decision`; it goes with the person who typed it."""
        await self.tx.remarks.add(decision, remark, self.person.subject if self.person else None)

    async def _sealed(self, person: Person, entry: UUID) -> Json:
        if self.person is None:
            self.person = await self.vault.hold(
                self.tx.subjects, person, self.caller.institution, self.caller.principal, self.at
            )
        return self.person.seal(person, entry).to_json()

    async def done(self, subject: Subject, decision: UUID) -> Done[Subject]:
        """Keep the answer under the idempotency key, if there is one, and return it; it says what changed it last."""
        subject = _as_left_by(decision, subject)
        if self.wish is not None:
            answer = {"subject": subject, "decision": decision, "at": self.at}
            await self.tx.answered.keep(self.caller.principal, self.wish, answer)
        return Done(subject, decision, self.at)

    def again(self, kind: Any) -> Done[Any]:
        """The very answer that was given before."""
        return given_before(self.repeated, kind)


def given_before(answer: Any, kind: Any) -> Done[Any]:
    """What was kept under an idempotency key."""
    at = datetime.fromisoformat(answer["at"])
    return Done(_adapter(kind).validate_python(answer["subject"]), UUID(answer["decision"]), at)


def _as_left_by(decision: UUID, subject: Any) -> Any:
    if is_dataclass(subject) and any(each.name == "changed_by" for each in fields(subject)):
        return replace(subject, changed_by=decision)  # type: ignore[type-var]
    return subject


@cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind)
