"""Solve one instance under one rule after another."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator

from sharewell.domain.errors import Invalid
from sharewell.domain.frontier import Point, point, variants
from sharewell.domain.instance import Instance, Rule
from sharewell_workers.solving.solve import SECONDS, solve


def frontier(instance: Instance, *, seconds: float = SECONDS, within: float = math.inf) -> Iterator[Point]:
    """Yield what each rule reaches on `instance`, its own first, as soon as it is known.

    `seconds` bounds each run, `within` all of them: rules that time does not suffice for are left out, the instance's
    own never. Leximin is left out where the instance is too large for it.
    """
    started = time.monotonic()
    for along, other in variants(instance):
        left = within - (time.monotonic() - started)
        if other is not instance and left <= 0:
            return
        try:
            plan = solve(other, seconds=min(seconds, max(0.0, left)))
        except Invalid:
            if other.fairness.rule is not Rule.LEXIMIN or other is instance:
                raise
            continue
        yield point(other, plan, along=along, chosen=other is instance)
