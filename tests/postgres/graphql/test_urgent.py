"""A request of the highest urgency, from the mutation to the units held for it: at once, once, and on record."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast
from uuid import UUID

import pytest

from sharewell.audit.keys import LogKey
from sharewell.audit.seal import Sequencer
from sharewell.domain.bundle import verify_bundle
from sharewell.domain.forecast import Forecast
from sharewell.settings import DatabaseRole, Settings
from sharewell.wiring import Services, worker_caller
from sharewell_workers import worker
from sharewell_workers.jobs import Job, Work
from sharewell_workers.runner import Pace, Runner
from sharewell_workers.urgent import urgent

if TYPE_CHECKING:
    from tests.conftest import Pool
    from tests.postgres.graphql.conftest import Api

    from sharewell.store.server import DatabaseServer

BEDS = "bed.adult"
KEY = LogKey.from_seed("log.example/2026", bytes(range(32)))
RUN = "id rule needed assigned stages { name value over } solver { name status gap } receivers"


@pytest.fixture
def allocate_after() -> timedelta:
    """As in production, where the next run is near; the worker of these tests takes urgent jobs only."""
    return timedelta(seconds=30)


@asynccontextmanager
async def a_worker(api: Api) -> AsyncIterator[None]:
    """A worker that takes urgent jobs as it does in production, woken by the queue."""
    pace = Pace(poll=timedelta(seconds=0.2), at_once=8)
    runner = Runner(api.workers.database.pool, {"urgent": Work(handle=urgent)}, api.workers, pace=pace)
    running = asyncio.create_task(runner.run())
    try:
        yield
    finally:
        runner.stop()
        await running


async def _givers(api: Api, **pledges: int) -> None:
    for number, (code, units) in enumerate(pledges.items()):
        await api.institution(code, latitude=40 + number / 10)
        await api.report(code, staffed=units + 5, occupied=5)
        await api.done(code, "publishOffer", **api.pledge_of(units))


async def _taker(api: Api, code: str, lacking: int) -> None:
    await api.institution(code, latitude=40.3)
    await api.report(code, staffed=5, occupied=5, waiting=lacking)


async def _ask(api: Api, code: str, units: int, urgency: int = 5) -> str:
    done = await api.done(code, "openRequest", "request { id }", **api.need_of(units, urgency=urgency))
    id: str = done["request"]["id"]  # noqa: A001
    return id


async def _answered(api: Api, code: str, id: str) -> dict[str, Any]:  # noqa: A002
    """The request once a plan has spoken about it; the test's own timeout is the limit."""
    query = "query ($id: UUID!) { request(id: $id) { approved status note } }"
    while True:
        request: dict[str, Any] = (await api.ask(code, query, id=id))["request"]
        if request["status"] != "OPEN" or request["note"]:
            return request
        await asyncio.sleep(0.02)


async def _runs(api: Api) -> list[dict[str, Any]]:
    found = await api.ask("planner", f"{{ allocations {{ nodes {{ {RUN} }} }} }}")
    nodes: list[dict[str, Any]] = found["allocations"]["nodes"]
    return nodes


async def test_an_urgent_request_is_answered_without_waiting_for_a_run(api: Api) -> None:
    await _givers(api, near=3, far=6)
    await _taker(api, "clinic", 4)
    async with a_worker(api):
        request = await _answered(api, "clinic", await _ask(api, "clinic", 4))
    assert request == {"approved": 4, "status": "APPROVED", "note": ""}
    (run,) = await _runs(api)
    assert (run["rule"], run["needed"], run["assigned"]) == ("projected_proportional", 4, 4)
    assert run["stages"] == [{"name": "projected_proportional", "value": "1", "over": "1"}]
    assert run["solver"] == {"name": "projected proportional rule", "status": "optimal", "gap": 0}
    found = await api.ask("clinic", "{ transfers { nodes { quantity state reason } } }")
    assert {row["state"] for row in found["transfers"]["nodes"]} == {"HELD"}
    assert sum(row["quantity"] for row in found["transfers"]["nodes"]) == 4
    assert all(row["reason"] for row in found["transfers"]["nodes"])


async def test_what_others_asked_for_is_kept_back_until_the_next_run(api: Api) -> None:
    await _givers(api, near=6)
    await _taker(api, "patient", 8)
    await _taker(api, "clinic", 4)
    await _ask(api, "patient", 8, urgency=2)
    async with a_worker(api):
        request = await _answered(api, "clinic", await _ask(api, "clinic", 4))
    assert (request["approved"], request["status"]) == (2, "APPROVED")
    assert "others in reach are expected to need 8 of them" in request["note"]
    assert "No forecast is in force, so only open requests count" in request["note"]
    found = await api.ask("clinic", "{ requests(status: OPEN) { nodes { requested urgency } } }")
    assert found["requests"]["nodes"] == [{"requested": 2, "urgency": 5}]  # the next run decides on the rest


async def test_a_need_that_a_forecast_expects_counts_before_anybody_asked(api: Api) -> None:
    await _givers(api, near=6)
    await _taker(api, "clinic", 4)
    await api.institution("quiet", latitude=40.2)
    await api.report("quiet", staffed=10, occupied=9)
    history = await api.workers.forecasts.history(BEDS)
    expected = Forecast(
        institution=UUID(str(api.callers["quiet"].institution)), resource=BEDS, signal="need", origin=date(2026, 2, 28),
        target=date(2026, 3, 1), horizon=1, quantiles=((100, 17000), (500, 18000), (900, 19000)), model="persistence",
        fallback="too short",
    )  # fmt: skip
    await api.workers.forecasts.adopt(
        worker_caller("forecast", "r-3"), history, step_days=1, origin=date(2026, 2, 28), model="persistence",
        trial=None, data_sha256="cd" * 32, code_sha256="ef" * 32, forecasts=[expected],
    )  # fmt: skip
    async with a_worker(api):
        request = await _answered(api, "clinic", await _ask(api, "clinic", 4))
    assert request["approved"] == 2  # 6 units for 4 needed here and 8 expected there
    assert "Forecasts are in force for 1 of the 3 institutions" in request["note"]


async def test_a_request_that_can_wait_waits_for_the_run(api: Api) -> None:
    await _givers(api, near=6)
    await _taker(api, "clinic", 4)
    await _ask(api, "clinic", 4, urgency=4)
    waiting = [job.name for job in await _underway(api)]
    assert waiting == ["allocate"] * len(waiting)
    assert waiting


async def _underway(api: Api) -> list[Any]:
    async with api.workers.database.transaction(read_only=True) as tx:
        return await tx.queue.underway()


async def test_of_many_who_want_the_same_units_each_is_answered_and_no_unit_goes_twice(
    api: Api, migrator_pool: Pool
) -> None:
    await _givers(api, near=2, far=1)
    codes = [f"clinic-{number}" for number in range(6)]
    for code in codes:
        await _taker(api, code, 2)
    async with a_worker(api):
        ids = await asyncio.gather(*(_ask(api, code, 2) for code in codes))
        answers = [await _answered(api, code, id) for code, id in zip(codes, ids, strict=True)]  # noqa: A001
    assert sum(row["approved"] for row in answers) <= 3
    assert len(await _runs(api)) == 6
    rows = await migrator_pool.fetch(
        "select o.quantity, o.promised, coalesce(sum(t.quantity), 0) as held from sharewell.offer o"
        " left join sharewell.transfer t on t.offer_id = o.id group by o.id"
    )
    assert all(row["promised"] == row["held"] <= row["quantity"] for row in rows)


async def test_runs_that_take_long_do_not_stand_before_an_urgent_request(
    api: Api, database_urls: Mapping[DatabaseRole, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    api.at = datetime.now(UTC)  # the worker is a whole one, with the clock of the machine
    await _givers(api, near=6)
    await _taker(api, "clinic", 4)
    begun, go_on, stopping = [], asyncio.Event(), asyncio.Event()

    async def endless(job: Job, _: Services) -> None:
        begun.append(job.id)
        await go_on.wait()

    monkeypatch.setattr(worker, "WORK", {**worker.WORK, "allocate": Work(handle=endless)})
    async with api.workers.database.transaction() as tx:
        for number in range(2 * Pace().at_once):
            await tx.queue.enqueue("allocate", {}, key=str(number))
    server = cast("DatabaseServer", SimpleNamespace(url=lambda role: database_urls[role]))
    running = asyncio.create_task(worker.work(Settings(home=tmp_path), server, ["allocate", "urgent"], stopping))
    while len(begun) < Pace().at_once:
        await asyncio.sleep(0.05)
    assert (await _answered(api, "clinic", await _ask(api, "clinic", 4)))["approved"] == 4
    go_on.set()
    stopping.set()
    await running


async def test_asked_again_the_same_request_is_not_answered_again(api: Api) -> None:
    await _givers(api, near=6)
    await _taker(api, "clinic", 4)
    id = await _ask(api, "clinic", 4)  # noqa: A001
    job = Job(id=1, name="urgent", payload={"request": id}, request_id="r-2", attempt=1)
    await asyncio.gather(*(urgent(job, api.workers) for _ in range(4)))
    await urgent(job, api.workers)
    assert [run["assigned"] for run in await _runs(api)] == [4]


async def test_a_need_asked_for_in_pieces_gets_no_more_than_in_one(api: Api) -> None:
    await _givers(api, near=3)
    await _taker(api, "patient", 7)
    await _ask(api, "patient", 7, urgency=1)
    await _taker(api, "clinic", 4)
    async with a_worker(api):
        got = [(await _answered(api, "clinic", await _ask(api, "clinic", 1)))["approved"] for _ in range(4)]
    # At once it would be 3/11 of 4, rounded up: 2. What stays open of the pieces counts as expected with the rest.
    assert sum(got) <= 2


async def test_the_urgent_plan_is_proven_by_its_bundle_alone(api: Api, sequencer_pool: Pool) -> None:
    await _givers(api, near=6)
    await _taker(api, "patient", 8)
    await _taker(api, "clinic", 4)
    await _ask(api, "patient", 8, urgency=2)
    async with a_worker(api):
        await _answered(api, "clinic", await _ask(api, "clinic", 4))
    await Sequencer(sequencer_pool, KEY).seal()
    found = await api.ask("regulator", '{ decisions(kind: "urgent_plan.adopted") { nodes { id actor } } }')
    (decision,) = found["decisions"]["nodes"]
    assert decision["actor"] == "allocate"
    found = await api.ask("regulator", "query ($id: UUID!) { decision(id: $id) { bundle } }", id=decision["id"])
    assert verify_bundle(found["decision"]["bundle"].encode(), KEY.vkey).checks[3] == (
        "its urgent plan, 2 of 4 units of bed.adult, is what the rule gives at once"
    )
