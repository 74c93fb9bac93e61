"""Where the heavy parts of a model are worked out: here, one after the other, or wherever an engine sends them.

Features fall apart by series and training by seed and level, so an engine needs no knowledge of either; whatever it is,
the model is the same.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from sharewell_workers.forecasting import features, trees

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from sharewell_workers.forecasting.features import State, Tasks
    from sharewell_workers.forecasting.model import FittedModel

    Floats = NDArray[np.float64]


class Engine(Protocol):
    """What can make rows of features, train boosters and apply them."""

    def rows(self, state: State, tasks: Tasks) -> tuple[NDArray[np.float32], list[str]]:
        """Features of each task, and their names; see `features.rows`."""

    def train(self, lessons: trees.Lessons, seeds: Sequence[int]) -> tuple[tuple[str, ...], ...]:
        """Boosters as text, by seed and level of `lessons.recipe.trained`."""

    def raw(self, model: FittedModel, state: State, tasks: Tasks) -> Floats:
        """What the boosters of `model` say of each task; see `FittedModel.raw`."""


class Here:
    """This process, one thread."""

    def rows(self, state: State, tasks: Tasks) -> tuple[NDArray[np.float32], list[str]]:
        """See `Engine`."""
        return features.rows(state, tasks)

    def train(self, lessons: trees.Lessons, seeds: Sequence[int]) -> tuple[tuple[str, ...], ...]:
        """See `Engine`."""
        return tuple(tuple(trees.train(lessons, seed, lessons.recipe.trained)) for seed in seeds)

    def raw(self, model: FittedModel, state: State, tasks: Tasks) -> Floats:
        """See `Engine`."""
        return model.raw(features.rows(state, tasks)[0])


HERE = Here()
