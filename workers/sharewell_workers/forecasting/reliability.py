"""Whether levels mean what they say: how often what came lay below each, and where in the forecasts it fell.

Counts tie with their forecasts. A level is then right if its share lies between that of outcomes below it and that of
outcomes not above it, and a tied outcome is spread over the levels it ties with (the non-randomised histogram of
Czado, Gneiting & Held, Biometrics 65 (2009) 1254-1261).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]


def shares(values: Floats, observed: Floats) -> tuple[Floats, Floats]:
    """Shares [L] of `observed` [N] below each level of `values` [N, L], and not above it; both rise with the level."""
    seen = observed[:, None]
    return (seen < values).mean(axis=0), (seen <= values).mean(axis=0)


def pit(values: Floats, observed: Floats, levels: Sequence[int]) -> Floats:
    """Shares [L + 1] of outcomes between neighbouring levels, from under the lowest to over the highest; sum 1.

    The probability integral transform, as far as `values` [N, L] tell it: calibrated forecasts give each bin its width,
    a hump in the middle says that bands are too wide, high ends that they are too narrow. Forecasts must rise along
    each row.
    """
    edges = np.array([0, *levels, 1000]) / 1000
    first = (values < observed[:, None]).sum(axis=1)  # levels below the outcome
    last = (values <= observed[:, None]).sum(axis=1)  # and levels not above it
    start, end = _reach(edges, first, last)
    inside = np.minimum(end[:, None], edges[1:]) - np.maximum(start[:, None], edges[:-1])
    return np.asarray((np.clip(inside, 0.0, None) / (end - start)[:, None]).mean(axis=0))


def _reach(edges: Floats, first: Ints, last: Ints) -> tuple[Floats, Floats]:
    """Between which probabilities each outcome lies, by how many levels lie below it and how many not above it.

    Untied it lies anywhere between two levels. Tied, its own probability begins somewhere between the last level below
    it and the first it ties with, and ends likewise: in the middle, for want of more; at 0 or 1 at the ends.
    """
    tied, top = last > first, len(edges) - 2
    middle = (edges[1:] + edges[:-1]) / 2
    start = np.where(tied & (first > 0), middle[first], edges[first])
    end = np.where(tied & (last < top), middle[last], edges[last + 1])
    return start, end
