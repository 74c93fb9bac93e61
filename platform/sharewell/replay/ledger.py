"""The ledger of a replay: what sharing changed, counted against what really happened."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from datetime import date
from fractions import Fraction
from statistics import median
from typing import Any

from sharewell.domain.fairness import gini
from sharewell.replay.panel import Key, Panel


@dataclass
class Ledger:
    """Units that really moved, by site, resource and period."""

    panel: Panel
    received: Counter[Key] = field(default_factory=Counter)
    given: Counter[Key] = field(default_factory=Counter)
    proposed: int = 0  #: units in plans
    declined: int = 0  #: units that givers took back

    def moved(self, giver: str, receiver: str, resource: str, period: date, units: int) -> None:
        """Count units that left `giver` and reached `receiver`."""
        self.given[giver, resource, period] += units
        self.received[receiver, resource, period] += units

    def figures(self) -> dict[str, Any]:
        """What the replay says at its end; shortages in resource-days, shares as decimals in text."""
        days = self.panel.step.days
        without = {key: load.shortage for key, load in self.panel.loads.items()}
        after = {key: self.shortage(key) for key in self.panel.loads}
        before, left = sum(without.values()), sum(after.values())
        unfixable = self._unfixable()
        fills = self._fills()
        return {
            "shortage_without_sharing": before * days,
            "shortage_with_sharing": left * days,
            "reduction": _share(before - left, before),
            "no_sharing_could_fix": unfixable * days,
            "no_sharing_could_fix_share": _share(unfixable, before),
            "units_moved": sum(self.given.values()),
            "units_proposed": self.proposed,
            "units_declined": self.declined,
            "institutions_short": len(fills),
            "smallest_fill_rate": f"{float(min(fills)):.3f}" if fills else "",
            "median_fill_rate": f"{float(median(fills)):.3f}" if fills else "",
            "gini_of_fill_rates": f"{float(gini(fills)):.3f}" if fills else "",
            "donors_worse_off": sum(self._worse_off(site, without, after) for site in {key[0] for key in self.given}),
        }  # fmt: skip

    def shortage(self, key: Key) -> int:
        """Units that were lacking with sharing."""
        load = self.panel.loads[key]
        return max(0, load.need + self.given[key] - load.staffed - self.received[key])

    def _worse_off(self, site: str, without: dict[Key, int], after: dict[Key, int]) -> bool:
        return any(after[key] > without[key] for key in self.given if key[0] == site)

    def _unfixable(self) -> int:
        """Units that even perfect sharing within each region leaves lacking: what the region as a whole is short of."""
        need: Counter[tuple[str, str, date]] = Counter()
        for (site, resource, period), load in self.panel.loads.items():
            need[self.panel.sites[site].region, resource, period] += load.need - load.staffed
        return sum(max(0, units) for units in need.values())

    def _fills(self) -> list[Fraction]:
        """Per site that was ever short: the share of its shortage that sharing filled."""
        short: Counter[str] = Counter()
        filled: dict[str, int] = defaultdict(int)
        for (site, resource, period), load in self.panel.loads.items():
            short[site] += load.shortage
            filled[site] += min(load.shortage, self.received[site, resource, period])
        return [Fraction(filled[site], units) for site, units in short.items() if units > 0]


def _share(part: int, whole: int) -> str:
    return f"{part / whole:.3f}" if whole else "0.000"
