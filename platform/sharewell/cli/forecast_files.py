"""Files of `sharewell forecast`: named, read and written; what cannot be used is refused with a sentence."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Annotated, Final

import polars as pl
import typer

from sharewell.domain.errors import Invalid
from sharewell.domain.forecast import HUB_LEVELS, LEVELS
from sharewell_workers.forecasting import Panel
from sharewell_workers.forecasting.panel import describe

OURS = ("series", "day", "value", "group", "mark")
SHAPE = ("series", "step_days", "observed", "rows")  #: counts that say nothing odd
MORE = ("as_of", "unit", "lower", "upper", "transferred", "size")  #: taken where the file has them, under these names
BESIDE = "beside "  #: keeps the names of other signals apart from ours
DEFAULT_COLUMNS = ",".join(OURS)

SeriesFile = Annotated[
    Path, typer.Argument(help="CSV or Parquet, one row a series and day.", exists=True, dir_okay=False)
]
MaybeFile = Annotated[Path | None, typer.Argument(help="CSV or Parquet, one row a series and day.", show_default=False)]
Columns = Annotated[
    str,
    typer.Option(
        help="Names of the columns for series, day and value, then group and mark if there are any.",
        metavar="SERIES,DAY,VALUE[,GROUP[,MARK]]",
    ),
]
Ahead = Annotated[int, typer.Option(min=1, max=60, help="Steps to look ahead: days of daily, weeks of weekly series.")]
Seed = Annotated[int, typer.Option(min=0, help="The same rows and seed give the same bytes.")]
Country = Annotated[str, typer.Option(help="Whose holidays count, as ISO 3166: DE, US-NJ; by default as groups say.")]
Beside = Annotated[str, typer.Option(help="Columns of other signals to look at, such as admissions beside beds.")]
Levels = Annotated[
    str,
    typer.Option(help="stored: the 7 that are stored; hub: the 23 of the public hubs; or per mille, 500 among them."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object for a program to read.")]


@dataclass(frozen=True, slots=True)
class Source:
    """The rows of FILE under our names, not yet cleaned."""

    name: str
    frame: pl.DataFrame
    country: str | None
    beside: tuple[str, ...] = ()  #: columns of other signals

    @property
    def dated(self) -> bool:
        """Whether the file says when each value became known."""
        return "as_of" in self.frame.columns

    def panel(self, on: date | None = None, *, step: int | None = None) -> Panel:
        """The series, cleaned; as they were known `on` a day, where the file says when each value became known.

        Raises `Invalid` if the file has no row that can be used.
        """
        known_on = on if self.dated else None
        found = Panel.of(self.frame.drop(self.beside), country=self.country, step=step, known_on=known_on)
        if found.frame.is_empty() and step is None:
            by = f" that was known by {on}" if self.dated and on else ""
            raise Invalid(f"{self.name} has no row with a series and a day{by}.", field="file")
        others = {name: Panel.of(self._told(name), step=found.step, known_on=known_on) for name in self.beside}
        return found.seen_with(**others)

    def _told(self, name: str) -> pl.DataFrame:
        """The rows with another signal as their value."""
        own = [
            column for column in (*OURS[3:], "lower", "upper", "transferred", "unit") if column in self.frame.columns
        ]
        return self.frame.drop(own).with_columns(value=name)

    def known(self, now: Panel) -> Callable[[date], Panel] | None:
        """The panel as it was known on a day, for a backtest of `now`; None if the file does not tell."""
        return (lambda day: self.panel(day, step=now.step)) if self.dated else None


def source(file: Path, columns: str, country: str = "", beside: str = "") -> Source:
    """The rows of FILE under our names. Raises `Invalid` for a file that cannot be read or lacks a column."""
    theirs = [name.strip() for name in columns.split(",")]
    ours = columns == DEFAULT_COLUMNS
    frame = read(file, text=[theirs[0], *theirs[3:4]], days=[*theirs[1:2], *(["as_of"] if ours else [])])
    if not 3 <= len(theirs) <= len(OURS):
        raise typer.BadParameter("name three to five columns.", param_hint="--columns")
    optional = set(OURS[3:]) if ours else set()
    chosen = {a: pl.col(b) for a, b in zip(OURS, theirs, strict=False) if b in frame.columns or a not in optional}
    others = tuple(dict.fromkeys(name.strip() for name in beside.split(",") if name.strip()))
    missing = [name for name in others if name not in frame.columns]
    missing += [b for a, b in zip(OURS, theirs, strict=False) if a in chosen and b not in frame.columns]
    if missing:
        has = ", ".join(frame.columns)
        hint = "say which is which with --columns" if missing[0] in theirs else "name one of these with --beside"
        raise Invalid(f"{file.name} has no column {missing[0]!r}; it has {has}; {hint}.", field="columns")
    more = [pl.col(name) for name in MORE if name in frame.columns and ours]
    frame = frame.select(*more, **chosen, **{f"{BESIDE}{name}": pl.col(name) for name in others})
    return Source(file.name, frame, country or None, tuple(f"{BESIDE}{name}" for name in others))


def quality(panel: Panel) -> str:
    """One line on what is there, and what is missing or odd."""
    totals = describe(panel)
    odd = [f"{count} {name.replace('_', ' ')}" for name, count in totals.items() if name not in SHAPE and count]
    return f"Quality: {totals['observed']} values of {totals['series']} series; {', '.join(odd) or 'nothing odd'}."


def read(
    file: Path, option: str = "file", *, text: Sequence[str] = ("series",), days: Sequence[str] = ()
) -> pl.DataFrame:
    """Rows of a CSV or Parquet file; `Invalid` names the option it came from.

    Columns named in `text` hold names: `0101` stays `0101`. Those in `days` hold days, where the file has them.
    """
    try:
        if file.suffix.lower() == ".parquet":
            frame = pl.read_parquet(file)
        else:
            names = dict.fromkeys((*text, *days), pl.String)
            frame = pl.read_csv(file, try_parse_dates=True, infer_schema_length=None, schema_overrides=names)
    except (pl.exceptions.PolarsError, OSError, UnicodeDecodeError) as error:
        why = (str(error).splitlines() or ["it holds nothing readable"])[0]
        raise Invalid(f"{file.name} cannot be read: {why}", field=option) from None
    return frame.with_columns(_days(frame[name]) for name in days if name in frame.columns)


#: A day as ISO 8601 writes it, with or without a time.
_DAY: Final = r"^\d{4}-\d{2}-\d{2}([T ]\d{2}:\d{2}(:\d{2}([.,]\d+)?)?(Z|[+-]\d{2}(:?\d{2})?)?)?$"


def _days(given: pl.Series) -> pl.Series:
    """Days as the file has them, or as ISO 8601 writes them, with or without a time. Raises `Invalid` for others.

    Nothing else is guessed at: 02/03/2024 is a day of February to some and of March to others.
    """
    if given.dtype != pl.String:
        return given
    told = given.str.strip_chars()
    days = told.set(~told.str.contains(_DAY), None).str.slice(0, 10).str.to_date("%Y-%m-%d", strict=False)
    wrong = given.filter(days.is_null() & given.is_not_null())
    if len(wrong):
        raise Invalid(f"column {given.name!r} holds {wrong[0]!r}; write each day as 2024-01-31.", field="day")
    return days


def write(frame: pl.DataFrame, file: Path) -> None:
    """Write rows as Parquet if the name ends so, else as CSV; the file is there whole or not at all."""
    with NamedTemporaryFile(dir=_folder(file), prefix=f".{file.name}.", delete=False) as part:
        unfinished = Path(part.name)
    try:
        if file.suffix.lower() == ".parquet":
            frame.write_parquet(unfinished)
        else:
            frame.write_csv(unfinished)
        _settle(unfinished, file)
    finally:
        unfinished.unlink(missing_ok=True)


def write_bytes(data: bytes, file: Path) -> None:
    """Write bytes; the file is there whole or not at all."""
    with NamedTemporaryFile(dir=_folder(file), prefix=f".{file.name}.", delete=False) as part:
        unfinished = Path(part.name)
        part.write(data)
    try:
        _settle(unfinished, file)
    finally:
        unfinished.unlink(missing_ok=True)


def levels(text: str) -> tuple[int, ...]:
    """Levels per mille, as people name them."""
    named = {"stored": LEVELS, "hub": HUB_LEVELS}
    try:
        return named[text] if text in named else tuple(sorted({int(level) for level in text.split(",")}))
    except ValueError:
        raise Invalid(
            f"levels is {text!r}; it takes stored, hub, or numbers such as 25,500,975.", field="levels"
        ) from None


def day(text: str, name: str) -> date | None:
    """A day as people type it, or None for none."""
    if not text:
        return None
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise Invalid(f"{name} is {text!r}; it must be a day such as 2024-01-31.", field=name) from None


def _folder(file: Path) -> Path:
    if not file.parent.is_dir():
        raise Invalid(f"there is no folder {str(file.parent)!r} to write {file.name} in.", field="output")
    if file.is_dir():
        raise Invalid(f"{str(file)!r} is a folder; name a file.", field="output")
    return file.parent


def _settle(unfinished: Path, file: Path) -> None:
    """Give a finished file its name, and the rights that any new file would have."""
    mask = os.umask(0)
    os.umask(mask)
    unfinished.chmod(0o666 & ~mask)
    unfinished.replace(file)
