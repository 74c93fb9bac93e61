"""Champion and challenger: a new model and the one in force, asked for the same past days and scored on what came.

The champion answers as it is, on days after the last it learnt from. The challenger itself has seen these days, so a
stand-in answers for it: same recipe, seeds and code, trained on what lay before the day it is asked on, first where
the champion's own training ended and again half way. On the first half nothing but recipe and code can tell the two
apart (if these are the same, so are the answers), on the second it shows whether newer data made the model better. All
tasks count alike. Where no trained model is in force, the naive forecasts are the champion.

Both see of each day what was known then (`known`); scored are the values that stand today.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from sharewell.domain.capacity import Mark
from sharewell.domain.forecast import NAIVE
from sharewell.domain.trial import CHALLENGER, IN_FORCE
from sharewell_workers.forecasting import intervals, scores
from sharewell_workers.forecasting.model import FittedModel, TooLittleHistory, fit
from sharewell_workers.forecasting.predict import predict

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from sharewell_workers.forecasting.panel import Panel
    from sharewell_workers.forecasting.recipe import Recipe

    Floats = NDArray[np.float64]

ORIGINS = 4  #: days of the past that are asked where no champion's training says since when
METHODS = (CHALLENGER, IN_FORCE, *NAIVE)
BANDS = (500, 800, 950)
KEY = ("series", "origin", "target", "horizon")


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """What every method answered, on tasks that all of them could, and what came."""

    origins: tuple[date, ...]
    champion: str
    levels: tuple[int, ...]  #: those that all answered
    made_on: list[date]  #: [N] the day each answer was asked on
    horizon: NDArray[np.int64]  #: [N]
    observed: Floats  #: [N]; the least it may have been where it was suppressed
    at_most: Floats  #: [N]; the most
    values: dict[str, Floats]  #: by method [N, L]

    def to_json(self) -> dict[str, Any]:
        """Scores by method and horizon (0: all), without floats, so that they can stand in an audit entry."""
        ahead = [0, *sorted(set(self.horizon.tolist()))]
        rows = [self._score(method, horizon) for horizon in ahead for method in METHODS]
        total = {row["method"]: row for row in rows[: len(METHODS)]}
        return {
            "origins": [day.isoformat() for day in self.origins], "champion": self.champion,
            "levels": list(self.levels), "scores": rows,
            "relative_wis": _relative(total, "wis"), "relative_log_wis": _relative(total, "log_wis"),
        }  # fmt: skip

    def _score(self, method: str, horizon: int) -> dict[str, Any]:
        at = np.flatnonzero((self.horizon == horizon) | (horizon == 0))
        values, came = self.values[method][at], (self.observed[at], self.at_most[at])
        observed = intervals.nearest(values, *came)
        return {
            "method": method, "horizon": horizon, "tasks": len(at),
            "wis": f"{scores.wis(values, observed, self.levels).mean():.4f}",
            "log_wis": f"{scores.log_wis(values, observed, self.levels).mean():.4f}",
            "coverage": {
                str(band): f"{scores.covered(values, came, self.levels, band).mean():.4f}" for band in BANDS
            },
        }  # fmt: skip


def compare(
    panel: Panel, horizons: Sequence[int], *, recipe: Recipe, seed: int, champion: FittedModel | None,
    known: Mapping[date, Panel] | None = None,
) -> Comparison:  # fmt: skip
    """Ask challenger and champion for the past; raises `TooLittleHistory` if there is no task both can answer.

    `known`: by past day, the panel as it was known then, where it was another than today's up to that day.
    """
    days = origins(panel, max(horizons), champion)
    then = {day: (known or {}).get(day, panel).until(day) for day in days}
    levels = tuple(sorted(set(recipe.levels) & set(champion.recipe.levels if champion else recipe.levels)))
    stand_ins = _stand_ins(then, recipe, seed, horizons)
    found = [_asked(panel, day, then[day], model, champion, horizons) for day, model in stand_ins]
    if not found:
        raise TooLittleHistory("no past day has outcomes after it and enough history before it.")
    tasks = pl.concat(found).filter(pl.col("level").is_in(levels)).sort(*KEY, "level")
    wide = tasks.group_by(*KEY, maintain_order=True).agg("lower", "upper", *METHODS)
    if wide.is_empty():
        raise TooLittleHistory("no past day has outcomes that every method could be asked for.")
    return Comparison(
        origins=tuple(days), champion=champion.hash if champion else NAIVE[0], levels=levels,
        made_on=wide["origin"].to_list(), horizon=wide["horizon"].to_numpy(),
        observed=wide["lower"].list.first().to_numpy(), at_most=wide["upper"].list.first().to_numpy(),
        values={name: np.stack(wide[name].to_list()) for name in METHODS},
    )  # fmt: skip


def origins(panel: Panel, furthest: int, champion: FittedModel | None) -> list[date]:
    """The past days that are asked for, oldest first.

    With a champion those since its training of which some outcome is known, else the newest with all of theirs.
    """
    step, last = timedelta(days=panel.step), panel.last_day
    if champion is None:
        return [last - step * (furthest + back) for back in reversed(range(ORIGINS))]
    most = furthest + ORIGINS - 1
    return [day for back in range(most, 0, -1) if (day := last - step * back) >= champion.origin]


def _stand_ins(
    then: Mapping[date, Panel], recipe: Recipe, seed: int, horizons: Sequence[int]
) -> Iterator[tuple[date, FittedModel]]:
    """Each day with the challenger's stand-in for it; days on which there was too little to train on are left out."""
    model = None
    for turn, (day, known) in enumerate(then.items()):
        if model is None or turn == (len(then) + 1) // 2:
            try:
                model = fit(known, horizons, seed=seed, recipe=recipe, origin=day)
            except TooLittleHistory:
                continue
        yield day, model


def _asked(
    panel: Panel, day: date, known: Panel, challenger: FittedModel, champion: FittedModel | None,
    horizons: Sequence[int],
) -> pl.DataFrame:  # fmt: skip
    """Answers of every method from one day, for series and horizons that all of them could answer and that came."""
    came = panel.frame.filter(
        (pl.col("day") > day) & pl.col("value").is_not_null()
        & pl.col("mark").is_in([str(Mark.REPORTED), str(Mark.SUPPRESSED)])
    ).select("series", "lower", "upper", target="day")  # fmt: skip
    answers = {
        CHALLENGER: predict(challenger, known, day, horizons).filter(pl.col("method") == "model"),
        IN_FORCE: _of_champion(champion, known, day, horizons, challenger.recipe.levels),
    } | {
        name: predict(None, known, day, horizons, levels=challenger.recipe.levels, method=name).filter(method=name)
        for name in NAIVE
    }
    joined = came.with_columns(origin=pl.lit(day))
    on = ["series", "target"]
    for name, answered in answers.items():
        one = answered.select("series", "target", "horizon", "level", pl.col("value").alias(name))
        joined = joined.join(one, on=on, how="inner")
        on = ["series", "target", "horizon", "level"]
    return joined.select(*KEY, "level", "lower", "upper", *METHODS)


def _of_champion(
    champion: FittedModel | None, known: Panel, day: date, horizons: Sequence[int], levels: Sequence[int]
) -> pl.DataFrame:
    if champion is None:
        return predict(None, known, day, horizons, levels=levels)
    both = [h for h in horizons if h in champion.horizons]
    return predict(champion, known, day, both).filter(pl.col("method") == "model")


def _relative(total: dict[str, Any], score: str) -> dict[str, str]:
    return {name: _ratio(total[CHALLENGER][score], total[name][score]) for name in METHODS[1:]}


def _ratio(ours: str, theirs: str) -> str:
    """Below 1 the model is better; 1 where neither missed at all."""
    if float(theirs) == 0:
        return "1.0000" if float(ours) == 0 else "infinite"
    return f"{float(ours) / float(theirs):.4f}"
