"""The one shape of every write: ask the policies, open a transaction, change, record the decision with it.

A refusal is recorded in a transaction of its own, and so is a reading that leaves a trace: a regulator's, and one of
what is another institution's. No answer is given where that cannot be recorded.
"""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Callable, Hashable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache
from typing import Any, Generic, TypeVar
from uuid import UUID

from asyncpg import PostgresError
from pydantic import TypeAdapter
from uuid_utils.compat import uuid7

from sharewell.audit.erasure import Opened, Vault
from sharewell.authz import Authorizer
from sharewell.domain.audit import ALLOWED, REFUSED, Decision, Json
from sharewell.domain.code import code_version
from sharewell.domain.errors import Forbidden, Unavailable
from sharewell.domain.inquiry import ASKED
from sharewell.domain.policy import Action, Ruling, Target
from sharewell.domain.principals import Caller, Role
from sharewell.domain.remarks import Remark
from sharewell.domain.resources import Resource
from sharewell.domain.subjects import FIELD, Person
from sharewell.store.answered import Wish
from sharewell.store.database import Database, Transaction

Subject = TypeVar("Subject")
Key = TypeVar("Key", bound=Hashable)

MOST_NAMED = 1000  #: ids in the entry of one reading
UNRECORDED = "this cannot be put on record just now, so nothing is done and nothing is answered."

#: Kinds of target that are some institution's own; the catalogue, the members, the rules and the jobs are nobody's.
OWNED = frozenset({
    "capacity", "offer", "request", "transfer", "override", "deviation", "consent", "forecast", "allocation", "receipt",
    "client",
})  # fmt: skip


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
        decision = _decision(
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
        """Keep the answer under the idempotency key, if there is one, and return it."""
        if self.wish is not None:
            answer = {"subject": subject, "decision": decision, "at": self.at}
            await self.tx.answered.keep(self.caller.principal, self.wish, answer)
        return Done(subject, decision, self.at)

    def again(self, kind: Any) -> Done[Any]:
        """The very answer that was given before."""
        return Done(
            _adapter(kind).validate_python(self.repeated["subject"]),
            UUID(self.repeated["decision"]),
            datetime.fromisoformat(self.repeated["at"]),
        )


class Office:
    """Where acts are permitted, done and recorded."""

    def __init__(self, database: Database, authz: Authorizer, now: Callable[[], datetime], vault: Vault) -> None:
        self.database = database
        self.authz = authz
        self.now = now
        self.vault = vault
        self._catalogue: dict[str, Resource] = {}

    @asynccontextmanager
    async def act(
        self, caller: Caller, action: Action, target: Target, wish: Wish | None = None
    ) -> AsyncIterator[Act]:
        """A transaction in which `action` on `target` is permitted; it commits when the block ends well.

        Raises `Forbidden` (recorded), `IdempotencyConflict`, or `Unavailable`.
        """
        try:
            async with self.database.transaction() as tx:
                at, repeated = self.now(), None
                if wish is None:
                    standing = await _standing(tx, caller, action)
                else:
                    repeated, standing = await tx.answered.claim(caller.principal, wish, at, caller.institution)
                ruling = self.authz.decide(caller, action, target, _context(caller, action, standing))
                yield Act(
                    tx=tx, caller=caller, action=action, ruling=ruling, at=at, vault=self.vault, wish=wish,
                    repeated=repeated,
                )  # fmt: skip
        except Forbidden as refusal:
            await self._record_refusal(caller, action, target, refusal, wish)
            raise

    async def resource(self, tx: Transaction, code: str) -> Resource:
        """A line of the catalogue. Lines never change, so each is read once; raises `NotFound`."""
        if code not in self._catalogue:
            self._catalogue[code] = await tx.resources.get(code)
        return self._catalogue[code]

    async def allow(self, caller: Caller, action: Action, *targets: Target) -> None:
        """Ask the policies, and put on record what leaves a trace.

        Raises `Forbidden` once the refusal is on record, `Unavailable` if refusal or reading cannot be.
        """
        await self._record_readings(
            caller, action, [(target, await self.permit(caller, action, target), []) for target in targets]
        )

    async def permit(self, caller: Caller, action: Action, target: Target) -> Ruling:
        """Ask the policies alone, where something else puts the reading on record.

        Raises `Forbidden` once the refusal is on record, `Unavailable` if it cannot be.
        """
        try:
            return self.authz.decide(caller, action, target)
        except Forbidden as refusal:
            await self._record_refusal(caller, action, target, refusal)
            raise

    async def everybodys_or_own(self, caller: Caller, action: Action) -> UUID | None:
        """Whose rows the caller gets: None for everybody's, else its own institution.

        Permitted and put on record as by `allow`; raises the same.
        """
        everybodys = self.may(caller, action, Target.list(action.kind))
        institution = None if everybodys else caller.institution
        await self.allow(caller, action, Target.list(action.kind, owner=institution))
        return institution

    def may(self, caller: Caller, action: Action, target: Target) -> bool:
        """What the policies say, to choose what to ask for; nothing may be shown on the strength of it alone."""
        return self.authz.ask(caller, action, target).allowed

    async def seen(self, caller: Caller, action: Action, targets: Mapping[Key, Target]) -> set[Key]:
        """Of things that a list names, by key, those the caller may see, once their reading is on record.

        Leaving something out is no refusal. Each target is the list of its owner's things; one entry for each owner.
        Raises `Unavailable`.
        """
        asked = {target: self.authz.ask(caller, action, target) for target in set(targets.values())}
        seen = {id for id, target in targets.items() if asked[target].allowed}  # noqa: A001
        named: dict[Target, list[str]] = {}
        for id in sorted(seen, key=str):  # noqa: A001
            named.setdefault(targets[id], []).append(str(id))
        await self._record_readings(caller, action, [(target, asked[target], ids) for target, ids in named.items()])
        return seen

    async def _record_refusal(
        self, caller: Caller, action: Action, target: Target, refusal: Forbidden, wish: Wish | None = None
    ) -> None:
        """Put a refusal on record, in a transaction of its own."""
        try:
            async with self.database.transaction() as tx:
                act = Act(
                    tx=tx, caller=caller, action=action, ruling=refusal.ruling, at=self.now(), vault=self.vault,
                    wish=wish,
                )  # fmt: skip
                await act.refused(target)
        except (Unavailable, PostgresError) as error:
            raise Unavailable(UNRECORDED) from error

    async def _record_readings(
        self, caller: Caller, action: Action, read: list[tuple[Target, Ruling, list[str]]]
    ) -> None:
        """Whoever is read of finds the reading among the decisions about itself."""
        await self.record_alone([
            _decision(
                kind="data.read", outcome=ALLOWED, at=self.now(), caller=caller, action=action, ruling=ruling,
                institution=target.owner or target.giver or caller.institution, subject=(target.kind, target.id),
                details={**_parties_of(target), **({"ids": ids[:MOST_NAMED], "count": len(ids)} if ids else {})},
            )
            for target, ruling, ids in read if _leaves_a_trace(caller, action, target)
        ])  # fmt: skip

    async def record_reading(
        self, kind: str, caller: Caller, action: Action, target: Target, ruling: Ruling, details: Mapping[str, Json]
    ) -> None:
        """Put a reading on record that is of a kind of its own. Raises `Unavailable`."""
        await self.record_alone([
            _decision(
                kind=kind, outcome=ALLOWED, at=self.now(), caller=caller, action=action, ruling=ruling,
                institution=target.owner or target.giver or caller.institution, subject=(target.kind, target.id),
                details=details,
            )
        ])  # fmt: skip

    async def record_alone(self, decisions: list[Decision]) -> None:
        """Put `decisions` on record in a transaction of their own; raises `Unavailable`, and then nothing is told."""
        if not decisions:
            return
        try:
            async with self.database.transaction() as tx:
                for decision in decisions:
                    await tx.audit.record(decision)
        except (Unavailable, PostgresError) as error:
            raise Unavailable(UNRECORDED) from error


def _leaves_a_trace(caller: Caller, action: Action, target: Target) -> bool:
    """Whether a reading is recorded: every one of a regulator, and of an institution those of what is not its own."""
    if action.writes:
        return False
    if Role.REGULATOR in caller.roles:
        return True
    parties = {target.owner, target.giver, target.receiver}
    return caller.institution is not None and target.kind in OWNED and caller.institution not in parties


def _parties_of(target: Target) -> dict[str, Json]:
    parties = {"owner": target.owner, "giver": target.giver, "receiver": target.receiver}
    return {name: str(party) for name, party in parties.items() if party is not None}


async def _standing(tx: Transaction, caller: Caller, action: Action) -> str | None:
    if caller.institution is None or not action.writes:
        return None
    return await tx.institutions.standing(caller.institution)


def _context(caller: Caller, action: Action, standing: str | None) -> dict[str, str]:
    """What the policies should know of the caller's institution before it changes anything."""
    if caller.institution is None or not action.writes:
        return {}
    if standing is None:
        raise Forbidden("the client's institution is not registered.")
    return {"callerStatus": standing}


def _decision(
    *, kind: str, outcome: str, at: datetime, caller: Caller, action: Action, ruling: Ruling | None,
    institution: UUID | None, subject: tuple[str, str], details: Mapping[str, Json], id: UUID | None = None,  # noqa: A002
) -> Decision:  # fmt: skip
    if ruling is not None and ruling.inquiry is not None:
        details = {**details, ASKED: {**ruling.inquiry.to_json(), "code": code_version()}}
    return Decision(
        id=id or new_id(), kind=kind, at=at, actor=caller.principal, institution=institution, action=action,
        outcome=outcome, policy_set=ruling.policy_set if ruling else "", policies=ruling.policies if ruling else (),
        subject_kind=subject[0], subject_id=subject[1], details=details, request_id=caller.request_id,
        nonce=new_salt(),
    )  # fmt: skip


def new_salt() -> str:
    """16 random bytes in hex, for a hash from which nobody can guess what was hashed."""
    return secrets.token_hex(16)


def new_id() -> UUID:
    """A UUID version 7 (RFC 9562): ids made later sort later, so keyset pages follow time."""
    return uuid7()


@cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind)
