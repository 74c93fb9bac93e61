"""LightGBM, and the only place that touches it: quantile boosters as text, trained and applied reproducibly.

One thread, fixed seeds and row-wise histograms make the same rows give the same text, byte for byte, on one platform.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from sharewell_workers.forecasting.calibration import TRAINED

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from sharewell_workers.forecasting.recipe import Recipe

    Floats = NDArray[np.float64]


def train(
    rows: NDArray[np.float32], target: Floats, weight: Floats | None, recipe: Recipe, *, seed: int
) -> tuple[str, ...]:
    """Train a booster for each level of `TRAINED` over the same rows; returns their texts in level order."""
    import lightgbm  # noqa: PLC0415  needs the system's libgomp1: only those who train or predict pay for it

    shared = _parameters(recipe, seed)
    data = lightgbm.Dataset(rows, label=target, weight=weight, params=shared, free_raw_data=False).construct()
    texts = []
    for level in TRAINED:
        booster = lightgbm.train(shared | {"alpha": level / 1000}, data, num_boost_round=recipe.rounds)
        texts.append(str(booster.model_to_string(num_iteration=-1)))
    return tuple(texts)


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
        "num_threads": 1, "deterministic": True, "force_row_wise": True, "seed": seed, "verbosity": -1,
    }  # fmt: skip
