"""The figures of a replay in plain words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def sentences(figures: Mapping[str, Any]) -> list[str]:
    """What sharing changed, said to somebody who was not there. A large share that nothing could fix comes first."""
    before, after = figures["shortage_without_sharing"], figures["shortage_with_sharing"]
    outcome = (
        f"{figures['panel']}, {figures['from']} to {figures['until']}: without sharing {before} resource-days "
        f"(one unit for one day) were lacking, with sharing {after} ({float(figures['reduction']):.1%} less)."
    )
    movements = (
        f"{figures['units_moved']} units moved; givers took back {figures['units_declined']} of "
        f"{figures['units_proposed']} planned when their own need rose."
    )
    ceiling = (
        f"Of the shortage, {figures['no_sharing_could_fix']} resource-days "
        f"({float(figures['no_sharing_could_fix_share']):.1%}) no sharing could have fixed."
    )
    said = [outcome, movements, ceiling]
    if float(figures["no_sharing_could_fix_share"]) > 0.5:
        said.insert(0, said.pop())
    if figures["institutions_short"]:
        said.append(
            f"Of {figures['institutions_short']} institutions that were short, the worst had "
            f"{float(figures['smallest_fill_rate']):.1%} of its need filled, the median "
            f"{float(figures['median_fill_rate']):.1%} (Gini {figures['gini_of_fill_rates']}; 0 is all alike)."
        )
    said.append(f"Donors left worse off: {figures['donors_worse_off']}.")
    if "verify" in figures:
        said.append(f"{figures['log_entries']} decisions are in the log. Check the last plan: {figures['verify']}")
    if "seconds" in figures:
        said.append(f"It took {figures['seconds']} seconds.")
    return said
