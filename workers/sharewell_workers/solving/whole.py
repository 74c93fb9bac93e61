"""Minimising one program with HiGHS through python-mip: relaxed for bounds and multipliers, or in whole numbers.

Arrays go through the pointer that python-mip's back end keeps, as in `highs`; where the private fields are missing,
through its public names.
"""
# ruff: noqa: SLF001  (see `highs`)

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import mip
import numpy as np
from mip import highs

from sharewell_workers.solving.highs import COLUMN_WISE, ArraySolver, Floats, expect_success, quiet_model

if TYPE_CHECKING:
    from scipy.sparse import csc_array

MINIMISE, WHOLE_COLUMN = 1, 1  # of the HiGHS C API


@dataclass(frozen=True, slots=True)
class Problem:
    """Minimise costs * x; infinite limits are infinities."""

    matrix: csc_array
    costs: np.ndarray
    lower: np.ndarray
    upper: np.ndarray
    row_lower: np.ndarray
    row_upper: np.ndarray
    whole: np.ndarray  #: which columns are to be whole

    def relaxed(self) -> Problem:
        """The same without whole columns."""
        return replace(self, whole=np.zeros_like(self.whole))


@dataclass(frozen=True, slots=True)
class Answer:
    """What the solver says. None where there was no time for any."""

    values: np.ndarray | None
    rows: np.ndarray | None  #: multipliers, of relaxed problems
    bound: float
    done: bool  #: whether it searched to the end
    possible: bool = True  #: False where it found that nothing satisfies all limits


def minimise(
    problem: Problem, seconds: float, *, seed: int = 0, start: np.ndarray | None = None, arrays: bool | None = None
) -> Answer:
    """Solve within `seconds`; `start` is a whole solution to begin from."""
    if not problem.matrix.shape[0]:  # no row: every column at its cheaper limit
        values = np.where(problem.costs < 0, problem.upper, problem.lower)
        return Answer(values, np.zeros(0), float(problem.costs @ values), done=True)
    model = quiet_model()
    model.solver._set_int_option_value("random_seed", seed)
    model.max_mip_gap, model.max_mip_gap_abs = 1e-9, 0.999  # values are whole, so less than 1 apart is the same
    by_arrays = ArraySolver.works() if arrays is None else arrays
    load = _load_arrays if by_arrays else _load_expressions
    load(model, problem, start)
    status = model.optimize(max_seconds=max(0.01, seconds))
    return _answer(model, problem, status, sign=1 if by_arrays else -1)


def _answer(model: mip.Model, problem: Problem, status: mip.OptimizationStatus, *, sign: int) -> Answer:
    solver = model.solver
    done = status is mip.OptimizationStatus.OPTIMAL
    relaxed = not problem.whole.any()
    usable = done or (not relaxed and status is mip.OptimizationStatus.FEASIBLE)
    values = np.array(solver._x) if usable and len(solver._x) == problem.matrix.shape[1] else None
    rows = sign * np.array(solver._pi) if done and relaxed else None
    if relaxed:
        bound = float(problem.costs @ values) if values is not None else -np.inf
    else:
        bound = sign * float(model.objective_bound or 0)
    impossible = status in (mip.OptimizationStatus.INFEASIBLE, mip.OptimizationStatus.INT_INFEASIBLE)
    return Answer(values, rows, bound, done=done, possible=not impossible)


def _load_arrays(model: mip.Model, problem: Problem, start: np.ndarray | None) -> None:
    solver, c = model.solver, Floats()
    rows, columns = problem.matrix.shape
    head = (
        solver._model, columns, rows, problem.matrix.nnz, COLUMN_WISE, MINIMISE, 0.0, c(problem.costs),
        c(problem.lower), c(problem.upper), c(problem.row_lower), c(problem.row_upper),
        c.ints(problem.matrix.indptr), c.ints(problem.matrix.indices), c(problem.matrix.data),
    )  # fmt: skip
    if problem.whole.any():
        expect_success(solver._lib.Highs_passMip(*head, c.ints(problem.whole * WHOLE_COLUMN)))
        solver._num_int_vars = int(problem.whole.sum())
    else:
        expect_success(solver._lib.Highs_passLp(*head))
    solver._col_committed, solver._row_committed = columns, rows
    if start is not None:
        null: Any = highs.ffi.NULL
        solver._lib.Highs_setSolution(solver._model, c(start), null, null, null)


def _load_expressions(model: mip.Model, problem: Problem, start: np.ndarray | None) -> None:
    kinds = [mip.INTEGER if whole else mip.CONTINUOUS for whole in problem.whole]
    # The model maximises, so signs are turned here and back in the answer.
    columns = [
        model.add_var(lb=float(low), ub=float(high), obj=-float(cost), var_type=kind)
        for low, high, cost, kind in zip(problem.lower, problem.upper, problem.costs, kinds, strict=True)
    ]
    by_row = problem.matrix.tocsr()
    for row, (low, high) in enumerate(zip(problem.row_lower, problem.row_upper, strict=True)):
        at = slice(by_row.indptr[row], by_row.indptr[row + 1])
        names = [columns[column] for column in by_row.indices[at]]
        signs = [float(sign) for sign in by_row.data[at]]
        sense, limit = ("=", high) if low == high else ("<", high) if np.isfinite(high) else (">", low)
        model.add_constr(mip.LinExpr(names, signs, -float(limit), sense))
    if start is not None:
        model.start = list(zip(columns, map(float, start), strict=True))
