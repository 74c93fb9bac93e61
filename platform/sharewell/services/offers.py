"""Publish and withdraw offers, and read them."""

from __future__ import annotations

from datetime import timedelta
from typing import Unpack
from uuid import UUID

from sharewell.domain.errors import Forbidden
from sharewell.domain.offers import Offer, OfferDraft
from sharewell.domain.policy import Action, Target
from sharewell.domain.principals import Caller
from sharewell.services.act import Done
from sharewell.services.ids import new_id
from sharewell.services.office import Office
from sharewell.services.written import lists_of_owners, written_one, written_page
from sharewell.store.answered import Wish
from sharewell.store.offers import OfferList
from sharewell.store.paging import Page
from sharewell.store.written import Wanted, WantedOne, Written


class OfferService:
    """What everyone pledges."""

    def __init__(self, office: Office, *, allocate_after: timedelta | None) -> None:
        self._office = office
        self._allocate_after = allocate_after

    async def publish(
        self, caller: Caller, institution: UUID, draft: OfferDraft, wish: Wish | None = None
    ) -> Done[Offer]:
        target = Target(kind="offer", id="new", owner=institution)
        async with self._office.act(caller, Action.PUBLISH_OFFER, target, wish) as act:
            if act.repeated:
                return act.again(Offer)
            resource = await self._office.resource(act.tx, draft.resource)
            free = await act.tx.capacity.free_to_pledge(
                institution, resource.code, draft.available_from, draft.available_until
            )
            offer = Offer.publish(draft, id=new_id(), by=institution, resource=resource, free=free, at=act.at)
            decision = await act.record(
                "offer.published", "offer", offer.id,
                {"resource": offer.resource, "quantity": offer.quantity, "minimum_kept": offer.minimum_kept,
                 "available_from": offer.available_from.isoformat(),
                 "available_until": offer.available_until.isoformat(), "lot": offer.lot},
                institution=institution,
            )  # fmt: skip
            await act.tx.offers.add(offer, decision)
            if self._allocate_after is not None:
                owner = await act.tx.institutions.get(institution)
                await act.tx.queue.enqueue(
                    "allocate", {"region": owner.region, "resource": resource.code, "request_id": caller.request_id},
                    key=f"{owner.region}/{resource.code}", delay=self._allocate_after,
                )  # fmt: skip
            return await act.done(offer, decision)

    async def withdraw(self, caller: Caller, id: UUID, wish: Wish | None = None) -> Done[Offer]:  # noqa: A002
        owner = (await self._find(id)).institution
        target = Target(kind="offer", id=str(id), owner=owner)
        async with self._office.act(caller, Action.WITHDRAW_OFFER, target, wish) as act:
            if act.repeated:
                return act.again(Offer)
            before = await act.tx.offers.get(id, lock=True)
            act.check_as_read(before.changed_by)
            offer = before.withdraw()
            decision = await act.record("offer.withdrawn", "offer", id, {"promised": offer.promised}, institution=owner)
            await act.tx.offers.withdraw(id, decision)
            return await act.done(offer, decision)

    async def get(self, caller: Caller, id: UUID) -> Offer:  # noqa: A002
        return await self._office.found(
            caller, Action.VIEW_OFFER, lambda tx: tx.offers.get(id),
            lambda offer: Target(kind="offer", id=str(id), owner=offer.institution),
        )  # fmt: skip

    async def by_ids(self, caller: Caller, ids: list[UUID]) -> dict[UUID, Offer]:
        """Several at once, for lists that name them; those the caller may not see are left out."""
        async with self._office.reading(caller) as tx:
            found = await tx.offers.by_ids(ids)
        targets = {id: Target.list("offer", owner=each.institution) for id, each in found.items()}  # noqa: A001
        seen = await self._office.seen(caller, Action.VIEW_OFFER, targets)
        return {id: each for id, each in found.items() if id in seen}  # noqa: A001

    async def named(self, caller: Caller, ids: list[UUID]) -> dict[UUID, Offer | Forbidden]:
        """Several asked for by id, each permitted as `get` would: what is refused is its refusal."""
        told, refused = await self._office.named(
            caller, Action.VIEW_OFFER, ids, lambda tx, ids: tx.offers.by_ids(ids),
            lambda each: Target(kind="offer", id=str(each.id), owner=each.institution),
        )  # fmt: skip
        return {**told, **refused}

    async def page(self, caller: Caller, **asked: Unpack[OfferList]) -> Page[Offer]:
        """Of those asked for, what the caller sees."""
        extent = await self._office.extent(caller, Action.VIEW_OFFER, *_lists(asked))
        async with self._office.reading(caller) as tx:
            page = await tx.offers.page(at=self._office.now(), seen=extent.seen, **asked)
        targets = {each.id: Target.list("offer", owner=each.institution) for each in page.items}
        await self._office.shown(caller, Action.VIEW_OFFER, extent, targets)
        return page

    async def write_page(self, caller: Caller, wanted: Wanted, **asked: Unpack[OfferList]) -> Written:
        """The same, written; permitted, and on record, as `page` is."""
        return await written_page(
            self._office, caller, Action.VIEW_OFFER, wanted, asked, lists=_lists(asked),
            write=lambda tx, **seen: tx.offers.write_page(wanted, at=self._office.now(), **seen, **asked),
            whose=lambda parties: Target.list("offer", owner=parties[0]),
        )  # fmt: skip

    async def write_one(self, caller: Caller, wanted: WantedOne, id: UUID) -> str:  # noqa: A002
        """The same as `get`, written."""
        return await written_one(
            self._office, caller, Action.VIEW_OFFER, wanted,
            write=lambda tx, linked: tx.offers.write_one(wanted, id, linked),
            target=lambda one: Target(kind="offer", id=str(id), owner=one.parties[0]),
        )  # fmt: skip

    async def _find(self, id: UUID) -> Offer:  # noqa: A002
        async with self._office.looking() as tx:
            return await tx.offers.get(id)


def _lists(asked: OfferList) -> tuple[Target, list[Target]]:
    matching = asked.get("matching")
    return lists_of_owners("offer", asked["institution"], None if matching is None else matching.institutions)
