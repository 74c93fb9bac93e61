"""Declare surge mode, renew it, end it, and record that its time is over."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

from sharewell.domain.audit import Json
from sharewell.domain.policy import Action, Target
from sharewell.domain.principals import Caller
from sharewell.domain.remarks import Remark
from sharewell.domain.surges import SHORT_HOLD, SurgeDraft, SurgeEnding, SurgeMode
from sharewell.services.act import Act, Done
from sharewell.services.ids import new_id, new_salt
from sharewell.services.office import Office
from sharewell.store.answered import Wish
from sharewell.store.paging import Page


class SurgeService:
    """Which surge modes are and were in force."""

    def __init__(self, office: Office) -> None:
        self._office = office

    async def declare(self, caller: Caller, draft: SurgeDraft, wish: Wish | None = None) -> Done[SurgeMode]:
        """Declare surge mode; it is in force once this decision is under a signed checkpoint.

        One that lasts for the same region and resource is renewed: the new one takes its place.
        """
        async with self._office.act(caller, Action.DECLARE_SURGE, Target(kind="surge", id="new"), wish) as act:
            if act.repeated:
                return act.again(SurgeMode)
            if draft.resource is not None:
                await self._office.resource(act.tx, draft.resource)
            old = await act.tx.surges.open_for(draft.region, draft.resource)
            surge = await _declared(act, draft, old)
            if old is not None:
                await act.tx.surges.end(old.id, SurgeEnding.RENEWED, act.at, surge.decision)
            await act.tx.surges.add(surge)
            return await act.done(surge, surge.decision)

    async def end(self, caller: Caller, id: UUID, wish: Wish | None = None) -> Done[SurgeMode]:  # noqa: A002
        """End it before its time."""
        async with self._office.act(caller, Action.END_SURGE, Target(kind="surge", id=str(id)), wish) as act:
            if act.repeated:
                return act.again(SurgeMode)
            surge = await act.tx.surges.get(id, lock=True)
            act.check_as_read(surge.changed_by)
            decision = await _end(act, surge, SurgeEnding.ENDED)
            return await act.done(await act.tx.surges.get(id), decision)

    async def sweep(self, caller: Caller) -> int:
        """Record the end of those whose time is over; say how many."""
        async with self._office.act(caller, Action.EXPIRE_SURGE, Target.list("surge")) as act:
            over = await act.tx.surges.over(act.at)
            for surge in over:
                await _end(act, surge, SurgeEnding.EXPIRED)
            return len(over)

    async def page(
        self, caller: Caller, *, before: UUID, region: str | None, only_current: bool, first: int
    ) -> Page[SurgeMode]:
        await self._office.allow(caller, Action.VIEW_SURGE, Target.list("surge"))
        async with self._office.reading(caller) as tx:
            return await tx.surges.page(
                before=before, region=region, only_current=only_current, at=self._office.now(), first=first
            )

    async def get(self, caller: Caller, id: UUID) -> SurgeMode:  # noqa: A002
        await self._office.allow(caller, Action.VIEW_SURGE, Target(kind="surge", id=str(id)))
        async with self._office.reading(caller) as tx:
            return await tx.surges.get(id)

    async def remarks(self, caller: Caller, ids: list[UUID]) -> dict[UUID, str]:
        """What was written about declarations, by surge mode."""
        await self._office.allow(caller, Action.VIEW_SURGE, Target.list("surge"))
        async with self._office.reading(caller) as tx:
            return await tx.surges.remarks(ids)


async def _declared(act: Act, draft: SurgeDraft, old: SurgeMode | None) -> SurgeMode:
    """Put the whole declaration into its entry: what the checkpoint signs is the policy itself."""
    draft.check(act.at)
    remark, surge, renews = Remark.write(draft.remark, salt=new_salt()), new_id(), None if old is None else old.id
    details: dict[str, Json] = {
        "region": draft.region, "resource": draft.resource, "reason": draft.reason,
        "until": draft.until.isoformat(), "renews": None if renews is None else str(renews),
        "hold_minutes": SHORT_HOLD // timedelta(minutes=1),
    }  # fmt: skip
    if remark is not None:
        details["remark_sha256"] = remark.sha256
    decision = await act.record("surge.declared", "surge", surge, details)
    await act.keep_remark(decision, remark)
    return SurgeMode.declare(
        draft, id=surge, at=act.at, client=act.caller.principal, renews=renews, decision=decision
    )  # fmt: skip


async def _end(act: Act, surge: SurgeMode, ending: SurgeEnding) -> UUID:
    surge.check_ends(ending, act.at)
    decision = await act.record(
        f"surge.{ending}", "surge", surge.id,
        {"region": surge.region, "resource": surge.resource, "until": surge.until.isoformat()},
    )  # fmt: skip
    await act.tx.surges.end(surge.id, ending, act.at, decision)
    return decision
