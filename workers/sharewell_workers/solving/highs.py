"""HiGHS through python-mip: maximise a program whose costs and bounds change from stage to stage.

python-mip's HiGHS back end keeps a pointer to the C library; handing it whole arrays is fifteen times faster than
building expressions (`docs/allocation.md`). That pointer is a private field, so `ExpressionSolver` does the same
through python-mip's public names: it is used where the fields are missing, and a test compares the two.
"""
# ruff: noqa: SLF001  (see above; python-mip is pinned to the release whose fields these are)

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, Protocol

import mip
import numpy as np
from mip import highs

from sharewell_workers.solving.memory import Basis

if TYPE_CHECKING:
    from collections.abc import Sequence

    from scipy.sparse import csc_array

COLUMN_WISE, MAXIMISE = 1, -1  # of the HiGHS C API

# A python-mip model sits in a reference cycle, so the garbage collector may free it at any moment, also while cffi
# holds its lock; if the freeing function then had to be looked up for the first time, it would wait for that lock for
# ever. Looking it up here keeps it at hand.
_FREE = highs.highslib.Highs_destroy


class CutOff(Exception):
    """The time limit came before the optimum; `rows` holds the last multipliers, where there are any."""

    def __init__(self, rows: np.ndarray | None) -> None:
        super().__init__("the time limit came first")
        self.rows = rows


@dataclass(slots=True)
class Bounds:
    """The face: what columns and rows may still be."""

    lower: np.ndarray
    upper: np.ndarray
    row_lower: np.ndarray
    row_upper: np.ndarray


class Solver(Protocol):
    """Solves one program again and again, with other costs and bounds."""

    def solve(
        self, costs: np.ndarray, bounds: Bounds, seconds: float
    ) -> tuple[Sequence[float] | np.ndarray, Sequence[float]]:
        """Maximise and return columns and row multipliers. Raises `CutOff`."""


class ArraySolver:
    """The program handed to HiGHS as arrays, anew for each stage: only the columns that the face leaves open, which are
    so few that starting from nothing is faster than starting from the last stage's basis. Where the same stage of an
    earlier instance is remembered, it starts there.
    """

    start: Basis | None = None  #: vertex of the next program to start from
    ended: Basis | None = None  #: vertex of the last one

    @staticmethod
    @cache
    def works() -> bool:
        """Whether the installed python-mip has the fields this leans on."""
        names = ("_model", "_lib", "_col_committed", "_row_committed", "_x", "_pi", "_set_string_option_value")
        model = mip.Model(solver_name="HIGHS")
        return all(hasattr(model.solver, name) for name in names) and all(
            hasattr(highs.highslib, name) for name in ("Highs_passLp", "Highs_setBasis", "Highs_getBasis")
        )

    def __init__(self, matrix: csc_array) -> None:
        self.matrix = matrix
        self.model = quiet_model()
        # On these networks presolve takes longer than the dual simplex method without it.
        self.model.solver._set_string_option_value("presolve", "off")
        self.model.lp_method = mip.LP_Method.DUAL

    def solve(
        self, costs: np.ndarray, bounds: Bounds, seconds: float
    ) -> tuple[Sequence[float] | np.ndarray, Sequence[float]]:
        """See `Solver`."""
        self.ended = None
        still_open = np.flatnonzero(bounds.lower < bounds.upper)
        if not len(still_open):  # nothing left to decide: any prices prove it
            return bounds.lower.astype(np.float64), [0.0] * self.matrix.shape[0]
        self._load(costs, bounds, still_open)
        self._begin_at(still_open)
        status = self.model.optimize(max_seconds=max(0.001, seconds))
        solver = self.model.solver
        if status is not mip.OptimizationStatus.OPTIMAL:
            raise CutOff(np.array(solver._pi) if len(solver._pi) == self.matrix.shape[0] else None)
        values = bounds.lower.astype(np.float64)
        values[still_open] = solver._x
        self.ended = self._vertex(still_open)
        return values, solver._pi

    def _begin_at(self, columns: np.ndarray) -> None:
        # A basis that no longer fits is mended by HiGHS; one it refuses altogether is simply not used.
        if self.start is not None:
            solver, c = self.model.solver, Floats()
            solver._lib.Highs_setBasis(solver._model, c.ints(self.start.columns[columns]), c.ints(self.start.rows))

    def _vertex(self, columns: np.ndarray) -> Basis:
        solver = self.model.solver
        found = np.zeros(len(columns), dtype=np.int32), np.zeros(self.matrix.shape[0], dtype=np.int32)
        solver._lib.Highs_getBasis(solver._model, *(highs.ffi.from_buffer("HighsInt[]", array) for array in found))
        every = np.zeros(self.matrix.shape[1], dtype=np.int32)
        every[columns] = found[0]
        return Basis(every, found[1])

    def _load(self, costs: np.ndarray, bounds: Bounds, columns: np.ndarray) -> None:
        """Hand over `columns` alone; what the others carry is taken off the rows."""
        matrix = self.matrix[:, columns]
        closed = bounds.lower.copy()
        closed[columns] = 0
        carried = self.matrix @ closed
        solver, c = self.model.solver, Floats()
        status = solver._lib.Highs_passLp(
            solver._model, len(columns), matrix.shape[0], matrix.nnz, COLUMN_WISE, MAXIMISE, 0.0,
            c(costs[columns]), c(bounds.lower[columns]), c(bounds.upper[columns]),
            c(bounds.row_lower - carried), c(bounds.row_upper - carried),
            c.ints(matrix.indptr), c.ints(matrix.indices), c(matrix.data),
        )  # fmt: skip
        expect_success(status)
        solver._col_committed, solver._row_committed = len(columns), matrix.shape[0]


class ExpressionSolver:
    """The same through python-mip's public names only, built anew for each stage."""

    def __init__(self, matrix: csc_array) -> None:
        self.by_row = matrix.tocsr()

    def solve(
        self, costs: np.ndarray, bounds: Bounds, seconds: float
    ) -> tuple[Sequence[float] | np.ndarray, Sequence[float]]:
        """See `Solver`."""
        model = quiet_model()
        columns = [
            model.add_var(lb=float(low), ub=float(high), obj=float(cost))
            for low, high, cost in zip(bounds.lower, bounds.upper, costs, strict=True)
        ]
        limits = []
        for row in range(self.by_row.shape[0]):
            at = slice(self.by_row.indptr[row], self.by_row.indptr[row + 1])
            names = [columns[column] for column in self.by_row.indices[at]]
            signs = [float(sign) for sign in self.by_row.data[at]]
            low, high = float(bounds.row_lower[row]), float(bounds.row_upper[row])
            sense = "=" if low == high else "<"
            limits.append(model.add_constr(mip.LinExpr(names, signs, -high, sense)))
        if model.optimize(max_seconds=max(0.001, seconds)) is not mip.OptimizationStatus.OPTIMAL:
            raise CutOff(None)
        return [column.x for column in columns], [limit.pi for limit in limits]


def best_solver(matrix: csc_array) -> Solver:
    """The fastest solver that the installed python-mip allows."""
    return ArraySolver(matrix) if ArraySolver.works() else ExpressionSolver(matrix)


class Floats:
    """Arrays as C pointers, kept alive as long as this object is."""

    def __init__(self) -> None:
        self.kept: list[np.ndarray] = []

    def __call__(self, values: np.ndarray) -> Any:
        return self._pointer(values.astype(np.float64), "double[]")

    def ints(self, values: np.ndarray) -> Any:
        """As `HighsInt`, which is 32 bits wide in the released builds."""
        return self._pointer(values.astype(np.int32), "HighsInt[]")

    def _pointer(self, values: np.ndarray, kind: str) -> Any:
        self.kept.append(values)
        return highs.ffi.from_buffer(kind, values)


def quiet_model() -> mip.Model:
    """An empty model that maximises, on one thread, without a word."""
    model = mip.Model(sense=mip.MAXIMIZE, solver_name="HIGHS")
    model.verbose = 0
    model.threads = 1
    return model


def solver_version() -> str:
    """Version of HiGHS that does the work, and of python-mip between."""
    release: str = highs.ffi.string(highs.highslib.Highs_version()).decode()
    return f"{release} by python-mip {version('mip')}"


def expect_success(status: int) -> None:
    """Raise unless HiGHS took what it was handed."""
    if status < 0:
        raise RuntimeError("HiGHS refused the program it was handed.")
