"""Institutions in the API."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Annotated
from uuid import UUID

import strawberry

from sharewell.domain import checks
from sharewell.domain.institutions import InstitutionDraft, InstitutionKind, InstitutionStatus
from sharewell.store.institutions import SORTS, WRITTEN, InstitutionFilter, InstitutionList
from sharewell.store.paging import OLDEST
from sharewell_schema.context import Info, shown
from sharewell_schema.describe import argument, described, field, mutation, query
from sharewell_schema.filters import codes, some
from sharewell_schema.mutations import OnBehalfOf, Receipt, key_field, paid, person_field, seen_field, wish
from sharewell_schema.ordering import Direction, Ordering
from sharewell_schema.paging import Connection, connection, how_many, read_id
from sharewell_schema.plain import finished, plain, plain_one
from sharewell_schema.stretch import Stretch

described(
    InstitutionKind, "What sort of place an institution is.",
    hospital="Treats inpatients.", clinic="Treats outpatients.", pharmacy="Dispenses medicines.",
    stockpile="Keeps goods for others.", region="Reports for all places of an area, as some feeds do.",
    agency="A public body that takes part without treating anyone.",
)  # fmt: skip
described(
    InstitutionStatus, "Whether an institution may act.",
    active="Reads and acts.", suspended="Reads, but may not act until an admin lifts the suspension.",
    observed="Known from a published feed only; nobody acts for it.",
)  # fmt: skip


@strawberry.federation.type(keys=["id", "code"], description="An institution that takes part.")
class Institution:
    id: UUID = field("Its identifier here.")
    code: str = field("Its stable identifier outside, such as a CCN or `us-nj-3100642`.")
    name: str = field("What people call it.")
    kind: InstitutionKind = field("What sort of place it is.")
    region: str = field("The region whose institutions are allocated together, such as `us-nj`.")
    latitude: float | None = field("Degrees north, WGS 84.")
    longitude: float | None = field("Degrees east, WGS 84.")
    equity_group: str = field("The group an equity rule counts it to; `general` where none was given.")
    status: InstitutionStatus = field("Whether it may act.")
    registered_at: datetime = field("When it was taken in.")
    changed_by: UUID = field("Identifier of the decision that took it in or changed its standing last.",
                             name="changedById")  # fmt: skip


class InstitutionSort(StrEnum):
    """What institutions can be ordered by."""

    REGISTERED = "registered"
    NAME = "name"
    CODE = "code"


described(
    InstitutionSort, "What institutions can be ordered by.", registered="When they were taken in.",
    name="Their name, letter by letter; capitals come before all other letters.", code="Their code.",
)  # fmt: skip


@strawberry.input(description="Which institutions a list has: those that fulfil all that is said.")
class InstitutionFilterInput:
    regions: list[str] | None = field("Of one of these regions, up to 100.", default=None)
    kinds: list[InstitutionKind] | None = field("Of one of these kinds.", default=None)
    statuses: list[InstitutionStatus] | None = field("With one of these standings.", default=None)
    codes: list[str] | None = field("With one of these codes, up to 100.", default=None)
    text: str | None = field("With this in the name or the code, in capitals or not.", default=None)

    def read(self) -> InstitutionFilter:
        """What of it is asked for, checked."""
        return InstitutionFilter(
            regions=codes(self.regions, "regions"), kinds=some(self.kinds, "kinds"),
            statuses=some(self.statuses, "statuses"), codes=codes(self.codes, "codes"),
            text=None if self.text is None else checks.text(self.text, "text"),
        )


@strawberry.input(description="What institutions are ordered by; those that are alike in it go by their identifiers.")
class InstitutionOrderInput:
    by: InstitutionSort = field("What they are ordered by.")
    direction: Direction = field("Which end comes first.", default=Direction.ASC)


@strawberry.input(description="A new institution.")
class RegisterInstitutionInput:
    idempotency_key: str = key_field()
    on_behalf_of: OnBehalfOf | None = person_field()
    code: str = field("Stable identifier outside, lower case, such as `us-nj-3100642`; nobody else may have it.")
    name: str = field("What people call it, 1 to 200 characters.")
    kind: InstitutionKind = field("What sort of place it is.")
    region: str = field("Region whose institutions are allocated together, such as `us-nj`.")
    latitude: float | None = field("Degrees north, WGS 84, -90 to 90; with longitude or not at all.", default=None)
    longitude: float | None = field("Degrees east, WGS 84, -180 to 180; with latitude or not at all.", default=None)
    equity_group: str = field("Group an equity rule counts it to.", default="general")
    status: InstitutionStatus = field("Whether it may act from the start.", default=InstitutionStatus.ACTIVE)


@strawberry.type(description="What became of registerInstitution.")
class RegisterInstitutionPayload:
    institution: Institution = field("The institution as it was taken in.")
    decision: Receipt = field("The decision on record.")


@strawberry.input(description="A new standing of an institution.")
class SetInstitutionStatusInput:
    idempotency_key: str = key_field()
    on_behalf_of: OnBehalfOf | None = person_field()
    if_changed_by: UUID | None = seen_field()
    institution: UUID = field("Which institution.")
    status: InstitutionStatus = field("Whether it may act from now on.")


@strawberry.type(description="What became of setInstitutionStatus.")
class SetInstitutionStatusPayload:
    institution: Institution = field("The institution as it is now.")
    decision: Receipt = field("The decision on record.")


@strawberry.type
class InstitutionQueries:
    @query("One institution.")
    async def institution(
        self, info: Info, id: Annotated[UUID, argument("Its identifier here.")]  # noqa: A002
    ) -> Institution | None:
        if (selected := plain_one(info, WRITTEN)) is not None:
            written = await info.context.services.institutions.write_one(info.context.caller, selected, id)
            return finished(Institution, written)
        return shown(Institution, await info.context.services.institutions.get(info.context.caller, id))

    @query("Who takes part, in the order they were taken in.")
    async def institutions(
        self, info: Info,
        region: Annotated[str | None, argument("Only those of this region.")] = None,
        filter: Annotated[InstitutionFilterInput | None, argument("Only those that fulfil all of this.")] = None,  # noqa: A002
        order_by: Annotated[
            InstitutionOrderInput | None, argument("In which order; by default as they were taken in.")
        ] = None,
        *, stretch: Stretch,
    ) -> Connection[Institution] | None:  # fmt: skip
        ordering = Ordering.read(order_by, stretch, SORTS, ("registered", Direction.ASC))
        asked = InstitutionList(
            after=read_id(ordering.usual(stretch), OLDEST),
            region=None if region is None else checks.code(region, "region"), first=how_many(info, stretch),
            matching=(filter or InstitutionFilterInput()).read(), place=ordering.place,
        )  # fmt: skip
        if ordering.place is None and (selected := plain(info, WRITTEN)) is not None:
            written = await info.context.services.institutions.write_page(info.context.caller, selected.wanted, **asked)
            return selected.told(written, stretch)
        page = await info.context.services.institutions.page(info.context.caller, **asked)
        return connection(Institution, page, stretch, ordering.key)


@strawberry.type
class InstitutionMutations:
    @mutation("Take a new institution in. For admins.")
    async def register_institution(
        self, info: Info, input: Annotated[RegisterInstitutionInput, argument("The institution.")]  # noqa: A002
    ) -> RegisterInstitutionPayload | None:
        draft = InstitutionDraft(
            code=input.code, name=input.name, kind=input.kind, region=input.region, latitude=input.latitude,
            longitude=input.longitude, equity_group=input.equity_group, status=input.status,
        )  # fmt: skip
        done = await info.context.services.institutions.register(
            info.context.caller, draft, wish("registerInstitution", input)
        )
        return paid(RegisterInstitutionPayload, done, institution=done.subject)

    @mutation("Suspend an institution, or let it act again. For admins.")
    async def set_institution_status(
        self, info: Info, input: Annotated[SetInstitutionStatusInput, argument("The new standing.")]  # noqa: A002
    ) -> SetInstitutionStatusPayload | None:
        done = await info.context.services.institutions.set_status(
            info.context.caller, input.institution, input.status, wish("setInstitutionStatus", input)
        )
        return paid(SetInstitutionStatusPayload, done, institution=done.subject)
