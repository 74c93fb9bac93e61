"""A file is taken in whole and once; what it restates is corrected, never rewritten; a refused one changes nothing."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID

import orjson
import pytest

from sharewell.domain.audit import parse_entry
from sharewell.domain.capacity import CapacityDraft
from sharewell.domain.errors import Forbidden, Invalid, NotFound
from sharewell.domain.institutions import InstitutionDraft, InstitutionKind, InstitutionStatus
from sharewell.domain.principals import Caller, Role
from sharewell.domain.reader import PLATFORM
from sharewell.exchange.feed import FeedRefused
from sharewell.store.feeds import FeedRepository
from sharewell.wiring import operator

if TYPE_CHECKING:
    from tests.postgres.feeds.conftest import Station

DAY = datetime(2020, 4, 10, tzinfo=UTC)
LAST = UUID(int=2**128 - 1)
UNITS = (("north", "2020-04-10", 7), ("north", "2020-04-11", 9), ("south", "2020-04-10", 3))
PLACES = b'{"North Hospital": {"lat": 40.7, "long": -74.1}}'


async def newest_decision(station: Station) -> Any:
    body = await station.conn.fetchval("select body from audit.entry order by staged_id desc limit 1")
    return parse_entry(body)


async def test_a_file_is_taken_in_whole_under_one_decision(station: Station) -> None:
    before = await station.counts()
    done = await station.ingest(station.census(*UNITS))
    after = await station.counts()
    assert {table: after[table] - before[table] for table in after} == {
        "institution": 2, "capacity_report": 9, "feed": 1, "decision": 1, "entry": 1,
    }  # fmt: skip
    decision = await newest_decision(station)
    assert (decision.kind, decision.actor, decision.id) == ("feed.ingested", "ingest", done.feed.decision)
    assert decision.details["reports_new"] == 9
    assert decision.details["sha256"] == done.feed.sha256
    assert await station.conn.fetchval(
        "select count(*) from sharewell.capacity_report where decision_id = $1", decision.id
    ) == 9  # fmt: skip


async def test_what_is_stored_is_what_the_file_says(station: Station) -> None:
    await station.ingest(station.census(*UNITS))
    beds = [row for row in await station.reports("bed.adult") if row["code"] == "us-nj-north"]
    assert [(row["as_of"], row["staffed"], row["occupied"], row["admissions"]) for row in beds] == [
        (DAY, 77, 27, 4), (DAY + timedelta(days=1), 79, 29, 4),
    ]  # fmt: skip
    assert (beds[0]["source"], beds[0]["coverage"], beds[0]["period_days"]) == ("nj", 1, 1)
    assert orjson.loads(beds[0]["marks"]) == {"staffed": "reported", "occupied": "reported", "admissions": "reported"}
    unit = await station.people.institutions.get(operator(), beds[0]["institution_id"])
    assert (unit.name, unit.status, unit.region) == ("North Hospital", InstitutionStatus.OBSERVED, "us-nj")


async def test_the_same_file_twice_changes_nothing_and_says_so(station: Station) -> None:
    first = await station.ingest(station.census(*UNITS))
    before = await station.counts()
    again = await station.ingest(station.census(*UNITS))
    assert again.repeated
    assert again.feed == first.feed
    assert await station.counts() == before


async def test_two_who_bring_the_same_file_at_once_bring_it_once(station: Station) -> None:
    data = station.census(*UNITS)
    done = await asyncio.gather(*(station.ingest(data) for _ in range(4)))
    assert sorted(each.repeated for each in done) == [False, True, True, True]
    assert (await station.counts())["feed"] == 1


async def test_a_later_file_corrects_what_it_restates_and_repeats_nothing(station: Station) -> None:
    await station.ingest(station.census(*UNITS))
    restated = await station.ingest(station.census(("north", "2020-04-10", 8), *UNITS[1:], ("south", "2020-04-11", 4)))
    feed = restated.feed
    assert (feed.reports_new, feed.reports_corrected, feed.reports_unchanged, feed.institutions_new) == (3, 2, 7, 0)
    said = [row for row in await station.reports() if (row["code"], row["as_of"]) == ("us-nj-north", DAY)]
    assert [row["occupied"] for row in said] == [7, 8]
    assert said[0]["corrects"] is None
    assert said[1]["corrects"] == said[0]["id"]


async def test_a_restatement_of_a_restatement_corrects_the_newest(station: Station) -> None:
    first, second = ("north", "2020-04-10", 7), ("north", "2020-04-10", 8)
    await station.ingest(station.census(first))
    await station.ingest(station.census(second))
    # Back to the first number, in a file that is not the first one.
    third = await station.ingest(station.census(first, ("west", "2020-04-10", 1)))
    said = [row for row in await station.reports() if row["code"] == "us-nj-north"]
    assert [row["occupied"] for row in said] == [7, 8, 7]
    assert [row["corrects"] for row in said] == [None, said[0]["id"], said[1]["id"]]
    assert third.feed.reports_corrected == 2


async def test_a_published_restatement_corrects_an_institutions_own_correction(station: Station) -> None:
    await station.ingest(station.census(*UNITS))
    (published,) = [r for r in await station.reports() if (r["code"], r["as_of"]) == ("us-nj-south", DAY)]
    south = Caller(
        principal="south-client", roles=frozenset({Role.INSTITUTION}), institution=published["institution_id"],
        scopes=frozenset({"system/*.cruds"}),
    )  # fmt: skip
    await station.people.institutions.set_status(operator(), south.institution, InstitutionStatus.ACTIVE)  # type: ignore[arg-type]
    own = CapacityDraft(resource="ventilator", as_of=DAY, occupied=5, corrects=published["id"])
    ((corrected,),) = [(await station.people.capacity.report(south, published["institution_id"], [own])).subject]
    # A file that says of this day what the first one said leaves the correction alone.
    await station.ingest(station.census(*UNITS, ("east", "2020-04-10", 1)))
    latest = (await station.reports())[-1]
    assert latest["code"] == "us-nj-east"
    # A file that says something else corrects the correction.
    await station.ingest(station.census(("south", "2020-04-10", 6)))
    latest = (await station.reports())[-1]
    assert (latest["code"], latest["occupied"], latest["corrects"]) == ("us-nj-south", 6, corrected.id)


async def test_a_refused_file_changes_nothing_and_the_refusal_is_on_record(station: Station) -> None:
    before = await station.counts()
    data = station.census(*UNITS).replace(b"2020-04-11", b"yesterday!")
    with pytest.raises(FeedRefused, match="row 3, column date: 'yesterday!' is not a date"):
        await station.ingest(data)
    after = await station.counts()
    assert {table: after[table] - before[table] for table in after} == {
        "institution": 0, "capacity_report": 0, "feed": 0, "decision": 1, "entry": 1,
    }  # fmt: skip
    decision = await newest_decision(station)
    assert (decision.kind, decision.details["row"], decision.details["column"]) == ("feed.refused", 3, "date")
    assert b"yesterday" not in decision.entry()


async def test_half_a_file_changes_nothing(station: Station) -> None:
    before = await station.counts()
    data = station.census(*UNITS)
    for cut in (len(data) - 1, len(data) // 2):
        with pytest.raises(FeedRefused):
            await station.ingest(data[:cut])
    after = await station.counts()
    assert all(after[table] == before[table] for table in ("institution", "capacity_report", "feed"))


async def test_a_file_that_fails_while_it_is_stored_leaves_nothing_behind(
    station: Station, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = await station.counts()
    write = FeedRepository.add_reports

    async def write_and_fail(self: FeedRepository, rows: Any) -> None:
        await write(self, rows)
        raise ConnectionResetError("the cable was pulled")

    monkeypatch.setattr(FeedRepository, "add_reports", write_and_fail)
    with pytest.raises(Exception, match="cannot be reached"):
        await station.ingest(station.census(*UNITS))
    assert await station.counts() == before
    monkeypatch.undo()
    assert not (await station.ingest(station.census(*UNITS))).repeated


async def test_a_day_that_has_not_come_is_refused(station: Station) -> None:
    with pytest.raises(FeedRefused, match="column date: '2026-03-02' lies outside"):
        await station.ingest(station.census(("north", "2026-03-02", 7)))


async def test_only_the_ingest_worker_takes_files_in(station: Station, someone: Caller) -> None:
    before = await station.counts()
    with pytest.raises(Forbidden):
        await station.workers.feeds.ingest(someone, "nj", station.census(*UNITS))
    after = await station.counts()
    assert {table: after[table] - before[table] for table in after} == {
        "institution": 0, "capacity_report": 0, "feed": 0, "decision": 1, "entry": 1,
    }  # fmt: skip
    assert (await newest_decision(station)).kind == "access.refused"


async def test_an_unknown_format_is_refused_by_name(station: Station) -> None:
    with pytest.raises(Invalid, match="the formats are hhs, divi, nj"):
        await station.workers.feeds.ingest(operator(), "xls", b"")


async def test_a_resource_that_the_catalogue_lacks_is_named(station: Station) -> None:
    await station.conn.execute("alter table sharewell.resource disable trigger needs_entry_delete")
    await station.conn.execute("delete from sharewell.resource where code = 'ventilator'")
    before = await station.counts()
    with pytest.raises(Invalid, match="the catalogue has no ventilator"):
        await station.ingest(station.census(*UNITS))
    assert await station.counts() == before


async def test_an_institution_that_acts_for_itself_keeps_its_description(station: Station) -> None:
    draft = InstitutionDraft(
        code="us-nj-north", name="North by its own name", kind=InstitutionKind.CLINIC, region="us-nj"
    )
    own = (await station.people.institutions.register(operator(), draft)).subject
    done = await station.ingest(station.census(*UNITS), locations=PLACES)
    assert done.feed.institutions_new == 1
    assert await station.people.institutions.get(operator(), own.id) == own


async def test_a_later_file_may_know_where_an_institution_is(station: Station) -> None:
    await station.ingest(station.census(*UNITS))
    located = await station.ingest(station.census(*UNITS), locations=PLACES)
    assert not located.repeated
    assert (located.feed.reports_new, located.feed.reports_corrected, located.feed.reports_unchanged) == (0, 0, 9)
    north = (await station.reports())[0]
    unit = await station.people.institutions.get(operator(), north["institution_id"])
    assert (unit.code, unit.latitude, unit.longitude) == ("us-nj-north", 40.7, -74.1)


async def test_people_read_which_files_were_taken_in_and_how_good_they_are(station: Station, someone: Caller) -> None:
    feeds = [(await station.ingest(station.census(("north", "2020-04-10", n)))).feed for n in (1, 2, 3)]
    page = await station.people.feeds.page(someone, before=LAST, format="nj", first=2)
    assert [feed.id for feed in page.items] == [feeds[2].id, feeds[1].id]
    assert page.has_more
    assert not (await station.people.feeds.page(someone, before=LAST, format="hhs", first=2)).items
    feed = await station.people.feeds.get(someone, feeds[0].id)
    assert feed == feeds[0]
    assert feed.quality["rowsRead"] == 1
    assert {flag["flag"] for flag in feed.quality["flags"]} == {"not-located"}
    with pytest.raises(NotFound):
        await station.people.feeds.get(someone, UUID(int=7))


async def test_the_gateway_cannot_take_a_file_in(station: Station) -> None:
    with pytest.raises(Exception, match="permission denied for table feed"):
        async with station.people.database.transaction(reader=PLATFORM) as tx:
            await tx.conn.execute("insert into sharewell.feed select * from sharewell.feed")
