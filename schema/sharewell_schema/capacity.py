"""Capacity reports in the API."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any
from uuid import UUID

import strawberry

from sharewell.domain import checks
from sharewell.domain.capacity import MEASURES, CapacityDraft, Mark
from sharewell.store.capacity import SORTS
from sharewell.store.paging import NEWEST
from sharewell_schema.context import Info, shown
from sharewell_schema.describe import argument, described, field, mutation, query
from sharewell_schema.institutions import Institution
from sharewell_schema.loaders import edge, fetch_edges
from sharewell_schema.mutations import OnBehalfOf, Receipt, key_field, paid, person_field, wish
from sharewell_schema.ordering import Direction, Ordering
from sharewell_schema.paging import Connection, connection, how_many, read_id
from sharewell_schema.resources import Resource
from sharewell_schema.stretch import Stretch

Measure = StrEnum("Measure", {name.upper(): name for name in MEASURES})  # type: ignore[misc]  # the domain's list
described(
    Measure, "A number of a capacity report.",
    staffed="Units that can be used now.", occupied="Units in use.", blocked="Staffed units that are closed for now.",
    surge_24h="Units that could be added within 24 hours.", surge_72h="Units that could be added within 72 hours.",
    waiting="People or orders that need a unit and have none.", admissions="New needs that began in the period.",
)  # fmt: skip
described(
    Mark, "Where a number comes from.",
    reported="Stated by the source as it is.",
    suppressed="The source hides a small count; the middle of its interval stands here.",
    imputed="Filled in by a documented rule.", carried_forward="The source repeats an earlier period.",
)  # fmt: skip
Count = StrEnum("Count", {name.upper(): name for name in (*MEASURES, "free", "need")})  # type: ignore[misc]
described(
    Count, "A number of a capacity report that may be withheld.", "ReportedCount",
    staffed="Units that can be used now.", occupied="Units in use.", blocked="Staffed units that are closed for now.",
    surge_24h="Units that could be added within 24 hours.", surge_72h="Units that could be added within 72 hours.",
    waiting="People or orders that need a unit and have none.", admissions="New needs that began in the period.",
    free="Staffed units neither occupied nor blocked.", need="Units in use plus those waited for.",
)  # fmt: skip
EDGES = {
    "institution": ("institutions", "institution"),
    "resourceLine": ("resources", "resource"),
    "corrects": ("reports", "corrects"),
}


@strawberry.type(description="Where one number of a report comes from.")
class MeasureMark:
    measure: Measure = field("Which number.")
    mark: Mark = field("Where it comes from.")


def _marks(self: Any) -> list[MeasureMark]:
    return [MeasureMark(measure=Measure(name), mark=mark) for name, mark in sorted(self.marks.items())]


@strawberry.type(
    description="A number that you are not told: a count from 1 to 10, or one from which such a count could be told."
)
class WithheldCount:
    count: Count = field("Which number.")
    at_least: int = field("It is not less.")
    at_most: int = field("It is not more.")


def _withheld(self: Any) -> list[WithheldCount]:
    return [
        WithheldCount(count=Count(one.count), at_least=one.at_least, at_most=one.at_most) for one in self.withheld
    ]


@strawberry.type(description="A total as far as you may know it; exact where you may see all that it is made of.")
class CountRange:
    exact: int | None = field("The total, where you may know it.")
    at_least: int = field("It is not less.")
    at_most: int = field("It is not more.")


@strawberry.type(
    description="What the newest reports of a region add up to for one resource. Each number is the sum of what you "
    "are told of each institution, so it never tells more of any of them."
)
class RegionCapacity:
    region: str = field("The region.")
    resource: str = field("Code of the resource.")
    institutions: int = field("Institutions that reported any of it.")
    oldest: datetime = field("The earliest of the moments that their newest reports speak of.", name="oldestAsOf")
    staffed: CountRange = field("Units that can be used now.")
    occupied: CountRange = field("Units in use.")
    blocked: CountRange = field("Staffed units that are closed for now.")
    free: CountRange = field("Staffed units neither occupied nor blocked.")
    waiting: CountRange = field("People or orders that need a unit and have none.")


@strawberry.type(description="What an institution said it has of one resource at one moment. Never rewritten.")
class CapacityReport:
    id: UUID = field("Its identifier.")
    institution: UUID = field("Identifier of the institution it speaks of.", name="institutionId")
    institution_edge: Institution | None = strawberry.field(
        resolver=edge("institutions", "institution"), name="institution", description="The institution it speaks of."
    )
    resource: str = field("Code of the resource it speaks of.")
    resource_edge: Resource | None = strawberry.field(
        resolver=edge("resources", "resource"), name="resourceLine",
        description="The catalogue's line for the resource it speaks of.",
    )  # fmt: skip
    as_of: datetime = field("The moment the numbers were true, not when they were sent.")
    period_days: int = field("Days the numbers are the mean of; 1 for a count.")
    staffed: int | None = field("Units that can be used now: there, equipped and staffed.")
    occupied: int | None = field("Of the staffed units, those in use.")
    blocked: int | None = field("Of the staffed units, those closed for now.")
    surge_24h: int | None = field("Units that could be added within 24 hours (EDXL-HAVE).")
    surge_72h: int | None = field("Units that could be added within 72 hours, the 24-hour ones included.")
    waiting: int | None = field("People or orders that need a unit and have none.")
    admissions: int | None = field("New needs that began in the period.")
    free: int | None = field("Staffed units neither occupied nor blocked; null where that cannot be told.")
    need: int | None = field("Units in use plus those waited for; null where use is not reported.")
    source: str = field("Who said so: `api`, or the published feed it was read from.")
    coverage: int | None = field("Days of the period that were reported; null where the source does not say.")
    marks: list[MeasureMark] = strawberry.field(
        resolver=_marks, description="Where numbers come from; a number without a mark is reported as it is."
    )
    withheld: list[WithheldCount] = strawberry.field(
        resolver=_withheld,
        description="Numbers that were reported and that you are not told, with all you are told of them; they are "
        "null above. Empty for your own institution's and those that a sharing agreement shows you.",
    )
    corrects: UUID | None = field("Identifier of the report this one corrects.", name="correctsId")
    corrects_edge: CapacityReport | None = strawberry.field(
        resolver=edge("reports", "corrects"), name="corrects", description="The report this one corrects."
    )
    recorded_at: datetime = field("When it was put on record.")


@strawberry.input(description="Where one number of a report comes from.")
class MeasureMarkInput:
    measure: Measure = field("Which number.")
    mark: Mark = field("Where it comes from.")


@strawberry.input(description="What there is of one resource at one moment; at least one number.")
class CapacityReportInput:
    resource: str = field("Code of the resource, such as `bed.adult`.")
    as_of: datetime = field("The moment the numbers were true; not in the future.")
    staffed: int | None = field("Units that can be used now.", default=None)
    occupied: int | None = field("Of the staffed units, those in use.", default=None)
    blocked: int | None = field("Of the staffed units, those closed for now.", default=None)
    surge_24h: int | None = field("Units that could be added within 24 hours.", default=None)
    surge_72h: int | None = field("Units that could be added within 72 hours, 24-hour ones included.", default=None)
    waiting: int | None = field("People or orders that need a unit and have none.", default=None)
    admissions: int | None = field("New needs that began in the period.", default=None)
    period_days: int = field("Days the numbers are the mean of, 1 to 31.", default=1)
    source: str = field("A code for where the numbers come from, such as `api`.", default="api")
    coverage: int | None = field("Days of the period with a report.", default=None)
    marks: list[MeasureMarkInput] | None = field("Where numbers come from, if not reported as they are.", default=None)
    corrects: UUID | None = field("The report this one corrects: the newest on that moment.", default=None)


@strawberry.input(description="What an institution has, uses and waits for.")
class ReportCapacityInput:
    idempotency_key: str = key_field()
    on_behalf_of: OnBehalfOf | None = person_field()
    institution: UUID | None = field("Which institution; by default the one the client acts for.", default=None)
    reports: list[CapacityReportInput] = field("1 to 50 reports; all are put on record, or none.")


@strawberry.type(description="What became of reportCapacity.")
class ReportCapacityPayload:
    reports: list[CapacityReport] = field("The reports as they were put on record, in the order sent.")
    decision: Receipt = field("The decision on record.")


class CapacityReportSort(StrEnum):
    """What capacity reports can be ordered by: nothing that is told to some as a range."""

    RECORDED = "recorded"
    AS_OF = "as_of"


described(
    CapacityReportSort, "What capacity reports can be ordered by. Their numbers are no order, for its sequence would "
    "tell what is withheld.", recorded="When they were put on record.", as_of="The moment they speak of.",
)  # fmt: skip


@strawberry.input(description="What reports are ordered by; those that are alike in it go by their identifiers.")
class CapacityReportOrderInput:
    by: CapacityReportSort = field("What they are ordered by.")
    direction: Direction = field("Which end comes first.", default=Direction.ASC)


@strawberry.type
class CapacityQueries:
    @query("What institutions reported, newest record first.")
    async def capacity_reports(
        self, info: Info,
        institution: Annotated[UUID | None, argument("Only of this institution.")] = None,
        resource: Annotated[str | None, argument("Only of the resource with this code.")] = None,
        exact: Annotated[bool, argument("Refuse, rather than withhold, what you may not see exactly.")] = False,
        order_by: Annotated[
            CapacityReportOrderInput | None, argument("In which order; by default the newest record first.")
        ] = None,
        *, stretch: Stretch,
    ) -> Connection[CapacityReport] | None:  # fmt: skip
        ordering = Ordering.read(order_by, stretch, SORTS, ("recorded", Direction.DESC))
        page = await info.context.services.capacity.page(
            info.context.caller, before=read_id(ordering.usual(stretch), NEWEST), institution=institution,
            resource=None if resource is None else checks.code(resource, "resource"), first=how_many(info, stretch),
            exact=exact, place=ordering.place,
        )  # fmt: skip
        await fetch_edges(info, page.items, EDGES)
        return connection(CapacityReport, page, stretch, ordering.key)

    @query("What a region has of each resource, by the newest reports of all that report, in order of the codes.")
    async def region_capacity(
        self, info: Info,
        region: Annotated[str, argument("The region, such as `us-nj`.")],
        resource: Annotated[str | None, argument("Only of the resource with this code.")] = None,
    ) -> list[RegionCapacity] | None:  # fmt: skip
        found = await info.context.services.capacity.of_region(
            info.context.caller, checks.code(region, "region"),
            None if resource is None else checks.code(resource, "resource"),
        )  # fmt: skip
        return [shown(RegionCapacity, one) for one in found]


@strawberry.type
class CapacityMutations:
    @mutation("Say what an institution has, uses and waits for; correct what it said before.")
    async def report_capacity(
        self, info: Info, input: Annotated[ReportCapacityInput, argument("The reports.")]  # noqa: A002
    ) -> ReportCapacityPayload | None:
        done = await info.context.services.capacity.report(
            info.context.caller, info.context.acting_for(input.institution),
            [_draft(report) for report in input.reports], wish("reportCapacity", input),
        )  # fmt: skip
        await fetch_edges(info, done.subject, EDGES)
        return paid(ReportCapacityPayload, done, reports=done.subject)


def _draft(report: CapacityReportInput) -> CapacityDraft:
    return CapacityDraft(
        resource=report.resource, as_of=report.as_of, staffed=report.staffed, occupied=report.occupied,
        blocked=report.blocked, surge_24h=report.surge_24h, surge_72h=report.surge_72h, waiting=report.waiting,
        admissions=report.admissions, period_days=report.period_days, source=report.source,
        coverage=report.coverage, marks={one.measure.value: one.mark for one in report.marks or ()},
        corrects=report.corrects,
    )  # fmt: skip
