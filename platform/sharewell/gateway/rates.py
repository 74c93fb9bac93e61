"""How many requests one caller may make: a bucket for each, that fills at the rate of its class.

Kept by each process for itself, so that no request waits for a database; with several gateways a caller may get as
many times as much. What matters is that one that floods leaves the others their share.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Final

from sharewell.domain.clients import RateClass
from sharewell.domain.rates import Allowance, Rate

MOST = 8192


class Knock(StrEnum):
    """What is counted before, or whether or not, anybody proves who they are."""

    ADDRESS = "address"  # requests to the OAuth endpoints from one address
    SIGN_IN = "sign-in"  # passwords tried from one address: each costs a hash that is made to be costly
    CLIENT = "client"  # requests of one client to the OAuth endpoints
    REFUSED = "refused"  # credentials from one address that do not open
    REFUSALS = "refusals"  # and from all addresses together


RATES: Final[Mapping[str, Rate]] = {
    RateClass.LOW: Rate(10, 100),
    RateClass.STANDARD: Rate(200, 2000),
    RateClass.HIGH: Rate(2000, 20000),
}
#: A token lasts minutes, so even a large house behind one address stays far below these.
KNOCKS: Final[Mapping[str, Rate]] = {
    Knock.ADDRESS: Rate(50, 500),
    Knock.SIGN_IN: Rate(1, 60),
    Knock.CLIENT: Rate(20, 200),
    Knock.REFUSED: Rate(0.1, 50),
    Knock.REFUSALS: Rate(2, 1000),
}


class Buckets:
    """One for each caller."""

    def __init__(
        self, clock: Callable[[], float], rates: Mapping[str, Rate] = RATES, *, most: int = MOST
    ) -> None:
        self._clock, self._rates, self._most = clock, rates, most
        #: What is left, and when that was so; whoever was here last comes last.
        self._held: dict[tuple[str, str], tuple[float, float]] = {}

    def take(self, caller: str, kind: str) -> Allowance:
        """Take one request out, or say when there will be one."""
        rate, at = self._rates[kind], self._clock()
        left, since = self._held.pop((kind, caller), (rate.at_once, at))
        left = min(rate.at_once, left + max(0.0, at - since) * rate.each_second)
        pause = 0 if left >= 1 else math.ceil((1 - left) / rate.each_second)
        left = left if pause else left - 1
        if len(self._held) >= self._most:  # forget whoever was not here for longest, whose bucket is the fullest
            del self._held[next(iter(self._held))]
        self._held[kind, caller] = (left, at)
        return Allowance(kind, rate, left, pause)
