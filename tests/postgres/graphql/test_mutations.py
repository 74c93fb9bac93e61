"""Every mutation: what it answers, what it leaves, who may not, and that a wish repeated is one deed."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID

import pytest
from joserfc.jwk import ECKey

if TYPE_CHECKING:
    from tests.postgres.graphql.conftest import Api

BEDS = "bed.adult"
COUNT_OFFERS = "{ offers { nodes { id } } }"


def text(at: Any) -> str:
    return str(at.isoformat()).replace("+00:00", "Z")


async def test_an_admin_takes_an_institution_in(api: Api) -> None:
    made = await api.done(
        "admin", "registerInstitution",
        "institution { id code name kind region latitude equityGroup status registeredAt } decision { id at }",
        code="us-nj-1", name="  Marsupilami Clinic ", kind="CLINIC", region="us-nj", latitude=40.5, longitude=-74.5,
    )  # fmt: skip
    institution = made["institution"]
    assert UUID(institution.pop("id")).version == 7
    assert institution == {
        "code": "us-nj-1", "name": "Marsupilami Clinic", "kind": "CLINIC", "region": "us-nj", "latitude": 40.5,
        "equityGroup": "general", "status": "ACTIVE", "registeredAt": "2026-03-01T12:00:00Z",
    }  # fmt: skip
    assert made["decision"]["at"] == "2026-03-01T12:00:00Z"


async def test_a_suspended_institution_reads_but_does_not_act(api: Api) -> None:
    id = await api.institution("clinic")  # noqa: A001
    changed = await api.done(
        "admin", "setInstitutionStatus", "institution { status }", institution=id, status="SUSPENDED"
    )
    assert changed == {"institution": {"status": "SUSPENDED"}}
    refused = await api.do("clinic", "reportCapacity", reports=[{"resource": BEDS, "asOf": text(api.at), "staffed": 1}])
    assert refused.refusal[0] == "FORBIDDEN"
    assert (await api.ask("clinic", "{ me { clientId institution { code } } }"))["me"] == {
        "clientId": "clinic-client", "institution": {"code": "clinic"},
    }  # fmt: skip


async def test_an_admin_adds_a_line_to_the_catalogue(api: Api) -> None:
    made = await api.done(
        "admin", "defineResource", "resource { code kind unit loanDays }",
        code="ecmo", kind="DEVICE", name="ECMO device", unit="{device}", loanDays=14,
    )  # fmt: skip
    assert made["resource"] == {"code": "ecmo", "kind": "DEVICE", "unit": "{device}", "loanDays": 14}
    found = await api.ask("planner", '{ resource(code: "ecmo") { name } }')
    assert found == {"resource": {"name": "ECMO device"}}


async def test_several_reports_come_at_once_and_a_correction_names_what_it_corrects(api: Api) -> None:
    await api.institution("clinic")
    now = text(api.at)
    made = await api.done(
        "clinic", "reportCapacity",
        "reports { id resource staffed free need marks { measure mark } surge24h resourceLine { name } }",
        reports=[
            {"resource": BEDS, "asOf": now, "staffed": 9, "occupied": 7, "surge24h": 1,
             "marks": [{"measure": "OCCUPIED", "mark": "IMPUTED"}]},
            {"resource": "ventilator", "asOf": now, "staffed": 2},
        ],
    )  # fmt: skip
    first, second = made["reports"]
    wrong = first.pop("id")
    assert first == {
        "resource": BEDS, "staffed": 9, "free": 2, "need": 7, "surge24h": 1,
        "resourceLine": {"name": "Adult inpatient bed"},
        "marks": [{"measure": "OCCUPIED", "mark": "IMPUTED"}],
    }  # fmt: skip
    assert (second["staffed"], second["free"], second["need"], second["marks"]) == (2, None, None, [])
    again = await api.done(
        "clinic", "reportCapacity", "reports { correctsId corrects { id staffed } }",
        reports=[{"resource": BEDS, "asOf": now, "staffed": 8, "occupied": 7, "corrects": wrong}],
    )  # fmt: skip
    assert again["reports"] == [{"correctsId": wrong, "corrects": {"id": wrong, "staffed": 9}}]


async def test_of_reports_sent_together_one_that_is_wrong_keeps_all_out(api: Api) -> None:
    await api.institution("clinic")
    refused = await api.do("clinic", "reportCapacity", reports=[
        {"resource": BEDS, "asOf": text(api.at), "staffed": 9},
        {"resource": BEDS, "asOf": text(api.at), "staffed": 9, "occupied": 10},
    ])  # fmt: skip
    assert refused.refusal == ("INVALID", "Invalid", "input.reports.1.occupied")
    assert (await api.ask("clinic", "{ capacityReports { nodes { id } } }"))["capacityReports"]["nodes"] == []


async def test_an_offer_is_published_and_withdrawn(api: Api) -> None:
    id = await api.institution("clinic")  # noqa: A001
    await api.report("clinic", staffed=20, occupied=5)
    made = await api.done(
        "clinic", "publishOffer", "offer { id institutionId institution { code } quantity remaining status lot }",
        **api.pledge_of(6, minimumKept=2),
    )  # fmt: skip
    offer = made["offer"].pop("id")
    assert made["offer"] == {
        "institutionId": id, "institution": {"code": "clinic"}, "quantity": 6, "remaining": 6, "status": "OPEN",
        "lot": "",
    }  # fmt: skip
    gone = await api.done("clinic", "withdrawOffer", "offer { id status remaining }", offer=offer)
    assert gone["offer"] == {"id": offer, "status": "WITHDRAWN", "remaining": 0}


async def test_a_request_is_opened_and_cancelled(api: Api) -> None:
    await api.institution("clinic")
    made = await api.done(
        "clinic", "openRequest", "request { id requested approved fulfilled status reason note remainderOf { id } }",
        **api.need_of(4),
    )  # fmt: skip
    request = made["request"].pop("id")
    assert made["request"] == {
        "requested": 4, "approved": 0, "fulfilled": 0, "status": "OPEN", "reason": "SURGE", "note": "",
        "remainderOf": None,
    }  # fmt: skip
    gone = await api.done("clinic", "cancelRequest", "request { status }", request=request)
    assert gone["request"]["status"] == "CANCELLED"


async def test_a_transfer_goes_from_held_to_received_step_by_step(api: Api) -> None:
    transfer = await api.held_transfer()
    for who, name, state in (
        ("giver", "confirmTransfer", "CONFIRMED"),
        ("giver", "dispatchTransfer", "DISPATCHED"),
        ("receiver", "receiveTransfer", "RECEIVED"),
        ("receiver", "returnTransfer", "RETURNED"),
    ):
        api.at += timedelta(hours=1)
        assert (await api.done(who, name, "transfer { state }", transfer=transfer))["transfer"]["state"] == state
    found = await api.ask("receiver", "query ($id: UUID!) { transfer(id: $id) { steps { state at } } }", id=transfer)
    assert [step["state"] for step in found["transfer"]["steps"]] == [
        "PROPOSED", "HELD", "CONFIRMED", "DISPATCHED", "RECEIVED", "RETURNED",
    ]  # fmt: skip


async def test_a_declined_transfer_says_why_and_the_need_lives_on(api: Api) -> None:
    transfer = await api.held_transfer()
    declined = await api.done(
        "giver", "declineTransfer", "transfer { state declineReason }", transfer=transfer, reason="OWN_NEED_ROSE"
    )
    assert declined["transfer"] == {"state": "DECLINED", "declineReason": "OWN_NEED_ROSE"}
    found = await api.ask("receiver", "{ requests(status: OPEN) { nodes { requested remainderOf { status } } } }")
    assert found["requests"]["nodes"] == [{"requested": 4, "remainderOf": {"status": "SUPERSEDED"}}]


@pytest.mark.parametrize(
    ("name", "asked", "key"),
    [
        ("startForecast", {"resource": BEDS}, BEDS),
        ("startAllocation", {"region": "us-nj", "resource": BEDS}, f"us-nj/{BEDS}"),
    ],
)
async def test_an_allocator_starts_a_run_and_sees_it_wait(
    api: Api, name: str, asked: dict[str, str], key: str
) -> None:
    made = await api.done("planner", name, "key", **asked)
    assert made["key"] == key
    found = await api.ask("planner", "{ jobsUnderway { name status payload } jobsSetAside { id } }")
    (job,) = found["jobsUnderway"]
    assert job["name"] == {"startForecast": "forecast", "startAllocation": "allocate"}[name]
    assert job["status"] == "QUEUED"
    assert job["payload"]["resource"] == BEDS
    assert found["jobsSetAside"] == []


async def test_a_job_that_is_not_set_aside_cannot_be_requeued(api: Api) -> None:
    assert (await api.do("admin", "requeueJob", job="7")).refusal[0] == "NOT_FOUND"
    assert (await api.do("admin", "requeueJob", job="seven")).refusal == ("INVALID", "Invalid", "input.job")
    assert (await api.do("admin", "requeueJob", job="9" * 19)).refusal == ("INVALID", "Invalid", "input.job")


def a_key() -> dict[str, Any]:
    key = ECKey.generate_key("P-384")
    return {"keys": [key.as_dict(private=False, kid="first", use="sig", alg="ES384")]}


async def test_a_client_is_registered_and_disabled(api: Api) -> None:
    id = await api.institution("clinic")  # noqa: A001
    made = await api.done(
        "admin", "registerClient",
        "client { clientId roles scopes status institution { code } expiresAt keys { kid alg thumbprint } }",
        clientId="clinic-bot", name="bot", roles=["INSTITUTION"], scopes=["system/Offer.cruds"], jwks=a_key(),
        institution=id,
    )  # fmt: skip
    (key,) = made["client"].pop("keys")
    assert (key["kid"], key["alg"]) == ("first", "ES384")
    assert made["client"] == {
        "clientId": "clinic-bot", "roles": ["INSTITUTION"], "scopes": ["system/Offer.cruds"], "status": "ACTIVE",
        "institution": {"code": "clinic"}, "expiresAt": None,
    }  # fmt: skip
    gone = await api.done("admin", "disableClient", "client { status }", clientId="clinic-bot")
    assert gone["client"]["status"] == "DISABLED"
    assert (await api.do("admin", "disableClient", clientId="clinic-bot")).refusal[0] == "CONFLICT"


async def test_a_registration_with_keys_that_are_none_names_what_is_wrong(api: Api) -> None:
    usual = {"name": "bot", "roles": ["REGULATOR"], "scopes": ["system/*.rs"]}
    for jwks, field in (({}, "input.jwks"), ([], "input.jwks"), ({"keys": [{"kty": "oct"}]}, "input.jwks.keys.0")):
        assert (await api.do("admin", "registerClient", **usual, jwks=jwks)).refusal == ("INVALID", "Invalid", field)


#: Every mutation, somebody the policies do not permit it, and an input that is well-formed.
NOT_FOR = {
    "registerInstitution": ("planner", {"code": "x", "name": "x", "kind": "CLINIC", "region": "us-nj"}),
    "setInstitutionStatus": ("clinic", {"institution": "{own}", "status": "ACTIVE"}),
    "defineResource": ("clinic", {"code": "x", "kind": "PLACE", "name": "x", "unit": "{bed}"}),
    "reportCapacity": ("admin", {"institution": "{own}",
                                 "reports": [{"resource": BEDS, "asOf": "{now}", "staffed": 1}]}),
    "publishOffer": ("planner", {"institution": "{own}", "resource": BEDS, "quantity": 1, "availableFrom": "{now}",
                                 "availableUntil": "{later}"}),
    "withdrawOffer": ("other", {"offer": "{offer}"}),
    "openRequest": ("regulator", {"institution": "{own}", "resource": BEDS, "quantity": 1, "urgency": 1,
                                  "neededBy": "{now}", "neededUntil": "{later}", "reason": "SURGE"}),
    "cancelRequest": ("other", {"request": "{request}"}),
    "chooseFairness": ("clinic", {"region": "us-nj", "resource": BEDS}),
    "startForecast": ("clinic", {"resource": BEDS}),
    "startAllocation": ("admin", {"region": "us-nj", "resource": BEDS}),
    "requeueJob": ("planner", {"job": "1"}),
    "registerClient": ("clinic", {"name": "x", "roles": ["ADMIN"], "scopes": ["system/*.rs"], "jwks": {}}),
    "disableClient": ("clinic", {"clientId": "someone"}),
}  # fmt: skip


@pytest.mark.parametrize("name", NOT_FOR)
async def test_whom_the_policies_do_not_permit_is_refused_on_record(api: Api, name: str) -> None:
    own = await api.institution("clinic")
    await api.institution("other")
    await api.report("clinic", staffed=20, occupied=5)
    offer = (await api.done("clinic", "publishOffer", "offer { id }", **api.pledge_of(1)))["offer"]["id"]
    request = (await api.done("clinic", "openRequest", "request { id }", **api.need_of(1)))["request"]["id"]
    who, asked = NOT_FOR[name]
    known = {
        "{own}": own, "{offer}": offer, "{request}": request, "{now}": text(api.at),
        "{later}": text(api.at + timedelta(days=1)),
    }  # fmt: skip

    def filled(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: filled(inner) for key, inner in value.items()}
        if isinstance(value, list):
            return [filled(inner) for inner in value]
        return known.get(value, value) if isinstance(value, str) else value

    refused = await api.do(who, name, **filled(asked))
    assert refused.refusal[:2] == ("FORBIDDEN", "Forbidden")
    assert "is refused" in refused.error["message"]
    on_record = await api.ask("regulator", '{ decisions(kind: "access.refused") { nodes { actor action } } }')
    action = {"startForecast": "startJob", "startAllocation": "startJob", "setInstitutionStatus": "updateInstitution"}
    assert on_record["decisions"]["nodes"][0] == {
        "actor": api.callers[who].principal, "action": action.get(name, name),
    }  # fmt: skip


@pytest.mark.parametrize("name", ["confirmTransfer", "declineTransfer", "dispatchTransfer", "receiveTransfer"])
async def test_a_step_belongs_to_the_party_that_knows_it(api: Api, name: str) -> None:
    transfer = await api.held_transfer()
    wrong = "giver" if name == "receiveTransfer" else "receiver"
    asked = {"transfer": transfer} | ({"reason": "OWN_NEED_ROSE"} if name == "declineTransfer" else {})
    assert (await api.do(wrong, name, **asked)).refusal[0] == "FORBIDDEN"


async def test_a_step_out_of_turn_is_a_conflict_that_says_where_the_transfer_stands(api: Api) -> None:
    transfer = await api.held_transfer()
    refused = await api.do("giver", "dispatchTransfer", transfer=transfer)
    assert refused.refusal[:2] == ("CONFLICT", "WrongStep")
    assert "held" in refused.error["message"]
    api.at += timedelta(hours=25)
    assert (await api.do("giver", "confirmTransfer", transfer=transfer)).refusal[:2] == ("CONFLICT", "HoldExpired")


async def test_unknown_things_are_not_found_under_the_name_of_their_field(api: Api) -> None:
    await api.institution("clinic")
    nothing = "0197e6f2-6f0c-7c3e-9f0a-1b2c3d4e5f60"
    for name, asked, field in (
        ("withdrawOffer", {"offer": nothing}, "input.offer"),
        ("cancelRequest", {"request": nothing}, "input.request"),
        ("confirmTransfer", {"transfer": nothing}, "input.transfer"),
        ("publishOffer", api.pledge_of(1, resource="no.such"), "input.resource"),
        ("openRequest", api.need_of(1, resource="no.such"), "input.resource"),
    ):
        assert (await api.do("clinic", name, **asked)).refusal == ("NOT_FOUND", "NotFound", field), name


async def test_the_field_at_fault_is_named_as_the_client_wrote_it(api: Api) -> None:
    await api.institution("clinic")
    await api.report("clinic", staffed=20, occupied=5)
    for name, asked, field in (
        ("publishOffer", api.pledge_of(0), "input.quantity"),
        ("publishOffer", api.pledge_of(1, minimumKept=-1), "input.minimumKept"),
        ("publishOffer", api.pledge_of(1, availableUntil=text(api.at - timedelta(1))), "input.availableUntil"),
        ("publishOffer", api.pledge_of(1, lot="A1"), "input.lot"),
        ("openRequest", api.need_of(1, urgency=6), "input.urgency"),
        ("openRequest", api.need_of(1, neededBy=text(api.at + timedelta(days=400))), "input.neededUntil"),
        ("openRequest", api.need_of(1, resource="NOT A CODE"), "input.resource"),
        ("reportCapacity", {"reports": []}, "input.reports"),
    ):
        refused = await api.do("clinic", name, **asked)
        assert refused.refusal[0] in ("INVALID", "NOT_FOUND"), (name, asked)
        assert refused.refusal[2] == field


async def test_more_than_is_free_cannot_be_pledged(api: Api) -> None:
    await api.institution("clinic")
    assert (await api.do("clinic", "publishOffer", **api.pledge_of(1))).refusal == (
        "CONFLICT", "Conflict", "input.resource",
    )  # fmt: skip
    await api.report("clinic", staffed=20, occupied=15)
    assert (await api.do("clinic", "publishOffer", **api.pledge_of(6))).refusal == (
        "CONFLICT", "Conflict", "input.quantity",
    )  # fmt: skip


async def test_the_same_key_and_input_get_the_same_answer_and_one_deed(api: Api) -> None:
    await api.institution("clinic")
    await api.report("clinic", staffed=20, occupied=5)
    select = "offer { id institution { code } quantity availableFrom status publishedAt } decision { id at }"
    wish = api.pledge_of(6, idempotencyKey="once")
    first = await api.done("clinic", "publishOffer", select, **wish)
    api.at += timedelta(hours=1)  # the answer is the one that was given, not a new one that is alike
    same_moment = wish | {"availableFrom": wish["availableFrom"].replace("12:00:00Z", "14:00:00.000+02:00")}
    assert await api.done("clinic", "publishOffer", select, **wish) == first
    assert await api.done("clinic", "publishOffer", select, **same_moment) == first
    assert len((await api.ask("clinic", COUNT_OFFERS))["offers"]["nodes"]) == 1


async def test_a_key_that_was_used_for_something_else_is_a_conflict(api: Api) -> None:
    await api.institution("clinic")
    await api.report("clinic", staffed=20, occupied=5)
    await api.done("clinic", "publishOffer", **api.pledge_of(6, idempotencyKey="once"))
    for name, asked in (("publishOffer", api.pledge_of(7)), ("openRequest", api.need_of(6))):
        refused = await api.do("clinic", name, **asked, idempotencyKey="once")
        assert refused.refusal == ("CONFLICT", "IdempotencyConflict", "input.idempotencyKey")
    assert len((await api.ask("clinic", COUNT_OFFERS))["offers"]["nodes"]) == 1


async def test_keys_of_different_clients_do_not_meet(api: Api) -> None:
    for code in ("clinic", "other"):
        await api.institution(code)
        await api.report(code, staffed=20, occupied=5)
        await api.done(code, "publishOffer", **api.pledge_of(6, idempotencyKey="once"))
    assert len((await api.ask("clinic", COUNT_OFFERS))["offers"]["nodes"]) == 2


async def test_of_eight_at_once_with_one_key_one_works_and_all_get_its_answer(api: Api) -> None:
    await api.institution("clinic")
    await api.report("clinic", staffed=20, occupied=5)
    wish = api.pledge_of(3, idempotencyKey="at once")
    answers = await asyncio.gather(
        *(api.done("clinic", "publishOffer", "offer { id } decision { id }", **wish) for _ in range(8))
    )
    assert all(answer == answers[0] for answer in answers)
    assert len((await api.ask("clinic", COUNT_OFFERS))["offers"]["nodes"]) == 1
    recorded = await api.ask("regulator", '{ decisions(kind: "offer.published") { nodes { id } } }')
    assert len(recorded["decisions"]["nodes"]) == 1


async def test_a_wish_that_was_refused_may_be_made_again_with_its_key(api: Api) -> None:
    await api.institution("clinic")
    wish = api.pledge_of(6, idempotencyKey="once")
    assert (await api.do("clinic", "publishOffer", **wish)).refusal[0] == "CONFLICT"
    await api.report("clinic", staffed=20, occupied=5)
    assert (await api.done("clinic", "publishOffer", "offer { quantity }", **wish))["offer"]["quantity"] == 6


@pytest.mark.parametrize("key", ["", " ", "x" * 201, "a\0b", "line\nbreak"])
async def test_an_idempotency_key_is_1_to_200_plain_characters(api: Api, key: str) -> None:
    await api.institution("clinic")
    refused = await api.do("clinic", "openRequest", **api.need_of(1), idempotencyKey=key)
    assert refused.refusal == ("INVALID", "Invalid", "input.idempotencyKey")


@pytest.mark.parametrize("name", ["registerInstitution", "setInstitutionStatus", "defineResource", "reportCapacity",
                                  "openRequest", "chooseFairness", "startForecast", "registerClient"])  # fmt: skip
async def test_every_noun_repeats_its_answer(api: Api, name: str) -> None:
    own = await api.institution("clinic")
    wishes: dict[str, tuple[str, str, dict[str, Any]]] = {
        "registerInstitution": ("admin", "institution { id kind registeredAt }",
                                {"code": "x", "name": "x", "kind": "CLINIC", "region": "us-nj"}),
        "setInstitutionStatus": ("admin", "institution { id status }", {"institution": own, "status": "SUSPENDED"}),
        "defineResource": ("admin", "resource { code kind }",
                           {"code": "x", "kind": "PLACE", "name": "x", "unit": "{bed}"}),
        "reportCapacity": ("clinic", "reports { id asOf marks { measure mark } }",
                           {"reports": [{"resource": BEDS, "asOf": text(api.at), "staffed": 1,
                                         "marks": [{"measure": "STAFFED", "mark": "IMPUTED"}]}]}),
        "openRequest": ("clinic", "request { id reason neededBy }", api.need_of(2)),
        "chooseFairness": ("planner", "choice { id fairness { rule urgencyWeights } reserves { institutionIds } }",
                           {"region": "us-nj", "resource": BEDS, "rule": "LEXIMIN",
                            "reserves": [{"category": "rural", "share": 100, "institutions": [own]}]}),
        "startForecast": ("planner", "key", {"resource": BEDS}),
        "registerClient": ("admin", "client { clientId roles keys { thumbprint } createdAt }",
                           {"name": "x", "roles": ["REGULATOR"], "scopes": ["system/*.rs"], "jwks": a_key()}),
    }  # fmt: skip
    who, select, asked = wishes[name]
    asked = asked | {"idempotencyKey": "once"}
    first = await api.done(who, name, select + " decision { id at }", **asked)
    api.at += timedelta(hours=1)
    assert await api.done(who, name, select + " decision { id at }", **asked) == first


async def test_a_step_repeated_with_its_key_is_taken_once(api: Api) -> None:
    transfer = await api.held_transfer()
    asked = {"transfer": transfer, "idempotencyKey": "once"}
    first = await api.done("giver", "confirmTransfer", "transfer { state changedAt } decision { id }", **asked)
    api.at += timedelta(hours=30)  # the hold is long over; the step was taken all the same
    assert await api.done("giver", "confirmTransfer", "transfer { state changedAt } decision { id }", **asked) == first
