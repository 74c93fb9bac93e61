"""What is done otherwise than adopted shows by itself, once, and is counted with whoever did it."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.conftest import Pool
    from tests.postgres.graphql.conftest import Api

DEVIATIONS = "{ deviations { nodes { kind adopted moved resource transfer { id } detectedAt decisionId } } }"
RATES = """{ deviationRates { decided departed centre
  operators { institution { code } client decided departed detected overridden rate lower upper limits signal }
  overrides { kind code client overrides } } }"""


async def confirmed(api: Api) -> str:
    transfer = await api.held_transfer()
    await api.done("giver", "confirmTransfer", transfer=transfer)
    return transfer


async def kinds(api: Api, who: str = "planner") -> list[tuple[str, int, int]]:
    found = await api.ask(who, DEVIATIONS)
    return [(one["kind"], one["adopted"], one["moved"]) for one in found["deviations"]["nodes"]]


async def test_what_goes_as_adopted_leaves_no_deviation(api: Api) -> None:
    transfer = await confirmed(api)
    await api.done("giver", "dispatchTransfer", transfer=transfer)
    await api.done("receiver", "receiveTransfer", transfer=transfer)
    await api.expire()
    assert await kinds(api) == []


async def test_fewer_units_than_adopted_are_a_deviation_and_the_rest_is_asked_for_anew(
    api: Api, migrator_pool: Pool
) -> None:
    transfer = await confirmed(api)
    made = await api.done(
        "giver", "dispatchTransfer", "transfer { quantity dispatched dispatchedAt }", transfer=transfer, units=3
    )
    assert made["transfer"] == {"quantity": 4, "dispatched": 3, "dispatchedAt": "2026-03-01T12:00:00Z"}
    assert await kinds(api) == [("DISPATCHED_LESS", 4, 3)]
    made = await api.done("receiver", "receiveTransfer", "transfer { received }", transfer=transfer, units=2)
    assert made["transfer"] == {"received": 2}
    assert await kinds(api, "receiver") == [("RECEIVED_LESS", 3, 2), ("DISPATCHED_LESS", 4, 3)]
    found = await api.ask("receiver", "{ requests { nodes { requested approved fulfilled status } } }")
    assert found["requests"]["nodes"] == [
        {"requested": 1, "approved": 0, "fulfilled": 0, "status": "OPEN"},
        {"requested": 1, "approved": 0, "fulfilled": 0, "status": "OPEN"},
        {"requested": 4, "approved": 2, "fulfilled": 2, "status": "FULFILLED"},
    ]
    assert (await api.ask("giver", "{ offers { nodes { remaining } } }"))["offers"]["nodes"] == [{"remaining": 3}]
    recorded = await migrator_pool.fetch(
        "select id::text, actor, action from audit.decision where kind = 'deviation.detected' order by staged_id"
    )
    assert [(row["actor"], row["action"]) for row in recorded] == [
        ("giver-client", "dispatchTransfer"), ("receiver-client", "receiveTransfer"),
    ]  # fmt: skip
    found = await api.ask("giver", DEVIATIONS)
    assert {one["decisionId"] for one in found["deviations"]["nodes"]} == {row["id"] for row in recorded}


async def test_more_units_than_adopted_are_a_deviation_and_answer_no_request(api: Api) -> None:
    transfer = await confirmed(api)
    await api.done("giver", "dispatchTransfer", transfer=transfer, units=9)
    await api.done("receiver", "receiveTransfer", transfer=transfer, units=10)
    assert await kinds(api) == [("RECEIVED_MORE", 9, 10), ("DISPATCHED_MORE", 4, 9)]
    found = await api.ask("receiver", "{ requests { nodes { requested fulfilled status } } }")
    assert found["requests"]["nodes"] == [{"requested": 4, "fulfilled": 4, "status": "FULFILLED"}]
    assert (await api.ask("giver", "{ offers { nodes { remaining } } }"))["offers"]["nodes"] == [{"remaining": 2}]


@pytest.mark.parametrize("units", [0, -1, 1_000_001])
async def test_a_count_that_cannot_be_is_refused(api: Api, units: int) -> None:
    transfer = await confirmed(api)
    refused = await api.do("giver", "dispatchTransfer", transfer=transfer, units=units)
    assert refused.refusal == ("INVALID", "Invalid", "input.units")


async def test_what_is_confirmed_and_never_leaves_is_found_by_the_sweep_once(api: Api, migrator_pool: Pool) -> None:
    transfer = await confirmed(api)
    await api.expire()
    api.at += timedelta(hours=24)
    await api.expire()
    assert await kinds(api) == []  # due in this very instant, not over it
    api.at += timedelta(minutes=1)
    await asyncio.gather(*(api.expire() for _ in range(3)))
    await api.expire()
    assert await kinds(api) == [("NOT_DISPATCHED", 4, 0)]
    actors = await migrator_pool.fetch("select actor, action from audit.decision where kind = 'deviation.detected'")
    assert [tuple(row) for row in actors] == [("expire", "detectDeviation")]
    await api.done("giver", "dispatchTransfer", transfer=transfer)
    assert await kinds(api) == [("DISPATCHED_LATE", 4, 4), ("NOT_DISPATCHED", 4, 0)]


async def test_units_needed_later_are_not_late_before(api: Api) -> None:
    await api.institution("giver")
    await api.institution("receiver", latitude=40.1)
    await api.report("giver", staffed=20, occupied=5)
    await api.report("receiver", staffed=5, occupied=5, waiting=4)
    ends = (api.at + timedelta(days=5)).isoformat()
    await api.done("giver", "publishOffer", **api.pledge_of(6, availableUntil=ends))
    needed = (api.at + timedelta(days=3)).isoformat()
    await api.done("receiver", "openRequest", **api.need_of(4, neededBy=needed, neededUntil=ends))
    await api.allocate()
    found = await api.ask("giver", "{ transfers { nodes { id } } }")
    transfer = found["transfers"]["nodes"][0]["id"]
    await api.done("giver", "confirmTransfer", transfer=transfer)
    api.at += timedelta(days=3)
    await api.expire()
    await api.done("giver", "dispatchTransfer", transfer=transfer)
    assert await kinds(api) == []


async def test_a_pledge_taken_back_after_it_was_confirmed_is_a_deviation_and_a_declined_one_is_not(api: Api) -> None:
    transfer = await confirmed(api)
    await api.done("giver", "declineTransfer", transfer=transfer, reason="OWN_NEED_ROSE")
    assert await kinds(api) == [("TAKEN_BACK", 4, 0)]
    await api.allocate()
    again = (await api.ask("giver", "{ transfers(state: HELD) { nodes { id } } }"))["transfers"]["nodes"][0]["id"]
    await api.done("giver", "declineTransfer", transfer=again, reason="OWN_NEED_ROSE")
    assert len(await kinds(api)) == 1


async def test_either_party_tells_of_units_that_no_plan_asked_for(api: Api) -> None:
    giver, receiver = await api.institution("giver"), await api.institution("receiver")
    await api.institution("third")
    asked = {"giver": giver, "receiver": receiver, "resource": "ventilator", "units": 2}
    made = await api.done(
        "receiver", "reportUnplannedMove", "deviation { kind adopted moved resource giverId transfer { id } }", **asked
    )
    assert made["deviation"] == {
        "kind": "OUTSIDE_PLAN", "adopted": 0, "moved": 2, "resource": "ventilator", "giverId": giver, "transfer": None,
    }  # fmt: skip
    assert await kinds(api, "giver") == [("OUTSIDE_PLAN", 0, 2)]
    assert (await api.do("third", "reportUnplannedMove", **asked)).refusal == ("INVALID", "Invalid", "input.giver")
    for_another = await api.do("third", "reportUnplannedMove", institution=giver, **asked)
    assert for_another.refusal[0] == "FORBIDDEN"
    itself = await api.do("giver", "reportUnplannedMove", **(asked | {"receiver": giver}))
    assert itself.refusal == ("INVALID", "Invalid", "input.receiver")


async def _answered(api: Api, plan: dict[str, list[int]]) -> None:
    """Each giver answers a transfer for each number: it sends that many of four, or takes its word back for 0."""
    for number, (giver, sends) in enumerate(plan.items()):
        for turn in range(len(sends)):
            api.at += timedelta(minutes=1)
            receiver = f"{giver}-{turn}"
            await api.institution(receiver, region=f"r-{number}", latitude=40.1)
            await api.report(receiver, staffed=5, occupied=5, waiting=4)
            await api.done(receiver, "openRequest", **api.need_of(4))
        await api.institution(giver, region=f"r-{number}")
        await api.report(giver, staffed=1000, occupied=5)
        await api.done(giver, "publishOffer", **api.pledge_of(900))
        await api.allocate(f"r-{number}")
        found = await api.ask(giver, "{ transfers(state: HELD) { nodes { id } } }")
        for transfer, units in zip(found["transfers"]["nodes"], sends, strict=True):
            await api.done(giver, "confirmTransfer", transfer=transfer["id"])
            if units:
                await api.done(giver, "dispatchTransfer", transfer=transfer["id"], units=units)
            else:
                await api.done(giver, "declineTransfer", transfer=transfer["id"], reason="OWN_NEED_ROSE")


async def rates(api: Api, who: str) -> dict[str, Any]:
    found: dict[str, Any] = (await api.ask(who, RATES))["deviationRates"]
    return found


async def test_each_operator_stands_on_a_control_chart_and_only_chance_is_forgiven(api: Api) -> None:
    await _answered(api, {"steady": [4] * 12, "other": [4] * 12, "wayward": [3, 0, 5, 2]})
    api.at += timedelta(minutes=1)
    found = await rates(api, "regulator")
    assert (found["decided"], found["departed"], found["centre"]) == (28, 4, 142)
    by_code = {one["institution"]["code"]: one for one in found["operators"]}
    assert by_code["wayward"] == {
        "institution": {"code": "wayward"}, "client": "wayward-client", "decided": 4, "departed": 4, "detected": 4,
        "overridden": 0, "rate": 1000, "lower": 0, "upper": 750, "limits": "BINOMIAL", "signal": "ABOVE",
    }  # fmt: skip
    assert by_code["steady"]["signal"] == "WITHIN"
    assert found["operators"][0] == by_code["wayward"]
    own = await rates(api, "steady")
    assert [one["institution"]["code"] for one in own["operators"]] == ["steady"]
    assert own["centre"] == 142
    others = "query ($of: UUID) { deviationRates(institution: $of) { centre } }"
    refused = await api.send("steady", others, {"of": str(api.callers["wayward"].institution)})
    assert refused.refusal[0] == "FORBIDDEN"
    assert (await api.send("admin", RATES)).refusal[0] == "FORBIDDEN"


async def test_overrides_count_with_the_client_that_made_them(api: Api) -> None:
    first = await api.held_transfer()
    await api.done("giver", "overridePlan", transfer=first, kind="MOVE_UNCONFIRMED", code="LIFE_AT_STAKE")
    await api.done("receiver", "openRequest", **api.need_of(2, raised=2, raiseReason="INCOMING_PATIENTS"))
    await api.allocate()
    (second,) = (await api.ask("giver", "{ transfers(state: HELD) { nodes { id } } }"))["transfers"]["nodes"]
    await api.done("giver", "confirmTransfer", transfer=second["id"])
    await api.done("planner", "overridePlan", transfer=second["id"], kind="CANCEL", code="DATA_WERE_WRONG")
    api.at += timedelta(minutes=1)
    found = await rates(api, "planner")
    (giver,) = found["operators"]
    assert (giver["decided"], giver["departed"], giver["overridden"], giver["detected"]) == (2, 1, 1, 0)
    assert found["overrides"] == [
        {"kind": "CANCEL", "code": "DATA_WERE_WRONG", "client": "planner", "overrides": 1},
        {"kind": "MOVE_UNCONFIRMED", "code": "LIFE_AT_STAKE", "client": "giver-client", "overrides": 1},
    ]


async def test_a_chart_is_of_a_window_that_makes_sense(api: Api) -> None:
    asked = "query ($a: DateTime, $b: DateTime) { deviationRates(since: $a, until: $b) { decided operators { rate } } }"
    empty = await api.ask("planner", asked)
    assert empty["deviationRates"] == {"decided": 0, "operators": []}
    backwards = {"a": "2026-03-02T00:00:00Z", "b": "2026-03-01T00:00:00Z"}
    assert (await api.send("planner", asked, backwards)).refusal == ("INVALID", "Invalid", "until")
    too_long = {"a": "2020-03-02T00:00:00Z", "b": "2026-03-01T00:00:00Z"}
    assert (await api.send("planner", asked, too_long)).refusal == ("INVALID", "Invalid", "until")
