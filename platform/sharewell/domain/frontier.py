"""What each rule would have cost and given on one instance: the curve on which the people bound by a rule choose it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from fractions import Fraction

from sharewell.domain.canonical import Json
from sharewell.domain.fairness import fill_rates, gini, per_mille
from sharewell.domain.instance import Fairness, Instance, Rule
from sharewell.domain.plan import Plan, Status

THETAS = (250, 500, 750, 900, 1000)
ALPHAS = (500, 1000, 2000, 4000)
RESERVES = (0, 500, 1500, 2000)  #: per mille of the shares that are kept for the categories


class Family(StrEnum):
    """Along which knob a point lies."""

    ALPHA = "alpha"  #: need alone, from units (0) to the least filled first
    THETA = "theta"  #: how much of the largest floor is guaranteed
    LEXIMIN = "leximin"
    RESERVE = "reserve"  #: the instance's own rule with other reserve shares


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One rule, and what it reaches. `need_met` weighs units by urgency alone, so that all points compare."""

    fairness: Fairness
    family: Family
    chosen: bool  #: whether it is the rule that stands in the instance
    proven: bool  #: whether its plan is proven best by the rule; if not, time ran out
    reserve_share: int  #: per mille of the supply kept for reserve categories, together
    smallest_fill: int  #: per mille, of requests that any unit can reach
    need_met: int  #: urgency-weighted units
    units: int
    unit_kilometres: int
    gini: int  #: per mille

    def price(self, points: Sequence[Point]) -> int:
        """Per mille of the largest urgency-weighted need met by any of `points` that this one gives up."""
        best = max(point.need_met for point in points)
        return per_mille(Fraction(best - self.need_met, best)) if best else 0

    def to_json(self, points: Sequence[Point]) -> dict[str, Json]:
        """Members as they are shown, with the price among `points`."""
        return {
            "rule": self.fairness.rule.value, "theta": self.fairness.theta, "alpha": self.fairness.alpha,
            "family": self.family.value, "chosen": self.chosen, "proven": self.proven,
            "reserve_share": self.reserve_share, "smallest_fill": self.smallest_fill, "need_met": self.need_met,
            "units": self.units, "unit_kilometres": self.unit_kilometres, "gini": self.gini,
            "price": self.price(points),
        }  # fmt: skip


def variants(instance: Instance) -> Iterator[tuple[Family, Instance]]:
    """The instance as it is, first, and under the rules to compare it with, each once."""
    own = instance.fairness
    yield family(own), instance
    others: list[Fairness] = [replace(own, rule=Rule.UTILITARIAN)]
    others += [replace(own, rule=Rule.WELFARE, alpha=alpha) for alpha in ALPHAS]
    others += [replace(own, rule=Rule.FLOOR, theta=theta) for theta in THETAS]
    others += [replace(own, rule=Rule.LEXIMIN)]
    yield from ((family(other), replace(instance, fairness=other)) for other in others if other != own)
    for scale in RESERVES:
        reserves = tuple(replace(row, share=row.share * scale // 1000) for row in instance.reserves)
        if reserves and sum(row.share for row in reserves) <= 1000:
            yield Family.RESERVE, replace(instance, reserves=reserves)


def family(fairness: Fairness) -> Family:
    """The knob that a rule turns."""
    match fairness.rule:
        case Rule.FLOOR:
            return Family.THETA
        case Rule.LEXIMIN:
            return Family.LEXIMIN
        case Rule.WELFARE | Rule.UTILITARIAN:
            return Family.ALPHA


def point(instance: Instance, plan: Plan, *, along: Family, chosen: bool) -> Point:
    """Where `plan`, made for `instance` under its rule, lies."""
    weights = instance.fairness.urgency_weights
    reachable = {row.request for part in instance.parts for row in part.receivers}
    fills = [
        Fraction(row.held + plan.received.get(row.request, 0), row.whole_need)
        for row in instance.receivers
        if row.request in reachable
    ]
    metres = sum(row.quantity * instance.lane[row.offer, row.request].metres for row in plan.assignments)
    return Point(
        fairness=instance.fairness,
        family=along,
        chosen=chosen,
        proven=plan.solver.status is Status.OPTIMAL,
        reserve_share=sum(row.share for row in instance.reserves),
        smallest_fill=per_mille(min(fills, default=Fraction(1))),
        need_met=sum(weights[instance.receiver[name].urgency - 1] * n for name, n in plan.received.items()),
        units=sum(plan.received.values()),
        unit_kilometres=metres // 1000,
        gini=per_mille(gini(fill_rates(instance, plan))),
    )
