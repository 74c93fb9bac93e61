"""Scalars beyond those of GraphQL itself, each read strictly and written in one form only.

Times stay `datetime` and dates `date` in a result; the edge writes them as RFC 3339 when it writes JSON.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, date, datetime
from typing import NewType
from uuid import UUID

import strawberry
from graphql import GraphQLError
from strawberry.types.scalar import ScalarDefinition

Json = NewType("Json", object)
"""Whatever JSON can hold."""

YEARS = range(1900, 2200)  #: nothing here happens outside of them, and every sum of a time and a span stays a time

_UUID = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_TIME = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(?:\.\d{1,9})?(?:[Zz]|[+-]\d\d:\d\d)", re.ASCII)
_DATE = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)


def read_uuid(value: object) -> UUID:
    """Read the 36 characters of RFC 9562, section 4, and nothing that only resembles them."""
    if isinstance(value, str) and _UUID.fullmatch(value):
        return UUID(value)
    raise GraphQLError("This is not a UUID; send 36 characters such as 0197e6f2-6f0c-7c3e-9f0a-1b2c3d4e5f60.")


def read_time(value: object) -> datetime:
    """Read an RFC 3339 time with its offset, as the same moment in UTC."""
    if isinstance(value, str) and _TIME.fullmatch(value):
        try:
            moment = datetime.fromisoformat(value.upper()).astimezone(UTC)
        except (ValueError, OverflowError):
            moment = None
        if moment is not None and moment.year in YEARS:
            return moment
    raise GraphQLError(
        "This is not a time; send RFC 3339 with an offset, such as 2026-01-31T08:00:00Z, "
        f"in the years {YEARS[0]} to {YEARS[-1]}."
    )


def read_date(value: object) -> date:
    """Read a full-date of RFC 3339."""
    if isinstance(value, str) and _DATE.fullmatch(value):
        try:
            day = date.fromisoformat(value)
        except ValueError:
            day = None
        if day is not None and day.year in YEARS:
            return day
    raise GraphQLError(
        f"This is not a date; send year, month and day, such as 2026-01-31, in the years {YEARS[0]} to {YEARS[-1]}."
    )


def write_uuid(value: object) -> str:
    if isinstance(value, UUID):
        return str(value)
    raise TypeError(f"{type(value).__name__} is no UUID")


def write_time(value: object) -> datetime:
    if isinstance(value, datetime) and value.tzinfo is not None:
        return value if value.tzinfo is UTC else value.astimezone(UTC)
    raise TypeError(f"{type(value).__name__} is no time with a zone")


def write_date(value: object) -> date:
    if isinstance(value, date) and not isinstance(value, datetime):
        return value
    raise TypeError(f"{type(value).__name__} is no date")


SCALARS: Mapping[object, ScalarDefinition] = {
    UUID: strawberry.scalar(
        name="UUID",
        description="An identifier of 36 characters (RFC 9562). Ours are of version 7: made later, they sort later.",
        specified_by_url="https://www.rfc-editor.org/rfc/rfc9562",
        serialize=write_uuid,
        parse_value=read_uuid,
    ),
    datetime: strawberry.scalar(
        name="DateTime",
        description="A moment as RFC 3339 writes it. Send any offset; answers are in UTC and end in Z.",
        specified_by_url="https://www.rfc-editor.org/rfc/rfc3339",
        serialize=write_time,
        parse_value=read_time,
    ),
    date: strawberry.scalar(
        name="Date",
        description="A calendar day as RFC 3339 writes it: year-month-day.",
        specified_by_url="https://www.rfc-editor.org/rfc/rfc3339",
        serialize=write_date,
        parse_value=read_date,
    ),
    Json: strawberry.scalar(
        name="JSON",
        description="Any JSON value. Used only where members depend on what is told, and then listed at the field.",
        specified_by_url="https://www.rfc-editor.org/rfc/rfc8259",
        serialize=lambda value: value,
    ),
}


