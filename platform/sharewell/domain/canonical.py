"""The one way to write a decision as bytes: RFC 8785 (JCS), restricted so that no two programs can disagree.

Restricted means: no floating point numbers, whole numbers below 2**53 in size, ASCII keys, text in Unicode
normal form C, no lone surrogates, no NUL (databases cannot hold it). On this profile sorting keys by code point is
what RFC 8785 asks for.
"""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn, TypeAlias

from sharewell.domain.errors import Invalid

Json: TypeAlias = "bool | int | str | Sequence[Json] | Mapping[str, Json] | None"

LARGEST_NUMBER = 2**53 - 1
DEEPEST = 32  #: levels of nesting; every parser can take this many

_NUMBER_LENGTH = len(str(-LARGEST_NUMBER))


class NotCanonical(Invalid):
    """The value or the bytes are outside the canonical profile; the message says where and what would be right."""


def encode(value: Json) -> bytes:
    """The canonical bytes of `value`. Raises `NotCanonical`, with the path in `field`, for what has none."""
    return _dumps(_plain(value, "", 0))


def parse(data: bytes) -> Json:
    """Read canonical bytes. Raises `NotCanonical` for anything that `encode` would not have written."""
    value = parse_loosely(data)
    if encode(value) != data:
        raise NotCanonical("The JSON is not in canonical form: keys sorted, no blanks, shortest escapes.")
    return value


def parse_loosely(data: bytes) -> Json:
    """Read UTF-8 JSON whatever its spacing and order, refusing doubled keys and floating point numbers."""
    try:
        value: Json = json.loads(
            data.decode("utf-8"),
            object_pairs_hook=_object,
            parse_int=_int,
            parse_float=_no_float,
            parse_constant=_no_float,
        )
    except NotCanonical:
        raise
    except (ValueError, RecursionError) as why:
        raise NotCanonical(f"This is not JSON in UTF-8: {why}.") from None
    return value


def _dumps(plain: Any) -> bytes:
    return json.dumps(plain, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode("utf-8")


def _plain(value: object, path: str, depth: int) -> object:
    """`value` in exact built-in types, so that no subclass can change what is written."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return _text(value, path)
    if isinstance(value, int):
        if not -LARGEST_NUMBER <= value <= LARGEST_NUMBER:
            raise _refuse(path, "is a number of 2**53 or more; write it as text")
        return int(value)
    if depth >= DEEPEST:
        raise _refuse(path, f"is nested deeper than {DEEPEST} levels")
    if isinstance(value, Mapping):
        return {_key(key, path): _plain(item, f"{path}.{key}", depth + 1) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item, f"{path}.{at}", depth + 1) for at, item in enumerate(value)]
    kind = type(value).__name__
    raise _refuse(path, f"is of type {kind}; the log takes text, whole numbers, true, false, null, lists and objects")


def _text(value: str, path: str) -> str:
    exact = str.__str__(value)
    if "\0" in exact:
        raise _refuse(path, "holds the character NUL; leave it out")
    if exact.isascii():
        return exact
    if any("\ud800" <= c <= "\udfff" for c in exact):
        raise _refuse(path, "has half of a surrogate pair; send valid Unicode")
    if not unicodedata.is_normalized("NFC", exact):
        raise _refuse(path, "is not in Unicode normal form C; normalise it first")
    return exact


def _key(key: object, path: str) -> str:
    if not isinstance(key, str) or not key.isascii():
        raise _refuse(f"{path}.{key!r}", "is a key that is not ASCII text")
    return str.__str__(key)


def _refuse(path: str, why: str) -> NotCanonical:
    field = path.lstrip(".") or "value"
    return NotCanonical(f"{field} {why}.", field=field)


def _object(pairs: list[tuple[str, Json]]) -> dict[str, Json]:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise NotCanonical(f"The key {twice!r} appears twice in one object.", field=twice)
    return found


def _int(digits: str) -> int:
    # Measured as text first: turning a million digits into a number would take minutes.
    if len(digits) > _NUMBER_LENGTH or abs(int(digits)) > LARGEST_NUMBER:
        raise NotCanonical(f"The number {digits[:20]} has 2**53 or more in size.")
    return int(digits)


def _no_float(text: str) -> NoReturn:
    raise NotCanonical(f"{text[:20]} is not a whole number; the log holds no floating point numbers.")
