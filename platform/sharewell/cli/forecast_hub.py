"""`sharewell forecast backtest --format hub`: forecasts for past dates in the form of the public forecast hubs.

For each reference date only the tables that had been published by then are used; docs/forecasting.md says which.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import polars as pl
import typer

from sharewell.cli import forecast_files as files
from sharewell.domain.errors import Invalid

if TYPE_CHECKING:
    from sharewell_workers.forecasting.hub import Hub

SATURDAY = 6  #: ISO weekday; a hub's weeks end on it
WEEKS = ("location", "target_end_date", "value")  #: columns of a table of weeks
NEEDED = {"truth": WEEKS, "vintages": ("as_of", *WEEKS), "history": WEEKS}
NETWORK = "weekendingdate"  #: a column only the National Healthcare Safety Network's own files have

_existing = {"exists": True, "dir_okay": False, "show_default": False}
Truth = Annotated[Path | None, typer.Option(help="Weeks as finally reported; for --format hub.", **_existing)]
Vintages = Annotated[Path | None, typer.Option(help="Weeks with the day each was published, as_of.", **_existing)]
Dates = Annotated[
    str, typer.Option(help="Saturdays to forecast for: D1,D2,... or FIRST..LAST for every one between.", metavar="DAYS")
]
History = Annotated[list[Path] | None, typer.Option(help="Earlier weeks, or other illnesses; repeatable.", **_existing)]
Strict = Annotated[
    bool, typer.Option("--strict", help="Use no table after Wednesday, even where a holiday delayed that week's.")
]
Out = Annotated[Path | None, typer.Option(help="Parquet or CSV to write the forecasts to.", show_default=False)]
Baseline = Annotated[Path | None, typer.Option(help="A hub's baseline forecasts, to be scored against.", **_existing)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What was asked for on the command line."""

    truth: Path | None
    vintages: Path | None
    dates: str
    history: Sequence[Path]
    out: Path | None
    baseline: Path | None
    seed: int
    strict: bool = False

    @property
    def given(self) -> list[str]:
        """Options that were used and that only a hub's backtest has."""
        hubs = ("truth", "vintages", "dates", "history", "out", "baseline", "strict")
        return [f"--{name}" for name in hubs if getattr(self, name)]


def run(asked: Asked) -> Iterator[str]:
    """Forecast for each date, write the file, and yield what to print. Says on stderr how far it is."""
    truth_file, vintages_file, out = _required(asked)
    dates = saturdays(asked.dates)
    truth, vintages = _table(truth_file, "truth"), _table(vintages_file, "vintages")
    history = [_table(file, "history") for file in asked.history]
    baseline = files.read(asked.baseline, "baseline", text=["location"]) if asked.baseline else None
    from sharewell_workers.forecasting import hub  # noqa: PLC0415  slow to load: not before all arguments hold

    made = pl.concat(_forecasts(hub.read(truth, vintages, history), dates, asked))
    files.write(made, out)
    yield f"{out}: {made.height} rows, {made['reference_date'].n_unique()} of {len(dates)} dates."
    if baseline is not None:
        yield from (f"{name:>28}  {_figure(value)}" for name, value in hub.scores(made, truth, baseline).items())


def saturdays(text: str) -> list[date]:
    """The reference dates in `text`, in order. Raises `Invalid` for a day that is no Saturday, or is named twice."""
    named = [day for part in text.split(",") for day in _days(part.strip())]
    twice = sorted({day for day in named if named.count(day) > 1})
    if twice:
        raise Invalid(f"--dates names {twice[0]} twice.", field="dates")
    wrong = [day for day in named if day.isoweekday() != SATURDAY]
    if wrong:
        near = wrong[0] + timedelta(days=(SATURDAY - wrong[0].isoweekday()) % 7)
        raise Invalid(f"--dates names {wrong[0]:%A} {wrong[0]}; a reference date is a Saturday: {near}.", field="dates")
    return sorted(named)


def _days(text: str) -> list[date]:
    """One day, or every Saturday from the first to the last of `FIRST..LAST`."""
    first, between, last = text.partition("..")
    start = _day(first)
    if not between:
        return [start]
    end = _day(last)
    start += timedelta(days=(SATURDAY - start.isoweekday()) % 7)
    found = [start + timedelta(weeks=week) for week in range((end - start).days // 7 + 1)]
    if not found:
        raise Invalid(f"--dates: there is no Saturday in {text}.", field="dates")
    return found


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text.strip())
    except ValueError:
        sample = "such as 2024-11-23, or 2024-11-23..2025-05-31"
        raise Invalid(f"--dates has {text!r}; it takes Saturdays {sample}.", field="dates") from None


def _required(asked: Asked) -> tuple[Path, Path, Path]:
    wanted = {"truth": asked.truth, "vintages": asked.vintages, "dates": asked.dates, "out": asked.out}
    missing = [f"--{name}" for name, given in wanted.items() if not given]
    if missing or asked.truth is None or asked.vintages is None or asked.out is None:
        raise typer.BadParameter(f"--format hub needs {', '.join(missing)}.", param_hint="--format")
    return asked.truth, asked.vintages, asked.out


def _table(file: Path, option: str) -> pl.DataFrame:
    """A table of weeks with the columns that its option needs, and some rows."""
    frame = files.read(file, option, text=["location"], days=["as_of", "target_end_date"])
    missing = [name for name in NEEDED[option] if name not in frame.columns]
    if missing and not (option == "history" and NETWORK in frame.columns):
        has = ", ".join(frame.columns) or "none"
        raise Invalid(f"--{option}: {file.name} has no column {missing[0]!r}; it has {has}.", field=option)
    if frame.is_empty():
        raise Invalid(f"--{option}: {file.name} has no rows.", field=option)
    return frame


def _forecasts(hub: Hub, dates: Sequence[date], asked: Asked) -> list[pl.DataFrame]:
    """Forecasts of every date that had enough history by then; the others are named on stderr."""
    made = []
    for turn, reference in enumerate(dates, 1):
        try:
            made.append(hub.forecasts(reference, seed=asked.seed, strict=asked.strict))
            late = hub.late(reference, strict=asked.strict)
            told = f"; the newest week known is {late} older than usual" if late else ""
            typer.echo(f"{reference}: {made[-1].height} rows ({turn} of {len(dates)}){told}", err=True)
        except Invalid as why:
            typer.echo(f"{reference}: left out ({turn} of {len(dates)}): {why}", err=True)
    if not made:
        raise Invalid("--dates: for none of them was enough known by then to forecast.", field="dates")
    return made


def _figure(value: object) -> str:
    return f"{value:.4f}" if isinstance(value, float) else str(value)
