"""The things that entries of the log changed: which they are, as they are now, and what it takes to be told of them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any, Final
from uuid import UUID

from sharewell.domain.break_glass import BrokenGlass
from sharewell.domain.happenings import BROKEN_GLASS, PASSED_OVER, Following, Happening, Topic
from sharewell.domain.policy import Action, Target
from sharewell.domain.policy_versions import PolicyVersion
from sharewell.domain.principals import Caller
from sharewell.domain.surges import SurgeMode
from sharewell.services import allocations, transfers
from sharewell.services.office import Office
from sharewell.store.database import Transaction

Key = tuple[str, str]  #: the sort of a thing, such as offer, and its name
Pairs = Iterable[tuple[UUID, Key]]  #: a decision, and what it changed


async def changed(tx: Transaction, topic: Topic, found: Sequence[Happening]) -> dict[UUID, set[Key]]:
    """By decision of `found`, what it changed, as far as `topic` is about it."""
    named: dict[UUID, set[Key]] = {each.decision: set() for each in found}
    for decision, key in await _CHANGED[topic](tx, found):
        named[decision].add(key)
    return named


async def _offers(tx: Transaction, found: Sequence[Happening]) -> Pairs:  # noqa: ARG001 - as its siblings
    return [(each.decision, ("offer", each.subject)) for each in found]


async def _requests(tx: Transaction, found: Sequence[Happening]) -> Pairs:
    own = [(each.decision, ("request", each.subject)) for each in found if each.subject_kind == "request"]
    return [*own, *_named("request", await tx.happenings.requests(_decisions(found)))]


async def _transfers(tx: Transaction, found: Sequence[Happening]) -> Pairs:
    return _named("transfer", await tx.happenings.transfers(_decisions(found)))


async def _plans(tx: Transaction, found: Sequence[Happening]) -> Pairs:
    answered = [(each.decision, ("allocation", each.subject)) for each in found if each.kind == "plan.answered"]
    return [*answered, *_named("allocation", await tx.happenings.runs(_decisions(found)))]


async def _alerts(tx: Transaction, found: Sequence[Happening]) -> Pairs:
    told = [
        (each.decision, _told_of(each))
        for each in found if each.kind != "deviation.detected"  # whose subject may be the transfer
    ]  # fmt: skip
    return [*told, *_named("deviation", await tx.happenings.deviations(_decisions(found)))]


def _told_of(each: Happening) -> Key:
    if each.kind == "access.refused":
        return "decision", str(each.decision)
    if each.kind == PASSED_OVER:
        return "version", each.subject
    return "glass" if each.kind in BROKEN_GLASS else each.subject_kind, each.subject


def _decisions(found: Sequence[Happening]) -> list[UUID]:
    return [each.decision for each in found]


def _named(sort: str, rows: Iterable[tuple[UUID, UUID]]) -> Pairs:
    return [(decision, (sort, str(name))) for decision, name in rows]


_CHANGED: Final[Mapping[Topic, Callable[[Transaction, Sequence[Happening]], Awaitable[Pairs]]]] = {
    Topic.OFFERS: _offers, Topic.REQUESTS: _requests, Topic.TRANSFERS: _transfers, Topic.PLANS: _plans,
    Topic.ALERTS: _alerts,
}  # fmt: skip


async def load(tx: Transaction, wanted: set[Key]) -> dict[Key, Any]:
    """The things as they are now."""
    by_sort: dict[str, list[str]] = {}
    for sort, name in sorted(wanted):
        by_sort.setdefault(sort, []).append(name)
    return {
        (sort, str(name)): thing for sort, names in by_sort.items()
        for name, thing in (await _LOAD[sort](tx, names)).items()
    }  # fmt: skip


async def _watches(tx: Transaction, names: Sequence[str]) -> Mapping[Any, Any]:
    keys = [(UUID(who), what) for who, _, what in (name.partition("/") for name in names)]
    return {f"{who}/{what}": watch for (who, what), watch in (await tx.drift.by_keys(keys)).items()}


async def _overrides(tx: Transaction, names: Sequence[str]) -> Mapping[Any, Any]:
    return {override.id: override for override in await tx.overrides.by_ids(_ids(names))}


async def _entries(tx: Transaction, names: Sequence[str]) -> Mapping[Any, Any]:
    return {name: (await tx.audit.get(UUID(name))).decision for name in names}


async def _glasses(tx: Transaction, names: Sequence[str]) -> Mapping[Any, Any]:
    return {name: await tx.break_glass.get(UUID(name)) for name in names}


async def _versions(tx: Transaction, names: Sequence[str]) -> Mapping[Any, Any]:
    return {name: await tx.policy_versions.get(int(name)) for name in names}


def _ids(names: Sequence[str]) -> list[UUID]:
    return [UUID(name) for name in names]


_LOAD: Final[Mapping[str, Callable[[Transaction, Sequence[str]], Awaitable[Mapping[Any, Any]]]]] = {
    "offer": lambda tx, names: tx.offers.by_ids(_ids(names)),
    "request": lambda tx, names: tx.requests.by_ids(_ids(names)),
    "transfer": lambda tx, names: tx.transfers.by_ids(_ids(names)),
    "allocation": lambda tx, names: tx.allocations.by_ids(_ids(names)),
    "surge": lambda tx, names: tx.surges.by_ids(_ids(names)),
    "deviation": lambda tx, names: tx.deviations.by_ids(_ids(names)),
    "override": _overrides, "forecast": _watches, "decision": _entries,
    "glass": _glasses, "version": _versions,
}


async def those_asked_for(tx: Transaction, following: Following, things: Mapping[Key, Any]) -> dict[Key, Any]:
    """Those of `things` that are followed. What is about no resource in particular is about each.

    So are policies, of a broken glass or passed over, and of every region too.
    """
    kept = {
        key: thing for key, thing in things.items()
        if following.institution in {None, *_parties(thing)}
        and following.resource in {None, getattr(thing, "resource", None) or following.resource}
    }  # fmt: skip
    if following.region is None:
        return kept
    parties = {party for thing in kept.values() for party in _parties(thing)}
    regions = {id: found.region for id, found in (await tx.institutions.by_ids([*parties])).items()}  # noqa: A001
    return {
        key: thing for key, thing in kept.items()
        if isinstance(thing, BrokenGlass | PolicyVersion) or following.region in _regions(thing, regions)
    }  # fmt: skip


def _regions(thing: Any, regions: Mapping[UUID, str]) -> set[str | None]:
    return {getattr(thing, "region", None), *(regions.get(party) for party in _parties(thing))}


def _parties(thing: Any) -> list[UUID]:
    found = (getattr(thing, name, None) for name in ("institution", "giver", "receiver"))
    return [party for party in found if party is not None]


async def told_to(office: Office, caller: Caller, things: Mapping[Key, Any]) -> dict[Key, Any]:
    """The things as lists tell them to the caller: numbers that it may not know are left out or coarse."""
    moves = await transfers.told_to(office, caller, [each for (sort, _), each in things.items() if sort == "transfer"])
    runs = await allocations.told_to(
        office, caller, [each for (sort, _), each in things.items() if sort == "allocation"]
    )
    return {
        **things, **{("transfer", str(each.id)): each for each in moves},
        **{("allocation", str(each.id)): each for each in runs},
    }  # fmt: skip


def concerns(caller: Caller, thing: Any) -> bool:
    """Whether the caller wants to be told: whose jurisdiction has regions can list surge mode elsewhere, and need not
    be alerted to it.
    """
    return not (isinstance(thing, SurgeMode) and caller.jurisdiction and thing.region not in caller.jurisdiction)


async def seen_by(office: Office, caller: Caller, sort: str, thing: Any) -> tuple[Action, Target]:
    """What must be permitted for the caller to be told of `thing`: what it takes to list those of its owner."""
    action = _VIEW[sort]
    if sort == "transfer":
        return action, Target.list("transfer", giver=thing.giver, receiver=thing.receiver)
    if sort == "surge":
        return action, Target.of_region("surge", thing.region)
    if sort in {"deviation", "override"}:
        # Both parties see it: it belongs to whichever of them asks.
        owner: UUID | None = await office.whose(caller, thing.giver, thing.receiver)
    else:
        owner = getattr(thing, "institution", None)
    return action, Target.list(action.kind, owner=owner)


_VIEW: Final = {
    "offer": Action.VIEW_OFFER, "request": Action.VIEW_REQUEST, "allocation": Action.VIEW_ALLOCATION,
    "transfer": Action.VIEW_TRANSFER, "glass": Action.VIEW_POLICY,
    "version": Action.VIEW_POLICY_VERSION,
    "surge": Action.VIEW_SURGE, "deviation": Action.VIEW_DEVIATION, "override": Action.VIEW_OVERRIDE,
    "forecast": Action.VIEW_FORECAST, "decision": Action.READ_ACCESS_AUDIT,
}  # fmt: skip
