"""Tell followers what happened since their position in the log, with things as they are now, each only if permitted.

Opening is asked for and recorded like a list, under a kind of its own. Each batch is then permitted and recorded like
a list that names things: what the caller may not see is passed over, without a word.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from sharewell.domain.happenings import KINDS_OF, Following, Happening, Position, Topic, check_position
from sharewell.domain.policy import Action, Target
from sharewell.domain.principals import Caller
from sharewell.services.audit import narrowed_to
from sharewell.services.lookout import Lookout
from sharewell.services.office import Office
from sharewell.services.things import Key, changed, concerns, load, seen_by, those_asked_for, told_to

MOST = 64  #: events read at once

#: Who may follow alerts: whoever may see one sort of them at least; which it is told of is asked for each.
_ALERTS = (
    Action.VIEW_SURGE, Action.VIEW_OVERRIDE, Action.VIEW_DEVIATION, Action.READ_ACCESS_AUDIT, Action.VIEW_POLICY,
    Action.VIEW_POLICY_VERSION,
)  # fmt: skip
_LISTS = {
    Topic.OFFERS: Action.VIEW_OFFER, Topic.REQUESTS: Action.VIEW_REQUEST, Topic.TRANSFERS: Action.VIEW_TRANSFER,
    Topic.PLANS: Action.VIEW_ALLOCATION,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that an entry of the log changed."""

    position: Position
    happening: Happening
    sort: str  #: what the thing is, such as "offer"; "decision" where it is the entry itself
    thing: Any  #: as it is now


@dataclass(frozen=True, slots=True)
class Read:
    """Some events, and where to go on."""

    events: list[Event]
    position: Position


class HappeningService:
    """What happens."""

    def __init__(self, office: Office, lookout: Lookout) -> None:
        self._office, self._lookout = office, lookout
        self.closing = lookout.closing  #: set where this process is about to end

    async def end(self) -> Position:
        """The position after all that has happened so far."""
        return Position(await self._lookout.end())

    @asynccontextmanager
    async def open(
        self, caller: Caller, following: Following, after: Position | None
    ) -> AsyncIterator[Position]:
        """Begin to follow, once that is permitted and on record; from where.

        Raises `Forbidden`, `Unavailable`, or `Invalid` for a position that cannot be followed from.
        """
        end = await self._lookout.end()
        position = Position(end) if after is None else after
        check_position(position, end)
        action, parts = self._parts(caller, following)
        asked = {**following.to_json(), "after": position.text(), **narrowed_to(parts)}
        rulings = [await self._office.permit(caller, action, part) for part in parts]
        await self._office.record_reading("data.followed", caller, action, parts[0], rulings[0], asked)
        async with self._lookout.kept():
            yield position

    async def read(self, caller: Caller, following: Following, after: Position) -> Read:
        """What happened after a position, as far as the caller may know; their reading is on record. May be nothing.

        Raises `Unavailable`: then nothing was told, and the same may be asked again.
        """
        found, end = await self._lookout.read(after.entry, KINDS_OF[following.topic], MOST)
        if not found:
            return Read([], max(after, Position(end)))
        async with self._office.looking() as tx:  # whose rows these are is found here; what is told of them is not
            named = await changed(tx, following.topic, found)
            told = [
                (Position(each.index, name), each, sort)
                for each in found for sort, name in sorted(named[each.decision])
                if Position(each.index, name) > after
            ]  # fmt: skip
        told, more = told[:MOST], len(told) > MOST
        async with self._office.reading(caller) as tx:
            things = await load(tx, {(sort, position.name) for position, _, sort in told})
            things = await those_asked_for(tx, following, things)
        things = {key: thing for key, thing in things.items() if concerns(caller, thing)}
        seen = await self._seen(caller, things)
        things = await told_to(self._office, caller, {key: thing for key, thing in things.items() if key in seen})
        events = [
            Event(position, each, sort, things[sort, position.name])
            for position, each, sort in told if (sort, position.name) in things
        ]  # fmt: skip
        return Read(events, told[-1][0] if more else max(after, Position(end)))

    async def moved(self, following: Following, position: Position) -> None:
        """Wait until something may have happened after `position`."""
        await self._lookout.moved(position.entry, KINDS_OF[following.topic])

    def _parts(self, caller: Caller, following: Following) -> tuple[Action, list[Target]]:
        """What to ask the policies for: what the list of the same is asked for. Each event is asked for once more."""
        if following.topic is Topic.ALERTS:
            lists = {one: Target.list(one.kind, owner=caller.institution) for one in _ALERTS}
            action = next((one for one, whole in lists.items() if self._office.may(caller, one, whole)), _ALERTS[0])
            return action, [lists[action]]
        action, party = _LISTS[following.topic], following.institution
        if following.topic is Topic.TRANSFERS:
            asked = Target.list(action.kind, giver=party, receiver=party)
        else:
            asked = Target.list(action.kind, owner=party)
        return action, self._office.part(caller, action, asked)[1]

    async def _seen(self, caller: Caller, things: Mapping[Key, Any]) -> set[Key]:
        """Those of `things` the caller may see, once their reading is on record."""
        asked: dict[Action, dict[str, Target]] = {}
        for (sort, name), thing in things.items():
            action, target = await seen_by(self._office, caller, sort, thing)
            asked.setdefault(action, {})[name] = target
        seen: set[str] = set()
        for action, targets in asked.items():
            if action is Action.READ_ACCESS_AUDIT:
                seen |= await self._seen_entries(caller, targets)
            else:
                seen |= await self._office.seen(caller, action, targets)
        return {key for key in things if key[1] in seen}

    async def _seen_entries(self, caller: Caller, targets: Mapping[str, Target]) -> set[str]:
        """As `Office.seen`, of entries of the log: whoever reads them leaves a trace of the kind that is theirs."""
        action, seen = Action.READ_ACCESS_AUDIT, set()
        for target, placed in (await self._office.placed(set(targets.values()))).items():
            names: list[Any] = sorted(name for name, each in targets.items() if each == target)
            ruling = self._office.authz.ask(caller, action, placed)
            if ruling.allowed:
                await self._office.record_reading(
                    "audit.read", caller, action, target, ruling, {"ids": names, "count": len(names)}
                )
                seen |= set(names)
        return seen
