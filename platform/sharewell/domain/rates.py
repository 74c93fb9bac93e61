"""How many requests a caller may make, and what is left of them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Rate:
    """Requests a second in the long run, and how many may come at once."""

    each_second: float
    at_once: float


@dataclass(frozen=True, slots=True)
class Allowance:
    """What a caller has left of its rate."""

    name: str  #: of the rate's class
    rate: Rate
    left: float
    pause: int  #: seconds until the next request is answered; 0 where this one is
