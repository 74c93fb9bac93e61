"""One connected part of an instance as a linear program in whole numbers.

The worker that searches and the checker that does not trust it build the same program from the same instance here:
maximise cost * x, with lower <= x <= upper and every row summing to 0..row_upper, which is 0 where things balance. The
matrix is the incidence matrix of a network, so totally unimodular: with whole bounds every vertex is whole.

Columns: one per lane (units moved), then per receiver one per step of worth (units received in it); then one per lane
of the plan in force (units it keeps moving: its lane is split in two), and, per receiver that qualifies for a reserve,
one per category (units charged to it) and one for what is charged to none.
Rows: one per receiver (moved in = received), one per offer, one per institution whose offers share too small a stock;
then one per receiver that qualifies for a reserve (received = charged or not), one per category (charged <= quota).
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from operator import mul
from typing import TYPE_CHECKING

from sharewell.domain.errors import Invalid
from sharewell.domain.instance import Instance, Part, Receiver, Rule
from sharewell.domain.welfare import lean, steps

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from sharewell.domain.reserves import Account

MOST_UNITS = 200_000  #: units of one part that exact leximin can rank; more are counted in larger units
MOST_STAGES = 6  #: that one part is decided in, the floor aside
TICKETS = 1024  #: in the lottery: for requests, and again for the lanes of one
PRIME = 65_537


@dataclass(frozen=True, slots=True)
class Network:
    """The program of one part; lists are indexed by column or by row, those named after lanes by lane."""

    part: Part
    upper: list[int]
    row_upper: list[int]
    supply_end: int  #: first row after those of offers and institutions
    lane_receiver: list[int]  #: row of each lane's receiver; the lane stands in all its rows with sign +1
    lane_offer: list[int]  #: row of its offer
    lane_stock: list[int]  #: row of the stock that the offer shares with others; -1 where it shares none
    lane_room: list[int]  #: units it can carry, in both of its columns together
    step_receiver: list[int]  #: row of the receiver of each step column, which stands in it with sign -1
    step_reserve: list[int]  #: row that the step stands in with sign +1, of what can be charged; -1 for none
    kept_lane: list[int]  #: lane of each column of the plan in force
    charge_reserve: list[int]  #: row of what can be charged, in which the charge stands with sign -1
    charge_category: list[int]  #: row of the category it is charged to, with sign +1; -1 where charged to none
    in_force: int  #: units that the plan in force moves along lanes of the part
    account: Account  #: of the reserves
    costs: Mapping[str, list[int]]  #: by stage, in the order in which stages are decided

    @property
    def lane_count(self) -> int:
        """Columns before the first step column."""
        return len(self.part.lanes)

    @property
    def kept_start(self) -> int:
        """Columns before the first of the plan in force."""
        return self.lane_count + len(self.step_receiver)

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
        price = [*rows, 0]  # the row -1 of what stands in no such row is this last one
        along = [
            price[i] + price[o] + price[j]
            for i, o, j in zip(self.lane_receiver, self.lane_offer, self.lane_stock, strict=True)
        ]
        rates = [cost - paid for cost, paid in zip(costs, along, strict=False)]
        stepping = zip(costs[self.lane_count :], self.step_receiver, self.step_reserve, strict=False)
        rates += [cost + price[i] - price[h] for cost, i, h in stepping]
        rates += [cost - along[e] for cost, e in zip(costs[self.kept_start :], self.kept_lane, strict=False)]
        charging = zip(costs[len(rates) :], self.charge_reserve, self.charge_category, strict=True)
        return rates + [cost + price[h] - price[c] for cost, h, c in charging]

    def moved(self, values: Sequence[int]) -> list[int]:
        """Units along each lane, from the values of all columns."""
        units = [int(value) for value in values[: self.lane_count]]
        for lane, kept in zip(self.kept_lane, values[self.kept_start :], strict=False):
            units[lane] += int(kept)
        return units

    def columns(self, moved: Sequence[int]) -> list[int]:
        """Values of the columns when `moved[e]` units travel along lane e: earlier steps filled first, and what the
        plan in force moves kept first. Charges are left at 0: many ways of charging are equally good.
        """
        values = list(moved) + [0] * (len(self.upper) - self.lane_count)
        for column, lane in enumerate(self.kept_lane, start=self.kept_start):
            values[column] = min(values[lane], self.upper[column])
            values[lane] -= values[column]
        left = self._received(moved)
        for column, receiver in enumerate(self.step_receiver, start=self.lane_count):
            values[column] = min(left[receiver], self.upper[column])
            left[receiver] -= values[column]
        return values

    def worth(self, moved: Sequence[int]) -> dict[str, int]:
        """What `moved` is worth in every stage, at the costs of the stage."""
        values = self.columns(moved)
        return {
            stage: self.account.charged(self._received(moved)) if stage == "reserve" else sum(map(mul, costs, values))
            for stage, costs in self.costs.items()
        }

    def stated(self, moved: Sequence[int]) -> dict[str, int]:
        """The same as a plan states it: costs as what is paid, changes against the plan in force in units."""
        worth = self.worth(moved)
        if "stability" in worth:
            worth["stability"] -= self.in_force
        return {stage: abs(value) for stage, value in worth.items()}

    def _received(self, moved: Sequence[int]) -> list[int]:
        units = [0] * len(self.part.receivers)
        for receiver, quantity in zip(self.lane_receiver, moved, strict=True):
            units[receiver] += quantity
        return units


def network(instance: Instance, part: Part) -> Network:
    """Write `part` of `instance` as a program."""
    receiver_at = {row.request: index for index, row in enumerate(part.receivers)}
    offer_at = {row.offer: index for index, row in enumerate(part.owners, start=len(part.receivers))}
    shared = _shared_stock(instance, part)
    institution_at = {name: index for index, name in enumerate(shared, start=len(receiver_at) + len(offer_at))}
    stock_of = {row.offer: institution_at.get(row.institution, -1) for row in part.owners}
    supply_end = len(receiver_at) + len(offer_at) + len(shared)
    step_rows = list(_steps(instance, part, single=instance.fairness.rule is Rule.LEXIMIN))
    room = [instance.room(lane) for lane in part.lanes]
    kept = _kept(instance, part, room)
    account = instance.account(part)
    qualified = [receiver for receiver, mask in enumerate(account.masks) if mask]
    reserve_at = {receiver: row for row, receiver in enumerate(qualified, start=supply_end)}
    charges = list(_charges(account, qualified))
    new = list(room)
    for lane, units in kept:
        new[lane] -= units
    return Network(
        part=part,
        upper=new + [width for _, width, _ in step_rows] + [units for _, units in kept]
        + [part.receivers[i].need if c is None else account.presents[i] for i, c in charges],
        row_upper=[0] * len(receiver_at)
        + [instance.spare[row.offer] for row in part.owners]
        + [instance.sparable[name] for name in shared]
        + [0] * len(qualified)
        + list(account.quotas),
        supply_end=supply_end,
        lane_receiver=[receiver_at[lane.request] for lane in part.lanes],
        lane_offer=[offer_at[lane.offer] for lane in part.lanes],
        lane_stock=[stock_of[lane.offer] for lane in part.lanes],
        lane_room=room,
        step_receiver=[receiver for receiver, _, _ in step_rows],
        step_reserve=[reserve_at.get(receiver, -1) for receiver, _, _ in step_rows],
        kept_lane=[lane for lane, _ in kept],
        charge_reserve=[reserve_at[receiver] for receiver, _ in charges],
        charge_category=[-1 if c is None else supply_end + len(qualified) + c for _, c in charges],
        in_force=sum(instance.kept_lanes.get((lane.offer, lane.request), 0) for lane in part.lanes),
        account=account,
        costs=_stage_costs(instance, part, step_rows, [lane for lane, _ in kept], [c is not None for _, c in charges]),
    )  # fmt: skip


def stage_names(instance: Instance) -> tuple[str, ...]:
    """Stages in the order in which they are decided, after the floor where the rule has one."""
    return (
        ("reserve",) * bool(instance.reserves)
        + ("leximin",) * (instance.fairness.rule is Rule.LEXIMIN)
        + ("welfare", "distance")
        + ("stability",) * bool(instance.in_force)
        + ("lottery",)
    )


def _shared_stock(instance: Instance, part: Part) -> list[str]:
    """Institutions whose offers in this part together exceed what the institution can part with."""
    offered: dict[str, int] = {}
    for row in part.owners:
        offered[row.institution] = offered.get(row.institution, 0) + instance.spare[row.offer]
    return sorted(name for name, units in offered.items() if units > instance.sparable[name])


def _kept(instance: Instance, part: Part, room: Sequence[int]) -> list[tuple[int, int]]:
    """`(lane, units)` of what the plan in force moves and this one can keep moving."""
    if not instance.in_force:
        return []
    moves = instance.kept_lanes
    return [
        (index, min(moves[key], room[index]))
        for index, lane in enumerate(part.lanes)
        if (key := (lane.offer, lane.request)) in moves
    ]


def _charges(account: Account, qualified: Sequence[int]) -> Iterable[tuple[int, int | None]]:
    """`(receiver, category)` of every charge, and `(receiver, None)` of what is charged to no category."""
    for receiver in qualified:
        for category in range(len(account.quotas)):
            if account.masks[receiver] >> category & 1:
                yield receiver, category
        yield receiver, None


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


def _stage_costs(
    instance: Instance, part: Part, step_rows: Sequence[tuple[int, int, int]], kept: Sequence[int],
    charged: Sequence[bool],
) -> dict[str, list[int]]:  # fmt: skip
    no_lanes, no_steps, no_kept = [0] * len(part.lanes), [0] * len(step_rows), [0] * len(kept)
    no_charges = [0] * len(charged)

    def by_lane(costs: list[int]) -> list[int]:
        return costs + no_steps + [costs[lane] for lane in kept] + no_charges

    def by_step(costs: list[int]) -> list[int]:
        return no_lanes + costs + no_kept + no_charges

    costs = {
        "reserve": no_lanes + no_steps + no_kept + [int(counts) for counts in charged],
        "leximin": by_step(_ranks(instance, part)) if instance.fairness.rule is Rule.LEXIMIN else [],
        "welfare": by_step([price for _, _, price in step_rows]),
        "distance": by_lane([-lane.metres for lane in part.lanes]),
        # Units in force minus the sum of |new - in force|: a kept unit counts, a unit moved otherwise costs.
        "stability": [-1] * len(part.lanes) + no_steps + [1] * len(kept) + no_charges,
        "lottery": by_lane([-ticket for ticket in lottery(instance.seed, part)]),
    }
    return {name: costs[name] for name in stage_names(instance)}


def leximin_key(instance: Instance, receiver: Receiver, unit: int) -> tuple[int, int]:
    """How filled `receiver` is before unit number `unit` of this run, from 0, less its credit; lower comes first.

    A rate of whole needs below 2e6, in thousandths, is told apart by 64 bits.
    """
    whole = receiver.whole_need
    filled = 1000 * (receiver.held + unit) - lean(instance.fairness, receiver) * whole
    return (filled << 64) // (1000 * whole), whole


def _ranks(instance: Instance, part: Part) -> list[int]:
    """Price of every needed unit under leximin: the emptier a request before the unit, the higher.

    Receivable vectors form an integral polymatroid, so the greedy order by (fill before the unit, whole need) yields
    the lexicographically largest sorted vector of fill rates, and any falling price makes it the one optimum.
    """
    keys = [leximin_key(instance, row, unit) for row in part.receivers for unit in range(row.need)]
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
