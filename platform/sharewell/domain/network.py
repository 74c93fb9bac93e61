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

from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate, chain, compress, pairwise, repeat
from operator import mul
from typing import TYPE_CHECKING

from sharewell.domain.errors import Invalid
from sharewell.domain.instance import Instance, Part, Receiver, Rule
from sharewell.domain.lottery import lottery
from sharewell.domain.welfare import lean, steps

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from sharewell.domain.reserves import Account

MOST_UNITS = 200_000  #: units of one part that exact leximin can rank; more are counted in larger units
MOST_STAGES = 6  #: that one part is decided in, the floor aside


@dataclass(frozen=True)
class Network:
    """The program of one part; lists are indexed by column or by row, those named after lanes by lane."""

    part: Part
    seed: str  #: of the lottery
    stages: tuple[str, ...]  #: in the order in which they are decided
    upper: list[int]
    row_upper: list[int]
    supply_end: int  #: first row after those of offers and institutions
    stock_row: list[int]  #: by offer, row of the stock that it shares with others; -1 where it shares none
    step_receiver: list[int]  #: row of the receiver of each step column, which stands in it with sign -1
    step_reserve: list[int]  #: row that the step stands in with sign +1, of what can be charged; -1 for none
    step_price: Mapping[str, list[int]]  #: by stage that prices units received, worth of a unit in each step
    kept_lane: list[int]  #: lane of each column of the plan in force
    charge_reserve: list[int]  #: row of what can be charged, in which the charge stands with sign -1
    charge_category: list[int]  #: row of the category it is charged to, with sign +1; -1 where charged to none
    in_force: int  #: units that the plan in force moves along lanes of the part
    account: Account  #: of the reserves

    @property
    def lane_count(self) -> int:
        """Columns before the first step column."""
        return len(self.part.lanes)

    @property
    def kept_start(self) -> int:
        """Columns before the first of the plan in force."""
        return self.lane_count + len(self.step_receiver)

    @property
    def charge_start(self) -> int:
        """Columns before the first charge."""
        return self.kept_start + len(self.kept_lane)

    @property
    def lane_receiver(self) -> list[int]:
        """Row of each lane's receiver; the lane stands in all its rows with sign +1."""
        return self.part.lane_receiver

    @cached_property
    def lane_offer(self) -> list[int]:
        """Row of each lane's offer."""
        return self.by_lane(range(len(self.part.receivers), len(self.part.receivers) + len(self.part.owners)))

    @cached_property
    def lane_stock(self) -> list[int]:
        """Row of the stock that each lane's offer shares with others; -1 where it shares none."""
        return self.by_lane(self.stock_row)

    def by_lane(self, of_offers: Sequence[int]) -> list[int]:
        """What `of_offers` says of each lane's offer."""
        counts = (end - start for start, end in pairwise(self.part.lane_starts))
        return list(chain.from_iterable(map(repeat, of_offers, counts)))

    @cached_property
    def costs(self) -> Mapping[str, list[int]]:
        """Worth of a unit in each column, by stage, in the order in which stages are decided."""
        return {stage: self.costs_at(stage, range(len(self.upper))) for stage in self.stages}

    def costs_at(self, stage: str, columns: Sequence[int]) -> list[int]:
        """Worth of a unit in each of `columns` in `stage`; of the lottery, no more than these lanes are drawn."""
        if stage in self._costs:
            costs = self._costs[stage]
            if isinstance(columns, range):
                return costs[columns.start : columns.stop : columns.step]
            return list(map(costs.__getitem__, columns))
        lane_of = dict(zip(range(self.kept_start, self.charge_start), self.kept_lane, strict=True))
        count = self.lane_count
        lanes = [column if column < count else lane_of.get(column, -1) for column in columns]
        tickets = iter(lottery(self.seed, self.part, [lane for lane in lanes if lane >= 0]))
        return [-next(tickets) if lane >= 0 else 0 for lane in lanes]

    @cached_property
    def _costs(self) -> Mapping[str, list[int]]:
        """The same of all columns, for all stages but the lottery."""
        no_lanes, no_steps = [0] * self.lane_count, [0] * len(self.step_receiver)
        no_kept, no_charges = [0] * len(self.kept_lane), [0] * len(self.charge_reserve)
        metres = [-lane.metres for lane in self.part.lanes]
        return {
            "reserve": no_lanes + no_steps + no_kept + [int(row >= 0) for row in self.charge_category],
            "distance": metres + no_steps + [metres[lane] for lane in self.kept_lane] + no_charges,
            # Units in force minus the sum of |new - in force|: a kept unit counts, a unit moved otherwise costs.
            "stability": [-1] * self.lane_count + no_steps + [1] * len(self.kept_lane) + no_charges,
            **{stage: no_lanes + price + no_kept + no_charges for stage, price in self.step_price.items()},
        }

    @property
    def qualified(self) -> list[tuple[int, int]]:
        """Of every receiver that qualifies for a reserve, the row of what can be charged and its place."""
        places = [place for place, mask in enumerate(self.account.masks) if mask]
        return list(enumerate(places, start=self.supply_end))

    def lower(self, floors: Sequence[int]) -> list[int]:
        """Lower bounds of the columns that make receiver i receive at least `floors[i]` units.

        Earlier steps are worth more, so filling them first loses nothing.
        """
        bounds = [0] * len(self.upper)
        self._fill_steps(bounds, floors)
        return bounds

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
        self._fill_steps(values, self.part.received(moved))
        return values

    def worth(self, moved: Sequence[int]) -> dict[str, int]:
        """What `moved` is worth in every stage, at the costs of the stage."""
        values = self.columns(moved)
        used = list(compress(range(len(values)), values))
        units = list(filter(None, values))
        return {
            stage: self.account.charged(self.part.received(moved)) if stage == "reserve"
            else sum(map(mul, self.costs_at(stage, used), units))
            for stage in self.stages
        }  # fmt: skip

    def stated(self, moved: Sequence[int]) -> dict[str, int]:
        """The same as a plan states it: costs as what is paid, changes against the plan in force in units."""
        worth = self.worth(moved)
        if "stability" in worth:
            worth["stability"] -= self.in_force
        return {stage: abs(value) for stage, value in worth.items()}

    def given(self, moved: Sequence[int]) -> list[int]:
        """Units that leave each offer, then each stock that offers share, in the order of their rows."""
        sums = list(accumulate(moved, initial=0))
        offers = [sums[end] - sums[start] for start, end in pairwise(self.part.lane_starts)]
        first = len(self.part.receivers) + len(offers)
        stocks = [0] * (self.supply_end - first)
        for row, units in zip(self.stock_row, offers, strict=True):
            if row >= 0:
                stocks[row - first] += units
        return offers + stocks

    def _fill_steps(self, values: list[int], units: Sequence[int]) -> None:
        """Write into the step columns of `values` what receivers hold of `units`, earlier steps first."""
        left = list(units)
        for column, receiver in enumerate(self.step_receiver, start=self.lane_count):
            if left[receiver]:
                values[column] = min(left[receiver], self.upper[column])
                left[receiver] -= values[column]


def network(instance: Instance, part: Part) -> Network:
    """Write `part` of `instance` as a program."""
    receivers, owners = len(part.receivers), len(part.owners)
    shared = _shared_stock(instance, part)
    institution_at = {name: index for index, name in enumerate(shared, start=receivers + owners)}
    supply_end = receivers + owners + len(shared)
    worths = _steps(instance, part)
    counts = list(map(len, worths))
    step_receiver = list(chain.from_iterable(map(repeat, range(receivers), counts)))
    widths, prices = zip(*chain.from_iterable(worths), strict=True)
    kept = _kept(instance, part)
    account = instance.account(part)
    qualified = [receiver for receiver, mask in enumerate(account.masks) if mask]
    reserve_at = {receiver: row for row, receiver in enumerate(qualified, start=supply_end)}
    charges = list(_charges(account, qualified))
    new = list(part.room)
    for lane, units in kept:
        new[lane] -= units
    ranked = {"leximin": _ranks(instance, part)} if instance.fairness.rule is Rule.LEXIMIN else {}
    return Network(
        part=part,
        seed=instance.seed,
        stages=stage_names(instance),
        upper=[*new, *widths, *(units for _, units in kept)]
        + [part.receivers[i].need if c is None else account.presents[i] for i, c in charges],
        row_upper=[0] * receivers
        + [instance.spare[row.offer] for row in part.owners]
        + [instance.sparable[name] for name in shared]
        + [0] * len(qualified)
        + list(account.quotas),
        supply_end=supply_end,
        stock_row=[institution_at.get(row.institution, -1) for row in part.owners],
        step_receiver=step_receiver,
        step_reserve=[reserve_at.get(receiver, -1) for receiver in step_receiver],
        step_price={**ranked, "welfare": list(prices)},
        kept_lane=[lane for lane, _ in kept],
        charge_reserve=[reserve_at[receiver] for receiver, _ in charges],
        charge_category=[-1 if c is None else supply_end + len(qualified) + c for _, c in charges],
        in_force=sum(instance.kept_lanes[part.lanes[lane].offer, part.lanes[lane].request] for lane, _ in kept),
        account=account,
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


def _kept(instance: Instance, part: Part) -> list[tuple[int, int]]:
    """`(lane, units)` of what the plan in force moves and this one can keep moving."""
    if not instance.in_force:
        return []
    moves = instance.kept_lanes
    return [
        (index, min(moves[key], part.room[index]))
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


def _steps(instance: Instance, part: Part) -> list[Sequence[tuple[int, int]]]:
    """`(width, price)` of the step columns of each receiver."""
    fairness = instance.fairness
    if fairness.rule is not Rule.LEXIMIN:
        return [steps(fairness, receiver) for receiver in part.receivers]
    if sum(row.need for row in part.receivers) > MOST_UNITS:
        raise Invalid(
            f"leximin ranks single units, at most {MOST_UNITS} in one connected part; choose the floor rule, or count "
            "in larger units.",
            field="fairness.rule",
        )
    return [
        [(1, price) for width, price in steps(fairness, receiver) for _ in range(width)] for receiver in part.receivers
    ]


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
