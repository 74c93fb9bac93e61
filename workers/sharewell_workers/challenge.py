"""Train a new model and try it beside the one in force, which stays untouched whatever goes wrong."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import structlog

from sharewell.services.trials import Attempt
from sharewell_workers.forecasting.model import FittedModel, TooLittleHistory, fit
from sharewell_workers.forecasting.panel import Panel
from sharewell_workers.forecasting.provenance import code_version
from sharewell_workers.forecasting.recipe import Recipe
from sharewell_workers.forecasting.trial import compare

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import date

    import polars as pl

log = structlog.get_logger(__name__)

NOBODY = "naive"  #: the champion where no trained model is in force
SEED = 0
LONGEST_REASON = 300


@dataclass(frozen=True, slots=True, kw_only=True)
class Challenge:
    """A new model and what is to be put on record of it, or why there is neither."""

    model: FittedModel | None = None
    attempt: Attempt | None = None
    too_little: str = ""  #: what is missing before a model can be trained at all


def challenge(
    panel: Panel, horizons: Sequence[int], champion: FittedModel | None, *,
    known: Mapping[date, pl.DataFrame] | None = None, recipe: Recipe | None = None, seed: int = SEED,
) -> Challenge:  # fmt: skip
    """Train on all of `panel` and compare with `champion` on the past. Raises nothing: a failure is an answer, too.

    `known`: by past day, the rows as they were known then, where these were others. `recipe`: by default that of this
    release for the panel's step.
    """
    recipe = recipe or Recipe.for_step(panel.step)
    try:
        model = fit(panel, horizons, seed=seed, recipe=recipe)
        body = model.to_bytes()
    except TooLittleHistory as few:
        return Challenge(too_little=f"too little history to train on: {few}")
    except Exception as error:
        log.exception("a model could not be trained", step_days=panel.step, series=panel.quality.height)
        return Challenge(attempt=_attempt(panel, champion, training(recipe, seed, horizons), failure=_told(error)))
    told = training(model.recipe, model.seed, model.horizons)
    try:
        then = {
            day: Panel.of(rows, step=panel.step, country=panel.country) for day, rows in (known or {}).items()
        }  # fmt: skip
        found = compare(
            panel, horizons, recipe=model.recipe, seed=model.seed, champion=champion, known=then
        ).to_json()  # fmt: skip
    except TooLittleHistory:
        found = {}
    except Exception as error:
        log.exception("a model could not be tried", step_days=panel.step, series=panel.quality.height)
        return Challenge(attempt=_attempt(panel, champion, told, failure=_told(error)))
    return Challenge(model=model, attempt=_attempt(panel, champion, told, body=body, backtest=found))


def training(recipe: Recipe, seed: int, horizons: Sequence[int]) -> dict[str, Any]:
    """Everything that steers a fit, without floats: the recipe is JSON in a text, read back by `recipe_of`."""
    return {
        "recipe": json.dumps(recipe.to_json(), sort_keys=True), "seed": seed, "bagged": recipe.seeds,
        "horizons": sorted(set(horizons)),
    }  # fmt: skip


def recipe_of(told: Any) -> Recipe:
    """The recipe in what `training` told; raises KeyError, TypeError or ValueError where it is none."""
    return Recipe.from_json(json.loads(told["recipe"]))


def _attempt(
    panel: Panel, champion: FittedModel | None, told: dict[str, Any], *, body: bytes | None = None,
    backtest: dict[str, Any] | None = None, failure: str = "",
) -> Attempt:  # fmt: skip
    return Attempt(
        step_days=panel.step, origin=panel.last_day, champion=champion.hash if champion else NOBODY,
        data_sha256=panel.digest(), code=code_version(), training=told, body=body, backtest=backtest or {},
        failure=failure,
    )  # fmt: skip


def _told(error: Exception) -> str:
    """The kind of an error and its first line: no traceback, and nothing longer than an entry should hold."""
    first = next(iter(str(error).splitlines()), "")
    first = re.sub(r" at \S+, line \d+", "", first)  # LightGBM says where in its source, which nobody can look up
    printable = "".join(c if c.isprintable() else " " for c in first)
    return f"training failed with {type(error).__name__}: {printable}"[:LONGEST_REASON]
