"""How many requests one caller may make: a bucket for each, that fills at the rate of its class.

Kept by each process for itself, so that no request waits for a database; with several gateways a caller may get as
many times as much. What matters is that one that floods leaves the others their share.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Final

from sharewell.domain.clients import RateClass
from sharewell.domain.rates import Allowance, Rate

MOST = 8192


RATES: Final[Mapping[RateClass, Rate]] = {
    RateClass.LOW: Rate(10, 100),
    RateClass.STANDARD: Rate(200, 2000),
    RateClass.HIGH: Rate(2000, 20000),
}


def headers_of(allowance: Allowance) -> Mapping[str, str]:
    """As in draft-ietf-httpapi-ratelimit-headers-10: the quota of a window, what is left, when it is full again."""
    name, rate = allowance.name, allowance.rate
    window = rate.at_once / rate.each_second
    full = math.ceil((rate.at_once - allowance.left) / rate.each_second)
    said = {
        "RateLimit-Policy": f'"{name}";q={rate.at_once:.0f};w={window:.0f}',
        "RateLimit": f'"{name}";r={int(allowance.left)};t={full}',
    }
    return said | ({"Retry-After": str(allowance.pause)} if allowance.pause else {})


class Buckets:
    """One for each caller."""

    def __init__(self, clock: Callable[[], float], rates: Mapping[RateClass, Rate] = RATES) -> None:
        self._clock, self._rates = clock, rates
        self._held: dict[str, tuple[float, float]] = {}  # what is left, and when that was so

    def take(self, caller: str, kind: RateClass) -> Allowance:
        """Take one request out, or say when there will be one."""
        rate, at = self._rates[kind], self._clock()
        left, since = self._held.get(caller, (rate.at_once, at))
        left = min(rate.at_once, left + max(0.0, at - since) * rate.each_second)
        if left < 1:
            self._held[caller] = (left, at)
            return Allowance(kind, rate, left, math.ceil((1 - left) / rate.each_second))
        if len(self._held) >= MOST and caller not in self._held:
            self._held.clear()  # callers are registered ones, so this is rare; everybody starts full again
        self._held[caller] = (left - 1, at)
        return Allowance(kind, rate, left - 1, 0)
