"""Where the solver ended, by name, so that the next instance of the same market is solved from there.

A vertex of a linear program is told by its basis: for each column and row, whether it is at a limit or between. Where
only a little has changed since, few steps lead from the old vertex to the new one. The result is that of a cold start:
every stage proves itself, and the lottery decides between plans that tie (`docs/allocation.md`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sharewell.domain.network import Network

Name = tuple[str, ...]
LOWER, BASIC = 0, 1  #: of HiGHS, for columns and rows alike


@dataclass(frozen=True, slots=True)
class Basis:
    """One status of HiGHS per column and per row of a program."""

    columns: np.ndarray
    rows: np.ndarray


@dataclass(slots=True)
class Memory:
    """What earlier solves left, by stage; names that a new instance does not have are forgotten by it."""

    columns: dict[str, dict[Name, int]] = field(default_factory=dict)
    rows: dict[str, dict[Name, int]] = field(default_factory=dict)

    def recall(self, stage: str, names: Names) -> Basis | None:
        """The vertex to start from; None where this stage was never solved."""
        if stage not in self.columns:
            return None
        columns, rows = self.columns[stage], self.rows[stage]
        return Basis(
            np.fromiter((columns.get(name, LOWER) for name in names.columns), np.int32, len(names.columns)),
            np.fromiter((rows.get(name, BASIC) for name in names.rows), np.int32, len(names.rows)),
        )

    def keep(self, stage: str, names: Names, basis: Basis) -> None:
        """Remember the vertex at which `stage` ended; of columns only those off their lower limit, a small part."""
        columns, rows = self.columns.setdefault(stage, {}), self.rows.setdefault(stage, {})
        for name in names.columns:
            columns.pop(name, None)
        off_limit = np.flatnonzero(basis.columns != LOWER).tolist()
        columns.update((names.columns[at], int(basis.columns[at])) for at in off_limit)
        rows.update(zip(names.rows, basis.rows.tolist(), strict=True))

    def merge(self, other: Memory) -> None:
        """Take over what `other` has kept, of other parts of the same instance."""
        for mine, theirs in ((self.columns, other.columns), (self.rows, other.rows)):
            for stage, found in theirs.items():
                mine.setdefault(stage, {}).update(found)


@dataclass(frozen=True, slots=True)
class Names:
    """What columns and rows of a program stand for, whichever instance it was made from."""

    columns: Sequence[Name]
    rows: Sequence[Name]

    @classmethod
    def of(cls, network: Network) -> Names:
        """Names for `network`. Whatever has no name of its own is counted on, which does for a start."""
        part = network.part
        columns: list[Name] = [(lane.offer, lane.request) for lane in part.lanes]
        step = 0
        for column, receiver in enumerate(network.step_receiver):
            step = step + 1 if column and network.step_receiver[column - 1] == receiver else 0
            columns.append(("step", part.receivers[receiver].request, str(step)))
        rows: list[Name] = [("request", row.request) for row in part.receivers]
        rows += [("offer", row.offer) for row in part.owners]
        first = part.receivers[0].request
        columns += [("column", first, str(number)) for number in range(len(network.upper) - len(columns))]
        rows += [("row", first, str(number)) for number in range(len(network.row_upper) - len(rows))]
        return cls(columns, rows)
