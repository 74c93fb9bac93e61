"""Which places lie near each other: the ten regions of the US Department of Health and Human Services, by FIPS code."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

_REGIONS = (
    "09 23 25 33 44 50", "34 36 72 78", "10 11 24 42 51 54", "01 12 13 21 28 37 45 47", "17 18 26 27 39 55",
    "05 22 35 40 48", "19 20 29 31", "08 30 38 46 49 56", "04 06 15 32 60 66 69", "02 16 41 53",
)  # fmt: skip
_OF = {place: number for number, places in enumerate(_REGIONS) for place in places.split()}


def of(places: Sequence[str]) -> NDArray[np.int64]:
    """[L] region of each place; all places that are no state or territory share one."""
    return np.array([_OF.get(place, len(_REGIONS)) for place in places], dtype=np.int64)
