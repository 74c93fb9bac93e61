"""The connected parts of an instance: what no lane joins is decided independently."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import accumulate, compress, repeat
from typing import TYPE_CHECKING

from sharewell.domain.rows import Lane

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sharewell.domain.instance import Instance
    from sharewell.domain.rows import Owner, Receiver


@dataclass(frozen=True, slots=True)
class Part:
    """Owners and receivers joined by lanes that can carry something; lanes lie in the order of their owners."""

    index: int
    owners: tuple[Owner, ...]
    receivers: tuple[Receiver, ...]
    lanes: tuple[Lane, ...]
    room: list[int]  #: units that could travel along each lane if nothing else moved
    lane_receiver: list[int]  #: place in `receivers` of each lane's request
    lane_starts: list[int]  #: by owner the place of its first lane; after the last one the number of lanes

    def received(self, moved: Sequence[int]) -> list[int]:
        """Units that come to each receiver when `moved[e]` travel along lane e."""
        units = [0] * len(self.receivers)
        for receiver, quantity in zip(compress(self.lane_receiver, moved), filter(None, moved), strict=True):
            units[receiver] += quantity
        return units


def parts_of(instance: Instance) -> tuple[Part, ...]:
    """The parts of `instance`, in the order of their first offer; whom no unit can reach is in none."""
    offers = {row.offer: place for place, row in enumerate(instance.owners)}
    requests = {row.request: place for place, row in enumerate(instance.receivers)}
    spare = [instance.spare[row.offer] for row in instance.owners]
    need = [row.need for row in instance.receivers]
    tails = [offers[lane.offer] for lane in instance.lanes]
    heads = [requests[lane.request] for lane in instance.lanes]
    room = [
        lane.cap if lane.cap <= spare[tail] and lane.cap <= need[head] else min(spare[tail], need[head])
        for lane, tail, head in zip(instance.lanes, tails, heads, strict=True)
    ]
    if not all(room):
        tails, heads = list(compress(tails, room)), list(compress(heads, room))
    lanes = tuple(compress(instance.lanes, room))
    return _Split(instance, lanes, list(filter(None, room)), heads, _starts(len(spare), tails)).parts()


def _starts(owners: int, tails: list[int]) -> list[int]:
    counts = [0] * owners
    for owner in tails:
        counts[owner] += 1
    return list(accumulate(counts, initial=0))


@dataclass(frozen=True, slots=True)
class _Split:
    """Lanes that have room, and by owner where its lanes begin."""

    instance: Instance
    lanes: Sequence[Lane]
    room: list[int]
    heads: list[int]  #: places of the receivers
    starts: list[int]

    def parts(self) -> tuple[Part, ...]:
        """Take them apart."""
        roots = self._roots()
        members: dict[int, list[int]] = {}
        for owner in range(len(roots)):
            if self.starts[owner] < self.starts[owner + 1]:
                members.setdefault(roots[owner], []).append(owner)
        return tuple(self._part(index, owners) for index, owners in enumerate(members.values()))

    def _roots(self) -> list[int]:
        """One owner for all that share receivers or an institution: union-find (Tarjan & van Leeuwen 1984)."""
        parent = list(range(len(self.instance.owners)))

        def root(owner: int) -> int:
            while parent[owner] != owner:
                parent[owner] = owner = parent[parent[owner]]
            return owner

        first: dict[object, int] = {}  # owner that a receiver, or an institution, was seen with first
        for owner, row in enumerate(self.instance.owners):
            heads = self.heads[self.starts[owner] : self.starts[owner + 1]]
            near = set(map(first.setdefault, heads, repeat(owner)))
            if heads:
                near.add(first.setdefault(row.institution, owner))
            for other in near:
                parent[root(other)] = root(owner)
        return [root(owner) for owner in range(len(parent))]

    def _part(self, index: int, owners: list[int]) -> Part:
        lanes, room, heads, counts = list[Lane](), list[int](), list[int](), list[int]()
        for owner in owners:
            mine = slice(self.starts[owner], self.starts[owner + 1])
            lanes += self.lanes[mine]
            room += self.room[mine]
            heads += self.heads[mine]
            counts.append(mine.stop - mine.start)
        receivers = sorted(set(heads))
        place = {receiver: place for place, receiver in enumerate(receivers)}
        return Part(
            index=index,
            owners=tuple(map(self.instance.owners.__getitem__, owners)),
            receivers=tuple(map(self.instance.receivers.__getitem__, receivers)),
            lanes=tuple(lanes),
            room=room,
            lane_receiver=list(map(place.__getitem__, heads)),
            lane_starts=list(accumulate(counts, initial=0)),
        )
