"""Depart from an adopted plan on purpose: by a code, in one transaction with what follows from it, and on record."""

from __future__ import annotations

from uuid import UUID

from sharewell.domain.audit import Json
from sharewell.domain.errors import Conflict
from sharewell.domain.overrides import Override, OverrideDraft, OverrideKind
from sharewell.domain.policy import Action, Target
from sharewell.domain.principals import Caller
from sharewell.domain.remarks import Remark
from sharewell.domain.requests import Request
from sharewell.domain.surges import hold
from sharewell.domain.transfers import Transfer, TransferState
from sharewell.services.act import Act, Done
from sharewell.services.ids import new_id, new_salt
from sharewell.services.office import Office
from sharewell.services.transfers import store_step
from sharewell.store.answered import Wish
from sharewell.store.paging import Page


class OverrideService:
    """Departures on purpose."""

    def __init__(self, office: Office) -> None:
        self._office = office

    async def make(self, caller: Caller, draft: OverrideDraft, wish: Wish | None = None) -> Done[Override]:
        """Do what `draft` says. Raises `Invalid`, `WrongStep` or `Conflict` where it cannot be done."""
        async with self._office.looking() as tx:
            giver = (await tx.transfers.get(draft.transfer)).giver
        unconfirmed = draft.kind is OverrideKind.MOVE_UNCONFIRMED
        action = Action.MOVE_UNCONFIRMED if unconfirmed else Action.OVERRIDE_PLAN
        async with self._office.act(caller, action, Target(kind="override", id="new", owner=giver), wish) as act:
            if act.repeated:
                return act.again(Override)
            draft.check()
            override = await _carried_out(act, draft)
            await act.tx.overrides.add(override)
            return await act.done(override, override.decision)

    async def get(self, caller: Caller, id: UUID) -> Override:  # noqa: A002
        async with self._office.looking() as tx:
            override = await tx.overrides.get(id)
        target = await self._seen_by(caller, override)
        return await self._office.found(caller, Action.VIEW_OVERRIDE, lambda tx: tx.overrides.get(id), lambda _: target)

    async def page(
        self, caller: Caller, *, before: UUID, institution: UUID | None, code: str | None, first: int
    ) -> Page[Override]:
        """Overrides of transfers that `institution`, or anybody, gives or receives."""
        extent = await self._office.extent(caller, Action.VIEW_OVERRIDE, Target.list("override", owner=institution))
        async with self._office.reading(caller) as tx:
            page = await tx.overrides.page(
                before=before, party=institution, code=code, first=first, seen=extent.seen
            )
        targets = {each.id: await self._seen_by(caller, each) for each in page.items if not extent.recorded}
        await self._office.shown(caller, Action.VIEW_OVERRIDE, extent, targets)
        return page

    async def remarks(self, caller: Caller, ids: list[UUID]) -> dict[UUID, str]:
        """What was written about each, by override; those the caller may not see are left out."""
        async with self._office.reading(caller) as tx:
            found = await tx.overrides.by_ids(ids)
        targets = {override.id: await self._seen_by(caller, override) for override in found}
        seen = await self._office.seen(caller, Action.VIEW_OVERRIDE, targets)
        async with self._office.reading(caller) as tx:
            return await tx.overrides.remarks(sorted(seen))

    async def _seen_by(self, caller: Caller, override: Override) -> Target:
        """Both parties see an override: it belongs to whichever of them asks."""
        owner = await self._office.whose(caller, override.giver, override.receiver)
        return Target(kind="override", id=str(override.id), owner=owner)


async def _carried_out(act: Act, draft: OverrideDraft) -> Override:
    before = await act.tx.transfers.get(draft.transfer, lock=True)
    # Everybody locks transfers, then offers, then requests, each by id: nobody waits for another in a circle.
    await act.tx.offers.lock([before.offer])
    async with act.tx.as_platform():  # requests are the receivers'
        requests = await act.tx.requests.lock([id for id in (before.request, draft.request) if id is not None])  # noqa: A001
    after, replacement = _departed(before, draft, act), None
    if draft.request is not None:
        replacement = await _replacement(act, after, requests.get(draft.request), draft)
    override = new_id()
    decision = await _recorded(act, override, draft, after, replacement)
    await store_step(act, after, decision)
    if replacement is not None:
        await _reassign(act, after, replacement, requests[replacement.request], decision)
    return Override(
        id=override, kind=draft.kind, code=draft.code, transfer=after.id, request=draft.request,
        replacement=None if replacement is None else replacement.id, giver=after.giver, receiver=after.receiver,
        client=act.caller.principal, made_at=act.at, decision=decision,
    )  # fmt: skip


def _departed(before: Transfer, draft: OverrideDraft, act: Act) -> Transfer:
    match draft.kind:
        case OverrideKind.MOVE_UNCONFIRMED:
            return before.dispatch(draft.units, at=act.at, unconfirmed=True)
        case OverrideKind.CANCEL | OverrideKind.REASSIGN:
            return before.cancel(at=act.at)


async def _replacement(act: Act, old: Transfer, request: Request | None, draft: OverrideDraft) -> Transfer:
    """The units of `old`, held for `request` as long as any plan's would be."""
    if request is None or request.id == old.request or request.resource != old.resource:
        raise Conflict("request must be another one for the same resource.", field="request")
    if request.status != "open" or act.at >= request.needed_until:
        raise Conflict("the request is no longer open.", field="request")
    if request.institution == old.giver or request.requested < old.quantity:
        raise Conflict(
            f"the request must be of another institution and for at least {old.quantity} units.", field="request"
        )
    receiver = await act.tx.institutions.get(request.institution)
    surge = await act.tx.surges.in_force(receiver.region, old.resource, act.at)
    return Transfer(
        id=new_id(), offer=old.offer, request=request.id, giver=old.giver, receiver=request.institution,
        resource=old.resource, quantity=old.quantity, state=TransferState.HELD,
        reason=f"Reassigned from another request by override: {draft.code}.", allocation=old.allocation,
        hold_until=act.at + hold(surge), decline_reason=None, return_due_at=None, changed_at=act.at,
    )  # fmt: skip


async def _recorded(
    act: Act, override: UUID, draft: OverrideDraft, transfer: Transfer, replacement: Transfer | None
) -> UUID:
    """Put the whole departure on record, and keep the remark beside it."""
    remark = Remark.write(draft.remark, salt=new_salt())
    details: dict[str, Json] = {
        "kind": draft.kind, "code": draft.code, "transfer": str(transfer.id), "allocation": str(transfer.allocation),
        "giver": str(transfer.giver), "receiver": str(transfer.receiver), "resource": transfer.resource,
        "quantity": transfer.quantity,
    }  # fmt: skip
    if transfer.dispatched is not None:
        details["units"] = transfer.dispatched
    if replacement is not None:
        details |= {"request": str(replacement.request), "replacement": str(replacement.id)}
    if remark is not None:
        details["remark_sha256"] = remark.sha256
    decision = await act.record("plan.overridden", "override", override, details, institution=transfer.giver)
    await act.keep_remark(decision, remark)
    return decision


async def _reassign(act: Act, old: Transfer, new: Transfer, request: Request, decision: UUID) -> None:
    await act.tx.transfers.reassign(old, new, decision)
    answered = request.approve(new.quantity, note="")
    remainder = answered.remainder(id=new_id(), at=act.at)
    async with act.tx.as_platform():
        await act.tx.requests.update(answered, decision)
        if remainder is not None:
            await act.tx.requests.add(remainder, decision)
