"""Versions of the policies: how a change goes from a draft to being in force, and who must have looked at it by then.

A version is drafted, validated, simulated, approved by a second person, and in force from its time on until another
version takes its place. Going back is a new version too. What may follow on what is written here as functions of the
time; the policies themselves are read by `sharewell.vetting`, and nothing here knows their language.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Final
from uuid import UUID

from sharewell.domain import checks
from sharewell.domain.errors import Conflict, Invalid

MOST_FILES: Final = 100
MOST_FILE_BYTES: Final = 65_536
MOST_BYTES: Final = 524_288  #: of all files together
FARTHEST: Final = timedelta(days=90)  #: that a version can be approved ahead of its time
_NAME: Final = re.compile(r"[a-z][a-z0-9_]{0,39}\.cedar")
_HASH: Final = re.compile(r"[0-9a-f]{64}")


class VersionOrigin(StrEnum):
    """Where a version comes from."""

    SHIPPED = "shipped"  #: it came with a release
    DRAFTED = "drafted"  #: an admin wrote it
    ROLLED_BACK = "rolled_back"  #: it has the policies of an earlier one


class VersionState(StrEnum):
    """How far a version has come."""

    DRAFT = "draft"  #: something in it keeps it from ever being in force
    VALIDATED = "validated"
    SIMULATED = "simulated"  #: real decisions were asked again under it
    APPROVED = "approved"  #: by a second person; its time has not come
    EFFECTIVE = "effective"
    SUPERSEDED = "superseded"  #: another one took its place
    WITHDRAWN = "withdrawn"  #: taken back before it came into force
    PASSED_OVER = "passed_over"  #: approved, and never in force: another one is in the place that it was to take


OPEN: Final = frozenset({VersionState.DRAFT, VersionState.VALIDATED, VersionState.SIMULATED})


class Weight(StrEnum):
    """What a finding means for the version."""

    FAULT = "fault"  #: it cannot come into force
    WARNING = "warning"  #: whoever approves it should have seen this


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """Something that a check of a set of policies found."""

    code: str  #: a name that stays, such as `unconditional_permit`
    weight: Weight
    message: str
    policy: str | None = None  #: the id of the policy it is about


@dataclass(frozen=True, slots=True, kw_only=True)
class Lines:
    """By whose word the author of a version and whoever is to approve it have their access.

    A line is named by the admin with whom it begins, whom the operator let in; see docs/policies.md.
    """

    author: frozenset[str]
    approver: frozenset[str]
    another: bool  #: whether any admin has no line in common with the author
    wrote: frozenset[str]  #: those of the author, and of the apps through which it wrote
    approves: frozenset[str]  #: those of the approver, and of the app through which it would approve

    def check(self) -> None:
        """Raise `Conflict` where one may have made the other, or acted as the other by an app: no second person."""
        if not self.wrote & self.approves:
            return
        if not self.author & self.approver:
            raise Conflict(
                "whoever registered the app through which it was written, or through which you would approve it, could "
                "do both alone. Approve it, or draft it anew, with a client of your own line; where there is none, the "
                "operator lets another admin in (sharewell client register --bootstrap).", field="version",
            )  # fmt: skip
        if self.another:
            raise Conflict(
                "you and its author have your access by the word of the same admin; an admin of another line approves.",
                field="version",
            )
        raise Conflict(
            "there is no second person: all admins have their access by the word of the same one as its author. The "
            "operator lets another in (sharewell client register --bootstrap); until then, the glass can be broken.",
            field="version",
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyVersion:
    """One version of the whole set of policies."""

    number: int
    origin: VersionOrigin
    state: VersionState
    author: str  #: principal that wrote it; `operator` for what came with a release
    author_person: UUID | None  #: reference of the person on whose behalf it was written
    base: int | None  #: the version that it changes; of a roll back, the one that it takes the place of
    returns_to: int | None  #: of a roll back: the version whose policies it has
    policy_set: str  #: SHA-256 that names its files
    findings: tuple[Finding, ...]
    drafted_at: datetime
    edited_at: datetime
    simulated_at: datetime | None
    simulation: Mapping[str, Any] | None  #: what the latest simulation found, and of which window
    approved_by: str | None
    approved_person: UUID | None
    approved_at: datetime | None
    effective_from: datetime | None  #: the time from which it is to be in force
    effective_at: datetime | None  #: when its coming into force was put on record
    ended_at: datetime | None  #: when it was superseded or withdrawn
    decision: UUID  #: that drafted it
    changed_by: UUID  #: the latest decision about it
    why: str | None = field(repr=False)  #: what the author gave as the reason, while it is kept
    replaces: int | None = None  #: of one that was approved: the version whose place it takes, and no other's
    written_through: tuple[str, ...] = ()  #: the apps by which it was drafted and edited, as its store knows them

    def edited(self, policy_set: str, findings: Sequence[Finding], *, by: str, at: datetime) -> PolicyVersion:
        """With other files. It is validated anew, and what was simulated counts no more."""
        if by != self.author:
            raise Conflict("only its author edits a version; draft one of your own.", field="version")
        self._must_be(OPEN, "edited")
        if self.origin is not VersionOrigin.DRAFTED:
            raise Conflict("only a version that was drafted can be edited; draft one on top of it.", field="version")
        return replace(
            self, state=state_after(findings), policy_set=policy_set, findings=tuple(findings), edited_at=at,
            simulated_at=None, simulation=None,
        )  # fmt: skip

    def check_simulates(self) -> None:
        """Raise `Conflict` where it cannot be simulated."""
        self._must_be(OPEN - {VersionState.DRAFT}, "simulated")

    def simulated(self, summary: Mapping[str, Any], *, policy_set: str, at: datetime) -> PolicyVersion:
        """With what a simulation of the very files `policy_set` found."""
        self.check_simulates()
        if policy_set != self.policy_set:
            raise Conflict("the version was edited while it was simulated; simulate it again.", field="version")
        return replace(self, state=VersionState.SIMULATED, simulated_at=at, simulation=summary)

    def approved(
        self, *, by: str, person: UUID | None, policy_set: str, effective_from: datetime, at: datetime,
        replaces: int | None, lines: Lines,
    ) -> PolicyVersion:  # fmt: skip
        """Approved by a second person who read `policy_set`; `replaces` would be in force at that time without it.

        Raises `Invalid` for a hash that is none, and `Conflict` where it is not ripe, is the approver's own, was edited
        since it was read, or was written on top of something else than what it would replace, which would be undone
        unseen.
        """
        ripe = {VersionState.SIMULATED} | (
            {VersionState.VALIDATED} if self.origin is VersionOrigin.ROLLED_BACK else set()
        )
        self._must_be(frozenset(ripe), "approved")
        if by == self.author or (person is not None and person == self.author_person):
            raise Conflict("whoever wrote a version does not approve it; a second person does.", field="version")
        lines.check()
        if not _HASH.fullmatch(policy_set):
            raise Invalid("sha256 must be the whole hash of what you read, 64 hex digits.", field="sha256")
        if policy_set != self.policy_set:
            raise Conflict("the version was edited since; read it again.", field="sha256")
        checks.moment(effective_from, "effectiveFrom")
        if not at <= effective_from <= at + FARTHEST:
            raise Invalid(
                f"effectiveFrom must be now or lie ahead, by at most {FARTHEST.days} days.", field="effectiveFrom"
            )
        if self.origin is not VersionOrigin.SHIPPED and self.base != replaces:
            raise Conflict(
                f"it was written on top of version {self.base}, and version {replaces} would be in force then; draft "
                "it anew on top of that.", field="version",
            )  # fmt: skip
        return replace(
            self, state=VersionState.APPROVED, approved_by=by, approved_person=person, approved_at=at,
            effective_from=effective_from, replaces=replaces,
        )  # fmt: skip

    def took_effect(self, at: datetime, *, replaces: int | None) -> PolicyVersion:
        """In force from its time on, which has come, in the place of `replaces`."""
        self._must_be(frozenset({VersionState.APPROVED}), "brought into force")
        if self.effective_from is None or at < self.effective_from:
            raise Conflict("its time has not come.", field="version")
        if self.replaces != replaces:
            raise Conflict(f"it takes the place of version {self.replaces}, not of {replaces}.", field="version")
        return replace(self, state=VersionState.EFFECTIVE, effective_at=at)

    def superseded(self, at: datetime) -> PolicyVersion:
        """No more in force, for another one is."""
        self._must_be(frozenset({VersionState.EFFECTIVE}), "superseded")
        return replace(self, state=VersionState.SUPERSEDED, ended_at=at)

    def passed_over(self, at: datetime) -> PolicyVersion:
        """Never in force, for it would undo unseen what is."""
        self._must_be(frozenset({VersionState.APPROVED}), "passed over")
        return replace(self, state=VersionState.PASSED_OVER, ended_at=at)

    def withdrawn(self, at: datetime) -> PolicyVersion:
        """Taken back before its time."""
        self._must_be(OPEN | {VersionState.APPROVED}, "withdrawn")
        if self.effective_from is not None and self.effective_from <= at:
            raise Conflict("its time has come; roll back to another version instead.", field="version")
        return replace(self, state=VersionState.WITHDRAWN, ended_at=at)

    def scheduled(self) -> Scheduled:
        """What the schedule says of it once it is approved."""
        assert self.effective_from is not None
        return Scheduled(
            number=self.number, shipped=self.origin is VersionOrigin.SHIPPED, policy_set=self.policy_set,
            replaces=self.replaces, since=self.effective_from, until=None, recorded=False,
        )  # fmt: skip

    @property
    def was_in_force(self) -> bool:
        """Whether it is in force, or was once."""
        return self.effective_at is not None

    def _must_be(self, states: frozenset[VersionState], done: str) -> None:
        if self.state in states:
            return
        if self.state is VersionState.DRAFT:
            raise Conflict(f"a version with faults cannot be {done}; see its findings.", field="version")
        wanted = " or ".join(state for state in VersionState if state in states)
        early = self.state is VersionState.VALIDATED and VersionState.SIMULATED in states
        first = "; simulate it first" if early else ""
        told = f"only a version that is {wanted} can be {done}; this one is {self.state}{first}."
        raise Conflict(told, field="version")


def state_after(findings: Sequence[Finding]) -> VersionState:
    """Where a version begins whose files have these findings."""
    faulty = any(finding.weight is Weight.FAULT for finding in findings)
    return VersionState.DRAFT if faulty else VersionState.VALIDATED


def changed_files(base: Mapping[str, bytes], changes: Mapping[str, str | None]) -> dict[str, bytes]:
    """The files of a new version: those of `base` with `changes`, where None takes a file away.

    Raises `Invalid` for a name or size that cannot be, or where nothing changes.
    """
    files = dict(base)
    for name, text in changes.items():
        if not _NAME.fullmatch(name):
            raise Invalid(
                f"{name[:80]!r} is no name of a policy file; it must look like offers.cedar, in lower case. The schema "
                "belongs to the release and cannot be changed.", field="files",
            )  # fmt: skip
        if text is None and name not in base:
            raise Invalid(f"there is no file {name} to take away.", field="files")
        if text is None:
            del files[name]
        else:
            files[name] = _body(name, text)
    if files == base:
        raise Invalid("these files are what the version it changes has; there is nothing to draft.", field="files")
    _check_size(files)
    return files


def draft_files(files: Iterable[tuple[str, bytes]]) -> dict[str, bytes]:
    """The files of a whole draft, schema included, by name; held to the same sizes as a version.

    Raises `Invalid`, and where two files have the same name.
    """
    given = list(files)
    found = dict(given)
    if len(found) < len(given):
        raise Invalid("two files have the same name; give each its own.", field="files")
    _check_size(found)
    return found


def _check_size(files: Mapping[str, bytes]) -> None:
    """What is larger keeps Cedar's reader, which nothing interrupts, busy for too long."""
    if len(files) > MOST_FILES or sum(map(len, files.values())) > MOST_BYTES:
        raise Invalid(f"a set of policies has at most {MOST_FILES} files and {MOST_BYTES} bytes.", field="files")
    for name, body in files.items():
        if len(body) > MOST_FILE_BYTES:
            raise Invalid(f"{name[:80]} has more than {MOST_FILE_BYTES} bytes; make two files of it.", field="files")


def _body(name: str, text: str) -> bytes:
    if "\0" in text:
        raise Invalid(f"{name} must be plain text.", field="files")
    try:
        return text.encode()
    except UnicodeEncodeError:
        raise Invalid(f"{name} is no plain text.", field="files") from None


@dataclass(frozen=True, slots=True, kw_only=True)
class Scheduled:
    """A version that is in force from a time on, or an open broken glass that puts one into force."""

    number: int
    shipped: bool  #: it came with a release, and the set of the next one takes its place when that starts
    policy_set: str
    replaces: int | None  #: the version in whose place it comes into force, and no other's
    since: datetime
    until: datetime | None  #: of a broken glass: when it ends by itself
    recorded: bool  #: whether its coming into force is on record

    @property
    def as_released(self) -> bool:
        """Whether each process judges by the set of its own release; of what was approved, each by these very files."""
        return self.shipped and self.replaces is None

    def is_due(self, at: datetime) -> bool:
        """Whether something is to be put on record of it: that it came into force, or that its time is over."""
        return (self.since <= at and not self.recorded) if self.until is None else self.until <= at


def in_force(schedule: Sequence[Scheduled], at: datetime, *, with_glass: bool = True) -> Scheduled | None:
    """What is in force at `at`: a glass that was broken, else the version whose time came last; None before any.

    A version comes into force in the place of the one that it was approved to replace, or not at all. What is on record
    as in force is so for everybody, also where a clock is behind that of the process which recorded it.
    """
    come = [each for each in schedule if each.since <= at or (each.recorded and each.until is None)]
    glasses = [each for each in come if with_glass and each.until is not None and at < each.until]
    return max(glasses, key=_turn) if glasses else _taken_in_turn(come)[0]


def passed_over(schedule: Sequence[Scheduled]) -> list[Scheduled]:
    """Approved versions that do not come into force at their time: each was to replace another than it would.

    That can be told as soon as it is so, for no version comes into force twice.
    """
    return _taken_in_turn(schedule)[1]


def check_undoes_none(schedule: Sequence[Scheduled], changed: Sequence[Scheduled]) -> None:
    """Raise `Conflict` where a version would be passed over by `changed` that is not by `schedule`."""
    before = {each.number for each in passed_over(schedule)}
    for lost in passed_over(changed):
        if lost.number not in before:
            raise Conflict(
                f"version {lost.number} is to take the place of version {lost.replaces}, and then it could not; "
                f"withdraw version {lost.number} first.", field="version",
            )  # fmt: skip


def _turn(scheduled: Scheduled) -> tuple[datetime, int]:
    return scheduled.since, scheduled.number


def _taken_in_turn(schedule: Sequence[Scheduled]) -> tuple[Scheduled | None, list[Scheduled]]:
    """The version in force after all of `schedule` had its turn, from the one on record on; and those passed over."""
    versions = sorted((each for each in schedule if each.until is None), key=_turn)
    current = max((each for each in versions if each.recorded), key=_turn, default=None)
    passed: list[Scheduled] = []
    for each in versions:
        if each.recorded:
            continue
        if each.replaces == (None if current is None else current.number):
            current = each
        else:
            passed.append(each)
    return current, passed
