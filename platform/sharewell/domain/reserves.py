"""Reserve categories: shares of the supply meant for some receivers first, all categories looked at together.

A category has a quota; a request may qualify for several, and every request qualifies for what is not reserved. The
1/n of Delacretaz ("Processing reserves simultaneously", EC 2021) is carried over from people who want one unit to
requests that need many: who qualifies for n categories, the open one among them, presents an n-th of its need, rounded
up, to each. What is charged to a category is at most its quota, and of a request at most what it receives. As much as
possible is charged; no order of categories exists, so nothing but their quotas can matter. Reserves are soft: what
nobody they are meant for can take goes to everyone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sharewell.domain import strict
from sharewell.domain.errors import Invalid
from sharewell.domain.strict import Record

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from sharewell.domain.canonical import Json

MOST_CATEGORIES = 6  #: the check adds up every set of them


@dataclass(frozen=True, slots=True, kw_only=True)
class Reserve:
    """One category, and how much is kept for it."""

    category: str
    share: int  #: per mille of the units that can move in each connected part

    def to_json(self) -> dict[str, Json]:
        """Members as they stand in an instance."""
        return {"category": self.category, "share": self.share}

    @classmethod
    def from_json(cls, value: object, path: str) -> Reserve:
        """Read what `to_json` wrote."""
        record = Record.of(value, path, ("category", "share"))
        return cls(category=record.name("category"), share=record.whole("share", most=1000))


def check_reserves(reserves: Sequence[Reserve], path: str = "reserves") -> None:
    """Raise `Invalid` unless each category stands once, there are few of them, and their shares fit in the whole."""
    names = [row.category for row in reserves]
    for row in reserves:
        strict.identifier(row.category, f"{path}[{row.category}].category")
        strict.whole(row.share, f"{path}[{row.category}].share", most=1000)
    if len(set(names)) < len(names):
        raise Invalid(f"{path}: a category stands twice.", field=path)
    if len(names) > MOST_CATEGORIES:
        raise Invalid(f"{path} must be at most {MOST_CATEGORIES} categories.", field=path)
    if sum(row.share for row in reserves) > 1000:
        raise Invalid(f"{path}: the shares together are more than 1000 per mille.", field=path)


def presented(need: int, categories: int) -> int:
    """Units that a request of `need`, qualifying for `categories` reserves and the open units, presents to each."""
    return -(-need // (categories + 1))


@dataclass(frozen=True, slots=True)
class Account:
    """What can be charged to the categories of one part when each receiver has received so many units.

    The largest sum is a maximum flow from receivers to categories, told by its smallest cut (Ford & Fulkerson 1956):
    the least, over all sets S of categories, of the quotas in S and what receivers can charge outside S.
    """

    quotas: tuple[int, ...]  #: by category
    masks: tuple[int, ...]  #: by receiver; bit c is set where it qualifies for category c
    presents: tuple[int, ...]  #: by receiver; units it presents to each category it qualifies for

    def charged(self, received: Sequence[int]) -> int:
        """Units charged at most when receiver i has `received[i]`."""
        return min(self.cuts(received))

    def cuts(self, received: Sequence[int]) -> list[int]:
        """Worth of the cut of every set of categories, by the set as a bit mask."""
        # Receivers that qualify alike are added up once: [mask][open categories] -> units they can charge.
        sums: dict[int, list[int]] = {}
        for mask, most, units in zip(self.masks, self.presents, received, strict=True):
            if mask:
                row = sums.setdefault(mask, [0] * (len(self.quotas) + 1))
                for count in range(1, mask.bit_count() + 1):
                    row[count] += min(units, count * most)
        return [
            self._quotas_of(cut) + sum(row[(mask & ~cut).bit_count()] for mask, row in sums.items())
            for cut in range(1 << len(self.quotas))
        ]

    def falls(self, cuts: Sequence[int], changes: Iterable[tuple[int, int, int]]) -> bool:
        """Whether less can be charged than `cuts` say once receivers (index, units before, units after) change."""
        moved = list(cuts)
        for place, before, after in changes:
            mask, most = self.masks[place], self.presents[place]
            for cut in range(len(moved)):
                most_here = (mask & ~cut).bit_count() * most
                moved[cut] += min(after, most_here) - min(before, most_here)
        return min(moved) < min(cuts)

    def _quotas_of(self, cut: int) -> int:
        return sum(quota for place, quota in enumerate(self.quotas) if cut >> place & 1)
