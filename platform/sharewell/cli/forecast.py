"""`sharewell forecast`: train, forecast and look back, from files; no database and no account.

Files are CSV or Parquet with one row a series and day. What the numbers mean is told in docs/forecasting.md.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import date
from pathlib import Path
from typing import Annotated

import polars as pl
import typer
from rich.console import Console

from sharewell.domain.errors import Invalid
from sharewell_workers import forecasting
from sharewell_workers.forecasting import BacktestReport, FittedModel, Panel, TooLittleHistory

screen = Console(stderr=True)
app = typer.Typer(no_args_is_help=True, add_completion=False, rich_markup_mode=None)


SeriesFile = Annotated[
    Path, typer.Argument(help="CSV or Parquet, one row a series and day.", exists=True, dir_okay=False)
]
Columns = Annotated[
    str,
    typer.Option(
        help="Names of the columns for series, day and value, then group and mark if there are any.",
        metavar="SERIES,DAY,VALUE[,GROUP[,MARK]]",
    ),
]
Ahead = Annotated[int, typer.Option(min=1, max=60, help="Steps to look ahead: days of daily, weeks of weekly series.")]
Seed = Annotated[int, typer.Option(min=0, help="The same rows and seed give the same bytes.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object for a program to read.")]
DEFAULT_COLUMNS = "series,day,value,group,mark"


@app.callback()
def forecast() -> None:
    """Train on past numbers, forecast the next ones, and see what such forecasts were worth."""


@app.command()
def fit(
    file: SeriesFile,
    *,
    output: Annotated[Path, typer.Option("-o", "--output", help="Where to put the model.", show_default=False)],
    columns: Columns = DEFAULT_COLUMNS,
    ahead: Ahead = 7,
    seed: Seed = 0,
    until: Annotated[str, typer.Option(help="Learn from nothing after this day, YYYY-MM-DD.")] = "",
) -> None:
    """Train one model over all series of FILE and write it as JSON."""
    panel = _panel(file, columns)
    with screen.status(f"Training on {panel.quality.height} series ..."):
        try:
            model = forecasting.fit(panel, range(1, ahead + 1), seed=seed, origin=_day(until, "until"))
        except TooLittleHistory as few:
            raise Invalid(f"{file.name} is too short to train on: {few}", field="file") from None
    output.write_bytes(model.to_bytes())
    typer.echo(f"{model.hash}  {output}")
    typer.echo(f"Learnt from {model.trained_rows} rows up to {model.origin}, to look {ahead} steps ahead.", err=True)


@app.command()
def predict(
    file: SeriesFile,
    *,
    output: Annotated[Path, typer.Option("-o", "--output", help="CSV or Parquet to write.", show_default=False)],
    model: Annotated[
        Path | None, typer.Option(help="A model from `fit`; without one, naive forecasts.", exists=True)
    ] = None,
    columns: Columns = DEFAULT_COLUMNS,
    ahead: Ahead = 7,
    at: Annotated[str, typer.Option(help="Day to forecast from, YYYY-MM-DD; by default the newest.")] = "",
) -> None:
    """Forecast every series of FILE; each row says which method made it, and why not the model."""
    panel = _panel(file, columns)
    trained = FittedModel.from_bytes(model.read_bytes()) if model else None
    steps = [h for h in trained.horizons if h <= ahead] if trained else range(1, ahead + 1)
    made = forecasting.predict(trained, panel, _day(at, "at") or panel.last_day, steps)
    _write(made, output)
    told = made.filter(pl.col("level") == 500).group_by("method").len().sort("method")
    spoken = ", ".join(f"{count} by {method}" for method, count in told.iter_rows())
    typer.echo(f"{output}: {made.height} rows; forecasts: {spoken or 'none'}.")


@app.command()
def backtest(
    file: Annotated[
        Path | None, typer.Argument(help="CSV or Parquet, one row a series and day.", show_default=False)
    ] = None,
    *,
    columns: Columns = DEFAULT_COLUMNS,
    ahead: Ahead = 7,
    origins: Annotated[int, typer.Option(min=1, help="How many of the newest days to forecast from.")] = 6,
    seed: Seed = 0,
    as_json: AsJson = False,
) -> None:
    """Forecast from past days of FILE with only what was known then, and score what came.

    The score is the weighted interval score, in units of the series; less is
    better. The naive methods are scored on the same tasks.
    """
    if file is None:
        raise typer.BadParameter("name a file of series.", param_hint="FILE")
    panel = _panel(file, columns)
    with screen.status(f"Forecasting {panel.quality.height} series from {origins} past days ..."):
        try:
            report = forecasting.backtest(panel, range(1, ahead + 1), origins=origins, seed=seed)
        except TooLittleHistory as few:
            raise Invalid(f"{file.name} is too short for a backtest: {few}", field="file") from None
    typer.echo(json.dumps(report.to_json()) if as_json else "\n".join(_told(report)))


def _told(report: BacktestReport) -> Iterable[str]:
    first, last = report.origins[0], report.origins[-1]
    yield f"{len(report.origins)} days, {first} to {last}; seasonal-naive looks {report.season} steps back."
    yield " horizon    tasks       WIS  to seasonal   to last   50 %   80 %   95 %"
    for score in report.scores:
        if score.method != "model":
            continue
        held = " ".join(f"{c:6.2f}" for c in score.coverage)
        yield (
            f"{score.horizon or 'all':>8} {score.tasks:>8} {score.wis:>9.3f}"
            f" {report.relative('seasonal-naive', score.horizon):>12.3f}"
            f" {report.relative('persistence', score.horizon):>9.3f} {held}"
        )


def _panel(file: Path, columns: str) -> Panel:
    frame = _read(file)
    ours = ("series", "day", "value", "group", "mark")
    theirs = [name.strip() for name in columns.split(",")]
    if not 3 <= len(theirs) <= len(ours):
        raise typer.BadParameter("name three to five columns.", param_hint="--columns")
    optional = set(ours[3:]) if columns == DEFAULT_COLUMNS else set()
    chosen = {a: pl.col(b) for a, b in zip(ours, theirs, strict=False) if b in frame.columns or a not in optional}
    missing = [b for a, b in zip(ours, theirs, strict=False) if a in chosen and b not in frame.columns]
    if missing:
        raise Invalid(f"{file.name} has no column {missing[0]!r}; it has {', '.join(frame.columns)}.", field="columns")
    return Panel.of(frame.select(**chosen))


def _read(file: Path) -> pl.DataFrame:
    try:
        if file.suffix.lower() == ".parquet":
            return pl.read_parquet(file)
        return pl.read_csv(file, try_parse_dates=True, infer_schema_length=None)
    except (pl.exceptions.PolarsError, OSError, UnicodeDecodeError) as error:
        raise Invalid(f"{file.name} cannot be read: {str(error).splitlines()[0]}", field="file") from None


def _write(frame: pl.DataFrame, file: Path) -> None:
    if file.suffix.lower() == ".parquet":
        frame.write_parquet(file)
    else:
        frame.write_csv(file)


def _day(text: str, name: str) -> date | None:
    if not text:
        return None
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise Invalid(f"{name} is {text!r}; it must be a day such as 2024-01-31.", field=name) from None
