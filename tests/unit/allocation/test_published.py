"""Published cases, day by day: what sharing could fix each day is fixed to the unit, and nobody is worse off."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from datetime import UTC, date, datetime, time
from pathlib import Path

import polars as pl
import pytest

from sharewell.domain.allocation import Instance, Lane, Owner, Receiver, check_certificate, check_plan
from sharewell.domain.fairness import ceiling, receipts
from sharewell.domain.resources import ResourceKind
from sharewell_workers.solving import solve

Site = tuple[str, int, int]  # name, stock and need
NEW_JERSEY, VENTILATORS = "bench_nj_transfers", "bench_ventilators"


def table(folder: Path, name: str) -> pl.DataFrame:
    path = folder / "data" / name
    if not path.is_file():
        pytest.skip(f"there is no {path}")
    return pl.read_parquet(path)


def instance_of(day: date, sites: list[Site], resource: str, kind: ResourceKind) -> Instance:
    """Everyone may help everyone; the place in the list stands for the length of the way."""
    owners = [(n, name, stock, need) for n, (name, stock, need) in enumerate(sites) if stock > need]
    receivers = [(n, name, stock, need) for n, (name, stock, need) in enumerate(sites) if stock < need]
    return Instance(
        resource=resource, kind=kind, at=datetime.combine(day, time(), UTC), seed=str(day),
        owners=tuple(
            Owner(offer=f"o{n}", institution=f"h{n}", quantity=stock - need, stock=stock, own_need=need)
            for n, _, stock, need in owners
        ),
        receivers=tuple(
            Receiver(request=f"r{n}", institution=f"h{n}", need=need - stock, urgency=3)
            for n, _, stock, need in receivers
        ),
        lanes=tuple(
            Lane(offer=f"o{i}", request=f"r{j}", cap=1_000_000, metres=1000 * abs(i - j), hours=1)
            for i, *_ in owners
            for j, *_ in receivers
        ),
    )  # fmt: skip


def play(days: Iterable[tuple[date, list[Site]]], resource: str, kind: ResourceKind) -> tuple[int, int]:
    """Shortage without and with sharing over all days, after checking every plan."""
    without = left = 0
    for day, sites in days:
        instance = instance_of(day, sites, resource, kind)
        plan = solve(instance)
        check_plan(instance, plan)
        check_certificate(instance, plan)
        assert not [receipt for receipt in receipts(instance, plan) if receipt.worse_off]
        limit = ceiling(instance, plan)
        # Everyone reaches everyone here, so only what all lack together may be left over.
        assert limit.beyond_reach == limit.beyond_all
        without, left = without + limit.needed, left + limit.beyond_reach
    return without, left


def test_new_jersey_in_spring_2020(shared: Path) -> None:
    beds = {name: round(0.475 * most) for name, most, _ in table(shared, f"{NEW_JERSEY}/hospitals.parquet").rows()}
    days: dict[date, list[Site]] = defaultdict(list)
    census = table(shared, f"{NEW_JERSEY}/instance.parquet").select("hosp_name", "date", "active_reported")
    for name, day, occupied in census.rows():
        days[day].append((name, beds[name], round(occupied)))
    without, left = play(days.items(), "bed.adult", ResourceKind.PLACE)
    # Published for this capacity rule: 33,606.6 bed-days short, of which 53.2 system-wide; ours are whole numbers.
    assert without == pytest.approx(33_606.6, rel=0.01)
    assert left == pytest.approx(53.2, abs=30)


def test_ventilators_of_fifty_states(shared: Path) -> None:
    stock = {name: units // 2 for name, units in table(shared, f"{VENTILATORS}/supply.parquet").rows()}
    days: dict[date, list[Site]] = defaultdict(list)
    demand = table(shared, f"{VENTILATORS}/demand.parquet").filter(pl.col("forecast") == "ode")
    for state, day, units in demand.select("state", "date", "ventilator_demand").rows():
        days[day].append((state, stock[state], round(units)))
    without, left = play(days.items(), "ventilator", ResourceKind.DEVICE)
    # Published without any transfer: 28,562. Sharing anew every day has no delay and no pledge, so its rest is a
    # lower bound of every published plan.
    assert without == pytest.approx(28_562, rel=0.01)
    assert left <= 4_463
