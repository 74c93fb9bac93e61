"""Lists and things that the database writes: permitted, and on record, as where the gateway makes them of rows."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping
from typing import Protocol
from uuid import UUID

from sharewell.domain.policy import Action, Target
from sharewell.domain.predicate import Predicate
from sharewell.domain.principals import Caller
from sharewell.services.links import record_linked, seen_of
from sharewell.services.office import Office
from sharewell.store.database import Transaction
from sharewell.store.written import One, Wanted, WantedOne, Written


class WritePage(Protocol):
    """Writes a page of the rows `seen`, with what is seen of things they name; and whose each is, with `told`."""

    def __call__(
        self, tx: Transaction, *, seen: Predicate, linked: Mapping[str, Predicate], told: bool
    ) -> Awaitable[Written]: ...


async def written_page(
    office: Office, caller: Caller, action: Action, wanted: Wanted, asked: Mapping[str, object], *,
    lists: tuple[Target, Collection[Target]], write: WritePage, whose: Callable[[tuple[UUID, ...]], Target],
) -> Written:  # fmt: skip
    """A page of the list that is `asked` for; `lists` are that list, and those to which a filter narrows it.

    `whose` is the list of the parties of one row. Raises `Forbidden`, recorded, or `Unavailable`.
    """
    extent = await office.extent(caller, action, *lists)
    linked = seen_of(office, caller, wanted.links)
    async with office.reading_list(caller, asked, extent.seen, wanted.links) as tx:
        page = await write(tx, seen=extent.seen, linked=linked, told=not extent.recorded)
    await office.shown(caller, action, extent, {each.id: whose(each.parties) for each in page.shown})
    if page.rows:
        await record_linked(office, caller, wanted.links, page.linked)
    return page


async def written_one(
    office: Office, caller: Caller, action: Action, wanted: WantedOne, *,
    write: Callable[[Transaction, Mapping[str, Predicate]], Awaitable[One]], target: Callable[[One], Target],
) -> str:  # fmt: skip
    """One thing. Raises `Forbidden`, recorded, `NotFound` or `Unavailable`."""
    linked = seen_of(office, caller, wanted.links)
    one = await office.found(caller, action, lambda tx: write(tx, linked), target)
    await record_linked(office, caller, wanted.links, one.linked)
    return one.text


def lists_of_owners(kind: str, owner: UUID | None, named: Collection[UUID] | None) -> tuple[Target, list[Target]]:
    """The list of `kind` of one owner or of all, and where it is of all, the lists of those whom a filter names."""
    by_name = [] if owner is not None else [Target.list(kind, owner=each) for each in named or ()]
    return Target.list(kind, owner=owner), by_name
