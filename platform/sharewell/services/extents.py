"""What of a list a caller sees, and which parts of it are on record by themselves."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from sharewell.domain.policy import Ruling, Target
from sharewell.domain.predicate import Predicate


@dataclass(frozen=True, slots=True)
class Extent:
    """What of a list a caller sees."""

    seen: Predicate  #: which of its rows
    recorded: bool  #: the list is on record as it is; else what is shown of others must be, see `Office.shown`
    named: frozenset[Target] = frozenset()  #: lists within it that are on record by themselves


def beside(wide: Mapping[Target, Ruling], named: Mapping[Target, Ruling]) -> dict[Target, Ruling]:
    """What of the lists of whole regions is read of those `named` whose own lists are not permitted.

    What is between two institutions is seen by whoever may see it as one party's; of the other it is read as well.
    """
    return {
        replace(target, giver_region=part.giver_region): ruling
        for part, ruling in wide.items() if part.giver_region is not None
        for target, own in named.items() if not own.allowed
    }  # fmt: skip
