"""Fairness choices in the API."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated
from uuid import UUID

import strawberry

from sharewell.domain import checks
from sharewell.domain.capacity import camel
from sharewell.domain.choices import ChoiceDraft, ChosenReserve
from sharewell.domain.errors import Invalid
from sharewell.domain.instance import Fairness, Rule
from sharewell.store.paging import NEWEST
from sharewell_schema.context import Info, shown
from sharewell_schema.describe import argument, described, field, mutation, query
from sharewell_schema.mutations import OnBehalfOf, Receipt, key_field, paid, person_field, wish
from sharewell_schema.paging import Connection, connection, how_many, id_key, read_id
from sharewell_schema.stretch import Stretch

DEFAULT = Fairness()
described(
    Rule, "What is made as large as possible before distance is looked at.",
    floor="The smallest fill rate of each connected part, then urgency-weighted concave need. The default.",
    leximin="The smallest fill rate, then the second smallest, and so on; exact to the unit.",
    welfare="Urgency-weighted concave need alone.", utilitarian="Urgency-weighted units alone.",
)  # fmt: skip


@strawberry.type(description="A fairness rule. Shares are per mille.")
class FairnessRule:
    rule: Rule = field("What comes first.")
    theta: int = field("Share of the largest possible floor that is guaranteed; only with the floor rule.")
    alpha: int = field("0 counts units; larger puts the least filled first; 4000 at most.")
    buckets: int = field("Steps in which the worth of a unit falls as a request fills up.")
    urgency_weights: list[int] = field("Worth of a unit at urgency 1 to 5.")
    memory: int = field("Share of the credit for earlier runs that outlives a run; 0 remembers nothing.")
    credit: int = field("How strongly credit for having been short-changed before counts.")


@strawberry.type(description="A category that some of the supply is kept for first.")
class ReserveCategory:
    category: str = field("Its name.")
    share: int = field("Per mille of the units that can move in each connected part.")


@strawberry.type(description="A category that some of the supply is kept for first, and who qualifies for it.")
class ChosenReserveCategory:
    category: str = field("Its name.")
    share: int = field("Per mille of the units that can move in each connected part.")
    institutions: list[UUID] = field("Identifiers of the institutions that qualify.", name="institutionIds")


@strawberry.type(description="By which rule a resource of a region is allocated, as it was chosen.")
class FairnessChoice:
    id: UUID = field("Its identifier.")
    region: str = field("The region.")
    resource: str = field("Code of the resource.")
    fairness: FairnessRule = field("The rule.")
    reserves: list[ChosenReserveCategory] = field("Categories looked at together, whatever their order.")
    chosen_at: datetime = field("When it came into force.")


@strawberry.input(description="A category to keep some of the supply for.")
class ReserveInput:
    category: str = field("Name of the category, 1 to 100 letters, digits and `._:@/+-`.")
    share: int = field("Per mille of the units that can move in each connected part; all together at most 1000.")
    institutions: list[UUID] = field("Institutions of the region that qualify, 1 to 1000.")


@strawberry.input(description="A fairness rule to put into force. What is left out is as in the default.")
class ChooseFairnessInput:
    idempotency_key: str = key_field()
    on_behalf_of: OnBehalfOf | None = person_field()
    region: str = field("The region, such as `us-nj`.")
    resource: str = field("Code of the resource, such as `bed.adult`.")
    rule: Rule = field("What comes first.", default=DEFAULT.rule)
    theta: int = field("Per mille of the largest possible floor that is guaranteed.", default=DEFAULT.theta)
    alpha: int = field("Per mille, 0 to 4000: how strongly the least filled come first.", default=DEFAULT.alpha)
    urgency_weights: list[int] | None = field(
        "Worth of a unit at urgency 1 to 5: five whole numbers that do not fall.", default=None
    )
    memory: int = field("Per mille of earlier credit that outlives a run; 0 remembers nothing.", default=0)
    credit: int = field("Per mille: how strongly credit counts; at most a unit is worth twice as much.", default=0)
    reserves: list[ReserveInput] | None = field("At most 6 categories; by default none.", default=None)


@strawberry.type(description="What became of chooseFairness.")
class ChooseFairnessPayload:
    choice: FairnessChoice = field("The choice, in force from the next run on.")
    decision: Receipt = field("The decision on record.")


@strawberry.type
class ChoiceQueries:
    @query("The fairness choice in force; null where nobody chose, and the default holds.")
    async def fairness_choice(
        self, info: Info,
        region: Annotated[str, argument("The region.")],
        resource: Annotated[str, argument("Code of the resource.")],
    ) -> FairnessChoice | None:  # fmt: skip
        found = await info.context.services.choices.in_force(
            info.context.caller, checks.code(region, "region"), checks.code(resource, "resource")
        )
        return None if found is None else shown(FairnessChoice, found)

    @query("Fairness choices, newest first.")
    async def fairness_choices(
        self, info: Info,
        region: Annotated[str | None, argument("Only of this region.")] = None,
        resource: Annotated[str | None, argument("Only of the resource with this code.")] = None,
        *, stretch: Stretch,
    ) -> Connection[FairnessChoice] | None:  # fmt: skip
        page = await info.context.services.choices.page(
            info.context.caller, before=read_id(stretch, NEWEST),
            region=None if region is None else checks.code(region, "region"),
            resource=None if resource is None else checks.code(resource, "resource"), first=how_many(info, stretch),
        )  # fmt: skip
        return connection(FairnessChoice, page, stretch, id_key)


@strawberry.type
class ChoiceMutations:
    @mutation("Choose by which rule a resource of a region is allocated. For allocators.")
    async def choose_fairness(
        self, info: Info, input: Annotated[ChooseFairnessInput, argument("The rule.")]  # noqa: A002
    ) -> ChooseFairnessPayload | None:
        done = await info.context.services.choices.choose(
            info.context.caller, _draft(input), wish("chooseFairness", input)
        )
        return paid(ChooseFairnessPayload, done, choice=done.subject)


def _draft(asked: ChooseFairnessInput) -> ChoiceDraft:
    weights = DEFAULT.urgency_weights if asked.urgency_weights is None else tuple(asked.urgency_weights)
    try:
        fairness = Fairness(
            rule=asked.rule, theta=asked.theta, alpha=asked.alpha, urgency_weights=weights, memory=asked.memory,
            credit=asked.credit,
        )  # fmt: skip
    except Invalid as wrong:  # named as the client wrote it
        raise Invalid(wrong.message, field=camel(str(wrong.field).removeprefix("fairness."))) from None
    reserves = (
        ChosenReserve(category=row.category, share=row.share, institutions=tuple(row.institutions))
        for row in asked.reserves or ()
    )
    return ChoiceDraft(region=asked.region, resource=asked.resource, fairness=fairness, reserves=tuple(reserves))
