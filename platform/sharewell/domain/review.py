"""Who has access and what it comes to: registrations as of a day, what each can do, and what would lift a refusal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from itertools import combinations
from typing import Final
from uuid import UUID

from sharewell.domain.clients import Client, Purpose
from sharewell.domain.inquiry import Inquiry
from sharewell.domain.jurisdictions import bounded
from sharewell.domain.people import PREFIX, Person
from sharewell.domain.policy import BETWEEN, SHARED, Action, Target, scope_of
from sharewell.domain.principals import WORKERS, Caller, Role
from sharewell.domain.scopes import INTERNAL_SCOPES, is_internal

DORMANT_AFTER: Final = timedelta(days=90)
_OTHER, _THIRD = UUID(int=2), UUID(int=3)
#: What a change can be of, beside the context and the target.
_OF_CALLER: Final = (
    "principal", "roles", "institution", "jurisdiction", "scopes", "purpose", "sender_constrained", "proof_required",
)  # fmt: skip


class Holder(StrEnum):
    """What has access."""

    CLIENT = "client"
    PERSON = "person"
    PROCESS = "process"  #: of the platform itself; it is not registered


class AccessState(StrEnum):
    """What a registration was good for at some moment."""

    ACTIVE = "active"
    INVITED = "invited"
    EXPIRED = "expired"
    DISABLED = "disabled"


class Reach(StrEnum):
    """On whose things an act is permitted."""

    ALL = "all"
    REGIONS = "regions"  #: of institutions in its jurisdiction
    OWN = "own"
    SHARED = "shared"  #: of institutions that show it theirs by an agreement
    GIVER = "giver"
    RECEIVER = "receiver"


@dataclass(frozen=True, slots=True, kw_only=True)
class Registration:
    """A client or a person as it is registered, and who did that."""

    holder: Holder
    id: str
    name: str
    roles: frozenset[Role]
    scopes: tuple[str, ...]  #: none of a person: it has those of the app it uses
    institution: UUID | None
    created_at: datetime
    created_by: str
    expires_at: datetime | None
    disabled_at: datetime | None
    last_entry: datetime | None  #: when it last did something that is on record; what is its own is read without
    invited: bool  #: a person that had not signed in by then
    sender_constrained: bool
    purposes: tuple[Purpose, ...]
    jurisdiction: tuple[str, ...]  #: of a regulator: the regions it reads of; none: all

    def state(self, at: datetime) -> AccessState:
        if self.disabled_at is not None and self.disabled_at <= at:
            return AccessState.DISABLED
        if self.expires_at is not None and self.expires_at <= at:
            return AccessState.EXPIRED
        return AccessState.INVITED if self.invited else AccessState.ACTIVE

    def dormant(self, at: datetime, after: timedelta = DORMANT_AFTER) -> bool:
        """Whether it could have done something and left no trace for so long."""
        last = max(self.created_at, self.last_entry or self.created_at)
        return self.state(at) is AccessState.ACTIVE and at - last >= after


@dataclass(frozen=True, slots=True, kw_only=True)
class Permitted:
    """An act that somebody can do."""

    action: Action
    reach: Reach
    policies: tuple[str, ...]  #: that permit it


@dataclass(frozen=True, slots=True, kw_only=True)
class Reviewed:
    """One line of an access review."""

    registration: Registration
    state: AccessState
    dormant: bool
    permitted: tuple[Permitted, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Able:
    """Somebody who can do an act."""

    holder: Holder
    id: str
    name: str
    institution: UUID | None
    through: str | None  #: the app by which a person can
    policies: tuple[str, ...]


def ways_of_client(client: Client) -> Iterator[Caller]:
    """How a client can come, at most: with all its scopes, its key, and each purpose its tokens may have."""
    scopes = frozenset(scope for scope in client.scopes if scope.startswith("system/"))
    if scopes:
        yield from _with_purposes(client, Caller(
            principal=client.client_id, roles=client.roles, institution=client.institution, scopes=scopes,
            jurisdiction=frozenset(client.jurisdiction),
        ))  # fmt: skip


def ways_of_person(person: Person, app: Client) -> Iterator[Caller]:
    """How a person can come through an app: never more than either was registered for."""
    scopes = frozenset(scope for scope in app.scopes if scope.startswith("user/"))
    roles, jurisdiction = bounded(person.roles & app.roles, person.jurisdiction, app.jurisdiction)
    yield from _with_purposes(app, Caller(
        principal=person.principal, roles=roles, institution=person.institution, scopes=scopes,
        jurisdiction=jurisdiction,
    ))  # fmt: skip


def _with_purposes(client: Client, caller: Caller) -> Iterator[Caller]:
    bound = client.sender_constrained
    for purpose in client.purposes or (None,):
        yield replace(caller, purpose=purpose, sender_constrained=bound, proof_required=bound)


def process(name: str) -> Caller:
    """One of the platform's own processes."""
    return Caller(principal=name, roles=frozenset({Role.ALLOCATOR}), scopes=INTERNAL_SCOPES)


def reaches(caller: Caller, action: Action) -> Iterator[tuple[Reach, tuple[Target, ...]]]:
    """What must be permitted to `caller` for each reach, the widest first."""
    own, kind, regions = caller.institution, action.kind, sorted(caller.jurisdiction)
    if kind in BETWEEN:
        of_others = Target(kind=kind, id="a-thing", giver=_OTHER, receiver=_THIRD)
        yield Reach.ALL, (of_others, Target.list(kind))
        if regions:
            there = (replace(of_others, giver_region=region) for region in regions)
            here = (replace(of_others, receiver_region=region) for region in regions)
            yield Reach.REGIONS, (*there, *here)
        if own is not None:
            yield Reach.GIVER, (Target(kind=kind, id="a-thing", giver=own, receiver=_OTHER),)
            yield Reach.RECEIVER, (Target(kind=kind, id="a-thing", giver=_OTHER, receiver=own),)
        return
    of_another = Target(kind=kind, id="a-thing", owner=_OTHER)
    yield Reach.ALL, (of_another, Target.list(kind))
    if regions:
        yield Reach.REGIONS, tuple(replace(of_another, region=region) for region in regions)
    if own is not None:
        yield Reach.OWN, (Target(kind=kind, id="a-thing", owner=own),)
    if own is not None and kind in SHARED:
        yield Reach.SHARED, (replace(of_another, shared_with=frozenset({own})),)


def context_of(caller: Caller, action: Action, standing: str | None) -> Mapping[str, str]:
    """What is told of the moment: how the institution stands, of whoever writes for one."""
    if caller.institution is None or not action.writes or standing is None:
        return {}
    return {"callerStatus": standing}


def changes(inquiry: Inquiry, most: int) -> Iterator[tuple[tuple[str, ...], Inquiry]]:
    """The inquiry with `most` facts changed, each set of changes in words. Whether one helps is for Cedar to say."""
    each = [one for one in _changes(inquiry) if one[2] != inquiry]
    for several in combinations(each, most):
        if len({kind for kind, _, _ in several}) < most:
            continue  # two changes of one fact are one change
        changed = inquiry
        for _, _, change in several:
            changed = _merged(inquiry, changed, change)
        yield tuple(words for _, words, _ in several), changed


def as_process(inquiry: Inquiry) -> Iterator[tuple[tuple[str, ...], Inquiry]]:
    """The inquiry of each of the platform's own processes, in the same form."""
    for name in WORKERS:
        yield (f"being the platform's own process {name}, which nobody from outside is",), replace(
            inquiry, caller=process(name), context={}
        )


def _merged(before: Inquiry, one: Inquiry, other: Inquiry) -> Inquiry:
    """Both changes to `before` at once; each changes one field of the caller, the context, or the target."""
    caller = one.caller
    for name in _OF_CALLER:
        if getattr(other.caller, name) != getattr(before.caller, name):
            caller = replace(caller, **{name: getattr(other.caller, name)})
    context = other.context if other.context != before.context else one.context
    target = other.target if other.target != before.target else one.target
    return replace(before, caller=caller, context=context, target=target)


def _changes(inquiry: Inquiry) -> Iterator[tuple[str, str, Inquiry]]:
    """One fact changed at a time: which, in words, and the inquiry then."""
    caller, target = inquiry.caller, inquiry.target

    def with_caller(**said: object) -> Inquiry:
        return replace(inquiry, caller=replace(caller, **said))  # type: ignore[arg-type]  # names of its fields

    if is_internal(caller.scopes):
        return
    style = "user" if caller.principal.startswith(PREFIX) else "system"
    needed = f"{style}/{scope_of(inquiry.action, target)}"
    yield "scope", f"a token with the scope {needed}", with_caller(scopes=caller.scopes | {needed})
    for role in Role:
        words = f"no longer the role {role}" if role in caller.roles else f"the role {role}"
        yield "role", words, with_caller(roles=caller.roles ^ {role})
    parties = {"that it belongs to": target.owner, "that gives": target.giver, "that receives": target.receiver}
    for words, party in parties.items():
        if party not in (None, caller.institution):
            yield "institution", f"acting for the institution {words}", with_caller(institution=party)
    if caller.jurisdiction:
        yield "jurisdiction", "a registration for all regions", with_caller(jurisdiction=frozenset())
        for region in {target.region, target.giver_region, target.receiver_region} - {None, *caller.jurisdiction}:
            yield "jurisdiction", f"a registration for the region {region}, too", with_caller(
                jurisdiction=caller.jurisdiction | {region}
            )
    if target.kind in SHARED and caller.institution is not None:
        shown = replace(target, shared_with=target.shared_with | {caller.institution})
        yield "agreement", "a sharing agreement with the institution that it belongs to", replace(inquiry, target=shown)
    nobody = replace(inquiry, caller=replace(caller, institution=None), context={})
    yield "institution", "acting for no institution", nobody
    yield "proof", "a token bound to a key, and a proof of that key", with_caller(sender_constrained=True)
    yield "purpose", f"a token that is not for {caller.purpose}", with_caller(purpose=None)
    yield "standing", "an institution that is active", replace(inquiry, context=_active(inquiry.context))


def _active(context: Mapping[str, str]) -> dict[str, str]:
    return {name: "active" if name == "callerStatus" else value for name, value in context.items()}
