"""What a run meant to each institution, why requests stay short, what no sharing could fix, and the ledger."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID

import asyncpg
import pytest

from sharewell.domain import fairness
from sharewell.domain.instance import Instance
from sharewell.domain.plan import Plan

if TYPE_CHECKING:
    from tests.conftest import Pool
    from tests.postgres.graphql.conftest import Api

RECEIPTS = """{ allocations { nodes { receipts {
  institutionId given received stock kept shortAlone shortShared worseOff sentence } } } }"""
UNFILLED = """{ allocations { nodes { shortBy { code requests units }
  unfilled { requestId institutionId quantity code reason } } } }"""
CEILING = "{ allocations { nodes { ceiling { needed beyondAllSharing beyondReach share large sentence } } } }"
LEDGER = """query ($of: UUID, $since: DateTime, $until: DateTime, $resource: String, $first: Int!, $after: String) {
  giveAndTake(institution: $of, since: $since, until: $until, resource: $resource, first: $first, after: $after) {
    nodes { institution { code } runs plannedGiven plannedReceived given received }
    pageInfo { hasNextPage endCursor } } }"""


async def run(api: Api, *, spare: int = 6, lacks: tuple[int, ...] = (4, 5)) -> list[str]:
    """One giver and some that lack units, planned for once; ids of the requests."""
    await api.institution("giver")
    await api.report("giver", staffed=5 + spare, occupied=5)
    await api.done("giver", "publishOffer", **api.pledge_of(spare))
    requests = []
    for number, lack in enumerate(lacks):
        name = f"receiver-{number}"
        await api.institution(name, latitude=40.1 + number / 10)
        await api.report(name, staffed=5, occupied=5, waiting=lack)
        made = await api.done(name, "openRequest", "request { id }", **api.need_of(lack))
        requests.append(made["request"]["id"])
    await api.allocate()
    return requests


async def of_run(api: Api, who: str, query: str) -> Any:
    return (await api.ask(who, query))["allocations"]["nodes"][0]


async def ledger(api: Api, who: str, **asked: Any) -> list[dict[str, Any]]:
    found = await api.ask(who, LEDGER, **({"first": 50} | asked))
    nodes: list[dict[str, Any]] = found["giveAndTake"]["nodes"]
    return nodes


async def test_an_institution_gets_its_receipt_and_nobody_elses(api: Api) -> None:
    await run(api)
    (mine,) = (await of_run(api, "giver", RECEIPTS))["receipts"]
    assert mine == {
        "institutionId": str(api.callers["giver"].institution), "given": 6, "received": 0, "stock": 11, "kept": 5,
        "shortAlone": 0, "shortShared": 0, "worseOff": False,
        "sentence": "You gave 6 of 11 and keep 5, at least the 5 you need yourself or said you keep.",
    }  # fmt: skip
    (theirs,) = (await of_run(api, "receiver-0", RECEIPTS))["receipts"]
    assert theirs["shortAlone"] == 4
    assert theirs["sentence"].startswith("You lack 4 without sharing and")
    for who in ("planner", "regulator"):
        assert len((await of_run(api, who, RECEIPTS))["receipts"]) == 3


async def test_receipts_are_those_the_domain_draws_from_instance_and_plan(api: Api) -> None:
    await run(api, spare=7, lacks=(4, 5, 2))
    documents = await api.ask("regulator", "{ allocations { nodes { id } } }")
    id = documents["allocations"]["nodes"][0]["id"]  # noqa: A001
    found = await api.ask(
        "regulator", "query ($id: UUID!) { allocationInstance(id: $id) allocationPlan(id: $id) }", id=id
    )
    instance, plan = Instance.read(found["allocationInstance"].encode()), Plan.read(found["allocationPlan"].encode())
    drawn = fairness.receipts(instance, plan)
    shown = (await of_run(api, "regulator", RECEIPTS))["receipts"]
    assert [(one["institutionId"], one["given"], one["received"], one["sentence"]) for one in shown] == [
        (one.institution, one.given, one.received, one.sentence) for one in drawn
    ]
    told = {one["requestId"]: (one["quantity"], one["code"].lower(), one["reason"])
            for one in (await of_run(api, "regulator", UNFILLED))["unfilled"]}  # fmt: skip
    assert told == {row.request: (row.quantity, row.code, row.reason) for row in plan.unfilled}
    asked = await api.ask("giver", "{ transfers { nodes { requestId quantity reason } } }")
    assert {(one["requestId"], one["quantity"], one["reason"]) for one in asked["transfers"]["nodes"]} == {
        (row.request, row.quantity, row.reason) for row in plan.assignments
    }
    api.at += timedelta(minutes=1)
    assert {(one["institution"]["code"], one["plannedGiven"], one["plannedReceived"])
            for one in await ledger(api, "regulator") if one["runs"]} == {
        (await code(api, one.institution), one.given, one.received) for one in drawn
    }  # fmt: skip


async def code(api: Api, institution: str) -> str:
    found = await api.ask("planner", "query ($id: UUID!) { institution(id: $id) { code } }", id=institution)
    answer: str = found["institution"]["code"]
    return answer


async def test_each_request_left_short_says_why_by_code_and_in_words(api: Api) -> None:
    requests = await run(api)
    mine = "query ($id: UUID!) { request(id: $id) { note unfilled { quantity code reason allocationId } } }"
    told = {}
    for number, request in enumerate(requests):
        found = (await api.ask(f"receiver-{number}", mine, id=request))["request"]
        if found["unfilled"] is not None:
            assert found["unfilled"]["reason"] == found["note"]
            told[request] = found["unfilled"]["quantity"]
    assert sum(told.values()) == 3
    whole = await of_run(api, "planner", UNFILLED)
    assert {one["requestId"]: one["quantity"] for one in whole["unfilled"]} == told
    assert sum(one["units"] for one in whole["shortBy"]) == 3
    assert sum(one["requests"] for one in whole["shortBy"]) == len(told)
    for number in range(2):
        seen = await of_run(api, f"receiver-{number}", UNFILLED)
        own = str(api.callers[f"receiver-{number}"].institution)
        assert {one["institutionId"] for one in seen["unfilled"]} <= {own}
        assert seen["shortBy"] is None  # it names nobody, and yet each of the two could take away its own part


async def test_a_list_of_requests_says_why_as_well_and_an_answered_one_says_nothing(api: Api) -> None:
    (request,) = await run(api, spare=6, lacks=(4,))
    found = await api.ask("receiver-0", "{ requests { nodes { id unfilled { code } } } }")
    assert found["requests"]["nodes"] == [{"id": request, "unfilled": None}]


async def test_what_no_sharing_can_fix_is_said_first_when_it_is_large(api: Api) -> None:
    await run(api, spare=2, lacks=(4, 5))
    assert (await of_run(api, "planner", CEILING))["ceiling"] == {
        "needed": 9, "beyondAllSharing": 7, "beyondReach": 7, "share": 777, "large": True,
        "sentence": "Of 9 units needed, 7 could not be met by any sharing: all owners together are short of 7.",
    }  # fmt: skip


async def test_a_small_ceiling_is_said_as_such(api: Api) -> None:
    await run(api)
    found = (await of_run(api, "planner", CEILING))["ceiling"]
    assert (found["large"], found["share"]) == (False, 333)


TOTALS = """{ allocations { nodes { withheld needed assigned ceiling { needed beyondReach }
  measures { shortageWith smallestFill gini jain } stages { name } solver { bound status } shortBy { code units }
  answers { state open unitsOpen } } } }"""


async def test_totals_of_a_run_are_told_to_all_where_nobodys_part_in_them_is_small(api: Api) -> None:
    await run(api, spare=70, lacks=(60, 80))
    whole = await of_run(api, "planner", TOTALS)
    assert (whole["withheld"], whole["needed"], whole["assigned"]) == (False, 140, 70)
    assert whole["solver"]["bound"] and whole["stages"]  # noqa: PT018
    for who in ("giver", "receiver-0"):
        seen = await of_run(api, who, TOTALS)
        assert {name: seen[name] for name in ("withheld", "needed", "assigned", "ceiling", "shortBy")} == {
            name: whole[name] for name in ("withheld", "needed", "assigned", "ceiling", "shortBy")
        }
        assert (seen["stages"], seen["solver"]) == (None, {"bound": None, "status": "optimal"})
        assert seen["measures"] == {
            name: value // 50 * 50 if name != "shortageWith" else value for name, value in whole["measures"].items()
        }
        assert seen["answers"] == {"state": "PROPOSED", "open": 2, "unitsOpen": None}


@pytest.mark.parametrize(
    ("spare", "lacks"),
    [
        (6, (4, 5)),  # small as such
        (50, (5, 60)),  # whoever needs 60 could take them away
        (150, (60, 80, 3)),  # whoever compares it with a run without the third could, too
        (9, (60, 80)),  # few units move
    ],
)
async def test_totals_of_a_run_are_withheld_from_institutions_where_somebodys_part_is_small(
    api: Api, spare: int, lacks: tuple[int, ...]
) -> None:
    await run(api, spare=spare, lacks=lacks)
    for who in ("planner", "regulator"):
        seen = await of_run(api, who, TOTALS)
        assert (seen["withheld"], seen["needed"], seen["measures"]["shortageWith"]) == (
            False, sum(lacks), sum(lacks) - min(spare, sum(lacks)),
        )  # fmt: skip
    for who in ("giver", "receiver-0", "receiver-1"):
        seen = await of_run(api, who, TOTALS)
        assert seen["withheld"]
        assert {seen[name] for name in ("needed", "assigned", "ceiling", "measures", "stages")} == {None}
        (mine,) = (await of_run(api, who, RECEIPTS))["receipts"]
        assert mine["shortAlone"] == (0 if who == "giver" else lacks[int(who[-1])])


async def test_the_ledger_tells_what_was_planned_from_what_really_moved(api: Api) -> None:
    await run(api, spare=9, lacks=(4, 5))
    found = await api.ask("giver", "{ transfers { nodes { id quantity } } }")
    four, five = sorted(found["transfers"]["nodes"], key=lambda one: one["quantity"])
    for transfer in (four, five):
        await api.done("giver", "confirmTransfer", transfer=transfer["id"])
    await api.done("giver", "dispatchTransfer", transfer=four["id"])
    await api.done("giver", "dispatchTransfer", transfer=five["id"], units=3)
    await api.done("receiver-0", "receiveTransfer", transfer=four["id"], units=2)
    api.at += timedelta(minutes=1)
    by_code = {one["institution"]["code"]: one for one in await ledger(api, "regulator")}
    assert by_code == {
        "giver": {"institution": {"code": "giver"}, "runs": 1, "plannedGiven": 9, "plannedReceived": 0, "given": 7,
                  "received": 0},
        "receiver-0": {"institution": {"code": "receiver-0"}, "runs": 1, "plannedGiven": 0, "plannedReceived": 4,
                       "given": 0, "received": 2},
        "receiver-1": {"institution": {"code": "receiver-1"}, "runs": 1, "plannedGiven": 0, "plannedReceived": 5,
                       "given": 0, "received": 0},
    }  # fmt: skip
    assert await ledger(api, "giver") == [by_code["giver"]]
    assert (await ledger(api, "giver", resource="ventilator"))[0]["given"] == 0
    before = await ledger(api, "planner", until="2026-03-01T12:00:00Z")
    assert all(one["runs"] == one["given"] == 0 for one in before)


async def test_the_ledger_is_read_page_by_page(api: Api) -> None:
    await run(api, lacks=(4, 5, 2))
    pages, after = [], None
    while True:
        found = (await api.ask("planner", LEDGER, first=1, after=after))["giveAndTake"]
        pages += [one["institution"]["code"] for one in found["nodes"]]
        if not found["pageInfo"]["hasNextPage"]:
            break
        after = found["pageInfo"]["endCursor"]
    assert pages == ["giver", "receiver-0", "receiver-1", "receiver-2"]


async def test_nobody_reads_anothers_ledger(api: Api) -> None:
    await run(api)
    asked = {"first": 5, "of": str(api.callers["giver"].institution)}
    assert (await api.send("receiver-0", LEDGER, asked)).refusal[0] == "FORBIDDEN"
    assert (await api.send("admin", LEDGER, {"first": 5})).refusal[0] == "FORBIDDEN"
    backwards = {"first": 5, "since": "2026-03-02T00:00:00Z", "until": "2026-03-01T00:00:00Z"}
    assert (await api.send("planner", LEDGER, backwards)).refusal == ("INVALID", "Invalid", "until")


async def test_the_database_itself_refuses_a_receipt_by_which_somebody_is_worse_off(
    api: Api, migrator_pool: Pool
) -> None:
    await run(api)
    receipt = await migrator_pool.fetchrow("select * from sharewell.run_receipt where given > 0")
    assert receipt is not None
    other = await api.institution("other")
    with pytest.raises(asyncpg.CheckViolationError, match="nobody_is_worse_off"):
        await migrator_pool.execute(
            "insert into sharewell.run_receipt select allocation_id, $1, adopted_at, resource, given, received, stock,"
            " stock, short_alone, short_shared, 0, 0 from sharewell.run_receipt where given > 0", UUID(other),
        )  # fmt: skip
