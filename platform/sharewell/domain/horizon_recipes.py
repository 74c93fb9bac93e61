"""What one unit in use takes at its site for the day: itself with its fittings or, of a kit, all that it is made of.

A kit has no units of its own and does not travel; what it is made of does. Whole kits are put together where and when
they are needed, and taken apart again: what is used up of them is gone, all else is free for the next day.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sharewell.domain.checks import MAX_UNITS
from sharewell.domain.errors import Invalid

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sharewell.domain.horizon import Horizon

Recipe = dict[str, int]  #: item -> units that one unit in use takes for a day


def recipes(horizon: Horizon) -> Mapping[str, Recipe]:
    """The recipe of every item; of most the item itself, once."""
    found: dict[str, Recipe] = {row.item: {row.item: 1} for row in horizon.items}
    for row in horizon.fittings:
        found[row.item][row.part] = row.units
    whole = {row.item: dict[str, int]() for row in horizon.kits}
    for row in horizon.kits:
        for part, units in found[row.part].items():
            whole[row.item][part] = whole[row.item].get(part, 0) + row.units * units
    return found | whole


def check_recipes(horizon: Horizon) -> None:
    """Raise `Invalid` unless kits and fittings are made of what can be had, without a circle."""
    kits = {row.item for row in horizon.kits}
    for row in horizon.kits:
        path = f"kits[{row.item},{row.part}]"
        if horizon.item[row.item].is_place or horizon.item[row.part].is_place:
            raise Invalid(f"{path}: a place is no kit and no part of one.", field=path)
        if row.part in kits:  # so no kit can be made of itself, by whatever way round
            raise Invalid(f"{path}.part is itself a kit; list what that is made of.", field=f"{path}.part")
    for row in horizon.fittings:
        path = f"fittings[{row.item},{row.part}]"
        item = horizon.item[row.item]
        if item.is_place or item.is_used_up or row.item in kits:
            raise Invalid(f"{path}.item must be a device or staff, and no kit.", field=f"{path}.item")
        if not horizon.item[row.part].is_used_up or row.part in kits:
            raise Invalid(f"{path}.part must be a consumable, and no kit.", field=f"{path}.part")
    _check_kits_stay(horizon, kits)
    for name, recipe in recipes(horizon).items():
        if max(recipe.values()) > MAX_UNITS:
            raise Invalid(f"kits[{name}] takes more than {MAX_UNITS} of one item.", field=f"kits[{name}]")


def _check_kits_stay(horizon: Horizon, kits: set[str]) -> None:
    """A kit has no stock, no lane and no stand-in, nor anything that is about those."""
    members = [
        *((f"lots[{row.site},{row.item},{row.since},{row.until}].item", row.item) for row in horizon.lots),
        *((f"lanes[{row.item},{row.origin},{row.destination}].item", row.item) for row in horizon.lanes),
        *((f"substitutes[{row.item},{row.serves}].item", row.item) for row in horizon.substitutes),
        *((f"substitutes[{row.item},{row.serves}].serves", row.serves) for row in horizon.substitutes),
    ]  # fmt: skip
    for path, named in members:
        if named in kits:
            raise Invalid(f"{path} is a kit, and only what it is made of is there or travels.", field=path)
    for item in sorted(kits):
        kit = horizon.item[item]
        if kit.loan_days or kit.hold_days or kit.lot_size > 1 or kit.make != "any":
            path = f"items[{item}]"
            raise Invalid(f"{path} is a kit: loans, holds, lots and makes are those of its parts.", field=path)
