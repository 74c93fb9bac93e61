"""Reports over the real database: a correction is a new report, and no role can make an old one say something else."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID

import asyncpg
import pytest

from sharewell.domain.capacity import CapacityDraft, CapacityReport, Mark
from sharewell.domain.errors import Conflict, Invalid, NotFound
from sharewell.domain.reader import PLATFORM
from sharewell.settings import DatabaseRole
from sharewell.store.answered import Wish

if TYPE_CHECKING:
    from tests.postgres.conftest import Connect
    from tests.postgres.nouns.conftest import World

    from sharewell.domain.institutions import Institution

BEDS = "bed.adult"
NEWEST = UUID(int=2**128 - 1)


async def _say(world: World, who: Institution, **said: Any) -> CapacityReport:
    usual: dict[str, Any] = {"resource": BEDS, "as_of": world.at, "occupied": 0}
    done = await world.people.capacity.report(world.callers[who.id], who.id, [CapacityDraft(**(usual | said))])
    return done.subject[0]


async def _all(world: World, who: Institution) -> list[CapacityReport]:
    page = await world.people.capacity.page(
        world.callers[who.id], before=NEWEST, institution=who.id, resource=None, first=50
    )
    reports = [report for report in page.items if isinstance(report, CapacityReport)]
    assert tuple(reports) == page.items, "one's own reports are told exactly"
    return reports


async def test_a_correction_counts_and_the_corrected_report_stays_as_it_was(world: World) -> None:
    clinic = await world.institution("champignac")
    wrong = await _say(world, clinic, staffed=100)
    right = await _say(world, clinic, staffed=10, corrects=wrong.id)
    assert await _all(world, clinic) == [right, wrong]
    with pytest.raises(Conflict, match="more than the 10 units"):
        await world.pledge(clinic, 11)


async def test_a_report_dated_wrongly_stops_counting_once_it_is_corrected(world: World) -> None:
    clinic = await world.institution("champignac")
    await _say(world, clinic, staffed=10, as_of=world.at - timedelta(days=1))
    wrong = await _say(world, clinic, staffed=100)
    await _say(world, clinic, staffed=100, as_of=world.at - timedelta(days=2), corrects=wrong.id)
    with pytest.raises(Conflict, match="more than the 10 units"):
        await world.pledge(clinic, 11)
    async with world.people.database.transaction(reader=PLATFORM) as tx:
        latest = await tx.capacity.latest(clinic.id, BEDS)
        assert latest is not None
        assert latest.staffed == 10
        assert await tx.capacity.latest_in_region("us-nj", BEDS) == {clinic.id: latest}
        series = await tx.capacity.series(BEDS, until=world.at, since=world.at - timedelta(days=9))
        assert [point.day for point in series] == [(world.at - timedelta(days=days)).date() for days in (2, 1)]


async def test_a_report_is_corrected_once_and_then_the_correction_is(world: World) -> None:
    clinic = await world.institution("champignac")
    first = await _say(world, clinic, staffed=100)
    second = await _say(world, clinic, staffed=50, corrects=first.id)
    with pytest.raises(Conflict, match="corrected already") as refused:
        await _say(world, clinic, staffed=60, corrects=first.id)
    assert refused.value.field == "corrects"
    third = await _say(world, clinic, staffed=60, corrects=second.id)
    assert await _all(world, clinic) == [third, second, first]


async def test_of_many_corrections_at_once_one_is_taken(world: World) -> None:
    clinic = await world.institution("champignac")
    wrong = await _say(world, clinic, staffed=100)
    tries = await asyncio.gather(
        *(_say(world, clinic, staffed=n, corrects=wrong.id) for n in range(8)), return_exceptions=True
    )
    taken = [t for t in tries if isinstance(t, CapacityReport)]
    assert len(taken) == 1
    assert all(isinstance(t, Conflict) for t in tries if t not in taken)
    assert await _all(world, clinic) == [*taken, wrong]


async def test_a_correction_speaks_of_the_same_institution_and_resource(world: World) -> None:
    clinic, other = await world.institution("champignac"), await world.institution("zyglotrop")
    report = await _say(world, clinic, staffed=10)
    for who, said in ((other, {}), (clinic, {"resource": "icu.adult"})):
        with pytest.raises(Invalid) as refused:
            await _say(world, who, staffed=5, corrects=report.id, **said)
        assert refused.value.field == "reports.0.corrects"
    with pytest.raises(NotFound):
        await _say(world, clinic, staffed=5, corrects=UUID(int=7))


async def test_of_several_reports_all_are_put_on_record_or_none(world: World) -> None:
    clinic = await world.institution("champignac")
    drafts = [
        CapacityDraft(resource=BEDS, as_of=world.at, staffed=10),
        CapacityDraft(resource="icu.adult", as_of=world.at, staffed=1, occupied=2),
    ]
    with pytest.raises(Invalid):
        await world.people.capacity.report(world.callers[clinic.id], clinic.id, drafts)
    assert await _all(world, clinic) == []
    assert await world.workers.database.pool.fetchval(
        "select count(*) from audit.decision where kind = 'capacity.reported'"
    ) == 0  # fmt: skip


async def test_the_same_wish_reports_once_and_hears_the_same_answer(world: World) -> None:
    clinic = await world.institution("champignac")
    drafts = [CapacityDraft(resource=BEDS, as_of=world.at, staffed=10, marks={"staffed": Mark.IMPUTED})]
    wish = Wish(key="k-1", operation="reportCapacity", input_sha256="aa" * 32)
    caller = world.callers[clinic.id]
    answers = [await world.people.capacity.report(caller, clinic.id, drafts, wish) for _ in range(2)]
    assert answers[0] == answers[1]
    assert await _all(world, clinic) == list(answers[0].subject)


@pytest.mark.parametrize("table", ["capacity_report", "transfer_step"])
async def test_no_role_rewrites_or_removes_what_was_said_not_even_the_owner(
    world: World, connect: Connect, table: str
) -> None:
    clinic = await world.institution("champignac")
    await _say(world, clinic, staffed=10)
    by_trigger, by_right = "SW002", asyncpg.InsufficientPrivilegeError.sqlstate
    for role in DatabaseRole:
        conn = await connect(role)
        for change in ("update sharewell.{} set decision_id = decision_id", "delete from sharewell.{}",
                       "truncate sharewell.{}"):  # fmt: skip
            with pytest.raises(asyncpg.PostgresError) as refused:
                await conn.execute(change.format(table))
            assert refused.value.sqlstate == (by_trigger if role is DatabaseRole.MIGRATOR else by_right), role


async def test_not_even_a_superuser_who_switches_triggers_off_rewrites_a_report(world: World, admin_dsn: str) -> None:
    clinic = await world.institution("champignac")
    await _say(world, clinic, staffed=10)
    admin = await asyncpg.connect(admin_dsn)
    try:
        await admin.execute("set session_replication_role = replica")
        with pytest.raises(asyncpg.PostgresError, match="never rewritten"):
            await admin.execute("update sharewell.capacity_report set staffed = 11")
    finally:
        await admin.close()
