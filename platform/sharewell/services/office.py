"""The one shape of every write: ask the policies, open a transaction, change, record the decision with it.

A refusal is recorded in a transaction of its own, and so is a reading that leaves a trace: a regulator's, and one of
what is another institution's. No answer is given where that cannot be recorded.
"""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Hashable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import dataclass, field, fields, is_dataclass, replace
from datetime import datetime
from functools import cache
from typing import Any, Generic, Protocol, TypeVar
from uuid import UUID

from asyncpg import PostgresError
from pydantic import TypeAdapter
from uuid_utils.compat import uuid7

from sharewell.audit.erasure import Opened, Vault
from sharewell.authz import Authorizer, PolicyError
from sharewell.domain.audit import ALLOWED, REFUSED, Decision, Json
from sharewell.domain.code import code_version
from sharewell.domain.errors import ChangedSince, Forbidden, NotFound, Unavailable
from sharewell.domain.inquiry import ASKED
from sharewell.domain.policy import BETWEEN, MANY, Action, Ruling, Target
from sharewell.domain.predicate import NOTHING, Predicate
from sharewell.domain.principals import Caller, Role
from sharewell.domain.reader import PLATFORM, reader_of
from sharewell.domain.remarks import Remark
from sharewell.domain.resources import Resource
from sharewell.domain.subjects import FIELD, Person
from sharewell.services.rulebook import Rulebook
from sharewell.store.answered import Wish
from sharewell.store.database import Database, Transaction

Subject = TypeVar("Subject")
Key = TypeVar("Key", bound=Hashable)

MOST_NAMED = 1000  #: ids in the entry of one reading
UNRECORDED = "this cannot be put on record just now, so nothing is done and nothing is answered."

#: Kinds of target that are some institution's own; the catalogue, the members, the rules and the jobs are nobody's.
OWNED = frozenset({
    "capacity", "offer", "request", "transfer", "override", "deviation", "consent", "forecast", "allocation", "receipt",
    "client", "agreement",
})  # fmt: skip


@dataclass(frozen=True, slots=True)
class Done(Generic[Subject]):
    """What a write leaves: the thing as it is now, and the decision that is on record for it."""

    subject: Subject
    decision: UUID
    at: datetime


class OfARegion(Protocol):
    """A thing that is of one region."""

    @property
    def region(self) -> str:
        """Its code."""


@dataclass(frozen=True, slots=True)
class Extent:
    """What of a list a caller sees."""

    seen: Predicate  #: which of its rows
    recorded: bool  #: the list is on record as it is; else what is shown of others must be, see `Office.shown`


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
        """Raise `ChangedSince` where the caller read the thing before `changed_by`, the last decision about it.

        Call it with the thing locked: of two who read the same, one changes it and the other is told.
        """
        if self.wish is not None and self.wish.if_changed_by not in (None, changed_by):
            raise ChangedSince(field="ifChangedBy")

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
        """Keep the answer under the idempotency key, if there is one, and return it; it says what changed it last."""
        subject = _as_left_by(decision, subject)
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

    def __init__(self, database: Database, rulebook: Rulebook, now: Callable[[], datetime], vault: Vault) -> None:
        self.database = database
        self.rulebook = rulebook
        self.now = now
        self.vault = vault
        self._catalogue: dict[str, Resource] = {}

    @property
    def authz(self) -> Authorizer:
        """The policies in force at this moment. Raises `Unavailable` where this process cannot read them."""
        return self.rulebook.at(self.now())

    @asynccontextmanager
    async def act(
        self, caller: Caller, action: Action, target: Target, wish: Wish | None = None
    ) -> AsyncIterator[Act]:
        """A transaction in which `action` on `target` is permitted; it commits when the block ends well.

        Raises `Forbidden` (recorded), `IdempotencyConflict`, or `Unavailable`.
        """
        target = (await self._placed(caller, [target]))[target]
        try:
            async with self.database.transaction(reader=reader_of(caller)) as tx:
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

    def reading(self, caller: Caller) -> AbstractAsyncContextManager[Transaction]:
        """A transaction that reads for `caller`: PostgreSQL itself lets no row through that is not for it."""
        return self.database.transaction(read_only=True, reader=reader_of(caller))

    def looking(self) -> AbstractAsyncContextManager[Transaction]:
        """A transaction in which the platform reads for itself.

        To learn whose a thing is before the policies are asked, or to count over all without naming anybody. What it
        reads of institutions is not told to a caller unless the policies have permitted just that.
        """
        return self.database.transaction(read_only=True, reader=PLATFORM)

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
            return self.authz.decide(caller, action, (await self._placed(caller, [target]))[target])
        except Forbidden as refusal:
            await self._record_refusal(caller, action, target, refusal)
            raise

    async def found(
        self, caller: Caller, action: Action, find: Callable[[Transaction], Awaitable[Subject]],
        target: Callable[[Subject], Target],
    ) -> Subject:  # fmt: skip
        """One thing, read for `caller` and permitted; `find`, of one statement, raises `NotFound` where there is none.

        What the database does not let through is looked up to learn whose it is, so that the refusal is on record and
        says the same; should the policies permit it all the same, it is not told. Raises as `allow`, or `NotFound`.
        """
        try:
            async with self.database.at_once(reader=reader_of(caller)) as tx:
                thing = await find(tx)
        except NotFound as unseen:
            async with self.looking() as tx:
                hidden = await find(tx)
            await self.allow(caller, action, target(hidden))
            raise unseen from None
        await self.allow(caller, action, target(thing))
        return thing

    async def named(
        self, caller: Caller, action: Action, ids: list[Key],
        find: Callable[[Transaction, list[Key]], Awaitable[Mapping[Key, Subject]]],
        target: Callable[[Subject], Target],
    ) -> tuple[dict[Key, Subject], dict[Key, Forbidden]]:  # fmt: skip
        """Several things by id, each permitted as `found` would: those that are told, and the refusals of others."""
        async with self.reading(caller) as tx:
            read = await find(tx, ids)
        hidden: Mapping[Key, Subject] = {}
        if unseen := [id for id in ids if id not in read]:  # noqa: A001
            async with self.looking() as tx:
                hidden = await find(tx, unseen)
        targets = {id: target(thing) for id, thing in {**read, **hidden}.items()}  # noqa: A001
        refused = await self.refusals(caller, action, targets)
        return {id: thing for id, thing in read.items() if id not in refused}, refused  # noqa: A001

    async def extent(self, caller: Caller, action: Action, asked: Target) -> Extent:
        """What `caller` sees of the list `asked`: all of it, or the rows that the policies permit one by one.

        On record as by `allow`, as far as that can be told before it is read; `shown` says the rest. Raises
        `Forbidden`, recorded, where nothing of it may be seen, or `Unavailable`.
        """
        seen, parts = self.part(caller, action, asked)
        own = parts == [own_list(caller, action)]
        await self.allow(caller, action, *parts)
        return Extent(seen, recorded=not own or asked in parts)

    def part(self, caller: Caller, action: Action, asked: Target) -> tuple[Predicate, list[Target]]:
        """Which rows of the list `asked` the caller may see, and the lists of which each is permitted as a whole.

        These are `asked` itself, or else the lists of the regulator's regions, or that of the caller's own institution.
        """
        seen = self.authz.filter(caller, action)
        if seen == NOTHING or asked != Target.list(action.kind) or self.may(caller, action, asked):
            return seen, [asked]
        if Role.REGULATOR in caller.roles and caller.jurisdiction:
            return seen, [Target.of_region(action.kind, region) for region in sorted(caller.jurisdiction)]
        return seen, [own_list(caller, action)]

    async def shown(self, caller: Caller, action: Action, extent: Extent, targets: Mapping[UUID, Target]) -> None:
        """Put on record of whom a list showed what, where that could not be told before.

        Each is asked for once more, under its owner. Raises `Unavailable`, and then nothing may be shown.
        """
        if extent.recorded:
            return
        others = {id: target for id, target in targets.items() if caller.institution not in _parties(target)}  # noqa: A001
        if await self.seen(caller, action, others) != set(others):
            raise PolicyError(f"a list filtered for {action} shows what the policies do not permit")

    async def whose(self, caller: Caller, giver: UUID, receiver: UUID) -> UUID:
        """Of a thing that belongs to both, the party as whose it is seen: the caller's own, or one of its regions."""
        if caller.institution == receiver:
            return receiver
        if caller.jurisdiction and giver != caller.institution:
            regions = await self._regions([giver, receiver])
            if regions.get(giver) not in caller.jurisdiction and regions.get(receiver) in caller.jurisdiction:
                return receiver
        return giver

    async def region_of(
        self, caller: Caller, find: Callable[[Transaction], Awaitable[OfARegion]]
    ) -> str | None:
        """Of which region a thing is that belongs to no institution; None where that does not matter to who asks."""
        if not caller.jurisdiction:
            return None
        with suppress(NotFound):
            async with self.looking() as tx:
                return (await find(tx)).region
        return None

    def may(self, caller: Caller, action: Action, target: Target) -> bool:
        """What the policies say, to choose what to ask for; nothing may be shown on the strength of it alone."""
        return self.authz.ask(caller, action, target).allowed

    async def seen(self, caller: Caller, action: Action, targets: Mapping[Key, Target]) -> set[Key]:
        """Of things that a list names, by key, those the caller may see, once their reading is on record.

        Leaving something out is no refusal. Each target is the list of its owner's things; one entry for each owner.
        Raises `Unavailable`.
        """
        placed = await self._placed(caller, set(targets.values()))
        asked = {target: self.authz.ask(caller, action, there) for target, there in placed.items()}
        seen = {id for id, target in targets.items() if asked[target].allowed}  # noqa: A001
        named: dict[Target, list[str]] = {}
        for id in sorted(seen, key=str):  # noqa: A001
            named.setdefault(targets[id], []).append(str(id))
        await self._record_readings(caller, action, [(target, asked[target], ids) for target, ids in named.items()])
        return seen

    async def refusals(self, caller: Caller, action: Action, targets: Mapping[Key, Target]) -> dict[Key, Forbidden]:
        """Of things asked for by key, why those are refused that the caller may not see, each ruled on as if alone.

        Readings and refusals are on record then, one entry for each owner. Raises `Unavailable`.
        """
        refused: dict[Key, Forbidden] = {}
        read: dict[Target, tuple[Ruling, list[str]]] = {}
        barred: dict[Target, tuple[Ruling, list[str]]] = {}
        placed = await self._placed(caller, set(targets.values()))
        for key, target in targets.items():
            ruling = self.authz.ask(caller, action, placed[target])
            if not ruling.allowed:
                refused[key] = Forbidden(self.authz.explain(caller, action, target, ruling), ruling=ruling)
            named = read if ruling.allowed else barred
            named.setdefault(replace(target, id=MANY), (ruling, []))[1].append(target.id)
        await self.record_alone([
            *_readings(self.now(), caller, action, [(target, ruling, ids) for target, (ruling, ids) in read.items()]),
            *_refusals(self.now(), caller, action, [(target, ruling, ids) for target, (ruling, ids) in barred.items()]),
        ])  # fmt: skip
        return refused

    async def _placed(self, caller: Caller, targets: Collection[Target]) -> dict[Target, Target]:
        """The targets, each with where its parties are, if that matters to who asks."""
        if not caller.jurisdiction:
            return {target: target for target in targets}
        return await self.placed(targets)

    async def placed(self, targets: Collection[Target]) -> dict[Target, Target]:
        """The targets, each with where its parties are."""
        regions = await self._regions([who for target in targets for who in _parties(target) if who is not None])
        return {
            target: replace(
                target, region=target.region or _found(regions, target.owner),
                giver_region=target.giver_region or _found(regions, target.giver),
                receiver_region=target.receiver_region or _found(regions, target.receiver),
            )
            for target in targets
        }  # fmt: skip

    async def _regions(self, institutions: list[UUID]) -> dict[UUID, str]:
        """Where each is. Nobody's region ever changes, but that is for the database to say."""
        if not institutions:
            return {}
        async with self.looking() as tx:
            return {id: row.region for id, row in (await tx.institutions.by_ids(institutions)).items()}  # noqa: A001

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
        await self.record_alone(_readings(self.now(), caller, action, read))

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
            alone = self.database.at_once if len(decisions) == 1 else self.database.transaction
            async with alone() as tx:
                for decision in decisions:
                    await tx.audit.record(decision)
        except (Unavailable, PostgresError) as error:
            raise Unavailable(UNRECORDED) from error


def _readings(
    at: datetime, caller: Caller, action: Action, read: list[tuple[Target, Ruling, list[str]]]
) -> list[Decision]:
    """Whoever is read of finds the reading among the decisions about itself."""
    return [
        _decision(
            kind="data.read", outcome=ALLOWED, at=at, caller=caller, action=action, ruling=ruling,
            institution=target.owner or target.giver or caller.institution, subject=(target.kind, target.id),
            details={**_parties_of(target), **_named(ids)},
        )
        for target, ruling, ids in read if _leaves_a_trace(caller, action, target)
    ]  # fmt: skip


def _refusals(
    at: datetime, caller: Caller, action: Action, barred: list[tuple[Target, Ruling, list[str]]]
) -> list[Decision]:
    return [
        _decision(
            kind="access.refused", outcome=REFUSED, at=at, caller=caller, action=action, ruling=ruling,
            institution=caller.institution, subject=(target.kind, target.id), details=_named(ids),
        )
        for target, ruling, ids in barred
    ]  # fmt: skip


def _named(ids: list[str]) -> dict[str, Json]:
    return {"ids": ids[:MOST_NAMED], "count": len(ids)} if ids else {}


def _leaves_a_trace(caller: Caller, action: Action, target: Target) -> bool:
    """Whether a reading is recorded: all of regulators and auditors, and an institution's of what is not its own."""
    if action.writes:
        return False
    if not caller.roles.isdisjoint({Role.REGULATOR, Role.AUDITOR}):
        return True
    return caller.institution is not None and target.kind in OWNED and caller.institution not in _parties(target)


def own_list(caller: Caller, action: Action) -> Target:
    """The list of what is the caller's own institution's."""
    own = caller.institution
    if action.kind in BETWEEN:
        return Target.list(action.kind, giver=own, receiver=own)
    return Target.list(action.kind, owner=own)


def _parties(target: Target) -> set[UUID | None]:
    return {target.owner, target.giver, target.receiver}


def _found(regions: Mapping[UUID, str], institution: UUID | None) -> str | None:
    return None if institution is None else regions.get(institution)


def _parties_of(target: Target) -> dict[str, Json]:
    told = {
        "owner": target.owner, "giver": target.giver, "receiver": target.receiver,
        "region": target.region or target.giver_region,
    }  # fmt: skip
    return {name: str(party) for name, party in told.items() if party is not None}


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


def _as_left_by(decision: UUID, subject: Any) -> Any:
    if is_dataclass(subject) and any(each.name == "changed_by" for each in fields(subject)):
        return replace(subject, changed_by=decision)  # type: ignore[type-var]
    return subject


def new_salt() -> str:
    """16 random bytes in hex, for a hash from which nobody can guess what was hashed."""
    return secrets.token_hex(16)


def new_id() -> UUID:
    """A UUID version 7 (RFC 9562): ids made later sort later, so keyset pages follow time."""
    return uuid7()


@cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind)
