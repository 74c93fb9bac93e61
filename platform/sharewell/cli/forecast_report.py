"""`sharewell forecast report`: what forecasts were worth, as a table, as pictures and, if wanted, as one page."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from rich.console import Console

from sharewell.cli import forecast_files as files
from sharewell.cli import forecast_trial as trials
from sharewell.cli.forecast_files import (
    DEFAULT_COLUMNS,
    Ahead,
    AsJson,
    Beside,
    Columns,
    Country,
    Levels,
    Seed,
    SeriesFile,
)
from sharewell.cli.forecast_trial import TrialFile
from sharewell.domain.audit import Decision
from sharewell.domain.errors import Invalid
from sharewell_workers import forecasting
from sharewell_workers.forecasting import BacktestReport, FittedModel, Panel, Recipe, TooLittleHistory, fans, made
from sharewell_workers.forecasting.panel import describe

if TYPE_CHECKING:
    import polars as pl

screen = Console(stderr=True)

ModelFile = Annotated[
    Path | None, typer.Option("--model", help="A model from `fit`: its choices looked back on, its forecast shown.",
                              exists=True, dir_okay=False, show_default=False),
]  # fmt: skip
MadeFile = Annotated[
    Path | None, typer.Option("--made", help="Forecasts from `predict`: scored where their days have come.",
                              exists=True, dir_okay=False, show_default=False),
]  # fmt: skip
Folder = Annotated[Path, typer.Option("-o", "--output", help="Folder for the pictures; made if it is not there.")]


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """Everything that is told and drawn."""

    name: str  #: of the file
    panel: Panel
    report: BacktestReport
    model: FittedModel | None = None
    trial: Decision | None = None
    told: pl.DataFrame | None = None  #: forecasts from a file; None after a backtest
    drawn: dict[str, bytes] = field(default_factory=dict)  #: picture by name


def report(
    file: SeriesFile,
    *,
    output: Folder = Path("forecast-report"),
    model: ModelFile = None,
    made: MadeFile = None,
    trial: TrialFile = None,
    columns: Columns = DEFAULT_COLUMNS,
    beside: Beside = "",
    ahead: Ahead = 7,
    origins: Annotated[int, typer.Option(min=1, help="How many of the newest days to forecast from.")] = 14,
    seed: Seed = 0,
    country: Country = "",
    levels: Levels = "stored",
    series: Annotated[list[str] | None, typer.Option(help="A series to draw; repeatable.", show_default=False)] = None,
    count: Annotated[int, typer.Option("--fans", min=1, max=30, help="How many series to draw if none is named.")] = 6,
    unit: Annotated[str, typer.Option(help="What is counted, to label the pictures.", show_default=False)] = "",
    form: Annotated[Literal["svg", "png"], typer.Option("--format", help="Of the pictures.")] = "svg",
    html: Annotated[bool, typer.Option("--html", help="Also one page with everything, to send or print.")] = False,
    as_json: AsJson = False,
) -> None:
    """Say and draw what forecasts of FILE were worth: fans, calibration, and scores by horizon.

    Forecasts are made from past days of FILE, as in a backtest, or read from a
    file (--made) of what `predict` wrote on earlier days.
    """
    source = files.source(file, columns, country, beside)
    panel = source.panel()
    fans_of = list(dict.fromkeys(series or []))
    fans.check(fans_of, panel)
    trained = FittedModel.from_bytes(model.read_bytes()) if model else None
    tried = trials.read(trial) if trial else None
    with screen.status(f"Looking back on {panel.quality.height} series ..."):
        if made:
            seen = _read_back(file.name, panel, trained, made)
        else:
            recipe = Recipe.for_step(panel.step, levels=files.levels(levels))
            seen = _looked_back(source, panel, trained, range(1, ahead + 1), origins, seed, recipe)
        seen = replace(seen, trial=tried, drawn=_drawn(seen, fans_of, count, unit or panel.unit or "units", form))
    written = _written(seen, output, form, html=html)
    typer.echo(json.dumps(_plain(seen, written)) if as_json else "\n".join((*_lines(seen), *_places(written))))


LEGEND = (
    "WIS: how far off the whole fan was, in the unit of the series; less is better. To seasonal, to last: divided by",
    "that of the value a season ago and of the last value; below 1 is worth having. Then what each band held.",
)


def table(report: BacktestReport) -> Iterable[str]:
    """The model's scores, a line a horizon, beside those of the naive methods."""
    first, last = report.origins[0], report.origins[-1]
    days = f"{len(report.origins)} days, {first} to {last}" if first != last else f"One day, {first}"
    yield f"{days}; seasonal-naive looks {report.season} steps back."
    yield " horizon    tasks       WIS   log WIS  to seasonal   to last   50 %   80 %   95 %"
    for score in report.scores:
        if score.method != "model":
            continue
        held = " ".join(f"{c:6.2f}" for c in score.coverage)
        yield (
            f"{score.horizon or 'all':>8} {score.tasks:>8} {score.wis:>9.3f} {score.log_wis:>9.4f}"
            f" {report.relative('seasonal-naive', score.horizon):>12.3f}"
            f" {report.relative('persistence', score.horizon):>9.3f} {held}"
        )


def _looked_back(
    source: files.Source, panel: Panel, model: FittedModel | None, ahead: Sequence[int], origins: int, seed: int,
    recipe: Recipe,
) -> Seen:  # fmt: skip
    """A backtest, with the choices of `model` if there is one."""
    if model is not None:
        ahead, seed, recipe = model.horizons, model.seed, model.recipe
    try:
        known = source.known(panel)
        found = forecasting.backtest(panel, ahead, origins=origins, seed=seed, recipe=recipe, keep=True, known=known)
    except TooLittleHistory as few:
        typer.echo(files.quality(panel), err=True)
        raise Invalid(f"{source.name} is too short to look back on: {few}", field="file") from None
    return Seen(name=source.name, panel=panel, report=found, model=model)


def _read_back(name: str, panel: Panel, model: FittedModel | None, file: Path) -> Seen:
    """Forecasts from a file, scored where their days have come."""
    told = made.conform(files.read(file, "made"))
    fans.check(told["series"].unique().sort().to_list(), panel)
    return Seen(name=name, panel=panel, report=made.scored(told, panel), model=model, told=told)


def _drawn(seen: Seen, asked: list[str], count: int, unit: str, form: Literal["svg", "png"]) -> dict[str, bytes]:
    """Pictures by name: the fans always, calibration and horizons where there are scores."""
    from sharewell_workers.forecasting import plots  # noqa: PLC0415  loads matplotlib

    panel, found = seen.panel, seen.report
    names = dict.fromkeys(asked, "") or fans.choose(found, panel, count)
    told = seen.told if seen.told is not None else fans.told(found, panel, list(names))
    if not found.scores and not asked:
        names = dict.fromkeys(told["series"].unique(maintain_order=True)[:count], "")
    drawn = {"fans": plots.fans(form, fans.fans(told, panel, names), unit=unit)}
    if seen.model is not None:
        coming = forecasting.predict(seen.model, panel, panel.last_day, seen.model.horizons)
        title = f"What comes after {panel.last_day}"
        drawn["ahead"] = plots.fans(form, fans.fans(coming, panel, names), unit=unit, title=title)
    if found.scores:
        drawn["calibration"] = plots.calibration(form, found, step=panel.step)
        drawn["horizons"] = plots.horizons(form, found, step=panel.step, unit=unit)
    return drawn


def _written(seen: Seen, folder: Path, form: Literal["svg", "png"], *, html: bool) -> list[Path]:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise Invalid(f"--output: {folder} cannot be made a folder: {error.strerror}.", field="output") from None
    written = []
    for name, picture in seen.drawn.items():
        written.append(folder / f"{name}.{form}")
        files.write_bytes(picture, written[-1])
    if html:
        from sharewell_workers.forecasting.plots.page import page  # noqa: PLC0415

        written.append(folder / "report.html")
        files.write_bytes(page(f"Forecasts of {seen.name}", list(_lines(seen)), seen.drawn, form), written[-1])
    return written


def _lines(seen: Seen) -> Iterable[str]:
    first, every = seen.panel.frame["day"].min(), "weekly" if seen.panel.step == 7 else "daily"
    yield f"{seen.name}: {seen.panel.quality.height} series, {every}, {first!s} to {seen.panel.last_day}."
    yield files.quality(seen.panel)
    if seen.model is not None:
        m = seen.model
        yield f"Model: {m.hash}, learnt from {m.trained_rows} rows up to {m.origin}, seed {m.seed}."
    if seen.trial is not None:
        yield from trials.lines(seen.trial, seen.model.hash if seen.model else None)
    if seen.report.scores:
        yield from table(seen.report)
        yield from LEGEND
    else:
        yield "No score: none of the days that were forecast has a reported value and a naive forecast beside it."


def _places(written: list[Path]) -> Iterable[str]:
    yield f"Pictures: {', '.join(str(path) for path in written)}"


def _plain(seen: Seen, written: list[Path]) -> dict[str, Any]:
    return {
        "backtest": seen.report.to_json(), "quality": describe(seen.panel),
        "model": seen.model.hash if seen.model else None,
        "trial": dict(seen.trial.details) if seen.trial else None, "files": [str(path) for path in written],
    }  # fmt: skip
