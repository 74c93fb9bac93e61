"""Report capacity, and read what was reported."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from sharewell.domain.agreements import SharedDetail, Shown
from sharewell.domain.audit import Json
from sharewell.domain.capacity import MEASURES, CapacityDraft, CapacityReport
from sharewell.domain.errors import Invalid, SharewellError
from sharewell.domain.policy import Action, Target
from sharewell.domain.principals import Caller
from sharewell.domain.visibility import ENTITLED, RegionCapacity, VeiledReport, region_totals
from sharewell.services.act import Act, Done
from sharewell.services.agreements import shown_to
from sharewell.services.ids import new_id
from sharewell.services.office import Office
from sharewell.store.answered import Wish
from sharewell.store.paging import Page, Place

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

    async def by_ids(self, caller: Caller, ids: list[UUID]) -> dict[UUID, CapacityReport | VeiledReport]:
        """Several at once, for lists that name them; those the caller may not see are left out."""
        async with self._office.reading(caller) as tx:
            found = await tx.capacity.by_ids(ids)
        shown = await shown_to(self._office, caller, SharedDetail.COUNTS)
        targets = {id: Target.list("capacity", owner=each.institution) for id, each in found.items()}  # noqa: A001
        seen = await self._office.seen(caller, Action.VIEW_CAPACITY, targets)
        told = await self._told(caller, [each for id, each in found.items() if id in seen], shown)  # noqa: A001
        return {each.id: each for each in told}

    async def page(
        self, caller: Caller, *, before: UUID, institution: UUID | None, resource: str | None, first: int,
        exact: bool = False, place: Place | None = None,
    ) -> Page[CapacityReport | VeiledReport]:  # fmt: skip
        """Newest record first, or as `place` says; with `exact`, refused where not all is exact for the caller."""
        shown = await shown_to(self._office, caller, SharedDetail.COUNTS, institution)
        if exact:
            target = Target.list("capacity", owner=institution, shared_with=shown.to(institution, resource))
            await self._office.allow(caller, Action.VIEW_EXACT_CAPACITY, target)
        extent = await self._office.extent(caller, Action.VIEW_CAPACITY, Target.list("capacity", owner=institution))
        async with self._office.reading(caller) as tx:
            page = await tx.capacity.page(
                before=before, institution=institution, resource=resource, first=first, seen=extent.seen,
                place=place,
            )
        targets = {each.id: Target.list("capacity", owner=each.institution) for each in page.items}
        await self._office.shown(caller, Action.VIEW_CAPACITY, extent, targets)
        return page.told(page.items if exact else await self._told(caller, page.items, shown))

    async def of_region(self, caller: Caller, region: str, resource: str | None) -> list[RegionCapacity]:
        """What the newest reports of a region add up to, by resource, as far as the caller sees each of them."""
        await self._office.allow(caller, Action.VIEW_CAPACITY, Target.of_region("capacity", region))
        shown = await shown_to(self._office, caller, SharedDetail.COUNTS)
        async with self._office.reading(caller) as tx:
            reports = await tx.capacity.newest_of_region(region, resource)
        return region_totals(region, await self._told(caller, reports, shown))

    async def _told(
        self, caller: Caller, reports: Sequence[CapacityReport], shown: Shown
    ) -> tuple[CapacityReport | VeiledReport, ...]:
        """The reports as far as the caller may see them: exactly, where the policies permit that, else veiled.

        Asked for everybody's first; then only for the caller's own, for what agreements show it and, of a regulator of
        some regions, for each; all else is everybody's. Exact readings of another's are on record for each owner.
        """
        act, office = ENTITLED["CapacityReport"].act, self._office
        if office.may(caller, act, Target.list("capacity")):
            return tuple(reports)
        targets = {
            each.id: Target.list("capacity", owner=each.institution, shared_with=to)
            for each in reports
            if (to := shown.to(each.institution, each.resource))
            or each.institution == caller.institution
            or caller.jurisdiction
        }
        exact = await office.seen(caller, act, targets)
        return tuple(each if each.id in exact else VeiledReport.of(each) for each in reports)


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
