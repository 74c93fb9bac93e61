"""The same model on many machines: a Dask cluster makes features by partitions of series, and boosters one a task.

Dask serves as task engine only. LightGBM's own distributed learner is left alone: it parts the rows of one booster,
which gives other trees, is no faster until those rows exceed one machine, and hangs when several fits run at once
(LightGBM issue 4942). A booster is trained by one worker, on one thread, so the model has the same bytes as one trained
here.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from sharewell.domain.errors import Invalid
from sharewell_workers.forecasting import features, trees
from sharewell_workers.forecasting.engine import HERE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

    from sharewell_workers.forecasting.engine import Engine
    from sharewell_workers.forecasting.features import State, Tasks
    from sharewell_workers.forecasting.model import FittedModel

    Floats = NDArray[np.float64]

PARTS_PER_WORKER = 2  #: so that a slow worker does not keep all others waiting
PATIENCE = 30  #: seconds, until a scheduler must have answered


@contextmanager
def cluster(address: str) -> Iterator[Cluster]:
    """The engine behind the scheduler at `address`, as in tcp://scheduler:8786.

    Raises `Invalid` if Dask is not installed or nobody answers there.
    """
    try:
        from distributed import Client  # noqa: PLC0415  an extra: only those with a cluster need it
    except ImportError:
        raise Invalid("a cluster needs Dask: pip install 'sharewell[cluster]'.", field="cluster") from None
    try:
        client = Client(address, timeout=PATIENCE, set_as_default=False)  # type: ignore[no-untyped-call]
    except (OSError, ValueError) as error:
        raise Invalid(f"no Dask scheduler answers at {address}: {error}", field="cluster") from None
    with client:
        yield Cluster(client)


@contextmanager
def engine_at(address: str) -> Iterator[Engine]:
    """The engine behind a scheduler's address, or this process where none is given; raises as `cluster` does."""
    if not address:
        yield HERE
        return
    with cluster(address) as engine:
        yield engine


class Cluster:
    """An engine (see `engine.Engine`) on the workers of a `distributed.Client`. They need this very code."""

    def __init__(self, client: Any) -> None:
        self._client = client
        self._sent: tuple[State, list[tuple[int, int]], list[Any]] | None = None

    def rows(self, state: State, tasks: Tasks) -> tuple[NDArray[np.float32], list[str]]:
        """Features of each task, made where its series lies."""
        found = self._by_part(features.rows, state, tasks)
        made = np.empty((len(tasks.series), len(found[0][1][1])), dtype=np.float32)
        for mine, (rows, _) in found:
            made[mine] = rows
        return made, found[0][1][1]

    def train(self, lessons: Sequence[trees.Lessons], seeds: Sequence[int]) -> tuple[tuple[str, ...], ...]:
        """One booster a task, whoever is free."""
        jobs = []
        for one, seed in zip(lessons, seeds, strict=True):
            sent = self._client.scatter(one, broadcast=True, hash=False)
            told = one.recipe.trained
            jobs.append([self._client.submit(trees.train, sent, seed, (level,), pure=False) for level in told])
        return tuple(tuple(text for texts in one for text in texts) for one in self._client.gather(jobs))

    def raw(self, model: FittedModel, state: State, tasks: Tasks) -> Floats:
        """What the boosters say of each task, told where its series lies."""
        sent = self._client.scatter(replace(model, _cache={}), broadcast=True, hash=False)
        said = np.empty((len(tasks.series), len(model.recipe.trained)))
        for mine, part in self._by_part(_raw, state, tasks, sent):
            said[mine] = part
        return said

    def _by_part(self, work: Callable[..., Any], state: State, tasks: Tasks, *more: Any) -> list[tuple[Any, Any]]:
        """What `work` makes of the tasks of each part, and which tasks these are; parts without tasks are left out."""
        bounds, parts = self._parts(state)
        found: list[Any] = []
        jobs: list[Any] = []
        for (first, last), part in zip(bounds, parts, strict=True):
            mine = np.flatnonzero((tasks.series >= first) & (tasks.series < last))
            if len(mine) or (not jobs and last == bounds[-1][1]):
                found.append(mine)
                jobs.append(self._client.submit(work, part, tasks.some(mine, first), *more, pure=False))
        return list(zip(found, self._client.gather(jobs), strict=True))

    def _parts(self, state: State) -> tuple[list[tuple[int, int]], list[Any]]:
        """Bounds of the partitions of series, and where the cluster keeps them; sent once for each state."""
        if self._sent is None or self._sent[0] is not state:
            count = max(1, len(self._client.scheduler_info(n_workers=-1)["workers"])) * PARTS_PER_WORKER
            edges = np.linspace(0, len(state.base), min(count, len(state.base)) + 1).round().astype(int).tolist()
            bounds = list(pairwise(edges))
            parts = self._client.scatter([state.of(slice(a, b)) for a, b in bounds], hash=False)
            self._sent = (state, bounds, parts)
        return self._sent[1], self._sent[2]


def _raw(state: State, tasks: Tasks, model: FittedModel) -> Floats:
    return model.raw(features.rows(state, tasks)[0])
