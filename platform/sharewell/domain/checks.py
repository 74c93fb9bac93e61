"""The small checks every noun makes on its input, each naming the field and what would be right."""

from __future__ import annotations

import re
import unicodedata
from datetime import datetime, timedelta

from sharewell.domain.errors import Invalid

MAX_UNITS = 1_000_000  #: more than any institution holds of anything; a larger number is a typing error
MAX_TEXT = 200
YEARS = range(1900, 2200)

_CODE = re.compile(r"[a-z0-9]+(?:[.\-][a-z0-9]+)*")


def units(value: object, field: str, *, least: int = 0, most: int = MAX_UNITS) -> int:
    """Return `value` if it is a whole number of units in `least..most`."""
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise Invalid(f"{field} is {value!r}; it must be a whole number from {least} to {most}.", field=field)
    return value


def text(value: str, field: str, *, most: int = MAX_TEXT, optional: bool = False) -> str:
    """Return `value` in NFC without surrounding blanks, if it is printable and of a sane length."""
    clean = unicodedata.normalize("NFC", value).strip()
    if (not clean and not optional) or len(clean) > most:
        raise Invalid(f"{field} must have 1 to {most} characters; it has {len(clean)}.", field=field)
    if any(unicodedata.category(c) in {"Cc", "Cs", "Co"} for c in clean):
        raise Invalid(f"{field} has control characters; send plain text.", field=field)
    return clean


def code(value: str, field: str, *, most: int = 64) -> str:
    """Return `value` if it is a lower-case code such as `bed.adult` or `us-nj`."""
    if len(value) > most or not _CODE.fullmatch(value):
        raise Invalid(
            f"{field} is {value[:80]!r}; it must be lower-case letters and digits, in parts joined by '.' or '-'.",
            field=field,
        )
    return value


def moment(value: datetime, field: str) -> datetime:
    """Return `value` if it carries its offset from UTC and lies in the years anybody plans for."""
    if value.tzinfo is None or value.utcoffset() is None:
        raise Invalid(f"{field} has no time zone; send an RFC 3339 time such as 2026-01-31T08:00:00Z.", field=field)
    # Farther out, arithmetic with times leaves the calendar.
    if value.year not in YEARS:
        raise Invalid(f"{field} must lie in the years {YEARS[0]} to {YEARS[-1]}.", field=field)
    return value


def window(
    start: datetime, end: datetime, fields: tuple[str, str], *, most: timedelta = timedelta(days=366)
) -> None:
    """Refuse a window that ends before it begins, or is longer than `most`; `fields` name its two ends."""
    first, last = fields
    moment(start, first)
    moment(end, last)
    if not timedelta(0) < end - start <= most:
        raise Invalid(f"{last} must come after {first}, by at most {most.days} days.", field=last)
