"""`sharewell forecast`: train, forecast, look back and report, from files; no database and no account.

Files are CSV or Parquet with one row a series and day. What the numbers mean is told in docs/forecasting.md.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Literal

import polars as pl
import typer
from rich.console import Console

from sharewell.cli import forecast_files as files
from sharewell.cli import forecast_hub as hub
from sharewell.cli.forecast_files import (
    DEFAULT_COLUMNS,
    Ahead,
    AsJson,
    Beside,
    Columns,
    Country,
    Levels,
    MaybeFile,
    Seed,
    SeriesFile,
)
from sharewell.cli.forecast_report import report, table
from sharewell.cli.forecast_rerun import rerun
from sharewell.domain.errors import Invalid
from sharewell_workers import forecasting
from sharewell_workers.forecasting import FittedModel, Recipe, TooLittleHistory
from sharewell_workers.forecasting.distributed import engine_at

screen = Console(stderr=True)
Cluster = Annotated[
    str, typer.Option(metavar="ADDRESS", help="Dask scheduler to work on, such as tcp://host:8786.", show_default=False)
]
app = typer.Typer(no_args_is_help=True, add_completion=False, rich_markup_mode=None)


@app.callback()
def forecast() -> None:
    """Train on past numbers, forecast the next ones, and see what such forecasts were worth."""


@app.command()
def fit(
    file: SeriesFile,
    *,
    output: Annotated[Path, typer.Option("-o", "--output", help="Where to put the model.", show_default=False)],
    columns: Columns = DEFAULT_COLUMNS,
    beside: Beside = "",
    ahead: Ahead = 7,
    seed: Seed = 0,
    country: Country = "",
    levels: Levels = "stored",
    until: Annotated[str, typer.Option(help="Learn from nothing after this day, YYYY-MM-DD.")] = "",
    cluster: Cluster = "",
) -> None:
    """Train one model over all series of FILE and write it as JSON."""
    origin = files.day(until, "until")
    panel = files.source(file, columns, country, beside).panel(origin)
    typer.echo(files.quality(panel), err=True)
    with screen.status(f"Training on {panel.quality.height} series ..."), engine_at(cluster) as engine:
        try:
            asked = files.levels(levels)
            model = forecasting.fit(panel, range(1, ahead + 1), seed=seed, origin=origin, levels=asked, engine=engine)
        except TooLittleHistory as few:
            raise Invalid(f"{file.name} is too short to train on: {few}", field="file") from None
    files.write_bytes(model.to_bytes(), output)
    typer.echo(f"{model.hash}  {output}")
    typer.echo(f"Learnt from {model.trained_rows} rows up to {model.origin}, to look {ahead} steps ahead.", err=True)


@app.command()
def predict(
    file: SeriesFile,
    *,
    output: Annotated[Path, typer.Option("-o", "--output", help="CSV or Parquet to write.", show_default=False)],
    model: Annotated[
        Path | None,
        typer.Option(help="A model from `fit`; without one, naive forecasts.", exists=True, dir_okay=False),
    ] = None,
    columns: Columns = DEFAULT_COLUMNS,
    beside: Beside = "",
    ahead: Ahead = 7,
    sums: Annotated[
        bool, typer.Option("--sums", help="Also each group as region:NAME, and all together as all.")
    ] = False,
    at: Annotated[str, typer.Option(help="Day to forecast from, YYYY-MM-DD; by default the newest.")] = "",
    cluster: Cluster = "",
) -> None:
    """Forecast every series of FILE; each row says which method made it, and why not the model."""
    origin = files.day(at, "at")
    panel = files.source(file, columns, beside=beside).panel(origin)
    typer.echo(files.quality(panel), err=True)
    trained = FittedModel.from_bytes(model.read_bytes()) if model else None
    steps = [h for h in trained.horizons if h <= ahead] if trained else range(1, ahead + 1)
    with engine_at(cluster) as engine:
        made = forecasting.predict(trained, panel, origin or panel.last_day, steps, sums=sums, engine=engine)
    files.write(made, output)
    told = made.filter(pl.col("level") == 500).group_by("method").len().sort("method")
    spoken = ", ".join(f"{count} by {method}" for method, count in told.iter_rows())
    typer.echo(f"{output}: {made.height} rows; forecasts: {spoken or 'none, for want of any value by then'}.")


@app.command()
def backtest(
    file: MaybeFile = None,
    *,
    form: Annotated[
        Literal["series", "hub"], typer.Option("--format", help="series: FILE; hub: a public hub's tables.")
    ] = "series",
    columns: Columns = DEFAULT_COLUMNS,
    beside: Beside = "",
    ahead: Ahead = 7,
    origins: Annotated[int, typer.Option(min=1, help="How many of the newest days to forecast from.")] = 6,
    seed: Seed = 0,
    country: Country = "",
    levels: Levels = "stored",
    as_json: AsJson = False,
    truth: hub.Truth = None,
    vintages: hub.Vintages = None,
    dates: hub.Dates = "",
    history: hub.History = None,
    out: hub.Out = None,
    baseline: hub.Baseline = None,
    strict: hub.Strict = False,
) -> None:
    """Forecast from past days of FILE with only what was known then, and score what came.

    The score is the weighted interval score, in units of the series; less is
    better. The naive methods are scored on the same tasks. A column as_of in
    FILE says since when each row was known; each day sees only what it could.

    With --format hub: forecasts in the public forecast hubs' form, for each of
    --dates from the --vintages that were public three days before, into --out.
    Where a holiday delayed that week's table, the one until the date is used.
    """
    tables = hub.Asked(
        truth=truth, vintages=vintages, dates=dates, history=history or [], out=out, baseline=baseline, seed=seed,
        strict=strict,
    )  # fmt: skip
    if form == "hub":
        if file is not None:
            raise typer.BadParameter("--format hub reads --truth and --vintages instead.", param_hint="FILE")
        for line in hub.run(tables):
            typer.echo(line)
        return
    if tables.given:
        raise typer.BadParameter(f"{tables.given[0]} goes with --format hub.", param_hint="--format")
    if file is None:
        raise typer.BadParameter("name a file of series.", param_hint="FILE")
    source = files.source(file, columns, country, beside)
    panel = source.panel()
    typer.echo(files.quality(panel), err=True)
    with screen.status(f"Forecasting {panel.quality.height} series from {origins} past days ..."):
        try:
            recipe = Recipe.for_step(panel.step, levels=files.levels(levels))
            found = forecasting.backtest(
                panel, range(1, ahead + 1), origins=origins, seed=seed, recipe=recipe, known=source.known(panel)
            )
        except TooLittleHistory as few:
            raise Invalid(f"{file.name} is too short for a backtest: {few}", field="file") from None
    typer.echo(json.dumps(found.to_json()) if as_json else "\n".join(table(found)))


app.command()(report)
app.command()(rerun)
