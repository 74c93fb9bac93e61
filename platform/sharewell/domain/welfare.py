"""What one more unit is worth to a request, in whole numbers, so that every machine computes the same worth.

Alpha-fair welfare (Atkinson 1970; Mo & Walrand, IEEE/ACM ToN 8(5) 2000): a request of whole need D that holds r units
is worth D * F(r/D), with F(x) = (x+e)^(1-a)/(1-a), or ln(x+e) where a = 1. The softening e = 1/10 keeps the first
unit's worth finite. Units come in buckets; a bucket's price is the mean worth of its units, so small and large
requests with the same fill rates are worth the same per unit.
"""

from __future__ import annotations

from decimal import Decimal, localcontext
from functools import lru_cache
from itertools import pairwise

from sharewell.domain.instance import MAX_WEIGHT, Fairness, Receiver, Rule

SOFTENING = Decimal("0.1")
LEAST_LEAN, MOST_LEAN = -500, 1000  #: per mille; credit at most doubles the worth of a unit, and at least halves it
TOP = 1_000_000  #: price of the first unit of a request without anything, at the highest urgency and equity weight


def steps(fairness: Fairness, receiver: Receiver) -> tuple[tuple[int, int], ...]:
    """The needed units of `receiver` as `(width, price)`, first unit first; prices never rise."""
    return _priced(
        fairness.urgency_weights[receiver.urgency - 1] * receiver.weight,
        fairness.urgency_weights[-1] * MAX_WEIGHT,
        lean(fairness, receiver),
        (_alpha(fairness), receiver.whole_need, receiver.held, _buckets(fairness, receiver)),
    )


@lru_cache(maxsize=65_536)
def _priced(weight: int, most: int, leaning: int, need: tuple[int, int, int, int]) -> tuple[tuple[int, int], ...]:
    """Steps of a need, as `_shares` takes it, whose units weigh `weight` of `most` and lean by `leaning` per mille."""
    # The best case of this instance's rule is worth TOP (twice that with credit); the weights scale down from there.
    scale = Decimal(weight) / most
    scale *= Decimal(1000 + leaning) / 1000
    return tuple((width, max(1, int(TOP * scale * share))) for width, share in _shares(*need))


def lean(fairness: Fairness, receiver: Receiver) -> int:
    """Per mille by which credit for earlier runs lifts (below 0: lowers) the worth of a unit to `receiver`.

    `fairness.credit` times its credit over its whole need, within LEAST_LEAN..MOST_LEAN.
    """
    if not fairness.credit or not receiver.credit or not receiver.whole_need:
        return 0
    return max(LEAST_LEAN, min(MOST_LEAN, fairness.credit * receiver.credit // (1000 * receiver.whole_need)))


def price(fairness: Fairness, receiver: Receiver, unit: int) -> int:
    """Worth of the `unit`-th unit assigned to `receiver` in this run, counted from 1."""
    for width, worth in steps(fairness, receiver):
        unit -= width
        if unit <= 0:
            return worth
    return 0


def welfare(fairness: Fairness, receiver: Receiver, units: int) -> int:
    """Worth of `units` assigned to `receiver`."""
    total = 0
    for width, worth in steps(fairness, receiver):
        taken = min(width, units)
        total, units = total + taken * worth, units - taken
    return total


def _alpha(fairness: Fairness) -> int:
    return 0 if fairness.rule is Rule.UTILITARIAN else fairness.alpha


def _buckets(fairness: Fairness, receiver: Receiver) -> int:
    # Leximin is exact to the unit, so its later stages speak of single units too.
    return max(1, receiver.whole_need) if fairness.rule is Rule.LEXIMIN else fairness.buckets


@lru_cache(maxsize=65_536)
def _shares(alpha: int, whole: int, held: int, buckets: int) -> tuple[tuple[int, Decimal], ...]:
    """`(width, mean worth)` of each bucket above `held`, as a share of the worth of a first infinitesimal unit."""
    marks = sorted({max(held, whole * step // buckets) for step in range(buckets + 1)} | {held, whole})
    if whole <= buckets:
        marks = list(range(held, whole + 1))
    with localcontext() as context:
        context.prec = 40
        top = SOFTENING ** (Decimal(alpha) / 1000)
        rows: list[tuple[int, Decimal]] = []
        for low, high in pairwise(marks):
            rise = _worth(alpha, high, whole) - _worth(alpha, low, whole)
            share = rise * whole / (high - low) * top
            rows.append((high - low, share.quantize(Decimal("1e-12"))))
    return tuple(rows)


@lru_cache(maxsize=65_536)
def _worth(alpha: int, units: int, whole: int) -> Decimal:
    fill = Decimal(units) / whole + SOFTENING
    if alpha == 1000:
        return fill.ln()
    power = 1 - Decimal(alpha) / 1000
    return fill**power / power
