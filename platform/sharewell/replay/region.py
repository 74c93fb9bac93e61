"""A plausible made-up region for the demonstration: 24 institutions, two resources, and a surge that travels."""

from __future__ import annotations

import math
import random
from datetime import date, timedelta

from sharewell.replay.panel import Key, Load, Panel, Site

REGION = "demo-region"
HISTORY_DAYS = 28  #: days everybody has reported before the demonstration begins
PLAYED_DAYS = 4
SEED = 20260301

_PLACES = (
    "Ashford", "Birchwood", "Calder", "Dunmore", "Eastvale", "Fernhill", "Glenrock", "Harrow Bay", "Ironbridge",
    "Juniper", "Kestrel", "Larkfield", "Millbrook", "Northgate", "Oakhurst", "Pinecrest", "Quarry Hill", "Riverside",
    "Stonehaven", "Thornton", "Upland", "Valley", "Westmere", "Yarrow",
)  # fmt: skip
_KINDS = ("General Hospital", "Medical Centre", "Community Hospital")


def make_region(last: date) -> Panel:
    """The region up to and including `last`. The same day always gives the same region."""
    chance = random.Random(SEED)  # noqa: S311  a plausible region, not a secret
    periods = tuple(last - timedelta(days=back) for back in reversed(range(HISTORY_DAYS + PLAYED_DAYS)))
    sites: dict[str, Site] = {}
    loads: dict[Key, Load] = {}
    for number, place in enumerate(_PLACES):
        east = number % 6 * 0.35 + chance.uniform(-0.1, 0.1)
        north = number // 6 * 0.3 + chance.uniform(-0.1, 0.1)
        code = f"demo-{place.lower().replace(' ', '-')}"
        sites[code] = Site(code, f"{place} {_KINDS[number % 3]}", REGION, 46.0 + north, 7.0 + east)
        beds = chance.randint(60, 320)
        for resource, staffed, base in (("bed.adult", beds, 0.72), ("ventilator", max(6, beds // 9), 0.66)):
            # The surge comes from the west and reaches its height there first; the east still has room then.
            peak, height = HISTORY_DAYS - 2 + east * 5, 0.45 if east < 0.9 else 0.08
            for day, period in enumerate(periods):
                wave = height * math.exp(-(((day - peak) / 7) ** 2))
                need = staffed * (base + wave) * chance.gauss(1.0, 0.025)
                loads[code, resource, period] = Load(staffed, max(0, round(need)))
    return Panel(title="A made-up region", step=timedelta(days=1), sites=sites, periods=periods, loads=loads)
