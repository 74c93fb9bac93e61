"""Draft, edit, approve and withdraw versions of the policies, roll back to an earlier one, and compare them."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any
from uuid import UUID

from sharewell.authz import SCHEMA
from sharewell.domain.audit import Json
from sharewell.domain.errors import Conflict, Invalid
from sharewell.domain.policy import Action, Target
from sharewell.domain.policy_versions import (
    Finding,
    Lines,
    PolicyVersion,
    VersionOrigin,
    VersionState,
    Weight,
    changed_files,
    check_undoes_none,
    in_force,
    state_after,
)
from sharewell.domain.principals import Caller
from sharewell.domain.remarks import Remark
from sharewell.domain.simulation import Counts, Simulation
from sharewell.services.act import Act, Done, given_before
from sharewell.services.ids import new_salt
from sharewell.services.office import Office
from sharewell.services.policies import PolicyService
from sharewell.services.simulations import SimulationService
from sharewell.store.answered import Wish
from sharewell.store.database import Transaction
from sharewell.store.paging import Page
from sharewell.store.policy_versions import PolicyStep
from sharewell.vetting.changes import FileChange, PolicyChange, file_changes, policy_changes
from sharewell.vetting.findings import findings_of

EVERYBODY = "policies"  #: persons are told apart across all clients here, for two of them must agree


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """What one version changes in another."""

    base: int
    files: tuple[FileChange, ...]
    policies: tuple[PolicyChange, ...] | None  #: None where one of them cannot be read as policies


class PolicyVersionService:
    """The life of a policy change."""

    def __init__(self, office: Office, policies: PolicyService, simulations: SimulationService) -> None:
        self._office, self._policies, self._simulations = office, policies, simulations

    async def draft(
        self, caller: Caller, changes: Mapping[str, str | None], *, base: int | None, why: str, wish: Wish | None = None
    ) -> Done[PolicyVersion]:
        """A new version: the files of `base`, by default what is in force, with `changes`; validated at once.

        Raises `Invalid`, or `NotFound` for the base.
        """
        async with self._office.act(caller, Action.DRAFT_POLICY, Target(kind="policy", id="new"), wish) as act:
            if act.repeated:
                return await _again(act)
            await self._policies.alone(act)
            beneath = await act.tx.policy_versions.get(await self._base(act.tx, base, act.at))
            files = changed_files(await own_files(act.tx, beneath), changes)
            return await self._add(act, VersionOrigin.DRAFTED, files, base=beneath.number, returns_to=None, why=why)

    async def edit(
        self, caller: Caller, number: int, changes: Mapping[str, str | None], wish: Wish | None = None
    ) -> Done[PolicyVersion]:
        """The same version with `changes`; only its author may. What was simulated before counts no more."""
        async with self._office.act(caller, Action.DRAFT_POLICY, await self._target(number), wish) as act:
            if act.repeated:
                return await _again(act)
            await self._policies.alone(act)
            before = await act.tx.policy_versions.get(number, lock=True)
            act.check_as_read(before.changed_by)
            files = changed_files(await own_files(act.tx, before), changes)
            policy_set, findings = await self._kept(act.tx, files)
            version = before.edited(policy_set, findings, by=caller.principal, at=act.at)
            decision = await act.record("policy.edited", "policy", number, _told(version))
            return await _changed(act, version, decision)

    async def simulate(
        self, caller: Caller, number: int, *, since: datetime, until: datetime | None, wish: Wish | None = None
    ) -> Done[PolicyVersion]:
        """Ask the decisions of a window again under the version, and keep with it what comes out otherwise.

        Both are put on record: that a draft was tried, and that the version is now simulated. Raises as
        `SimulationService.simulate`, and `Conflict` where the version is not fit for it, or was edited meanwhile.
        """
        await self._office.permit(caller, Action.DRAFT_POLICY, await self._target(number))
        async with self._office.database.transaction(read_only=True) as tx:
            # A wish is claimed once its work is done, which takes long; so it is looked up before.
            if wish is not None and (given := await tx.answered.find(caller.principal, wish)) is not None:
                return await _told_again(tx, given_before(given, PolicyVersion))
            version = await tx.policy_versions.get(number)
            version.check_simulates()
            files = await own_files(tx, version)
        complete = {**files, SCHEMA: self._office.rulebook.own.files[SCHEMA]}
        end = self._office.now() if until is None else until
        found = await self._simulations.simulate_to_keep(caller, complete.items(), since=since, until=end)
        async with self._office.act(caller, Action.DRAFT_POLICY, await self._target(number), wish) as act:
            if act.repeated:
                return await _again(act)
            await self._policies.alone(act)
            before = await act.tx.policy_versions.get(number, lock=True)
            act.at = max(act.at, before.edited_at)  # the clock of whoever edited it may be ahead
            version = before.simulated(_summary(found), policy_set=version.policy_set, at=act.at)
            said: dict[str, Json] = {"simulation": str(found.decision), **_counts(found.tally.total)}
            decision = await act.record("policy.version_simulated", "policy", number, _told(version) | said)
            return await _changed(act, version, decision)

    async def approve(
        self, caller: Caller, number: int, *, policy_set: str, effective_from: datetime | None,
        wish: Wish | None = None,
    ) -> Done[PolicyVersion]:  # fmt: skip
        """Let the version whose files are `policy_set` come into force, by default now. For a second person.

        Raises `Conflict` also where one that is approved for later could then not come into force.
        """
        async with self._office.act(caller, Action.APPROVE_POLICY, await self._target(number), wish) as act:
            if act.repeated:
                return await _again(act)
            await self._policies.alone(act)
            before = await act.tx.policy_versions.get(number, lock=True)
            act.check_as_read(before.changed_by)
            act.at = max(act.at, before.simulated_at or act.at)
            await self._check_again(act.tx, before)
            start = effective_from or act.at
            version = before.approved(
                by=caller.principal, person=await person_of(act), policy_set=policy_set, effective_from=start,
                at=act.at, replaces=await self._replaced(act.tx, start), lines=await _lines(act, before),
            )  # fmt: skip
            schedule = await act.tx.policy_versions.schedule()
            check_undoes_none(schedule, [*schedule, version.scheduled()])
            said: dict[str, Json] = {"effective_from": start.isoformat(), "author": version.author}
            decision = await act.record("policy.approved", "policy", number, _told(version) | said)
            done = await _changed(act, version, decision)
        await self._policies.refresh()
        return done

    async def withdraw(self, caller: Caller, number: int, wish: Wish | None = None) -> Done[PolicyVersion]:
        """Take a version back whose time has not come, and that no approved one is to take the place of."""
        async with self._office.act(caller, Action.WITHDRAW_POLICY, await self._target(number), wish) as act:
            if act.repeated:
                return await _again(act)
            await self._policies.alone(act)
            before = await act.tx.policy_versions.get(number, lock=True)
            act.check_as_read(before.changed_by)
            version = before.withdrawn(act.at)
            schedule = await act.tx.policy_versions.schedule()
            check_undoes_none(schedule, [each for each in schedule if each.until or each.number != number])
            decision = await act.record("policy.withdrawn", "policy", number, _told(version))
            done = await _changed(act, version, decision)
        await self._policies.refresh()
        return done

    async def roll_back(self, caller: Caller, to: int, *, why: str, wish: Wish | None = None) -> Done[PolicyVersion]:
        """A new version with the policies of one that was in force. It needs a second person, and no simulation.

        Raises `Conflict` where that one never was in force, or where that would change nothing.
        """
        async with self._office.act(caller, Action.ROLL_BACK_POLICY, await self._target(to), wish) as act:
            if act.repeated:
                return await _again(act)
            await self._policies.alone(act)
            then = await act.tx.policy_versions.get(to)
            current = await act.tx.policy_versions.get(await self._base(act.tx, None, act.at))
            if not then.was_in_force or to == current.number:
                raise Conflict("roll back to a version that was in force and no longer is.", field="to")
            files = await own_files(act.tx, then)
            # Over the set of a release it says something that the same policies stay when the next one starts.
            if current.origin is not VersionOrigin.SHIPPED and files == await own_files(act.tx, current):
                raise Conflict(f"version {current.number} is in force and has the same policies.", field="to")
            return await self._add(act, VersionOrigin.ROLLED_BACK, files, base=current.number, returns_to=to, why=why)

    async def page(
        self, caller: Caller, *, before: int, state: VersionState | None, first: int
    ) -> Page[PolicyVersion]:  # fmt: skip
        """Newest first."""
        await self._office.allow(caller, Action.VIEW_POLICY_VERSION, Target.list("policy"))
        async with self._office.database.transaction(read_only=True) as tx:
            return await tx.policy_versions.page(before=before, state=state, first=first)

    async def get(self, caller: Caller, number: int) -> PolicyVersion:
        await self._office.allow(caller, Action.VIEW_POLICY_VERSION, Target(kind="policy", id=str(number)))
        async with self._office.database.transaction(read_only=True) as tx:
            return await tx.policy_versions.get(number)

    async def files(self, caller: Caller, number: int) -> dict[str, str]:
        """The files of a version, by name, without the schema."""
        version = await self.get(caller, number)
        async with self._office.database.transaction(read_only=True) as tx:
            return {name: data.decode() for name, data in (await own_files(tx, version)).items()}

    async def compare(self, caller: Caller, number: int, base: int | None) -> Comparison:
        """What the version changes in `base`, by default what is in force."""
        version = await self.get(caller, number)
        async with self._office.database.transaction(read_only=True) as tx:
            beneath = await self._base(tx, base, self._office.now())
        other = await self.get(caller, beneath)
        async with self._office.database.transaction(read_only=True) as tx:
            before, after = await own_files(tx, other), await own_files(tx, version)
        readable = all(_is_readable(each) for each in (other, version))
        return Comparison(
            base=other.number, files=file_changes(before, after),
            policies=policy_changes(before, after) if readable else None,
        )  # fmt: skip

    async def steps(self, caller: Caller, numbers: list[int]) -> dict[int, list[PolicyStep]]:
        """The states that versions came to, oldest first."""
        await self._office.allow(caller, Action.VIEW_POLICY_VERSION, Target.list("policy"))
        found: dict[int, list[PolicyStep]] = {number: [] for number in numbers}
        async with self._office.database.transaction(read_only=True) as tx:
            for step in await tx.policy_versions.steps(numbers):
                found[step.version].append(step)
        return found

    async def _base(self, tx: Transaction, base: int | None, at: datetime) -> int:
        found = base if base is not None else await self._replaced(tx, at)
        if found is None:
            raise Conflict("no policies are on record as in force yet; start the platform once.", field="base")
        return found

    async def _target(self, number: int) -> Target:
        """The version as the policies see it, with its author."""
        async with self._office.database.transaction(read_only=True) as tx:
            version = await tx.policy_versions.find(number)
        written = None if version is None or version.origin is VersionOrigin.SHIPPED else version.author
        return Target(kind="policy", id=str(number), author=written)

    async def _replaced(self, tx: Transaction, at: datetime) -> int | None:
        """What would be in force at `at`, as this transaction sees it; other processes may have scheduled more."""
        found = in_force(await tx.policy_versions.schedule(), at, with_glass=False)
        return None if found is None else found.number

    async def _check_again(self, tx: Transaction, version: PolicyVersion) -> None:
        """This release may find what the one that the version was drafted under did not."""
        found = await asyncio.to_thread(findings_of, await own_files(tx, version))
        faults = [each for each in found if each.weight is Weight.FAULT]
        if faults and version.state is not VersionState.DRAFT:
            raise Conflict(f"this release finds fault with it: {faults[0].message}", field="version")

    async def _kept(self, tx: Transaction, files: Mapping[str, bytes]) -> tuple[str, Sequence[Finding]]:
        """Store the files with the schema of this release; the hash that names them, and what there is to say."""
        schema = self._office.rulebook.own.files[SCHEMA]
        policy_set = await tx.policy_versions.keep_files({**files, SCHEMA: schema})
        return policy_set, await asyncio.to_thread(findings_of, files)

    async def _add(
        self, act: Act, origin: VersionOrigin, files: Mapping[str, bytes], *, base: int | None, returns_to: int | None,
        why: str,
    ) -> Done[PolicyVersion]:  # fmt: skip
        remark = Remark.write(why, salt=new_salt())
        if remark is None:
            raise Invalid("say in a sentence why.", field="why")
        policy_set, findings = await self._kept(act.tx, files)
        number = await act.tx.policy_versions.next_number()
        kind = "policy.drafted" if origin is VersionOrigin.DRAFTED else "policy.rolled_back"
        said: dict[str, Json] = {
            "origin": origin, "policy_set": policy_set, "base": base, "returns_to": returns_to,
            "findings": _counted(findings), "why_sha256": remark.sha256,
        }  # fmt: skip
        decision = await act.record(kind, "policy", number, said)
        await act.keep_remark(decision, remark)
        version = PolicyVersion(
            number=number, origin=origin, state=state_after(findings), author=act.caller.principal,
            author_person=await person_of(act), base=base, returns_to=returns_to, policy_set=policy_set,
            findings=tuple(findings), drafted_at=act.at, edited_at=act.at, simulated_at=None, simulation=None,
            approved_by=None, approved_person=None, approved_at=None, effective_from=None, effective_at=None,
            ended_at=None, decision=decision, changed_by=decision, why=remark.body,
        )  # fmt: skip
        await act.tx.policy_versions.add(version)
        return await _done(act, version, decision)


async def person_of(act: Act) -> UUID | None:
    """The reference of the person on whose behalf this is done, the same whichever client it is done with."""
    person = act.wish.on_behalf_of if act.wish else None
    if person is None:
        return None
    return (await act.vault.hold(act.tx.subjects, person, None, EVERYBODY, act.at)).subject


async def _lines(act: Act, version: PolicyVersion) -> Lines:
    """Of the author and of whoever acts, as they are now: lines are only ever added."""
    behind, by = act.tx.clients.lines_behind, act.caller
    author = await behind(version.author)
    return Lines(
        author=author, approver=await behind(by.principal),
        another=await act.tx.clients.has_admin_apart(author, at=act.at),
        wrote=await behind(version.author, *version.written_through), approves=await behind(by.principal, by.app),
    )  # fmt: skip


async def own_files(tx: Transaction, version: PolicyVersion) -> dict[str, bytes]:
    """The files that are the version's own: the schema belongs to the release."""
    files = await tx.policy_versions.files(version.policy_set)
    return {name: data for name, data in files.items() if name != SCHEMA}


async def _changed(act: Act, version: PolicyVersion, decision: UUID) -> Done[PolicyVersion]:
    version = replace(version, changed_by=decision)
    await act.tx.policy_versions.update(version, decision)
    return await _done(act, version, decision)


async def _done(act: Act, version: PolicyVersion, decision: UUID) -> Done[PolicyVersion]:
    """What was typed is kept in one place, and an answer that is kept for a repeated wish is not that."""
    return replace(await act.done(replace(version, why=None), decision), subject=version)


async def _again(act: Act) -> Done[PolicyVersion]:
    return await _told_again(act.tx, act.again(PolicyVersion))


async def _told_again(tx: Transaction, given: Done[PolicyVersion]) -> Done[PolicyVersion]:
    now = await tx.policy_versions.get(given.subject.number)
    return replace(given, subject=replace(given.subject, why=now.why))


def _counts(counts: Counts) -> dict[str, int]:
    return {
        "unchanged": counts.unchanged, "newly_allowed": counts.newly_allowed, "newly_denied": counts.newly_denied,
        "not_replayable": counts.not_replayable,
    }  # fmt: skip


def _summary(found: Simulation) -> dict[str, Any]:
    """What is kept with the version: the window, the counts, and the first decisions that come out otherwise."""
    by = sorted(found.tally.by.items(), key=lambda each: (str(each[0][0] or ""), each[0][1]))
    return {
        "decision": str(found.decision), "since": found.since.isoformat(), "until": found.until.isoformat(),
        "total": _counts(found.tally.total),
        "by": [
            {"institution": None if institution is None else str(institution), "action": action, **_counts(counts)}
            for (institution, action), counts in by
        ],
        "unplayed": {str(why): count for why, count in sorted(found.tally.unplayed.items())},
        "changed": [
            {"id": str(each.id), "action": each.action, "allowed": each.now.allowed, "policies": [*each.now.policies]}
            for each in found.changed
        ],
        "more_changed": found.more_changed,
    }  # fmt: skip


def _is_readable(version: PolicyVersion) -> bool:
    return not any(finding.code == "cannot_be_loaded" for finding in version.findings)


def _told(version: PolicyVersion) -> dict[str, Json]:
    return {"policy_set": version.policy_set, "base": version.base, "findings": _counted(version.findings)}


def _counted(findings: Sequence[Finding]) -> dict[str, Json]:
    return {weight: sum(finding.weight is weight for finding in findings) for weight in Weight}
