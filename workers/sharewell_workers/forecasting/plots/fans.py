"""Fans: what was known, what was forecast, what came."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from sharewell_workers.forecasting.plots.style import BANDS, INK, MEDIAN, QUIET, headed, picture

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from sharewell_workers.forecasting.fans import Fan, Spread

COLUMNS = 3
RING: dict[str, Any] = {"color": INK, "marker": "o", "linestyle": "", "markerfacecolor": "white", "markersize": 4}
READ = (
    "Dark line: the middle forecast, as likely too low as too high. Half of what comes should lie in the dark band,"
    " 80 % within the next, 95 % within the palest."
)


@picture
def draw(figure: Figure, fans: Sequence[Fan], *, unit: str, title: str = "Forecasts and what came") -> str:
    """One panel a fan, three to a row; `unit` labels the values. Raises `ValueError` if there is no fan."""
    if not fans:
        raise ValueError("there is no fan to draw.")
    across = min(COLUMNS, len(fans))
    down = -(-len(fans) // across)
    figure.set_size_inches(11.7, 1.3 + (2.5 if across == COLUMNS else 3.2) * down)
    panels = figure.subplots(down, across, squeeze=False)
    for axes, fan in zip(panels.flat, fans, strict=False):
        _panel(axes, fan)
    for axes in panels.flat[len(fans) :]:
        axes.set_visible(False)
    for row in panels:
        row[0].set_ylabel(unit)
    headed(figure, title, READ)
    figure.legend(*_legend(fans), loc="upper right", ncols=6, handlelength=1.6, columnspacing=1.2)
    return title


def _panel(axes: Axes, fan: Fan) -> None:
    from matplotlib.dates import AutoDateLocator, ConciseDateFormatter  # noqa: PLC0415

    for spread in fan.spreads:
        _spread(axes, fan, spread)
    _values(axes, fan)
    axes.set_title(fan.series, pad=16 if fan.why else 8)
    if fan.why:
        axes.annotate(fan.why, (0, 1), (0, 4), "axes fraction", textcoords="offset points", fontsize=8.5, color=QUIET)
    locator = AutoDateLocator(minticks=3, maxticks=6)  # type: ignore[no-untyped-call]
    shown = {"formats": ["%Y", "%b", "%-d", *["%H:%M"] * 3], "offset_formats": ["", *["%Y"] * 5]}
    formatter = ConciseDateFormatter(locator, **shown)  # type: ignore[no-untyped-call]
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(formatter)
    axes.set_ylim(bottom=0, top=_top(fan))
    axes.grid(visible=False, axis="x")


def _spread(axes: Axes, fan: Fan, spread: Spread) -> None:
    """Bands and median, opening from the last value that was known."""
    known = [(day, value) for day, value in zip(fan.days, fan.values, strict=True) if day <= spread.origin]
    start = known[-1:] if known and (spread.targets[0] - known[-1][0]).days <= 2 * _step(spread) else []
    days: list[Any] = [day for day, _ in start] + list(spread.targets)
    first = np.full((len(start), len(spread.levels)), start[0][1] if start else 0.0)
    values = np.concatenate([first, spread.values])
    at = {level: values[:, place] for place, level in enumerate(spread.levels)}
    for share, colour in BANDS.items():
        low, high = (1000 - share) // 2, (1000 + share) // 2
        if low in at and high in at:
            axes.fill_between(days, at[low], at[high], color=colour, linewidth=0)
    if 500 in at:
        axes.plot(days, at[500], color=MEDIAN, linewidth=1.8)
    axes.axvline(days[0], color=QUIET, linewidth=0.7, linestyle=(0, (2, 2)))


def _values(axes: Axes, fan: Fan) -> None:
    """Known values as a line; those that were forecast first as rings, so that grey prints tell them apart."""
    known = sum(day <= fan.spreads[0].origin for day in fan.days) if fan.spreads else len(fan.days)
    days: Any = fan.days  # matplotlib takes dates; its types do not say so
    axes.plot(days[:known], fan.values[:known], color=INK, linewidth=1.1)
    if known < len(days):
        axes.plot(days[known:], fan.values[known:], **RING, markeredgewidth=1.1, clip_on=False)


def _step(spread: Spread) -> int:
    return (spread.targets[0] - spread.origin).days


def _top(fan: Fan) -> float:
    """A little above all that is drawn; a far tail may leave the panel rather than flatten everything else."""
    inner = [float(s.values[:, [at for at, lv in enumerate(s.levels) if lv <= 975]].max()) for s in fan.spreads]
    return max([1.0, *fan.values, *inner]) * 1.08


def _legend(fans: Sequence[Fan]) -> tuple[list[Any], list[str]]:
    from matplotlib.lines import Line2D  # noqa: PLC0415
    from matplotlib.patches import Patch  # noqa: PLC0415

    drawn = {level for fan in fans for spread in fan.spreads for level in spread.levels}
    keys: dict[str, Any] = {"what was known": Line2D([], [], color=INK, linewidth=1.1)}
    if any(fan.spreads and fan.days and fan.days[-1] > fan.spreads[0].origin for fan in fans):
        keys["what came"] = Line2D([], [], **RING)
    keys["median"] = Line2D([], [], color=MEDIAN, linewidth=1.8)
    for share, colour in reversed(BANDS.items()):
        if (1000 - share) // 2 in drawn:
            keys[f"{share // 10} %"] = Patch(color=colour, linewidth=0)
    return list(keys.values()), list(keys)
