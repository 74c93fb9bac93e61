"""What the commands of `sharewell forecast` say of files that are not as they should be: a sentence, no traceback."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from sharewell.cli import main

Wave = Callable[..., pl.DataFrame]
Told = tuple[int, str, str]

COMMANDS = {
    "fit": ("--output", "model.json"),
    "predict": ("--output", "forecasts.csv"),
    "backtest": ("--origins", "1"),
    "report": ("--origins", "1", "--fans", "1", "--output", "pictures"),
}
every_command = pytest.mark.parametrize("command", COMMANDS)


@pytest.fixture
def told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Told]:
    """Run a command on rows or on text, as a user would: its exit status and what stood on stdout and stderr."""
    monkeypatch.chdir(tmp_path)

    def run(command: str, rows: pl.DataFrame | str, *more: str) -> Told:
        if isinstance(rows, str):
            Path("beds.csv").write_text(rows)
        else:
            rows.write_csv("beds.csv")
        ahead = ("--ahead", "2")
        monkeypatch.setattr(
            sys, "argv", ["sharewell", "forecast", command, "beds.csv", *ahead, *COMMANDS[command], *more]
        )
        with pytest.raises(SystemExit) as end:
            main.run()
        code, (out, err) = end.value.code, capsys.readouterr()
        assert "Traceback" not in out + err
        return int(code or 0), out, err

    return run


def refused(told: Told, sentence: str) -> None:
    code, out, err = told
    assert (code, out) == (2, "")
    assert err.splitlines()[-1].startswith("sharewell: ")
    assert sentence in err


@every_command
def test_a_missing_column_is_named(told: Callable[..., Told], wave: Wave, command: str) -> None:
    sentence = "beds.csv has no column 'value'; it has series, group, day; say which is which with --columns."
    refused(told(command, wave(12, 40).drop("value")), sentence)


@every_command
@pytest.mark.parametrize("day", [
    "02/03/2024", "2.3.2024", "2024-13-01", "someday", "2024-01-150", "2024-1-15", "20240115", "2024-01-15T25",
])  # fmt: skip
def test_a_day_that_can_be_read_in_two_ways_or_in_none_is_refused(
    told: Callable[..., Told], command: str, day: str
) -> None:
    rows = f"series,day,value\na,2024-01-01,5\na,{day},6\n"
    refused(told(command, rows), f"column 'day' holds '{day}'; write each day as 2024-01-31.")


@every_command
def test_so_is_the_day_since_when_a_row_was_known(told: Callable[..., Told], command: str) -> None:
    rows = "series,day,value,as_of\na,2024-01-01,5,02/03/2024\na,2024-01-02,6,03/03/2024\n"
    refused(told(command, rows), "column 'as_of' holds '02/03/2024'; write each day as 2024-01-31.")


@every_command
def test_blanks_around_a_day_and_a_time_behind_it_change_nothing(
    told: Callable[..., Told], wave: Wave, command: str
) -> None:
    rows = wave(12, 40)
    day = pl.concat_str(pl.lit(" "), pl.col("day").dt.strftime("%Y-%m-%dT06:00:00Z"), pl.lit(" "))
    assert told(command, rows.with_columns(day=day)) == told(command, rows)


@every_command
@pytest.mark.parametrize("text", ["", "series,day,value\n"])
def test_an_empty_file_is_refused(told: Callable[..., Told], command: str, text: str) -> None:
    refused(told(command, text), "beds.csv has no row" if text else "beds.csv cannot be read: empty CSV")


@every_command
def test_a_word_where_a_number_should_be_is_refused(told: Callable[..., Told], command: str) -> None:
    refused(told(command, "series,day,value\na,2024-01-01,5\na,2024-01-02,many\n"), "another kind")


@every_command
def test_a_duplicated_row_changes_nothing_and_is_counted(told: Callable[..., Told], wave: Wave, command: str) -> None:
    rows = wave(12, 40)
    clean = told(command, rows)
    doubled = told(command, pl.concat([rows, rows[:3]]))
    assert doubled[0] == 0
    assert "3 duplicates" in "".join(doubled[1:])
    assert [line for line in doubled[1].splitlines() if "Quality" not in line] == [
        line for line in clean[1].splitlines() if "Quality" not in line
    ]


@every_command
def test_days_out_of_order_change_nothing(told: Callable[..., Told], wave: Wave, command: str) -> None:
    rows = wave(12, 40)
    assert told(command, rows.sample(fraction=1, shuffle=True, seed=3)) == told(command, rows)


@every_command
def test_negative_counts_are_refused_one_by_one_and_counted(
    told: Callable[..., Told], wave: Wave, command: str
) -> None:
    rows = wave(12, 40).with_row_index()
    spoilt = rows.with_columns(value=pl.when(pl.col("index") % 96 == 5).then(-2.0).otherwise("value")).drop("index")
    code, out, err = told(command, spoilt)
    assert code == 0
    assert "5 refused" in out + err


@every_command
def test_a_series_of_nothing_but_blanks_does_not_stop_the_others(
    told: Callable[..., Told], wave: Wave, command: str
) -> None:
    rows = wave(12, 40)
    code, out, _ = told(
        command, rows.with_columns(value=pl.when(pl.col("series") == "h003").then(None).otherwise("value"))
    )
    assert code == 0
    if command == "predict":
        assert "2 by group" in out
        blank = pl.read_csv("forecasts.csv").filter(pl.col("series") == "h003")
        assert set(blank["fallback"]) == {"no value has ever been reported; taken from its group"}


@every_command
def test_nothing_but_blanks_is_told(told: Callable[..., Told], wave: Wave, command: str) -> None:
    found = told(command, wave(12, 40).with_columns(value=pl.lit(None, dtype=pl.Float64)))
    if command == "predict":
        assert found[0] == 0
        assert "forecasts: none, for want of any value by then" in found[1]
    else:
        assert found[0] == 2
        assert "Quality: 0 values of 12 series" in found[2]
        assert "beds.csv is too short" in found[2]


def test_a_series_that_is_not_there_is_named_with_some_that_are(told: Callable[..., Told], wave: Wave) -> None:
    refused(
        told("report", wave(12, 40), "--series", "h099"), "no series 'h099'; there are 12, such as h000, h001, h002."
    )


def test_forecasts_of_a_series_that_is_not_there_are_refused(told: Callable[..., Told], wave: Wave) -> None:
    told("predict", wave(12, 40))
    refused(told("report", wave(11, 40), "--made", "forecasts.csv"), "no series 'h011'")


def test_a_folder_that_cannot_be_made_is_told(told: Callable[..., Told], wave: Wave) -> None:
    refused(told("report", wave(12, 40), "--output", "beds.csv"), "cannot be made a folder")


def test_an_output_in_no_folder_is_told_and_leaves_nothing(told: Callable[..., Told], wave: Wave) -> None:
    refused(told("predict", wave(12, 40), "--output", "nowhere/out.csv"), "there is no folder 'nowhere'")
    assert [file.name for file in Path().iterdir()] == ["beds.csv"]


def test_holidays_of_no_country_are_refused(told: Callable[..., Told], wave: Wave) -> None:
    refused(told("fit", wave(12, 40), "--country", "XX"), "no holidays are known for 'XX'")
