"""Parts of one large instance solved at the same time, each in a process of its own; memory stays bounded by their
number. What passes between is this program's own data, to its own children and back, never anything from outside.
"""

from __future__ import annotations

import multiprocessing
import os
import pickle
import threading
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import connection
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sharewell.domain.instance import Instance, Part

Result = TypeVar("Result")

WORTH_SPREADING = 150_000  #: lanes outside the largest part; below, starting processes takes longer than it saves
MOST_PROCESSES = 4  #: each holds the instance once more

_held: list[Instance] = []  # in a child: the instance whose parts it solves


def cores() -> int:
    """Processors this process may use, at most `MOST_PROCESSES`."""
    return min(MOST_PROCESSES, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1)


def worth_spreading(parts: Sequence[Part]) -> bool:
    """Whether there is enough to do beside the largest part."""
    sizes = [len(part.lanes) for part in parts]
    return sum(sizes) - max(sizes, default=0) >= WORTH_SPREADING


def each_part(
    work: Callable[[Instance, int, float], Result], instance: Instance, deadline: float, processes: int
) -> list[Result]:
    """`work(instance, index, deadline)` for every part, in their order; `work` is a function of a module.

    The clock of `deadline` is `time.monotonic`, which all processes of a machine share. Raises `BrokenProcessPool`
    where a process is killed, as by the out-of-memory killer.
    """
    order = sorted(range(len(instance.parts)), key=lambda index: -len(instance.parts[index].lanes))
    with ProcessPoolExecutor(
        max_workers=min(processes, len(order)),
        # Not forked: this process has threads, and a copy of their locks would never be released.
        mp_context=multiprocessing.get_context("spawn"),
        initializer=_begin,
        initargs=(pickle.dumps(instance),),
    ) as pool:
        # The largest first, or it would still run when all others have ended.
        futures = {index: pool.submit(_on_part, work, index, deadline) for index in order}
        return [futures[index].result() for index in range(len(order))]


def _begin(data: bytes) -> None:
    _held[:] = [pickle.loads(data)]  # noqa: S301  the parent wrote it a moment ago
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """A child whose parent was killed would wait for work for ever."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        connection.wait([parent.sentinel])
        os._exit(1)


def _on_part(work: Callable[[Instance, int, float], Result], index: int, deadline: float) -> Result:
    return work(_held[0], index, deadline)
