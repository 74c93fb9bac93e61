"""The fairness choice, raised needs and second runs as people ask for them in GraphQL."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET

import pytest

from sharewell.domain.errors import Unavailable
from sharewell.services import lab

if TYPE_CHECKING:
    from tests.postgres.graphql.conftest import Api

BEDS = "bed.adult"
CHOICE = "choice { id fairness { rule theta alpha memory credit urgencyWeights } reserves { category share } chosenAt }"
RECEIPT = " decision { id }"
RUNS = """{ allocations { nodes { id fairness { rule alpha urgencyWeights memory } reserves { category share } } } }"""
FRONTIER = """query ($id: UUID!) { allocationFrontier(id: $id) {
  points {
    rule theta alpha family chosen proven smallestFill needMet price unitKilometres gini reserveShare
  } svg } }"""
WHAT_IF = """query ($request: UUID!) { whatWouldChange(request: $request) {
  requestId allocationId reason changes { change units received sentence } } }"""


async def market(api: Api, *, pledged: int = 6, urgent: int = 6, calm: int = 6) -> tuple[str, str]:
    """One giver, an urgent and a calm request; their ids."""
    await api.institution("giver")
    await api.report("giver", staffed=40, occupied=10)
    await api.done("giver", "publishOffer", **api.pledge_of(pledged))
    ids = []
    for code, units, urgency in (("urgent", urgent, 5), ("calm", calm, 1)):
        await api.institution(code, latitude=40.1)
        await api.report(code, staffed=5, occupied=5, waiting=units)
        made = await api.done(code, "openRequest", "request { id }", **api.need_of(units, urgency=urgency))
        ids.append(made["request"]["id"])
    return ids[0], ids[1]


async def on_record(api: Api, made: Any) -> dict[str, Any]:
    """Details of the decision that a mutation left, as the regulator reads them."""
    query = "query ($id: UUID!) { decision(id: $id) { details } }"
    details: dict[str, Any] = (await api.ask("regulator", query, id=made["decision"]["id"]))["decision"]["details"]
    return details


async def the_run(api: Api) -> dict[str, Any]:
    found: dict[str, Any] = (await api.ask("planner", RUNS))["allocations"]["nodes"][0]
    return found


async def test_an_allocator_chooses_and_the_next_run_says_by_which_rule_it_went(api: Api) -> None:
    await market(api)
    farm = (await api.ask("calm", "{ me { institution { id } } }"))["me"]["institution"]["id"]
    made = await api.done(
        "planner", "chooseFairness", CHOICE + RECEIPT, region="us-nj", resource=BEDS, rule="WELFARE", alpha=0,
        memory=800,
        reserves=[{"category": "rural", "share": 500, "institutions": [farm]}],
    )  # fmt: skip
    assert made["choice"]["fairness"] == {
        "rule": "WELFARE", "theta": 1000, "alpha": 0, "memory": 800, "credit": 0, "urgencyWeights": [1, 2, 3, 4, 5],
    }  # fmt: skip
    asked = 'query { fairnessChoice(region: "us-nj", resource: "bed.adult") { id reserves { institutionIds } } }'
    found = (await api.ask("calm", asked))["fairnessChoice"]  # whom it binds may see it
    assert found == {"id": made["choice"]["id"], "reserves": [{"institutionIds": [farm]}]}
    await api.allocate()
    run = await the_run(api)
    assert run["fairness"] == {"rule": "WELFARE", "alpha": 0, "urgencyWeights": [1, 2, 3, 4, 5], "memory": 800}
    assert run["reserves"] == [{"category": "rural", "share": 500}]
    kept = await api.ask("calm", "{ transfers { nodes { quantity } } }")
    assert kept["transfers"]["nodes"] == [{"quantity": 3}]
    assert (await on_record(api, made))["fairness"]["rule"] == "welfare"


async def test_without_a_choice_the_default_holds_and_is_shown(api: Api) -> None:
    await market(api)
    await api.allocate()
    run = await the_run(api)
    assert run["fairness"] == {"rule": "FLOOR", "alpha": 2000, "urgencyWeights": [1, 2, 3, 4, 5], "memory": 0}
    asked = 'query { fairnessChoice(region: "us-nj", resource: "bed.adult") { id } }'
    assert (await api.ask("planner", asked))["fairnessChoice"] is None


@pytest.mark.parametrize(
    ("more", "field"),
    [
        ({"theta": 1001}, "input.theta"),
        ({"alpha": 4001}, "input.alpha"),
        ({"urgencyWeights": [5, 4, 3, 2, 1]}, "input.urgencyWeights"),
        ({"credit": 500}, "input.memory"),
        ({"reserves": [{"category": "a b", "share": 1, "institutions": []}]}, None),
        ({"resource": "no.such"}, "input.resource"),
    ],
)
async def test_a_rule_that_makes_no_sense_is_refused_by_its_field(
    api: Api, more: dict[str, Any], field: str | None
) -> None:
    refused = await api.do("planner", "chooseFairness", **({"region": "us-nj", "resource": BEDS} | more))
    assert refused.refusal[0] in ("INVALID", "NOT_FOUND")
    assert field is None or refused.refusal[2] == field


async def test_a_raised_need_is_seen_on_the_request_and_in_the_log(api: Api) -> None:
    await api.institution("clinic")
    made = await api.done(
        "clinic", "openRequest", "request { raised raiseReason }" + RECEIPT,
        **api.need_of(4, raised=3, raiseReason="INCOMING_PATIENTS"),
    )  # fmt: skip
    assert made["request"] == {"raised": 3, "raiseReason": "INCOMING_PATIENTS"}
    details = await on_record(api, made)
    assert (details["raised"], details["raise_reason"]) == (3, "incoming_patients")
    refused = await api.do("clinic", "openRequest", **api.need_of(4, raised=3))
    assert refused.refusal == ("INVALID", "Invalid", "input.raiseReason")
    refused = await api.do("clinic", "openRequest", **api.need_of(4, raised=5, raiseReason="DISASTER"))
    assert refused.refusal == ("INVALID", "Invalid", "input.raised")


async def test_rules_are_compared_on_the_instance_of_a_run(api: Api) -> None:
    await market(api)
    await api.allocate()
    run = (await the_run(api))["id"]
    curve = (await api.ask("planner", FRONTIER, id=run))["allocationFrontier"]
    chosen, *others = curve["points"]
    assert (chosen["chosen"], chosen["proven"], chosen["rule"], chosen["smallestFill"]) == (True, True, "FLOOR", 500)
    utilitarian = next(point for point in others if point["rule"] == "UTILITARIAN")
    assert (utilitarian["smallestFill"], utilitarian["needMet"], utilitarian["price"]) == (0, 30, 0)
    assert chosen["price"] == 400  # 18 of 30 urgency-weighted units
    assert "What each rule reaches" in "".join(ET.fromstring(curve["svg"]).itertext())


@pytest.mark.parametrize("who", ["urgent", "admin", "nobody"])
async def test_only_who_is_entitled_has_runs_solved_again(api: Api, who: str) -> None:
    await market(api)
    await api.allocate()
    refused = await api.send(who, FRONTIER, {"id": (await the_run(api))["id"]})
    assert refused.refusal[0] == "FORBIDDEN"


async def test_an_institution_asks_what_would_have_brought_its_request_more_and_no_other(api: Api) -> None:
    _, calm = await market(api)
    await api.allocate()
    found = (await api.ask("calm", WHAT_IF, request=calm))["whatWouldChange"]
    assert found["allocationId"] == (await the_run(api))["id"]
    assert "common floor" in found["reason"]
    assert found["changes"][0]["change"] == "owner_spares_more"
    assert "could spare 1 more" in found["changes"][0]["sentence"] or found["changes"][0]["received"] > 3
    assert (await api.send("urgent", WHAT_IF, {"request": calm})).refusal[0] == "FORBIDDEN"
    assert (await api.ask("planner", WHAT_IF, request=calm))["whatWouldChange"]["requestId"] == calm


async def test_a_request_that_no_run_has_answered_has_nothing_to_change(api: Api) -> None:
    _, calm = await market(api)
    refused = await api.send("planner", WHAT_IF, {"request": calm})
    assert refused.refusal[0] == "NOT_FOUND"


async def test_a_run_too_large_is_not_solved_again(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    await market(api)
    await api.allocate()
    monkeypatch.setattr(lab, "MOST_LANES", 1)
    refused = await api.send("planner", FRONTIER, {"id": (await the_run(api))["id"]})
    assert refused.refusal[0] == "INVALID"
    assert "use `sharewell allocate`" in refused.error["message"]


async def test_too_many_questions_at_once_are_sent_away(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    await market(api)
    await api.allocate()
    run, go_on, answer = (await the_run(api))["id"], asyncio.Event(), lab._run

    async def in_good_time(*arguments: str) -> bytes:
        await go_on.wait()
        return await answer(*arguments)

    monkeypatch.setattr(lab, "_run", in_good_time)
    asked = [asyncio.create_task(api.send("planner", FRONTIER, {"id": run})) for _ in range(lab.AT_ONCE + 1)]
    (refused,), others = await asyncio.wait(asked, return_when=asyncio.FIRST_COMPLETED)
    assert refused.result().refusal[0] == Unavailable.code
    go_on.set()
    assert all(answer.data for answer in await asyncio.gather(*others))


async def test_what_takes_too_long_is_ended(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    await market(api)
    await api.allocate()
    monkeypatch.setattr(lab, "SECONDS", 0.0)
    monkeypatch.setattr(lab, "GRACE", 0.01)
    refused = await api.send("planner", FRONTIER, {"id": (await the_run(api))["id"]})
    assert refused.refusal[0] == Unavailable.code


async def test_a_stored_receipt_says_what_credit_a_run_left(api: Api) -> None:
    await market(api)
    await api.done("planner", "chooseFairness", region="us-nj", resource=BEDS, rule="UTILITARIAN", memory=1000)
    await api.allocate()
    asked = "{ allocations { nodes { receipts { creditBefore creditAfter sentence } } } }"
    (receipt,) = (await api.ask("calm", asked))["allocations"]["nodes"][0]["receipts"]
    assert (receipt["creditBefore"], receipt["creditAfter"]) == (0, 3000)
    assert "Your credit for earlier runs was 0" in receipt["sentence"]
