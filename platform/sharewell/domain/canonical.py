"""The one way to write a decision as bytes: RFC 8785 (JCS), restricted so that no two programs can disagree.

Restricted means: no floating point numbers, whole numbers below 2**53 in size, ASCII keys, text in Unicode
normal form C, no lone surrogates, no NUL (databases cannot hold it). On this profile sorting keys by code point is
what RFC 8785 asks for. `write` is the RFC whole, for documents that are not entries.
"""

from __future__ import annotations

import json
import math
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Final, NoReturn, TypeAlias

from sharewell.domain.errors import Invalid

Json: TypeAlias = "bool | int | str | Sequence[Json] | Mapping[str, Json] | None"

LARGEST_NUMBER = 2**53 - 1
DEEPEST = 32  #: levels of nesting; every parser can take this many

# Circles are caught by depth; what the encoder does not know, once checked, is some other mapping than a dict.
_ENCODER: Final = json.JSONEncoder(
    ensure_ascii=False, sort_keys=True, separators=(",", ":"), check_circular=False, default=dict
)
_NUMBER_LENGTH = len(str(-LARGEST_NUMBER))


class NotCanonical(Invalid):
    """The value or the bytes are outside the canonical profile; the message says where and what would be right."""


def encode(value: Json) -> bytes:
    """The canonical bytes of `value`. Raises `NotCanonical`, with the path in `field`, for what has none."""
    check(value)
    return _ENCODER.encode(value).encode()


def check(value: Json) -> None:
    """Raise `NotCanonical`, with the path in `field`, unless `value` has canonical bytes."""
    try:
        _check(value, DEEPEST)
    except _Outside as why:
        field = ".".join(reversed(why.path)) or "value"
        raise NotCanonical(f"{field} {why}.", field=field) from None


def write(value: object) -> bytes:
    """Any JSON value by RFC 8785 as a whole: floating point numbers and every key included. Raises `NotCanonical`."""
    try:
        return _write(value).encode()
    except (UnicodeEncodeError, RecursionError):
        raise NotCanonical("The value has half of a surrogate pair, or is nested too deep.") from None


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


class _Outside(Exception):
    """Why a value has no canonical form. The path to it is gathered on the way out, which costs nothing otherwise."""

    def __init__(self, why: str, *path: str) -> None:
        super().__init__(why)
        self.path = list(path)  #: innermost first


def _check(value: object, depth: int) -> None:
    """Raise `_Outside` unless `value` has a canonical form."""
    if isinstance(value, str):
        _check_text(value)
    elif isinstance(value, int):
        if not -LARGEST_NUMBER <= value <= LARGEST_NUMBER:
            raise _Outside("is a number of 2**53 or more; write it as text")
    elif isinstance(value, (list, tuple)):  # asked first, since to ask for a Mapping takes long where it is none
        _check_items(enumerate(value), depth)
    elif isinstance(value, (dict, Mapping)):
        _check_keys(value)
        _check_items(value.items(), depth)
    elif value is not None:
        kind = type(value).__name__
        raise _Outside(f"is of type {kind}; the log takes text, whole numbers, true, false, null, lists and objects")


def _check_items(items: Iterable[tuple[object, object]], depth: int) -> None:
    if not depth:
        raise _Outside(f"is nested deeper than {DEEPEST} levels")
    for name, item in items:
        # Most items are plain, and not worth a call.
        if type(item) is str:
            if item.isascii() and "\0" not in item:
                continue
        elif type(item) is int and -LARGEST_NUMBER <= item <= LARGEST_NUMBER:
            continue
        try:
            _check(item, depth - 1)
        except _Outside as why:
            why.path.append(str(name))
            raise


def _check_keys(keys: Iterable[object]) -> None:
    for key in keys:
        if not isinstance(key, str) or not key.isascii() or "\0" in key:
            raise _Outside("is a key that is not ASCII text", repr(key))


def _check_text(value: str) -> None:
    if "\0" in value:
        raise _Outside("holds the character NUL; leave it out")
    if value.isascii():
        return
    if any("\ud800" <= c <= "\udfff" for c in value):
        raise _Outside("has half of a surrogate pair; send valid Unicode")
    if not unicodedata.is_normalized("NFC", value):
        raise _Outside("is not in Unicode normal form C; normalise it first")


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


def _write(value: object) -> str:
    match value:
        case bool() | None | str():
            return _ENCODER.encode(value)
        case int() if abs(value) <= LARGEST_NUMBER:
            return str(value)
        case float():
            return _number(value)
        case list() | tuple():
            return f"[{','.join(map(_write, value))}]"
        case Mapping() if all(isinstance(key, str) for key in value):
            # UTF-16 code units compare as their big-endian bytes do. RFC 8785, 3.2.3.
            rows = sorted(value.items(), key=lambda row: row[0].encode("utf-16-be"))
            return f"{{{','.join(f'{_ENCODER.encode(key)}:{_write(item)}' for key, item in rows)}}}"
        case _:
            raise NotCanonical(f"{str(value)[:40]} of type {type(value).__name__} has no form in RFC 8785.")


def _number(value: float) -> str:
    """A number as ECMAScript writes it. RFC 8785, 3.2.2.3."""
    if not math.isfinite(value):
        raise NotCanonical(f"{value} is no number that JSON can hold.")
    if not value:
        return "0"
    sign, found, exponent = Decimal(repr(value)).normalize().as_tuple()
    digits, point = "".join(map(str, found)), len(found) + int(exponent)  # 0.<digits> * 10**point
    if len(digits) <= point <= 21:
        text = digits.ljust(point, "0")
    elif 0 < point <= 21:
        text = f"{digits[:point]}.{digits[point:]}"
    elif -6 < point <= 0:
        text = f"0.{'0' * -point}{digits}"
    else:
        text = f"{digits[0]}{'.' if digits[1:] else ''}{digits[1:]}e{point - 1:+d}"
    return "-" * sign + text
