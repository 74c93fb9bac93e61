"""Forecasts that no longer hold, over a real database: marked once, on record, and a new plan asked for."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, time, timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID

import pytest

from sharewell.domain.drift import ALARM, WINDOW, WatchState
from sharewell.domain.errors import Forbidden
from sharewell.domain.forecast import Forecast
from sharewell.domain.principals import Caller, Role
from sharewell.wiring import worker_caller

if TYPE_CHECKING:
    from datetime import date

    from tests.conftest import Pool
    from tests.postgres.nouns.conftest import World

    from sharewell.domain.drift import Watch
    from sharewell.domain.institutions import Institution
    from sharewell.services.drift import Judgement

BEDS = "bed.adult"
FORECASTER = worker_caller("forecast", "r-3")
QUANTILES = ((25, 80_000), (100, 87_000), (250, 93_000), (500, 100_000), (750, 107_000), (900, 113_000), (975, 120_000))


class Ward:
    """One place whose forecasts are always the same, and what it reports the morning after each."""

    def __init__(self, world: World, place: Institution) -> None:
        self.world = world
        self.place = place
        self.came: dict[tuple[UUID, date], float] = {}

    async def forecast(self) -> None:
        """In the evening, for the three days to come."""
        services, origin = self.world.workers, self.world.at.date()
        forecasts = [
            Forecast(
                institution=self.place.id, resource=BEDS, signal="need", origin=origin,
                target=origin + timedelta(days=ahead), horizon=ahead, quantiles=QUANTILES, model="ab" * 32,
            )
            for ahead in (1, 2, 3)
        ]  # fmt: skip
        self.world.at += timedelta(hours=6)
        await services.forecasts.adopt(
            FORECASTER, await services.forecasts.history(BEDS), step_days=1, origin=origin, model="ab" * 32,
            trial=None, data_sha256=f"{origin.toordinal():064x}", code_sha256="cd" * 32, forecasts=forecasts,
        )  # fmt: skip
        self.world.at -= timedelta(hours=6)

    async def report(self, used: int) -> None:
        await self.world.report(self.place, staffed=900, occupied=used)
        self.came[self.place.id, self.world.at.date()] = used * 1000

    async def judge(self) -> Judgement:
        since = self.world.at - timedelta(days=40)
        return await self.world.workers.drift.judge(FORECASTER, BEDS, 1, self.came, since)

    async def day(self, used: int) -> Judgement:
        """Forecast in the evening, report the next morning, and judge."""
        await self.forecast()
        self.world.at += timedelta(days=1)
        await self.report(used)
        return await self.judge()

    async def until_it_drifts(self) -> int:
        for count in range(1, 40):
            if (await self.day(300)).marked:
                return count
        raise AssertionError("an alarm was due long ago")

    async def watch(self) -> Watch:
        async with self.world.workers.database.transaction() as tx:
            return (await tx.drift.of_resource(BEDS))[self.place.id]


@pytest.fixture
async def ward(world: World) -> Ward:
    return Ward(world, await world.institution("champignac"))


async def decisions(pool: Pool) -> list[Any]:
    return await pool.fetch(
        "select kind, institution, subject_id, actor from audit.decision where kind like 'forecast.%ed' or "
        "kind = 'forecast.drifting' order by id"
    )


async def test_a_series_that_begins_to_drift_is_put_on_record_once_and_its_plan_asked_for_once(
    ward: Ward, migrator_pool: Pool
) -> None:
    days = await ward.until_it_drifts()
    assert (await ward.watch()).state is WatchState.DRIFTING
    for _ in range(5):
        assert not (await ward.day(300)).marked
    told = [row for row in await decisions(migrator_pool) if row["kind"] != "forecast.adopted"]
    assert [(row["kind"], row["institution"], row["actor"]) for row in told] == [
        ("forecast.drifting", ward.place.id, "forecast")
    ]
    jobs = await migrator_pool.fetch("select entrypoint, dedupe_key from queue.pgqueuer")
    assert [tuple(job) for job in jobs] == [("allocate", f"allocate:us-nj/{BEDS}")]
    watch = await ward.watch()
    assert (watch.judged, watch.missed) == (days + 5, days + 5)
    marked_by = await migrator_pool.fetchval("select marked_by from sharewell.forecast_watch")
    assert marked_by == await migrator_pool.fetchval("select id from audit.decision where kind = 'forecast.drifting'")


async def test_a_series_whose_bands_hold_again_is_put_on_record_as_back(ward: Ward, migrator_pool: Pool) -> None:
    await ward.until_it_drifts()
    found = [await ward.day(100) for _ in range(WINDOW)]
    (back,) = found[-1].marked
    assert back.state is WatchState.HOLDING
    kinds = [row["kind"] for row in await decisions(migrator_pool) if row["kind"] != "forecast.adopted"]
    assert kinds == ["forecast.drifting", "forecast.recovered"]
    assert len(await migrator_pool.fetch("select from queue.pgqueuer")) == 1, "being back needs no new plan"


async def test_the_same_outcome_is_judged_once_and_a_correction_of_it_changes_nothing(ward: Ward) -> None:
    assert (await ward.day(130)).judged == 1
    before = await ward.watch()
    assert (await ward.judge()).judged == 0
    async with ward.world.workers.database.transaction() as tx:
        newest = await tx.capacity.latest(ward.place.id, BEDS)
    assert newest is not None
    ward.world.at += timedelta(hours=1)
    await ward.world.report(ward.place, staffed=900, occupied=99, as_of=newest.as_of, corrects=newest.id)
    ward.came[ward.place.id, newest.as_of.date()] = 99_000
    assert (await ward.judge()).judged == 0
    assert await ward.watch() == before


async def test_outcomes_that_became_known_together_are_judged_by_the_first_alone(ward: Ward) -> None:
    """The forecast for the second day was made before the first was known: both would be the same surprise."""
    await ward.forecast()
    for _ in range(3):
        ward.world.at += timedelta(days=1)
        ward.came[ward.place.id, ward.world.at.date()] = 300_000
    for back in (2, 1, 0):
        await ward.world.report(ward.place, staffed=900, occupied=300, as_of=ward.world.at - timedelta(days=back))
    assert (await ward.judge()).judged == 1
    assert (await ward.watch()).last_target == ward.world.at.date() - timedelta(days=2)


async def test_what_is_only_estimated_and_what_was_never_forecast_is_not_judged(ward: Ward) -> None:
    await ward.report(100)
    assert (await ward.judge()).judged == 0
    await ward.forecast()
    ward.world.at += timedelta(days=1)
    await ward.world.report(ward.place, staffed=900, occupied=300)
    assert (await ward.judge()).judged == 0, "the panel has no firm value for that day"


async def test_those_entitled_see_what_drifts_and_nobody_else(ward: Ward) -> None:
    await ward.until_it_drifts()
    other = await ward.world.institution("zyglotrop")
    drift = ward.world.people.drift
    planner = Caller(
        principal="planner", roles=frozenset({Role.ALLOCATOR}), scopes=frozenset({"system/*.cruds"}), request_id="r-1"
    )
    of = {"resource": None, "after": ("", UUID(int=0)), "first": 10}
    own, all_of_it = ward.world.callers[ward.place.id], None
    for caller, whose in ((planner, all_of_it), (planner, ward.place.id), (own, ward.place.id)):
        (found,) = (await drift.drifting(caller, institution=whose, **of)).items  # type: ignore[arg-type]
        assert found.institution == ward.place.id
        assert found.evidence < ALARM
    stranger = ward.world.callers[other.id]
    assert (await drift.drifting(stranger, institution=all_of_it, **of)).items == ()  # type: ignore[arg-type]
    with pytest.raises(Forbidden):
        await drift.drifting(stranger, institution=ward.place.id, **of)  # type: ignore[arg-type]
    with pytest.raises(Forbidden):
        await drift.by_keys(ward.world.callers[other.id], [(ward.place.id, BEDS)])


async def test_only_the_forecaster_judges(ward: Ward) -> None:
    await ward.day(130)
    for caller in (ward.world.callers[ward.place.id], worker_caller("allocate", "r-3")):
        with pytest.raises(Forbidden):
            await ward.world.workers.drift.judge(caller, BEDS, 1, {}, ward.world.at)


async def test_two_jobs_that_judge_at_once_count_each_outcome_once(ward: Ward, migrator_pool: Pool) -> None:
    for used in (130, 70, 300):
        await ward.forecast()
        ward.world.at += timedelta(days=1)
        await ward.report(used)
        found = await asyncio.gather(*(ward.judge() for _ in range(4)))
        assert sorted(judgement.judged for judgement in found) == [0, 0, 0, 1]
    assert (await ward.watch()).judged == 3


async def test_a_weekly_series_is_judged_on_the_weekday_it_was_forecast_for(ward: Ward) -> None:
    """It reports a Thursday's week; most report Saturdays, and forecasts are for those."""
    services, world = ward.world.workers, ward.world
    saturday = world.at.date() + timedelta(days=(5 - world.at.weekday()) % 7)
    forecast = Forecast(
        institution=ward.place.id, resource=BEDS, signal="need", origin=saturday - timedelta(days=7), target=saturday,
        horizon=1, quantiles=QUANTILES, model="ab" * 32,
    )  # fmt: skip
    await services.forecasts.adopt(
        FORECASTER, await services.forecasts.history(BEDS), step_days=7, origin=saturday - timedelta(days=7),
        model="ab" * 32, trial=None, data_sha256="ab" * 32, code_sha256="cd" * 32, forecasts=[forecast],
    )  # fmt: skip
    world.at += timedelta(days=8)
    thursday = datetime.combine(saturday - timedelta(days=2), time(12), UTC)
    await world.report(ward.place, staffed=900, occupied=300, as_of=thursday, period_days=7)
    came = {(ward.place.id, saturday): 300_000.0}
    since = world.at - timedelta(days=60)
    assert (await services.drift.judge(FORECASTER, BEDS, 1, came, since)).judged == 0, "it is no daily series"
    assert (await services.drift.judge(FORECASTER, BEDS, 7, came, since)).judged == 1
    watch = await ward.watch()
    assert (watch.last_target, watch.missed) == (saturday, 1)
