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
TICKETS = 1024  #: in the lottery: for requests, and again for the lanes of one
PRIME = 65_537


@dataclass(frozen=True, slots=True)
class Network:
    """The program of one part; lists are indexed by column or by row."""

    part: Part
    upper: list[int]
    row_upper: list[int]
    lane_receiver: list[int]  #: row of each lane's receiver; the lane stands in all its rows with sign +1
    lane_offer: list[int]  #: row of its offer
    lane_stock: list[int]  #: row of the stock that the offer shares with others; -1 where it shares none
    step_receiver: list[int]  #: row of the receiver of each step column, which stands in it with sign -1
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
        for column, receiver in enumerate(self.step_receiver, start=self.lane_count):
            bounds[column] = min(left[receiver], self.upper[column])
            left[receiver] -= bounds[column]
        return bounds

    def rates(self, costs: Sequence[int], rows: Sequence[int]) -> list[int]:
        """What one more unit in each column is worth at cost `costs` when units are priced at `rows`."""
        price = [*rows, 0]  # the row -1 of a lane without shared stock is this last one
        lanes = zip(costs, self.lane_receiver, self.lane_offer, self.lane_stock, strict=False)
        steps = zip(costs[self.lane_count :], self.step_receiver, strict=True)
        return [cost - price[i] - price[o] - price[j] for cost, i, o, j in lanes] + [
            cost + price[i] for cost, i in steps
        ]

    def columns(self, moved: Sequence[int]) -> list[int]:
        """Values of all columns when `moved[e]` units travel along lane e, earlier steps filled first."""
        left = [0] * len(self.part.receivers)
        for receiver, units in zip(self.lane_receiver, moved, strict=True):
            left[receiver] += units
        values = list(moved) + [0] * len(self.step_receiver)
        for column, receiver in enumerate(self.step_receiver, start=self.lane_count):
            values[column] = min(left[receiver], self.upper[column])
            left[receiver] -= values[column]
        return values


def network(instance: Instance, part: Part) -> Network:
    """Write `part` of `instance` as a program."""
    receiver_at = {row.request: index for index, row in enumerate(part.receivers)}
    offer_at = {row.offer: index for index, row in enumerate(part.owners, start=len(part.receivers))}
    shared = _shared_stock(instance, part)
    institution_at = {name: index for index, name in enumerate(shared, start=len(receiver_at) + len(offer_at))}
    stock_of = {row.offer: institution_at.get(row.institution, -1) for row in part.owners}
    unit_steps = instance.fairness.rule is Rule.LEXIMIN
    step_rows = list(_steps(instance, part, single=unit_steps))
    return Network(
        part=part,
        upper=[instance.room(lane) for lane in part.lanes] + [width for _, width, _ in step_rows],
        row_upper=[0] * len(receiver_at)
        + [instance.spare[row.offer] for row in part.owners]
        + [instance.sparable[name] for name in shared],
        lane_receiver=[receiver_at[lane.request] for lane in part.lanes],
        lane_offer=[offer_at[lane.offer] for lane in part.lanes],
        lane_stock=[stock_of[lane.offer] for lane in part.lanes],
        step_receiver=[receiver for receiver, _, _ in step_rows],
        costs=_stage_costs(instance, part, step_rows),
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
    requests = {row.request: _draw(f"{seed}|request|{row.request}") for row in part.receivers}
    offers = {row.offer: _draw(f"{seed}|offer|{row.offer}") for row in part.owners}
    tickets = {name: (number % TICKETS) * TICKETS for name, number in requests.items()}
    return [
        # Two numbers other than 0, multiplied modulo a prime, scatter like a number drawn for the pair.
        tickets[lane.request] + offers[lane.offer] * requests[lane.request] % PRIME % TICKETS
        for lane in part.lanes
    ]


def _draw(text: str) -> int:
    """A number from 1 to PRIME - 1."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") % (PRIME - 1) + 1
