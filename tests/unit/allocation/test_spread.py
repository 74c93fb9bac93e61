"""Parts solved in several processes, and searches that begin where the last one ended, change nothing but the time."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.allocation.conftest import NOON

from sharewell.domain.allocation import (
    Fairness,
    Instance,
    Lane,
    Owner,
    Receiver,
    Rule,
    Status,
    check_certificate,
    check_plan,
)
from sharewell.domain.resources import ResourceKind
from sharewell_workers.solving import Memory, pool, solve

Instances = Callable[..., st.SearchStrategy[Instance]]


def islands(count: int, *, seed: int = 3, each: int = 12, fairness: Fairness | None = None) -> Instance:
    """`count` groups of `each` owners and as many requests that no lane joins, short of about a third."""
    chance = random.Random(seed)
    owners, receivers, lanes = [], [], []
    for island in range(count):
        for n in range(each):
            name = f"{island}-{n}"
            owners.append(Owner(offer=f"o{name}", institution=f"h{name}", quantity=chance.randint(1, 9), stock=12))
            receivers.append(
                Receiver(request=f"r{name}", institution=f"q{name}", need=chance.randint(2, 12),
                         urgency=chance.randint(1, 5))
            )  # fmt: skip
        lanes += [
            Lane(offer=f"o{island}-{i}", request=f"r{island}-{j}", cap=9, metres=chance.randint(1, 200_000), hours=1)
            for i in range(each) for j in range(each) if chance.random() < 0.7
        ]  # fmt: skip
    return Instance(
        resource="ventilator", kind=ResourceKind.DEVICE, at=NOON, seed="spip", owners=tuple(owners),
        receivers=tuple(receivers), lanes=tuple(lanes), fairness=fairness or Fairness(),
    )  # fmt: skip


@pytest.fixture
def spread(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small instances are spread too, in processes as real as those of large ones."""
    monkeypatch.setattr(pool, "WORTH_SPREADING", 1)


@pytest.mark.usefixtures("spread")
def test_parts_in_several_processes_give_the_plan_of_one() -> None:
    instance = islands(5)
    alone, together = solve(instance), solve(instance, processes=2)
    assert len(instance.parts) == 5
    assert (together.hash, together.certificate) == (alone.hash, alone.certificate)
    assert together.solver.status is Status.OPTIMAL
    assert together.solver.peak_kilobytes > alone.solver.peak_kilobytes  # of all processes together
    check_plan(instance, together)
    check_certificate(instance, together)


@pytest.mark.usefixtures("spread")
def test_processes_that_are_cut_off_still_give_a_valid_plan_with_its_bound() -> None:
    instance = islands(3)
    rushed, calm = solve(instance, seconds=0, processes=2), solve(instance)
    check_plan(instance, rushed)
    assert rushed.solver.status is Status.FEASIBLE
    assert rushed.total("welfare") <= calm.total("welfare") <= rushed.solver.bound
    assert sum(rushed.received.values()) == sum(calm.received.values())
    assert rushed.hash == solve(instance, seconds=0).hash


@pytest.mark.usefixtures("spread")
def test_what_processes_remember_is_used_the_next_time() -> None:
    instance, memory = islands(3), Memory()
    first = solve(instance, processes=2, memory=memory)
    assert set(memory.columns) == {"welfare", "distance", "lottery"}
    assert solve(instance, processes=2, memory=memory).hash == first.hash


def test_a_small_instance_is_not_worth_a_process() -> None:
    assert not pool.worth_spreading(islands(2).parts)
    assert not pool.worth_spreading(())


def moved_on(instance: Instance, chance: random.Random) -> Instance:
    """Some owners have fewer units, some more; a request is gone, another one new."""
    owners = tuple(
        replace(row, quantity=max(1, row.quantity + chance.choice([-1, 0, 0, 0, 1]))) for row in instance.owners
    )
    gone = chance.choice(instance.receivers)
    new = replace(gone, request=f"new-{chance.random()}", need=3)
    return replace(
        instance,
        owners=owners,
        receivers=(*(row for row in instance.receivers if row is not gone), new),
        lanes=tuple(
            replace(row, request=new.request) if row.request == gone.request else row for row in instance.lanes
        ),
    )


@pytest.mark.parametrize("rule", Rule)
def test_a_plan_found_from_the_last_one_is_the_plan_found_from_nothing(rule: Rule) -> None:
    chance, memory = random.Random(8), Memory()
    instance = islands(2, each=15, fairness=Fairness(rule=rule))
    solve(instance, memory=memory)
    for _ in range(6):
        instance = moved_on(instance, chance)
        warm, cold = solve(instance, memory=memory), solve(instance)
        assert warm.hash == cold.hash
        assert warm.solver.status is Status.OPTIMAL
        check_certificate(instance, warm)


@given(data=st.data())
@settings(max_examples=60, deadline=None)
def test_whatever_is_remembered_the_plan_is_valid_and_the_best(instances: Instances, data: st.DataObject) -> None:
    memory = Memory()
    for _ in range(3):
        instance = data.draw(instances(sides=4, most=6, rules=tuple(Rule)))
        plan = solve(instance, memory=memory)
        assert plan.solver.status is Status.OPTIMAL
        check_plan(instance, plan)
        check_certificate(instance, plan)


def test_a_search_from_the_last_vertex_takes_few_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    from sharewell_workers.solving.highs import ArraySolver  # noqa: PLC0415

    steps: list[int] = []
    plain = ArraySolver._vertex

    def counted(self: ArraySolver, columns: object) -> object:
        solver = self.model.solver
        steps.append(int(solver._get_int_info_value("simplex_iteration_count")))
        return plain(self, columns)  # type: ignore[arg-type]

    monkeypatch.setattr(ArraySolver, "_vertex", counted)
    memory, instance = Memory(), islands(1, each=40)
    solve(instance, memory=memory)
    cold = sum(steps)
    steps.clear()
    first, *others = instance.owners
    solve(replace(instance, owners=(replace(first, quantity=first.quantity + 1), *others)), memory=memory)
    assert sum(steps) * 5 < cold
