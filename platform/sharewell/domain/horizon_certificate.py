"""How much better any other schedule could be, from multipliers, in whole numbers and without a solver.

Each stage of each stretch is a program (`horizon_program`). For any multipliers y of its rows,

    min c x  >=  sum_j min(r_j l_j, r_j u_j) + sum_r (y_r L_r where y_r > 0, else y_r U_r),   r = c - A'y,

(weak duality) and whole schedules have whole values, so the bound is rounded up. Nothing here is believed: wrong
multipliers only make the bound weaker. Where the schedule meets it exactly before rounding, the columns and rows that
the multipliers pin down (complementary slackness) are the face on which the next stage is decided. Where it does not,
the next stage keeps the value that the schedule reached, as one more row.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import accumulate, compress, pairwise
from operator import mul
from typing import TYPE_CHECKING

from sharewell.domain.certificate import NotProven
from sharewell.domain.horizon_program import Program, stretches
from sharewell.domain.horizon_rules import program_of
from sharewell.domain.horizon_walk import alone
from sharewell.domain.plan import Status

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sharewell.domain.horizon import Horizon
    from sharewell.domain.schedule import Schedule, StageProof


@dataclass(frozen=True, slots=True)
class Bound:
    """What multipliers `rows / over` of the rows (and of the locks after them) prove of a stage with `costs`."""

    costs: Sequence[int]
    over: int
    rows: Sequence[int]
    total: int  #: `over` times what no point of the face is below
    rates: Sequence[int]  #: `over` times what a unit in each open column costs beyond its rows' multipliers


@dataclass(slots=True)
class Face:
    """The schedules still to choose from after the stages decided so far."""

    program: Program
    lower: list[int]
    upper: list[int]
    row_lower: list[int | None]
    row_upper: list[int | None]
    columns: Sequence[int]  #: open ones: all but those that are 0 for good, by far the most
    groups: tuple[Sequence[int], Sequence[int]]  #: of their entries
    locks: list[tuple[Sequence[int], int]] = field(default_factory=list)  #: costs of a stage, and its value

    @classmethod
    def start(cls, program: Program) -> Face:
        """All schedules."""
        return cls(
            program, list(program.lower), list(program.upper), list(program.row_lower), list(program.row_upper),
            range(len(program.lower)), (program.one, program.other),
        )  # fmt: skip

    def bound(self, costs: Sequence[int], over: int, rows: Sequence[int]) -> Bound:
        """What the multipliers `rows / over` prove; no rows stand for zeros.

        Raises `NotProven` where a multiplier stands at a row that has no limit on that side.
        """
        lows = self.row_lower + [None] * len(self.locks)
        highs = self.row_upper + [most for _, most in self.locks]
        total = sum(y * _limit(low if y > 0 else high) for y, low, high in zip(rows, lows, highs, strict=False) if y)
        rates = self._rates(costs, over, rows)
        lower, upper = ([limits[at] for at in self.columns] for limits in (self.lower, self.upper))
        rising = zip(compress(rates, lower), filter(None, lower), strict=True)
        total += sum(rate * low for rate, low in rising if rate > 0)
        total += sum(rate * high for rate, high in zip(rates, upper, strict=True) if rate < 0)
        return Bound(costs, over, rows, total, rates)

    def _rates(self, costs: Sequence[int], over: int, rows: Sequence[int]) -> list[int]:
        program, price = self.program, rows[: len(self.row_lower)] or [0] * len(self.row_lower)
        priced = list(accumulate(map(mul, map(price.__getitem__, program.rows), program.values), initial=0))
        paid = [priced[end] - priced[start] for start, end in pairwise(program.starts)]
        paid.append(0)  # -1 finds this one
        rates = [
            over * costs[column] - paid[one] - paid[other]
            for column, one, other in zip(self.columns, *self.groups, strict=True)
        ]
        for y, (lock, _) in zip(rows[len(self.row_lower) :], self.locks, strict=False):
            rates = [rate - y * lock[column] for rate, column in zip(rates, self.columns, strict=True)]
        return rates

    def keep(self, found: Bound, value: int) -> None:
        """Go on to the next stage, given what the schedule reached in this one and its bound."""
        if found.over * value != found.total:
            self.locks.append((found.costs, value))
            return
        for place, rate in zip(self.columns, found.rates, strict=True):
            if rate > 0:
                self.upper[place] = self.lower[place]
            elif rate < 0:
                self.lower[place] = self.upper[place]
        for place, y in enumerate(found.rows[: len(self.row_lower)]):
            if y > 0:
                self.row_upper[place] = self.row_lower[place]
            elif y < 0:
                self.row_lower[place] = self.row_upper[place]
        still_open = [self.lower[place] or self.upper[place] for place in self.columns]
        self.columns = list(compress(self.columns, still_open))
        self.groups = list(compress(self.groups[0], still_open)), list(compress(self.groups[1], still_open))


def _limit(limit: int | None) -> int:
    if limit is None:
        raise NotProven("a multiplier has the wrong sign.", field="proofs")
    return limit


def check_bounds(horizon: Horizon, schedule: Schedule) -> None:
    """Raise `NotProven` unless the multipliers prove every bound that a valid `schedule` states.

    Where its status is optimal, every stage has to meet its bound.
    """
    parts = stretches(horizon)
    if [proof.stretch for proof in schedule.proofs] != [part.index for part in parts]:
        raise NotProven("the proofs do not speak of every stretch once.", field="proofs")
    by_itself = alone(horizon)
    reached = {(row.stretch, row.aim): row for row in schedule.stages}
    for part, proof in zip(parts, schedule.proofs, strict=True):
        if tuple(stage.aim for stage in proof.stages) != horizon.aims:
            raise NotProven(f"stretch {part.index}: the proofs do not have every aim in order.", field="proofs")
        face = Face.start(program_of(horizon, by_itself, part))
        for stage in proof.stages:
            told, where = reached[part.index, stage.aim], f"stretch {part.index}, {stage.aim}"
            found = _stage(face, stage, told.value, where)
            if found != told.bound:
                raise NotProven(f"{where}: the multipliers prove {found}, not {told.bound}.")
            if told.value < told.bound:
                raise NotProven(f"{where}: {told.value} lies below its bound {told.bound}.")
            if schedule.search.status is Status.OPTIMAL and told.value != told.bound:
                raise NotProven(f"{where}: the schedule reaches {told.value}, {told.bound} is not ruled out.")


def _stage(face: Face, stage: StageProof, value: int, where: str) -> int:
    """The bound of one stage, rounded up; `face` goes on to the next."""
    if stage.rows and len(stage.rows) != len(face.row_lower) + len(face.locks):
        raise NotProven(f"{where}: {len(face.row_lower) + len(face.locks)} multipliers are needed.", field="proofs")
    found = face.bound(face.program.costs[stage.aim], stage.over, stage.rows)
    face.keep(found, value)
    return max(0, -(-found.total // stage.over))
