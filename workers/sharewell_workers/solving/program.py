"""One part as a linear program, solved stage by stage on the face of the stages before; every stage proves itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.sparse import coo_array, csc_array

from sharewell_workers.solving.highs import ArraySolver, Bounds, Solver, best_solver
from sharewell_workers.solving.memory import Memory, Names

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sharewell.domain.network import Network

WHOLE = 1e-5  #: a value this near to a whole number is that number; it is proven in whole numbers afterwards


class NotWhole(Exception):
    """The solver's answer is no vertex of the program, so it proves nothing."""


class Program:
    """Stages of one part. After each, only the plans that are best so far remain."""

    def __init__(
        self, network: Network, floors: Sequence[int], solver: Solver | None = None, memory: Memory | None = None
    ) -> None:
        self.network = network
        self.matrix = _matrix(network)
        rows = np.array(network.row_upper, dtype=np.int64)
        self.bounds = Bounds(
            lower=np.array(network.lower(floors), dtype=np.int64),
            upper=np.array(network.upper, dtype=np.int64),
            row_lower=np.zeros_like(rows),
            row_upper=rows,
        )
        self.solver = solver or best_solver(self.matrix)
        self.memory = memory
        self.names = None if memory is None else Names.of(network)

    def decide(self, stage: str, seconds: float) -> tuple[np.ndarray, np.ndarray]:
        """Decide `stage`, keep its face, and return whole columns and multipliers that prove each other.

        Raises `CutOff` at the time limit and `NotWhole` where the answer does not prove itself in whole numbers.
        """
        costs = np.array(self.network.costs[stage], dtype=np.int64)
        columns, multipliers = self._solve(stage, costs, seconds)
        values, rows = _whole(columns), _whole(multipliers)
        rates = costs - self.matrix.T @ rows
        if not self._feasible(values) or costs @ values != self.bound(rates, rows):
            raise NotWhole(f"{stage}: the multipliers do not prove the values.")
        self._keep(rates, rows)
        return values, rows

    def _solve(
        self, stage: str, costs: np.ndarray, seconds: float
    ) -> tuple[Sequence[float] | np.ndarray, Sequence[float]]:
        """From where this stage ended the last time, if that is remembered."""
        solver = self.solver
        if self.memory is None or self.names is None or not isinstance(solver, ArraySolver):
            return solver.solve(costs, self.bounds, seconds)
        solver.start = self.memory.recall(stage, self.names)
        answer = solver.solve(costs, self.bounds, seconds)
        if solver.ended is not None:
            self.memory.keep(stage, self.names, solver.ended)
        return answer

    def ceiling(self, stage: str, rows: np.ndarray | None) -> int:
        """What no plan on the face can pass in `stage`, from any multipliers at all."""
        costs = np.array(self.network.costs[stage], dtype=np.int64)
        at_zero = np.zeros(len(self.bounds.row_upper), dtype=np.int64)
        tries = [at_zero] if rows is None else [at_zero, np.rint(rows).astype(np.int64)]
        return min(self.bound(costs - self.matrix.T @ y, y) for y in tries)

    def bound(self, rates: np.ndarray, rows: np.ndarray) -> int:
        """The Lagrangian bound of multipliers `rows` that leave the columns worth `rates`."""
        face = self.bounds
        columns = np.maximum(rates * face.lower, rates * face.upper).sum()
        return int(columns + np.maximum(rows * face.row_lower, rows * face.row_upper).sum())

    def _feasible(self, values: np.ndarray) -> bool:
        face, sums = self.bounds, self.matrix @ values
        return bool(
            (values >= face.lower).all()
            and (values <= face.upper).all()
            and (sums >= face.row_lower).all()
            and (sums <= face.row_upper).all()
        )

    def _keep(self, rates: np.ndarray, rows: np.ndarray) -> None:
        face = self.bounds
        face.lower = np.where(rates > 0, face.upper, face.lower)
        face.upper = np.where(rates < 0, face.lower, face.upper)
        face.row_lower = np.where(rows > 0, face.row_upper, face.row_lower)
        face.row_upper = np.where(rows < 0, face.row_lower, face.row_upper)


def _matrix(network: Network) -> csc_array:
    """Signs of the columns in the rows, in the columns' order: see `sharewell.domain.network`."""
    kept, charges = network.kept_lane, len(network.charge_reserve)
    lanes = np.concatenate([np.arange(network.lane_count), network.kept_start + np.arange(len(kept))])
    steps = network.lane_count + np.arange(len(network.step_receiver))
    charging = len(network.upper) - charges + np.arange(charges)
    along = np.concatenate([np.arange(network.lane_count), np.array(kept, dtype=np.int64)])
    entries = [
        (_at(network.lane_receiver, along), lanes, 1),
        (_at(network.lane_offer, along), lanes, 1),
        (_at(network.lane_stock, along), lanes, 1),
        (_array(network.step_receiver), steps, -1),
        (_array(network.step_reserve), steps, 1),
        (_array(network.charge_reserve), charging, -1),
        (_array(network.charge_category), charging, 1),
    ]
    rows = np.concatenate([row[row >= 0] for row, _, _ in entries])
    columns = np.concatenate([column[row >= 0] for row, column, _ in entries])
    signs = np.concatenate([np.full((row >= 0).sum(), sign, dtype=np.int64) for row, _, sign in entries])
    return coo_array((signs, (rows, columns)), shape=(len(network.row_upper), len(network.upper))).tocsc()


def _array(values: Sequence[int]) -> np.ndarray:
    return np.array(values, dtype=np.int64)


def _at(values: Sequence[int], places: np.ndarray) -> np.ndarray:
    found: np.ndarray = _array(values)[places]
    return found


def _whole(values: Sequence[float] | np.ndarray) -> np.ndarray:
    found = np.array(values)
    nearest = np.rint(found)
    if np.abs(found - nearest).max(initial=0) > WHOLE:
        raise NotWhole("the solver's answer is not whole.")
    whole: np.ndarray = nearest.astype(np.int64)
    return whole
