"""Rolling-origin backtests on published hospital data: the model against what needs no model.

Usage: forecasting_backtest.py DATA [--sets nj hhs divi nhs] [--horizons] [--ets N] [--bagged]. DATA is the folder of
published data that tests find as ../shared/data. Prints one JSON line for each set: the model's WIS over that of the
public hubs' baseline (persistence, seasonal-naive), of the same methods with bands calibrated on their own misses, and,
with --ets, of an AutoETS of statsforecast on N series. Each pair is compared on the same tasks.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sharewell.domain.forecast import LEVELS
from sharewell_workers.forecasting import Recipe, backtest, scores
from sharewell_workers.forecasting.backtest import BANDS, METHODS, Answered
from sharewell_workers.forecasting.panel import Grid
from sharewell_workers.forecasting.yardstick import Yardstick

if TYPE_CHECKING:
    from tests.benchmarks.forecasting_ets import ets
    from tests.benchmarks.forecasting_sets import SETS, Set
else:
    from forecasting_ets import ets
    from forecasting_sets import SETS

Floats = NDArray[np.float64]


def measure(
    data: Path, chosen: Iterable[Set], *, horizons: bool = False, series: int = 0, bagged: bool = False
) -> Iterator[dict[str, Any]]:
    """One record for each set, and one for each of its horizons if asked."""
    for one in chosen:
        panel = one.panel(data)
        grid = panel.grid()
        last = grid.value.shape[1] - 1 - one.horizons[-1]
        days = [grid.day(c) for c in range(last, max(0, last - one.origins), -one.every)]
        begun = time.perf_counter()
        recipe = Recipe.bagged(panel.step, levels=LEVELS) if bagged else None
        report = backtest(panel, one.horizons, origins=days, keep=True, recipe=recipe)
        told = {"origins": len(report.origins), "season_steps": report.season,
                "seconds_per_origin": round((time.perf_counter() - begun) / len(report.origins), 2)}  # fmt: skip
        answered = [_beside(grid, task, report.season, series) for task in report.answered]
        for h in (0, *one.horizons) if horizons else (0,):
            some = [a for a in answered if h in (0, a["horizon"])]
            yield {"benchmark": "forecast.backtest", "set": one.name, "horizon": h or "all", **told, **_record(some)}


def _beside(grid: Grid, task: Answered, season: int, series: int) -> dict[str, Any]:
    """What every method was worth on one day's tasks; NaN where a method could not speak."""
    known = grid.until(grid.value.shape[1] - 1 - (grid.end - task.origin).days // grid.step)
    hubs, seen = Yardstick.of(known, season), task.observed
    found = {m: hubs.quantiles(m, task.horizon, LEVELS)[task.series] for m in METHODS[1:]}
    found |= {f"calibrated {m}": task.values[m] for m in METHODS[1:]}
    found |= {"ets": ets(known, task.series, task.horizon, series)} if series else {}
    ours = task.values["model"]
    shut = np.stack([scores.covered(ours, seen, LEVELS, band) for band in BANDS])
    return {
        "horizon": task.horizon, "series": task.series, "wis": scores.wis(ours, seen, LEVELS),
        "others": {name: scores.wis(values, seen, LEVELS) for name, values in found.items()},
        "shut": shut, "open": np.stack([_inside(ours, seen, band) for band in BANDS]),
    }  # fmt: skip


def _inside(values: Floats, seen: Floats, band: int) -> NDArray[np.bool_]:
    """Which outcomes lie inside the band and on neither of its ends."""
    low, high = LEVELS.index((1000 - band) // 2), LEVELS.index((1000 + band) // 2)
    return np.asarray((values[:, low] < seen) & (seen < values[:, high]))


def _record(answered: list[dict[str, Any]]) -> dict[str, Any]:
    ours = np.concatenate([a["wis"] for a in answered])
    record: dict[str, Any] = {"tasks": len(ours), "wis": round(float(ours.mean()), 3)}
    for name in answered[0]["others"]:
        theirs = np.concatenate([a["others"][name] for a in answered])
        both = ~np.isnan(theirs)
        record[f"relative_to_{name.replace(' ', '_').replace('-', '_')}"] = round(
            float(ours[both].mean() / theirs[both].mean()), 3
        )
        if name == "ets":
            series = np.concatenate([a["series"] for a in answered])[both]
            record |= {"ets_tasks": int(both.sum()), "ets_series": len(np.unique(series))}
    shut, opened = (np.concatenate([a[k] for a in answered], axis=1).mean(axis=1) for k in ("shut", "open"))
    record["coverage_50_80_95"] = [round(float(c), 3) for c in shut]
    # Whole numbers fall on the ends of bands: counted half, as one drawn at random within its step would be.
    record["coverage_ties_half"] = [round(float(c), 3) for c in (shut + opened) / 2]
    return record


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--sets", nargs="+", choices=sorted(SETS), default=sorted(SETS))
    parser.add_argument("--horizons", action="store_true", help="a line for each horizon too")
    parser.add_argument("--ets", type=int, default=0, metavar="N", help="AutoETS of N series of each set beside it")
    parser.add_argument("--bagged", action="store_true", help="the bagged model of 27 boosters, in minutes a day")
    asked = parser.parse_args()
    chosen = [one for name in asked.sets for one in SETS[name]]
    for record in measure(asked.data, chosen, horizons=asked.horizons, series=asked.ets, bagged=asked.bagged):
        print(json.dumps(record), flush=True)


if __name__ == "__main__":
    main()
