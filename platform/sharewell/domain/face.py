"""The plans of one part that are still best after the stages decided so far, as one plan among them sees them.

A stage is proven where the plan meets the bound of its multipliers y. With rates r = c - A'y, limits l..u of columns
and L..U of rows, the bound of a stage lies above what the plan x is worth by

    sum_j max(r_j (l_j - x_j), r_j (u_j - x_j)) + sum_i max(y_i (L_i - (A x)_i), y_i (U_i - (A x)_i)),

of which no term is below 0. Where all are 0, whatever has a rate or multiplier stands at the limit that it asks for, in
this plan and in all that are as good (complementary slackness). It is settled: no later stage needs to look at it.
"""

from __future__ import annotations

from itertools import compress
from operator import not_, sub
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sharewell.domain.network import Network


class Face:
    """What is open yet. Limits are told from the plan: how far `below` and `above` it they lie.

    Of reserves the plan does not say how units are charged, so charges and categories keep their own limits, and the
    most that can be charged stands for what is.
    """

    def __init__(self, program: Network, floors: Sequence[int], moved: Sequence[int]) -> None:
        """All plans that keep `floors` (units by receiver), seen from that which moves `moved[e]` along lane e."""
        self.program, self.received = program, program.part.received(moved)
        owner, owners = program.by_lane(range(len(program.part.owners))), len(program.part.owners)
        receiver, kept = program.lane_receiver, program.kept_lane
        rows = [
            (receiver, owner),
            (program.step_reserve, [owners + row for row in program.step_receiver]),
            ([receiver[lane] for lane in kept], [owner[lane] for lane in kept]),
        ]
        values, lower, start = program.columns(moved), program.lower(floors), 0
        #: Of lanes, steps, and lanes of the plan in force: of every open column its number, the row it adds to (-1 for
        #: none), what it draws on (the place of an offer or, after those, of a receiver), and its limits.
        self.columns: list[list[Sequence[int]]] = []
        for adds, draws in rows:
            at, start = slice(start, start + len(adds)), start + len(adds)
            below, above = (list(map(sub, limits[at], values[at])) for limits in (lower, program.upper))
            self.columns.append([range(at.start, at.stop), adds, draws, below, above])
        given = program.given(moved)
        self.supply = slice(len(program.part.receivers), program.supply_end)
        self.rows = [-units for units in given], list(map(sub, program.row_upper[self.supply], given))
        self.charges = [0] * len(program.charge_reserve), program.upper[program.charge_start :]
        self.categories = [0] * len(program.account.quotas), list(program.account.quotas)

    @property
    def holds(self) -> bool:
        """Whether the plan keeps the floors and the limits."""
        limits = [self.rows, *(column[-2:] for column in self.columns)]
        return all(max(below, default=0) <= 0 <= min(above, default=0) for below, above in limits)

    def decide(self, stage: str, rows: Sequence[int]) -> int:
        """How far the bound of the multipliers `rows` lies above the plan in `stage`. Where it does not, only the plans
        that meet it as well are left.
        """
        missed = self._settle_columns(stage, rows) + _settle(rows[self.supply], *self.rows)
        return missed + self._settle_charges(stage, rows) if self.program.account.quotas else missed

    def _settle_columns(self, stage: str, rows: Sequence[int]) -> int:
        price = [*rows, 0]  # -1 finds the last one
        drawn = [price[row] + price[stock] for row, stock in enumerate(self.program.stock_row, self.supply.start)]
        drawn += [-units for units in rows[: self.supply.start]]
        missed = 0
        for place, (numbers, adds, draws, below, above) in enumerate(self.columns):
            costs = self.program.costs_at(stage, numbers)
            rates = [cost - price[add] - drawn[draw] for cost, add, draw in zip(costs, adds, draws, strict=True)]
            if not any(rates):  # as of all lanes at first, where one price clears the market
                continue
            # What could fall, or rise, at a rate that asks for it. Nearly all that could rise has a rate of 0 or less.
            falling = zip(compress(rates, below), filter(None, below), strict=True)
            missed += sum(min(rate, 0) * less for rate, less in falling)
            if max(compress(rates, above), default=0) > 0:
                missed += sum(max(rate, 0) * more for rate, more in zip(rates, above, strict=True))
            still_open = list(map(not_, rates))
            self.columns[place] = [list(compress(column, still_open)) for column in self.columns[place]]
        return missed

    def _settle_charges(self, stage: str, rows: Sequence[int]) -> int:
        """The same of charges and categories: what was received can be charged, and the most of it is."""
        program, price = self.program, [*rows, 0]
        costs = program.costs_at(stage, range(program.charge_start, len(program.upper)))
        charging = zip(costs, program.charge_reserve, program.charge_category, strict=True)
        rates = [cost + price[h] - price[c] for cost, h, c in charging]
        missed = _settle(rates, *self.charges)
        missed += _settle(rows[len(rows) - len(self.categories[0]) :], *self.categories)
        missed -= sum(price[h] * self.received[i] for h, i in program.qualified)
        return missed - (program.account.charged(self.received) if stage == "reserve" else 0)


def _settle(rates: Sequence[int], lower: list[int], upper: list[int]) -> int:
    """Put what gains at its upper limit and what loses at its lower one; return what that is worth."""
    worth = 0
    for place, rate in enumerate(rates):
        if rate > 0:
            lower[place] = upper[place]
        elif rate < 0:
            upper[place] = lower[place]
        worth += rate * upper[place]
    return worth
