"""The program handed over as arrays and as expressions, through python-mip, gives the same optimum."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sharewell.domain.horizon import Aim, Horizon
from sharewell.domain.horizon_program import stretches
from sharewell.domain.horizon_rules import program_of
from sharewell.domain.horizon_walk import alone
from sharewell.domain.resources import ResourceKind
from sharewell_workers.solving.search import matrix_of
from sharewell_workers.solving.whole import Problem, minimise


def problems(horizon: Horizon) -> list[Problem]:
    found = []
    for part in stretches(horizon):
        program = program_of(horizon, alone(horizon), part)
        costs = np.array(program.costs[Aim.SHORTAGE], dtype=float)
        low, high = (
            np.array([float("inf") * sign if value is None else value for value in values], dtype=float)
            for sign, values in ((-1, program.row_lower), (1, program.row_upper))
        )
        lower, upper = np.array(program.lower, dtype=float), np.array(program.upper, dtype=float)
        found.append(Problem(matrix_of(program), costs, lower, upper, low, high, np.array(program.whole)))
    return found


def dual_bound(problem: Problem, rows: np.ndarray) -> float:
    """Weak duality: what no point of the program is below."""
    rates = problem.costs - problem.matrix.T @ rows
    columns = np.minimum(rates * problem.lower, rates * problem.upper).sum()
    with np.errstate(invalid="ignore"):
        limits = np.where(rows > 1e-9, rows * problem.row_lower, np.where(rows < -1e-9, rows * problem.row_upper, 0))
    return float(columns + limits.sum())


@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_arrays_and_expressions_agree(horizons: Callable[..., st.SearchStrategy[Horizon]], data: st.DataObject) -> None:
    for problem in problems(data.draw(horizons(kinds=tuple(ResourceKind)))):
        for asked in (problem, problem.relaxed()):
            one, other = (minimise(asked, 60, arrays=arrays) for arrays in (True, False))
            assert one.done
            assert other.done
            assert one.values is not None
            assert other.values is not None
            assert problem.costs @ one.values == pytest.approx(problem.costs @ other.values)
            assert one.bound == pytest.approx(other.bound)
            for answer in (one, other) if asked is not problem else ():
                assert answer.rows is not None
                assert dual_bound(problem, answer.rows) == pytest.approx(one.bound, abs=1e-6)
