"""How often sums over published series lay inside their bands: regions, and everybody, forecast from past days.

Usage: forecasting_sums.py DATA [--sets hhs divi nhs]. DATA is the folder of published data that tests find as
../shared/data. A sum is scored where nearly all of its series reported. Prints one JSON line a set and kind of sum.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from sharewell.domain.forecast import LEVELS
from sharewell_workers.forecasting import Panel, fit, predict, scores
from sharewell_workers.forecasting.sums import EVERYBODY, SUM, name

if TYPE_CHECKING:
    from tests.benchmarks.forecasting_sets import SETS, Set
else:
    from forecasting_sets import SETS

PAST = {"hhs": (16, 2), "divi": (150, 15), "nhs": (60, 10)}  #: newest steps that are forecast from, and every how many
REFIT = 3  #: origins after which the model is trained anew
SILENT = 0.02  #: share of a sum's series that may lack an outcome


def measure(data: Path, key: str) -> list[dict[str, Any]]:
    """One record for sums by region and one for those of everybody, over both signals of a set."""
    return [record for one in SETS[key] for record in _run(data, one, *PAST[key])]


def _run(data: Path, one: Set, past: int, every: int) -> list[dict[str, Any]]:
    panel = one.panel(data)
    told = pl.concat(_forecasts(panel, one, past, every)).join(_came(panel), on=["series", "target"])
    kinds = {"everybody": pl.col("series") == EVERYBODY, "regions": pl.col("series") != EVERYBODY}
    found = {kind: told.filter(chosen) for kind, chosen in kinds.items()}
    return [_record(one.name, kind, some) for kind, some in found.items() if some.height]


def _forecasts(panel: Panel, one: Set, past: int, every: int) -> Iterator[pl.DataFrame]:
    """Quantiles of sums, a column a level, from each past day."""
    grid = panel.grid()
    last = grid.value.shape[1] - 1 - one.horizons[-1]
    model = None
    for turn, column in enumerate(range(last - past, last + 1, every)):
        if model is None or turn % REFIT == 0:
            model = fit(panel, one.horizons, origin=grid.day(column))
        made = predict(model, panel, grid.day(column), one.horizons, sums=True).filter(pl.col("method") == SUM)
        yield made.pivot(on="level", index=["series", "target", "horizon"], values="value")


def _came(panel: Panel) -> pl.DataFrame:
    """What came of each sum on each day on which nearly all of its series reported."""
    members = panel.quality.join(panel.frame.select("series", "group").unique("series"), on="series")
    whole = pl.concat([panel.frame, panel.frame.with_columns(group=pl.lit(EVERYBODY))])
    size = pl.concat([members, members.with_columns(group=pl.lit(EVERYBODY))]).group_by("group").agg(members=pl.len())
    seen = whole.group_by("group", "day").agg(pl.col("value").sum(), known=pl.col("value").count())
    seen = seen.join(size, on="group").filter(pl.col("known") >= (1 - SILENT) * pl.col("members"))
    named = pl.when(pl.col("group") == EVERYBODY).then("group").otherwise(pl.lit(name("")) + pl.col("group"))
    return seen.select("value", series=named, target="day")


def _record(set_name: str, kind: str, told: pl.DataFrame) -> dict[str, Any]:
    values, came = told.select(str(level) for level in LEVELS).to_numpy(), told["value"].to_numpy()
    held = [round(float(scores.covered(values, came, LEVELS, band).mean()), 3) for band in (500, 800, 950)]
    return {"benchmark": "forecast.sums", "set": set_name, "sums": kind, "tasks": len(came), "coverage_50_80_95": held}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--sets", nargs="+", choices=sorted(PAST), default=sorted(PAST))
    chosen = parser.parse_args()
    for key in chosen.sets:
        for record in measure(chosen.data, key):
            print(json.dumps(record), flush=True)


if __name__ == "__main__":
    main()
