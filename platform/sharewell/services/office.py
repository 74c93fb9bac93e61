"""The one shape of every write: ask the policies, open a transaction, change, record the decision with it.

A refusal is recorded in a transaction of its own, and no answer is given where it cannot be recorded.
"""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache
from typing import Any, Generic, TypeVar
from uuid import UUID

from asyncpg import PostgresError
from pydantic import TypeAdapter
from uuid_utils.compat import uuid7

from sharewell.authz import Authorizer
from sharewell.domain.audit import Decision, Json
from sharewell.domain.code import code_version
from sharewell.domain.errors import Forbidden, Unavailable
from sharewell.domain.inquiry import ASKED
from sharewell.domain.policy import Action, Ruling, Target
from sharewell.domain.principals import Caller
from sharewell.domain.resources import Resource
from sharewell.store.answered import Wish
from sharewell.store.database import Database, Transaction

Subject = TypeVar("Subject")


@dataclass(frozen=True, slots=True)
class Done(Generic[Subject]):
    """What a write leaves: the thing as it is now, and the decision that is on record for it."""

    subject: Subject
    decision: UUID
    at: datetime


@dataclass(kw_only=True)
class Act:
    """One permitted act inside its transaction."""

    tx: Transaction
    caller: Caller
    action: Action
    ruling: Ruling
    at: datetime
    wish: Wish | None = None
    repeated: Any = field(default=None)  #: the answer given before to the same idempotency key

    async def record(
        self, kind: str, subject_kind: str, subject_id: object, details: Mapping[str, Json], *,
        institution: UUID | None = None,
    ) -> UUID:  # fmt: skip
        """Stage the entry of this decision in the log, in this very transaction; return the decision's id."""
        decision = _decision(
            kind=kind, outcome="allowed", at=self.at, caller=self.caller, action=self.action, ruling=self.ruling,
            institution=institution or self.caller.institution, subject=(subject_kind, str(subject_id)),
            details=details,
        )  # fmt: skip
        await self.tx.audit.record(decision)
        return decision.id

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

    def __init__(self, database: Database, authz: Authorizer, now: Callable[[], datetime]) -> None:
        self.database = database
        self.authz = authz
        self.now = now
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
                    tx=tx, caller=caller, action=action, ruling=ruling, at=at, wish=wish, repeated=repeated
                )  # fmt: skip
        except Forbidden as refusal:
            await self._record_refusal(caller, action, target, refusal)
            raise

    async def resource(self, tx: Transaction, code: str) -> Resource:
        """A line of the catalogue. Lines never change, so each is read once; raises `NotFound`."""
        if code not in self._catalogue:
            self._catalogue[code] = await tx.resources.get(code)
        return self._catalogue[code]

    async def allow(self, caller: Caller, action: Action, target: Target) -> Ruling:
        """Ask the policies. Raises `Forbidden` once the refusal is on record, `Unavailable` if it cannot be."""
        try:
            return self.authz.decide(caller, action, target)
        except Forbidden as refusal:
            await self._record_refusal(caller, action, target, refusal)
            raise

    def may(self, caller: Caller, action: Action, target: Target) -> bool:
        """What the policies say, for a list that shows only what may be seen. Leaving something out is no refusal."""
        return self.authz.ask(caller, action, target).allowed

    async def _record_refusal(self, caller: Caller, action: Action, target: Target, refusal: Forbidden) -> None:
        """Put a refusal on record, in a transaction of its own."""
        decision = _decision(
            kind="access.refused", outcome="refused", at=self.now(), caller=caller, action=action,
            ruling=refusal.ruling, institution=caller.institution, subject=(target.kind, target.id), details={},
        )  # fmt: skip
        try:
            async with self.database.transaction() as tx:
                await tx.audit.record(decision)
        except (Unavailable, PostgresError) as error:
            raise Unavailable("the refusal cannot be recorded just now, so nothing is answered.") from error


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
    institution: UUID | None, subject: tuple[str, str], details: Mapping[str, Json],
) -> Decision:  # fmt: skip
    if ruling is not None and ruling.inquiry is not None:
        details = {**details, ASKED: {**ruling.inquiry.to_json(), "code": code_version()}}
    return Decision(
        id=new_id(), kind=kind, at=at, actor=caller.principal, institution=institution, action=action,
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
