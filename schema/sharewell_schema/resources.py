"""The resource catalogue in the API."""

from __future__ import annotations

from typing import Annotated, Any

import strawberry

from sharewell.domain import checks
from sharewell.domain.resources import Resource as Line
from sharewell.domain.resources import ResourceKind
from sharewell_schema.context import Info, shown
from sharewell_schema.describe import argument, described, field, mutation, query
from sharewell_schema.mutations import OnBehalfOf, Receipt, key_field, paid, person_field, wish
from sharewell_schema.paging import Connection, connection, how_many, read_code
from sharewell_schema.stretch import Stretch

described(
    ResourceKind, "How a unit behaves when it is shared.",
    place="Stays where it is: people move to the bed, never the bed to the people.",
    device="Is lent and comes back.", consumable="Leaves for good, in lots that expire.",
    staff="A person's time, boxed, with a skill.",
)  # fmt: skip


@strawberry.federation.type(keys=["code"], description="A line of the catalogue: a kind of thing that can be shared.")
class Resource:
    code: str = field("Its code, such as `bed.adult`; everything else names it by this.")
    kind: ResourceKind = field("How a unit behaves when it is shared.")
    name: str = field("What people call it.")
    unit: str = field("UCUM code of one unit, such as `{bed}` or `mL`.")
    standard_code: str = field("Its code in a published vocabulary, such as `saner#numVent`; empty where it has none.")
    gtin: str = field("GS1 GTIN-14 of a consumable; empty where it has none.")
    skill: str = field("What staff of this line are qualified for; empty for things.")
    loan_days: int = field("Days after which a lent device is due back; 0 for all else.")


@strawberry.input(description="A new line of the catalogue.")
class DefineResourceInput:
    idempotency_key: str = key_field()
    on_behalf_of: OnBehalfOf | None = person_field()
    code: str = field("Lower-case code such as `bed.adult`; no other line may have it.")
    kind: ResourceKind = field("How a unit behaves when it is shared.")
    name: str = field("What people call it, 1 to 200 characters.")
    unit: str = field("UCUM code of one unit, such as `{bed}` or `mL`.")
    standard_code: str = field("Code in a published vocabulary.", default="")
    gtin: str = field("GS1 GTIN-14, digits only, of a consumable.", default="")
    skill: str = field("What staff are qualified for; required for staff, and only for them.", default="")
    loan_days: int = field("Days of a loan, 1 to 366; required for a device, and only for one.", default=0)


@strawberry.type(description="What became of defineResource.")
class DefineResourcePayload:
    resource: Resource = field("The line as it stands in the catalogue.")
    decision: Receipt = field("The decision on record.")


def code_key(item: Any) -> bytes:
    """The key of things that are listed by code."""
    code: str = item.code
    return code.encode()


@strawberry.type
class ResourceQueries:
    @query("One line of the catalogue.")
    async def resource(
        self, info: Info, code: Annotated[str, argument("Its code, such as `bed.adult`.")]
    ) -> Resource | None:
        found = await info.context.services.resources.get(info.context.caller, checks.code(code, "code"))
        return shown(Resource, found)

    @query("The catalogue of what can be shared, by code.")
    async def resources(self, info: Info, stretch: Stretch) -> Connection[Resource] | None:
        page = await info.context.services.resources.page(
            info.context.caller, after=read_code(stretch), first=how_many(info, stretch)
        )
        return connection(Resource, page, stretch, code_key)


@strawberry.type
class ResourceMutations:
    @mutation("Add a line to the catalogue. For admins.")
    async def define_resource(
        self, info: Info, input: Annotated[DefineResourceInput, argument("The line.")]  # noqa: A002
    ) -> DefineResourcePayload | None:
        draft = Line(
            code=input.code, kind=input.kind, name=input.name, unit=input.unit, standard_code=input.standard_code,
            gtin=input.gtin, skill=input.skill, loan_days=input.loan_days,
        )  # fmt: skip
        done = await info.context.services.resources.define(info.context.caller, draft, wish("defineResource", input))
        return paid(DefineResourcePayload, done, resource=done.subject)
