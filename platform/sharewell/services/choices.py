"""Choose by which rule a resource of a region is allocated, and read what was chosen."""

from __future__ import annotations

from uuid import UUID

from sharewell.domain.audit import Json
from sharewell.domain.choices import Choice, ChoiceDraft, ChosenReserve
from sharewell.domain.errors import Invalid
from sharewell.domain.policy import Action, Target
from sharewell.domain.principals import Caller
from sharewell.services.act import Act, Done
from sharewell.services.ids import new_id
from sharewell.services.office import Office
from sharewell.store.answered import Wish
from sharewell.store.paging import Page


class ChoiceService:
    """The fairness rules in force."""

    def __init__(self, office: Office) -> None:
        self._office = office

    async def choose(self, caller: Caller, draft: ChoiceDraft, wish: Wish | None = None) -> Done[Choice]:
        """Put a rule into force; the next run in its region goes by it."""
        target = Target(kind="choice", id=f"{draft.region}/{draft.resource}")
        async with self._office.act(caller, Action.CHOOSE_FAIRNESS, target, wish) as act:
            if act.repeated:
                return act.again(Choice)
            choice = Choice.make(draft, id=new_id(), at=act.at)
            await self._office.resource(act.tx, choice.resource)
            await _known(act, choice)
            decision = await act.record(
                "fairness.chosen", "choice", choice.id,
                {"region": choice.region, "resource": choice.resource, "fairness": choice.fairness.to_json(),
                 "reserves": [_entry(row) for row in choice.reserves]},
            )  # fmt: skip
            await act.tx.choices.add(choice, decision)
            return await act.done(choice, decision)

    async def in_force(self, caller: Caller, region: str, resource: str) -> Choice | None:
        """The rule of a region and resource; None where nobody chose and the default holds."""
        await self._office.allow(caller, Action.VIEW_CHOICE, Target(kind="choice", id=f"{region}/{resource}"))
        async with self._office.reading(caller) as tx:
            return await tx.choices.in_force(region, resource)

    async def page(
        self, caller: Caller, *, before: UUID, region: str | None, resource: str | None, first: int
    ) -> Page[Choice]:
        await self._office.allow(caller, Action.VIEW_CHOICE, Target.list("choice"))
        async with self._office.reading(caller) as tx:
            return await tx.choices.page(before=before, region=region, resource=resource, first=first)


async def _known(act: Act, choice: Choice) -> None:
    """Raise `Invalid` where a reserve is for an institution that the region has not."""
    wanted = {who for row in choice.reserves for who in row.institutions}
    there = {row.id for row in await act.tx.institutions.in_region(choice.region)} if wanted else set()
    if unknown := wanted - there:
        raise Invalid(f"institution {min(unknown)} is not one of region {choice.region}.", field="reserves")


def _entry(row: ChosenReserve) -> dict[str, Json]:
    return {**row.reserve.to_json(), "institutions": [str(who) for who in row.institutions]}
