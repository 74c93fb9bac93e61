"""A Dask cluster trains the very model that one machine trains, and forecasts the same."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from typer.testing import CliRunner

from sharewell.cli.main import app
from sharewell.domain.errors import Invalid
from sharewell_workers.forecasting import FittedModel, Panel, Recipe, features, fit
from sharewell_workers.forecasting.distributed import Cluster, cluster
from sharewell_workers.forecasting.features import Tasks

distributed = pytest.importorskip("distributed", reason="Dask is not installed: pip install 'sharewell[cluster]'")

AHEAD = (1, 2, 3)

pytestmark = pytest.mark.filterwarnings("default")  # Dask's own, about sizes and ports, are no business of ours


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """A scheduler with two workers, each a process of its own."""
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, dashboard_address=None, host="127.0.0.1", memory_limit=0
    ) as local:
        yield local.scheduler_address


@pytest.fixture(scope="module")
def engine(address: str) -> Iterator[Cluster]:
    with cluster(address) as made:
        yield made


@pytest.fixture(scope="module")
def panel(wave: Callable[..., pl.DataFrame]) -> Panel:
    """Means rather than counts, so that a line has something to say."""
    return Panel.of(wave(20, 60).with_columns(pl.col("value") + 0.5))


@pytest.fixture(scope="module")
def bagged(small: Recipe) -> Recipe:
    return Recipe.from_json(small.to_json() | {"seeds": 2, "trained": [100, 250, 500, 750, 900], "line": 0.4})


@pytest.fixture(scope="module")
def model(panel: Panel, bagged: Recipe) -> FittedModel:
    return fit(panel, AHEAD, recipe=bagged)


def test_two_workers_train_the_model_that_one_machine_trains_byte_for_byte(
    panel: Panel, bagged: Recipe, model: FittedModel, engine: Cluster
) -> None:
    assert fit(panel, AHEAD, recipe=bagged, engine=engine).to_bytes() == model.to_bytes()


def test_two_workers_forecast_what_one_machine_forecasts(panel: Panel, model: FittedModel, engine: Cluster) -> None:
    state = features.observe(panel.grid(), model.recipe, model.season)
    series, horizon = (part.ravel() for part in np.meshgrid(np.arange(len(state.base))[::-1], AHEAD))
    tasks = Tasks(series, np.full(len(series), state.last), horizon)
    np.testing.assert_array_equal(model.quantiles(state, tasks, engine), model.quantiles(state, tasks))


def test_tasks_of_one_series_alone_need_no_others(panel: Panel, model: FittedModel, engine: Cluster) -> None:
    state = features.observe(panel.grid(), model.recipe, model.season)
    one = Tasks(np.array([7, 7]), np.array([40, state.last]), np.array([1, 3]))
    rows, names = engine.rows(state, one)
    here, same = features.rows(state, one)
    np.testing.assert_array_equal(rows, here)
    assert names == same


def test_signals_beside_travel_along(wave: Callable[..., pl.DataFrame], small: Recipe, engine: Cluster) -> None:
    both = Panel.of(wave(20, 60)).seen_with(admissions=Panel.of(wave(20, 60, seed=5)))
    assert fit(both, AHEAD, recipe=small, engine=engine).hash == fit(both, AHEAD, recipe=small).hash


def test_the_command_line_trains_and_forecasts_on_a_cluster_what_it_does_alone(
    wave: Callable[..., pl.DataFrame], address: str, tmp_path: Path
) -> None:
    wave(20, 60).write_parquet(tmp_path / "beds.parquet")
    beds = str(tmp_path / "beds.parquet")
    for name, more in (("alone", []), ("cluster", ["--cluster", address])):
        model, out = str(tmp_path / f"{name}.json"), str(tmp_path / f"{name}.csv")
        for command in (["fit", beds, "-o", model], ["predict", beds, "--model", model, "-o", out]):
            told = CliRunner().invoke(app, ["forecast", *command, *more])
            assert told.exit_code == 0, told.output
    assert (tmp_path / "cluster.json").read_bytes() == (tmp_path / "alone.json").read_bytes()
    assert (tmp_path / "cluster.csv").read_bytes() == (tmp_path / "alone.csv").read_bytes()


@pytest.mark.parametrize("wrong", ["tcp://127.0.0.1:1", "nonsense://"])
def test_an_address_where_nobody_answers_is_told(wrong: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sharewell_workers.forecasting.distributed.PATIENCE", 1)
    with pytest.raises(Invalid) as refusal, cluster(wrong):
        pass
    assert refusal.value.field == "cluster"
