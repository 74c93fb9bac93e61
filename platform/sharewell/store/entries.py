"""The bytes of an entry for whoever decides: those that the domain writes, by a library that writes them sooner."""

from __future__ import annotations

from typing import TYPE_CHECKING

import orjson

from sharewell.domain import canonical

if TYPE_CHECKING:
    from sharewell.domain.audit import Decision
    from sharewell.domain.canonical import Json


def entry_of(decision: Decision) -> bytes:
    """`decision.entry()`, byte for byte. Raises the same."""
    return decision.entry(encode)


def encode(value: Json) -> bytes:
    """What `canonical.encode` writes, and raises.

    On the canonical profile sorting keys by their bytes is what sorting them by code point is, and no number or text
    can be written in two ways.
    """
    canonical.check(value)
    try:
        return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
    except orjson.JSONEncodeError:  # mappings that are no dict, keys that are more than text
        return canonical.encode(value)
