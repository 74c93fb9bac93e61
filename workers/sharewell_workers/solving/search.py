"""The best schedule of one stretch: stage by stage, relaxed first, in whole numbers where that does not come by itself.

Whatever happens there is a schedule: that in force if it still fits, or none at all, which is always valid.
"""

from __future__ import annotations

import hashlib
import time
from dataclasses import dataclass, field
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np
from scipy.sparse import coo_array, csc_array, csr_array, vstack

from sharewell.domain.certificate import NotProven
from sharewell.domain.horizon_certificate import Face
from sharewell.domain.horizon_loads import is_lumpy
from sharewell.domain.horizon_measures import of_stretch, values
from sharewell.domain.horizon_rules import program_of
from sharewell.domain.horizon_walk import Uses, walk
from sharewell.domain.schedule import Reached, StageProof, StretchProof
from sharewell_workers.solving.program import NotWhole
from sharewell_workers.solving.read_off import read_off
from sharewell_workers.solving.whole import Answer, Problem, minimise

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sharewell.domain.horizon import Aim, Horizon
    from sharewell.domain.horizon_program import Name, Program, Stretch
    from sharewell.domain.horizon_rows import Shipment
    from sharewell.domain.horizon_walk import Alone

NEAR = 1e-5  #: a value this near to a whole number is that number; whatever comes of it is checked in whole numbers
DENOMINATORS = (1, 2, 6, 60, 10**6, 10**9)  #: tried in turn to write multipliers as fractions
WINDOWS = 12  #: parts of the horizon; one at a time is free to change
POLISH = 5.0  #: seconds for programs whose whole columns are all decided


@dataclass(slots=True)
class Found:
    """What was found for one stretch."""

    shipments: list[Shipment]
    uses: Uses
    reached: list[Reached]
    proof: StretchProof
    solver_bound: float  #: of the first aim, by the solver's word; -inf where it gave none


def search(horizon: Horizon, by_itself: Alone, stretch: Stretch, seconds: float) -> Found:
    """Search for about `seconds`."""
    return _Search(horizon, by_itself, stretch, time.monotonic() + seconds).run()


@dataclass(slots=True)
class _Candidate:
    shipments: list[Shipment]
    uses: Uses
    values: dict[Aim, int]


@dataclass(slots=True)
class _Search:
    horizon: Horizon
    by_itself: Alone
    stretch: Stretch
    deadline: float
    program: Program = field(init=False)
    matrix: csc_array = field(init=False)
    face: Face = field(init=False)
    proofs: dict[Aim, StageProof] = field(default_factory=dict)
    solver_bound: float = -np.inf
    start: np.ndarray | None = None
    first: tuple[Answer, StageProof] | None = None  #: the first stage relaxed, which is asked for twice

    def run(self) -> Found:
        self.program = program_of(self.horizon, self.by_itself, self.stretch)
        program = self.program
        self.matrix = matrix_of(program)
        self.face = Face.start(program)
        candidates = self._candidate([], self._uses_alone())
        if self.left() > 0:
            candidates += self._in_force()
            found = self._relaxed(candidates)
            if found is None:
                found = self._in_whole_numbers(candidates)
            candidates += self._from(found)
        best = min(candidates, key=lambda row: tuple(row.values.values()))
        return self._proven(best)

    def left(self) -> float:
        return self.deadline - time.monotonic()

    def _relaxed(self, candidates: list[_Candidate]) -> np.ndarray | None:
        """Decide every stage without asking for whole columns; the values if they are whole all the same."""
        values = None
        for aim in self.horizon.aims:
            answer = self._bound(aim)
            if answer is None or answer.values is None:  # no time left: what the stages before left is better than none
                candidates += self._from(values) if values is not None and self._is_whole(values) else []
                return None
            proof, costs = self.proofs[aim], self.program.costs[aim]
            bound = self.face.bound(costs, proof.over, proof.rows)
            if bound.total % proof.over or abs(bound.total / proof.over - self._costs(aim) @ answer.values) > 0.01:
                return None
            self.face.keep(bound, bound.total // proof.over)
            values = answer.values
        assert values is not None
        if self._is_whole(values):
            return values
        # All stages are decided; what is left is to find a whole schedule that is best in each of them.
        answer = self._minimise(np.zeros(len(self.program.lower)), self.left() / 2, whole=True)
        return answer.values

    def _bound(self, aim: Aim) -> Answer | None:
        """Solve the stage of `aim` relaxed and write its multipliers as fractions."""
        if self.first is not None and aim is self.horizon.aims[0]:
            answer, self.proofs[aim] = self.first
            return answer
        if self.left() <= 0:
            return None
        answer = self._minimise(self._costs(aim), self.left(), whole=False)
        if answer.rows is None:
            return None
        self.proofs[aim] = self._fractions(aim, answer.rows)
        if aim is self.horizon.aims[0]:
            self.solver_bound, self.first = answer.bound, (answer, self.proofs[aim])
        return answer

    def _fractions(self, aim: Aim, rows: np.ndarray) -> StageProof:
        best: tuple[Fraction, StageProof] | None = None
        for over in DENOMINATORS:
            scaled = rows * over
            near = bool(np.abs(scaled - np.rint(scaled)).max(initial=0) < NEAR)
            if (not near and over < 10**6) or np.abs(scaled).max(initial=0) >= 2**53:
                continue
            proof = StageProof(aim=aim, over=over, rows=tuple(self._signed(np.rint(scaled))))
            bound = Fraction(self.face.bound(self.program.costs[aim], over, proof.rows).total, over)
            if best is None or bound > best[0]:
                best = (bound, proof)
            if near:
                break
        return best[1] if best else _unproven(aim)

    def _signed(self, rows: np.ndarray) -> list[int]:
        """Multipliers without those that stand, by rounding, on a side where the row has no limit."""
        lower = np.array([low is not None for low in self.face.row_lower] + [False] * len(self.face.locks))
        upper = np.array([high is not None for high in self.face.row_upper] + [True] * len(self.face.locks))
        allowed = np.where(rows > 0, lower, upper)
        found: list[int] = np.where(allowed, rows, 0).astype(np.int64).tolist()
        return found

    def _in_whole_numbers(self, candidates: list[_Candidate]) -> np.ndarray | None:
        """Decide stage by stage in whole numbers, each time keeping what was reached before."""
        self.face, self.proofs = Face.start(self.program), {}
        values = self.start
        for number, aim in enumerate(self.horizon.aims):
            relaxed, costs = self._bound(aim), self._costs(aim)
            until = time.monotonic() + self.left() / (len(self.horizon.aims) - number)
            if relaxed is not None and relaxed.values is not None and self.left() > 0:
                seconds = (until - time.monotonic()) / 3
                answer = self._minimise(costs, seconds, whole=True, start=values, near=relaxed.values)
                values = values if answer.values is None else answer.values
            values = self._idle() if values is None else values
            if values is not None:
                values = self._by_windows(costs, values, time.monotonic() + (until - time.monotonic()) * 2 / 3)
            if self.left() <= 0:
                break
            answer = self._minimise(costs, until - time.monotonic(), whole=True, start=values)
            values = values if answer.values is None else answer.values
            if values is None:
                break
            if number == 0:
                self.solver_bound = max(self.solver_bound, answer.bound)
            self._keep(aim, round(float(costs @ values)))
            candidates += self._from(values)
        return values

    def _by_windows(self, costs: np.ndarray, values: np.ndarray, until: float) -> np.ndarray:
        """Improve whole `values`, each time free to change what leaves in a few days, while that helps.

        Late days first: what leaves then touches little else, so those programs are small.
        """
        days = np.array([_departure(name) for name in self.program.names])
        width = max(2, self.horizon.days // WINDOWS)
        while width < self.horizon.days:
            before = costs @ values
            for first in range(0, self.horizon.days, max(1, width // 2))[::-1]:
                if time.monotonic() >= until:
                    return values
                inside = (days < 0) | ((days >= first) & (days < first + width))
                fixed = np.where(inside, np.nan, np.rint(values))
                seconds = (until - time.monotonic()) / 4
                answer = self._minimise(costs, seconds, whole=True, start=values, fixed=fixed)
                values = values if answer.values is None or costs @ answer.values > costs @ values else answer.values
            if costs @ values >= before:
                break
        return values

    def _keep(self, aim: Aim, value: int) -> None:
        """Go on to the stage after `aim`, in which `value` was reached."""
        proof, costs = self.proofs.get(aim) or _unproven(aim), self.program.costs[aim]
        self.face.keep(self.face.bound(costs, proof.over, proof.rows), value)

    def _minimise(
        self, costs: np.ndarray, seconds: float, *, whole: bool, start: np.ndarray | None = None,
        fixed: np.ndarray | None = None, near: np.ndarray | None = None,
    ) -> Answer:  # fmt: skip
        problem = self._problem(costs, fixed)
        if near is not None:
            # Only what the relaxed optimum moves at all (or the start does), rounded up: far smaller, nearly as good.
            # Of lumpy lanes as much as they carry: a little more than the optimum may be less than their least.
            moves = np.array([name[0] in {"lane", "out", "in"} for name in self.program.names])
            most = np.where(self._lumpy() & (near > NEAR), problem.upper, np.ceil(near - NEAR))
            most = most if start is None else np.maximum(most, start)
            problem.upper[moves] = np.minimum(problem.upper, np.maximum(most, problem.lower))[moves]
        seed = int.from_bytes(hashlib.sha256(self.horizon.seed.encode()).digest()[:3], "big")
        return minimise(problem if whole else problem.relaxed(), seconds, seed=seed, start=start)

    def _lumpy(self) -> np.ndarray:
        return np.array([name[0] == "lane" and is_lumpy(self.horizon, name[1]) for name in self.program.names])

    def _problem(self, costs: np.ndarray, fixed: np.ndarray | None) -> Problem:
        matrix, face = self.matrix, self.face
        lower, upper = np.array(face.lower, dtype=float), np.array(face.upper, dtype=float)
        if fixed is not None:
            mask = np.array(self.program.whole) & ~np.isnan(fixed)
            lower[mask] = upper[mask] = fixed[mask]
        if face.locks:
            locks = csr_array(np.array([lock for lock, _ in face.locks], dtype=float))
            matrix = csc_array(vstack([matrix, locks]))
        low = [-np.inf if value is None else value for value in face.row_lower] + [-np.inf] * len(face.locks)
        high = [np.inf if value is None else value for value in face.row_upper] + [value for _, value in face.locks]
        return Problem(
            matrix, costs, lower, upper, np.array(low, dtype=float), np.array(high, dtype=float),
            np.array(self.program.whole),
        )  # fmt: skip

    def _costs(self, aim: Aim) -> np.ndarray:
        return np.array(self.program.costs[aim], dtype=float)

    def _is_whole(self, values: np.ndarray) -> bool:
        inside = values[np.array(self.program.whole)]
        return bool(np.abs(inside - np.rint(inside)).max(initial=0) < NEAR)

    def _idle(self) -> np.ndarray | None:
        """Nothing is shipped: to begin from where the solver finds no beginning of its own."""
        still = np.where(self._moves(), 0.0, np.nan)
        return self._minimise(self._costs(self.horizon.aims[0]), POLISH, whole=True, fixed=still).values

    def _moves(self) -> np.ndarray:
        """Which columns are movements."""
        return np.array([_departure(name) >= 0 for name in self.program.names])

    def _in_force(self) -> list[_Candidate]:
        """What is in force, if it still fits: to begin from, and to fall back on."""
        shipments = of_stretch(self.stretch, self.horizon.in_force)
        if not shipments:
            return []
        fixed = np.where(self._moves(), 0.0, np.nan)
        column = {name: place for place, name in enumerate(self.program.names)}
        for row in shipments:
            lane = self.horizon.lane[row.item, row.origin, row.destination]
            units = row.units // self.horizon.item[row.item].lot_size
            names: Sequence[tuple[object, ...]] = (
                ("lane", lane, row.until, row.day), ("out", row.origin, row.item, row.until, row.day),
                ("in", row.destination, row.item, row.until, row.day),
                ("in", row.destination, row.item, row.until, row.day, lane.days),
            )  # fmt: skip
            for name in names:
                if name in column:
                    fixed[column[name]] += units
            if ("used", lane, row.day) in column:
                fixed[column["used", lane, row.day]] = 1
        if (fixed > np.array(self.program.upper)).any():
            return []
        answer = self._minimise(self._costs(self.horizon.aims[0]), POLISH, whole=True, fixed=fixed)
        self.start = answer.values
        return self._from(answer.values)

    def _from(self, values: np.ndarray | None) -> list[_Candidate]:
        """The schedule that column values stand for, if it is one."""
        if values is None:
            return []
        values = values.copy()
        whole = np.array(self.program.whole)
        values[whole] = np.rint(values[whole])
        uses = np.array([name[0] == "use" for name in self.program.names])
        if np.abs(values[uses] - np.rint(values[uses])).max(initial=0) > NEAR:
            answer = self._minimise(self._costs(self.horizon.aims[0]), POLISH, whole=False, fixed=values)
            if answer.values is None:
                return []
            values = np.where(uses, answer.values, values)
        try:
            return self._candidate(*read_off(self.program, values))
        except NotWhole:
            return []

    def _candidate(self, shipments: list[Shipment], uses: Uses) -> list[_Candidate]:
        result = walk(self.horizon, shipments, uses, self.stretch.nodes)
        if result.violations:
            return []
        return [_Candidate(shipments, uses, values(self.horizon, self.stretch, result, shipments))]

    def _uses_alone(self) -> Uses:
        nodes = set(self.stretch.nodes)
        return {key: units for key, units in self.by_itself.walk.uses.items() if (key[0], key[2]) in nodes}

    def _proven(self, best: _Candidate) -> Found:
        """State every bound exactly as the checker will find it."""
        face, stages, reached = Face.start(self.program), [], []
        for aim in self.horizon.aims:
            costs, value = self.program.costs[aim], best.values[aim]
            proof = self.proofs.get(aim) or _unproven(aim)
            if proof.rows and len(proof.rows) != len(face.row_lower) + len(face.locks):
                proof = _unproven(aim)
            try:
                bound = face.bound(costs, proof.over, proof.rows)
            except NotProven:
                proof = _unproven(aim)
                bound = face.bound(costs, 1, ())
            face.keep(bound, value)
            stages.append(proof)
            reached.append(
                Reached(stretch=self.stretch.index, aim=aim, value=value, bound=max(0, -(-bound.total // proof.over)))
            )
        proof_of_all = StretchProof(stretch=self.stretch.index, stages=tuple(stages))
        return Found(best.shipments, best.uses, reached, proof_of_all, self.solver_bound)


def matrix_of(program: Program) -> csc_array:
    """Coefficients of the columns in the rows: each column's groups of entries, added up."""
    entries = (np.array(program.values, dtype=np.int64), np.array(program.rows), np.array(program.starts))
    groups = csc_array(entries, shape=(len(program.row_lower), len(program.starts) - 1))
    one, other = np.array(program.one, dtype=np.int64), np.array(program.other, dtype=np.int64)
    shared = np.flatnonzero(other >= 0)
    rows, columns = np.concatenate([one, other[shared]]), np.concatenate([np.arange(len(one)), shared])
    chosen = coo_array((np.ones(len(rows), dtype=np.int64), (rows, columns)), shape=(groups.shape[1], len(one)))
    matrix = csc_array(groups @ chosen.tocsc())
    matrix.sort_indices()
    return matrix


def _departure(name: Name) -> int:
    """Day on which a column's units leave; -1 for columns that are no movement."""
    places = {"lane": 3, "used": 2, "out": 4, "in": 4}
    return int(name[places[name[0]]]) if name[0] in places else -1


def _unproven(aim: Aim) -> StageProof:
    """No multipliers: bounds by the columns alone."""
    return StageProof(aim=aim, over=1, rows=())
