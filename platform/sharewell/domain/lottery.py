"""Ties between lanes, drawn from a published seed, so that anybody can draw them again."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sharewell.domain.parts import Part

TICKETS = 1024  #: for requests, and again for the lanes of one
PRIME = 65_537


def lottery(seed: str, part: Part, lanes: Iterable[int] | None = None) -> list[int]:
    """A number per lane (of `lanes`, or all), drawn from the published seed: its request's ticket first, its own within
    it; low wins.
    """
    requests, offers = _Draws(f"{seed}|request|"), _Draws(f"{seed}|offer|")
    chosen = part.lanes if lanes is None else map(part.lanes.__getitem__, lanes)
    return [
        # Two numbers other than 0, multiplied modulo a prime, scatter like a number drawn for the pair.
        requests[lane.request] % TICKETS * TICKETS + offers[lane.offer] * requests[lane.request] % PRIME % TICKETS
        for lane in chosen
    ]


class _Draws(dict[str, int]):
    """A number from 1 to PRIME - 1 for each name, drawn when it is first asked for."""

    def __init__(self, before: str) -> None:
        super().__init__()
        self.before = before

    def __missing__(self, name: str) -> int:
        drawn = hashlib.sha256((self.before + name).encode()).digest()
        self[name] = number = int.from_bytes(drawn[:8], "big") % (PRIME - 1) + 1
        return number
