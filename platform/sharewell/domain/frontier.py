"""What each rule would have cost and given on one instance: the curve on which the people bound by a rule choose it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

from sharewell.domain.canonical import Json
from sharewell.domain.fairness import fill_rates, gini, per_mille
from sharewell.domain.instance import Fairness, Instance, Rule
from sharewell.domain.plan import Plan

THETAS = (0, 250, 500, 750, 900, 1000)
ALPHAS = (500, 1000, 2000, 4000)


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One rule, and what it reaches. `need_met` weighs units by urgency alone, so that all points compare."""

    fairness: Fairness
    chosen: bool  #: whether it is the rule that stands in the instance
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
            "chosen": self.chosen, "smallest_fill": self.smallest_fill, "need_met": self.need_met,
            "units": self.units, "unit_kilometres": self.unit_kilometres, "gini": self.gini,
            "price": self.price(points),
        }  # fmt: skip


def choices(fairness: Fairness) -> Iterator[Fairness]:
    """The rules to compare, the given one among them, from urgency alone to equality alone."""
    others = [replace(fairness, rule=Rule.UTILITARIAN)]
    others += [replace(fairness, rule=Rule.WELFARE, alpha=alpha) for alpha in ALPHAS]
    others += [replace(fairness, rule=Rule.FLOOR, theta=theta) for theta in THETAS[1:]]
    others += [replace(fairness, rule=Rule.LEXIMIN)]
    yield from others
    if fairness not in others:
        yield fairness


def point(instance: Instance, plan: Plan, *, chosen: bool) -> Point:
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
        chosen=chosen,
        smallest_fill=per_mille(min(fills, default=Fraction(1))),
        need_met=sum(weights[instance.receiver[name].urgency - 1] * n for name, n in plan.received.items()),
        units=sum(plan.received.values()),
        unit_kilometres=metres // 1000,
        gini=per_mille(gini(fill_rates(instance, plan))),
    )


def picture(points: Sequence[Point]) -> str:
    """The curve as an SVG: smallest fill to the right, urgency-weighted need met upward; the chosen rule filled."""
    width, height, margin = 640, 420, 64
    low, high = min(p.need_met for p in points), max(p.need_met for p in points)
    span = max(1, high - low)

    def place(p: Point) -> tuple[int, int]:
        across = margin + p.smallest_fill * (width - 2 * margin) // 1000
        return across, height - margin - (p.need_met - low) * (height - 2 * margin) // span

    together: dict[tuple[int, int], list[Point]] = {}
    for p in points:
        together.setdefault(place(p), []).append(p)
    marks = []
    for (x, y), same in together.items():
        chosen = any(p.chosen for p in same)
        names = ", ".join(_name(p.fairness) for p in same)
        p = same[0]
        words = (
            f"{names}: smallest fill {p.smallest_fill / 10:.1f} %, need met {p.need_met}, {p.unit_kilometres} unit-km"
        )
        marks.append(
            f'<circle cx="{x}" cy="{y}" r="{7 if chosen else 4}" class="{"chosen" if chosen else "other"}">'
            f"<title>{words}</title></circle>"
            f'<text x="{x + 9}" y="{y - 7}">{names}</text>'
        )
    base = height - margin
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img" font-family="sans-serif" '
        'font-size="11"><title>What each rule reaches on this instance</title>'
        "<style>.other{fill:#fff;stroke:#235}.chosen{fill:#c30;stroke:#c30}line{stroke:#889}text{fill:#223}</style>"
        f'<line x1="{margin}" y1="{base}" x2="{width - margin}" y2="{base}"/>'
        f'<line x1="{margin}" y1="{margin}" x2="{margin}" y2="{base}"/>'
        f'<text x="{margin}" y="{base + 16}">0 %</text><text x="{width - margin - 16}" y="{base + 16}">100 %</text>'
        f'<text x="{width // 2 - 60}" y="{base + 34}">smallest fill rate</text>'
        f'<text x="8" y="{margin - 10}">urgency-weighted need met</text>'
        f'<text x="8" y="{margin + 4}">{high}</text><text x="8" y="{base}">{low}</text>' + "".join(marks) + "</svg>\n"
    )


def _name(fairness: Fairness) -> str:
    if fairness.rule is Rule.FLOOR:
        return f"floor {fairness.theta / 10:g} %"
    if fairness.rule is Rule.WELFARE:
        return f"alpha {fairness.alpha / 1000:g}"
    return fairness.rule.value
