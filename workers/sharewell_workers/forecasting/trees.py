"""LightGBM, and the only place that touches it: quantile boosters as text, trained and applied reproducibly.

One thread, fixed seeds and row-wise histograms make the same rows give the same text, byte for byte, on one platform.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from sharewell_workers.forecasting.recipe import Recipe

    Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Lessons:
    """What boosters are trained on, and how: rows [N, F], target [N], weight [N] or none."""

    rows: NDArray[np.float32]
    target: Floats
    weight: Floats | None
    recipe: Recipe

    def dataset(self, seed: int) -> Any:
        """The rows in LightGBM's bins. Building it takes as long as some rounds, so it is worth keeping."""
        import lightgbm  # noqa: PLC0415  needs the system's libgomp1: only those who train or predict pay for it

        shared = _parameters(self.recipe, seed)
        made = lightgbm.Dataset(self.rows, label=self.target, weight=self.weight, params=shared, free_raw_data=False)
        return made.construct()


def train(lessons: Lessons, seed: int, levels: Sequence[int]) -> list[str]:
    """Train a booster for each of `levels`; each is the same whatever others are trained with it."""
    import lightgbm  # noqa: PLC0415

    data, shared = lessons.dataset(seed), _parameters(lessons.recipe, seed)
    rounds = lessons.recipe.rounds
    boosters = [lightgbm.train(shared | {"alpha": level / 1000}, data, num_boost_round=rounds) for level in levels]
    return [str(booster.model_to_string(num_iteration=-1)) for booster in boosters]


def load(texts: Sequence[str]) -> list[Any]:
    """Boosters from their texts. Raises `ValueError` for a text that is no LightGBM model."""
    import lightgbm  # noqa: PLC0415

    try:
        return [lightgbm.Booster(model_str=text) for text in texts]
    except lightgbm.basic.LightGBMError as error:
        raise ValueError(f"not a LightGBM model: {error}") from None


def apply(boosters: Sequence[Any], rows: NDArray[np.float32]) -> Floats:
    """Predictions, one column a booster."""
    if not len(rows):
        return np.zeros((0, len(boosters)))
    return np.stack([booster.predict(rows, num_threads=1) for booster in boosters], axis=1)


def _parameters(recipe: Recipe, seed: int) -> dict[str, Any]:
    return {
        "objective": "quantile", "learning_rate": recipe.rate, "num_leaves": recipe.leaves,
        "min_data_in_leaf": recipe.min_leaf, "feature_fraction": recipe.feature_fraction, "max_bin": 63,
        "extra_trees": recipe.drawn,
        "num_threads": 1, "deterministic": True, "force_row_wise": True, "seed": seed, "verbosity": -1,
    }  # fmt: skip
