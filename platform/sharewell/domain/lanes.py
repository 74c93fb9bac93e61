"""Which owners are in reach of which request, by great-circle distance, without looking at every pair."""

from __future__ import annotations

import heapq
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sharewell.domain import checks
from sharewell.domain.instance import MAX_METRES

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

EARTH_METRES = 6_371_009  #: mean radius, IUGG
_Point = tuple[float, float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Spot:
    """Where something stands, in WGS 84 degrees."""

    id: str
    latitude: float
    longitude: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Reach:
    """How far units travel in one run, and how long that takes."""

    metres: int = 300_000  #: lanes longer than this are not drawn
    nearest: int = 25  #: owners to which one request is joined at most
    metres_per_hour: int = 60_000
    detour: int = 1300  #: per mille by which the road is longer than the great circle
    handling_hours: int = 1  #: packing and handing over
    unlocated_metres: int | None = None  #: length assumed where a place is unknown; None draws no such lane

    def __post_init__(self) -> None:
        checks.units(self.metres, "reach.metres", least=1, most=MAX_METRES)
        checks.units(self.nearest, "reach.nearest", least=1, most=100_000)
        checks.units(self.metres_per_hour, "reach.metresPerHour", least=1000, most=1_000_000)
        checks.units(self.detour, "reach.detour", least=1000, most=5000)
        checks.units(self.handling_hours, "reach.handlingHours", most=1000)
        if self.unlocated_metres is not None:
            checks.units(self.unlocated_metres, "reach.unlocatedMetres", most=MAX_METRES)

    def hours(self, metres: int) -> int:
        """Whole hours from the decision to the arrival over `metres` as the crow flies."""
        return self.handling_hours - (-metres * self.detour // (1000 * self.metres_per_hour))


def great_circle_metres(one: Spot, other: Spot) -> int:
    """Whole metres between two spots along the surface: the haversine formula on the mean sphere.

    Source: R. W. Sinnott, "Virtues of the Haversine", Sky and Telescope 68 (1984) 159.
    """
    south, north = math.radians(one.latitude), math.radians(other.latitude)
    half_turn = math.radians(other.longitude - one.longitude) / 2
    h = math.sin((north - south) / 2) ** 2 + math.cos(south) * math.cos(north) * math.sin(half_turn) ** 2
    return round(2 * EARTH_METRES * math.asin(math.sqrt(min(1.0, h))))


def nearest_lanes(owners: Sequence[Spot], receivers: Iterable[Spot], reach: Reach) -> Iterable[tuple[str, str, int]]:
    """Yield `(owner id, receiver id, metres)` for the nearest owners in reach of each receiver; ties by id.

    Spots are sorted into cubes as wide as the reach, so that only the 27 cubes around a receiver are looked at; poles
    and the date line need no care in three dimensions.
    """
    edge = 2 * math.sin(min(math.pi, reach.metres / EARTH_METRES) / 2)
    cubes: dict[tuple[int, int, int], list[tuple[_Point, Spot]]] = {}
    for spot in owners:
        point = _point(spot)
        cubes.setdefault(_cube(point, edge), []).append((point, spot))
    for receiver in receivers:
        here = _point(receiver)
        near = [
            (math.dist(here, point), spot.id, spot)
            for cube in _around(_cube(here, edge))
            for point, spot in cubes.get(cube, ())
        ]
        for _, _, spot in heapq.nsmallest(reach.nearest, near, key=lambda row: row[:2]):
            metres = great_circle_metres(spot, receiver)
            if metres <= reach.metres:
                yield spot.id, receiver.id, metres


def _point(spot: Spot) -> _Point:
    """The spot on the unit sphere; straight-line distances there rise with distances along the surface."""
    latitude, longitude = math.radians(spot.latitude), math.radians(spot.longitude)
    flat = math.cos(latitude)
    return flat * math.cos(longitude), flat * math.sin(longitude), math.sin(latitude)


def _cube(point: _Point, edge: float) -> tuple[int, int, int]:
    x, y, z = point
    return math.floor(x / edge), math.floor(y / edge), math.floor(z / edge)


def _around(cube: tuple[int, int, int]) -> Iterable[tuple[int, int, int]]:
    x, y, z = cube
    return ((x + i, y + j, z + k) for i in (-1, 0, 1) for j in (-1, 0, 1) for k in (-1, 0, 1))
