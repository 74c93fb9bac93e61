"""The solver at its edges: nothing to give, nobody to give to, no time, another back end."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Sequence
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sharewell.domain.allocation import Fairness, Instance, Rule, Status, check_certificate, check_plan
from sharewell.domain.certificate import floor_units
from sharewell.domain.errors import Invalid
from sharewell.domain.network import network
from sharewell_workers.solving import solve
from sharewell_workers.solving.flow import FlowNet, fill_up, largest_floor
from sharewell_workers.solving.highs import ArraySolver, Bounds, CutOff, ExpressionSolver
from sharewell_workers.solving.program import Program

Build = Callable[..., Instance]
Instances = Callable[..., st.SearchStrategy[Instance]]


@pytest.mark.parametrize(
    ("gives", "needs", "lanes"),
    [
        ({}, {}, None),
        ({"o": 3}, {}, None),
        ({}, {"r": 3}, None),
        ({"o": 0, "p": 0}, {"r": 3, "s": 1}, None),
        ({"o": 3}, {"r": 0}, None),
        ({"o": 3}, {"r": 3}, {}),
    ],
)
def test_there_is_a_plan_where_nothing_can_move(
    an_instance: Build, gives: dict[str, int], needs: dict[str, int], lanes: dict[tuple[str, str], int] | None
) -> None:
    instance = an_instance(gives, needs, lanes=lanes)
    plan = solve(instance)
    check_plan(instance, plan)
    check_certificate(instance, plan)
    assert plan.assignments == ()
    assert sum(row.quantity for row in plan.unfilled) == sum(needs.values())
    assert plan.solver.status is Status.OPTIMAL


def test_the_largest_permitted_numbers_are_solved_exactly(an_instance: Build) -> None:
    most = 1_000_000
    instance = an_instance(
        {f"o{i}": most - 2 for i in range(20)}, {f"r{i}": (most, 1 + i % 5) for i in range(40)},
        lanes={(f"o{i}", f"r{j}"): 20_000_000 - i * j for i in range(20) for j in range(40) if (i + j) % 3},
        caps={(f"o{i}", f"r{j}"): most for i in range(20) for j in range(40)},
    )  # fmt: skip
    plan = solve(instance)
    check_plan(instance, plan)
    check_certificate(instance, plan)
    assert sum(plan.received.values()) == 20 * (most - 2)


def test_leximin_beyond_its_size_is_refused_in_words(an_instance: Build) -> None:
    instance = an_instance({"o": 999_998}, {"r": 1_000_000}, fairness=Fairness(rule=Rule.LEXIMIN))
    with pytest.raises(Invalid, match="choose the floor rule"):
        solve(instance)


@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_a_run_without_time_still_gives_a_valid_plan_with_the_same_floor(
    instances: Instances, data: st.DataObject
) -> None:
    instance = data.draw(instances(sides=6, most=9))
    rushed, calm = solve(instance, seconds=0), solve(instance)
    check_plan(instance, rushed)
    assert rushed.solver.status is (Status.FEASIBLE if instance.parts else Status.OPTIMAL)
    assert max(rushed.total("welfare"), calm.total("welfare")) <= rushed.solver.bound
    if not instance.reserves:  # which may ask for less welfare, and for which a rushed run has no time
        assert rushed.total("welfare") <= calm.total("welfare")
    assert sum(rushed.received.values()) == sum(calm.received.values())
    floors = [[(s.value, s.over) for s in plan.stages if s.name == "floor"] for plan in (rushed, calm)]
    assert floors[0] == floors[1]


class Impatient:
    """A solver whose time is always up after some stages."""

    def __init__(self, program: Program, stages: int) -> None:
        self.inner, self.left = program.solver, stages

    def solve(
        self, costs: np.ndarray, bounds: Bounds, seconds: float
    ) -> tuple[Sequence[float] | np.ndarray, Sequence[float]]:
        if self.left == 0:
            raise CutOff(None)
        self.left -= 1
        return self.inner.solve(costs, bounds, seconds)


@pytest.mark.parametrize(("stages", "proven_welfare"), [(0, False), (1, True), (2, True)])
def test_a_run_cut_off_between_stages_keeps_what_is_decided(
    an_instance: Build, monkeypatch: pytest.MonkeyPatch, stages: int, proven_welfare: bool
) -> None:
    first = Program.__init__

    def impatient(self: Program, *args: object, **kwargs: object) -> None:
        first(self, *args, **kwargs)  # type: ignore[arg-type]
        self.solver = Impatient(self, stages)

    monkeypatch.setattr(Program, "__init__", impatient)
    instance = an_instance({"o": 3, "p": 4}, {"r": (4, 5), "s": 5, "t": (2, 1)})
    plan = solve(instance)
    check_plan(instance, plan)
    assert plan.solver.status is Status.FEASIBLE
    assert (plan.solver.gap == 0) is proven_welfare


@settings(max_examples=80, deadline=None)
@given(data=st.data(), stages=st.integers(0, 5))
def test_wherever_a_run_is_cut_off_its_plan_is_valid_serves_the_most_and_knows_its_bound(
    instances: Instances, data: st.DataObject, stages: int
) -> None:
    instance = data.draw(instances(sides=4, most=6, rules=tuple(Rule)))
    calm = solve(instance)
    with pytest.MonkeyPatch.context() as patch:
        first = Program.__init__

        def impatient(self: Program, *args: object, **kwargs: object) -> None:
            first(self, *args, **kwargs)  # type: ignore[arg-type]
            self.solver = Impatient(self, stages)

        patch.setattr(Program, "__init__", impatient)
        cut = solve(instance)
    check_plan(instance, cut)
    assert sum(cut.received.values()) == sum(calm.received.values())
    assert calm.total("welfare") <= cut.solver.bound
    decided = {stage for proof in cut.certificate.parts for stage, _ in proof.multipliers}
    for stage in decided:
        assert cut.total(stage) == calm.total(stage)


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_arrays_and_expressions_hand_the_solver_the_same_program(instances: Instances, data: st.DataObject) -> None:
    instance = data.draw(instances(sides=5, most=6, rules=tuple(Rule)))
    for part in instance.parts:
        program = network(instance, part)
        floor = largest_floor(FlowNet(instance, part, program))
        floors = floor_units(instance, part, floor.value, floor.over)
        matrix = Program(program, floors).matrix
        fast, plain = (Program(program, floors, kind(matrix)) for kind in (ArraySolver, ExpressionSolver))
        for stage, costs in program.costs.items():
            one, _ = fast.decide(stage, 10)
            other, _ = plain.decide(stage, 10)
            assert np.array(costs) @ one == np.array(costs) @ other


def test_the_installed_python_mip_takes_arrays() -> None:
    assert ArraySolver.works()


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_filling_up_takes_nothing_away_and_serves_the_most(instances: Instances, data: st.DataObject) -> None:
    instance = data.draw(instances(sides=6, most=9))
    for part in instance.parts:
        net = FlowNet(instance, part, network(instance, part))
        floor = largest_floor(net)
        full = fill_up(net, floor.moved)
        served = {row.request: [0, 0] for row in part.receivers}
        for lane, before, after in zip(part.lanes, floor.moved, full, strict=True):
            served[lane.request][0] += before
            served[lane.request][1] += after
        assert all(before <= after for before, after in served.values())
        most = net.flow(np.array([row.need for row in part.receivers]))[0].sum()
        assert sum(full) == most


def test_the_blocking_requests_are_those_that_share_too_little(an_instance: Build) -> None:
    instance = an_instance({"o": 2, "p": 9}, {"r": 3, "s": 3, "t": 3}, lanes={
        ("o", "r"): 1, ("o", "s"): 1, ("p", "s"): 1, ("p", "t"): 1,
    })  # fmt: skip
    (part,) = instance.parts
    floor = largest_floor(FlowNet(instance, part, network(instance, part)))
    assert Fraction(floor.value, floor.over) == Fraction(2, 3)
    assert floor.blocking == ("r",)


def test_the_freeing_function_is_at_hand_before_any_model_is_freed() -> None:
    # Looked up for the first time by the garbage collector inside cffi, it would wait for cffi's own lock for ever.
    code = "import sharewell_workers.solving.highs as h; print('Highs_destroy' in vars(h.highs.highslib))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "True"
