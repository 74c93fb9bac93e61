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
_POSTAL = (
    "AL01 AK02 AZ04 AR05 CA06 CO08 CT09 DE10 DC11 FL12 GA13 HI15 ID16 IL17 IN18 IA19 KS20 KY21 LA22 ME23 MD24 MA25 "
    "MI26 MN27 MS28 MO29 MT30 NE31 NV32 NH33 NJ34 NM35 NY36 NC37 ND38 OH39 OK40 OR41 PA42 RI44 SC45 SD46 TN47 TX48 "
    "UT49 VT50 VA51 WA53 WV54 WI55 WY56 PR72"
)
CODES = {pair[:2]: pair[2:] for pair in _POSTAL.split()} | {"USA": "US"}  #: FIPS code by postal abbreviation
_OF = {place: number for number, places in enumerate(_REGIONS) for place in places.split()}


def of(places: Sequence[str]) -> NDArray[np.int64]:
    """[L] region of each place; all places that are no state or territory share one."""
    return np.array([_OF.get(place, len(_REGIONS)) for place in places], dtype=np.int64)
