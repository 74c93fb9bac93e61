"""Answer all that a plan holds of an owner's units in one go, and say how far the owners' answers have come."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from sharewell.domain.answers import PlanAnswers, PlanReply, VeiledAnswers
from sharewell.domain.errors import Conflict
from sharewell.domain.policy import Action, Target
from sharewell.domain.principals import Caller
from sharewell.domain.remarks import Remark
from sharewell.domain.transfers import Transfer
from sharewell.services.act import Done
from sharewell.services.allocations import reads_documents
from sharewell.services.ids import new_salt
from sharewell.services.office import Office
from sharewell.services.transfers import take_step
from sharewell.store.answered import Wish


class AnswerService:
    """What owners say to plans."""

    def __init__(self, office: Office) -> None:
        self._office = office

    async def reply(
        self, caller: Caller, institution: UUID, allocation: UUID, reply: PlanReply, wish: Wish | None = None
    ) -> Done[list[Transfer]]:
        """Confirm or decline every open hold of `institution` in the plan of run `allocation`; all or none.

        Holds that ran out meanwhile are not answered. Raises `Conflict` where no hold is open.
        """
        target = Target(kind="transfer", id=str(allocation), giver=institution)
        async with self._office.act(caller, Action.ANSWER_PLAN, target, wish) as act:
            if act.repeated:
                return act.again(list[Transfer])
            held = await act.tx.transfers.open_holds(allocation, institution, act.at)
            if not held:
                raise Conflict("no hold of yours is open in this plan.", field="allocation")
            reply.check(frozenset(transfer.id for transfer in held))
            # Everybody locks transfers, then offers, then requests, each by id: nobody waits for another in a circle.
            await act.tx.offers.lock([transfer.offer for transfer in held])
            async with act.tx.as_platform():  # requests are the receivers'
                await act.tx.requests.lock([transfer.request for transfer in held])
            answered = [(before, *_answered(before, reply, act.at)) for before in held]
            declined = sum(1 for _, after, _ in answered if after.decline_reason is not None)
            decision = await act.record(
                "plan.answered", "allocation", allocation,
                {"confirmed": len(held) - declined, "declined": declined}, institution=institution,
            )  # fmt: skip
            for before, after, remark in answered:
                await take_step(act, before, after, remark)
            return await act.done([after for _, after, _ in answered], decision)

    async def of_runs(self, caller: Caller, runs: list[UUID]) -> dict[UUID, PlanAnswers] | dict[UUID, VeiledAnswers]:
        """How far the answers to each run's plan have come."""
        await self._office.allow(caller, Action.VIEW_ALLOCATION, Target.list("allocation"))
        async with self._office.looking() as tx:  # counts over all
            found = await tx.transfers.answers(runs)
        if reads_documents(self._office, caller):
            return found
        return {run: answers.without_units() for run, answers in found.items()}


def _answered(before: Transfer, reply: PlanReply, at: datetime) -> tuple[Transfer, Remark | None]:
    said = reply.to(before.id)
    if said is None:
        return before.confirm(at=at), None
    reason, remark = said
    return before.decline(reason, at=at), Remark.write(remark, salt=new_salt())
