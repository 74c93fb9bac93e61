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

    Spots are sorted into cubes, so that only the 27 around a receiver are looked at; first into small ones, and into
    cubes twice as wide where those hold too few. Poles and the date line need no care in three dimensions.
    """
    widest = 2 * math.sin(min(math.pi, reach.metres / EARTH_METRES) / 2)
    grids = [_Grid(owners, widest / 2**halvings) for halvings in (4, 3, 2, 1, 0)]
    for receiver in receivers:
        near: list[tuple[float, str, Spot]] = []
        for grid in grids:
            near = grid.within(receiver)
            if len(near) >= reach.nearest:
                break
        for _, _, spot in heapq.nsmallest(reach.nearest, near, key=lambda row: row[:2]):
            metres = great_circle_metres(spot, receiver)
            if metres <= reach.metres:
                yield spot.id, receiver.id, metres


class _Grid:
    """Spots by the cube of width `edge` in which they lie on the unit sphere."""

    def __init__(self, spots: Sequence[Spot], edge: float) -> None:
        self.edge = edge
        self.cubes: dict[tuple[int, int, int], list[tuple[_Point, Spot]]] = {}
        for spot in spots:
            point = _point(spot)
            self.cubes.setdefault(self._cube(point), []).append((point, spot))

    def within(self, spot: Spot) -> list[tuple[float, str, Spot]]:
        """Distance, id and spot of all that lie at most `edge` away, as the mole digs."""
        here = _point(spot)
        x, y, z = self._cube(here)
        around = ((x + i, y + j, z + k) for i in (-1, 0, 1) for j in (-1, 0, 1) for k in (-1, 0, 1))
        found = (
            (math.dist(here, point), other.id, other) for cube in around for point, other in self.cubes.get(cube, ())
        )
        # A hair more than the edge: what is on it must not be lost to rounding; metres are compared in the end.
        return [row for row in found if row[0] <= self.edge * (1 + 1e-9)]

    def _cube(self, point: _Point) -> tuple[int, int, int]:
        x, y, z = point
        return math.floor(x / self.edge), math.floor(y / self.edge), math.floor(z / self.edge)


def _point(spot: Spot) -> _Point:
    """The spot on the unit sphere; straight-line distances there rise with distances along the surface."""
    latitude, longitude = math.radians(spot.latitude), math.radians(spot.longitude)
    flat = math.cos(latitude)
    return flat * math.cos(longitude), flat * math.sin(longitude), math.sin(latitude)
