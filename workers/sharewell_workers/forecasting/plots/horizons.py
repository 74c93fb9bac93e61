"""Scores by horizon: the model against the naive methods, and how much its bands held."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sharewell_workers.forecasting.backtest import BANDS, METHODS
from sharewell_workers.forecasting.plots import style
from sharewell_workers.forecasting.plots.style import INK, QUIET, headed, picture, whole_steps

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from sharewell_workers.forecasting.backtest import BacktestReport

MARKERS = {500: "o", 800: "s", 950: "D"}


@picture
def draw(figure: Figure, report: BacktestReport, *, step: int, unit: str) -> str:
    """Three panels over the horizon: WIS in `unit`, WIS of logs, and the share of outcomes inside each band."""
    figure.set_size_inches(12, 4.3)
    wis, logs, held = figure.subplots(1, 3)
    horizons = sorted({s.horizon for s in report.scores if s.horizon})
    _scores(wis, report, horizons, "wis")
    wis.set(title="Score", ylabel=f"weighted interval score, {unit}")
    _scores(logs, report, horizons, "log_wis")
    logs.set(title="Score of logarithms", ylabel="weighted interval score of log(1 + value)")
    _held(held, report, horizons)
    for axes in (wis, logs, held):
        axes.set_xlabel("weeks ahead" if step == 7 else "days ahead")
        axes.set_xlim(horizons[0] - 0.3, horizons[-1] + 0.3)
        whole_steps(axes, horizons[-1])
        axes.grid(visible=False, axis="x")
    handles, labels = wis.get_legend_handles_labels()
    figure.legend(handles, labels, loc="upper right", ncols=3, handlelength=3)
    title = "Scores by how far ahead"
    headed(
        figure, title,
        "Lower scores are better; all methods are scored on the same forecasts. Bands are honest if they hold as much"
        " as the dashed line at their name.",
    )  # fmt: skip
    return title


def _scores(axes: Axes, report: BacktestReport, horizons: list[int], name: str) -> None:
    for method in METHODS:
        values = [getattr(report.of(method, h), name) for h in horizons]
        axes.plot(horizons, values, label=method, markersize=5, **style.METHODS[method])
    axes.set_ylim(bottom=0)
    axes.locator_params(axis="y", nbins=6)


def _held(axes: Axes, report: BacktestReport, horizons: list[int]) -> None:
    for place, band in enumerate(BANDS):
        share = [100 * report.of("model", h).coverage[place] for h in horizons]
        axes.axhline(band / 10, color=QUIET, linewidth=1, linestyle=(0, (4, 3)))
        axes.plot(
            horizons, share, color=style.METHODS["model"]["color"], marker=MARKERS[band], markersize=5, linewidth=1.6
        )
        axes.annotate(
            f"{band // 10} %", (1, band / 10), (4, 0), xycoords=("axes fraction", "data"), textcoords="offset points",
            va="center", fontsize=9, color=INK,
        )  # fmt: skip
    axes.set(ylim=(0, 102), title="Held by the bands", ylabel="outcomes inside, %")
