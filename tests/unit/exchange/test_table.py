from __future__ import annotations

from datetime import date

import pytest

from sharewell.exchange import table
from sharewell.exchange.feed import FeedRefused
from sharewell.exchange.table import Table

GOOD = b"id,day,beds,note\na,2022-01-07,12,x\nb,2022-01-14,,y\n"


def read(data: bytes) -> Table:
    return table.read(data, need=("id", "day", "beds"))


def refusal(data: bytes) -> FeedRefused:
    with pytest.raises(FeedRefused) as caught:
        read(data)
    return caught.value


def test_a_blank_cell_is_null_and_rows_count_from_the_header() -> None:
    cells = read(GOOD)
    assert cells.numbers("beds").to_list() == [12.0, None]
    assert cells.frame["row"].to_list() == [2, 3]


def test_columns_nobody_asked_for_are_not_kept() -> None:
    assert "note" not in read(GOOD)


def test_a_byte_order_mark_and_windows_line_ends_are_taken() -> None:
    windows = b"\xef\xbb\xbf" + GOOD.replace(b"\n", b"\r\n")
    assert read(windows).frame.equals(read(GOOD).frame)


def test_a_quoted_cell_may_hold_commas_and_quotation_marks() -> None:
    cells = table.read(b'id,note\n1,"a, ""b"""\n', need=("id", "note"))
    assert cells.text("note").to_list() == ['a, "b"']


@pytest.mark.parametrize(
    ("data", "row", "column", "says"),
    [
        (b"", None, None, "empty"),
        (b"  \n\n", None, None, "empty"),
        (b"id,day,beds,note\n", 1, None, "no rows"),
        (GOOD[:-1], 3, "note", "cut off"),
        (GOOD[:-5], 3, "day", "cut off"),
        (GOOD[:-4] + b"\n", 3, "beds", "too few columns"),
        (GOOD[:-2] + b"z,z\n", 3, "note", "too many columns"),
        (GOOD.replace(b"\nb,", b"\n\nb,"), 3, "id", "the row is empty"),
        (GOOD.replace(b"day", b"tag"), 1, "day", "no such column"),
        (GOOD.replace(b"note", b"beds"), 1, "beds", "twice"),
        (GOOD.replace(b"note", b""), 1, None, "column 4 has no name"),
        (GOOD.replace(b"x", b"\xfc"), 2, "note", "0xfc is not UTF-8"),
        (GOOD.decode().encode("utf-16"), 1, None, "UTF-16"),
        (GOOD.replace(b"x", b"\x00"), 2, "note", "control character 0x00"),
        (GOOD.replace(b"x\nb", b"x\rb"), 2, "note", "control character 0x0d"),
        (GOOD.replace(b"x", b'"x'), 2, None, "quotation mark"),
        (GOOD.replace(b"x", b'"x"z'), 2, None, "quotation mark"),
        (b"PK\x03\x04" + GOOD, 1, None, "workbook"),
        (b"\x1f\x8b" + GOOD, 1, None, "unpack"),
        (b",".join(b"c%d" % n for n in range(table.MAX_COLUMNS + 1)) + b"\n1\n", 1, None, "columns"),
    ],
)  # fmt: skip
def test_a_malformed_file_is_refused_with_row_and_column(
    data: bytes, row: int | None, column: str | None, says: str
) -> None:
    refused = refusal(data)
    assert (refused.row, refused.column) == (row, column)
    assert says in refused.message
    assert refused.code == "INVALID"


def test_a_file_too_large_is_refused_before_it_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table, "MAX_BYTES", 10)
    assert "bytes" in refusal(GOOD).message


def test_a_file_with_too_many_rows_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table, "MAX_ROWS", 1)
    assert refusal(GOOD).row == 2


@pytest.mark.parametrize("cell", ["twelve", "12 beds", "1,2", "0x0c", "nan", "inf", "-inf", "1_000", "١٢"])
def test_text_in_a_number_column_is_refused_with_its_row(cell: str) -> None:
    cells = read(GOOD.replace(b"12", f'"{cell}"'.encode()))
    with pytest.raises(FeedRefused) as caught:
        cells.numbers("beds")
    assert (caught.value.row, caught.value.column) == (2, "beds")
    assert repr(cell) in caught.value.message


def test_a_fraction_is_refused_where_whole_units_are_counted() -> None:
    cells = read(GOOD.replace(b"12", b"12.5"))
    with pytest.raises(FeedRefused, match=r"row 2, column beds: '12\.5' is not a whole number"):
        cells.numbers("beds")
    assert cells.numbers("beds", whole=False).to_list() == [12.5, None]


@pytest.mark.parametrize("cell", [b"2022-13-01", b"2022-1-7", b"07.01.2022", b"20220107", b"1999-12-31", b"2022-01-15"])
def test_a_day_that_is_none_or_lies_outside_is_refused_with_its_row(cell: bytes) -> None:
    cells = read(GOOD.replace(b"2022-01-07", cell))
    with pytest.raises(FeedRefused) as caught:
        cells.dates("day", latest=date(2022, 1, 14))
    assert (caught.value.row, caught.value.column) == (2, "day")


def test_a_long_cell_is_not_repeated_in_full() -> None:
    cells = read(GOOD.replace(b"12", b"z" * 5000))
    with pytest.raises(FeedRefused) as caught:
        cells.numbers("beds")
    assert len(caught.value.message) < 200


def test_a_column_of_the_file_cannot_shadow_the_row_numbers() -> None:
    cells = table.read(b"row,id\n7,a\n", need=("id",), want=lambda _: True)
    assert cells.frame["row"].to_list() == [2]
