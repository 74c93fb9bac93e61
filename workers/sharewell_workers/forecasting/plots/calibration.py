"""Calibration: whether levels mean what they say, and where in the forecasts outcomes fell."""

from __future__ import annotations

from itertools import accumulate
from typing import TYPE_CHECKING

import numpy as np

from sharewell_workers.forecasting.plots.style import BANDS, FAINT, INK, METHODS, QUIET, headed, picture

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from sharewell_workers.forecasting.backtest import BacktestReport, Score

BLUE = METHODS["model"]["color"]


@picture
def draw(figure: Figure, report: BacktestReport, *, step: int) -> str:
    """Reliability of every level, the histogram of outcomes, for all horizons together; `step` in days."""
    score = report.of("model")
    figure.set_size_inches(11, 4.9)
    left, right = figure.subplots(1, 2, gridspec_kw={"width_ratios": [1, 1.35]})
    _reliability(left, report, step)
    _histogram(right, score, report.levels)
    title = f"Calibration over {score.tasks:,} forecasts"
    headed(
        figure, title,
        "Left: on the diagonal, 90 of 100 outcomes lie below the level of 90 %; a bar spans outcomes that equal a"
        " level. Right: even bars say that the bands are honest; high ends, too narrow; a hump in the middle, too wide;"
        " a slope, that forecasts lie too high or too low.",
    )  # fmt: skip
    return title


def _reliability(axes: Axes, report: BacktestReport, step: int) -> None:
    nominal = np.array(report.levels) / 10
    axes.plot([0, 100], [0, 100], color=QUIET, linewidth=1, linestyle=(0, (4, 3)))
    horizons = sorted({s.horizon for s in report.scores if s.horizon})
    for h, dash in zip(dict.fromkeys((horizons[0], horizons[-1])), ((0, (1, 1.5)), "--"), strict=False):
        axes.plot(nominal, _kept(report.of("model", h)), color=INK, linewidth=1, linestyle=dash, label=_ahead(h, step))
    score = report.of("model")
    below, upto = np.array(score.below) * 100, np.array(score.upto) * 100
    axes.vlines(nominal, below, upto, color=BLUE, linewidth=4, alpha=0.45)
    axes.plot(nominal, _kept(score), "o", color=BLUE, markersize=5, label="all horizons")
    axes.set(xlim=(0, 100), ylim=(0, 100), xlabel="level forecast, %", ylabel="outcomes below it, %", aspect="equal")
    axes.set_title("Is each level what it says?")
    axes.legend(loc="upper left")


def _histogram(axes: Axes, score: Score, levels: Sequence[int]) -> None:
    edges = np.array([0, *levels, 1000]) / 10
    width = np.diff(edges)
    height = np.array(score.pit) * 100 / width
    axes.bar(edges[:-1], height, width, align="edge", color=BANDS[800], edgecolor="white", linewidth=1)
    axes.axhline(1, color=QUIET, linewidth=1, linestyle=(0, (4, 3)))
    axes.annotate("right", (100, 1), (4, 0), textcoords="offset points", va="center", fontsize=9, color=INK)
    axes.set(xlim=(0, 100), ylim=(0, max(1.6, height.max() * 1.1)))
    axes.set(xlabel="where in the forecast the outcome fell, %", ylabel="outcomes; 1: as many as forecast")
    axes.set_title("Where did outcomes fall?")
    axes.grid(visible=False, axis="x")
    axes.tick_params(axis="x", color=FAINT)


def _kept(score: Score) -> list[float]:
    """Outcomes below each level in per cent, those that equal it shared out as in the histogram."""
    return [100 * share for share in accumulate(score.pit[:-1])]


def _ahead(horizon: int, step: int) -> str:
    word = "week" if step == 7 else "day"
    return f"{horizon} {word}{'s' if horizon > 1 else ''} ahead"
