"""Quantile trees in bags, each blind to some stretches of time; what a bag has not seen says how wrong all are.

Weeks next to each other tell nearly the same, so whole stretches are left out, not single rows: only then do misses of
the left-out rows show how far off the trees will be next week (block bootstrap, Kuensch, Ann. Statist. 17 (1989) 1217;
conformal by bags: Barber et al., Jackknife+, Ann. Statist. 49 (2021) 486-507).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import special

from sharewell_workers.forecasting import calibration, trees

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from sharewell_workers.forecasting.hub.sight import Rows
    from sharewell_workers.forecasting.recipe import Recipe

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]

STRETCH = 26  #: weeks; half a season, since waves of one season are alike
MEDIAN = 0.5
LEAST_FREEDOM = 5  #: degrees of freedom of Student's t; otherwise one less than there are stretches
SHARE = 0.65  #: of the stretches a bag learns from
SPARED = 5  #: one invented row in so many is asked what the trees make of it
THINNED, MOST = 0.4, 30_000  #: share and number of the rows in them: neighbours in space tell nearly the same too


@dataclass(frozen=True, slots=True)
class Lessons:
    """Rows to learn from; `stretch` [N] says which must be left out together, `real` [N] which are no invention."""

    rows: Rows
    stretch: Ints
    real: NDArray[np.bool_]


def forecast(lessons: Lessons, wanted: Rows, recipe: Recipe, seed: int) -> Floats:
    """Quantiles [N, L] of the target of `wanted`, at `recipe.levels`, rising along each row."""
    rows, count = lessons.rows, len(lessons.stretch)
    said, heard = np.zeros((count, len(recipe.trained))), np.zeros(count)
    told = np.zeros((len(wanted.week), len(recipe.trained)))
    for bag in range(recipe.seeds):
        inside, taken = _chosen(lessons, seed, bag)
        texts = trees.train(
            trees.Lessons(rows.features[taken], rows.target[taken], None, recipe), 1000 * seed + bag, recipe.trained
        )
        boosters = trees.load(texts)
        told += trees.apply(boosters, wanted.features) / recipe.seeds
        asked = ~inside & (lessons.real | (np.arange(count) % SPARED == 0))
        said[asked] += trees.apply(boosters, rows.features[asked])
        heard[asked] += 1
    shape = _shape(lessons, said, heard, wanted, recipe) * _tails(lessons, recipe)
    place = np.searchsorted(np.unique(wanted.horizon), wanted.horizon)
    return calibration.unfold(told, shape[place], recipe.trained)


def _chosen(lessons: Lessons, seed: int, bag: int) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Rows in the stretches a bag may see, and those of them it is trained on."""
    chance = np.random.Generator(np.random.PCG64([seed, bag]))
    stretches = np.unique(lessons.stretch)
    chosen = chance.permutation(stretches)[: max(1, round(SHARE * len(stretches)))]
    inside = np.isin(lessons.stretch, chosen)
    share = min(THINNED, MOST / max(1, int(inside.sum())))
    return inside, inside & (chance.random(len(inside)) < share)


def _tails(lessons: Lessons, recipe: Recipe) -> Floats:
    """How much further out each level lies because the next season is none of those seen: Student's t over Gauss."""
    freedom = max(LEAST_FREEDOM, len(np.unique(lessons.stretch[lessons.real])) - 1)
    share = np.array(recipe.levels) / 1000
    gauss = special.ndtri(share)
    with np.errstate(invalid="ignore"):
        return np.asarray(np.where(share == MEDIAN, 1.0, special.stdtrit(freedom, share) / gauss))


def _shape(lessons: Lessons, said: Floats, heard: Floats, wanted: Rows, recipe: Recipe) -> Floats:
    """Where levels lie on the trees' ladder, by horizon: as real misses show, and invented ones while those are few."""
    horizons, rows = np.unique(wanted.horizon), lessons.rows
    found = np.tile(calibration.prior(recipe.levels, recipe.trained), (len(horizons), 1))
    guess: Floats | None = None
    for kind in (~lessons.real, lessons.real):
        these = kind & (heard > 0)
        if these.any():
            found = calibration.shape(
                said[these] / heard[these][:, None], rows.target[these], rows.horizon[these], recipe.levels,
                tuple(horizons), trained=recipe.trained, guess=guess, still=True,
            )  # fmt: skip
            guess = found.mean(axis=0)
    return found
