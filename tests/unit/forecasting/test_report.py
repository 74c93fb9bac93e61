"""What is told and drawn of forecasts: kept ones scored, series chosen, pictures that hold what they should."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, timedelta
from xml.etree import ElementTree as ET

import numpy as np
import polars as pl
import pytest

from sharewell.domain.errors import Invalid
from sharewell_workers.forecasting import BacktestReport, Panel, Recipe, backtest, fans, fit, made, plots, predict
from sharewell_workers.forecasting.plots.page import page

ORIGIN = date(2024, 2, 12)
SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture(scope="module")
def report(panel: Panel, small: Recipe) -> BacktestReport:
    return backtest(panel, (1, 2, 3), origins=6, recipe=small, keep=True)


@pytest.fixture(scope="module")
def kept(panel: Panel, small: Recipe) -> pl.DataFrame:
    """Forecasts as they were made on one day of the panel."""
    model = fit(panel, (1, 2, 3), recipe=small, origin=ORIGIN)
    return predict(model, panel.until(ORIGIN), ORIGIN, (1, 2, 3))


def words(picture: bytes) -> set[str]:
    return {"".join(text.itertext()) for text in ET.fromstring(picture).iter(f"{SVG}text")}


def test_kept_forecasts_score_as_a_backtest_from_that_day_does(panel: Panel, small: Recipe, kept: pl.DataFrame) -> None:
    ours = made.scored(kept, panel)
    theirs = backtest(panel, (1, 2, 3), origins=[ORIGIN], recipe=small)
    assert ours.origins == theirs.origins == (ORIGIN,)
    for score in theirs.scores:
        assert ours.of(score.method, score.horizon).wis == pytest.approx(score.wis)
        assert ours.of(score.method, score.horizon).coverage == score.coverage


def test_forecasts_of_days_to_come_are_not_scored(panel: Panel, kept: pl.DataFrame) -> None:
    late = kept.with_columns(pl.col("target") + timedelta(days=60))
    found = made.scored(late, panel)
    assert (found.scores, found.answered) == ((), ())


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda rows: rows.drop("level"), "no column 'level'"),
        (lambda rows: pl.concat([rows, rows[:1]]), "told twice"),
        (lambda rows: rows[1:], "lack levels"),
        (lambda rows: rows.with_columns(target=pl.lit("soon")), "another kind"),
        (lambda rows: rows.with_columns(value=pl.lit(None, dtype=pl.Float64)), "empty cell"),
        (lambda rows: rows.filter(pl.col("level") == 500), "50, 80 and 95 % bands"),
    ],
)
def test_forecasts_that_are_not_whole_are_refused(
    panel: Panel, kept: pl.DataFrame, change: Callable[[pl.DataFrame], pl.DataFrame], sentence: str
) -> None:
    with pytest.raises(Invalid, match=sentence):
        made.scored(change(kept), panel)


def test_series_worth_a_look_are_the_largest_the_usual_and_the_worst(report: BacktestReport, panel: Panel) -> None:
    chosen = fans.choose(report, panel, 6)
    level = panel.frame.group_by("series").agg(pl.col("value").tail(8).mean()).sort("value")["series"]
    assert list(chosen.values()) == [why for why in dict.fromkeys(chosen.values()) for _ in range(2)]
    assert next(iter(chosen)) in set(level[-4:])
    assert len(fans.choose(report, panel, 500)) == panel.quality.height


def test_an_almost_empty_series_is_not_chosen_while_there_are_others(wave: Callable[..., pl.DataFrame]) -> None:
    rows = wave(10, 60).with_columns(value=pl.when(pl.col("series") == "h004").then(0.0).otherwise("value"))
    panel = Panel.of(rows)
    found = backtest(panel, (1,), origins=2, keep=True)
    assert "h004" not in fans.choose(found, panel, 10)
    assert len(fans.choose(found, panel, 10)) == 9


def test_a_fan_holds_forecasts_that_do_not_overlap_and_what_came(report: BacktestReport, panel: Panel) -> None:
    told = fans.told(report, panel, ["h003"])
    (fan,) = fans.fans(told, panel, {"h003": ""})
    ends = [(spread.origin, spread.targets[-1]) for spread in fan.spreads]
    assert len(ends) == 2
    assert ends[0][1] <= ends[1][0]
    assert fan.days[-1] == ends[1][1]
    values = dict(panel.frame.filter(pl.col("series") == "h003").select("day", "value").iter_rows())
    assert list(fan.values) == [values[day] for day in fan.days]
    last = report.answered[-1]
    at = last.series.tolist().index(panel.quality["series"].to_list().index("h003"))
    assert np.array_equal(fan.spreads[-1].values[-1], last.values["model"][at])


def test_pictures_are_the_same_bytes_each_time(report: BacktestReport, panel: Panel) -> None:
    found = fans.fans(fans.told(report, panel, ["h003"]), panel, {"h003": ""})
    for form in ("svg", "png"):
        assert plots.fans(form, found, unit="beds") == plots.fans(form, found, unit="beds")
    assert plots.calibration("svg", report, step=1) == plots.calibration("svg", report, step=1)


def test_pictures_name_their_axes_units_and_series(report: BacktestReport, panel: Panel) -> None:
    found = fans.fans(fans.told(report, panel, ["h003"]), panel, {"h003": "asked for"})
    assert {"h003", "asked for", "beds", "median", "50 %", "what came"} <= words(plots.fans("svg", found, unit="beds"))
    assert {"level forecast, %", "1 day ahead", "3 days ahead"} <= words(plots.calibration("svg", report, step=1))
    horizons = words(plots.horizons("svg", report, step=7, unit="beds"))
    assert {"weeks ahead", "weighted interval score, beds", "persistence", "95 %"} <= horizons


def test_a_name_with_signs_of_markup_stays_a_name(report: BacktestReport, panel: Panel) -> None:
    (fan,) = fans.fans(fans.told(report, panel, ["h003"]), panel, {"h003": ""})
    odd = fans.Fan("<b>$x_1$ & 'co'", "", fan.days, fan.values, fan.spreads)
    assert odd.series in words(plots.fans("svg", [odd], unit="beds"))


def test_a_fan_of_forecasts_alone_and_one_of_values_alone_are_drawn(report: BacktestReport, panel: Panel) -> None:
    (fan,) = fans.fans(fans.told(report, panel, ["h003"]), panel, {"h003": ""})
    bare = fans.Fan("bare", "", (), (), fan.spreads)
    plain = fans.Fan("plain", "", fan.days, fan.values, ())
    seen = words(plots.fans("svg", [bare, plain], unit="beds"))
    assert {"bare", "plain"} <= seen


def test_a_page_holds_its_pictures_and_needs_nothing_else() -> None:
    text = page("Beds & more", ["1 < 2"], {"fans": b"<svg/>"}, "svg").decode()
    assert "Beds &amp; more" in text
    assert "1 &lt; 2" in text
    assert "data:image/svg+xml;base64,PHN2Zy8+" in text
    assert "http" not in text
