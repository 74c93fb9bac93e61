"""Break the glass: put policies into force at once and for hours, without a second person; and end that."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from uuid import UUID

import structlog

from sharewell.domain.audit import Json
from sharewell.domain.break_glass import BrokenGlass, GlassDraft, GlassEnding, Somebody, check_breaks, others_word
from sharewell.domain.errors import Conflict
from sharewell.domain.policy import Action, Target
from sharewell.domain.policy_versions import PolicyVersion, Weight, in_force
from sharewell.domain.principals import Caller
from sharewell.domain.remarks import Remark
from sharewell.services.act import Act, Done
from sharewell.services.ids import new_id, new_salt
from sharewell.services.office import Office
from sharewell.services.policies import PolicyService
from sharewell.services.policy_versions import own_files, person_of
from sharewell.store.answered import Wish
from sharewell.store.paging import Page
from sharewell.vetting.changes import unfit_for_glass
from sharewell.vetting.findings import findings_of

log = structlog.get_logger("sharewell")


class BreakGlassService:
    """Which glasses are and were broken."""

    def __init__(self, office: Office, policies: PolicyService, *, longest: timedelta) -> None:
        self._office, self._policies, self._longest = office, policies, longest

    async def break_it(self, caller: Caller, draft: GlassDraft, wish: Wish | None = None) -> Done[BrokenGlass]:
        """Put a version into force until `draft.until`; what was in force before returns by itself then.

        Raises `Invalid`, `NotFound`, or `Conflict` where the version is faulty or too wide for one person alone, or
        where the caller broke the last glass and nobody else approved anything since.
        """
        target = Target(kind="policy", id=str(draft.version))
        async with self._office.act(caller, Action.BREAK_GLASS, target, wish) as act:
            if act.repeated:
                return act.again(BrokenGlass)
            await self._policies.alone(act)
            draft.check(act.at, self._longest)
            version = await act.tx.policy_versions.get(draft.version)
            person = await person_of(act)
            last = await act.tx.break_glass.last()
            approvals = [] if last is None else await act.tx.policy_versions.approvals(last.id)
            since = last is not None and others_word(last, await _of_other_lines(act, last, approvals),
                                                     by=caller.principal, person=person)  # fmt: skip
            check_breaks(
                last, version=version, by=caller.principal, person=person, approved_since=since,
                same_line=last is not None and await _same_line(act, last),
            )  # fmt: skip
            await _check_fit(act, version)
            glass = await _broken(act, draft, version, person)
            done = await act.done(glass, glass.decision)
        await self._policies.refresh()
        log.warning("the glass is broken", version=draft.version, reason=draft.reason, until=draft.until.isoformat())
        return done

    async def end(self, caller: Caller, id: UUID, wish: Wish | None = None) -> Done[BrokenGlass]:  # noqa: A002
        """End it before its time."""
        async with self._office.act(caller, Action.END_BREAK_GLASS, Target(kind="policy", id=str(id)), wish) as act:
            if act.repeated:
                return act.again(BrokenGlass)
            await self._policies.alone(act)
            glass = await act.tx.break_glass.get(id, lock=True)
            glass.check_ends(GlassEnding.ENDED, act.at)
            details: dict[str, Json] = {"version": glass.version, "until": glass.until.isoformat()}
            decision = await act.record("policy.glass_ended", "policy", id, details)
            await act.tx.break_glass.end(id, GlassEnding.ENDED, act.at, decision)
            done = await act.done(await act.tx.break_glass.get(id), decision)
        await self._policies.refresh()
        return done

    async def page(self, caller: Caller, *, before: UUID, only_current: bool, first: int) -> Page[BrokenGlass]:
        """Newest first. Whoever the policies bind sees them."""
        await self._office.allow(caller, Action.VIEW_POLICY, Target.list("policy"))
        async with self._office.database.transaction(read_only=True) as tx:
            return await tx.break_glass.page(
                before=before, only_current=only_current, at=self._office.now(), first=first
            )

    async def remarks(self, caller: Caller, ids: list[UUID]) -> dict[UUID, str]:
        """What was written beside the reason, by broken glass."""
        await self._office.allow(caller, Action.VIEW_POLICY_VERSION, Target.list("policy"))
        async with self._office.database.transaction(read_only=True) as tx:
            return await tx.break_glass.remarks(ids)


async def _of_other_lines(act: Act, last: BrokenGlass, approvals: Sequence[Somebody]) -> list[Somebody]:
    """Those by somebody whom neither who breaks the glass nor who broke the last one may have made."""
    behind = act.tx.clients.lines_behind
    taken = await behind(act.caller.principal, act.caller.app) | await behind(last.client, last.through)
    return [each for each in approvals if not taken & await behind(each.client, each.through)]


async def _same_line(act: Act, last: BrokenGlass) -> bool:
    """Whether one of the two may have made the other, or acted as the other by an app."""
    behind = act.tx.clients.lines_behind
    breaker = await behind(act.caller.principal, act.caller.app)
    return bool(breaker & await behind(last.client, last.through))


async def _check_fit(act: Act, version: PolicyVersion) -> None:
    """Faultless as this release sees it; and narrow, unless it was in force before with a second person's word."""
    files = await own_files(act.tx, version)
    found = await asyncio.to_thread(findings_of, files)
    faults = [finding for finding in found if finding.weight is Weight.FAULT]
    if faults:
        raise Conflict(f"this release finds fault with it: {faults[0].message}", field="version")
    if version.was_in_force:
        return
    current = in_force(await act.tx.policy_versions.schedule(), act.at)
    if current is None:
        raise Conflict("no policies are on record as in force yet, so nothing can be added to them.", field="version")
    beneath = await own_files(act.tx, await act.tx.policy_versions.get(current.number))
    if (why := unfit_for_glass(beneath, files)) is not None:
        raise Conflict(f"the glass is broken for something narrow only: {why}.", field="version")


async def _broken(act: Act, draft: GlassDraft, version: PolicyVersion, person: UUID | None) -> BrokenGlass:
    remark, glass = Remark.write(draft.remark, salt=new_salt()), new_id()
    details: dict[str, Json] = {
        "version": version.number, "policy_set": version.policy_set, "reason": draft.reason,
        "until": draft.until.isoformat(), "remark_sha256": None if remark is None else remark.sha256,
    }  # fmt: skip
    decision = await act.record("policy.glass_broken", "policy", glass, details)
    await act.keep_remark(decision, remark)
    made = BrokenGlass(
        id=glass, version=version.number, reason=draft.reason, broken_at=act.at, until=draft.until,
        client=act.caller.principal, person=person, ended_at=None, ending=None, decision=decision, ended_by=None,
    )  # fmt: skip
    await act.tx.break_glass.add(made)
    return made
