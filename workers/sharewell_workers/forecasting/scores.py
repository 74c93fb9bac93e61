"""Scores over many forecasts at once; the arithmetic of `sharewell.domain.forecast`, on arrays."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from sharewell_workers.forecasting import intervals

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]


def wis(values: Floats, observed: Floats, levels: Sequence[int]) -> Floats:
    """Weighted interval score of each row of `values` [N, L] for `observed` [N]; twice the mean pinball loss.

    `observed` may be [N, L], one number for each quantile to be compared with: see `intervals.nearest`.
    """
    tau = np.array(levels) / 1000
    miss = (observed[:, None] if observed.ndim == 1 else observed) - values
    return np.asarray(2 * np.maximum(tau * miss, (tau - 1) * miss).mean(axis=1))


def log_wis(values: Floats, observed: Floats, levels: Sequence[int]) -> Floats:
    """The score after log(1 + x), which asks for the right ratio rather than the right count.

    Bosse et al., PLoS Comput. Biol. 19(8) (2023) e1011393.
    """
    return wis(np.log1p(np.maximum(values, 0.0)), np.log1p(np.maximum(observed, 0.0)), levels)


def covered(values: Floats, observed: Floats | tuple[Floats, Floats], levels: Sequence[int], share: int) -> Floats:
    """How much of what came each row's central band of `share` per mille held, ends included: 0 or 1.

    Of what is known only to lie in an interval (`observed` is its two ends, [N] each), the share that was held.
    """
    low, high = list(levels).index((1000 - share) // 2), list(levels).index((1000 + share) // 2)
    lower, upper = observed if isinstance(observed, tuple) else (observed, observed)
    return intervals.share_held(values[:, low], values[:, high], lower, upper)
