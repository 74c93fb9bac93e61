"""A plan is a proposal until its owners have answered: one transfer at a time, or all of a plan in one go."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from sharewell.domain.subjects import Ground
from sharewell.wiring import operator

if TYPE_CHECKING:
    from tests.conftest import Pool
    from tests.postgres.graphql.conftest import Api

ANSWERS = """{ allocations(first: 1) { nodes { id answers {
  state open accepted declined expired cancelled unitsOpen unitsAccepted unitsLost } } } }"""
STATES = "{ transfers { nodes { id state receiver { code } declineReason steps { state remark } } } }"


async def a_plan(api: Api) -> str:
    """One giver, whose units a plan holds for three receivers; the run's id."""
    await api.institution("giver")
    await api.report("giver", staffed=30, occupied=5)
    await api.done("giver", "publishOffer", **api.pledge_of(12))
    for number in range(3):
        name = f"receiver-{number}"
        await api.institution(name, latitude=40.1 + number / 10)
        await api.report(name, staffed=5, occupied=5, waiting=4)
        await api.done(name, "openRequest", **api.need_of(number + 2))
    await api.allocate()
    found = await api.ask("planner", ANSWERS)
    id: str = found["allocations"]["nodes"][0]["id"]  # noqa: A001
    return id


async def answers(api: Api, who: str = "planner") -> dict[str, Any]:
    found: dict[str, Any] = (await api.ask(who, ANSWERS))["allocations"]["nodes"][0]["answers"]
    return found


async def held(api: Api) -> dict[str, str]:
    """By receiver, the transfers of the giver's newest plan."""
    found = await api.ask("giver", "{ transfers(state: HELD) { nodes { id receiver { code } } } }")
    return {one["receiver"]["code"]: one["id"] for one in found["transfers"]["nodes"]}


async def test_a_plan_is_proposed_until_every_owner_has_answered(api: Api) -> None:
    await a_plan(api)
    assert await answers(api) == {
        "state": "PROPOSED", "open": 3, "accepted": 0, "declined": 0, "expired": 0, "cancelled": 0, "unitsOpen": 9,
        "unitsAccepted": 0, "unitsLost": 0,
    }  # fmt: skip
    transfers = await held(api)
    await api.done("giver", "confirmTransfer", transfer=transfers["receiver-0"])
    assert (await answers(api))["state"] == "PROPOSED"
    await api.done("giver", "confirmTransfer", transfer=transfers["receiver-1"])
    await api.done("giver", "confirmTransfer", transfer=transfers["receiver-2"])
    for who, units in (("planner", 9), ("receiver-1", None)):  # whose units they are is for who may read the plan
        found = await answers(api, who)
        assert (found["state"], found["accepted"], found["unitsAccepted"]) == ("CONFIRMED", 3, units)


async def test_an_owner_answers_a_whole_plan_in_one_go(api: Api, migrator_pool: Pool) -> None:
    run, transfers = await a_plan(api), await held(api)
    made = await api.done(
        "giver", "answerPlan", "transfers { id state declineReason } decision { id }", allocation=run,
        declines=[{"transfer": transfers["receiver-1"], "reason": "TRANSPORT_UNAVAILABLE", "remark": "No van today."}],
    )  # fmt: skip
    assert {one["id"]: (one["state"], one["declineReason"]) for one in made["transfers"]} == {
        transfers["receiver-0"]: ("CONFIRMED", None),
        transfers["receiver-1"]: ("DECLINED", "TRANSPORT_UNAVAILABLE"),
        transfers["receiver-2"]: ("CONFIRMED", None),
    }
    found = await answers(api)
    assert (found["state"], found["accepted"], found["declined"], found["unitsLost"]) == ("CHANGED", 2, 1, 3)
    kinds = await migrator_pool.fetch(
        "select kind, count(*) as n from audit.decision"
        " where kind like 'transfer.%' or kind = 'plan.answered' group by 1"
    )
    assert {row["kind"]: row["n"] for row in kinds} == {
        "plan.answered": 1, "transfer.confirmed": 2, "transfer.declined": 1,
    }  # fmt: skip


async def test_an_owner_declines_all_of_a_plan_for_one_reason(api: Api) -> None:
    run = await a_plan(api)
    await api.done("giver", "answerPlan", allocation=run, others="OWN_NEED_ROSE")
    found = await answers(api)
    assert (found["state"], found["declined"], found["unitsLost"]) == ("CHANGED", 3, 9)
    asked = await api.ask("planner", "{ requests(status: OPEN) { nodes { requested } } }")
    assert sorted(one["requested"] for one in asked["requests"]["nodes"]) == [2, 3, 4]


async def test_an_answer_names_only_open_holds_of_ones_own_and_is_all_or_nothing(api: Api) -> None:
    run, transfers = await a_plan(api), await held(api)
    await api.done("giver", "confirmTransfer", transfer=transfers["receiver-0"])
    refused = await api.do(
        "giver", "answerPlan", allocation=run,
        declines=[{"transfer": transfers["receiver-1"], "reason": "OWN_NEED_ROSE"},
                  {"transfer": transfers["receiver-0"], "reason": "OWN_NEED_ROSE"}],
    )  # fmt: skip
    assert refused.refusal == ("INVALID", "Invalid", "input.declines.1.transfer")
    assert len(await held(api)) == 2
    twice = await api.do(
        "giver", "answerPlan", allocation=run,
        declines=[{"transfer": transfers["receiver-1"], "reason": "OWN_NEED_ROSE"}] * 2,
    )  # fmt: skip
    assert twice.refusal == ("INVALID", "Invalid", "input.declines")
    nothing = await api.do("receiver-1", "answerPlan", allocation=run)
    assert nothing.refusal == ("CONFLICT", "Conflict", "input.allocation")


@pytest.mark.parametrize("who", ["planner", "receiver-1", "regulator", "admin"])
async def test_nobody_answers_for_an_owner(api: Api, who: str) -> None:
    run = await a_plan(api)
    giver = str(api.callers["giver"].institution)
    refused = await api.do(who, "answerPlan", allocation=run, institution=giver)
    assert refused.refusal[0] == "FORBIDDEN"


async def test_holds_that_ran_out_are_not_answered_any_more(api: Api) -> None:
    run = await a_plan(api)
    api.at += timedelta(hours=24)
    refused = await api.do("giver", "answerPlan", allocation=run)
    assert refused.refusal == ("CONFLICT", "Conflict", "input.allocation")
    await api.expire()
    found = await answers(api)
    assert (found["state"], found["expired"]) == ("CHANGED", 3)


async def test_an_answer_sent_twice_is_given_once(api: Api) -> None:
    run = await a_plan(api)
    asked = {"idempotencyKey": "answer", "allocation": run, "others": "UNIT_UNAVAILABLE"}
    select = "transfers { id state declineReason changedAt } decision { id at }"
    first = await api.done("giver", "answerPlan", select, **asked)
    assert await api.done("giver", "answerPlan", select, **asked) == first


async def test_a_remark_is_read_by_both_parties_and_nowhere_in_the_log(
    api: Api, migrator_pool: Pool, capfd: pytest.CaptureFixture[str]
) -> None:
    await a_plan(api)
    transfer = (await held(api))["receiver-2"]
    written = "Sister Anna called: the lift is broken."
    await api.done("giver", "declineTransfer", transfer=transfer, reason="TRANSPORT_UNAVAILABLE", remark=written)
    for who in ("giver", "receiver-2", "planner", "regulator"):
        found = await api.ask(who, STATES)
        (declined,) = [one for one in found["transfers"]["nodes"] if one["state"] == "DECLINED"]
        assert [step["remark"] for step in declined["steps"]] == [None, None, written]
    holding = await migrator_pool.fetch(
        "select body from audit.entry where position('Anna' in convert_from(body, 'UTF8')) > 0"
    )
    assert holding == []
    salt = await migrator_pool.fetchval("select salt from sharewell.remark")
    told = await migrator_pool.fetchval(
        "select convert_from(body, 'UTF8')::jsonb -> 'details' ->> 'remark_sha256' from audit.entry e"
        " join audit.decision d using (staged_id) where d.kind = 'transfer.declined'"
    )
    assert told == await migrator_pool.fetchval(
        "select encode(sha256(decode($1, 'hex') || convert_to($2, 'UTF8')), 'hex')", salt, written
    )
    decision = await migrator_pool.fetchval("select decision_id from sharewell.remark")
    await api.people.subjects.erase_remark(operator(), decision, Ground.OBJECTION)
    found = await api.ask("giver", STATES)
    assert all(step["remark"] is None for one in found["transfers"]["nodes"] for step in one["steps"])
    assert "Anna" not in "".join(capfd.readouterr())


async def test_a_remark_is_no_reason_and_has_its_bounds(api: Api) -> None:
    await a_plan(api)
    transfer = (await held(api))["receiver-2"]
    alone = await api.do("giver", "declineTransfer", transfer=transfer, remark="We would rather not.")
    assert alone.refusal[0] == "INVALID"
    long = await api.do("giver", "declineTransfer", transfer=transfer, reason="OWN_NEED_ROSE", remark="x" * 501)
    assert long.refusal == ("INVALID", "Invalid", "input.remark")
    blank = await api.done(
        "giver", "declineTransfer", "transfer { steps { remark } }", transfer=transfer, reason="OWN_NEED_ROSE",
        remark="  ",
    )  # fmt: skip
    assert blank["transfer"]["steps"][-1]["remark"] is None
