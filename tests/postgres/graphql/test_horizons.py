"""Schedules for the days ahead, as their users meet them: asked for, held for today, shown for later, proven to all."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest
from tests.conftest import Pool
from tests.postgres.graphql.conftest import BEDS, Api, text

from sharewell.audit.keys import LogKey
from sharewell.audit.seal import Sequencer
from sharewell.domain.bundle import NotRepeatable, parse_bundle, verify_bundle
from sharewell.domain.dossier import read_dossier
from sharewell.domain.errors import StaleSnapshot
from sharewell.domain.forecast import Forecast
from sharewell.domain.horizon import Horizon
from sharewell.domain.horizon_check import check_schedule
from sharewell.domain.horizon_records import Terms
from sharewell.domain.schedule import Schedule
from sharewell.wiring import worker_caller
from sharewell_workers.horizon import horizon
from sharewell_workers.jobs import Job
from sharewell_workers.made_again import make_again
from sharewell_workers.solving import solve_horizon

CASE = "query ($id: UUID!) { case(id: $id) { steps { kind sentence } } }"
KEY = LogKey.from_seed("log.example/2026", bytes(range(32)))
VENTILATORS, MASKS = "ventilator", "mask.n95"
WEEK = timedelta(days=7)
SHOWN = """
id region resources days sentence startsAt sites lanes instanceSha256 scheduleSha256
byResource { resource shortAlone shortShared moved worseOff }
byDay { resource day need shortAlone shortShared given received }
outlook { institutionId resource day need shortAlone shortShared given received }
movements { resource day arrives giverId receiverId units held metres }
unmet { institutionId resource unitDays code asked sentence }
stages { aim value bound } search { name status gap solverGap milliseconds peakKilobytes }
runs { id resource rule horizonId assigned fairness { rule } answers { state open unitsOpen }
  receipts { institutionId given received worseOff sentence } unfilled { requestId quantity code reason }
  measures { shortageWithout shortageWith unitsMoved } ceiling { sentence } stages { name value } solver { status } }
"""


async def plan(api: Api, *resources: str, **terms: Any) -> dict[str, Any]:
    """Ask for a schedule as the planner, run what waits as the worker would, and read it as the planner."""
    asked = {"region": "us-nj", "resources": list(resources or [VENTILATORS]), "seconds": 20, **terms}
    await api.done("planner", "planHorizon", "key decision { id }", **asked)
    await work(api)
    found = await api.ask("planner", f"{{ horizons(first: 1) {{ nodes {{ {SHOWN} }} }} }}")
    return found["horizons"]["nodes"][0]  # type: ignore[no-any-return]


async def work(api: Api) -> None:
    """Run the job that waits."""
    found = await api.ask("planner", "{ jobsUnderway { id name payload } }")
    (job,) = [row for row in found["jobsUnderway"] if row["name"] == "horizon"]
    await horizon(
        Job(id=int(job["id"]), name="horizon", payload=job["payload"], request_id="r-2", attempt=1), api.workers
    )
    async with api.workers.database.transaction() as tx:
        await tx.conn.execute("delete from queue.pgqueuer")


async def two_hospitals(api: Api, resource: str = VENTILATORS, **pledge: Any) -> tuple[str, str]:
    """One has 20, uses 5 and offers 6; the other has 5 and needs 9."""
    giver = await api.institution("giver")
    receiver = await api.institution("receiver", latitude=40.1)
    await api.report("giver", resource=resource, staffed=20, occupied=5)
    await api.report("receiver", resource=resource, staffed=5, occupied=5, waiting=4)
    await api.done("giver", "publishOffer", **api.pledge_of(6, resource=resource, **pledge))
    return giver, receiver


async def test_what_leaves_today_is_held_for_a_request_and_its_owner_answers_as_to_any_plan(api: Api) -> None:
    giver, receiver = await two_hospitals(api)
    await api.done("receiver", "openRequest", **api.need_of(4, resource=VENTILATORS, urgency=4))
    found = await plan(api)
    (moved,) = found["movements"]
    assert (moved["giverId"], moved["receiverId"]) == (giver, receiver)
    assert (moved["day"], moved["arrives"], moved["units"], moved["held"]) == (0, 0, 4, 4)
    assert found["search"]["status"] == "optimal"
    assert [row["aim"] for row in found["stages"]] == ["FILL", "SHORTAGE", "DISTANCE"]
    (run,) = found["runs"]
    assert (run["rule"], run["horizonId"], run["assigned"], run["fairness"]) == ("horizon", found["id"], 4, None)
    assert run["answers"] == {"state": "PROPOSED", "open": 1, "unitsOpen": 4}
    assert Counter((row["given"], row["received"]) for row in run["receipts"]) == {(4, 0): 1, (0, 4): 1}
    assert not any(row["worseOff"] for row in run["receipts"])
    assert found["byResource"] == [
        {"resource": VENTILATORS, "shortAlone": 28, "shortShared": 0, "moved": 4, "worseOff": 0}
    ]  # fmt: skip
    answered = await api.done("giver", "answerPlan", "transfers { id state quantity }", allocation=run["id"])
    (transfer,) = answered["transfers"]
    assert (transfer["state"], transfer["quantity"]) == ("CONFIRMED", 4)
    for who, step in (("giver", "dispatchTransfer"), ("receiver", "receiveTransfer")):
        await api.done(who, step, transfer=transfer["id"])
    (asked,) = (await api.ask("receiver", "{ requests { nodes { requested fulfilled status } } }"))["requests"]["nodes"]
    assert asked == {"requested": 4, "fulfilled": 4, "status": "FULFILLED"}


async def test_the_worse_filled_goes_first_unless_the_region_chose_a_rule_without_a_floor(api: Api) -> None:
    """Six units for a need of 2 that is urgent and a need of 10 that is not: under the usual rule neither gets all."""
    await two_hospitals(api)
    await api.institution("other", latitude=40.1)
    await api.report("other", resource=VENTILATORS, staffed=5, occupied=5, waiting=10)
    await api.done("receiver", "openRequest", **api.need_of(4, resource=VENTILATORS, urgency=1))
    await api.done("other", "openRequest", **api.need_of(10, resource=VENTILATORS, urgency=4))

    async def moved_to_the_patient() -> tuple[int, list[str]]:
        found = await plan(api)
        patient = str(api.callers["receiver"].institution)
        units = sum(row["units"] for row in found["movements"] if row["receiverId"] == patient and row["day"] == 0)
        return units, [row["aim"] for row in found["stages"]]

    units, aims = await moved_to_the_patient()
    assert (units > 0, aims[:2]) == (True, ["FILL", "SHORTAGE"])
    await api.done("planner", "chooseFairness", region="us-nj", resource=VENTILATORS, rule="UTILITARIAN")
    _, aims = await moved_to_the_patient()
    assert aims[0] == "SHORTAGE"


async def test_nothing_leaves_today_for_a_need_of_later_and_the_request_hears_when_it_is_foreseen(api: Api) -> None:
    await two_hospitals(api, availableUntil=text(api.at + timedelta(days=6)))
    due = {"neededBy": text(api.at + timedelta(days=2, hours=1)), "neededUntil": text(api.at + timedelta(days=6))}
    await api.done("receiver", "openRequest", **api.need_of(4, resource=VENTILATORS, **due))
    found = await plan(api)
    assert [(row["day"], row["units"], row["held"]) for row in found["movements"]] == [(2, 4, 0)]
    (run,) = found["runs"]
    (left,) = run["unfilled"]
    assert (run["assigned"], left["quantity"], left["code"]) == (0, 4, "LATER")
    assert "the schedule foresees 4 units from day 2" in left["reason"]
    assert (await api.ask("giver", "{ transfers { nodes { id } } }"))["transfers"]["nodes"] == []
    api.at += timedelta(days=2)
    again = await plan(api)
    assert [(row["day"], row["units"], row["held"]) for row in again["movements"]] == [(0, 4, 4)]
    assert "STABILITY" in [row["aim"] for row in again["stages"]]


async def test_nothing_is_foreseen_after_the_window_of_an_offer(api: Api) -> None:
    await two_hospitals(api, availableUntil=text(api.at + timedelta(hours=30)))
    due = {"neededBy": text(api.at + timedelta(days=3)), "neededUntil": text(api.at + timedelta(days=6))}
    await api.done("receiver", "openRequest", **api.need_of(4, resource=VENTILATORS, **due))
    found = await plan(api)
    assert {row["day"] for row in found["movements"]} == {1}
    api.at += timedelta(days=1, hours=12)
    again = await plan(api)
    assert again["movements"] == []
    (short,) = again["unmet"]
    assert (short["code"], short["asked"]) == ("NO_LANE", 4)


async def test_a_forecast_counts_as_need_and_whoever_has_not_asked_is_told_to(api: Api) -> None:
    giver, receiver = await two_hospitals(api, availableUntil=text(api.at + timedelta(days=6)))
    api.at += timedelta(seconds=1)
    await api.report("receiver", resource=VENTILATORS, staffed=5, occupied=5)
    await expect(api, UUID(receiver), {day: 5 + day for day in range(1, 7)})
    found = await plan(api)
    mine = {row["day"]: row for row in found["outlook"] if row["institutionId"] == receiver}
    assert [mine[day]["need"] for day in range(7)] == [5, 6, 7, 8, 9, 10, 11]
    assert [mine[day]["shortAlone"] for day in range(7)] == [0, 1, 2, 3, 4, 5, 6]
    assert sum(row["units"] for row in found["movements"]) == 6
    assert {row["held"] for row in found["movements"]} == {0}
    assert found["runs"] == []
    assert {row["giverId"] for row in found["movements"]} == {giver}


async def expect(api: Api, who: UUID, needs: dict[int, int]) -> None:
    """Put a forecast into the database, each day's quantiles one unit around its need."""
    forecasts = [
        Forecast(
            institution=who, resource=VENTILATORS, signal="need", origin=api.at.date(),
            target=api.at.date() + timedelta(days=day), horizon=day,
            quantiles=((25, 1000 * (units - 1)), (500, 1000 * units), (975, 1000 * (units + 1))),
            model="persistence", fallback="a test",
        )
        for day, units in needs.items()
    ]  # fmt: skip
    await api.workers.forecasts.adopt(
        worker_caller("forecast", "r-3"), await api.workers.forecasts.history(VENTILATORS), step_days=1,
        origin=api.at.date(), model="persistence", trial=None, data_sha256="cd" * 32, code_sha256="ef" * 32,
        forecasts=forecasts,
    )  # fmt: skip


async def test_who_may_see_what(api: Api) -> None:
    giver, receiver = await two_hospitals(api)
    stranger = await api.institution("stranger", latitude=40.2)
    await api.report("stranger", resource=VENTILATORS, staffed=9, occupied=9)
    await api.done("receiver", "openRequest", **api.need_of(4, resource=VENTILATORS))
    id = (await plan(api))["id"]  # noqa: A001
    query = (
        "query ($id: UUID!) { horizon(id: $id) { sentence outlook { institutionId } movements { giverId } "
        "unmet { institutionId } byDay { need } } }"
    )
    for who, seen, moves in (("giver", {giver}, 1), ("receiver", {receiver}, 1), ("stranger", {stranger}, 0),
                             ("planner", {giver, receiver, stranger}, 1), ("regulator", {giver, receiver, stranger}, 1),
                             ):  # fmt: skip
        found = (await api.ask(who, query, id=id))["horizon"]
        assert {row["institutionId"] for row in found["outlook"]} == seen, who
        assert len(found["movements"]) == moves, who
        if who in ("planner", "regulator"):
            assert {row["need"] for row in found["byDay"]} == {23}, who
        else:
            assert found["byDay"] is None, who  # in a total of few, each could read the others' small counts
    for name in ("horizonInstance", "horizonSchedule"):
        document = f"query ($id: UUID!) {{ {name}(id: $id) }}"
        assert (await api.send("giver", document, {"id": id})).refusal[0] == "FORBIDDEN"
        assert (await api.send("regulator", document, {"id": id})).data[name]
    for who in ("admin", "nobody"):
        assert (await api.send(who, query, {"id": id})).refusal[0] == "FORBIDDEN"
    for who in ("giver", "regulator", "admin", "nobody"):
        answer = await api.do(who, "planHorizon", region="us-nj", resources=[VENTILATORS])
        assert answer.refusal[0] == "FORBIDDEN", who


async def test_one_entry_records_it_and_its_bundle_is_checked_without_a_solver(api: Api, sequencer_pool: Pool) -> None:
    await two_hospitals(api)
    await api.report("giver", resource=BEDS, staffed=20, occupied=5)
    await api.report("receiver", resource=BEDS, staffed=5, occupied=5, waiting=3)
    await api.done("giver", "publishOffer", **api.pledge_of(6))
    for resource in (VENTILATORS, BEDS):
        await api.done("receiver", "openRequest", **api.need_of(3, resource=resource))
    found = await plan(api, BEDS, VENTILATORS)
    assert [(run["resource"], run["assigned"]) for run in found["runs"]] == [(BEDS, 3), (VENTILATORS, 3)]
    query = '{ decisions(kind: "schedule.adopted") { nodes { id } } }'
    ((decision,),) = [row.values() for row in (await api.ask("regulator", query))["decisions"]["nodes"]]
    told = await api.ask("regulator", "query ($id: UUID!) { decision(id: $id) { details } }", id=decision)
    details = told["decision"]["details"]
    assert (details["instance_sha256"], details["schedule_sha256"], details["held"]) == (
        found["instanceSha256"], found["scheduleSha256"], 6,
    )  # fmt: skip
    documents = await api.ask(
        "regulator", "query ($id: UUID!) { instance: horizonInstance(id: $id) schedule: horizonSchedule(id: $id) }",
        id=found["id"],
    )  # fmt: skip
    assert hashlib.sha256(documents["instance"].encode()).hexdigest() == found["instanceSha256"]
    check_schedule(Horizon.read(documents["instance"].encode()), Schedule.read(documents["schedule"].encode()))
    await Sequencer(sequencer_pool, KEY).seal()
    bundled = await api.ask("regulator", "query ($id: UUID!) { decision(id: $id) { bundle } }", id=decision)
    bundle = bundled["decision"]["bundle"].encode()
    assert "no schedule is better by its aims" in verify_bundle(bundle, KEY.vkey).checks[-1]
    forged = json.loads(bundle)
    schedule = json.loads(forged["attachments"][found["scheduleSha256"]])
    schedule["shipments"] = schedule["shipments"][1:]
    forged["attachments"][found["scheduleSha256"]] = json.dumps(schedule)
    with pytest.raises(NotRepeatable):
        verify_bundle(json.dumps(forged, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode(), KEY.vkey)
    assert parse_bundle(bundle).attachments.keys() == {found["instanceSha256"], found["scheduleSha256"]}


async def test_a_regulator_finds_a_schedule_by_its_resources_in_its_case_and_makes_it_once_more(
    api: Api, sequencer_pool: Pool
) -> None:
    await two_hospitals(api)
    await api.report("receiver", resource=BEDS, staffed=5, occupied=5, waiting=3)
    await api.done("receiver", "openRequest", **api.need_of(3, resource=VENTILATORS))
    nothing = await api.done("receiver", "openRequest", "request { id }", **api.need_of(3, resource=BEDS))
    found = await plan(api, BEDS, VENTILATORS)
    query = 'query ($of: String!) { decisions(kind: "schedule.adopted", resource: $of) { nodes { id } } }'
    by_resource = [await api.ask("regulator", query, of=resource) for resource in (BEDS, VENTILATORS)]
    assert by_resource[0] == by_resource[1]
    ((decision,),) = [row.values() for row in by_resource[0]["decisions"]["nodes"]]
    story = await api.ask("regulator", CASE, id=nothing["request"]["id"])
    assert [row["sentence"] for row in story["case"]["steps"] if row["kind"] == "schedule.adopted"] == [
        "A schedule for 7 days in us-nj became binding for today: 3 of the 4 units that it moves are held."
    ]
    await Sequencer(sequencer_pool, KEY).seal()
    told = await api.ask(
        "regulator", "query ($id: UUID!) { decision(id: $id) { dossier madeFrom { kind name held } } }", id=decision
    )
    made_from = {row["kind"]: row["name"] for row in told["decision"]["madeFrom"] if row["held"]}
    assert (made_from["instance"], made_from["schedule"]) == (found["instanceSha256"], found["scheduleSha256"])
    findings = list(make_again(read_dossier(told["decision"]["dossier"].encode()), seconds=20))
    assert "schedule: found anew, the same units move on the same days" in [row.said for row in findings if row.same]
    assert not [row.said for row in findings if row.same is False]


async def test_the_forecasts_behind_a_schedule_came_with_it(api: Api) -> None:
    _, receiver = await two_hospitals(api)
    await expect(api, UUID(receiver), dict.fromkeys(range(1, 7), 9))
    api.at += timedelta(seconds=1)
    await plan(api)
    query = '{ decisions(kind: "schedule.adopted") { nodes { id } } }'
    ((decision,),) = [row.values() for row in (await api.ask("regulator", query))["decisions"]["nodes"]]
    told = await api.ask("regulator", "query ($id: UUID!) { decision(id: $id) { madeFrom { kind } } }", id=decision)
    assert "forecast" in {row["kind"] for row in told["decision"]["madeFrom"]}


async def test_what_a_regulator_reads_of_a_schedule_leaves_its_trace(api: Api, owner: Any) -> None:
    await two_hospitals(api)
    await plan(api)
    await api.ask("regulator", "{ horizons(first: 1) { nodes { id outlook { day } } } }")
    read = await owner.fetch("select action from audit.decision where kind = 'data.read' and actor ~ 'regulator'")
    assert {row["action"] for row in read} == {"viewAllocation", "viewReceipt"}


async def test_units_held_by_a_schedule_are_under_way_in_the_next_and_are_not_promised_twice(api: Api) -> None:
    await two_hospitals(api)
    await api.done("receiver", "openRequest", **api.need_of(3, resource=VENTILATORS))
    first = await plan(api)
    assert sum(row["held"] for row in first["movements"]) == 3
    api.at += timedelta(minutes=5)
    second = await plan(api)
    (mine,) = [row for row in second["outlook"] if row["day"] == 0 and row["shortAlone"]]
    assert mine["shortAlone"] == 1
    assert sum(row["units"] for row in second["movements"]) == 1
    assert {row["held"] for row in second["movements"]} == {0}


async def test_what_is_drawn_for_later_is_refused_where_an_offer_went_meanwhile(api: Api) -> None:
    await two_hospitals(api)
    await api.done("receiver", "openRequest", **api.need_of(4, resource=VENTILATORS))
    drawn = await api.workers.horizons.draw("us-nj", [VENTILATORS], Terms())
    assert drawn is not None
    schedule = solve_horizon(drawn.horizon)
    offers = await api.ask("giver", "{ offers { nodes { id } } }")
    await api.done("giver", "withdrawOffer", offer=offers["offers"]["nodes"][0]["id"])
    with pytest.raises(StaleSnapshot):
        await api.workers.horizons.adopt(worker_caller("allocate", "r-2"), drawn, schedule)
    assert (await api.ask("planner", "{ horizons { nodes { id } } }"))["horizons"]["nodes"] == []


async def test_what_cannot_be_planned_is_refused_with_its_field(api: Api) -> None:
    for wrong, field in (
        ({"days": 0}, "days"), ({"days": 29}, "days"), ({"level": 24}, "level"), ({"holdDays": -1}, "holdDays"),
        ({"seconds": 301}, "seconds"), ({"resources": []}, "resources"),
        ({"resources": [VENTILATORS, VENTILATORS]}, "resources"), ({"resources": ["No Such"]}, "resources"),
    ):  # fmt: skip
        answer = await api.do("planner", "planHorizon", **({"region": "us-nj", "resources": [VENTILATORS]} | wrong))
        assert (answer.refusal[0], answer.refusal[2]) == ("INVALID", f"input.{field}")


async def test_a_horizon_is_drawn_in_as_many_statements_whoever_takes_part(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    await two_hospitals(api)
    sent: list[str] = []
    for name in ("fetch", "fetchrow"):
        method = getattr(asyncpg.Connection, name)

        async def spy(self: Any, query: str, *args: Any, method: Any = method) -> Any:
            sent.append(query)
            return await method(self, query, *args)

        monkeypatch.setattr(asyncpg.Connection, name, spy)
    async def drawn() -> tuple[int, int]:
        """Statements it took, and institutions in it."""
        sent.clear()
        found = await api.workers.horizons.draw("us-nj", [VENTILATORS, MASKS, BEDS], Terms())
        assert found is not None
        return len(sent), len(found.horizon.sites)

    few = await drawn()
    for number in range(5):
        await api.institution(f"more-{number}", latitude=40.1)
        await api.report(f"more-{number}", resource=MASKS, staffed=5, occupied=5)
    many = await drawn()
    assert (few[1], many[1]) == (2, 7)
    assert many[0] == few[0] - 3 == 8  # the lines of the catalogue are read once


async def test_whoever_stays_short_learns_what_would_change_it_and_nobody_else_does(api: Api) -> None:
    _, receiver = await two_hospitals(api)
    await api.done("receiver", "openRequest", **api.need_of(2, resource=VENTILATORS, neededUntil=text(api.at + WEEK)))
    await api.institution("stranger", latitude=40.2)
    found = await plan(api)
    (short,) = found["unmet"]
    assert short["institutionId"] == receiver
    query = """query ($horizon: UUID!, $institution: UUID!) {
      whatWouldRelieve(horizon: $horizon, institution: $institution) { change resource units sentence } }"""
    asked = {"horizon": found["id"], "institution": receiver}
    told = (await api.ask("receiver", query, **asked))["whatWouldRelieve"]
    assert ("more_is_asked", VENTILATORS) in {(row["change"], row["resource"]) for row in told}
    assert (await api.send("stranger", query, asked)).refusal[0] == "FORBIDDEN"
    assert (await api.send("planner", query, {**asked, "horizon": str(uuid4())})).refusal[0] == "NOT_FOUND"


async def test_an_unknown_horizon_is_not_found(api: Api) -> None:
    answer = await api.send("planner", "query ($id: UUID!) { horizon(id: $id) { id } }", {"id": str(uuid4())})
    assert answer.refusal[0] == "NOT_FOUND"


async def test_the_totals_of_a_schedule_are_for_whoever_may_read_it_and_ones_own_days_for_each(api: Api) -> None:
    await two_hospitals(api)
    await api.done("receiver", "openRequest", **api.need_of(4, resource=VENTILATORS, urgency=4))
    await plan(api)
    query = """{ horizons { nodes { sentence byDay { need } byResource { moved } stages { value }
      outlook { institutionId } } } }"""
    for who in ("planner", "regulator"):
        (whole,) = (await api.ask(who, query))["horizons"]["nodes"]
        assert all(whole.values())
    (seen,) = (await api.ask("receiver", query))["horizons"]["nodes"]
    own = str(api.callers["receiver"].institution)
    assert {row["institutionId"] for row in seen.pop("outlook")} == {own}
    assert seen == {"sentence": None, "byDay": None, "byResource": None, "stages": None}
