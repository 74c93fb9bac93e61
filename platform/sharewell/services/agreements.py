"""Propose, accept and end sharing agreements, and tell the policies what those in force show."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from uuid import UUID

from sharewell.domain.agreements import Agreement, SharedDetail, Shown
from sharewell.domain.errors import NotFound
from sharewell.domain.policy import Action, Target
from sharewell.domain.principals import Caller
from sharewell.services.act import Done
from sharewell.services.ids import new_id
from sharewell.services.office import Office
from sharewell.store.answered import Wish
from sharewell.store.database import Transaction
from sharewell.store.paging import Page, Place


class AgreementService:
    """Who shows whom what."""

    def __init__(self, office: Office) -> None:
        self._office = office

    async def propose(
        self, caller: Caller, giver: UUID, receiver: UUID, *, resource: str | None, detail: SharedDetail,
        starts_at: datetime | None, until: datetime, wish: Wish | None = None,
    ) -> Done[Agreement]:  # fmt: skip
        """Offer `receiver` to see more of `giver`'s numbers; nothing is shown until it accepts."""
        target = Target(kind="agreement", id="new", giver=giver, receiver=receiver)
        async with self._office.act(caller, Action.PROPOSE_AGREEMENT, target, wish) as act:
            if act.repeated:
                return act.again(Agreement)
            agreement = Agreement.propose(
                id=new_id(), giver=giver, receiver=receiver, resource=resource, detail=detail, starts_at=starts_at,
                until=until, at=act.at,
            )  # fmt: skip
            if agreement.resource is not None:
                await self._office.resource(act.tx, agreement.resource)
            await _check_member(act.tx, receiver)
            decision = await act.record(
                "agreement.proposed", "agreement", agreement.id,
                {"giver": str(giver), "receiver": str(receiver), "resource": agreement.resource,
                 "detail": agreement.detail, "starts_at": agreement.starts_at.isoformat(),
                 "until": agreement.until.isoformat()},
                institution=giver,
            )  # fmt: skip
            await act.tx.agreements.add(agreement, decision)
            return await act.done(agreement, decision)

    async def accept(self, caller: Caller, id: UUID, wish: Wish | None = None) -> Done[Agreement]:  # noqa: A002
        """Take the offer; from now on, or from its start, the numbers are shown."""
        return await self._step(
            caller, id, Action.ACCEPT_AGREEMENT, "agreement.accepted", lambda one, at: one.accept(at=at), wish
        )

    async def end(self, caller: Caller, id: UUID, wish: Wish | None = None) -> Done[Agreement]:  # noqa: A002
        """From now on nothing is shown by it any more."""
        return await self._step(
            caller, id, Action.END_AGREEMENT, "agreement.ended", lambda one, at: one.end(at=at), wish
        )

    async def page(
        self, caller: Caller, *, before: UUID, party: UUID | None, only_in_force: bool, first: int,
        place: Place | None = None,
    ) -> Page[Agreement]:  # fmt: skip
        target = Target.list("agreement", giver=party, receiver=party)
        extent = await self._office.extent(caller, Action.VIEW_AGREEMENT, target)
        async with self._office.reading(caller) as tx:
            page = await tx.agreements.page(
                before=before, institution=party, only_in_force=only_in_force, at=self._office.now(), first=first,
                seen=extent.seen, place=place,
            )  # fmt: skip
        targets = {each.id: Target.list("agreement", giver=each.giver, receiver=each.receiver) for each in page.items}
        await self._office.shown(caller, Action.VIEW_AGREEMENT, extent, targets)
        return page

    async def _step(
        self, caller: Caller, id: UUID, action: Action, kind: str,  # noqa: A002
        step: Callable[[Agreement, datetime], Agreement], wish: Wish | None,
    ) -> Done[Agreement]:  # fmt: skip
        async with self._office.looking() as tx:
            found = await tx.agreements.get(id)
        target = Target(kind="agreement", id=str(id), giver=found.giver, receiver=found.receiver)
        async with self._office.act(caller, action, target, wish) as act:
            if act.repeated:
                return act.again(Agreement)
            before = await act.tx.agreements.get(id, lock=True)
            act.check_as_read(before.changed_by)
            agreement = step(before, act.at)
            decision = await act.record(
                kind, "agreement", id, {"giver": str(found.giver), "receiver": str(found.receiver)},
                institution=found.giver,
            )  # fmt: skip
            await act.tx.agreements.update(agreement, decision)
            return await act.done(agreement, decision)


async def shown_to(office: Office, caller: Caller, detail: SharedDetail, giver: UUID | None = None) -> Shown:
    """What `giver`, or everybody, shows the caller's institution now; for `Target.shared_with`."""
    receiver, at = caller.institution, office.now()
    if receiver is None or receiver == giver:  # who acts for nobody is shown nothing, and one's own is one's own
        return Shown.of(receiver, [], detail, at)
    async with office.reading(caller) as tx:
        return Shown.of(receiver, await tx.agreements.in_force_for(receiver, at, giver), detail, at)


async def _check_member(tx: Transaction, institution: UUID) -> None:
    try:
        await tx.institutions.get(institution)
    except NotFound as error:
        error.field = "receiver"
        raise
