"""Things that rows name, written with them: permitted, and on record, as where each is found by itself.

The policies judge institutions and lines of the catalogue all alike; offers and requests one by one, so that who may
see a transfer may still not see the request it answers. That one is null then, and no refusal.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final
from uuid import UUID

from sharewell.domain.policy import Action, Target
from sharewell.domain.predicate import EVERYTHING, NOTHING, Predicate
from sharewell.domain.principals import Caller
from sharewell.services.office import Office
from sharewell.store.written import Linked

ALL_ALIKE: Final = {"institution": Action.VIEW_INSTITUTION, "resource": Action.VIEW_RESOURCE}
ONE_BY_ONE: Final = {"offer": Action.VIEW_OFFER, "request": Action.VIEW_REQUEST}


def can_be_linked(office: Office, caller: Caller, links: Sequence[Linked]) -> bool:
    """Whether all of `links` can be written for `caller`.

    Where it may see none of a kind, each edge says so for itself, or is null; that is left to whoever finds them one
    by one. Raises `Unavailable`.
    """
    kinds = _kinds(links)
    return all(
        office.may(caller, ALL_ALIKE[kind], Target.list(kind)) if kind in ALL_ALIKE
        else office.authz.filter(caller, ONE_BY_ONE[kind]) != NOTHING
        for kind in kinds
    )  # fmt: skip


def seen_of(office: Office, caller: Caller, links: Sequence[Linked]) -> dict[str, Predicate]:
    """By kind, what `caller` may see of that which `links` lead to; of those alike, see `record_linked`."""
    return {
        kind: EVERYTHING if kind in ALL_ALIKE else office.authz.filter(caller, ONE_BY_ONE[kind])
        for kind in _kinds(links)
    }


async def record_linked(
    office: Office, caller: Caller, links: Sequence[Linked], linked: Mapping[str, Mapping[UUID, UUID]]
) -> None:
    """Ask the policies once more for all that was found by `links`, and put on record what leaves a trace.

    `linked` has, by kind, the owners of things that have one. Raises `Forbidden`, recorded, or `Unavailable`; nothing
    may be told then.
    """
    for kind in _kinds(links):
        if kind in ALL_ALIKE:
            await office.allow(caller, ALL_ALIKE[kind], Target.list(kind))
            continue
        targets = {id: Target.list(kind, owner=owner) for id, owner in linked[kind].items()}  # noqa: A001
        await office.still_seen(caller, ONE_BY_ONE[kind], targets)


def _kinds(links: Sequence[Linked]) -> list[str]:
    return list(dict.fromkeys(link.edge.noun.kind for link in links))
