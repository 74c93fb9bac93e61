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
from typing import TYPE_CHECKING

from sharewell.domain.certificate import NotProven
from sharewell.domain.horizon_program import Program, stretches
from sharewell.domain.horizon_rules import program_of
from sharewell.domain.horizon_walk import alone
from sharewell.domain.plan import Status

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sharewell.domain.horizon import Horizon
    from sharewell.domain.schedule import Schedule, StageProof


@dataclass(slots=True)
class Face:
    """The schedules still to choose from after the stages decided so far."""

    program: Program
    lower: list[int]
    upper: list[int]
    row_lower: list[int | None]
    row_upper: list[int | None]
    locks: list[tuple[Mapping[int, int], int]] = field(default_factory=list)  #: costs of a stage, and its value

    @classmethod
    def start(cls, program: Program) -> Face:
        """All schedules."""
        return cls(program, list(program.lower), list(program.upper), list(program.row_lower), list(program.row_upper))

    def bound(self, costs: Mapping[int, int], over: int, rows: Sequence[int]) -> int:
        """`over` times what no point of the face is below, by the multipliers `rows / over`.

        Raises `NotProven` where a multiplier stands at a row that has no limit on that side.
        """
        total = 0
        for y, low, high in zip(rows, self.row_lower, self.row_upper, strict=False):
            limit = low if y > 0 else high
            if y and limit is None:
                raise NotProven("a multiplier has the wrong sign.", field="proofs")
            total += y * (limit or 0)
        for y, (_, most) in zip(rows[len(self.row_lower) :], self.locks, strict=False):
            if y > 0:
                raise NotProven("a multiplier has the wrong sign.", field="proofs")
            total += y * most
        for rate, low, high in zip(self.rates(costs, over, rows), self.lower, self.upper, strict=True):
            total += rate * (low if rate > 0 else high) if rate else 0
        return total

    def rates(self, costs: Mapping[int, int], over: int, rows: Sequence[int]) -> list[int]:
        """`over` times what one more unit in each column costs beyond its rows' multipliers."""
        program, price = self.program, [*rows[: len(self.row_lower)]] or [0] * len(self.row_lower)
        found = [0] * len(self.lower)
        starts, at, values = program.starts, program.rows, program.values
        for column in range(len(found)):
            for place in range(starts[column], starts[column + 1]):
                y = price[at[place]]
                if y:
                    found[column] -= y * values[place]
        for column, cost in costs.items():
            found[column] += over * cost
        for y, (lock, _) in zip(rows[len(self.row_lower) :], self.locks, strict=False):
            for column, cost in lock.items():
                found[column] -= y * cost
        return found

    def keep(self, costs: Mapping[int, int], over: int, rows: Sequence[int], value: int, bound: int) -> None:
        """Go on to the next stage, given what the schedule reached in this one and `bound` as `bound()` gave it."""
        if over * value != bound:
            self.locks.append((costs, value))
            return
        for place, rate in enumerate(self.rates(costs, over, rows)):
            if rate > 0:
                self.upper[place] = self.lower[place]
            elif rate < 0:
                self.lower[place] = self.upper[place]
        for place, y in enumerate(rows[: len(self.row_lower)]):
            if y > 0:
                self.row_upper[place] = self.row_lower[place]
            elif y < 0:
                self.row_lower[place] = self.row_upper[place]


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
    costs: Mapping[int, int] = face.program.costs[stage.aim]
    bound = face.bound(costs, stage.over, stage.rows)
    face.keep(costs, stage.over, stage.rows, value, bound)
    return max(0, -(-bound // stage.over))
