"""Of which regions a regulator reads: codes of regions, where none means all of them."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from sharewell.domain import checks
from sharewell.domain.errors import Invalid
from sharewell.domain.principals import Role

MOST = 64  #: regions of one registration


def checked(regions: Collection[str], roles: Collection[Role]) -> tuple[str, ...]:
    """The regions in order, each once. Raises `Invalid` for what is no code, too many, or of no regulator."""
    if regions and Role.REGULATOR not in roles:
        raise Invalid("jurisdiction is for regulators; leave it out, or add that role.", field="jurisdiction")
    if len(regions) > MOST:
        raise Invalid(f"jurisdiction has {len(regions)} regions; give at most {MOST}.", field="jurisdiction")
    return tuple(sorted({checks.code(region, "jurisdiction") for region in regions}))


def bounded(
    roles: frozenset[Role], one: Iterable[str], other: Iterable[str]
) -> tuple[frozenset[Role], frozenset[str]]:
    """What is left where two registrations must both permit it: the roles, and the regions of both.

    Where they have no region in common, nobody is a regulator: no region would mean all.
    """
    first, second = frozenset(one), frozenset(other)
    common = (first & second) if first and second else first | second
    if first and second and not common:
        return roles - {Role.REGULATOR}, frozenset()
    return roles, common if Role.REGULATOR in roles else frozenset()
