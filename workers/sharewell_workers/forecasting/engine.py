"""Where the heavy parts of a model are worked out: here, one after the other, or wherever an engine sends them.

Features fall apart by series and training by seed and level, so an engine needs no knowledge of either; whatever it is,
the model is the same.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import numpy as np

from sharewell_workers.forecasting import features, trees

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from sharewell_workers.forecasting.features import State, Tasks
    from sharewell_workers.forecasting.model import FittedModel

    Floats = NDArray[np.float64]


class Engine(Protocol):
    """What can make rows of features, train boosters and apply them."""

    def rows(self, state: State, tasks: Tasks) -> tuple[NDArray[np.float32], list[str]]:
        """Features of each task, and their names; see `features.rows`."""

    def train(self, lessons: Sequence[trees.Lessons], seeds: Sequence[int]) -> tuple[tuple[str, ...], ...]:
        """Boosters as text, by bag, which has lessons and a seed of its own, and level of `Recipe.trained`."""

    def raw(self, model: FittedModel, state: State, tasks: Tasks) -> Floats:
        """What the boosters of `model` say of each task; see `FittedModel.raw`."""


MOST_CELLS = 2_000_000  #: series times steps whose features are held at once: some 500 MB


class Here:
    """This process, one thread."""

    def rows(self, state: State, tasks: Tasks) -> tuple[NDArray[np.float32], list[str]]:
        """See `Engine`. A large panel is gone through in parts: all its features at once would fill the memory."""
        if state.base.size <= MOST_CELLS:
            return features.rows(state, tasks)
        step = max(1, MOST_CELLS // state.base.shape[1])
        pieces: list[NDArray[np.float32]] = []
        places: list[NDArray[np.int64]] = []
        names: list[str] = []
        for first in range(0, len(state.base), step):
            mine = np.flatnonzero((tasks.series >= first) & (tasks.series < first + step))
            if len(mine) or (first + step >= len(state.base) and not pieces):
                part = state.of(slice(first, first + step))
                rows, names = features.rows(part, tasks.some(mine, first))
                pieces.append(rows)
                places.append(mine)
        return np.concatenate(pieces)[np.argsort(np.concatenate(places))], names

    def train(self, lessons: Sequence[trees.Lessons], seeds: Sequence[int]) -> tuple[tuple[str, ...], ...]:
        """See `Engine`."""
        bags = zip(lessons, seeds, strict=True)
        return tuple(tuple(trees.train(one, seed, one.recipe.trained)) for one, seed in bags)

    def raw(self, model: FittedModel, state: State, tasks: Tasks) -> Floats:
        """See `Engine`."""
        return model.raw(self.rows(state, tasks)[0])


HERE = Here()
