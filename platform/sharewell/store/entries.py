"""The bytes of an entry for whoever decides: those that the domain writes, by a library that writes them sooner.

Whoever decides waits for these bytes, so the entry as it nearly always is, in ASCII, is written without a look at each
of its fields. Any other goes the domain's way, which also says what is wrong with it.
"""

from __future__ import annotations

from datetime import UTC
from typing import TYPE_CHECKING

import orjson

from sharewell.domain import canonical
from sharewell.domain.audit import LARGEST_ENTRY, format_time

if TYPE_CHECKING:
    from sharewell.domain.audit import Decision
    from sharewell.domain.canonical import Json


def entry_of(decision: Decision) -> bytes:
    """`decision.entry()`, byte for byte. Raises the same."""
    return _plain_entry(decision) or decision.entry(encode)


def _plain_entry(decision: Decision) -> bytes | None:
    """The entry, unless there is something to look at in it."""
    d = decision
    try:
        words = "".join((d.actor, d.action, d.subject_kind, d.subject_id, d.request_id, *d.policies))
        if not words.isascii() or "\0" in words:
            return None
        canonical.check([d.details])  # one level down, as in the entry
        values = d.values()
        if d.at.tzinfo is not UTC or not d.at.microsecond:  # orjson would leave six zeros out
            values["at"] = format_time(d.at)
        data = orjson.dumps(values, option=orjson.OPT_SORT_KEYS | orjson.OPT_UTC_Z)
    except (TypeError, canonical.NotCanonical):  # orjson's own error is a TypeError
        return None
    return data if len(data) <= LARGEST_ENTRY else None


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
