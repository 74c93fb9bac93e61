"""How long each kind of decision must be kept. What the law asks for is the operator's to know and to set."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from sharewell.domain.audit import KINDS
from sharewell.domain.errors import Invalid

NOUNS: Final = frozenset(kind.partition(".")[0] for kind in KINDS)
USUAL: Final = 10  #: years, where nothing is set


@dataclass(frozen=True, slots=True)
class Keeping:
    """Years that decisions are kept at least, by the first word of their kind, such as `access`; "": all others.

    Raises `Invalid` for a word that no kind begins with.
    """

    years: Mapping[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        unknown = sorted(self.years.keys() - NOUNS - {""})
        if unknown:
            known = ", ".join(sorted(NOUNS))
            raise Invalid(f"{unknown[0]!r} begins no kind of decision; {known} do.", field="keep_years")

    def of(self, kind: str) -> int:
        """Years that decisions of `kind` are kept."""
        return self.years.get(kind.partition(".")[0], self.years.get("", USUAL))

    def since(self, at: datetime) -> dict[str, datetime]:
        """By kind, the time from which on decisions must still be kept at `at`."""
        return {kind: _earlier(at, self.of(kind)) for kind in KINDS}


def _earlier(at: datetime, years: int) -> datetime:
    try:
        return at.replace(year=at.year - years)
    except ValueError:  # the 29th of February; one day more is kept
        return at.replace(year=at.year - years, day=28)
