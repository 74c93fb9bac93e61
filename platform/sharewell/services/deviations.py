"""Record what was done otherwise than adopted, as soon as it shows, and say how often that is so with whom."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from sharewell.domain.control import Chart, Tally, chart
from sharewell.domain.deviations import Deviation, DeviationKind, Unplanned, moved
from sharewell.domain.errors import Invalid
from sharewell.domain.policy import Action, Target
from sharewell.domain.principals import Caller
from sharewell.domain.transfers import Transfer
from sharewell.services.act import Act, Done
from sharewell.services.ids import new_id
from sharewell.services.office import Office
from sharewell.store.answered import Wish
from sharewell.store.deviations import OperatorTally
from sharewell.store.overrides import OverrideCount
from sharewell.store.paging import Page

LONGEST = timedelta(days=366)  #: window of a chart

Operator = tuple[UUID, str]  #: an institution, and the client that acted for it


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviationRates:
    """The control chart of a window, as far as the caller may see it; limits rest on everybody."""

    since: datetime
    until: datetime
    chart: Chart[Operator]
    operators: Mapping[Operator, OperatorTally]  #: those the caller may see
    overrides: list[OverrideCount]  #: by code, in transfers the caller may see


class DeviationService:
    """What was done otherwise than adopted."""

    def __init__(self, office: Office) -> None:
        self._office = office

    async def sweep(self, caller: Caller) -> int:
        """Record what was confirmed, is due and never left, each once; say how many."""
        async with self._office.act(caller, Action.DETECT_DEVIATION, Target.list("deviation")) as act:
            await act.tx.deviations.alone()
            found = await act.tx.transfers.not_dispatched(act.at)
            for transfer in found:
                await record_deviations(act, transfer, [DeviationKind.NOT_DISPATCHED])
            return len(found)

    async def report_unplanned(
        self, caller: Caller, institution: UUID, told: Unplanned, wish: Wish | None = None
    ) -> Done[Deviation]:
        """`institution`, one of the two parties, tells that units moved outside of any plan."""
        target = Target(kind="deviation", id="new", owner=institution)
        async with self._office.act(caller, Action.REPORT_UNPLANNED, target, wish) as act:
            if act.repeated:
                return act.again(Deviation)
            told.check(institution)
            await self._office.resource(act.tx, told.resource)
            for party in (told.giver, told.receiver):
                await act.tx.institutions.get(party)
            deviation = await _recorded(
                act, DeviationKind.OUTSIDE_PLAN, (told.giver, told.receiver), told.resource, (0, told.units)
            )
            return await act.done(deviation, deviation.decision)

    async def page(
        self, caller: Caller, *, before: UUID, institution: UUID | None, kind: str | None, transfer: UUID | None,
        first: int,
    ) -> Page[Deviation]:  # fmt: skip
        extent = await self._office.extent(caller, Action.VIEW_DEVIATION, Target.list("deviation", owner=institution))
        async with self._office.reading(caller) as tx:
            page = await tx.deviations.page(
                before=before, party=institution, kind=kind, transfer=transfer, first=first, seen=extent.seen
            )
        targets = {
            each.id: Target.list("deviation", owner=await self._office.whose(caller, each.giver, each.receiver))
            for each in page.items if not extent.recorded
        }  # fmt: skip
        await self._office.shown(caller, Action.VIEW_DEVIATION, extent, targets)
        return page

    async def rates(
        self, caller: Caller, *, since: datetime, until: datetime, institution: UUID | None
    ) -> DeviationRates:
        """The control chart of the transfers answered in `since..until`."""
        await self._office.allow(caller, Action.VIEW_DEVIATION, Target.list("deviation", owner=institution))
        if not timedelta(0) < until - since <= LONGEST:
            raise Invalid(f"until must come after since, by at most {LONGEST.days} days.", field="until")
        async with self._office.looking() as tx:  # the limits of the chart rest on everybody
            found = {(row.institution, row.client): row for row in await tx.deviations.tallies(since, until)}
            overrides = await tx.overrides.by_code(since, until, institution)
        return DeviationRates(
            since=since, until=until, overrides=overrides,
            chart=chart({who: Tally(row.decided, row.departed) for who, row in found.items()}),
            operators={who: row for who, row in found.items() if institution in {None, row.institution}},
        )  # fmt: skip


async def record_deviations(act: Act, transfer: Transfer, kinds: Iterable[DeviationKind]) -> None:
    """Put each of `kinds` on record as part of the act in which it showed."""
    for kind in kinds:
        parties = (transfer.giver, transfer.receiver)
        await _recorded(act, kind, parties, transfer.resource, moved(kind, transfer), transfer.id)


async def _recorded(
    act: Act, kind: DeviationKind, parties: tuple[UUID, UUID], resource: str, units: tuple[int, int],
    transfer: UUID | None = None,
) -> Deviation:  # fmt: skip
    id, (giver, receiver), (adopted, did) = new_id(), parties, units  # noqa: A001
    subject = ("deviation", id) if transfer is None else ("transfer", transfer)
    decision = await act.record(
        "deviation.detected", *subject,
        {"kind": kind, "giver": str(giver), "receiver": str(receiver), "resource": resource, "adopted": adopted,
         "moved": did},
        institution=giver,
    )  # fmt: skip
    deviation = Deviation(
        id=id, kind=kind, transfer=transfer, giver=giver, receiver=receiver, resource=resource, adopted=adopted,
        moved=did, detected_at=act.at, decision=decision,
    )  # fmt: skip
    await act.tx.deviations.add(deviation)
    return deviation
