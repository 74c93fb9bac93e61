"""The published formats that can be read, by name."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import Final, Protocol

from sharewell.domain.errors import Invalid
from sharewell.exchange import divi, hhs, nj
from sharewell.exchange.feed import Feed, FeedRefused


class Reader(Protocol):
    """Reads one file whole or raises `FeedRefused`."""

    def __call__(self, data: bytes, *, latest: date) -> Feed: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Format:
    """One published format."""

    name: str
    title: str
    reader: Reader
    takes_locations: bool = False


FORMATS: Final = {
    known.name: known
    for known in (
        Format(name=hhs.FORMAT, title="US HHS hospital capacity by facility, weekly CSV", reader=hhs.read),
        Format(name=divi.FORMAT, title="German DIVI-Intensivregister by Land, daily CSV", reader=divi.read),
        Format(name=nj.FORMAT, title="New Jersey hospital census, daily CSV", reader=nj.read, takes_locations=True),
    )
}


def find(name: str) -> Format:
    """Return the format called `name`. Raises `Invalid` with the names there are."""
    if name not in FORMATS:
        raise Invalid(f"there is no format {name[:40]!r}; the formats are {', '.join(FORMATS)}.", field="format")
    return FORMATS[name]


def read(name: str, data: bytes, *, latest: date, locations: bytes | None = None) -> Feed:
    """Read `data` in the format `name`; `latest` is the last day a period may begin on.

    Raises `Invalid` for an unknown format and `FeedRefused` for a file that is not whole and well-formed.
    """
    known = find(name)
    if locations is None:
        return known.reader(data, latest=latest)
    if not known.takes_locations:
        raise FeedRefused(f"the format {name} takes no file of locations.")
    return nj.read(data, latest=latest, locations=locations)
