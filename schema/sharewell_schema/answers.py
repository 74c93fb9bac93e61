"""Answering a whole plan in the API."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

import strawberry

from sharewell.domain.answers import PlanReply
from sharewell.domain.errors import Invalid
from sharewell.domain.transfers import DeclineReason
from sharewell_schema.context import Info
from sharewell_schema.describe import argument, field, mutation
from sharewell_schema.mutations import REMARK, OnBehalfOf, Receipt, key_field, paid, person_field, wish
from sharewell_schema.transfers import Transfer

MOST_DECLINES = 1000


@strawberry.input(description="A transfer that its giver declines while it answers the whole plan.")
class PlanDecline:
    transfer: UUID = field("Which transfer; one of your open holds in the plan.")
    reason: DeclineReason = field("Why.")
    remark: str | None = field(REMARK, default=None)


@strawberry.input(description="An owner's answer to all that a plan holds of its units.")
class AnswerPlanInput:
    idempotency_key: str = key_field()
    on_behalf_of: OnBehalfOf | None = person_field()
    institution: UUID | None = field("Whose units; by default the institution the client acts for.", default=None)
    allocation: UUID = field("Identifier of the run whose plan is answered.")
    declines: list[PlanDecline] = strawberry.field(
        default_factory=list, description="What is declined, each for its own reason."
    )
    others: DeclineReason | None = field("Why all the others are declined; leave it out to confirm them.", default=None)


@strawberry.type(description="What became of answerPlan.")
class AnswerPlanPayload:
    transfers: list[Transfer] = field("What was answered, as it is now.")
    decision: Receipt = field("The decision on record for the whole answer; each transfer has one of its own besides.")


def _reply(asked: AnswerPlanInput) -> PlanReply:
    declines = {one.transfer: (one.reason, one.remark) for one in asked.declines}
    if len(declines) < len(asked.declines) or len(declines) > MOST_DECLINES:
        raise Invalid(f"declines must name each transfer once, and at most {MOST_DECLINES}.", field="declines")
    return PlanReply(declines=declines, others=asked.others)


@strawberry.type
class AnswerMutations:
    @mutation("Confirm or decline all that a plan holds of an owner's units, in one go: all or none of it is done.")
    async def answer_plan(
        self, info: Info, input: Annotated[AnswerPlanInput, argument("The answer.")]  # noqa: A002
    ) -> AnswerPlanPayload | None:
        institution = info.context.acting_for(input.institution)
        done = await info.context.services.answers.reply(
            info.context.caller, institution, input.allocation, _reply(input), wish("answerPlan", input)
        )
        return paid(AnswerPlanPayload, done, transfers=done.subject)
