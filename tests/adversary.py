"""Somebody who takes all that is told of counts and works out what it must mean, as a linear program."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from scipy.optimize import linprog


@dataclass
class Adversary:
    """Everything that can be concluded from what is told: linear equations and ranges over unknown whole numbers."""

    columns: dict[tuple[Hashable, str], int] = field(default_factory=dict)  #: by report and the name of a number
    equal: list[tuple[Mapping[int, int], int]] = field(default_factory=list)
    below: list[tuple[Mapping[int, int], int]] = field(default_factory=list)

    def column(self, report: Hashable, name: str) -> int:
        """A number that is at least 0, and of which nothing else is known yet."""
        return self.columns.setdefault((report, name), len(self.columns))

    def within(self, terms: Mapping[int, int], low: int, high: int) -> None:
        """The sum of `terms` lies there."""
        self.below += [(terms, high), ({place: -factor for place, factor in terms.items()}, -low)]

    def reads(
        self, report: Hashable, numbers: Mapping[str, int | None], withheld: Mapping[str, tuple[int, int]]
    ) -> None:
        """One report as it is told; what ties the numbers of any report together is known as well."""
        told = {name: (value, value) for name, value in numbers.items() if value is not None} | dict(withheld)
        for name, (low, high) in told.items():
            self.within({self.column(report, name): 1}, low, high)
        self._tie(report, told.keys())

    def _tie(self, report: Hashable, stated: Iterable[str]) -> None:
        stated = set(stated)
        at = {name: self.column(report, name) for name in stated}
        taken = {at[name]: 1 for name in ("occupied", "blocked") if name in stated}
        if "staffed" in stated:  # what is staffed holds what is in use and what is closed; the rest is free
            self.below.append(({**taken, at["staffed"]: -1}, 0))
        if "free" in stated:
            self.equal.append(({**taken, at["free"]: 1, at["staffed"]: -1}, 0))
        if "need" in stated:
            waiting = {at["waiting"]: 1} if "waiting" in stated else {}
            self.equal.append(({at["occupied"]: 1, **waiting, at["need"]: -1}, 0))
        if {"surge_24h", "surge_72h"} <= stated:
            self.below.append(({at["surge_24h"]: 1, at["surge_72h"]: -1}, 0))

    def reads_total(self, name: str, between: tuple[int, int], reports: Sequence[Hashable]) -> None:
        """A total is the sum over those of `reports` that state the number."""
        terms = {self.columns[report, name]: 1 for report in reports if (report, name) in self.columns}
        if terms:
            self.within(terms, *between)

    def concludes(self, report: Hashable, name: str) -> tuple[int, int]:
        """The least and the most that the number can still be."""
        ends = []
        for sign in (1, -1):
            goal = np.zeros(len(self.columns))
            goal[self.columns[report, name]] = sign
            rows, most = self._rows(self.below)
            same, to = self._rows(self.equal)
            found = linprog(goal, A_ub=rows, b_ub=most, A_eq=same, b_eq=to)
            assert found.success, found.message  # what is told fits what is true
            ends.append(sign * round(found.fun))
        return ends[0], ends[1]

    def _rows(self, known: Sequence[tuple[Mapping[int, int], int]]) -> tuple[Any, Any]:
        if not known:
            return None, None
        rows = np.zeros((len(known), len(self.columns)))
        for at, (terms, _) in enumerate(known):
            for place, factor in terms.items():
                rows[at, place] = factor
        return rows, np.array([most for _, most in known])
