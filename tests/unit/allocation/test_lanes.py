"""Distances on the globe, and the nearest owners found without looking at every pair."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sharewell.domain.lanes import Reach, Spot, great_circle_metres, nearest_lanes

spots = st.builds(
    Spot,
    id=st.uuids().map(str),
    latitude=st.floats(-90, 90, allow_nan=False) | st.sampled_from([-90.0, 90.0, 0.0]),
    longitude=st.floats(-180, 180, allow_nan=False) | st.sampled_from([-180.0, 180.0]),
)
clusters = st.builds(
    Spot, id=st.uuids().map(str), latitude=st.floats(40, 42), longitude=st.floats(-75, -73, allow_nan=False)
)


def test_a_degree_of_latitude_is_111_kilometres() -> None:
    north, south = Spot(id="n", latitude=41, longitude=-74), Spot(id="s", latitude=40, longitude=-74)
    assert great_circle_metres(north, south) == 111_195


def test_opposite_ends_of_the_earth_are_half_its_girth_apart() -> None:
    one, other = Spot(id="a", latitude=0, longitude=0), Spot(id="b", latitude=0, longitude=180)
    assert great_circle_metres(one, other) == 20_015_115


@settings(deadline=None)
@given(owners=st.lists(spots | clusters, max_size=40), receivers=st.lists(spots | clusters, max_size=10),
       metres=st.sampled_from([1, 50_000, 300_000, 5_000_000, 20_100_000]), nearest=st.integers(1, 8))  # fmt: skip
def test_the_lanes_are_those_of_looking_at_every_pair(
    owners: list[Spot], receivers: list[Spot], metres: int, nearest: int
) -> None:
    reach = Reach(metres=metres, nearest=nearest)
    found = set(nearest_lanes(owners, receivers, reach))
    for receiver in receivers:
        every = sorted(great_circle_metres(owner, receiver) for owner in owners)
        within = [length for length in every if length <= metres][:nearest]
        got = sorted(length for _, to, length in found if to == receiver.id)
        # Rounding to whole metres may put an owner at the very edge on either side of it.
        assert got == pytest.approx(within, abs=1) or abs(len(got) - len(within)) <= sum(
            abs(length - metres) <= 1 for length in every
        )


def test_the_date_line_and_the_pole_do_not_part_neighbours() -> None:
    pairs = [(Spot(id="fiji", latitude=-17, longitude=179.9), Spot(id="r", latitude=-17, longitude=-179.9)),
             (Spot(id="pole", latitude=89.9, longitude=0), Spot(id="r", latitude=89.9, longitude=180))]  # fmt: skip
    for owner, receiver in pairs:
        assert len(list(nearest_lanes([owner], [receiver], Reach(metres=50_000)))) == 1


def test_hours_grow_with_the_road_and_the_handling() -> None:
    reach = Reach(metres_per_hour=60_000, detour=1300, handling_hours=1)
    assert [reach.hours(metres) for metres in (0, 46_000, 47_000, 300_000)] == [1, 2, 3, 8]
