"""Units on their way along lanes, indexed for questions about single offers and requests."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from sharewell.domain.instance import Instance, Lane

Key = TypeVar("Key")
Value = TypeVar("Value")


class Moves:
    """What a plan moves in an instance: `moved` maps (offer, request) to units, along lanes of the instance."""

    def __init__(self, instance: Instance, moved: Mapping[tuple[str, str], int]) -> None:
        self.instance = instance
        self.moved = moved
        self._used_beside: dict[str, list[tuple[Lane, int]]] = {}

    @cached_property
    def received(self) -> Mapping[str, int]:
        """Units by request."""
        return total((request, units) for (_, request), units in self.moved.items())

    @cached_property
    def left_of_offer(self) -> Mapping[str, int]:
        """Units of each offer that its owner could still spare, were it the owner's only one."""
        given = total((offer, units) for (offer, _), units in self.moved.items())
        return {offer: units - given.get(offer, 0) for offer, units in self.instance.spare.items()}

    @cached_property
    def left_of_institution(self) -> Mapping[str, int]:
        """Units each owning institution could still part with."""
        owner = self.instance.owner
        given = total((owner[offer].institution, units) for (offer, _), units in self.moved.items())
        return {name: units - given.get(name, 0) for name, units in self.instance.sparable.items()}

    @cached_property
    def lanes_from(self) -> Mapping[str, list[Lane]]:
        """Lanes by offer."""
        return group((lane.offer, lane) for lane in self.instance.lanes)

    @cached_property
    def lanes_to(self) -> Mapping[str, list[Lane]]:
        """Lanes by request."""
        return group((lane.request, lane) for lane in self.instance.lanes)

    @cached_property
    def used_from(self) -> Mapping[str, list[tuple[Lane, int]]]:
        """Lanes that carry something, and how many units, by offer."""
        lane = self.instance.lane
        return group((key[0], (lane[key], units)) for key, units in sorted(self.moved.items()) if units > 0)

    @cached_property
    def offers_of(self) -> Mapping[str, list[str]]:
        """Offers by institution."""
        return group((owner.institution, owner.offer) for owner in self.instance.owners)

    def along(self, lane: Lane) -> int:
        """Units travelling along `lane`."""
        return self.moved.get((lane.offer, lane.request), 0)

    def full(self, lane: Lane) -> bool:
        """Whether the lane itself, not its owner, lets nothing more pass."""
        return self.along(lane) >= lane.cap

    def used_beside(self, offer: str) -> list[tuple[Lane, int]]:
        """Lanes in use, with the units there, which could leave by a lane of `offer` instead."""
        if offer not in self._used_beside:
            offers = [offer]
            if self.left_of_offer[offer] > 0:
                offers = self.offers_of[self.instance.owner[offer].institution]
            self._used_beside[offer] = [row for name in offers for row in self.used_from.get(name, ())]
        return self._used_beside[offer]

    def idle(self) -> str | None:
        """A request left short that a spare unit could reach, directly or by others passing theirs on; None if none.

        A search for an augmenting path (Ford & Fulkerson, Canad. J. Math. 8, 1956).
        """
        agenda = [offer for offer, units in self.left_of_offer.items() if units > 0 and self._has_left(offer)]
        offers, requests = set(agenda), set[str]()
        while agenda:
            for request in self._next_requests(agenda.pop()):
                if request in requests:
                    continue
                requests.add(request)
                if self.received.get(request, 0) < self.instance.receiver[request].need:
                    return request
                for offer in self._freed_by(request):
                    if offer not in offers:
                        offers.add(offer)
                        agenda.append(offer)
        return None

    def _has_left(self, offer: str) -> bool:
        return self.left_of_institution[self.instance.owner[offer].institution] > 0

    def _next_requests(self, offer: str) -> Iterator[str]:
        return (lane.request for lane in self.lanes_from.get(offer, ()) if not self.full(lane))

    def _freed_by(self, request: str) -> Iterator[str]:
        """Offers that could give one more if `request` handed a unit back."""
        for lane in self.lanes_to[request]:
            if self.along(lane) > 0:
                yield lane.offer
                # Its institution parts with one less, which a sister offer may make good.
                institution = self.instance.owner[lane.offer].institution
                yield from (sister for sister in self.offers_of[institution] if self.left_of_offer[sister] > 0)


def total(pairs: Iterable[tuple[Key, int]]) -> dict[Key, int]:
    """Sum the numbers of each key."""
    sums: dict[Key, int] = {}
    for key, units in pairs:
        sums[key] = sums.get(key, 0) + units
    return sums


def group(pairs: Iterable[tuple[str, Value]]) -> dict[str, list[Value]]:
    """Collect the values of each key."""
    found: dict[str, list[Value]] = {}
    for key, value in pairs:
        found.setdefault(key, []).append(value)
    return found
