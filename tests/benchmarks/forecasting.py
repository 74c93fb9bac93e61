"""How long fit and predict take, and what they are worth against seasonal-naive, on synthetic hospitals.

The series are those of docs/forecasting.md: 120 weeks, 30 % intermittent, in 20 regional waves, 8 weeks ahead, one
cutoff. Prints one JSON line a measure.
"""

from __future__ import annotations

import argparse
import json
import resource
import time
from collections.abc import Iterator
from datetime import date, timedelta
from typing import Any

import numpy as np
import polars as pl

from sharewell.domain.forecast import LEVELS
from sharewell_workers.forecasting import Panel, fit, predict, scores

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


def measure(counts: tuple[int, ...] = (1000,)) -> list[dict[str, Any]]:
    """One record for each number of series."""
    return [_run(count) for count in counts]


def _run(count: int) -> dict[str, Any]:
    rows = hospitals(count)
    cutoff = FIRST + timedelta(weeks=WEEKS - 1)
    begun = time.perf_counter()
    panel = Panel.of(rows.filter(pl.col("day") <= cutoff))
    cleaned = time.perf_counter()
    model = fit(panel, range(1, AHEAD + 1))
    fitted = time.perf_counter()
    ours = predict(model, panel, cutoff, range(1, AHEAD + 1))
    predicted = time.perf_counter()
    naive = predict(None, panel, cutoff, range(1, AHEAD + 1), method="seasonal-naive")
    naive_seconds = time.perf_counter() - predicted
    wis, held = _score(ours, rows)
    naive_wis, _ = _score(naive, rows)
    return {
        "benchmark": "forecast.fit_predict",
        "series": count,
        "weeks": WEEKS,
        "clean_s": round(cleaned - begun, 2),
        "fit_s": round(fitted - cleaned, 2),
        "predict_s": round(predicted - fitted, 2),
        "seasonal_naive_s": round(naive_seconds, 3),
        "time_ratio_to_seasonal_naive": round((predicted - cleaned) / naive_seconds, 1),
        "wis_relative_to_seasonal_naive": round(wis / naive_wis, 3),
        "coverage_80": round(held[0], 3),
        "coverage_95": round(held[1], 3),
        "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
    }


def _score(made: pl.DataFrame, rows: pl.DataFrame) -> tuple[float, tuple[float, float]]:
    wide = made.pivot(on="level", index=["series", "target"], values="value")
    told = wide.join(rows, left_on=["series", "target"], right_on=["series", "day"])
    values, observed = told.select(str(level) for level in LEVELS).to_numpy(), told["value"].to_numpy()
    held = [float(scores.covered(values, observed, LEVELS, band).mean()) for band in (800, 950)]
    return float(scores.wis(values, observed, LEVELS).mean()), (held[0], held[1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--series", type=int, nargs="+", default=[1000], help="numbers of series to measure")
    for record in lines(tuple(parser.parse_args().series)):
        print(record, flush=True)


def lines(counts: tuple[int, ...]) -> Iterator[str]:
    """The records as JSON, each as soon as it is known."""
    for count in counts:
        yield json.dumps(_run(count))


if __name__ == "__main__":
    main()
