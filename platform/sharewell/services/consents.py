"""Give and take back standing consent, and confirm by it while surge mode is in force."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from uuid import UUID

from sharewell.domain.consents import Consent
from sharewell.domain.policy import Action, Target
from sharewell.domain.principals import Caller
from sharewell.domain.surges import SurgeMode
from sharewell.domain.transfers import Transfer
from sharewell.services.act import Act, Done
from sharewell.services.ids import new_id
from sharewell.services.office import Office
from sharewell.store.answered import Wish
from sharewell.store.paging import Page, Place


class ConsentService:
    """Who lets what be confirmed in surge mode."""

    def __init__(self, office: Office) -> None:
        self._office = office

    async def give(
        self, caller: Caller, institution: UUID, resource: str, until: datetime, wish: Wish | None = None
    ) -> Done[Consent]:
        target = Target(kind="consent", id="new", owner=institution)
        async with self._office.act(caller, Action.GIVE_CONSENT, target, wish) as act:
            if act.repeated:
                return act.again(Consent)
            await self._office.resource(act.tx, resource)
            consent = Consent.give(id=new_id(), by=institution, resource=resource, until=until, at=act.at)
            decision = await act.record(
                "consent.given", "consent", consent.id,
                {"resource": consent.resource, "until": consent.until.isoformat()}, institution=institution,
            )  # fmt: skip
            await act.tx.consents.add(consent, decision)
            return await act.done(consent, decision)

    async def withdraw(self, caller: Caller, id: UUID, wish: Wish | None = None) -> Done[Consent]:  # noqa: A002
        async with self._office.looking() as tx:
            owner = (await tx.consents.get(id)).institution
        target = Target(kind="consent", id=str(id), owner=owner)
        async with self._office.act(caller, Action.WITHDRAW_CONSENT, target, wish) as act:
            if act.repeated:
                return act.again(Consent)
            before = await act.tx.consents.get(id, lock=True)
            act.check_as_read(before.changed_by)
            consent = before.withdraw(at=act.at)
            decision = await act.record("consent.withdrawn", "consent", id, {}, institution=owner)
            await act.tx.consents.withdraw(consent, decision)
            return await act.done(consent, decision)

    async def page(
        self, caller: Caller, *, before: UUID, institution: UUID | None, only_standing: bool, first: int,
        place: Place | None = None,
    ) -> Page[Consent]:  # fmt: skip
        extent = await self._office.extent(caller, Action.VIEW_CONSENT, Target.list("consent", owner=institution))
        async with self._office.reading(caller) as tx:
            page = await tx.consents.page(
                before=before, institution=institution, only_standing=only_standing, at=self._office.now(),
                first=first, seen=extent.seen, place=place,
            )  # fmt: skip
        targets = {each.id: Target.list("consent", owner=each.institution) for each in page.items}
        await self._office.shown(caller, Action.VIEW_CONSENT, extent, targets)
        return page


async def confirm_by_consent(office: Office, act: Act, surge: SurgeMode, held: Sequence[Transfer]) -> None:
    """Confirm those of a plan's holds whose owners consented beforehand, each with an entry of its own.

    Asked of the policies for each transfer, and recorded under their answer; its owner may still decline it.
    """
    givers = sorted({transfer.giver for transfer in held})
    standing = await act.tx.consents.standing(givers, held[0].resource, act.at) if held else {}
    for transfer in held:
        if (consent := standing.get(transfer.giver)) is None:
            continue
        target = Target(kind="transfer", id=str(transfer.id), giver=transfer.giver, receiver=transfer.receiver)
        ruling = office.authz.decide(act.caller, Action.CONFIRM_BY_CONSENT, target)
        decision = await replace(act, action=Action.CONFIRM_BY_CONSENT, ruling=ruling).record(
            "transfer.confirmed", "transfer", transfer.id,
            {"giver": str(transfer.giver), "receiver": str(transfer.receiver), "resource": transfer.resource,
             "quantity": transfer.quantity, "reason": "", "surge": str(surge.id), "consent": str(consent.id)},
            institution=transfer.giver,
        )  # fmt: skip
        await act.tx.transfers.update(transfer.confirm(at=act.at), decision)
