"""Report capacity, and read what was reported."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from sharewell.domain.audit import Json
from sharewell.domain.capacity import MEASURES, CapacityDraft, CapacityReport
from sharewell.domain.errors import Invalid, SharewellError
from sharewell.domain.policy import Action, Target
from sharewell.domain.principals import Caller
from sharewell.services.office import Act, Done, Office, new_id
from sharewell.store.answered import Wish
from sharewell.store.paging import Page

MOST_AT_ONCE = 50


class CapacityService:
    """What everyone says they have."""

    def __init__(self, office: Office) -> None:
        self._office = office

    async def report(
        self, caller: Caller, institution: UUID, drafts: Sequence[CapacityDraft], wish: Wish | None = None
    ) -> Done[tuple[CapacityReport, ...]]:
        """Put reports of one or more resources on record, all or none of them."""
        if not 1 <= len(drafts) <= MOST_AT_ONCE:
            raise Invalid(f"send 1 to {MOST_AT_ONCE} reports at once.", field="reports")
        target = Target(kind="capacity", id="new", owner=institution)
        async with self._office.act(caller, Action.REPORT_CAPACITY, target, wish) as act:
            if act.repeated:
                return act.again(tuple[CapacityReport, ...])
            office = self._office
            reports = tuple(
                [await _taken_in(office, act, draft, institution, f"reports.{n}") for n, draft in enumerate(drafts)]
            )
            decision = await act.record(
                "capacity.reported", "institution", institution,
                {"reports": [_summary(report) for report in reports]}, institution=institution,
            )  # fmt: skip
            await act.tx.capacity.add(reports, decision)
            return await act.done(reports, decision)

    async def by_ids(self, caller: Caller, ids: list[UUID]) -> dict[UUID, CapacityReport]:
        """Several at once, for lists that name them; those the caller may not see are left out."""
        async with self._office.reading(caller) as tx:
            found = await tx.capacity.by_ids(ids)
        targets = {id: Target.list("capacity", owner=each.institution) for id, each in found.items()}  # noqa: A001
        seen = await self._office.seen(caller, Action.VIEW_CAPACITY, targets)
        return {id: each for id, each in found.items() if id in seen}  # noqa: A001

    async def page(
        self, caller: Caller, *, before: UUID, institution: UUID | None, resource: str | None, first: int
    ) -> Page[CapacityReport]:
        extent = await self._office.extent(caller, Action.VIEW_CAPACITY, Target.list("capacity", owner=institution))
        async with self._office.reading(caller) as tx:
            page = await tx.capacity.page(
                before=before, institution=institution, resource=resource, first=first, seen=extent.seen
            )
        targets = {each.id: Target.list("capacity", owner=each.institution) for each in page.items}
        await self._office.shown(caller, Action.VIEW_CAPACITY, extent, targets)
        return page


async def _taken_in(office: Office, act: Act, draft: CapacityDraft, institution: UUID, path: str) -> CapacityReport:
    """One of several drafts; what is wrong with it is told with its place among them."""
    try:
        report = CapacityReport.report(draft, id=new_id(), by=institution, at=act.at)
        await _check_references(office, act, report)
    except SharewellError as error:
        error.field = f"{path}.{error.field}" if error.field else path
        raise
    return report


async def _check_references(office: Office, act: Act, report: CapacityReport) -> None:
    await office.resource(act.tx, report.resource)
    if report.corrects is None:
        return
    corrected = await act.tx.capacity.get(report.corrects)
    if (corrected.institution, corrected.resource) != (report.institution, report.resource):
        raise Invalid("corrects names a report of another institution or resource.", field="corrects")


def _summary(report: CapacityReport) -> dict[str, Json]:
    said: dict[str, Json] = {
        "id": str(report.id), "resource": report.resource, "as_of": report.as_of.isoformat(), "source": report.source,
    }  # fmt: skip
    said.update({name: value for name in MEASURES if (value := getattr(report, name)) is not None})
    if report.corrects is not None:
        said["corrects"] = str(report.corrects)
    return said
