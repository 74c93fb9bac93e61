"""`sharewell forecast backtest --format hub`: what its options must be, and what is said when they are not."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path

import polars as pl
import pytest
from click.exceptions import UsageError
from typer.testing import CliRunner, Result

from sharewell.cli.forecast import app
from sharewell.cli.forecast_hub import saturdays
from sharewell.domain.errors import Invalid
from sharewell_workers.forecasting.hub import epidemics, lessons

SATURDAY = "2024-11-23"


def run(*words: str | Path) -> Result:
    found = CliRunner().invoke(app, ["backtest", *(str(word) for word in words)])
    if isinstance(found.exception, Invalid | UsageError):
        raise found.exception
    return found


@pytest.fixture
def tables(tmp_path: Path) -> tuple[Path, Path]:
    """Truth and vintages of one place and two weeks."""
    weeks = {"location": ["01", "01"], "target_end_date": [date(2024, 11, 9), date(2024, 11, 16)], "value": [5.0, 6.0]}
    truth, vintages = tmp_path / "truth.parquet", tmp_path / "vintages.parquet"
    pl.DataFrame(weeks).write_parquet(truth)
    pl.DataFrame({"as_of": [date(2024, 11, 20)] * 2, **weeks}).write_parquet(vintages)
    return truth, vintages


def test_dates_are_read_one_by_one_or_as_every_saturday_between() -> None:
    assert saturdays("2024-11-30, 2024-11-23") == [date(2024, 11, 23), date(2024, 11, 30)]
    assert saturdays("2024-11-20..2024-12-07") == [date(2024, 11, 23), date(2024, 11, 30), date(2024, 12, 7)]
    assert len(saturdays("2024-11-23..2025-05-31")) == 28
    assert saturdays("2024-11-23..2024-11-23,2024-12-07") == [date(2024, 11, 23), date(2024, 12, 7)]


@pytest.mark.parametrize(
    ("dates", "sentence"),
    [
        ("2024-11-22", "names Friday 2024-11-22; a reference date is a Saturday: 2024-11-23"),
        ("2024-11-23,2024-11-23", "names 2024-11-23 twice"),
        ("2024-11-23,2024-11-16..2024-11-30", "names 2024-11-23 twice"),
        ("last week", "has 'last week'; it takes Saturdays"),
        ("2024-11-23,", "has ''"),
        ("2024-11-24..2024-11-28", "no Saturday in"),
        ("2024-11-30..2024-11-23", "no Saturday in"),
    ],
)
def test_dates_that_cannot_be_are_refused(dates: str, sentence: str) -> None:
    with pytest.raises(Invalid, match=sentence) as why:
        saturdays(dates)
    assert why.value.field == "dates"


def test_what_the_hub_needs_is_named() -> None:
    found = run("--format", "hub", "--dates", SATURDAY)
    assert found.exit_code == 2
    assert "needs --truth, --vintages, --out" in " ".join(found.stderr.split()).replace("│ ", "")


def test_a_file_of_series_does_not_go_with_the_hub(tables: tuple[Path, Path]) -> None:
    found = run(tables[0], "--format", "hub")
    assert found.exit_code == 2
    assert "--truth and --vintages instead" in found.stderr


def test_options_of_the_hub_do_not_go_with_series(tables: tuple[Path, Path]) -> None:
    found = run(tables[0], "--baseline", tables[0])
    assert found.exit_code == 2
    assert "--baseline goes with --format hub" in found.stderr


@pytest.mark.parametrize("option", ["truth", "vintages", "history", "baseline"])
def test_a_table_that_cannot_be_read_is_named_by_its_option(
    tables: tuple[Path, Path], tmp_path: Path, option: str
) -> None:
    bad, out = tmp_path / "bad.parquet", tmp_path / "out.parquet"
    bad.write_bytes(b"no table")
    named = {"truth": tables[0], "vintages": tables[1]} | {option: bad}
    words = [word for name, file in named.items() for word in (f"--{name}", file)]
    with pytest.raises(Invalid, match=r"bad.parquet cannot be read") as why:
        run("--format", "hub", *words, "--dates", SATURDAY, "--out", out)
    assert why.value.field == option
    assert not out.exists()


@pytest.mark.parametrize(("option", "column"), [("truth", "value"), ("vintages", "as_of"), ("history", "location")])
def test_a_table_without_a_column_is_named_by_its_option(
    tables: tuple[Path, Path], tmp_path: Path, option: str, column: str
) -> None:
    bad = tmp_path / "bad.parquet"
    pl.read_parquet(tables[1]).drop(column).write_parquet(bad)
    named = {"truth": tables[0], "vintages": tables[1]} | {option: bad}
    words = [word for name, file in named.items() for word in (f"--{name}", file)]
    with pytest.raises(Invalid, match=f"--{option}: bad.parquet has no column '{column}'") as why:
        run("--format", "hub", *words, "--dates", SATURDAY, "--out", tmp_path / "out.parquet")
    assert why.value.field == option


def test_a_table_without_rows_is_refused(tables: tuple[Path, Path], tmp_path: Path) -> None:
    pl.read_parquet(tables[0])[:0].write_parquet(tmp_path / "none.parquet")
    with pytest.raises(Invalid, match=r"--truth: none\.parquet has no rows"):
        run("--format", "hub", "--truth", tmp_path / "none.parquet", "--vintages", tables[1], "--dates", SATURDAY,
            "--out", tmp_path / "out.parquet")  # fmt: skip


def test_a_season_is_forecast_and_scored_from_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lessons, "WORLDS", 3)
    counts = epidemics.world(78, 0).admissions[:6, 60:80]
    weeks = [date(2025, 9, 6) + timedelta(weeks=week) for week in range(20)]
    truth = pl.concat(
        pl.DataFrame({"location": [f"{place:02d}"] * 20, "target_end_date": weeks, "value": line})
        for place, line in enumerate(counts, 1)
    )
    files = {name: tmp_path / f"{name}.parquet" for name in ("truth", "vintages", "made", "again")}
    truth.write_parquet(files["truth"])
    truth.with_columns(as_of=pl.col("target_end_date") + timedelta(days=4)).write_parquet(files["vintages"])
    dates = ["--dates", "2025-12-20,2025-12-27"]
    words: list[str | Path] = ["--format", "hub", "--truth", files["truth"], "--vintages", files["vintages"]]
    found = run(*words, *dates, "--out", files["made"])
    assert found.exit_code == 0
    assert "2 of 2 dates" in found.stdout
    made = pl.read_parquet(files["made"])
    assert made.columns == ["reference_date", "location", "horizon", "target_end_date", "quantile", "value"]
    assert made.height == 2 * 6 * 4 * 23
    scored = run(
        *words, "--dates", "2025-12-27", "--strict", "--out", files["again"], "--baseline", files["made"]
    )  # the same forecasts against themselves
    assert "relative_wis  1.0000" in scored.stdout
    assert pl.read_parquet(files["again"]).equals(made.filter(pl.col("reference_date") == date(2025, 12, 27)))
