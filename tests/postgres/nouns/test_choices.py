"""A fairness choice is what the next run goes by; need is what is borne out or raised; credit outlives the run."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID

import pytest

from sharewell.domain.allocation import Fairness, Instance, Rule
from sharewell.domain.choices import ChoiceDraft, ChosenReserve
from sharewell.domain.errors import Invalid, NotFound, StaleSnapshot
from sharewell.domain.principals import Caller, Role
from sharewell.domain.reader import PLATFORM
from sharewell.domain.requests import RaiseReason
from sharewell.domain.transfers import DeclineReason
from sharewell.wiring import worker_caller
from sharewell_workers.allocate import allocate
from sharewell_workers.jobs import Job
from sharewell_workers.solving import solve

if TYPE_CHECKING:
    from tests.postgres.nouns.conftest import World

    from sharewell.domain.institutions import Institution

BEDS, REGION = "bed.adult", "us-nj"
NEWEST = UUID(int=2**128 - 1)
JOB = Job(id=1, name="allocate", payload={"region": REGION, "resource": BEDS}, request_id="r-2", attempt=1)
PLANNER = Caller(
    principal="planner", roles=frozenset({Role.ALLOCATOR}), scopes=frozenset({"system/*.cruds"}), request_id="r"
)


async def choose(world: World, fairness: Fairness, *reserves: ChosenReserve) -> None:
    draft = ChoiceDraft(region=REGION, resource=BEDS, fairness=fairness, reserves=reserves)
    await world.people.choices.choose(PLANNER, draft)


async def snapshot(world: World) -> Instance:
    instance = await world.workers.allocations.snapshot(REGION, BEDS)
    assert instance is not None
    return instance


async def market(world: World, *, pledged: int, lacking: dict[str, int]) -> list[Institution]:
    """One giver that pledges, and takers that lack so many beds and ask for them."""
    giver = await world.institution("champignac")
    await world.report(giver, staffed=50, occupied=10)
    await world.pledge(giver, pledged)
    takers = []
    for number, (code, units) in enumerate(lacking.items()):
        taker = await world.institution(code, latitude=40.1 + number / 100)
        await world.report(taker, staffed=10, occupied=10, waiting=units)
        await world.ask(taker, units)
        takers.append(taker)
    return [giver, *takers]


async def newest(world: World) -> Any:
    page = await world.people.allocations.page(PLANNER, before=NEWEST, region=None, resource=None, first=1)
    return page.items[0]


async def test_nobody_chose_and_the_default_holds(world: World) -> None:
    await market(world, pledged=5, lacking={"zyglotrop": 5})
    assert (await snapshot(world)).fairness == Fairness()
    assert await world.people.choices.in_force(PLANNER, REGION, BEDS) is None


async def test_the_next_run_goes_by_the_newest_choice_and_says_so(world: World) -> None:
    _, _, rural = await market(world, pledged=10, lacking={"city": 10, "farm": 10})
    kept = ChosenReserve(category="rural", share=600, institutions=(rural.id,))
    await choose(world, Fairness(rule=Rule.LEXIMIN))
    await choose(world, Fairness(rule=Rule.WELFARE, alpha=0), kept)
    await allocate(JOB, world.workers)
    run = await newest(world)
    assert (run.fairness["rule"], run.fairness["alpha"]) == ("welfare", 0)
    assert run.reserves == [{"category": "rural", "share": 600}]
    assert await granted(world, rural) >= 5  # half of its need of 10 is presented to the reserve, the other half to all


async def test_a_plan_made_by_a_rule_that_is_no_longer_in_force_is_stale(world: World) -> None:
    await market(world, pledged=5, lacking={"zyglotrop": 5})
    instance = await snapshot(world)
    await choose(world, Fairness(rule=Rule.LEXIMIN))
    with pytest.raises(StaleSnapshot, match="fairness rule"):
        await world.workers.allocations.adopt(
            worker_caller("allocate", "r"), region=REGION, instance=instance, plan=solve(instance), measures={}
        )


async def test_a_choice_for_what_is_not_there_is_refused(world: World) -> None:
    stranger = ChosenReserve(category="rural", share=100, institutions=(UUID(int=7),))
    with pytest.raises(Invalid, match="is not one of region us-nj"):
        await choose(world, Fairness(), stranger)
    with pytest.raises(NotFound):
        await world.people.choices.choose(PLANNER, ChoiceDraft(region=REGION, resource="no.such"))
    with pytest.raises(Invalid, match="set memory above 0"):
        await choose(world, Fairness(credit=500))


async def test_what_is_asked_beyond_the_census_does_not_count(world: World) -> None:
    giver = await world.institution("champignac")
    await world.report(giver, staffed=50, occupied=10)
    await world.pledge(giver, 20)
    taker = await world.institution("zyglotrop", latitude=40.1)
    await world.report(taker, staffed=10, occupied=10, waiting=4)
    await world.ask(taker, 9)
    (row,) = (await snapshot(world)).receivers
    assert (row.need, row.asked, row.raised) == (4, 9, 0)
    # Nor does asking again for the rest once the units that were granted are on their way.
    await allocate(JOB, world.workers)
    (rest,) = (await snapshot(world)).receivers
    assert (rest.need, rest.asked) == (0, 5)


async def test_need_without_any_report_counts_only_as_far_as_it_is_raised(world: World) -> None:
    taker = await world.institution("zyglotrop")
    await world.ask(taker, 6, raised=2, raise_reason=RaiseReason.NOT_REPORTED)
    (row,) = (await snapshot(world)).receivers
    assert (row.need, row.asked, row.raised, row.raise_reason) == (2, 6, 2, RaiseReason.NOT_REPORTED)


async def test_a_raise_is_on_record_and_told_to_the_others(world: World) -> None:
    _, taker = await market(world, pledged=2, lacking={"zyglotrop": 1})
    await world.ask(taker, 3, raised=3, raise_reason=RaiseReason.INCOMING_PATIENTS)
    await allocate(JOB, world.workers)
    told = await world.workers.database.pool.fetch("select note from sharewell.request where raised > 0 and note <> ''")
    assert any("3 units count on the institution's word (incoming patients)" in row["note"] for row in told)


@pytest.mark.parametrize("more", [{"raised": 2}, {"raise_reason": RaiseReason.DISASTER}, {"raised": 9}])
async def test_a_raise_without_its_reason_or_beyond_what_is_asked_is_refused(
    world: World, more: dict[str, Any]
) -> None:
    taker = await world.institution("zyglotrop")
    with pytest.raises(Invalid):
        await world.ask(taker, 3, **more)


async def credit_of(world: World, *who: Institution) -> dict[UUID, int]:
    async with world.people.database.transaction(read_only=True, reader=PLATFORM) as tx:
        return await tx.credit.newest(BEDS, [row.id for row in who])


async def test_who_went_short_comes_first_the_next_time(world: World) -> None:
    await choose(world, Fairness(rule=Rule.UTILITARIAN, memory=1000, credit=1000))
    giver, near, far = await market(world, pledged=2, lacking={"near": 2, "far": 2})
    await allocate(JOB, world.workers)
    assert await granted(world, far) == 0  # equal claims, the nearer got both
    assert await credit_of(world, near, far) == {near.id: -1000, far.id: 1000}
    world.at += timedelta(hours=1)
    await world.report(near, staffed=10, occupied=10, waiting=4)
    await world.ask(near, 2)
    instance = await snapshot(world)
    assert {row.institution: row.credit for row in instance.receivers} == {str(near.id): -1000, str(far.id): 1000}
    await world.pledge(giver, 2)
    await allocate(JOB, world.workers)
    assert (await granted(world, near), await granted(world, far)) == (2, 2)


async def granted(world: World, who: Institution) -> int:
    """Units assigned to an institution so far."""
    query = "select coalesce(sum(quantity), 0) from sharewell.transfer where receiver_id = $1"
    return int(await world.workers.database.pool.fetchval(query, who.id))


async def test_a_hold_that_ran_out_is_in_force_for_the_request_that_asks_again(world: World) -> None:
    giver, taker = await market(world, pledged=8, lacking={"zyglotrop": 5})
    await allocate(JOB, world.workers)
    world.at += timedelta(hours=25)
    await world.workers.transfers.sweep(worker_caller("expire", "r"))
    await world.report(giver, staffed=50, occupied=10)
    await world.report(taker, staffed=10, occupied=10, waiting=5)
    instance = await snapshot(world)
    (row,) = instance.in_force
    assert (row.request, row.quantity) == (instance.receivers[0].request, 5)
    assert "stability" in {stage.name for stage in solve(instance).stages}


async def test_a_movement_that_its_giver_declined_is_in_force_no_more(world: World) -> None:
    giver, _ = await market(world, pledged=8, lacking={"zyglotrop": 5})
    await allocate(JOB, world.workers)
    page = await world.people.transfers.page(
        world.callers[giver.id], before=NEWEST, party=giver.id, state=None, allocation=None, first=5
    )
    await world.people.transfers.decline(world.callers[giver.id], page.items[0].id, DeclineReason.OWN_NEED_ROSE)
    assert (await snapshot(world)).in_force == ()
