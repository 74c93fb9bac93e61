"""What runs meant to each institution, what they left open and why, and the ledger of give and take. Only read."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from sharewell.domain.errors import Invalid
from sharewell.domain.fairness import Receipt
from sharewell.domain.policy import Action, Target
from sharewell.domain.principals import Caller
from sharewell.services.allocations import reads_documents
from sharewell.services.office import Office
from sharewell.store.paging import Page, Place
from sharewell.store.receipts import GiveAndTake, LeftOpen, ShortBy


class ReceiptService:
    """What runs meant to whom."""

    def __init__(self, office: Office) -> None:
        self._office = office

    async def of_runs(self, caller: Caller, runs: list[UUID]) -> dict[UUID, list[Receipt]]:
        """By run, the receipts the caller may see: all, or its institution's own."""
        extent = await self._office.extent(caller, Action.VIEW_RECEIPT, Target.list("receipt"))
        async with self._office.reading(caller) as tx:
            found = await tx.receipts.of_runs(runs, extent.seen)
        told = {UUID(each.institution) for receipts in found.values() for each in receipts}
        targets = {who: Target.list("receipt", owner=who) for who in told}
        await self._office.shown(caller, Action.VIEW_RECEIPT, extent, targets)
        return found

    async def unfilled_of_runs(self, caller: Caller, runs: list[UUID]) -> dict[UUID, list[LeftOpen]]:
        """By run, what it left open of the requests the caller may see."""
        extent = await self._office.extent(caller, Action.VIEW_REQUEST, Target.list("request"))
        async with self._office.reading(caller) as tx:
            found = await tx.receipts.unfilled_of_runs(runs, extent.seen)
        told = [each for rows in found.values() for each in rows]
        targets = {each.request: Target.list("request", owner=each.institution) for each in told}
        await self._office.shown(caller, Action.VIEW_REQUEST, extent, targets)
        return found

    async def unfilled_of_requests(self, caller: Caller, requests: list[UUID]) -> dict[UUID, LeftOpen]:
        """By request, what the newest run left open of it; requests the caller may not see are left out."""
        async with self._office.reading(caller) as tx:
            found = await tx.receipts.unfilled_of_requests(requests)
        targets = {id: Target.list("request", owner=each.institution) for id, each in found.items()}  # noqa: A001
        seen = await self._office.seen(caller, Action.VIEW_REQUEST, targets)
        return {id: each for id, each in found.items() if id in seen}  # noqa: A001

    async def by_reason(self, caller: Caller, runs: list[UUID]) -> dict[UUID, list[ShortBy]]:
        """By run, how much stayed open for which reason; runs in which one institution's part is small are left out."""
        await self._office.allow(caller, Action.VIEW_ALLOCATION, Target.list("allocation"))
        async with self._office.looking() as tx:  # counts over all
            found = await tx.receipts.by_reason(runs)
            if reads_documents(self._office, caller):
                return found
            hidden = await tx.receipts.with_small_parts_by_reason(runs)
            return {run: rows for run, rows in found.items() if run not in hidden}

    async def ledger(
        self, caller: Caller, *, after: UUID, institution: UUID | None, since: datetime, until: datetime,
        resource: str | None, first: int, place: Place | None = None,
    ) -> Page[GiveAndTake]:  # fmt: skip
        """What `institution`, or each, gave and got in `since..until`: as planned, and what really moved."""
        extent = await self._office.extent(caller, Action.VIEW_RECEIPT, Target.list("receipt", owner=institution))
        if until <= since:
            raise Invalid("until must come after since.", field="until")
        async with self._office.reading(caller) as tx:
            page = await tx.receipts.ledger(
                after=after, institution=institution, since=since, until=until, resource=resource, first=first,
                seen=extent.seen, place=place,
            )  # fmt: skip
        targets = {each.institution: Target.list("receipt", owner=each.institution) for each in page.items}
        await self._office.shown(caller, Action.VIEW_RECEIPT, extent, targets)
        return page
