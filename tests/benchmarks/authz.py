"""What one authorisation decision costs, and what it would cost if the policies were parsed each time.

The ratio compares `Authorizer.ask` (parsed handles kept) with Cedar given text.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any
from uuid import UUID

import cedarpy

from sharewell.authz import SCHEMA, Authorizer, shipped_policies
from sharewell.domain.policy import Action, Target
from sharewell.domain.principals import Caller, Role

OWN, OTHER = UUID(int=1), UUID(int=2)


def best_of(rounds: int, calls: int, act: Callable[[], object]) -> float:
    """Microseconds a call takes, in the best of `rounds`."""
    best = float("inf")
    for _ in range(rounds):
        begun = time.perf_counter()
        for _ in range(calls):
            act()
        best = min(best, (time.perf_counter() - begun) / calls)
    return best * 1e6


def measure() -> list[dict[str, Any]]:
    """One record."""
    authorizer = Authorizer.load()
    caller = Caller(
        principal="north",
        roles=frozenset({Role.INSTITUTION}),
        institution=OWN,
        scopes=frozenset({"system/Offer.cruds", "system/Capacity.cruds", "system/Transfer.rus"}),
    )
    own, other = (Target(kind="offer", id="1", owner=owner) for owner in (OWN, OTHER))
    allowed = best_of(5, 2_000, lambda: authorizer.ask(caller, Action.PUBLISH_OFFER, own))
    denied = best_of(5, 2_000, lambda: authorizer.ask(caller, Action.PUBLISH_OFFER, other))
    files = shipped_policies()
    text = "\n".join(data.decode() for name, data in files.items() if name != SCHEMA)
    request = {
        "principal": 'Sharewell::Caller::"north"',
        "action": 'Sharewell::Action::"publishOffer"',
        "resource": 'Sharewell::Offer::"1"',
        "context": {"requiredScope": "Offer.c"},
    }
    parsing = best_of(3, 20, lambda: cedarpy.is_authorized(request, text, [], schema=files[SCHEMA].decode()))
    return [
        {
            "benchmark": "authz.decide",
            "policies": len(authorizer.policies),
            "allowed_us": round(allowed, 1),
            "denied_us": round(denied, 1),
            "parsing_each_time_ratio": round(parsing / allowed, 1),
        }
    ]
