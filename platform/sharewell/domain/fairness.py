"""How fair an outcome is: fill rates and what summarises them, and a receipt per institution that nobody is worse off.

Measures are exact fractions; documents carry them per mille. They are reported, not optimised: throwing units away
can lower the Gini coefficient, so a small one is no aim in itself.

Sources: Gini, "Variabilita e mutabilita" (1912), in the form of Sen, On Economic Inequality (1973); Jain, Chiu & Hawe,
DEC-TR-301 (1984).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from statistics import median
from typing import TYPE_CHECKING

from sharewell.domain.credit import before, carried
from sharewell.domain.moves import total

if TYPE_CHECKING:
    from sharewell.domain.canonical import Json
    from sharewell.domain.instance import Instance
    from sharewell.domain.plan import Plan


def fill_rates(instance: Instance, plan: Plan | None = None) -> list[Fraction]:
    """Share of its whole need that each request has after `plan`, or before any; requests without need are left out."""
    received = {} if plan is None else plan.received
    return [
        Fraction(row.held + received.get(row.request, 0), row.whole_need)
        for row in instance.receivers
        if row.whole_need > 0
    ]


def gini(rates: Sequence[Fraction]) -> Fraction:
    """Mean difference of two rates over twice the mean: 0 where all are equal; 0 for no rates or all zero.

    G = sum_i (2 i - n - 1) x_i / (n sum x), with x sorted and i from 1: the double sum over all pairs in n log n.
    """
    ordered, whole = sorted(rates), sum(rates, Fraction(0))
    if not whole:
        return Fraction(0)
    count = len(ordered)
    weighted = sum(((2 * place - count - 1) * x for place, x in enumerate(ordered, start=1)), Fraction(0))
    return weighted / (count * whole)


def jain(rates: Sequence[Fraction]) -> Fraction:
    """Square of the sum over n times the sum of squares: 1 where all are equal, 1/n where one has everything."""
    squares = sum((x * x for x in rates), Fraction(0))
    if not squares:
        return Fraction(1)
    return sum(rates, Fraction(0)) ** 2 / (len(rates) * squares)


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """What one run means to one institution, against what it would have had alone."""

    institution: str
    given: int
    received: int
    stock: int  #: units on hand before
    kept: int  #: units it must keep: the larger of its own need and its stated minimum
    short_alone: int  #: units it lacks without sharing
    short_shared: int  #: units it lacks with the plan
    credit_before: int = 0  #: thousandths of a unit it came off worse (below 0: better) than others in earlier runs
    credit_after: int = 0  #: the same, this run included

    @property
    def worse_off(self) -> bool:
        """Whether it keeps less than it must, gives while short, or lacks more than alone; never so in a valid plan."""
        below = self.given > 0 and self.stock - self.given < self.kept
        return below or (self.given > 0 and self.short_alone > 0) or self.short_shared > self.short_alone

    @property
    def sentence(self) -> str:
        """The receipt in words, for the institution itself."""
        if self.given:
            return (
                f"You gave {self.given} of {self.stock} and keep {self.stock - self.given}, at least the {self.kept} "
                "you need yourself or said you keep."
            )
        if self.short_alone:
            return (
                f"You lack {self.short_alone} without sharing and {self.short_shared} with it: {self.received} "
                f"come to you.{self._credit}"
            )
        return "Nothing was asked of you, and nothing came to you."

    @property
    def _credit(self) -> str:
        """What earlier runs count for, in words; empty where nothing is remembered."""
        if not self.credit_before and not self.credit_after:
            return ""
        was, now = _thousandths(self.credit_before), _thousandths(self.credit_after)
        return f" Your credit for earlier runs was {was} units and is now {now}."

    def to_json(self) -> dict[str, Json]:
        """Members as they are stored and shown."""
        return {
            "institution": self.institution, "given": self.given, "received": self.received, "stock": self.stock,
            "kept": self.kept, "short_alone": self.short_alone, "short_shared": self.short_shared,
            "worse_off": self.worse_off, "credit_before": self.credit_before, "credit_after": self.credit_after,
            "sentence": self.sentence,
        }  # fmt: skip


def receipts(instance: Instance, plan: Plan) -> tuple[Receipt, ...]:
    """One receipt for every institution of the instance, by identifier."""
    given = total((instance.owner[offer].institution, units) for offer, units in plan.given.items())
    received = total((instance.receiver[request].institution, units) for request, units in plan.received.items())
    need = total((row.institution, row.need) for row in instance.receivers)
    stock = {row.institution: row.stock for row in instance.owners}
    credit_before, credit_after = before(instance), carried(instance, plan)
    return tuple(
        Receipt(
            institution=name, given=given.get(name, 0), received=received.get(name, 0), stock=stock.get(name, 0),
            kept=instance.kept.get(name, 0), short_alone=need.get(name, 0),
            short_shared=need.get(name, 0) - received.get(name, 0),
            credit_before=credit_before.get(name, 0), credit_after=credit_after.get(name, 0),
        )
        for name in sorted({*need, *stock})
    )  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Ceiling:
    """How much of the shortage sharing could fix at best."""

    needed: int
    sparable: int  #: units that all owners together can part with
    reachable: int  #: units that can reach a request that needs them, over the lanes of the instance

    @property
    def beyond_all(self) -> int:
        """Units that would be lacking even if distance were nothing: the system as a whole is short of them."""
        return max(0, self.needed - self.sparable)

    @property
    def beyond_reach(self) -> int:
        """Units that no plan over these lanes can bring, those beyond all included."""
        return self.needed - self.reachable

    @property
    def share(self) -> int:
        """Per mille of the need that no plan can bring."""
        return self.beyond_reach * 1000 // max(1, self.needed)

    @property
    def large(self) -> bool:
        """Whether this is to be said before anything else: sharing can fix less than half."""
        return 2 * self.beyond_reach > self.needed

    @property
    def sentence(self) -> str:
        """The ceiling in words, for whoever could order more instead."""
        if not self.beyond_reach:
            return f"Sharing can meet all of the {self.needed} units needed."
        far = self.beyond_reach - self.beyond_all
        why = [f"all owners together are short of {self.beyond_all}"] if self.beyond_all else []
        why += [f"{far} lie out of reach of any unit that could be spared"] if far else []
        return (
            f"Of {self.needed} units needed, {self.beyond_reach} could not be met by any sharing: "
            f"{', and '.join(why)}."
        )

    @classmethod
    def of_measures(cls, measured: Mapping[str, int]) -> Ceiling:
        """From what `measures` stored; what could be spared counts only as far as it is needed."""
        needed = measured["shortage_without"]
        return cls(
            needed=needed, sparable=needed - measured["beyond_all_sharing"],
            reachable=needed - measured["beyond_reach"],
        )  # fmt: skip


def ceiling(instance: Instance, plan: Plan) -> Ceiling:
    """The ceiling of `instance`. A valid plan leaves no idle unit that could still arrive, so it serves the maximum."""
    return Ceiling(
        needed=sum(row.need for row in instance.receivers),
        sparable=sum(instance.sparable.values()),
        reachable=sum(plan.received.values()),
    )


def measures(instance: Instance, plan: Plan) -> dict[str, Json]:
    """What is stored and shown of one run; shares per mille, rounded down."""
    rates, limit = fill_rates(instance, plan), ceiling(instance, plan)
    moved = limit.reachable
    metres = sum(row.quantity * instance.lane[row.offer, row.request].metres for row in plan.assignments)
    return {
        "shortage_without": limit.needed,
        "shortage_with": limit.needed - moved,
        "units_moved": moved,
        "lanes_used": len(plan.assignments),
        "mean_metres": metres // moved if moved else 0,
        "smallest_fill": per_mille(min(rates, default=Fraction(1))),
        "median_fill": per_mille(median(rates) if rates else Fraction(1)),
        "gini": per_mille(gini(rates)),
        "jain": per_mille(jain(rates)),
        "donors_worse_off": sum(1 for receipt in receipts(instance, plan) if receipt.worse_off),
        "beyond_all_sharing": limit.beyond_all,
        "beyond_reach": limit.beyond_reach,
    }


def _thousandths(number: int) -> str:
    """A number of thousandths as a decimal, such as -1.250."""
    return f"{'-' if number < 0 else ''}{abs(number) // 1000}.{abs(number) % 1000:03}"


def per_mille(share: Fraction) -> int:
    """Thousandths, rounded down."""
    return share.numerator * 1000 // share.denominator
