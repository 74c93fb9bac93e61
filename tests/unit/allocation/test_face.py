"""What the checker works out without ever writing the program, against the program written out in full."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from sharewell.domain.allocation import Instance, Lane, NotProven, Rule, check_certificate, moved_by, stated_floors
from sharewell.domain.certificate import floor_units
from sharewell.domain.face import Face
from sharewell.domain.instance import Part
from sharewell.domain.lottery import lottery
from sharewell.domain.network import network
from sharewell_workers.solving import solve
from sharewell_workers.solving.program import Program

Instances = Callable[..., st.SearchStrategy[Instance]]


class Written:
    """The face of a part as whole rows and columns, in numbers of any size."""

    def __init__(self, program: Program) -> None:
        self.program, self.matrix = program, program.matrix.toarray().astype(object)
        face = program.bounds
        self.columns = [face.lower.astype(object), face.upper.astype(object)]
        self.rows = [face.row_lower.astype(object), face.row_upper.astype(object)]

    def decide(self, stage: str, rows: np.ndarray) -> int:
        """The Lagrangian bound of the multipliers; what they pin down is kept."""
        rates = np.array(self.program.network.costs[stage], dtype=object) - self.matrix.T @ rows
        bound = 0
        for (lower, upper), prices in ((self.columns, rates), (self.rows, rows)):
            bound += np.maximum(prices * lower, prices * upper).sum()
            lower[prices > 0], upper[prices < 0] = upper[prices > 0], lower[prices < 0]
        return int(bound)


@settings(max_examples=120, deadline=None)
@given(data=st.data())
def test_a_plan_misses_what_the_bound_of_any_multipliers_allows_beyond_its_worth(
    instances: Instances, data: st.DataObject
) -> None:
    instance = data.draw(instances(sides=4, most=4, rules=tuple(Rule)))
    plan = solve(instance)
    for part, floor, proof in zip(
        instance.parts, stated_floors(instance, plan), plan.certificate.parts, strict=True
    ):
        program, floors = network(instance, part), floor_units(instance, part, *floor)
        moved = [moved_by(plan).get((lane.offer, lane.request), 0) for lane in part.lanes]
        face, written = Face(program, floors, moved), Written(Program(program, floors))
        assert face.holds
        worth = program.worth(moved)
        for stage, rows in proof.multipliers:
            tried = np.array(rows, dtype=object)
            if data.draw(st.integers(0, 2)) == 0:
                chance = data.draw(st.randoms(use_true_random=False))
                tried += np.array([chance.choice([-7, -1, 0, 0, 1, 7]) for _ in rows], dtype=object)
            missed = face.decide(stage, tuple(tried))
            assert missed == written.decide(stage, tried) - worth[stage]
            if missed:  # nothing is proven, so there is no next stage
                break


@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_lanes_and_their_room_are_those_of_the_instance(instances: Instances, data: st.DataObject) -> None:
    instance = data.draw(instances(sides=6, most=3))
    seen: list[Lane] = []
    for part in instance.parts:
        seen += part.lanes
        assert part.room == [instance.room(lane) for lane in part.lanes]
        assert [part.receivers[place].request for place in part.lane_receiver] == [lane.request for lane in part.lanes]
        for place, owner in enumerate(part.owners):
            mine = part.lanes[part.lane_starts[place] : part.lane_starts[place + 1]]
            assert {lane.offer for lane in mine} == {owner.offer}
    assert sorted(seen, key=lambda lane: (lane.offer, lane.request)) == [
        lane for lane in instance.lanes if instance.room(lane) > 0
    ]


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_a_ticket_is_the_same_whichever_lanes_are_drawn(instances: Instances, data: st.DataObject) -> None:
    instance = data.draw(instances(sides=5, most=3))
    assume(instance.parts)
    part: Part = instance.parts[0]
    chosen = data.draw(st.lists(st.integers(0, len(part.lanes) - 1)))
    every = lottery(instance.seed, part)
    assert lottery(instance.seed, part, chosen) == [every[lane] for lane in chosen]
    program = network(instance, part)
    columns = data.draw(st.lists(st.integers(0, len(program.upper) - 1)))
    for stage in program.stages:
        assert program.costs_at(stage, columns) == [program.costs[stage][column] for column in columns]


def test_a_plan_outside_of_its_limits_is_not_proven_best(an_instance: Callable[..., Instance]) -> None:
    instance = an_instance({"o": 2, "p": 2}, {"r": 2, "s": 2})
    plan = solve(instance)
    (part,) = instance.parts
    program = network(instance, part)
    assert Face(program, [2, 2], [2, 0, 0, 2]).holds
    assert not Face(program, [2, 2], [1, 0, 0, 2]).holds  # below a floor
    assert not Face(program, [0, 0], [0, 3, 0, 0]).holds  # more than the lane, its offer or its request can take
    assert not Face(program, [0, 0], [2, 1, 0, 0]).holds  # more than the offer has
    with pytest.raises(NotProven):
        check_certificate(instance, type(plan).from_json({**plan.to_json(), "assignments": []}))
