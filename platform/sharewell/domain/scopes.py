"""Scopes: what a token may be used for, in SMART v2 style, read once into plain permissions.

A caller needs both: a role that the policies permit, and a scope that covers the act. `system/Offer.cru`
covers creating, reading and updating offers; `system/*.rs` reading and searching everything.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from itertools import combinations
from typing import Final

from sharewell.domain.policy import KINDS

LETTERS: Final = "cruds"  #: create, read, update, delete, search; written in this order
NOUNS: Final = tuple(kind.capitalize() for kind in KINDS)

#: What workers and the command line of the machine itself hold. No token ever carries it.
INTERNAL_SCOPES: Final = frozenset({"internal/*.cruds"})

#: SMART App Launch 2.2, "Scopes for requesting FHIR resources", with our nouns in the place of FHIR's.
_SCOPE: Final = re.compile(r"(?P<context>system|user|internal)/(?P<noun>\*|[A-Z][a-z]+)\.(?P<letters>[a-z]+)")
_IN_ORDER: Final = frozenset(
    "".join(letters) for size in range(1, len(LETTERS) + 1) for letters in combinations(LETTERS, size)
)


def grants(scope: str) -> frozenset[str]:
    """The permissions, such as `Offer.c`, that `scope` stands for; none at all where it is not one of ours.

    Letters out of order, an unknown noun or a `?filter` grant nothing, rather than something near.
    """
    match = _SCOPE.fullmatch(scope)
    if match is None or match["letters"] not in _IN_ORDER or match["noun"] not in ("*", *NOUNS):
        return frozenset()
    nouns = NOUNS if match["noun"] == "*" else (match["noun"],)
    return frozenset(f"{noun}.{letter}" for noun in nouns for letter in match["letters"])


@lru_cache(maxsize=4096)
def granted(scopes: frozenset[str]) -> tuple[str, ...]:
    """All permissions that `scopes` stand for together, sorted."""
    return tuple(sorted(frozenset[str]().union(*map(grants, scopes))))


def grantable(scope: str) -> bool:
    """Whether a client may be registered with `scope`: it means something, and is not an internal one."""
    return not is_internal([scope]) and bool(grants(scope))


def is_internal(scopes: Iterable[str]) -> bool:
    """Whether `scopes` are those of the platform's own processes."""
    return any(scope.startswith("internal/") for scope in scopes)
