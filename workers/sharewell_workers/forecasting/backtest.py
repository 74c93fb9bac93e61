"""What a model would have been worth: forecasts from past days, with only what was known then, scored afterwards."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from sharewell.domain.errors import Invalid
from sharewell_workers.forecasting import features, intervals, reliability, scores
from sharewell_workers.forecasting.features import Tasks
from sharewell_workers.forecasting.model import FittedModel, TooLittleHistory, fit
from sharewell_workers.forecasting.naive import Naive
from sharewell_workers.forecasting.recipe import Recipe

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import date

    from numpy.typing import NDArray

    from sharewell_workers.forecasting.panel import Grid, Panel

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]

log = logging.getLogger(__name__)

METHODS = ("model", "seasonal-naive", "persistence")
BANDS = (500, 800, 950)


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """Means over the tasks that every method could answer."""

    method: str
    horizon: int  #: steps; 0 for all horizons together
    tasks: int
    wis: float  #: units of the series
    log_wis: float
    coverage: tuple[float, ...]  #: of the bands of `BANDS`
    below: tuple[float, ...] = ()  #: share of outcomes below each level; for the model
    upto: tuple[float, ...] = ()  #: share of outcomes not above each level; ties make the difference
    pit: tuple[float, ...] = ()  #: shares between neighbouring levels; see `reliability.pit`


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """What every method said from one day for one horizon, and what came; N series."""

    origin: date
    horizon: int
    series: Ints  #: [N] rows of the panel's grid, which are the rows of its quality report
    observed: Floats  #: [N]; of a suppressed value, some number in its interval
    values: dict[str, Floats]  #: by method [N, L]
    lower: Floats | None = None  #: [N]; below `upper` where the value was suppressed; None: all are exact
    upper: Floats | None = None  #: [N]

    @property
    def seen(self) -> tuple[Floats, Floats, Floats]:
        """Observed, and the bounds of what it may have been."""
        exact = self.lower is None or self.upper is None
        return (self.observed,) * 3 if exact else (self.observed, self.lower, self.upper)  # type: ignore[return-value]


@dataclass(frozen=True, slots=True, kw_only=True)
class BacktestReport:
    """Scores of the model and the naive methods, by horizon and over all."""

    origins: tuple[date, ...]  #: days forecasts were made from
    season: int  #: steps the seasonal-naive method looks back
    scores: tuple[Score, ...]
    skipped: tuple[date, ...]  #: origins with too little history for the model
    levels: tuple[int, ...] = ()  #: per mille
    answered: tuple[Answered, ...] = field(default=(), compare=False, repr=False)  #: each task, where it was kept

    def of(self, method: str, horizon: int = 0) -> Score:
        """The score of one method; raises `KeyError` if it was not scored."""
        for score in self.scores:
            if (score.method, score.horizon) == (method, horizon):
                return score
        raise KeyError((method, horizon))

    def relative(self, against: str, horizon: int = 0) -> float:
        """The model's WIS over another method's on the same tasks; below 1 the model is better."""
        other = self.of(against, horizon).wis
        return self.of("model", horizon).wis / other if other else 1.0

    def to_json(self) -> dict[str, Any]:
        """Plain values without floats: decimals are text, so that the report can be an audit entry."""
        return {
            "origins": [day.isoformat() for day in self.origins],
            "skipped": [day.isoformat() for day in self.skipped],
            "season": self.season,
            "levels": list(self.levels),
            "relative_wis": {m: f"{self.relative(m):.4f}" for m in METHODS[1:]} if self.scores else {},
            "scores": [
                {
                    "method": s.method, "horizon": s.horizon, "tasks": s.tasks, "wis": f"{s.wis:.4f}",
                    "log_wis": f"{s.log_wis:.4f}",
                    "coverage": {str(b): f"{c:.4f}" for b, c in zip(BANDS, s.coverage, strict=True)},
                } | {k: [f"{x:.4f}" for x in v] for k, v in _calibration(s).items() if v}
                for s in self.scores
            ],
        }  # fmt: skip


def backtest(
    panel: Panel,
    horizons: Sequence[int],
    *,
    origins: Sequence[date] | int = 6,
    seed: int = 0,
    recipe: Recipe | None = None,
    refit_every: int = 1,
    keep: bool = False,
    known: Callable[[date], Panel] | None = None,
) -> BacktestReport:
    """Forecast from past `origins` (days, or how many of the newest that can be scored) and score what came.

    The model is trained anew at every `refit_every`-th origin, always on what was known at that origin. Only values
    that were reported count as outcomes. With `keep`, the report holds every task. `known` gives the panel as it was
    known on a day, where values were restated later; without it nothing is taken to have been. Raises
    `TooLittleHistory` if no origin can be scored.
    """
    recipe = recipe or Recipe.for_step(panel.step)
    if any(not {(1000 - b) // 2, (1000 + b) // 2} <= set(recipe.levels) for b in BANDS):
        raise Invalid("a backtest needs the levels of the 50, 80 and 95 % bands.", field="levels")
    ahead = tuple(sorted(set(horizons)))
    whole = panel.grid()
    columns = _columns(whole, ahead, origins)
    model: FittedModel | None = None
    pieces, skipped = [], []
    for turn, column in enumerate(columns):
        day = whole.day(column)
        try:
            then, grid = _as_known(panel, known, day, _cut(whole, column, recipe))
            if model is None or turn % refit_every == 0:
                model = fit(then, ahead, seed=seed, recipe=recipe, origin=day)
        except TooLittleHistory as few:
            log.info("backtest skips an origin", extra={"origin": day.isoformat(), "why": str(few)})
            skipped.append(day)
            continue
        pieces += _tasks(model, grid, whole, column)
    if not pieces:
        raise TooLittleHistory("no past day has both enough history before it and outcomes after it.")
    used = tuple(whole.day(c) for c in columns if whole.day(c) not in skipped)
    season = _cut(whole, columns[-1], recipe).season
    return BacktestReport(
        origins=used, season=season, scores=summary(pieces, recipe.levels), skipped=tuple(skipped),
        levels=recipe.levels, answered=tuple(pieces) if keep else (),
    )  # fmt: skip


def _calibration(score: Score) -> dict[str, tuple[float, ...]]:
    return {"below": score.below, "upto": score.upto, "pit": score.pit}


def _columns(grid: Grid, horizons: tuple[int, ...], origins: Sequence[date] | int) -> list[int]:
    last = grid.value.shape[1] - 1
    if isinstance(origins, int):
        return [c for c in range(last - horizons[-1] - origins + 1, last - horizons[-1] + 1) if c >= 0]
    found = [last - (grid.end - day).days // grid.step for day in sorted(set(origins))]
    return [c for c in found if 0 <= c < last]


def _as_known(panel: Panel, known: Callable[[date], Panel] | None, day: date, cut: Grid) -> tuple[Panel, Grid]:
    """Panel and grid as they were known on `day`, with the series of `panel`; `cut` is what is known of it now."""
    if known is None:
        return panel, cut
    then = replace(known(day), quality=panel.quality)
    if then.frame.is_empty():
        raise TooLittleHistory(f"nothing was known on {day}.")
    return then, then.grid(day, steps=cut.value.shape[1])


def _cut(grid: Grid, column: int, recipe: Recipe) -> Grid:
    """The grid as it stood at `column`."""
    return grid.until(column, steps=recipe.history)


def _tasks(model: FittedModel, known: Grid, whole: Grid, column: int) -> list[Answered]:
    """Forecasts of all methods from `column`, for the series all of them can speak for and that were scored later."""
    state = features.observe(known, model.recipe, model.season)
    naive = Naive.of(known, model.season)
    able = state.ready()[:, -1]
    pieces = []
    for h in model.horizons:
        if column + h >= whole.value.shape[1]:
            continue
        values = {m: naive.quantiles(m, h, model.recipe.levels) for m in METHODS[1:]}
        fair = able & whole.firm[:, column + h] & ~np.any([np.isnan(v[:, 0]) for v in values.values()], axis=0)
        at = np.flatnonzero(fair)
        if len(at):
            ours = model.quantiles(state, Tasks(at, np.full(len(at), state.last), np.full(len(at), h)))
            shared = {"model": ours} | {m: v[at] for m, v in values.items()}
            seen, low, high = (part[at, column + h] for part in (whole.outcome, whole.lower, whole.upper))
            pieces.append(
                Answered(
                    origin=whole.day(column), horizon=h, series=at, observed=seen, lower=low, upper=high, values=shared
                )
            )
    return pieces


def summary(answered: Sequence[Answered], levels: Sequence[int]) -> tuple[Score, ...]:
    """Scores of every method over all tasks (horizon 0), then by horizon."""
    result = []
    for horizon in (0, *sorted({a.horizon for a in answered})):
        chosen = [a for a in answered if horizon in (0, a.horizon)]
        seen = [np.concatenate(part) for part in zip(*(a.seen for a in chosen), strict=True)]
        for method in METHODS:
            values = np.concatenate([a.values[method] for a in chosen])
            result.append(_score(method, horizon, values, seen, levels))
    return tuple(result)


def _score(method: str, horizon: int, values: Floats, seen: list[Floats], levels: Sequence[int]) -> Score:
    observed, lower, upper = seen
    nearest = intervals.nearest(
        values, lower, upper
    )  # what is known only to lie somewhere is no miss of anything there
    told: dict[str, tuple[float, ...]] = {}
    if method == "model":
        below, upto = reliability.shares(values, observed)
        pit = reliability.pit(values, observed, levels)
        told = {"below": tuple(below.tolist()), "upto": tuple(upto.tolist()), "pit": tuple(pit.tolist())}
    return Score(
        method=method, horizon=horizon, tasks=len(observed),
        wis=float(scores.wis(values, nearest, levels).mean()),
        log_wis=float(scores.log_wis(values, nearest, levels).mean()),
        coverage=tuple(float(scores.covered(values, (lower, upper), levels, band).mean()) for band in BANDS),
        **told,
    )  # fmt: skip
