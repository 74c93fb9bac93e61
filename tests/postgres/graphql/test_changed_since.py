"""Who changes a thing may say which decision had changed it last when it was read; if another did since, all stays."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest
from graphql import GraphQLInputObjectType, build_schema
from joserfc.jwk import ECKey
from tests.postgres.graphql.conftest import BEDS, EVERYTHING, text

from sharewell.domain.principals import Caller, Role
from sharewell.wiring import operator
from sharewell_schema.schema import sdl

if TYPE_CHECKING:
    from tests.postgres.graphql.conftest import Api

CONFLICT = ("CONFLICT", "ChangedSince", "input.ifChangedBy")
DECISIONS = "{ decisions(first: 200) { nodes { id kind } } }"
ME, WIDER = "{ me { clientId } }", "{ me { clientId roles } }"
PERMIT = """
@id("planner-opens-requests")
@sentence("The planner of the night opens requests for any institution.")
permit (principal == Sharewell::Caller::"planner", action == Sharewell::Action::"openRequest", resource);
"""


@dataclass(frozen=True)
class Deed:
    """A change that somebody may make of a thing that is there."""

    who: str
    noun: str  #: the field of the payload that has the thing
    changed_by: str
    asked: dict[str, Any]


async def an_institution(api: Api) -> Deed:
    id = await api.institution("north")  # noqa: A001
    found = await api.ask("admin", "query ($id: UUID!) { institution(id: $id) { changedById } }", id=id)
    changed_by = found["institution"]["changedById"]
    return Deed("admin", "institution", changed_by, {"institution": id, "status": "SUSPENDED"})


async def an_offer(api: Api) -> Deed:
    await api.institution("north")
    await api.report("north", staffed=20, occupied=5)
    made = await api.done("north", "publishOffer", "offer { id changedById }", **api.pledge_of(4))
    return Deed("north", "offer", made["offer"]["changedById"], {"offer": made["offer"]["id"]})


async def a_request(api: Api) -> Deed:
    await api.institution("north")
    made = await api.done("north", "openRequest", "request { id changedById }", **api.need_of(4))
    return Deed("north", "request", made["request"]["changedById"], {"request": made["request"]["id"]})


def an_agreement(who: str) -> Callable[[Api], Awaitable[Deed]]:
    async def prepare(api: Api) -> Deed:
        await api.institution("giver")
        asked = {"receiver": await api.institution("receiver"), "until": text(api.at + timedelta(days=9))}
        made = (await api.done("giver", "proposeAgreement", "agreement { id changedById }", **asked))["agreement"]
        return Deed(who, "agreement", made["changedById"], {"agreement": made["id"]})

    return prepare


async def a_consent(api: Api) -> Deed:
    await api.institution("north")
    asked = {"resource": BEDS, "until": text(api.at + timedelta(days=9))}
    made = (await api.done("north", "giveConsent", "consent { id changedById }", **asked))["consent"]
    return Deed("north", "consent", made["changedById"], {"consent": made["id"]})


async def a_surge(api: Api) -> Deed:
    asked = {"region": "us-nj", "resource": BEDS, "reason": "DISASTER", "until": text(api.at + timedelta(hours=9))}
    made = (await api.done("planner", "declareSurge", "surge { id changedById }", **asked))["surge"]
    return Deed("planner", "surge", made["changedById"], {"surge": made["id"]})


async def a_client(api: Api) -> None:
    institution = await api.institution("north")
    keys = [ECKey.generate_key("P-384", {"kid": "k"}).as_dict(private=False)]
    await api.done(
        "admin", "registerClient", clientId="board", name="Board", roles=["INSTITUTION"], institution=institution,
        scopes=["system/*.cruds"], jwks={"keys": keys},
    )  # fmt: skip


async def a_list_of_documents(api: Api) -> Deed:
    await a_client(api)
    made = await api.done("admin", "trustDocuments", "trusted { changedById }", clientId="board", documents=[ME])
    return Deed("admin", "trusted", made["trusted"]["changedById"], {"clientId": "board", "documents": [WIDER]})


def a_version(who: str, *, simulated: bool = False, **more: Any) -> Callable[[Api], Awaitable[Deed]]:
    async def prepare(api: Api) -> Deed:
        for name in ("author", "second"):
            api.callers[name] = Caller(
                principal=name, roles=frozenset({Role.ADMIN}), scopes=EVERYTHING, request_id="r-1"
            )
        await api.people.policies.publish(operator())
        version, window = "version { number sha256 changedById }", {"since": text(api.at - timedelta(days=1))}
        files = [{"name": "extra.cedar", "text": PERMIT}]
        made = (await api.done("author", "draftPolicies", version, files=files, why="Because."))["version"]
        if simulated:
            made = (await api.done("author", "simulatePolicies", version, version=made["number"], **window))["version"]
        asked = {name: made["sha256"] if name == "sha256" else value for name, value in more.items()}
        return Deed(who, "version", made["changedById"], {"version": made["number"], **asked})

    return prepare


def a_transfer(who: str, *before: tuple[str, str], **more: Any) -> Callable[[Api], Awaitable[Deed]]:
    async def prepare(api: Api) -> Deed:
        id = await api.held_transfer()  # noqa: A001
        for party, step in before:
            await api.done(party, step, transfer=id)
        found = await api.ask(who, "query ($id: UUID!) { transfer(id: $id) { changedById } }", id=id)
        return Deed(who, "transfer", found["transfer"]["changedById"], {"transfer": id, **more})

    return prepare


CONFIRMED, LEFT = ("giver", "confirmTransfer"), ("giver", "dispatchTransfer")
DEEDS: dict[str, Callable[[Api], Awaitable[Deed]]] = {
    "setInstitutionStatus": an_institution,
    "withdrawOffer": an_offer,
    "cancelRequest": a_request,
    "acceptAgreement": an_agreement("receiver"),
    "endAgreement": an_agreement("giver"),
    "withdrawConsent": a_consent,
    "endSurge": a_surge,
    "trustDocuments": a_list_of_documents,
    "editPolicies": a_version("author", files=[{"name": "extra.cedar", "text": PERMIT.replace("night", "day")}]),
    "approvePolicies": a_version("second", simulated=True, sha256=...),
    "withdrawPolicyVersion": a_version("author"),
    "confirmTransfer": a_transfer("giver"),
    "declineTransfer": a_transfer("giver", reason="OWN_NEED_ROSE"),
    "dispatchTransfer": a_transfer("giver", CONFIRMED),
    "receiveTransfer": a_transfer("receiver", CONFIRMED, LEFT),
    "returnTransfer": a_transfer("receiver", CONFIRMED, LEFT, ("receiver", "receiveTransfer")),
}


async def decided(api: Api) -> set[str]:
    """What is on record, but for the looking itself."""
    found = await api.ask("regulator", DECISIONS)
    return {node["id"] for node in found["decisions"]["nodes"] if not node["kind"].endswith(".read")}


def test_every_mutation_that_takes_what_was_read_is_tried_here() -> None:
    kinds = build_schema(sdl()).type_map.items()
    taking = {name for name, kind in kinds if isinstance(kind, GraphQLInputObjectType) and "ifChangedBy" in kind.fields}
    assert taking == {f"{name[0].upper()}{name[1:]}Input" for name in DEEDS}


@pytest.mark.parametrize("name", DEEDS)
async def test_a_thing_that_another_decision_changed_since_is_left_as_it_is_and_nothing_is_recorded(
    api: Api, name: str
) -> None:
    deed = await DEEDS[name](api)
    before = await decided(api)
    stale = await api.do(deed.who, name, **deed.asked, ifChangedBy=str(uuid4()), idempotencyKey="one wish")
    assert stale.refusal == CONFLICT
    assert await decided(api) == before
    select = f"{deed.noun} {{ changedById }} decision {{ id }}"
    done = await api.done(
        deed.who, name, select, **deed.asked, ifChangedBy=deed.changed_by, idempotencyKey="one wish"
    )  # fmt: skip
    assert done[deed.noun]["changedById"] == done["decision"]["id"] != deed.changed_by


@pytest.mark.parametrize("name", ["setInstitutionStatus", "trustDocuments", "endAgreement", "withdrawOffer"])
async def test_of_eight_who_read_the_same_and_change_it_at_once_exactly_one_does(api: Api, name: str) -> None:
    deed = await DEEDS[name](api)
    before = await decided(api)
    answers = await asyncio.gather(
        *(api.do(deed.who, name, **deed.asked, ifChangedBy=deed.changed_by) for _ in range(8))
    )
    refused = [answer.refusal for answer in answers if "errors" in answer.body]
    assert refused == [CONFLICT] * 7
    assert len(await decided(api)) == len(before) + 1


async def test_of_eight_who_give_a_client_its_first_list_at_once_exactly_one_does(api: Api) -> None:
    await a_client(api)
    before = await decided(api)
    asked = {"clientId": "board", "ifNone": True}
    answers = await asyncio.gather(
        *(api.do("admin", "trustDocuments", **asked, documents=[f"{{ me {{ a{n}: clientId }} }}"]) for n in range(8))
    )
    refused = [answer.refusal for answer in answers if "errors" in answer.body]
    assert refused == [("CONFLICT", "ChangedSince", "input.ifNone")] * 7
    assert len(await decided(api)) == len(before) + 1
    await api.done("admin", "trustDocuments", clientId="board", documents=[])
    late = await api.do("admin", "trustDocuments", **asked, documents=[ME])
    assert late.refusal == ("CONFLICT", "ChangedSince", "input.ifNone")  # an empty list is one, too


async def test_what_was_read_is_either_nothing_or_something(api: Api) -> None:
    await a_client(api)
    asked = {"clientId": "board", "documents": [ME], "ifNone": True, "ifChangedBy": str(uuid4())}
    assert (await api.do("admin", "trustDocuments", **asked)).refusal == ("INVALID", "Invalid", "input.ifNone")


async def test_units_promised_since_are_a_change_of_the_offer(api: Api) -> None:
    transfer = await api.held_transfer()
    select = "{ offers { nodes { id promised changedById } } transfers { nodes { changedById } } }"
    found = await api.ask("giver", select)
    (offer,), (held,) = found["offers"]["nodes"], found["transfers"]["nodes"]
    assert (offer["promised"], offer["changedById"]) == (4, held["changedById"])
    asked = {"offer": offer["id"], "ifChangedBy": offer["changedById"]}
    await api.done("giver", "declineTransfer", transfer=transfer, reason="OWN_NEED_ROSE")
    assert (await api.do("giver", "withdrawOffer", **asked)).refusal == CONFLICT
    (offer,) = (await api.ask("giver", select))["offers"]["nodes"]
    assert offer["promised"] == 0
    await api.done("giver", "withdrawOffer", **(asked | {"ifChangedBy": offer["changedById"]}))


async def test_what_was_read_is_part_of_what_an_idempotency_key_stands_for(api: Api) -> None:
    deed = await an_institution(api)
    asked = deed.asked | {"idempotencyKey": "once"}
    first = await api.done("admin", "setInstitutionStatus", **asked, ifChangedBy=deed.changed_by)
    assert await api.done("admin", "setInstitutionStatus", **asked, ifChangedBy=deed.changed_by) == first
    for other in ({"ifChangedBy": first["decision"]["id"]}, {}):
        refused = await api.do("admin", "setInstitutionStatus", **asked, **other)
        assert refused.refusal == ("CONFLICT", "IdempotencyConflict", "input.idempotencyKey")


async def test_who_may_not_change_a_thing_is_refused_before_it_is_told_whether_it_changed(api: Api) -> None:
    deed = await an_institution(api)
    refused = await api.do("planner", "setInstitutionStatus", **deed.asked, ifChangedBy=str(uuid4()))
    assert refused.refusal[0] == "FORBIDDEN"


async def test_lists_and_single_things_name_the_same_decision_and_it_can_be_looked_up(api: Api) -> None:
    deed = await a_request(api)
    done = await api.done("north", "cancelRequest", "request { id } decision { id }", **deed.asked)
    found = await api.ask("north", """query ($id: UUID!, $decision: UUID!) {
      request(id: $id) { changedById } requests { nodes { changedById } } decision(id: $decision) { kind }
    }""", id=done["request"]["id"], decision=done["decision"]["id"])  # fmt: skip
    expected = {"changedById": done["decision"]["id"]}
    assert (found["request"], found["requests"]["nodes"]) == (expected, [expected])
    assert found["decision"]["kind"] == "request.cancelled"
