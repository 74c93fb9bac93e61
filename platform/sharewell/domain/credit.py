"""Credit for those short-changed before: how much worse or better an institution came off than those beside it.

After a run, c' = rho c + (mean fill - fill) * need, in thousandths of a unit, per request and summed by institution:
rho is the rule's memory, the mean fill that of the request's connected part weighted by need, so that within a part
what some gain in credit others lose. Whoever no unit could reach was not passed over for anybody: its credit stays.
"""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING

from sharewell.domain.instance import MAX_CREDIT
from sharewell.domain.moves import total

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from sharewell.domain.instance import Instance, Part
    from sharewell.domain.plan import Plan


def before(instance: Instance) -> dict[str, int]:
    """Credit of every receiving institution as the run found it, in thousandths of a unit."""
    return total((row.institution, row.credit) for row in instance.receivers)


def carried(instance: Instance, plan: Plan) -> dict[str, int]:
    """Credit of every receiving institution after the run, rounded toward 0; as before where nothing is remembered."""
    if not instance.fairness.memory:
        return before(instance)
    reached = {row.request for part in instance.parts for row in part.receivers}
    shares = [(row.institution, Fraction(row.credit)) for row in instance.receivers if row.request not in reached]
    for part in instance.parts:
        shares += _after(instance, part, plan.received)
    sums: dict[str, Fraction] = {}
    for institution, share in shares:
        sums[institution] = sums.get(institution, Fraction(0)) + share
    return {name: max(-MAX_CREDIT, min(MAX_CREDIT, int(share))) for name, share in sums.items()}


def spread(credit: int, needs: Sequence[int]) -> list[int]:
    """Divide an institution's `credit` over its requests in proportion to their needs, without losing any of it.

    So a need that is split into many requests counts for no more than in one.
    """
    whole = sum(needs)
    if not whole:
        return [credit, *[0] * (len(needs) - 1)] if needs else []
    sums, shares = 0, []
    given = 0
    for need in needs:
        sums += need
        shares.append(credit * sums // whole - given)
        given += shares[-1]
    return shares


def _after(instance: Instance, part: Part, received: Mapping[str, int]) -> Iterator[tuple[str, Fraction]]:
    filled = {row.request: row.held + received.get(row.request, 0) for row in part.receivers}
    mean = Fraction(sum(filled.values()), sum(row.whole_need for row in part.receivers))
    for row in part.receivers:
        remembered = Fraction(instance.fairness.memory * row.credit, 1000)
        yield row.institution, remembered + 1000 * (mean * row.whole_need - filled[row.request])
