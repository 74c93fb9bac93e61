"""`sharewell forecast` from files: what a user types, and what a user is told."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest
from typer.testing import CliRunner, Result

from sharewell.cli.forecast import app
from sharewell.domain.errors import Invalid
from sharewell.domain.forecast import HUB_LEVELS

Wave = Callable[..., pl.DataFrame]


def run(*words: str | Path) -> Result:
    found = CliRunner().invoke(app, [str(word) for word in words])
    if found.exception is not None and not isinstance(found.exception, SystemExit):
        raise found.exception
    return found


@pytest.fixture
def beds(wave: Wave, tmp_path: Path) -> Path:
    file = tmp_path / "beds.csv"
    wave(20, 60).write_csv(file)
    return file


def test_a_model_is_trained_named_by_its_hash_and_used(beds: Path, tmp_path: Path) -> None:
    model, out = tmp_path / "model.json", tmp_path / "out.csv"
    told = run("fit", beds, "-o", model, "--ahead", "2").stdout.split()
    assert told[0] == hashlib.sha256(model.read_bytes()).hexdigest()
    assert "20 by model" not in run("predict", beds, "-o", out, "--ahead", "2").stdout
    assert "40 by model" in run("predict", beds, "--model", model, "-o", out).stdout
    made = pl.read_csv(out)
    assert made.columns == ["series", "target", "horizon", "level", "value", "method", "fallback"]
    assert (set(made["method"]), set(made["horizon"]), made.height) == ({"model"}, {1, 2}, 20 * 2 * 7)


def test_without_a_model_forecasts_are_naive_and_say_so(beds: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.parquet"
    assert "by persistence" in run("predict", beds, "-o", out, "--ahead", "1", "--at", "2024-02-01").stdout
    made = pl.read_parquet(out)
    assert set(made["fallback"]) == {"no trained model is in force"}
    assert {str(day) for day in made["target"]} == {"2024-02-02"}


def test_a_backtest_prints_a_table_and_json_for_programs(beds: Path) -> None:
    table = run("backtest", beds, "--ahead", "2", "--origins", "2").stdout.splitlines()
    assert [line.split()[0] for line in table[2:]] == ["all", "1", "2"]
    report = json.loads(run("backtest", beds, "--ahead", "2", "--origins", "2", "--json").stdout)
    assert report["scores"][0]["tasks"] == 80


def test_a_report_tells_the_scores_and_writes_the_pictures(beds: Path, tmp_path: Path) -> None:
    out = tmp_path / "pictures"
    told = run("report", beds, "--ahead", "2", "--origins", "2", "-o", out, "--unit", "beds", "--html").stdout
    assert "20 series, daily, 2024-01-01 to 2024-02-29." in told
    assert "nothing odd" in told
    assert "log WIS" in told
    assert {file.name for file in out.iterdir()} == {"fans.svg", "calibration.svg", "horizons.svg", "report.html"}
    assert "weighted interval score, beds" in (out / "horizons.svg").read_text()
    assert "20 series, daily" in (out / "report.html").read_text()


def test_the_same_report_writes_the_same_bytes(beds: Path, tmp_path: Path) -> None:
    words = ("report", beds, "--ahead", "2", "--origins", "1", "--fans", "1", "-o")
    one, two = (tmp_path / name for name in ("one", "two"))
    run(*words, one)
    run(*words, two)
    for picture in one.iterdir():
        assert picture.read_bytes() == (two / picture.name).read_bytes()


def test_a_report_on_kept_forecasts_scores_those_and_shows_what_the_model_says_now(beds: Path, tmp_path: Path) -> None:
    model, kept, out = tmp_path / "model.json", tmp_path / "kept.parquet", tmp_path / "pictures"
    run("fit", beds, "-o", model, "--ahead", "2", "--until", "2024-02-20")
    run("predict", beds, "--model", model, "-o", kept, "--at", "2024-02-20")
    words = ("report", beds, "--made", kept, "--model", model, "--series", "h004", "-o", out, "--format", "png")
    told = json.loads(run(*words, "--json").stdout)
    assert told["backtest"]["origins"] == ["2024-02-20"]
    assert told["backtest"]["scores"][0]["tasks"] == 40
    assert told["model"] == hashlib.sha256(model.read_bytes()).hexdigest()
    assert {Path(file).name for file in told["files"]} == {
        "fans.png", "ahead.png", "calibration.png", "horizons.png"
    }  # fmt: skip


def test_a_report_on_forecasts_whose_days_have_not_come_draws_them_and_says_so(beds: Path, tmp_path: Path) -> None:
    run("predict", beds, "-o", tmp_path / "made.csv", "--ahead", "2")
    told = run("report", beds, "--made", tmp_path / "made.csv", "-o", tmp_path / "out").stdout
    assert "No score" in told
    assert [file.name for file in (tmp_path / "out").iterdir()] == ["fans.svg"]


def test_a_file_that_says_since_when_each_row_was_known_is_looked_back_on_as_it_was(wave: Wave, tmp_path: Path) -> None:
    rows = wave(20, 60)
    first = rows.with_columns(pl.col("value") * 0.7, as_of=pl.col("day"))
    told = pl.concat([first, rows.with_columns(as_of=pl.col("day") + pl.duration(days=3))])
    told.write_csv(tmp_path / "told.csv")
    rows.write_csv(tmp_path / "final.csv")
    words = ("--ahead", "2", "--origins", "2", "--json")
    then, now = (json.loads(run("backtest", tmp_path / f"{name}.csv", *words).stdout) for name in ("told", "final"))
    assert then["scores"][0]["tasks"] == now["scores"][0]["tasks"]
    assert float(then["scores"][0]["wis"]) > float(now["scores"][0]["wis"])  # the newest days were told too low
    made = tmp_path / "made.csv"
    run("predict", tmp_path / "told.csv", "--at", "2024-02-10", "-o", made)
    low = pl.read_csv(made)["value"].mean()
    run("predict", tmp_path / "final.csv", "--at", "2024-02-10", "-o", made)
    assert low < pl.read_csv(made)["value"].mean()  # type: ignore[operator]


def test_all_levels_of_the_hubs_or_a_few_can_be_asked_for(beds: Path, tmp_path: Path) -> None:
    words = ("--ahead", "1", "--origins", "1", "--json")
    hub = json.loads(run("backtest", beds, *words, "--levels", "hub").stdout)
    assert hub["levels"] == list(HUB_LEVELS)
    model = tmp_path / "model.json"
    run("fit", beds, "-o", model, "--ahead", "1", "--levels", "100,500,900")
    run("predict", beds, "--model", model, "-o", tmp_path / "made.csv")
    assert set(pl.read_csv(tmp_path / "made.csv")["level"]) == {100, 500, 900}
    with pytest.raises(Invalid, match="it takes stored, hub, or numbers"):
        run("fit", beds, "-o", model, "--levels", "most")
    with pytest.raises(Invalid, match="50, 80 and 95 % bands"):
        run("backtest", beds, *words, "--levels", "100,500,900")


def test_sums_of_groups_and_of_all_are_forecast_too_and_left_out_of_scores(beds: Path, tmp_path: Path) -> None:
    made = tmp_path / "made.csv"
    run("predict", beds, "-o", made, "--ahead", "1", "--at", "2024-02-20", "--sums")
    series = set(pl.read_csv(made)["series"])
    assert {"region:g0", "region:g1", "region:g2", "all"} < series
    told = run("report", beds, "--made", made, "-o", tmp_path / "out", "--json").stdout
    assert json.loads(told)["backtest"]["scores"][0]["tasks"] == 20


def test_other_columns_may_be_looked_at_beside(wave: Wave, tmp_path: Path) -> None:
    file, model, made = tmp_path / "two.csv", tmp_path / "model.json", tmp_path / "made.csv"
    wave(20, 60).with_columns(admitted=pl.col("value").shift(-1).over("series") / 4).write_csv(file)
    words = ("--ahead", "2", "--origins", "2", "--json")
    alone, both = (
        json.loads(run("backtest", file, *words, *more).stdout)["scores"][0] for more in ((), ("--beside", "admitted"))
    )
    assert both["tasks"] == alone["tasks"]
    assert float(both["wis"]) < float(alone["wis"])  # admissions that foretell tomorrow's beds
    run("fit", file, "-o", model, "--ahead", "1", "--beside", "admitted")
    run("predict", file, "--model", model, "-o", made, "--beside", "admitted")
    assert set(pl.read_csv(made)["method"]) == {"model"}
    with pytest.raises(Invalid, match="no column 'nurses'"):
        run("fit", file, "-o", model, "--beside", "nurses")


def test_names_that_look_like_numbers_stay_as_they_are(wave: Wave, tmp_path: Path) -> None:
    rows = wave(4, 60).with_columns(site=pl.col("series").str.replace("h", "0"), region=pl.lit("01"))
    rows.select("site", "day", "value", "region").write_csv(tmp_path / "beds.csv")
    words = ("--columns", "site,day,value,region", "-o", tmp_path / "made.parquet", "--ahead", "1", "--sums")
    run("predict", tmp_path / "beds.csv", *words)
    made = pl.read_parquet(tmp_path / "made.parquet")
    assert set(made["series"]) == {"0000", "0001", "0002", "0003", "region:01", "all"}


def test_columns_may_have_other_names(wave: Wave, tmp_path: Path) -> None:
    file = tmp_path / "named.parquet"
    wave(20, 60).rename({"series": "site", "day": "date", "value": "beds"}).write_parquet(file)
    assert run("fit", file, "--columns", "site,date,beds", "-o", tmp_path / "m.json").exit_code == 0


@pytest.mark.parametrize(
    ("content", "options", "sentence"),
    [
        ("series,day\na,2024-01-01\n", (), "no column 'value'"),
        ("series,day,value\na,2024-01-01,5\n", (), "too short to train on"),
        ("series,day,value\na,2024-01-01,many\n", (), "another kind"),
        ("series,day,value\na,2024-01-01,5\n", ("--until", "yesterday"), "such as 2024-01-31"),
        ("", (), "cannot be read"),
    ],
)
def test_a_file_that_cannot_be_used_is_refused_with_a_sentence(
    tmp_path: Path, content: str, options: tuple[str, ...], sentence: str
) -> None:
    file = tmp_path / "bad.csv"
    file.write_text(content)
    with pytest.raises(Invalid, match=sentence):
        run("fit", file, "-o", tmp_path / "m.json", *options)
    assert not (tmp_path / "m.json").exists()


def test_bytes_that_are_no_model_are_refused(beds: Path, tmp_path: Path) -> None:
    with pytest.raises(Invalid, match="no forecast model"):
        run("predict", beds, "--model", beds, "-o", tmp_path / "out.csv")
