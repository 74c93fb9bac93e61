"""Why somebody was refused, who can do what, and a review of all access. Each question is put on record."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from typing import Final
from uuid import UUID

from sharewell.authz import Policy
from sharewell.domain import checks
from sharewell.domain.agreements import SharedDetail
from sharewell.domain.audit import REFUSED, Decision, Json, format_time
from sharewell.domain.clients import Client, ClientStatus
from sharewell.domain.errors import Invalid
from sharewell.domain.inquiry import Inquiry
from sharewell.domain.people import Person, PersonStatus
from sharewell.domain.policy import MANY, SHARED, Action, Target, scope_of
from sharewell.domain.principals import WORKERS, Caller
from sharewell.domain.review import (
    DORMANT_AFTER,
    Able,
    AccessState,
    Holder,
    Permitted,
    Reach,
    Registration,
    Reviewed,
    as_process,
    changes,
    context_of,
    process,
    reaches,
    ways_of_client,
    ways_of_person,
)
from sharewell.domain.simulation import Unplayed, Verdict
from sharewell.services.audit import target_of
from sharewell.services.office import Office
from sharewell.services.simulations import Questions, set_of_then
from sharewell.store.audit import RecordedDecision
from sharewell.store.database import Transaction
from sharewell.store.paging import OLDEST, Page, Size, walked
from sharewell.store.reviews import ReviewRepository

AT_ONCE: Final = 200  #: registrations looked at in one go
Place = tuple[Holder, str]  #: in a list of processes, clients and people
#: The order of such a list, each sort of holder with the place that all of it lies behind.
_TURNS: Final[tuple[Place, ...]] = ((Holder.PROCESS, ""), (Holder.CLIENT, ""), (Holder.PERSON, str(OLDEST)))
#: By what is asked for, what of an owner's numbers an agreement must show.
_DETAILS: Final = {"capacity": SharedDetail.COUNTS, "forecast": SharedDetail.FORECASTS}


@dataclass(frozen=True, slots=True, kw_only=True)
class Explained:
    """Why something was refused, and what would be permitted."""

    decision: Decision
    policies: tuple[Policy, ...]  #: of then, that forbade it; none where nothing permitted it
    permitting: tuple[Policy, ...]  #: of now, that permit the act to somebody
    scope: str | None  #: that the act needs; None where no policy was asked
    allowed_now: bool | None  #: under the policies in force; None where it cannot be asked again
    would_change: tuple[tuple[str, ...], ...]  #: facts that, changed alone or two at once, lift the refusal now


class ReviewService:
    """Who can do what, and why not."""

    def __init__(self, office: Office) -> None:
        self._office = office

    async def why_refused(self, caller: Caller, id: UUID) -> Explained:  # noqa: A002
        """For the refused itself and those entitled. Raises `NotFound`, or `Invalid` for what was not refused."""
        recorded = await self._find(id)
        own = recorded.decision.actor == caller.principal
        action = Action.EXPLAIN_OWN_REFUSAL if own else Action.EXPLAIN_ACCESS
        async with self._office.act(caller, action, target_of(recorded)) as act:
            if recorded.decision.outcome != REFUSED:
                raise Invalid("this decision was allowed; only a refusal is explained.", field="decision")
            await act.record(
                "access.explained", "decision", id, {}, institution=recorded.decision.institution
            )
        return await self._explained(recorded.decision)

    async def who_can(
        self, caller: Caller, action: Action, target: Target, *, place: Place | None, first: int
    ) -> Page[Able]:
        """The processes, clients and people that can do it now, in this order.

        Of the target's institutions it is known where they are, and whom its owner shows something of the kind.
        """
        asked: dict[str, Json] = {"action": str(action), "id": target.id, **_parties(target)}
        await self._recorded(caller, asked)
        target = await self._known(target)
        questions = Questions(self._office.authz)
        async with self._office.database.transaction(read_only=True) as tx:
            able = partial(
                _able_ones, tx, questions, action, target, self._office.now(), backwards=Size.of(first).backwards
            )
            return await walked(able, place, first, lambda each: (each.holder, each.id))

    async def _known(self, target: Target) -> Target:
        """With all that the policies may ask of it, whoever asks."""
        if target.kind in SHARED and target.owner is not None:
            detail, at = _DETAILS[target.kind], self._office.now()
            async with self._office.looking() as tx:
                shown = await tx.agreements.in_force_by(target.owner, at)
            receivers = frozenset(each.receiver for each in shown if each.shows(detail, at))
            target = replace(target, shared_with=receivers)
        return (await self._office.placed([target]))[target]

    async def what_can(self, caller: Caller, client_id: str) -> tuple[Permitted, ...]:
        """Every act the client can do as it is registered now; none where it is refused altogether."""
        async with self._office.database.transaction(read_only=True) as tx:
            client = await tx.clients.find(client_id)
        target = Target(kind="client", id=client_id, owner=client.institution if client else None)
        async with self._office.act(caller, Action.REVIEW_ACCESS, target) as act:
            client = await act.tx.clients.get(client_id)
            await act.record("access.reviewed", "client", client_id, {}, institution=client.institution)
            standing = None
            if client.institution is not None:
                standing = await act.tx.institutions.standing(client.institution)
            if not client.usable(at=act.at):
                return ()
        return permitted(Questions(self._office.authz), list(ways_of_client(client)), standing)

    async def page(
        self, caller: Caller, *, at: datetime | None, dormant_after: timedelta = DORMANT_AFTER, place: Place | None,
        first: int,
    ) -> Page[Reviewed]:  # fmt: skip
        """Everybody registered by then, clients first; what each can do is under the policies in force now."""
        now = self._office.now()
        at = now if at is None else checks.moment(at, "at")
        if at > now:
            raise Invalid("at lies in the future; a review is of what was registered by then.", field="at")
        if dormant_after <= timedelta(0):
            raise Invalid("dormantDays must be 1 or more.", field="dormantDays")
        await self._recorded(caller, {"at": format_time(at)})
        questions = Questions(self._office.authz)
        async with self._office.database.transaction(read_only=True) as tx:
            apps = await tx.clients.apps(at=now)
            rows = await _registrations(tx, place, at, first)
            standings = await _standings(tx, rows)
            total = await ReviewRepository(tx.conn).total(at) if Size.of(first).counted else None
        reviewed = []
        for row in rows:
            active = row.state(at) is AccessState.ACTIVE
            can = permitted(questions, _ways(row, apps), standings.get(row.institution)) if active else ()
            reviewed.append(Reviewed(
                registration=row, state=row.state(at), dormant=row.dormant(at, dormant_after), permitted=can
            ))  # fmt: skip
            await asyncio.sleep(0)  # a line is some hundred questions, in which others want to be answered
        return replace(Page.of(reviewed, first), total=total)

    async def _recorded(self, caller: Caller, asked: Mapping[str, Json]) -> None:
        async with self._office.act(caller, Action.REVIEW_ACCESS, Target.list("client")) as act:
            await act.record("access.reviewed", "client", MANY, asked)

    async def _find(self, id: UUID) -> RecordedDecision:  # noqa: A002
        async with self._office.database.transaction(read_only=True) as tx:
            return await tx.audit.get(id)

    async def _explained(self, decision: Decision) -> Explained:
        inquiry = None
        with suppress(Invalid):  # of an act or a role that this release does not know
            inquiry = Inquiry.of(decision)
        then = await set_of_then(self._office, decision.policy_set) if decision.policies else None
        forbidding = tuple(then.policies[name] for name in decision.policies if name in then.policies) if then else ()
        if inquiry is None:
            return Explained(
                decision=decision, policies=forbidding, permitting=(), scope=None, allowed_now=None, would_change=()
            )
        authz, questions = self._office.authz, Questions(self._office.authz)
        now = _allowed(questions, inquiry)
        about = [each for each in authz.policies.values() if each.effect == "permit" and inquiry.action in each.actions]
        return Explained(
            decision=decision, policies=forbidding, permitting=tuple(about),
            scope=scope_of(inquiry.action, inquiry.target), allowed_now=now,
            would_change=() if now else _would_change(questions, inquiry),
        )  # fmt: skip


def permitted(questions: Questions, ways: list[Caller], standing: str | None) -> tuple[Permitted, ...]:
    """What can be done in any of these ways, each act as widely as it is permitted."""
    return tuple(
        Permitted(action=action, reach=reach, policies=policies)
        for action in Action
        for reach, policies in _reached(questions, ways, action, standing).items()
    )


def _reached(
    questions: Questions, ways: list[Caller], action: Action, standing: str | None
) -> dict[Reach, tuple[str, ...]]:
    """The reaches that are permitted in one of the ways, and the policies that do so; where it is all, only that.

    Ways differ in what can be reached at all: through one app a person has its regions, through another none.
    """
    found: dict[Reach, tuple[str, ...]] = {}
    for way in ways:
        for reach, targets in reaches(way, action):
            policies = None if reach in found else _by(questions, [way], action, targets, standing)
            if policies is None:
                continue
            if reach is Reach.ALL:
                return {reach: policies}
            found[reach] = policies
    return {reach: found[reach] for reach in Reach if reach in found}


def _by(
    questions: Questions, ways: Iterable[Caller], action: Action, targets: tuple[Target, ...], standing: str | None
) -> tuple[str, ...] | None:
    """The policies that permit it on all `targets` in one of the ways; None where none does."""
    for way in ways:
        context = context_of(way, action, standing)
        said = [
            questions.verdict(Inquiry(caller=way, action=action, target=target, context=context)) for target in targets
        ]
        if all(isinstance(each, Verdict) and each.allowed for each in said):
            return tuple(sorted({name for each in said if isinstance(each, Verdict) for name in each.policies}))
    return None


def _ways(row: Registration, apps: list[Client]) -> list[Caller]:
    if row.holder is Holder.CLIENT:
        return list(ways_of_client(_client(row)))
    return [way for app in apps for way in ways_of_person(_person(row), app)]


def _client(row: Registration) -> Client:
    return Client(
        client_id=row.id, name=row.name, roles=row.roles, scopes=row.scopes, keys=(), institution=row.institution,
        status=ClientStatus.ACTIVE, expires_at=row.expires_at, created_at=row.created_at,
        sender_constrained=row.sender_constrained, purposes=row.purposes, jurisdiction=row.jurisdiction,
    )  # fmt: skip


def _person(row: Registration) -> Person:
    return Person(
        id=UUID(row.id), login="", name=row.name, roles=row.roles, institution=row.institution,
        status=PersonStatus.ACTIVE, created_at=row.created_at, jurisdiction=row.jurisdiction,
    )  # fmt: skip


def _ahead(place: Place | None, *, backwards: bool) -> list[Place]:
    """From where on each sort of holder is read: the one that `place` is among, and those that come behind it."""
    turns = _TURNS[::-1] if backwards else _TURNS
    if place is None:
        return list(turns)
    among = [holder for holder, _ in turns].index(place[0])
    return [place, *turns[among + 1 :]]


async def _able_ones(
    tx: Transaction, questions: Questions, action: Action, target: Target, at: datetime, place: Place | None, *,
    backwards: bool,
) -> AsyncIterator[Able]:  # fmt: skip
    """Those on from `place` that can do it."""
    apps = await tx.clients.apps(at=at)
    for start in _ahead(place, backwards=backwards):
        if start[0] is Holder.PROCESS:
            for each in _processes(questions, action, target, start[1], backwards=backwards):
                yield each
            continue
        here: Place = start
        while rows := await _held(tx, here, at, Size(AT_ONCE, backwards=backwards)):
            standings = await _standings(tx, rows)
            for row in rows:
                if row.state(at) is AccessState.ACTIVE:
                    able = _able(questions, row, apps, action, target, standings)
                    if able is not None:
                        yield able
                await asyncio.sleep(0)
            here = rows[-1].holder, rows[-1].id


def _processes(
    questions: Questions, action: Action, target: Target, place: str, *, backwards: bool
) -> Iterator[Able]:  # fmt: skip
    """Those that can do it, of the names that follow `place`, or precede it; of all where it is empty."""
    for name in sorted(WORKERS, reverse=backwards):
        if place and (name >= place if backwards else name <= place):
            continue
        policies = _by(questions, [process(name)], action, (target,), None)
        if policies is not None:
            yield Able(
                holder=Holder.PROCESS, id=name, name=name, institution=None, through=None, policies=policies
            )


def _able(
    questions: Questions, row: Registration, apps: list[Client], action: Action, target: Target,
    standings: Mapping[UUID | None, str],
) -> Able | None:  # fmt: skip
    tried: list[tuple[str | None, list[Caller]]] = [(None, _ways(row, []))]
    if row.holder is Holder.PERSON:
        tried = [(app.client_id, _ways(row, [app])) for app in apps]
    for through, ways in tried:
        policies = _by(questions, ways, action, (target,), standings.get(row.institution))
        if policies is not None:
            return Able(
                holder=row.holder, id=row.id, name=row.name, institution=row.institution, through=through,
                policies=policies,
            )  # fmt: skip
    return None


async def _registrations(tx: Transaction, place: Place | None, at: datetime, first: int) -> list[Registration]:
    """Clients on from `place`, then people, for a page of `first` and one more; backwards people, then clients."""
    found, backwards = list[Registration](), Size.of(first).backwards
    for start in _ahead(place, backwards=backwards):
        if len(found) <= first:
            found.extend(await _held(tx, start, at, Size(first + 1 - len(found), backwards=backwards)))
    return found


async def _held(tx: Transaction, place: Place, at: datetime, first: Size) -> list[Registration]:
    """Registrations of the sort of holder that `place` is among."""
    (holder, id), repository = place, ReviewRepository(tx.conn)  # noqa: A001
    match holder:
        case Holder.PROCESS:
            return []  # the platform's own are registered nowhere
        case Holder.CLIENT:
            return await repository.clients(id, at, first)
        case Holder.PERSON:
            return await repository.people(UUID(id), at, first)


async def _standings(tx: Transaction, rows: list[Registration]) -> dict[UUID | None, str]:
    ids = sorted({row.institution for row in rows if row.institution is not None})
    return {id: str(each.status) for id, each in (await tx.institutions.by_ids(ids)).items()}  # noqa: A001


def _parties(target: Target) -> dict[str, Json]:
    parties = {"owner": target.owner, "giver": target.giver, "receiver": target.receiver}
    return {name: str(party) for name, party in parties.items() if party is not None}


def _allowed(questions: Questions, inquiry: Inquiry) -> bool:
    said = questions.verdict(inquiry)
    return not isinstance(said, Unplayed) and said.allowed


def _would_change(questions: Questions, inquiry: Inquiry) -> tuple[tuple[str, ...], ...]:
    """Found by asking: what helps alone, else what helps two at once, else being somebody else altogether."""
    for tried in (changes(inquiry, 1), changes(inquiry, 2), as_process(inquiry)):
        helping = tuple(words for words, changed in tried if _allowed(questions, changed))
        if helping:
            return helping
    return ()
