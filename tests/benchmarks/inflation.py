"""What asking for half as much again brings, with needs held to the evidence and without.

Random regions, all short of a third of their need. One request at a time asks for 50 % more than its institution
lacks; the run is drawn and solved again, and what it truly gets (units up to the true lack) is compared. With the cap a
request counts as far as the census bears it out, so nothing should come of it. Prints one JSON line a rule.
"""

from __future__ import annotations

import argparse
import json
import random
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
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
from sharewell.domain.resources import ResourceKind
from sharewell_workers.solving import solve

NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)
RULES = (Fairness(), Fairness(theta=500), Fairness(rule=Rule.LEXIMIN), Fairness(rule=Rule.WELFARE))
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


def measure(regions: int = 10) -> list[dict[str, Any]]:
    """One record for each rule, with the cap and without."""
    return [_row(fairness, capped, regions) for fairness in RULES for capped in (True, False)]


def _row(fairness: Fairness, capped: bool, regions: int) -> dict[str, Any]:
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


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--regions", type=int, default=10, help="random regions to try")
    for record in measure(parser.parse_args(arguments).regions):
        print(json.dumps(record), flush=True)


if __name__ == "__main__":
    main()
