"""Solve one instance under one rule after another."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from sharewell.domain.errors import Invalid
from sharewell.domain.frontier import Point, choices, point
from sharewell.domain.instance import Instance, Rule
from sharewell_workers.solving.solve import SECONDS, solve


def frontier(instance: Instance, *, seconds: float = SECONDS) -> Iterator[Point]:
    """Yield what each rule reaches on `instance`, its own among them, as soon as it is known.

    `seconds` bounds each run. Leximin is left out where the instance is too large for it.
    """
    for choice in choices(instance.fairness):
        other = replace(instance, fairness=choice)
        try:
            plan = solve(other, seconds=seconds)
        except Invalid:
            if choice.rule is not Rule.LEXIMIN or choice == instance.fairness:
                raise
            continue
        yield point(other, plan, chosen=choice == instance.fairness)
