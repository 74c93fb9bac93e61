"""Lanes of which it matters on which days they carry anything: rows and columns of whole loads."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sharewell.domain.horizon import Aim

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sharewell.domain.horizon import Horizon
    from sharewell.domain.horizon_program import Entries, Program
    from sharewell.domain.horizon_rows import Way
    from sharewell.domain.horizon_walk import Node


def is_lumpy(horizon: Horizon, lane: Way) -> bool:
    """Whether it matters on which days `lane` carries anything, and not only how much."""
    return lane.least > 1 or bool(lane.charge and Aim.CHARGES in horizon.aims)


def carries(program: Program, lane: Way, day: int, units: int, most: int, own: int = 0) -> Entries:
    """Entries for a column of `units` along a lumpy lane, which carries `most` at most on `day`.

    least * used <= carried <= most * used, where used is 0 or 1 and costs the charge. Where there is a row "own",
    carried <= own * used + what came to the origin by then as well: nearer to whole loads than `most`.
    """
    if ("carries", lane, day) not in program.row_at:
        program.row(("carries", lane, day), None, 0)
        program.row(("least", lane, day), None, 0)
        entries = program.at("carries", lane, day, sign=-most) + program.at("least", lane, day, sign=lane.least)
        entries += program.at("own", lane, day, sign=-own)
        column = program.column(("used", lane, day), 0, 1, [row for row in entries if row[1]], whole=True)
        program.cost(Aim.CHARGES, column, lane.charge)
    entries = program.at("carries", lane, day, sign=units) + program.at("least", lane, day, sign=-units)
    return entries + program.at("own", lane, day, sign=units)


def load_rows(program: Program, node: Node, lanes: Sequence[Way]) -> None:
    """Rows that hold `lanes` from `node` to what it has of its own and what came to it by each day."""
    for day in range(program.horizon.days):
        program.row(("came", *node, day), 0, 0)
        for lane in lanes:
            program.row(("own", lane, day), None, 0)


def came(program: Program, node: Node, lanes: Sequence[Way], most: int) -> None:
    """Columns of all that came to `node` by each day, at most `most`, where `load_rows` asks for them."""
    for day in range(program.horizon.days):
        entries = program.at("came", *node, day, sign=-1)
        if entries:
            entries += program.at("came", *node, day + 1)
            entries += [row for lane in lanes for row in program.at("own", lane, day, sign=-1)]
            program.column(("came", *node, day), 0, most, entries)
