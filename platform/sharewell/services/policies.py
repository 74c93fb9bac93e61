"""Which policies are in force: follow the schedule, and put them and signing keys on record when they come into use."""

from __future__ import annotations

import hashlib
from contextlib import suppress
from uuid import UUID

import asyncpg
import structlog
from prometheus_client import Counter

from sharewell.authz import Authorizer, Policy, PolicyError
from sharewell.domain.audit import Json
from sharewell.domain.break_glass import GlassEnding
from sharewell.domain.errors import Unavailable
from sharewell.domain.policy import MANY, Action, Target
from sharewell.domain.policy_versions import (
    PolicyVersion,
    Scheduled,
    VersionOrigin,
    VersionState,
    Weight,
    passed_over,
)
from sharewell.domain.principals import Caller
from sharewell.services.act import Act
from sharewell.services.office import Office
from sharewell.store.audit import DecisionFilter
from sharewell.store.database import Transaction
from sharewell.vetting.findings import findings_of

log = structlog.get_logger("sharewell")
PASSED_OVER = Counter(
    "sharewell_policies_passed_over", "Approved versions of the policies that this process found their place gone for."
)

NEWEST = UUID(int=2**128 - 1)
START_LOCK = "select pg_advisory_xact_lock(hashtextextended('sharewell start', 0))"


class PolicyService:
    """Which rules are in force."""

    def __init__(self, office: Office) -> None:
        self._office = office
        self._kept: set[str] = set()  #: sets that were made here and are stored

    async def publish(self, caller: Caller) -> bool:
        """At a start, record which policies are in force, unless that is on record; tell whether they are new.

        Those of the release take the place of those of another release, never of a version that was approved. Such a
        version stays in force under a new release, if that finds no fault in it. Raises `Unavailable` otherwise.
        """
        await self.catch_up(caller)
        office, rulebook = self._office, self._office.rulebook
        asked = Target(kind="policy", id=rulebook.at(office.now(), with_glass=False).policy_set)
        async with office.act(caller, Action.PUBLISH_POLICY, asked) as act:
            # Of several replicas that start at once, one records.
            await act.tx.conn.execute(START_LOCK)
            await self.alone(act)
            await self._look(act.tx)
            current = rulebook.scheduled_at(act.at)
            of_a_release = current is None or current.shipped
            authz = rulebook.own if of_a_release else rulebook.at(act.at, with_glass=False)
            number = None if current is None else current.number
            # Also where they are on record already: a set that came into force before sets were kept is kept now.
            for files in (rulebook.own.files, authz.files):
                await act.tx.policy_versions.keep_files(files)
            if not of_a_release:
                _check_against_release(authz, number)
            shipped = await self._record_shipped(act, in_force=of_a_release)
            new = (of_a_release and shipped is not None) or not await _is_published(act, authz.policy_set)
            if new:
                await _published(act, authz, shipped if of_a_release and shipped is not None else number)
        await self.catch_up(caller)  # what was approved to take the place of the one of before does not any more
        return new

    async def _record_shipped(self, act: Act, *, in_force: bool) -> int | None:
        """Make a version of the set shipped with this release, unless there is one; its number if it is new."""
        own, versions = self._office.rulebook.own, act.tx.policy_versions
        newest, current = await versions.newest_shipped(), await versions.effective()
        if newest is not None and newest.policy_set == own.policy_set and (newest == current or not in_force):
            return None
        number = await versions.next_number()
        decision = await act.record(
            "policy.drafted", "policy", number, {"origin": "shipped", "policy_set": own.policy_set}
        )
        if in_force and current is not None:
            await versions.step(current.superseded(act.at), decision)
        await versions.add(_shipped(number, own.policy_set, act, decision, in_force=in_force))
        return number

    async def refresh(self) -> None:
        """Read the schedule anew, and whatever sets on it were not read yet. Raises `Unavailable`."""
        # A database of before there were versions has none.
        with suppress(asyncpg.UndefinedTableError):
            async with self._office.database.transaction(read_only=True) as tx:
                await self._look(tx)
            await self._keep()

    async def _keep(self) -> None:
        """Store the sets made of versions and the schema of this release, for decisions name them by their hash."""
        made = {name: found for name, found in self._office.rulebook.made_here().items() if name not in self._kept}
        if made:
            async with self._office.database.transaction() as tx:
                for found in made.values():
                    await tx.policy_versions.keep_files(found.files)
            self._kept |= made.keys()

    async def _look(self, tx: Transaction) -> None:
        rulebook, schedule = self._office.rulebook, await tx.policy_versions.schedule()
        read = {name: await tx.policy_versions.files(name) for name in rulebook.lacking(schedule)}
        rulebook.take(schedule, read)

    async def alone(self, act: Act) -> None:
        """Wait until nobody else changes versions, or breaks a glass. The act is of the time after that.

        What came into force while it waited did so before it.
        """
        await act.tx.policy_versions.alone()
        act.at = self._office.now()

    async def catch_up(self, caller: Caller) -> int:
        """Follow the schedule, and put on record what came into force, ended by itself or is passed over; say how many.

        Any number of processes may do this: one of them records.
        """
        await self.refresh()
        if not self._office.rulebook.has_due(self._office.now()):
            return 0
        authz = self._office.authz
        async with self._office.act(caller, Action.PUBLISH_POLICY, Target(kind="policy", id=authz.policy_set)) as act:
            await self.alone(act)
            await self._look(act.tx)  # others may have approved more meanwhile
            ended = [await _expire(act, glass.id) for glass in await act.tx.break_glass.over(act.at)]
            # First, so that none of them is among those whose time has come.
            passed = [await _pass_over(act, each) for each in passed_over(await act.tx.policy_versions.schedule())]
            due = await act.tx.policy_versions.due(act.at)
            for version in due:
                await self._bring_into_force(act, version)
        await self.refresh()
        for version in passed:
            PASSED_OVER.inc()
            log.warning("an approved version of the policies is passed over", version=version.number,
                        replaces=version.replaces)  # fmt: skip
        return len(due) + len(passed) + len(ended)

    async def _bring_into_force(self, act: Act, version: PolicyVersion) -> None:
        found = self._office.rulebook.of(version.scheduled())
        if isinstance(found, PolicyError):
            raise Unavailable(f"version {version.number} of the policies cannot be loaded by this release: {found}.")
        await act.tx.policy_versions.keep_files(found.files)
        decision = await _published(act, found, version.number)
        replaced = await self._replaced(act, decision)
        await act.tx.policy_versions.step(version.took_effect(act.at, replaces=replaced), decision)

    async def _replaced(self, act: Act, decision: UUID) -> int | None:
        """Take what is on record as in force out of force; its number."""
        former = await act.tx.policy_versions.effective()
        if former is None:
            return None
        await act.tx.policy_versions.step(former.superseded(act.at), decision)
        return former.number

    async def key_in_use(self, caller: Caller, kid: str, use: str) -> bool:
        """Record that a signing key came into use, unless that is on record; tell whether it is new."""
        async with self._office.act(caller, Action.ROTATE_KEY, Target(kind="key", id=kid)) as act:
            await act.tx.conn.execute(START_LOCK)
            if await _on_record(act, kid):
                return False
            details: dict[str, Json] = {"use": use}
            await act.record("key.rotated", "key", kid, details)
            return True

    async def in_force(self, caller: Caller) -> tuple[str, tuple[Policy, ...]]:
        """The hash of the policies in force, and each of them."""
        await self._office.allow(caller, Action.VIEW_POLICY, Target(kind="policy", id=MANY))
        authz = self._office.authz
        return authz.policy_set, tuple(authz.policies[name] for name in sorted(authz.policies))


def _check_against_release(authz: Authorizer, number: int | None) -> None:
    """A version that this release finds fault with does not stay in force under it."""
    faults = [finding for finding in findings_of(authz.files) if finding.weight is Weight.FAULT]
    if faults:
        raise Unavailable(
            f"version {number} of the policies is in force, and this release finds fault with it: {faults[0].message} "
            "Start the release of before, approve a version without that fault, and then start this one."
        )


def _shipped(number: int, policy_set: str, act: Act, decision: UUID, *, in_force: bool) -> PolicyVersion:
    at = act.at if in_force else None
    return PolicyVersion(
        number=number, origin=VersionOrigin.SHIPPED,
        state=VersionState.EFFECTIVE if in_force else VersionState.VALIDATED, author=act.caller.principal,
        author_person=None, base=None, returns_to=None, policy_set=policy_set, findings=(), drafted_at=act.at,
        edited_at=act.at, simulated_at=None, simulation=None, approved_by=None, approved_person=None, approved_at=None,
        effective_from=at, effective_at=at, ended_at=None, decision=decision, changed_by=decision, why=None,
    )  # fmt: skip


async def _published(act: Act, authz: Authorizer, number: int | None) -> UUID:
    kept = {name: hashlib.sha256(data).hexdigest() for name, data in authz.files.items()}
    said: dict[str, Json] = {"policies": sorted(authz.policies), "files": kept, "version": number}
    return await act.record("policy.published", "policy", authz.policy_set, said)


async def _is_published(act: Act, policy_set: str) -> bool:
    latest = await act.tx.audit.page(before=NEWEST, matching=DecisionFilter(kind="policy.published"), first=1)
    return bool(latest.items) and latest.items[0].subject_id == policy_set


async def _pass_over(act: Act, scheduled: Scheduled) -> PolicyVersion:
    version = (await act.tx.policy_versions.get(scheduled.number, lock=True)).passed_over(act.at)
    details: dict[str, Json] = {"policy_set": version.policy_set, "replaces": version.replaces}
    decision = await act.record("policy.passed_over", "policy", version.number, details)
    await act.tx.policy_versions.step(version, decision)
    return version


async def _expire(act: Act, glass: UUID) -> UUID:
    broken = await act.tx.break_glass.get(glass, lock=True)
    broken.check_ends(GlassEnding.EXPIRED, act.at)
    details: dict[str, Json] = {"version": broken.version, "until": broken.until.isoformat()}
    decision = await act.record("policy.glass_expired", "policy", glass, details)
    await act.tx.break_glass.end(glass, GlassEnding.EXPIRED, act.at, decision)
    return decision


async def _on_record(act: Act, kid: str) -> bool:
    matching = DecisionFilter(kind="key.rotated", subject_kind="key", subject_id=kid)
    return bool((await act.tx.audit.page(before=NEWEST, matching=matching, first=1)).items)
