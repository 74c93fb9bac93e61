"""How long fit and predict take, and what they are worth against seasonal-naive, on synthetic hospitals.

The series are those of docs/forecasting.md: 120 weeks, 30 % intermittent, in 20 regional waves, 8 weeks ahead, one
cutoff. Prints one JSON line a measure. The bagged model takes minutes, so `make bench` leaves it to --bagged.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from datetime import date, timedelta
from typing import Any

import numpy as np
import polars as pl

from sharewell.domain.forecast import LEVELS
from sharewell_workers.forecasting import Panel, Recipe, fit, predict, scores

WEEKS, AHEAD, REGIONS = 120, 8, 20
FIRST = date(2022, 1, 7)


def hospitals(count: int, *, seed: int = 11) -> pl.DataFrame:
    """`count` series of WEEKS + AHEAD weekly counts, as reports: series, group, day, value."""
    random = np.random.default_rng(seed)
    week = np.arange(WEEKS + AHEAD)
    region = np.arange(count) % REGIONS
    phase, height = random.uniform(0, 52, REGIONS), random.uniform(0.3, 1.2, REGIONS)
    yearly = height[:, None] * np.cos(2 * np.pi * (week[None, :] - phase[:, None]) / 52)
    wander = np.cumsum(random.normal(0, 0.08, (REGIONS, len(week))), axis=1)
    level = np.where(random.random(count) < 0.3, random.uniform(-1.5, 0.3, count), random.uniform(1.5, 4.5, count))
    own = np.cumsum(random.normal(0, 0.05, (count, len(week))), axis=1)
    counts = random.poisson(np.exp(np.minimum(level[:, None] + (yearly + wander)[region] + own, 12)))
    days = [FIRST + timedelta(weeks=int(w)) for w in week]
    return pl.DataFrame(
        {
            "series": [f"h{i:05d}" for i in range(count) for _ in days],
            "group": [f"r{r:02d}" for r in region for _ in days],
            "day": days * count,
            "value": counts.ravel().astype(float),
        }
    )


def measure(counts: tuple[int, ...] = (1000, 10_000), *, bagged: bool = False) -> list[dict[str, Any]]:
    """One record for each number of series, each from a process of its own, whose memory is then its own too."""
    return [_apart(count, bagged) for count in counts]


def _apart(count: int, bagged: bool) -> dict[str, Any]:
    command = [sys.executable, __file__, "--here", "--series", str(count), *(["--bagged"] if bagged else [])]
    record: dict[str, Any] = json.loads(subprocess.run(command, capture_output=True, check=True, text=True).stdout)
    return record


def _run(count: int, bagged: bool) -> dict[str, Any]:
    rows = hospitals(count)
    cutoff = FIRST + timedelta(weeks=WEEKS - 1)
    recipe = Recipe.bagged(7) if bagged else Recipe.for_step(7)
    begun = time.perf_counter()
    panel = Panel.of(rows.filter(pl.col("day") <= cutoff))
    cleaned = time.perf_counter()
    model = fit(panel, range(1, AHEAD + 1), recipe=recipe)
    fitted = time.perf_counter()
    ours = predict(model, panel, cutoff, range(1, AHEAD + 1))
    predicted = time.perf_counter()
    naive = predict(None, panel, cutoff, range(1, AHEAD + 1), method="seasonal-naive")
    naive_seconds = time.perf_counter() - predicted
    wis, held = _score(ours.filter(pl.col("level").is_in(LEVELS)), rows)
    naive_wis, _ = _score(naive, rows)
    return {
        "benchmark": "forecast.fit_predict",
        "mode": "bagged" if bagged else "facility",
        "series": count,
        "weeks": WEEKS,
        "quantiles": len(recipe.levels),
        "boosters": len(recipe.trained) * recipe.seeds,
        "clean_s": round(cleaned - begun, 2),
        "fit_s": round(fitted - cleaned, 2),
        "predict_s": round(predicted - fitted, 2),
        "total_s": round(predicted - begun, 2),
        "seasonal_naive_s": round(naive_seconds, 3),
        "time_ratio_to_seasonal_naive": round((predicted - cleaned) / naive_seconds, 1),
        "wis_relative_to_seasonal_naive": round(wis / naive_wis, 3),
        "coverage_50": round(held[0], 3),
        "coverage_80": round(held[1], 3),
        "coverage_95": round(held[2], 3),
        "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
    }


def _score(made: pl.DataFrame, rows: pl.DataFrame) -> tuple[float, list[float]]:
    wide = made.pivot(on="level", index=["series", "target"], values="value")
    told = wide.join(rows, left_on=["series", "target"], right_on=["series", "day"])
    values, observed = told.select(str(level) for level in LEVELS).to_numpy(), told["value"].to_numpy()
    held = [float(scores.covered(values, observed, LEVELS, band).mean()) for band in (500, 800, 950)]
    return float(scores.wis(values, observed, LEVELS).mean()), held


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--series", type=int, nargs="+", default=[1000, 10_000], help="numbers of series to measure")
    parser.add_argument("--bagged", action="store_true", help="the 23 quantiles of the hubs from 27 boosters")
    parser.add_argument("--here", action="store_true", help="in this very process, rather than one for each number")
    asked = parser.parse_args()
    for count in asked.series:
        print(json.dumps((_run if asked.here else _apart)(count, asked.bagged)), flush=True)


if __name__ == "__main__":
    main()
