"""One connected part of an instance as a linear program in whole numbers.

The worker that searches and the checker that does not trust it build the same program from the same instance here:
maximise cost * x, with lower <= x <= upper, every receiver row summing to 0 and every other row to 0..row_upper. The
matrix is the incidence matrix of a network, so totally unimodular: with whole bounds every vertex is whole.

Columns: one per lane (units moved), then per receiver one per step of worth (units received in it).
Rows: one per receiver (moved in = received), one per offer, one per institution whose offers share too small a stock.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sharewell.domain.errors import Invalid
from sharewell.domain.instance import Instance, Part, Rule
from sharewell.domain.welfare import steps

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

MOST_UNITS = 200_000  #: units of one part that exact leximin can rank; more are counted in larger units
LOTTERY_BITS = 10  #: of a request's number, and of a lane's within it


@dataclass(frozen=True, slots=True)
class Network:
    """The program of one part; lists are indexed by column or by row."""

    part: Part
    upper: list[int]
    column_rows: list[tuple[int, ...]]  #: rows in which the column stands
    column_signs: list[tuple[int, ...]]  #: and with which sign
    row_upper: list[int]
    step_owner: list[int]  #: of each step column, the index of its receiver in the part
    costs: Mapping[str, list[int]]  #: by stage, in the order in which stages are decided

    @property
    def lane_count(self) -> int:
        """Columns before the first step column."""
        return len(self.part.lanes)

    def lower(self, floors: Sequence[int]) -> list[int]:
        """Lower bounds of the columns that make receiver i receive at least `floors[i]` units.

        Earlier steps are worth more, so filling them first loses nothing.
        """
        left = list(floors)
        bounds = [0] * len(self.upper)
        for column, receiver in enumerate(self.step_owner, start=self.lane_count):
            bounds[column] = min(left[receiver], self.upper[column])
            left[receiver] -= bounds[column]
        return bounds

    def columns(self, moved: Sequence[int]) -> list[int]:
        """Values of all columns when `moved[e]` units travel along lane e, earlier steps filled first."""
        left = [0] * len(self.part.receivers)
        for lane, units in enumerate(moved):
            left[self.column_rows[lane][0]] += units
        values = list(moved) + [0] * len(self.step_owner)
        for column, receiver in enumerate(self.step_owner, start=self.lane_count):
            values[column] = min(left[receiver], self.upper[column])
            left[receiver] -= values[column]
        return values


def network(instance: Instance, part: Part) -> Network:
    """Write `part` of `instance` as a program."""
    receiver_at = {row.request: index for index, row in enumerate(part.receivers)}
    offer_at = {row.offer: index for index, row in enumerate(part.owners, start=len(part.receivers))}
    shared = _shared_stock(instance, part)
    institution_at = {name: index for index, name in enumerate(shared, start=len(receiver_at) + len(offer_at))}
    institution_of = {row.offer: institution_at.get(row.institution) for row in part.owners}

    rows: list[tuple[int, ...]] = []
    for lane in part.lanes:
        stock = institution_of[lane.offer]
        ends = (receiver_at[lane.request], offer_at[lane.offer])
        rows.append(ends if stock is None else (*ends, stock))
    unit_steps = instance.fairness.rule is Rule.LEXIMIN
    step_rows = list(_steps(instance, part, single=unit_steps))
    costs = _stage_costs(instance, part, step_rows)
    return Network(
        part=part,
        upper=[instance.room(lane) for lane in part.lanes] + [width for _, width, _ in step_rows],
        column_rows=rows + [(receiver,) for receiver, _, _ in step_rows],
        column_signs=[(1,) * len(ends) for ends in rows] + [(-1,)] * len(step_rows),
        row_upper=[0] * len(receiver_at)
        + [instance.spare[row.offer] for row in part.owners]
        + [instance.sparable[name] for name in shared],
        step_owner=[receiver for receiver, _, _ in step_rows],
        costs=costs,
    )


def stage_names(rule: Rule) -> tuple[str, ...]:
    """Stages in the order in which they are decided, after the floor where the rule has one."""
    return ("leximin",) * (rule is Rule.LEXIMIN) + ("welfare", "distance", "lottery")


def _shared_stock(instance: Instance, part: Part) -> list[str]:
    """Institutions whose offers in this part together exceed what the institution can part with."""
    offered: dict[str, int] = {}
    for row in part.owners:
        offered[row.institution] = offered.get(row.institution, 0) + instance.spare[row.offer]
    return sorted(name for name, units in offered.items() if units > instance.sparable[name])


def _steps(instance: Instance, part: Part, *, single: bool) -> Iterable[tuple[int, int, int]]:
    """`(receiver index, width, price)` of every step column."""
    if single and sum(row.need for row in part.receivers) > MOST_UNITS:
        raise Invalid(
            f"leximin ranks single units, at most {MOST_UNITS} in one connected part; choose the floor rule, or count "
            "in larger units.",
            field="fairness.rule",
        )
    for index, receiver in enumerate(part.receivers):
        for width, price in steps(instance.fairness, receiver):
            if single:
                yield from ((index, 1, price) for _ in range(width))
            else:
                yield index, width, price


def _stage_costs(instance: Instance, part: Part, step_rows: Sequence[tuple[int, int, int]]) -> dict[str, list[int]]:
    no_lanes, no_steps = [0] * len(part.lanes), [0] * len(step_rows)
    costs = {
        "leximin": no_lanes + _ranks(part) if instance.fairness.rule is Rule.LEXIMIN else [],
        "welfare": no_lanes + [price for _, _, price in step_rows],
        "distance": [-lane.metres for lane in part.lanes] + no_steps,
        "lottery": [-ticket for ticket in lottery(instance.seed, part)] + no_steps,
    }
    return {name: costs[name] for name in stage_names(instance.fairness.rule)}


def _ranks(part: Part) -> list[int]:
    """Price of every needed unit under leximin: the emptier a request before the unit, the higher.

    Receivable vectors form an integral polymatroid, so the greedy order by (fill before the unit, whole need) yields
    the lexicographically largest sorted vector of fill rates, and any falling price makes it the one optimum.
    """
    keys = [
        ((row.held + unit << 64) // row.whole_need, row.whole_need)
        for row in part.receivers
        for unit in range(row.need)
    ]
    order = {key: place for place, key in enumerate(sorted(set(keys), reverse=True), start=1)}
    return [order[key] for key in keys]


def lottery(seed: str, part: Part) -> list[int]:
    """A number per lane, drawn from the published seed: its request's ticket first, its own within it; low wins."""
    tickets = {row.request: _ticket(f"{seed}|{row.request}") for row in part.receivers}
    return [
        (tickets[lane.request] << LOTTERY_BITS) + _ticket(f"{seed}|{lane.request}|{lane.offer}") for lane in part.lanes
    ]


def _ticket(text: str) -> int:
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big") >> (32 - LOTTERY_BITS)
