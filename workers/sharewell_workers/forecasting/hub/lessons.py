"""What the trees learn from: the signal's own weeks, those of other illnesses, and invented epidemics."""

from __future__ import annotations

from datetime import timedelta
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from sharewell_workers.forecasting.hub import bags, epidemics, windows
from sharewell_workers.forecasting.hub.bags import Lessons
from sharewell_workers.forecasting.hub.sight import WIDTH, Rows, Sight

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import date

    from numpy.typing import NDArray

    from sharewell_workers.forecasting.hub.tables import Tables

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]

SETTLED = timedelta(weeks=12)  #: after which another signal's numbers are as good as final
WORLDS = 18  #: invented
INVENTED = 1.5  #: invented rows for each real one
MOST_LIVED = 20_000  #: rows of another signal
LEAST_INVENTED, MOST_INVENTED = 30_000, 45_000


def gather(sight: Sight, beside: Sequence[Tables], steps: Sequence[int], seed: int) -> Lessons:
    """Rows to learn from, windows cut to what can be seen now; of other signals only what is settled by then."""
    real, newest = sight.rows(steps).known, len(sight.base) - 1
    width = windows.reach(sight.view.windows)
    pieces = [(real, (newest - real.week) // bags.STRETCH)]
    pieces += _lived(beside, sight.view.weeks[newest], steps, width, seed)
    pieces += _invented(len(real.week), steps, width, seed)
    rows = Rows.joined(rows for rows, _ in pieces)
    stretch = np.concatenate([stretch for _, stretch in pieces])
    return Lessons(rows, stretch, np.arange(len(rows.week)) < len(real.week))


def _lived(
    beside: Sequence[Tables], newest: date, steps: Sequence[int], width: int, seed: int
) -> Iterator[tuple[Rows, Ints]]:
    """A share of each other signal's rows, and their stretches."""
    for number, other in enumerate(beside):
        settled = (newest - SETTLED - other.start).days // 7 + 1
        if settled < 2 * WIDTH:
            continue  # too little to learn from
        rows = Sight.of(windows.final(other, settled, width)).rows(steps).known
        chance = np.random.Generator(np.random.PCG64([seed, 100 + number]))
        rows = rows.taken(chance.random(len(rows.week)) < MOST_LIVED / max(len(rows.week), 1))
        yield rows, 500 + 100 * number + rows.week // bags.STRETCH


def _invented(real: int, steps: Sequence[int], width: int, seed: int) -> Iterator[tuple[Rows, Ints]]:
    """Rows of each invented world, in proportion to the `real` ones, and their stretches."""
    want = min(max(INVENTED * real, LEAST_INVENTED), MOST_INVENTED)
    for number in range(WORLDS):
        drawn, rank = _drawn(seed, number, tuple(steps), width)
        rows = drawn.taken(rank < want / WORLDS)
        yield rows, 1000 * (number + 1) + rows.week // bags.STRETCH


@lru_cache(maxsize=2 * WORLDS)
def _drawn(seed: int, number: int, steps: tuple[int, ...], width: int) -> tuple[Rows, Floats]:
    """Rows drawn from one invented world, as many as are ever wanted, and a rank by which fewer can be taken."""
    rows = Sight.of(windows.invented(epidemics.world(seed, number), width)).rows(steps).known
    rank = np.random.Generator(np.random.PCG64([seed, number])).random(len(rows.week)) * len(rows.week)
    drawn = rank < MOST_INVENTED / WORLDS
    return rows.taken(drawn), rank[drawn]
