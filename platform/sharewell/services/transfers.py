"""Take transfers from step to step. What a giver takes back or lets expire lives on as a request of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import datetime
from typing import Unpack
from uuid import UUID

from sharewell.domain.audit import Json
from sharewell.domain.deviations import found_in_step
from sharewell.domain.errors import Forbidden
from sharewell.domain.policy import Action, Target
from sharewell.domain.principals import Caller
from sharewell.domain.remarks import Remark
from sharewell.domain.requests import Request
from sharewell.domain.transfers import DeclineReason, Transfer, TransferState
from sharewell.domain.visibility import ENTITLED, for_the_receiver
from sharewell.services.act import Act, Done
from sharewell.services.deviations import record_deviations
from sharewell.services.ids import new_id, new_salt
from sharewell.services.office import Office
from sharewell.services.written import written_one, written_page
from sharewell.store.answered import Wish
from sharewell.store.paging import Page
from sharewell.store.transfers import TransferList, TransferStep
from sharewell.store.written import Wanted, WantedOne, Written


class TransferService:
    """What is on its way."""

    def __init__(self, office: Office) -> None:
        self._office = office

    async def confirm(self, caller: Caller, id: UUID, wish: Wish | None = None) -> Done[Transfer]:  # noqa: A002
        return await self._step(caller, id, Action.CONFIRM_TRANSFER, wish, lambda t, at: t.confirm(at=at))

    async def decline(
        self, caller: Caller, id: UUID, reason: DeclineReason, wish: Wish | None = None, *,  # noqa: A002
        remark: str | None = None,
    ) -> Done[Transfer]:  # fmt: skip
        """Take a pledge back for `reason`; `remark` is free text beside it, and stays out of the log."""
        return await self._step(
            caller, id, Action.DECLINE_TRANSFER, wish, lambda t, at: t.decline(reason, at=at), remark
        )

    async def dispatch(
        self, caller: Caller, id: UUID, wish: Wish | None = None, *, units: int | None = None  # noqa: A002
    ) -> Done[Transfer]:
        """`units` that really left, if not as many as adopted; those that did not are asked for anew."""
        return await self._step(caller, id, Action.DISPATCH_TRANSFER, wish, lambda t, at: t.dispatch(units, at=at))

    async def receive(
        self, caller: Caller, id: UUID, wish: Wish | None = None, *, units: int | None = None  # noqa: A002
    ) -> Done[Transfer]:
        """`units` that really arrived, if not as many as left."""
        transfer = await self._find(id)
        async with self._office.reading(caller) as tx:
            resource = await self._office.resource(tx, transfer.resource)
        return await self._step(
            caller, id, Action.RECEIVE_TRANSFER, wish, lambda t, at: t.receive(resource, units, at=at)
        )

    async def give_back(self, caller: Caller, id: UUID, wish: Wish | None = None) -> Done[Transfer]:  # noqa: A002
        transfer = await self._find(id)
        async with self._office.reading(caller) as tx:
            resource = await self._office.resource(tx, transfer.resource)
        return await self._step(caller, id, Action.RETURN_TRANSFER, wish, lambda t, at: t.give_back(resource, at=at))

    async def sweep(self, caller: Caller) -> int:
        """End holds nobody answered, call in loans that are due, close requests whose time is over; say how many."""
        return await self._end_transfers(caller) + await self._end_requests(caller)

    async def _end_transfers(self, caller: Caller) -> int:
        async with self._office.act(caller, Action.EXPIRE_HOLDS, Target.list("transfer")) as act:
            expired = [(t, t.expire(at=act.at)) for t in await act.tx.transfers.expired_holds(act.at)]
            due = [(t, t.fall_due(at=act.at)) for t in await act.tx.transfers.due_back(act.at)]
            # Everybody locks transfers, then offers, then requests, each by id: nobody waits for another in a circle.
            await act.tx.offers.lock([t.offer for t, _ in expired])
            await act.tx.requests.lock([t.request for t, _ in (*expired, *due)])
            for before, after in (*expired, *due):
                await take_step(act, before, after)
            return len(expired) + len(due)

    async def _end_requests(self, caller: Caller) -> int:
        async with self._office.act(caller, Action.EXPIRE_HOLDS, Target.list("transfer")) as act:
            ended = [request.expire() for request in await act.tx.requests.ended(act.at)]
            for request in ended:
                decision = await act.record(
                    "request.expired", "request", request.id, {"requested": request.requested},
                    institution=request.institution,
                )  # fmt: skip
                await act.tx.requests.update(request, decision)
            return len(ended)

    async def get(self, caller: Caller, id: UUID) -> Transfer:  # noqa: A002
        found = await self._office.found(caller, Action.VIEW_TRANSFER, lambda tx: tx.transfers.get(id), _target)
        return (await self._told(caller, [found]))[0]

    async def by_ids(self, caller: Caller, ids: list[UUID]) -> dict[UUID, Transfer]:
        """Several at once, for lists that name them; those the caller may not see are left out."""
        return await self._seen(caller, ids)

    async def named(self, caller: Caller, ids: list[UUID]) -> dict[UUID, Transfer | Forbidden]:
        """Several asked for by id, each permitted as `get` would: what is refused is its refusal."""
        told, refused = await self._office.named(
            caller, Action.VIEW_TRANSFER, ids, lambda tx, ids: tx.transfers.by_ids(ids), _target
        )
        return {each.id: each for each in await self._told(caller, told.values())} | refused

    async def steps(self, caller: Caller, id: UUID) -> list[TransferStep]:  # noqa: A002
        """Every step the transfer took, oldest first."""
        await self.get(caller, id)
        async with self._office.reading(caller) as tx:
            return await tx.transfers.steps(id)

    async def steps_of(self, caller: Caller, ids: list[UUID]) -> dict[UUID, list[TransferStep]]:
        """Of several at once, the steps they took; transfers the caller may not see are left out."""
        seen = await self._seen(caller, ids)
        async with self._office.reading(caller) as tx:
            return await tx.transfers.steps_of([*seen])

    async def page(self, caller: Caller, **asked: Unpack[TransferList]) -> Page[Transfer]:
        """Of those asked for, what the caller sees."""
        extent = await self._office.extent(caller, Action.VIEW_TRANSFER, *_lists(asked))
        async with self._office.reading(caller) as tx:
            page = await tx.transfers.page(seen=extent.seen, **asked)
        targets = {each.id: _list_between(each.giver, each.receiver) for each in page.items}
        await self._office.shown(caller, Action.VIEW_TRANSFER, extent, targets)
        return page.told(await self._told(caller, page.items))

    async def write_page(self, caller: Caller, wanted: Wanted, **asked: Unpack[TransferList]) -> Written:
        """The same, written; permitted, and on record, as `page` is."""
        return await written_page(
            self._office, caller, Action.VIEW_TRANSFER, wanted, asked, lists=_lists(asked),
            write=lambda tx, **seen: tx.transfers.write_page(wanted, **seen, **asked),
            whose=lambda parties: _list_between(*parties),
        )  # fmt: skip

    async def write_one(self, caller: Caller, wanted: WantedOne, id: UUID) -> str:  # noqa: A002
        """The same as `get`, written."""
        return await written_one(
            self._office, caller, Action.VIEW_TRANSFER, wanted,
            write=lambda tx, linked: tx.transfers.write_one(wanted, id, linked),
            target=lambda one: Target(kind="transfer", id=str(id), giver=one.parties[0], receiver=one.parties[1]),
        )  # fmt: skip

    async def _seen(self, caller: Caller, ids: list[UUID]) -> dict[UUID, Transfer]:
        async with self._office.reading(caller) as tx:
            found = await tx.transfers.by_ids(ids)
        targets = {id: _list_between(t.giver, t.receiver) for id, t in found.items()}  # noqa: A001
        seen = await self._office.seen(caller, Action.VIEW_TRANSFER, targets)
        return {each.id: each for each in await self._told(caller, [found[id] for id in seen])}  # noqa: A001

    async def _told(self, caller: Caller, transfers: Iterable[Transfer]) -> tuple[Transfer, ...]:
        return await told_to(self._office, caller, transfers)

    async def _step(
        self, caller: Caller, id: UUID, action: Action, wish: Wish | None,  # noqa: A002
        step: Callable[[Transfer, datetime], Transfer], remark: str | None = None,
    ) -> Done[Transfer]:  # fmt: skip
        async with self._office.act(caller, action, _target(await self._find(id)), wish) as act:
            if act.repeated:
                done: Done[Transfer] = act.again(Transfer)
                return replace(done, subject=(await self._told(caller, [done.subject]))[0])
            before = await act.tx.transfers.get(id, lock=True)
            act.check_as_read(before.changed_by)
            after = step(before, act.at)
            decision = await take_step(act, before, after, Remark.write(remark, salt=new_salt()))
            done = await act.done(after, decision)
            return replace(done, subject=(await self._told(caller, [done.subject]))[0])

    async def _find(self, id: UUID) -> Transfer:  # noqa: A002
        async with self._office.looking() as tx:
            return await tx.transfers.get(id)


async def told_to(office: Office, caller: Caller, transfers: Iterable[Transfer]) -> tuple[Transfer, ...]:
    """A reason speaks of what the giver has, which is for the giver, and for whoever sees its counts exactly."""
    transfers, act = tuple(transfers), ENTITLED["Transfer"].act
    placed = await office.placed_for(caller, {Target.list("capacity", owner=each.giver) for each in transfers})
    exact = {target.owner for target, there in placed.items() if office.may(caller, act, there)}
    return tuple(
        each if each.giver in exact else replace(each, reason=for_the_receiver(each.reason)) for each in transfers
    )


async def take_step(act: Act, before: Transfer, after: Transfer, remark: Remark | None = None) -> UUID:
    """Record the step, store it, let the request it answers follow, and record where it departs from the plan."""
    details: dict[str, Json] = {
        "giver": str(after.giver), "receiver": str(after.receiver), "resource": after.resource,
        "quantity": after.quantity, "reason": after.decline_reason or "",
    }  # fmt: skip
    if after.state in {TransferState.DISPATCHED, TransferState.RECEIVED}:
        details["units"] = after.dispatched if after.received is None else after.received
    if remark is not None:
        details["remark_sha256"] = remark.sha256
    decision = await act.record(
        f"transfer.{after.state}", "transfer", after.id, details, institution=act.caller.institution or after.giver
    )
    await act.keep_remark(decision, remark)
    request = await store_step(act, after, decision)
    await record_deviations(act, after, found_in_step(before, after, request.needed_by))
    return decision


async def store_step(act: Act, after: Transfer, decision: UUID) -> Request:
    """Store a step that is on record as `decision`, and let the request follow; return the request."""
    await act.tx.transfers.update(after, decision)
    async with act.tx.as_platform():  # the request is the receiver's, whoever takes the step
        return await _followed(act, after, decision)


async def _followed(act: Act, after: Transfer, decision: UUID) -> Request:
    request = await act.tx.requests.get(after.request, lock=True)
    match after.state:
        case TransferState.DECLINED | TransferState.EXPIRED | TransferState.CANCELLED:
            return await _release(act, request, after.quantity, decision)
        case TransferState.DISPATCHED:
            return await _release(act, request, after.quantity - after.on_the_way, decision)
        case TransferState.RECEIVED:
            request = request.fulfil(after.arrived)
            await act.tx.requests.update(request, decision)
            return await _release(act, request, after.on_the_way - after.arrived, decision)
        case _:
            return request


async def _release(act: Act, request: Request, units: int, decision: UUID) -> Request:
    """Ask anew for `units` that do not come."""
    if units == 0:
        return request
    request, remainder = request.release(units, id=new_id(), at=act.at)
    await act.tx.requests.update(request, decision)
    if remainder is not None:
        await act.tx.requests.add(remainder, decision)
    return request


def _list_between(giver: UUID | None, receiver: UUID | None) -> Target:
    return Target.list("transfer", giver=giver, receiver=receiver)


def _target(transfer: Transfer) -> Target:
    return Target(kind="transfer", id=str(transfer.id), giver=transfer.giver, receiver=transfer.receiver)


def _lists(asked: TransferList) -> tuple[Target, list[Target]]:
    """The list of a party or of all, and those of the parties that a filter names."""
    matching = asked.get("matching")
    parties = () if matching is None else (matching.giver, matching.receiver)
    return _list_between(asked["party"], asked["party"]), [_list_between(each, each) for each in parties if each]
