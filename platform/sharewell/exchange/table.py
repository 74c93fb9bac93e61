"""Strict reading of a published CSV: every row has every column, every number is a number, or the file is refused.

Only shape, encoding and types are judged here; what the numbers mean is left to the formats and `rules`.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import date
from typing import Final

import polars as pl

from sharewell.exchange.feed import FeedRefused

MAX_BYTES: Final = 64 * 2**20
MAX_ROWS: Final = 250_000
MAX_COLUMNS: Final = 400
FIRST_ROW: Final = 2  #: a spreadsheet's number of the first row below the header
OURS: Final = frozenset({"row", "institution_code", "as_of", "region", "corrected", "name"})  #: columns readers add
EARLIEST: Final = date(2000, 1, 1)

_CONTROL: Final = bytes(set(range(0x20)) - {0x09, 0x0A, 0x0D}) + b"\x7f"
_SHOWN: Final = 40  #: characters of a wrong cell that a message repeats


@dataclass(frozen=True, slots=True)
class Table:
    """The wanted columns of a CSV as stripped text, blanks as null, and `row`, each line's number in the file."""

    header: tuple[str, ...]
    frame: pl.DataFrame

    def __len__(self) -> int:
        return self.frame.height

    def __contains__(self, column: str) -> bool:
        return column in self.frame.columns

    def text(self, column: str, *, missing: Collection[str] = ()) -> pl.Series:
        """The column as text; cells in `missing` become null."""
        cells = self.frame[column]
        return cells.set(cells.is_in(list(missing)).fill_null(value=False), None) if missing else cells

    def required(self, column: str, *, missing: Collection[str] = ()) -> pl.Series:
        """The column as text, refusing a blank."""
        cells = self.text(column, missing=missing)
        self.refuse_where(cells.is_null(), column, lambda _: "is blank, and every row needs it.")
        return cells

    def numbers(
        self, column: str, *, missing: Collection[str] = (), whole: bool = True, blank: bool = True
    ) -> pl.Series:
        """The column as numbers (Float64, null where missing), refusing everything else.

        `whole` refuses fractions; without `blank` an empty cell is refused, because the dialect writes another word.
        """
        if not blank:
            self.refuse_where(
                self.frame[column].is_null(), column,
                lambda _: f"is blank where this file writes {' or '.join(sorted(missing))}; it mixes two dialects.",
            )  # fmt: skip
        cells = self.text(column, missing=missing)
        numbers = cells.cast(pl.Float64, strict=False)
        wrong = cells.is_not_null() & ~(numbers.is_finite().fill_null(value=False))
        self.refuse_where(wrong, column, lambda cell: f"{cell!r} is not a number.")
        if whole:
            self.refuse_where(numbers.floor() != numbers, column, lambda cell: f"{cell!r} is not a whole number.")
        return numbers

    def dates(self, column: str, *, formats: Collection[str] = ("%Y-%m-%d",), latest: date) -> pl.Series:
        """The column as dates from `EARLIEST` to `latest`, each written in one of `formats`."""
        cells = self.required(column)
        # chrono takes 2022-9-3 for a date, and a year of any length; the shape says that neither was meant.
        shaped = cells.set(~cells.str.contains(r"^\d{4}\D\d{2}\D\d{2}$"), None)
        tried = pl.DataFrame([shaped.str.to_date(form, strict=False).alias(form) for form in formats])
        dates = tried.select(pl.coalesce(pl.all()).alias(column)).to_series()
        example = " or ".join(date(2022, 9, 23).strftime(form) for form in formats)
        self.refuse_where(dates.is_null(), column, lambda cell: f"{cell!r} is not a date written like {example}.")
        self.refuse_where(
            (dates < EARLIEST) | (dates > latest), column,
            lambda cell: f"{cell!r} lies outside {EARLIEST} to {latest}.",
        )  # fmt: skip
        return dates

    def refuse_where(self, wrong: pl.Series, column: str, problem: Callable[[str], str]) -> None:
        """Refuse the file for its first row where `wrong` holds; `problem` gets the cell's text."""
        first = wrong.arg_true().head(1)
        if len(first):
            cell = self.frame[column][first[0]] or ""
            raise FeedRefused(problem(cell[:_SHOWN]), row=int(self.frame["row"][first[0]]), column=column)


def read(data: bytes, *, need: Collection[str], want: Callable[[str], bool] = lambda _: False) -> Table:
    """Read a CSV whose header has at least the columns `need`; others are kept where `want(name)` says so.

    Raises `FeedRefused` with row and column for whatever is not a complete CSV in UTF-8.
    """
    text = _decoded(data)
    header = _shape(text)
    missing = [column for column in need if column not in header]
    if missing:
        raise FeedRefused(
            f"the header has no such column; it begins {', '.join(header[:4])}.", row=1, column=missing[0]
        )
    taken = {name for name in header if name in need or (want(name) and name not in OURS)}
    columns = {place: name for place, name in enumerate(header) if name in taken}
    try:
        # By place, because the names in the file may carry blanks that `header` does not.
        frame = pl.read_csv(io.BytesIO(text.encode()), columns=list(columns), infer_schema=False)
    except pl.exceptions.PolarsError as error:  # pragma: no cover - the shape was checked before
        raise FeedRefused("a row is not CSV: check its quotation marks.") from error
    frame.columns = list(columns.values())
    rows = pl.int_range(FIRST_ROW, frame.height + FIRST_ROW, dtype=pl.UInt32).alias("row")
    return Table(header, frame.select(rows, pl.all().str.strip_chars().replace("", None)))


def _decoded(data: bytes) -> str:
    if len(data) > MAX_BYTES:
        raise FeedRefused(f"the file has {len(data)} bytes; at most {MAX_BYTES} are read.")
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise FeedRefused("the file is UTF-16; save it as UTF-8.", row=1)
    if data.startswith((b"PK\x03\x04", b"\x1f\x8b")):
        raise FeedRefused("the file is an archive or a workbook; unpack it, or save it as CSV.", row=1)
    data = data.removeprefix(b"\xef\xbb\xbf").replace(b"\r\n", b"\n")
    if not data.strip():
        raise FeedRefused("the file is empty.")
    _refuse_control_characters(data)
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        before = data[: error.start]
        raise FeedRefused(
            f"byte 0x{data[error.start]:02x} is not UTF-8; save the file as UTF-8.",
            row=before.count(b"\n") + 1, column=_column_name(data, before),
        ) from error  # fmt: skip
    if not text.endswith("\n"):
        raise FeedRefused(
            "the last row does not end with a line break, so it may be cut off; fetch the file again, "
            "or add the line break if it is whole.",
            row=text.count("\n") + 1,
            column=_column_name(data, data),
        )
    return text


def _refuse_control_characters(data: bytes) -> None:
    for byte in (*_CONTROL, 0x0D):
        at = data.find(byte)
        if at >= 0:
            before = data[:at]
            raise FeedRefused(
                f"the control character 0x{byte:02x} has no place in a CSV.",
                row=before.count(b"\n") + 1, column=_column_name(data, before),
            )  # fmt: skip


def _column_name(data: bytes, before: bytes) -> str | None:
    """Name of the column a byte stands in, as well as commas alone can tell."""
    header = data.split(b"\n", 1)[0].decode("utf-8", "replace").split(",")
    place = before.rsplit(b"\n", 1)[-1].count(b",")
    return header[place].strip('" ') if b"\n" in before and place < len(header) else None


def _shape(text: str) -> tuple[str, ...]:
    """Return the header of `text` after checking that every line is one row with as many columns."""
    rows = csv.reader(io.StringIO(text, newline=""), strict=True)
    header: tuple[str, ...] = ()
    count = 0
    try:
        header = _header(next(rows))
        for count, row in enumerate(rows, start=1):  # the last count is the error's row
            if rows.line_num != count + 1:
                raise FeedRefused("a quotation mark is opened and not closed on its line.", row=count + 1)
            if len(row) != len(header):
                raise FeedRefused(_ragged(row, header), row=count + 1, column=_ragged_column(row, header))
    except csv.Error as error:
        # The rows before are one line each, so the one that fails begins on the next line.
        row_number = count + FIRST_ROW if header else 1
        raise FeedRefused(f"the row is not CSV, check its quotation marks: {error}.", row=row_number) from error
    if not count:
        raise FeedRefused("the file has a header and no rows.", row=1)
    if count > MAX_ROWS:
        raise FeedRefused(f"the file has {count} rows; at most {MAX_ROWS} are read.", row=MAX_ROWS + 1)
    return header


def _ragged(row: list[str], header: tuple[str, ...]) -> str:
    if not row:
        return "the row is empty."
    more = "too many columns" if len(row) > len(header) else "too few columns, so the file may be cut off"
    return f"the row has {more}: {len(row)} where the header has {len(header)}."


def _ragged_column(row: list[str], header: tuple[str, ...]) -> str:
    return header[min(len(row), len(header) - 1)]


def _header(cells: list[str]) -> tuple[str, ...]:
    header = tuple(cell.strip() for cell in cells)
    if len(header) > MAX_COLUMNS:
        raise FeedRefused(f"the header has {len(header)} columns; at most {MAX_COLUMNS} are read.", row=1)
    for place, name in enumerate(header, start=1):
        if not name:
            raise FeedRefused(f"column {place} has no name.", row=1)
        if name in header[: place - 1]:
            raise FeedRefused("the header has it twice.", row=1, column=name)
    return header
