"""Try a draft of the policies on the decisions of the past, before it can bite. Each trial is on record.

Counts, by institution and act too, are for whoever may try a draft; single decisions are named only to whoever may read
them.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from itertools import product
from typing import Any, Final
from uuid import UUID

import orjson

from sharewell.audit.periods import policy_files
from sharewell.authz import Authorizer, PolicyError
from sharewell.domain import checks
from sharewell.domain.audit import ALLOWED, format_time, parse_entry
from sharewell.domain.clients import Purpose
from sharewell.domain.errors import Invalid
from sharewell.domain.inquiry import ASKED, Inquiry
from sharewell.domain.policy import MANY, Action, Target, policy_set_hash, read_policy_set_list
from sharewell.domain.policy_versions import draft_files
from sharewell.domain.principals import Caller
from sharewell.domain.simulation import Changed, Simulation, Tally, Unplayed, Verdict, key_of, same_question
from sharewell.domain.terms import Terms
from sharewell.services.audit import reading
from sharewell.services.office import Office
from sharewell.store.paging import Page, Size, walked
from sharewell.store.simulations import SimulationRepository

MOST_DECISIONS: Final = 250_000  #: of one window
MOST_LISTED: Final = 100  #: changed decisions that come with the counts
AT_ONCE: Final = 1_000  #: decisions read at a time
IN_A_ROW: Final = 50  #: decisions asked again before others have their turn
LONGEST_TOLD: Final = 2_000  #: characters of what is wrong with a draft
MOST_KEPT: Final = 100_000  #: questions remembered at a time

Files = Iterable[tuple[str, bytes]]  #: of a whole draft, schema included: name and bytes
#: What an entry tells of the thing asked about, but for its id and to whom it is shown.
_OF_TARGET: Final = ("owner", "giver", "receiver", "author", "region", "giver_region", "receiver_region")


class SimulationService:
    """What a draft would have decided."""

    def __init__(self, office: Office) -> None:
        self._office = office

    async def simulate(
        self, caller: Caller, files: Files, *, since: datetime, until: datetime
    ) -> Simulation:
        """Ask the draft what was asked in the window, `until` excluded, and count what comes out otherwise.

        Of what does, the first that the caller may read are named. Raises `Invalid` for a draft that cannot be used,
        and for a window that is empty or holds more than `MOST_DECISIONS`.
        """
        readable = Readable(self._office, caller)
        found = await self._simulated(caller, files, since, until, readable)
        return replace(found, changed=tuple(await readable.on_record(found.changed)))

    async def simulate_to_keep(
        self, caller: Caller, files: Files, *, since: datetime, until: datetime
    ) -> Simulation:
        """The same with the first of all that comes out otherwise, which is kept and told to nobody as it is."""
        return await self._simulated(caller, files, since, until, None)

    async def changes(
        self, caller: Caller, files: Files, *, since: datetime, until: datetime,
        place: tuple[datetime, UUID] | None, first: int,
    ) -> Page[Changed]:  # fmt: skip
        """The decisions that come out otherwise and that the caller may read, in order of time, from `place` on."""
        draft, _ = await self._tried(caller, files, since, until)
        replay, readable = Replay(draft, self._office), Readable(self._office, caller)

        backwards = Size.of(first).backwards

        async def changed(place: tuple[datetime, UUID] | None) -> AsyncIterator[Changed]:
            async for entry, id, at in self._entries(since, until, place, backwards=backwards):  # noqa: A001
                now = await replay.verdict(entry)
                if isinstance(now, Verdict) and now.allowed != (entry["outcome"] == ALLOWED):
                    found = _changed(entry, id, at, now)
                    if await readable.covers(found):
                        yield found

        page = await walked(changed, place, first, lambda each: (each.at, each.id))
        return replace(page, items=tuple(await readable.on_record(page.items)))

    async def readable(self, caller: Caller, ids: list[UUID]) -> dict[UUID, bool]:
        """Of decisions by id, those that the caller may read; their reading is on record."""
        async with self._office.database.transaction(read_only=True) as tx:
            rows = await SimulationRepository(tx.conn).headers(ids)
        readable = Readable(self._office, caller)
        return dict.fromkeys(await readable.seen({row["id"]: (row["kind"], row["institution"]) for row in rows}), True)

    async def _simulated(
        self, caller: Caller, files: Files, since: datetime, until: datetime, readable: Readable | None
    ) -> Simulation:
        draft, decision = await self._tried(caller, files, since, until)
        replay, tally, listed, named = Replay(draft, self._office), Tally(), list[Changed](), 0
        async for entry, id, at in self._entries(since, until):  # noqa: A001
            now = await replay.verdict(entry)
            institution = entry["institution"]
            then = entry["outcome"] == ALLOWED
            tally.add(None if institution is None else UUID(institution), entry["action"], then, now)
            if isinstance(now, Verdict) and now.allowed != then:
                changed = _changed(entry, id, at, now)
                if readable is None or await readable.covers(changed):
                    named += 1
                    if len(listed) < MOST_LISTED:
                        listed.append(changed)
        return Simulation(
            decision=decision, draft=draft.policy_set, since=since, until=until, tally=tally, changed=tuple(listed),
            more_changed=named > len(listed), questions=replay.questions,
            withheld=tally.total.newly_allowed + tally.total.newly_denied - named,
        )  # fmt: skip

    async def _tried(
        self, caller: Caller, files: Files, since: datetime, until: datetime
    ) -> tuple[Authorizer, UUID]:
        """The draft, once it is on record who tries which on which window; and the entry's own decision.

        Reading a draft is dear, so the policies are asked before that, and it is read beside what else is going on.
        """
        async with self._office.act(caller, Action.SIMULATE_POLICY, Target(kind="policy", id=MANY)) as act:
            named = draft_files(files)
            if checks.moment(since, "since") >= checks.moment(until, "until"):
                raise Invalid("the window must begin before it ends.", field="until")
            held = await SimulationRepository(act.tx.conn).count(since, until, MOST_DECISIONS + 1)
            if held > MOST_DECISIONS:
                raise Invalid(
                    f"the window holds more than {MOST_DECISIONS} decisions; take a shorter one.", field="since"
                )
            window = {"since": format_time(since), "until": format_time(until)}
            decision = await act.record("policy.simulated", "policy", policy_set_hash(named), window)
        return await asyncio.to_thread(read_draft, named), decision

    async def _entries(
        self, since: datetime, until: datetime, place: tuple[datetime, UUID] | None = None, *, backwards: bool = False
    ) -> AsyncIterator[tuple[dict[str, Any], UUID, datetime]]:
        """The entries of the window from `place` on, a page in memory at a time."""
        while True:
            async with self._office.database.transaction(read_only=True) as tx:
                size = Size(AT_ONCE, backwards=backwards)
                rows = await SimulationRepository(tx.conn).page(since, until, place, size)
            for number, row in enumerate(rows, 1):
                if number % IN_A_ROW == 0:
                    await asyncio.sleep(0)
                entry = orjson.loads(row["body"])
                entry["body"] = row["body"]
                yield entry, row["id"], row["at"]
            if len(rows) < AT_ONCE:
                return
            place = rows[-1]["at"], rows[-1]["id"]


class Readable:
    """Which decisions somebody may read: as a list shows them, by whose they are and whether they are about access."""

    def __init__(self, office: Office, caller: Caller) -> None:
        self._office, self._caller = office, caller
        self._known: dict[tuple[Action, Target], bool] = {}

    async def covers(self, changed: Changed) -> bool:
        """What the policies say; nothing is named on the strength of it alone, see `on_record`."""
        key = reading(changed.kind), Target.list("decision", owner=changed.institution)
        if key not in self._known:
            placed = await self._office.placed_for(self._caller, [key[1]])
            self._known[key] = self._office.may(self._caller, key[0], placed[key[1]])
        return self._known[key]

    async def on_record(self, found: Sequence[Changed]) -> list[Changed]:
        """Those of them that may be named, once that is on record."""
        seen = await self.seen({each.id: (each.kind, each.institution) for each in found})
        return [each for each in found if each.id in seen]

    async def seen(self, decisions: Mapping[UUID, tuple[str, UUID | None]]) -> set[UUID]:
        """Of decisions by id, with kind and institution, those that may be named, once that is on record."""
        found: set[UUID] = set()
        for action in (Action.READ_AUDIT, Action.READ_ACCESS_AUDIT):
            found |= await self._office.seen(self._caller, action, {
                id: Target.list("decision", owner=institution)
                for id, (kind, institution) in decisions.items() if reading(kind) is action  # noqa: A001
            })  # fmt: skip
        return found


class Questions:
    """One set of policies, asked each distinct question once."""

    def __init__(self, authz: Authorizer) -> None:
        self._authz = authz
        self.named = Terms.of(policy.body for policy in authz.policies.values()).entities
        self._answers: dict[Hashable, Verdict | Unplayed] = {}
        self.asked = 0

    def verdict(self, inquiry: Inquiry) -> Verdict | Unplayed:
        """What the policies say, or that they fail."""
        question = same_question(inquiry, self.named)
        key = key_of(question)
        if key not in self._answers:
            if len(self._answers) >= MOST_KEPT:
                self._answers.clear()
            self.asked += 1
            self._answers[key] = asked(self._authz, question)
        return self._answers[key]


class Replay:
    """One draft, asked each distinct question once."""

    def __init__(self, draft: Authorizer, office: Office) -> None:
        self._office, self._questions = office, Questions(draft)
        self._seen: dict[Hashable, Verdict | Unplayed] = {}  #: by what an entry tells
        self._sets: dict[str, Authorizer | None] = {office.authz.policy_set: office.authz}

    @property
    def questions(self) -> int:
        """How many were put to the draft."""
        return self._questions.asked

    async def verdict(self, entry: Mapping[str, Any]) -> Verdict | Unplayed:
        """What the draft says to the question of `entry`, a parsed one with its bytes under `body`."""
        told = entry["details"].get(ASKED)
        if not told:
            return Unplayed.NOT_TOLD if entry["policy_set"] else Unplayed.NOT_ASKED
        key = self._key(entry, told)
        if key is None:
            return Unplayed.UNREADABLE
        if key not in self._seen:
            if len(self._seen) >= MOST_KEPT:
                self._seen.clear()
            self._seen[key] = await self._first(entry["body"])
        return self._seen[key]

    def _key(self, entry: Mapping[str, Any], told: Mapping[str, Any]) -> Hashable | None:
        """Equal for entries that the draft cannot tell apart; None where it is no inquiry."""
        try:
            target, token = told["target"], told.get("token")
            kind, id = target["kind"], target["id"]  # noqa: A001
            if id != MANY and kind != "institution" and (kind.capitalize(), id) not in self._questions.named:
                id = ""  # noqa: A001
            ruled = (entry["outcome"], entry["policy_set"], *entry["policies"])
            key = (
                entry["action"], entry["actor"], told["institution"], *told["roles"], 0, *told["scopes"], kind, id,
                *map(target.get, _OF_TARGET), *target.get("shared_with", ()), 0, *told.get("jurisdiction", ()), 0,
                *told["context"].items(), 0, *(ruled if token is None else token.values()),
            )  # fmt: skip
            hash(key)
        except (AttributeError, KeyError, TypeError):
            return None
        return key

    async def _first(self, body: bytes) -> Verdict | Unplayed:
        try:
            decision = parse_entry(body)
            inquiry = Inquiry.of(decision)
        except Invalid:
            return Unplayed.UNREADABLE
        assert inquiry is not None
        if inquiry.token_told:
            return self._questions.verdict(inquiry)
        then = await self._set(decision.policy_set)
        ruled = Verdict(decision.outcome == ALLOWED, decision.policies)
        fitting = [each for each in _tokens(inquiry) if then is not None and asked(then, each) == ruled]
        said = {self._questions.verdict(each) for each in fitting}
        if len({each.allowed if isinstance(each, Verdict) else None for each in said}) == 1:
            return min(said, key=str)
        return Unplayed.HALF_TOLD

    async def _set(self, policy_set: str) -> Authorizer | None:
        if policy_set not in self._sets:
            self._sets[policy_set] = await set_of_then(self._office, policy_set)
        return self._sets[policy_set]


def asked(authz: Authorizer, inquiry: Inquiry) -> Verdict | Unplayed:
    """The verdict of `authz`, or that it fails."""
    try:
        found = authz.ask(inquiry.caller, inquiry.action, inquiry.target, inquiry.context)
    except (PolicyError, ValueError):
        return Unplayed.DRAFT_FAILS
    return Verdict(found.allowed, found.policies)


def read_draft(files: Mapping[str, bytes]) -> Authorizer:
    """A draft, parsed and checked. Raises `Invalid` saying what is wrong with it."""
    try:
        return Authorizer.load(files)
    except (PolicyError, UnicodeDecodeError) as why:
        raise Invalid(f"the draft cannot be used: {_cut(str(why))}.", field="files") from None


def _cut(said: str) -> str:
    return said if len(said) <= LONGEST_TOLD else f"{said[:LONGEST_TOLD]} ..."


async def set_of_then(office: Office, policy_set: str) -> Authorizer | None:
    """The policies that were in force under that hash, where they are kept and this release reads them."""
    if policy_set == office.authz.policy_set:
        return office.authz
    async with office.database.transaction(read_only=True) as tx:
        kept = await policy_files(tx.conn, [policy_set])
    try:
        named = read_policy_set_list(kept[policy_set])
        return await asyncio.to_thread(Authorizer.load, {name: kept[sha256] for name, sha256 in named.items()})
    except (KeyError, PolicyError, ValueError):
        return None


def _tokens(inquiry: Inquiry) -> Iterator[Inquiry]:
    """The inquiry with every token that its caller may have shown."""
    for purpose, constrained, required in product((None, *Purpose), (False, True), (False, True)):
        caller = replace(inquiry.caller, purpose=purpose, sender_constrained=constrained, proof_required=required)
        yield replace(inquiry, caller=caller)


def _changed(entry: Mapping[str, Any], id: UUID, at: datetime, now: Verdict) -> Changed:  # noqa: A002
    institution = entry["institution"]
    return Changed(
        id=id, at=at, kind=entry["kind"], actor=entry["actor"],
        institution=None if institution is None else UUID(institution), action=entry["action"],
        then=Verdict(entry["outcome"] == ALLOWED, tuple(entry["policies"])), now=now,
    )  # fmt: skip
