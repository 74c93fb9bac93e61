"""The scores are those of the published scorer, run as a program on a real file of forecasts."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from sharewell.domain.forecast import HUB_LEVELS
from sharewell_workers.forecasting import scores

HUBS = [
    ("us_flusight", "FluSight-ensemble", "2024-12-01", "2025-01-31"),
    ("us_flusight", "FluSight-baseline", "2024-02-01", "2024-03-31"),
    ("us_covidhub", "CovidHub-ensemble", "2025-01-01", "2025-03-31"),
]


def _file(shared: Path, hub: str, model: str) -> Path:
    made = shared / "data" / hub / "forecasts" / f"{model}.parquet"
    if not made.exists():
        pytest.skip(f"no forecasts of {model} among the shared data")
    return made


def _published(shared: Path, hub: str, made: Path, first: str, last: str) -> dict[str, float]:
    scorer = shared / "data" / "score_wis.py"
    if not scorer.exists():
        pytest.skip("the published scorer is not among the shared data")
    truth = shared / "data" / hub / "truth.parquet"
    command = [sys.executable, str(scorer), str(truth), str(made), "--from", first, "--to", last]
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return {name: float(value) for name, value in re.findall(r"(\w+)=\s*([\d.]+)", told.splitlines()[0])}


@pytest.mark.parametrize(("hub", "model", "first", "last"), HUBS)
def test_wis_log_wis_and_coverage_are_those_of_the_published_scorer(
    shared: Path, hub: str, model: str, first: str, last: str
) -> None:
    made = _file(shared, hub, model)
    published = _published(shared, hub, made, first, last)
    values, came = _tasks(shared / "data" / hub / "truth.parquet", made, first, last)
    assert len(came) == published["n"] > 300
    assert scores.wis(values, came, HUB_LEVELS).mean() == pytest.approx(published["WIS"], abs=6e-4)
    assert scores.log_wis(values, came, HUB_LEVELS).mean() == pytest.approx(published["logWIS"], abs=6e-5)
    for share, name in ((500, "cov50"), (950, "cov95")):
        assert scores.covered(values, came, HUB_LEVELS, share).mean() == pytest.approx(published[name], abs=6e-4)


def _tasks(truth: Path, made: Path, first: str, last: str) -> tuple[np.ndarray, np.ndarray]:
    """Quantiles [N, 23] of states and horizons 0-3 in the order of `HUB_LEVELS`, and what came [N]."""
    known = pl.read_parquet(truth)
    value = "value" if "value" in known.columns else "y"
    known = known.select(pl.col("location").cast(pl.String), "target_end_date", came=value)
    index = ["reference_date", "location", "horizon", "target_end_date"]
    rows = pl.read_parquet(made).with_columns(pl.col("location").cast(pl.String))
    rows = rows.filter(
        pl.col("reference_date").is_between(pl.lit(first).str.to_date(), pl.lit(last).str.to_date()),
        pl.col("horizon").is_between(0, 3),
        pl.col("location") != "US",
    )
    rows = rows.with_columns(level=(pl.col("quantile").cast(pl.Float64) * 1000).round().cast(pl.Int64))
    rows = rows.filter(pl.col("level").is_in(HUB_LEVELS))
    wide = rows.pivot(on="level", index=index, values="value").drop_nulls()
    both = wide.join(known.drop_nulls(), on=["location", "target_end_date"])
    values = both.select(pl.col(str(level)).cast(pl.Float64) for level in HUB_LEVELS).to_numpy()
    return values, both["came"].cast(pl.Float64).to_numpy()
