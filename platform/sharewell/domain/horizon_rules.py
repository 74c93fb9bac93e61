"""A stretch of a horizon as its whole program: rows of things, rows of places, and the columns that sum them up."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sharewell.domain.horizon_program import Program, begin, finish
from sharewell.domain.horizon_stock import Stock
from sharewell.domain.horizon_wards import Wards

if TYPE_CHECKING:
    from sharewell.domain.horizon import Horizon
    from sharewell.domain.horizon_program import Stretch
    from sharewell.domain.horizon_walk import Alone


def program_of(horizon: Horizon, by_itself: Alone, stretch: Stretch) -> Program:
    """Write `stretch` as a program."""
    program = Program(horizon, by_itself, stretch)
    begin(program)
    Stock(program).write()
    Wards(program).write()
    finish(program)
    return program
