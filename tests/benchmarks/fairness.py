"""What asking for half as much again brings, with needs held to the evidence and without; and what remembering brings.

Random regions, all short of a third of their need. *Inflation*: one request at a time asks for 50 % more than its
institution lacks; the run is drawn and solved again, and what it truly gets (units up to the true lack) is compared.
With the cap a request counts as far as the census bears it out, so nothing should come of it. *Credit*: a region is
short again and again, with needs and supplies drawn anew, places and so who is near to whom the same; what is
compared is the share of its needs that each institution got over all runs together. Prints one JSON line a rule.
"""

from __future__ import annotations

import argparse
import json
import random
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from typing import Any

from sharewell.domain.allocation import (
    Fairness,
    Instance,
    OfferRow,
    Reach,
    RequestRow,
    Rule,
    Standing,
    build_instance,
)
from sharewell.domain.credit import carried
from sharewell.domain.fairness import gini
from sharewell.domain.resources import ResourceKind
from sharewell_workers.solving import solve

NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)
RULES = (Fairness(), Fairness(theta=500), Fairness(rule=Rule.LEXIMIN), Fairness(rule=Rule.WELFARE))
REMEMBERING = (Fairness(), Fairness(rule=Rule.LEXIMIN), Fairness(rule=Rule.WELFARE), Fairness(rule=Rule.UTILITARIAN))
MEMORY, CREDIT = 800, 1000
TAKERS, GIVERS = 12, 8


def region(seed: int) -> tuple[list[OfferRow], list[RequestRow], list[Standing]]:
    """Givers that together spare two thirds of what the takers lack, at random in a square of 200 km."""
    chance = random.Random(seed)
    offers, requests, standings = [], [], []
    lacking = [chance.randint(4, 60) for _ in range(TAKERS)]
    for number, units in enumerate(lacking):
        standings.append(_standing(chance, f"t{number:02}", 0, units))
        requests.append(
            RequestRow(id=f"r{number:02}", institution=f"t{number:02}", quantity=units, urgency=chance.randint(1, 5),
                       needed_by=NOON + timedelta(hours=12), needed_until=NOON + timedelta(days=1))
        )  # fmt: skip
    shares = [chance.random() + 0.2 for _ in range(GIVERS)]
    for number, share in enumerate(shares):
        units = round(share / sum(shares) * sum(lacking) * 2 / 3)
        standings.append(_standing(chance, f"g{number:02}", units, 0))
        offers.append(
            OfferRow(id=f"o{number:02}", institution=f"g{number:02}", quantity=max(1, units), minimum_kept=0,
                     available_from=NOON, available_until=NOON + timedelta(days=1))
        )  # fmt: skip
    return offers, requests, standings


def _standing(chance: random.Random, name: str, stock: int, need: int) -> Standing:
    return Standing(
        institution=name, stock=stock, own_need=need, latitude=40 + chance.uniform(0, 1.8),
        longitude=-74 - chance.uniform(0, 2.4),
    )  # fmt: skip


def drawn(seed: int, fairness: Fairness, *, capped: bool, inflated: str = "") -> Instance:
    """The region's instance, one request asking for half as much again."""
    offers, requests, standings = region(seed)
    asked = [replace(row, quantity=row.quantity * 3 // 2) if row.id == inflated else row for row in requests]
    if capped:
        standings = [replace(row, need_cap=row.own_need) for row in standings]
    return build_instance(
        resource="bed.adult", kind=ResourceKind.PLACE, at=NOON, offers=offers, requests=asked, standings=standings,
        seed="bench", fairness=fairness, reach=Reach(metres=150_000),
    )  # fmt: skip


def measure_inflation(regions: int = 10) -> list[dict[str, Any]]:
    """One record for each rule, with the cap and without."""
    return [_inflated(fairness, capped, regions) for fairness in RULES for capped in (True, False)]


def _inflated(fairness: Fairness, capped: bool, regions: int) -> dict[str, Any]:
    gains: list[float] = []
    for seed in range(regions):
        honest = solve(drawn(seed, fairness, capped=capped)).received
        for row in region(seed)[1]:
            lied = solve(drawn(seed, fairness, capped=capped, inflated=row.id)).received
            true = min(lied.get(row.id, 0), row.quantity), min(honest.get(row.id, 0), row.quantity)
            gains.append((true[0] - true[1]) / row.quantity)
    return {
        "benchmark": "allocation.inflation",
        "rule": fairness.rule.value,
        "theta": fairness.theta,
        "capped": capped,
        "requests": len(gains),
        "share_that_gains": round(sum(gain > 0 for gain in gains) / len(gains), 3),
        "mean_gain_of_true_fill": round(sum(gains) / len(gains), 4),
        "largest_gain_of_true_fill": round(max(gains), 4),
    }


def again(seed: int, run: int, fairness: Fairness, owed: dict[str, int]) -> Instance:
    """One more run of a region: its places, with the needs and supplies of a region of its own."""
    _, _, places = region(seed)
    offers, requests, drawn = region(1000 * seed + run)
    standings = [
        replace(row, latitude=place.latitude, longitude=place.longitude, credit=owed.get(row.institution, 0))
        for row, place in zip(drawn, places, strict=True)
    ]
    return build_instance(
        resource="bed.adult", kind=ResourceKind.PLACE, at=NOON, offers=offers, requests=requests, standings=standings,
        seed=f"bench {run}", fairness=fairness, reach=Reach(metres=150_000, nearest=GIVERS),
    )  # fmt: skip


def measure_credit(regions: int = 10, runs: int = 12) -> list[dict[str, Any]]:
    """One record for each rule, remembering and not."""
    return [
        _remembered(replace(rule, memory=memory, credit=credit), regions, runs)
        for rule in REMEMBERING
        for memory, credit in ((0, 0), (MEMORY, CREDIT))
    ]


def _remembered(fairness: Fairness, regions: int, runs: int) -> dict[str, Any]:
    smallest, spread, met = [], [], 0
    for seed in range(regions):
        needed: dict[str, int] = {}
        got: dict[str, int] = {}
        owed: dict[str, int] = {}
        for run in range(runs):
            task = again(seed, run, fairness, owed)
            plan = solve(task)
            for row in task.receivers:
                needed[row.institution] = needed.get(row.institution, 0) + row.need
                units = plan.received.get(row.request, 0)
                got[row.institution] = got.get(row.institution, 0) + units
                met += fairness.urgency_weights[row.urgency - 1] * units
            owed |= carried(task, plan)
        rates = [Fraction(got[name], needed[name]) for name in needed]
        smallest.append(min(rates))
        spread.append(gini(rates))
    return {
        "benchmark": "allocation.credit",
        "rule": fairness.rule.value,
        "memory": fairness.memory,
        "credit": fairness.credit,
        "runs": runs * regions,
        "smallest_fill_over_all_runs": round(float(sum(smallest) / regions), 4),
        "gini_over_all_runs": round(float(sum(spread) / regions), 4),
        "urgency_weighted_need_met": met,
    }


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--regions", type=int, default=10, help="random regions to try")
    parser.add_argument("--runs", type=int, default=12, help="runs of each, to see what remembering brings")
    asked = parser.parse_args(arguments)
    for record in [*measure_inflation(asked.regions), *measure_credit(asked.regions, asked.runs)]:
        print(json.dumps(record), flush=True)


if __name__ == "__main__":
    main()
