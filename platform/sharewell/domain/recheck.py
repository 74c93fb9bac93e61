"""Which decisions can be worked out again from their inputs, and how: the last check on a bundle.

A decision whose inputs are too large for its entry carries their SHA-256, and the bundle brings them along.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from sharewell.domain.audit import Decision

#: Inputs by their SHA-256 in hex.
Attachments = Mapping[str, bytes]


@dataclass(frozen=True, slots=True, kw_only=True)
class Recheck:
    """How one kind of decision is worked out again."""

    inputs: tuple[str, ...]  #: keys of `details` that hold the SHA-256 of an attachment
    check: Callable[[Decision, Attachments], str]  #: says what holds; raises `Invalid` with what does not

    def hashes(self, decision: Decision) -> tuple[str, ...]:
        """The attachments that this decision needs. A detail that is missing counts as an empty hash."""
        return tuple(str(decision.details.get(name, "")) for name in self.inputs)


Rechecks = Mapping[str, Recheck]

#: By kind of decision. Kinds without a line here have nothing to be worked out again.
RECHECKS: Final[Rechecks] = {}
