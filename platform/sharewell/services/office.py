"""The one shape of every write: ask the policies, open a transaction, change, record the decision with it.

A refusal is recorded in a transaction of its own, and so is a reading that leaves a trace: a regulator's, and one of
what is another institution's. No answer is given where that cannot be recorded.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Hashable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import replace
from datetime import datetime
from typing import Protocol, TypeVar
from uuid import UUID

import structlog
from asyncpg import PostgresError

from sharewell.audit.erasure import Vault
from sharewell.authz import Authorizer
from sharewell.domain.audit import ALLOWED, Decision, Json
from sharewell.domain.errors import Forbidden, NotFound, Unavailable
from sharewell.domain.policy import BETWEEN, MANY, Action, Ruling, Target
from sharewell.domain.predicate import EVERYTHING, NOTHING, Predicate
from sharewell.domain.principals import Caller, Role
from sharewell.domain.reader import PLATFORM, reader_of
from sharewell.domain.resources import Resource
from sharewell.services.act import UNRECORDED, Act
from sharewell.services.extents import Extent, beside
from sharewell.services.rulebook import Rulebook
from sharewell.services.traces import decided, parties, readings, refusals
from sharewell.store.answered import Wish
from sharewell.store.database import Database, Transaction
from sharewell.store.paging import is_whole
from sharewell.store.written import Linked

CHANGED = "the policies changed while this was read, so it is not told; ask again."

log = structlog.get_logger("sharewell")
Subject = TypeVar("Subject")
Key = TypeVar("Key", bound=Hashable)


class OfARegion(Protocol):
    """A thing that is of one region."""

    @property
    def region(self) -> str:
        """Its code."""


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
        target = (await self.placed_for(caller, [target]))[target]
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

    def reading_at_once(self, caller: Caller) -> AbstractAsyncContextManager[Transaction]:
        """The same for one statement of `fetch` or `fetchrow`, in one round trip."""
        return self.database.at_once(reader=reader_of(caller))

    def reading_list(
        self, caller: Caller, asked: Mapping[str, object], seen: Predicate = EVERYTHING, links: Sequence[Linked] = ()
    ) -> AbstractAsyncContextManager[Transaction]:
        """`reading_at_once` where one plan is good for every page of the list that is `asked` for, else `reading`.

        Outside a transaction PostgreSQL settles on one plan for a statement, whatever its values are. That is good
        for pages of everything, which go by id; a list that is narrowed, or joined, needs one for its own values.
        """
        whole = seen == EVERYTHING and not links and is_whole(asked)
        return self.reading_at_once(caller) if whole else self.reading(caller)

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
            return self.authz.decide(caller, action, (await self.placed_for(caller, [target]))[target])
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

    async def extent(
        self, caller: Caller, action: Action, asked: Target, named: Collection[Target] = ()
    ) -> Extent:
        """What `caller` sees of the list `asked`: all of it, or the rows that the policies permit one by one.

        On record as by `allow`, as far as that can be told before it is read; `shown` says the rest. `named` are the
        lists of those to whom a filter narrows it: each that is permitted is on record by itself, so that whoever is
        read of learns of it, and no other is refused; see `_beside`. Raises `Forbidden`, recorded, where nothing of
        `asked` may be seen, or `Unavailable`.
        """
        seen, parts = self.part(caller, action, asked)
        wide = {part: await self.permit(caller, action, part) for part in parts}
        rulings = await self._asked(caller, action, dict.fromkeys(named))
        told = {target: ruling for target, ruling in rulings.items() if ruling.allowed}
        narrowed = bool(named) and len(told) == len(rulings)
        read = told if narrowed and asked == Target.list(action.kind) else wide | told | beside(wide, rulings)
        await self._record_readings(caller, action, [(target, ruling, []) for target, ruling in read.items()])
        own = parts == [own_list(caller, action)]
        recorded = narrowed if named else not own or asked in parts
        return Extent(seen, recorded, frozenset(told))

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

        Each is asked for once more, under its owner. Raises as `still_seen`.
        """
        if extent.recorded:
            return
        others = {
            id: target for id, target in targets.items()  # noqa: A001
            if caller.institution not in parties(target) and target not in extent.named
        }  # fmt: skip
        await self.still_seen(caller, action, others)

    async def still_seen(self, caller: Caller, action: Action, targets: Mapping[UUID, Target]) -> None:
        """Put on record that things were read by a filter of the policies, which are asked for each once more.

        Raises `Unavailable` where they do not permit one of them any more, or recording fails; nothing is told then.
        """
        if await self.seen(caller, action, targets) != set(targets):
            log.warning("what was read is not permitted any more", action=action)
            raise Unavailable(CHANGED, retry_after_seconds=1)

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
        asked = await self._asked(caller, action, set(targets.values()))
        seen = {id for id, target in targets.items() if asked[target].allowed}  # noqa: A001
        named: dict[Target, list[str]] = {}
        for id in sorted(seen, key=str):  # noqa: A001
            named.setdefault(targets[id], []).append(str(id))
        await self._record_readings(caller, action, [(target, asked[target], ids) for target, ids in named.items()])
        return seen

    async def _asked(self, caller: Caller, action: Action, targets: Collection[Target]) -> dict[Target, Ruling]:
        """What the policies say of each, where it is."""
        placed = await self.placed_for(caller, targets)
        return {target: self.authz.ask(caller, action, there) for target, there in placed.items()}

    async def refusals(self, caller: Caller, action: Action, targets: Mapping[Key, Target]) -> dict[Key, Forbidden]:
        """Of things asked for by key, why those are refused that the caller may not see, each ruled on as if alone.

        Readings and refusals are on record then, one entry for each owner. Raises `Unavailable`.
        """
        refused: dict[Key, Forbidden] = {}
        read: dict[Target, tuple[Ruling, list[str]]] = {}
        barred: dict[Target, tuple[Ruling, list[str]]] = {}
        placed = await self.placed_for(caller, set(targets.values()))
        for key, target in targets.items():
            ruling = self.authz.ask(caller, action, placed[target])
            if not ruling.allowed:
                refused[key] = Forbidden(self.authz.explain(caller, action, target, ruling), ruling=ruling)
            named = read if ruling.allowed else barred
            named.setdefault(replace(target, id=MANY), (ruling, []))[1].append(target.id)
        await self.record_alone([
            *readings(self.now(), caller, action, [(target, ruling, ids) for target, (ruling, ids) in read.items()]),
            *refusals(self.now(), caller, action, [(target, ruling, ids) for target, (ruling, ids) in barred.items()]),
        ])  # fmt: skip
        return refused

    async def placed_for(self, caller: Caller, targets: Collection[Target]) -> dict[Target, Target]:
        """The targets, each with where its parties are, if that matters to who asks."""
        if not caller.jurisdiction:
            return {target: target for target in targets}
        return await self.placed(targets)

    async def placed(self, targets: Collection[Target]) -> dict[Target, Target]:
        """The targets, each with where its parties are."""
        regions = await self._regions([who for target in targets for who in parties(target) if who is not None])
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
        await self.record_alone(readings(self.now(), caller, action, read))

    async def record_reading(
        self, kind: str, caller: Caller, action: Action, target: Target, ruling: Ruling, details: Mapping[str, Json]
    ) -> None:
        """Put a reading on record that is of a kind of its own. Raises `Unavailable`."""
        await self.record_alone([
            decided(
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


def own_list(caller: Caller, action: Action) -> Target:
    """The list of what is the caller's own institution's."""
    own = caller.institution
    if action.kind in BETWEEN:
        return Target.list(action.kind, giver=own, receiver=own)
    return Target.list(action.kind, owner=own)


def _found(regions: Mapping[UUID, str], institution: UUID | None) -> str | None:
    return None if institution is None else regions.get(institution)


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
