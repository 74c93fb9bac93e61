"""Open and cancel requests, and read them."""

from __future__ import annotations

from datetime import timedelta
from typing import Unpack
from uuid import UUID

from sharewell.domain.errors import Forbidden
from sharewell.domain.policy import Action, Target
from sharewell.domain.principals import Caller
from sharewell.domain.requests import Request, RequestDraft
from sharewell.services.act import Done
from sharewell.services.ids import new_id
from sharewell.services.office import Office
from sharewell.services.written import lists_of_owners, written_one, written_page
from sharewell.store.answered import Wish
from sharewell.store.paging import Page
from sharewell.store.requests import RequestList
from sharewell.store.written import Wanted, WantedOne, Written

AT_ONCE = 5  #: urgency that does not wait for the next run


class RequestService:
    """What everyone lacks."""

    def __init__(self, office: Office, *, allocate_after: timedelta | None) -> None:
        self._office = office
        self._allocate_after = allocate_after

    async def open(
        self, caller: Caller, institution: UUID, draft: RequestDraft, wish: Wish | None = None
    ) -> Done[Request]:
        target = Target(kind="request", id="new", owner=institution)
        async with self._office.act(caller, Action.OPEN_REQUEST, target, wish) as act:
            if act.repeated:
                return act.again(Request)
            resource = await self._office.resource(act.tx, draft.resource)
            request = Request.open(draft, id=new_id(), by=institution, at=act.at)
            decision = await act.record(
                "request.opened", "request", request.id,
                {"resource": request.resource, "requested": request.requested, "urgency": request.urgency,
                 "reason": request.reason, "raised": request.raised, "raise_reason": request.raise_reason or "",
                 "needed_by": request.needed_by.isoformat(),
                 "needed_until": request.needed_until.isoformat()},
                institution=institution,
            )  # fmt: skip
            await act.tx.requests.add(request, decision)
            if self._allocate_after is not None:
                owner = await act.tx.institutions.get(institution)
                if request.urgency >= AT_ONCE:
                    await act.tx.queue.enqueue(
                        "urgent", {"request": str(request.id), "request_id": caller.request_id}, key=str(request.id)
                    )
                await act.tx.queue.enqueue(
                    "allocate", {"region": owner.region, "resource": resource.code, "request_id": caller.request_id},
                    key=f"{owner.region}/{resource.code}", delay=self._allocate_after,
                )  # fmt: skip
            return await act.done(request, decision)

    async def cancel(self, caller: Caller, id: UUID, wish: Wish | None = None) -> Done[Request]:  # noqa: A002
        owner = (await self._find(id)).institution
        target = Target(kind="request", id=str(id), owner=owner)
        async with self._office.act(caller, Action.CANCEL_REQUEST, target, wish) as act:
            if act.repeated:
                return act.again(Request)
            before = await act.tx.requests.get(id, lock=True)
            act.check_as_read(before.changed_by)
            request = before.cancel()
            decision = await act.record("request.cancelled", "request", id, {}, institution=owner)
            await act.tx.requests.update(request, decision)
            return await act.done(request, decision)

    async def get(self, caller: Caller, id: UUID) -> Request:  # noqa: A002
        return await self._office.found(
            caller, Action.VIEW_REQUEST, lambda tx: tx.requests.get(id),
            lambda request: Target(kind="request", id=str(id), owner=request.institution),
        )  # fmt: skip

    async def by_ids(self, caller: Caller, ids: list[UUID]) -> dict[UUID, Request]:
        """Several at once, for lists that name them; those the caller may not see are left out."""
        async with self._office.reading(caller) as tx:
            found = await tx.requests.by_ids(ids)
        targets = {id: Target.list("request", owner=each.institution) for id, each in found.items()}  # noqa: A001
        seen = await self._office.seen(caller, Action.VIEW_REQUEST, targets)
        return {id: each for id, each in found.items() if id in seen}  # noqa: A001

    async def named(self, caller: Caller, ids: list[UUID]) -> dict[UUID, Request | Forbidden]:
        """Several asked for by id, each permitted as `get` would: what is refused is its refusal."""
        told, refused = await self._office.named(
            caller, Action.VIEW_REQUEST, ids, lambda tx, ids: tx.requests.by_ids(ids),
            lambda each: Target(kind="request", id=str(each.id), owner=each.institution),
        )  # fmt: skip
        return {**told, **refused}

    async def page(self, caller: Caller, **asked: Unpack[RequestList]) -> Page[Request]:
        """Of those asked for, what the caller sees."""
        extent = await self._office.extent(caller, Action.VIEW_REQUEST, *_lists(asked))
        async with self._office.reading(caller) as tx:
            page = await tx.requests.page(seen=extent.seen, **asked)
        targets = {each.id: Target.list("request", owner=each.institution) for each in page.items}
        await self._office.shown(caller, Action.VIEW_REQUEST, extent, targets)
        return page

    async def write_page(self, caller: Caller, wanted: Wanted, **asked: Unpack[RequestList]) -> Written:
        """The same, written; permitted, and on record, as `page` is."""
        return await written_page(
            self._office, caller, Action.VIEW_REQUEST, wanted, asked, lists=_lists(asked),
            write=lambda tx, **seen: tx.requests.write_page(wanted, **seen, **asked),
            whose=lambda parties: Target.list("request", owner=parties[0]),
        )  # fmt: skip

    async def write_one(self, caller: Caller, wanted: WantedOne, id: UUID) -> str:  # noqa: A002
        """The same as `get`, written."""
        return await written_one(
            self._office, caller, Action.VIEW_REQUEST, wanted,
            write=lambda tx, linked: tx.requests.write_one(wanted, id, linked),
            target=lambda one: Target(kind="request", id=str(id), owner=one.parties[0]),
        )  # fmt: skip

    async def _find(self, id: UUID) -> Request:  # noqa: A002
        async with self._office.looking() as tx:
            return await tx.requests.get(id)


def _lists(asked: RequestList) -> tuple[Target, list[Target]]:
    matching = asked.get("matching")
    return lists_of_owners("request", asked["institution"], None if matching is None else matching.institutions)
