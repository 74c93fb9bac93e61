"""How many requests a caller may make, and what is left of them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Rate:
    """Requests a second in the long run, and how many may come at once."""

    each_second: float
    at_once: float


@dataclass(frozen=True, slots=True)
class Allowance:
    """What a caller has left of its rate."""

    kind: str  #: what is counted: a class of clients, or what comes before anybody is known
    rate: Rate
    left: float
    pause: int  #: seconds until the next request is answered; 0 where this one is

    @property
    def headers(self) -> Mapping[str, str]:
        """As in draft-ietf-httpapi-ratelimit-headers-10: the quota of a window, what is left, when it is full again."""
        window = self.rate.at_once / self.rate.each_second
        full = math.ceil((self.rate.at_once - self.left) / self.rate.each_second)
        said = {
            "RateLimit-Policy": f'"{self.kind}";q={self.rate.at_once:.0f};w={window:.0f}',
            "RateLimit": f'"{self.kind}";r={int(self.left)};t={full}',
        }
        return said | ({"Retry-After": str(self.pause)} if self.pause else {})
