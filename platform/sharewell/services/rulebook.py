"""Which policies this process judges by at any moment: it knows the schedule, and has read what is coming.

A version comes into force at its time in every process, without a message between them. What a process cannot read or
look up it does not pass over: from that moment on it judges nothing, and says why.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from time import monotonic
from typing import Final

from sharewell.authz import SCHEMA, Authorizer, PolicyError
from sharewell.domain.errors import Unavailable
from sharewell.domain.policy_versions import Scheduled, in_force, passed_over

STALE_SECONDS: Final = 30.0  #: after which a process that follows the schedule no longer relies on what it knew


class Rulebook:
    """What is in force here and what is coming. `own` is the set shipped with this release.

    Files of a version are read together with the schema of this release, so that schema and code always fit; where a
    set of a release is in force that nobody had to approve, each process judges by the one of its own release.
    """

    def __init__(self, own: Authorizer) -> None:
        self.own = own
        self._schedule: Sequence[Scheduled] = ()
        self._loaded: dict[str, Authorizer | PolicyError] = {}  # by hash of the set as stored
        self._fresh_until: float | None = None  # on the monotonic clock; None: nobody follows the schedule here

    def at(self, now: datetime, *, with_glass: bool = True) -> Authorizer:
        """The policies in force at `now`, or that would be if no glass were broken.

        Raises `Unavailable` where this process cannot tell, or cannot read them.
        """
        if (why := self.fault(now)) is not None:
            raise Unavailable(why)
        found = self.of(in_force(self._schedule, now, with_glass=with_glass))
        if isinstance(found, PolicyError):
            raise Unavailable(f"what is in force under the broken glass cannot be loaded by this release: {found}.")
        return found

    def scheduled_at(self, now: datetime) -> Scheduled | None:
        """The version in force at `now`, or that would be if no glass were broken; None before any is on record."""
        return in_force(self._schedule, now, with_glass=False)

    def has_due(self, now: datetime) -> bool:
        """Whether something came into force, ended by itself, or cannot come into force, and that is not on record."""
        return any(each.is_due(now) for each in self._schedule) or bool(passed_over(self._schedule))

    def fault(self, now: datetime) -> str | None:
        """Why this process judges nothing at `now`; None where it does."""
        if self._fresh_until is not None and monotonic() > self._fresh_until:
            return f"this process could not look up for {STALE_SECONDS:.0f} seconds which policies are in force."
        scheduled = in_force(self._schedule, now)
        found = self.of(scheduled)
        if isinstance(found, Authorizer):
            return None
        number = None if scheduled is None else scheduled.number
        return f"version {number} of the policies is in force and cannot be loaded by this release: {found}."

    def of(self, scheduled: Scheduled | None) -> Authorizer | PolicyError:
        """What the policies of `scheduled` are here, or why they cannot be loaded."""
        if scheduled is None or scheduled.as_released:
            return self.own
        found = self._loaded[scheduled.policy_set]
        # The set of another release, whose place that of this one takes when it starts, must not keep it from that.
        replaced = scheduled.shipped and scheduled.recorded and isinstance(found, PolicyError)
        return self.own if replaced else found

    def lacking(self, schedule: Sequence[Scheduled]) -> set[str]:
        """The sets of `schedule` that were not read yet."""
        return {each.policy_set for each in schedule if not each.as_released} - self._loaded.keys()

    def take(self, schedule: Sequence[Scheduled], read: Mapping[str, Mapping[str, bytes]]) -> None:
        """Go by `schedule` from now on, with the files of the sets that were `lacking`; it costs some 50 ms a set."""
        loaded = {name: self._load(files) for name, files in read.items()}
        known = {each.policy_set for each in schedule}
        self._loaded = {name: found for name, found in (self._loaded | loaded).items() if name in known}
        self._schedule = tuple(schedule)
        if self._fresh_until is not None:
            self.follow()

    def made_here(self) -> dict[str, Authorizer]:
        """By hash, the sets that no version was stored as: their files have the schema of another release there."""
        loaded = {name: found for name, found in self._loaded.items() if isinstance(found, Authorizer)}
        return {found.policy_set: found for name, found in loaded.items() if found.policy_set != name}

    def follow(self) -> None:
        """From now on the schedule must be taken anew every few seconds."""
        self._fresh_until = monotonic() + STALE_SECONDS

    def _load(self, files: Mapping[str, bytes]) -> Authorizer | PolicyError:
        try:
            return Authorizer.load({**files, SCHEMA: self.own.files[SCHEMA]})
        except PolicyError as error:
            return error
