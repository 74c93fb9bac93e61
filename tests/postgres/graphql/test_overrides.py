"""Whoever departs from a plan on purpose does so by a code, and it is on record and counted."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.conftest import Pool
    from tests.postgres.graphql.conftest import Api

OVERRIDES = """{ overrides { nodes { kind code remark client giverId
  transfer { id state } replacement { state quantity receiver { code } holdUntil } } } }"""
OFFER = "{ offers(first: 1) { nodes { quantity remaining } } }"


async def another_request(api: Api, quantity: int = 4, **more: Any) -> str:
    await api.institution("other", latitude=40.2)
    await api.report("other", staffed=5, occupied=5, waiting=9)
    made = await api.done("other", "openRequest", "request { id }", **api.need_of(quantity, **more))
    id: str = made["request"]["id"]  # noqa: A001
    return id


async def test_an_allocator_takes_a_transfer_out_of_its_plan(api: Api, migrator_pool: Pool) -> None:
    transfer = await api.held_transfer()
    made = await api.done(
        "planner", "overridePlan", "override { kind code remark client transfer { state } } decision { id }",
        transfer=transfer, kind="CANCEL", code="DATA_WERE_WRONG", remark="The census was of last week.",
    )  # fmt: skip
    assert made["override"] == {
        "kind": "CANCEL", "code": "DATA_WERE_WRONG", "remark": "The census was of last week.", "client": "planner",
        "transfer": {"state": "CANCELLED"},
    }  # fmt: skip
    assert (await api.ask("giver", OFFER))["offers"]["nodes"] == [{"quantity": 6, "remaining": 6}]
    asked = await api.ask("receiver", "{ requests(status: OPEN) { nodes { requested remainderOfId } } }")
    (remainder,) = asked["requests"]["nodes"]
    assert remainder["requested"] == 4
    assert remainder["remainderOfId"] is not None
    entry = await migrator_pool.fetchrow(
        "select d.action, d.actor, d.institution::text, convert_from(body, 'UTF8') as body from audit.decision d"
        " join audit.entry using (staged_id) where d.id = $1::uuid", made["decision"]["id"],
    )  # fmt: skip
    assert entry is not None
    assert (entry["action"], entry["actor"], entry["institution"]) == (
        "overridePlan", "planner", str(api.callers["giver"].institution),
    )  # fmt: skip
    assert '"code":"data_were_wrong"' in entry["body"]
    assert "census" not in entry["body"]


async def test_units_are_reassigned_to_another_request_and_their_giver_is_asked_anew(api: Api) -> None:
    transfer = await api.held_transfer()
    await api.done("giver", "confirmTransfer", transfer=transfer)
    request = await another_request(api, 5)
    api.at += timedelta(hours=1)
    made = await api.done(
        "planner", "overridePlan",
        "override { requestId transfer { state } "
        "replacement { id state quantity reason receiver { code } holdUntil } }",
        transfer=transfer, kind="REASSIGN", code="LIFE_AT_STAKE", request=request,
    )  # fmt: skip
    replacement = made["override"]["replacement"]
    moved = replacement.pop("id")
    assert made["override"] == {
        "requestId": request, "transfer": {"state": "CANCELLED"},
        "replacement": {
            "state": "HELD", "quantity": 4, "receiver": {"code": "other"}, "holdUntil": "2026-03-02T13:00:00Z",
            "reason": "Reassigned from another request by override: life_at_stake.",
        },
    }  # fmt: skip
    found = await api.ask("other", "{ requests { nodes { requested approved status } } }")
    assert found["requests"]["nodes"] == [
        {"requested": 1, "approved": 0, "status": "OPEN"}, {"requested": 5, "approved": 4, "status": "APPROVED"},
    ]  # fmt: skip
    assert (await api.ask("giver", OFFER))["offers"]["nodes"] == [{"quantity": 6, "remaining": 2}]
    for who, name in (("giver", "confirmTransfer"), ("giver", "dispatchTransfer"), ("other", "receiveTransfer")):
        await api.done(who, name, transfer=moved)
    found = await api.ask("planner", "{ allocations { nodes { answers { accepted cancelled } } } }")
    assert found["allocations"]["nodes"] == [{"answers": {"accepted": 1, "cancelled": 1}}]


async def test_a_giver_sends_units_before_the_pledge_is_confirmed_and_says_why(api: Api) -> None:
    transfer = await api.held_transfer()
    made = await api.done(
        "giver", "overridePlan", "override { transfer { state dispatched quantity steps { state } } }",
        transfer=transfer, kind="MOVE_UNCONFIRMED", code="LIFE_AT_STAKE", units=3,
    )  # fmt: skip
    assert made["override"]["transfer"] == {
        "state": "DISPATCHED", "dispatched": 3, "quantity": 4,
        "steps": [{"state": "PROPOSED"}, {"state": "HELD"}, {"state": "DISPATCHED"}],
    }  # fmt: skip
    assert (await api.ask("planner", "{ deviations { nodes { kind } } }"))["deviations"]["nodes"] == []
    assert (await api.done("receiver", "receiveTransfer", "transfer { received }", transfer=transfer)) == {
        "transfer": {"received": 3},
    }  # fmt: skip


@pytest.mark.parametrize(
    ("asked", "field"),
    [
        ({"kind": "CANCEL", "code": "LIFE_AT_STAKE"}, "code"),
        ({"kind": "MOVE_UNCONFIRMED", "code": "NEED_ENDED"}, "code"),
        ({"kind": "REASSIGN", "code": "NEED_ENDED"}, "request"),
        ({"kind": "CANCEL", "code": "NEED_ENDED", "units": 2}, "units"),
        ({"kind": "CANCEL", "code": "NEED_ENDED", "remark": "x" * 501}, "remark"),
        ({"kind": "MOVE_UNCONFIRMED", "code": "LIFE_AT_STAKE", "units": 0}, "units"),
    ],
)
async def test_an_override_that_does_not_add_up_is_refused(api: Api, asked: dict[str, Any], field: str) -> None:
    transfer = await api.held_transfer()
    refused = await api.do("giver", "overridePlan", transfer=transfer, **asked)
    assert refused.refusal == ("INVALID", "Invalid", f"input.{field}")
    assert (await api.ask("giver", "{ transfers { nodes { state } } }"))["transfers"]["nodes"] == [{"state": "HELD"}]


async def test_a_word_outside_of_the_list_is_no_code(api: Api) -> None:
    transfer = await api.held_transfer()
    asked = {"kind": "CANCEL", "code": "OTHER", "remark": "Trust me."}
    refused = await api.do("planner", "overridePlan", transfer=transfer, **asked)
    assert refused.refusal[0] == "INVALID"


async def test_units_go_to_an_open_request_that_can_take_all_of_them(api: Api) -> None:
    transfer = await api.held_transfer()
    small = await another_request(api, 3)
    wanted = {"kind": "REASSIGN", "code": "RECEIVER_CANNOT_TAKE"}
    refused = await api.do("planner", "overridePlan", transfer=transfer, request=small, **wanted)
    assert refused.refusal == ("CONFLICT", "Conflict", "input.request")
    made = await api.done("other", "openRequest", "request { id }", **api.need_of(4, resource="ventilator"))
    refused = await api.do("planner", "overridePlan", transfer=transfer, request=made["request"]["id"], **wanted)
    assert refused.refusal == ("CONFLICT", "Conflict", "input.request")
    gone = (await api.done("other", "openRequest", "request { id }", **api.need_of(4)))["request"]["id"]
    await api.done("other", "cancelRequest", request=gone)
    refused = await api.do("planner", "overridePlan", transfer=transfer, request=gone, **wanted)
    assert refused.refusal == ("CONFLICT", "Conflict", "input.request")


async def test_what_has_left_can_no_longer_be_overridden(api: Api) -> None:
    transfer = await api.held_transfer()
    await api.done("giver", "confirmTransfer", transfer=transfer)
    await api.done("giver", "dispatchTransfer", transfer=transfer)
    refused = await api.do("planner", "overridePlan", transfer=transfer, kind="CANCEL", code="NEED_ENDED")
    assert refused.refusal[:2] == ("CONFLICT", "WrongStep")


@pytest.mark.parametrize(
    ("who", "kind", "code"),
    [
        ("receiver", "CANCEL", "NEED_ENDED"), ("regulator", "CANCEL", "NEED_ENDED"), ("admin", "CANCEL", "NEED_ENDED"),
        ("planner", "MOVE_UNCONFIRMED", "LIFE_AT_STAKE"), ("receiver", "MOVE_UNCONFIRMED", "LIFE_AT_STAKE"),
    ],
)  # fmt: skip
async def test_only_allocators_and_the_giver_override_and_only_the_giver_moves(
    api: Api, who: str, kind: str, code: str
) -> None:
    transfer = await api.held_transfer()
    refused = await api.do(who, "overridePlan", transfer=transfer, kind=kind, code=code)
    assert refused.refusal[0] == "FORBIDDEN"


async def test_both_parties_see_an_override_and_a_third_does_not(api: Api) -> None:
    transfer = await api.held_transfer()
    await api.institution("third")
    await api.done("planner", "overridePlan", transfer=transfer, kind="CANCEL", code="NEED_ENDED", remark="All well.")
    for who in ("giver", "receiver", "planner", "regulator"):
        (found,) = (await api.ask(who, OVERRIDES))["overrides"]["nodes"]
        assert (found["code"], found["remark"], found["transfer"]["state"]) == ("NEED_ENDED", "All well.", "CANCELLED")
    assert (await api.ask("third", OVERRIDES))["overrides"]["nodes"] == []
    everybodys = "query ($of: UUID) { overrides(institution: $of) { nodes { id } } }"
    refused = await api.send("third", everybodys, {"of": str(api.callers["giver"].institution)})
    assert refused.refusal[0] == "FORBIDDEN"


async def test_an_override_sent_twice_is_made_once(api: Api) -> None:
    asked = {"idempotencyKey": "o-1", "transfer": await api.held_transfer(), "kind": "CANCEL", "code": "NEED_ENDED"}
    select = "override { id code remark transfer { state } } decision { id }"
    first = await api.done("planner", "overridePlan", select, **asked)
    assert await api.done("planner", "overridePlan", select, **asked) == first
    assert len((await api.ask("planner", OVERRIDES))["overrides"]["nodes"]) == 1
