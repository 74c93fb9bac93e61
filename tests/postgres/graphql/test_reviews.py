"""Why somebody was refused, who can do what, and the review of all access: each is asked over the API and on record."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import UUID

import asyncpg
import pytest
from tests.postgres.graphql.conftest import NOON, Api, _caller, text

from sharewell.client import Credential
from sharewell.domain.errors import Forbidden
from sharewell.domain.policy import Action, Target
from sharewell.domain.principals import Role
from sharewell.services.access import about_a_credential

WHY = """
query ($id: UUID!) {
  whyRefused(decision: $id) {
    action scope allowedNow policies { id } permitting { id } wouldChange { facts }
  }
}"""
WHO = """
query ($action: String!, $owner: UUID, $first: Int! = 50, $after: String) {
  whoCan(action: $action, owner: $owner, first: $first, after: $after) {
    nodes { holder id through policies } pageInfo { hasNextPage endCursor }
  }
}"""
WHO_BETWEEN = """
query ($action: String!, $giver: UUID) { whoCan(action: $action, giver: $giver) { nodes { holder id } } }
"""
WHAT = "query ($client: String!) { whatCan(clientId: $client) { action reach policies } }"
REVIEW = """
query ($at: DateTime, $days: Int! = 90, $first: Int! = 50, $after: String) {
  accessReview(at: $at, dormantDays: $days, first: $first, after: $after) {
    nodes { holder id roles jurisdiction state dormant createdBy lastEntry permitted { action reach } }
    pageInfo { hasNextPage endCursor }
  }
}"""
REFUSED = """
query ($actor: String!) { decisions(kind: "access.refused", actor: $actor, first: 1) { nodes { id } } }
"""
OTHERS_REQUESTS = "query ($i: UUID) { requests(institution: $i) { nodes { id } } }"


async def registered(api: Api, client_id: str, roles: list[str], institution: str | None = None, **more: Any) -> None:
    key = Credential.generate("http://127.0.0.1", client_id, ("system/*.cruds",)).public_jwks
    usual = {"name": client_id, "scopes": ["system/*.cruds"], "jwks": key, "institution": institution}
    await api.done("admin", "registerClient", clientId=client_id, roles=roles, **(usual | more))


async def refused(api: Api, who: str, query: str, **variables: Any) -> str:
    """The decision that refuses it."""
    assert (await api.send(who, query, variables)).refusal[0] == "FORBIDDEN"
    actor = api.callers[who].principal
    id: str = (await api.ask("regulator", REFUSED, actor=actor))["decisions"]["nodes"][0]["id"]  # noqa: A001
    return id


async def explained(api: Api, who: str, id: str) -> dict[str, Any]:  # noqa: A002
    found: dict[str, Any] = (await api.ask(who, WHY, id=id))["whyRefused"]
    return found


def facts(found: dict[str, Any]) -> set[str]:
    return {" + ".join(change["facts"]) for change in found["wouldChange"]}


# --- why refused --------------------------------------------------------------------------------------------------


async def test_a_refusal_is_explained_by_what_would_lift_it_and_that_really_does(api: Api) -> None:
    await api.institution("north")
    south = await api.institution("south")
    id = await refused(api, "north", OTHERS_REQUESTS, i=south)  # noqa: A001
    found = await explained(api, "north", id)
    assert (found["policies"], found["scope"], found["allowedNow"]) == ([], "Request.s", False)
    assert "ask-for-own-need" in {policy["id"] for policy in found["permitting"]}
    assert facts(found) >= {"the role allocator", "the role regulator", "acting for the institution that it belongs to"}
    assert "the role admin" not in facts(found)
    for role in (Role.ALLOCATOR, Role.REGULATOR):
        north = api.callers["north"]
        api.callers["changed"] = replace(north, principal=f"changed-{role}", roles=north.roles | {role})
        await api.ask("changed", OTHERS_REQUESTS, i=south)


async def test_a_missing_scope_is_named_and_two_facts_are_where_none_alone_helps(api: Api) -> None:
    north = UUID(await api.institution("north"))
    narrow = replace(api.callers["north"], principal="narrow", scopes=frozenset({"system/Decision.r"}))
    sensor = replace(narrow, principal="sensor", roles=frozenset({Role.DEVICE}))
    api.callers |= {"narrow": narrow, "sensor": sensor}
    found = await explained(api, "narrow", await refused(api, "narrow", OTHERS_REQUESTS, i=str(north)))
    assert [policy["id"] for policy in found["policies"]] == ["scope-covers-the-act"]
    assert facts(found) >= {"a token with the scope system/Request.s"}
    found = await explained(api, "sensor", await refused(api, "sensor", OTHERS_REQUESTS, i=str(north)))
    assert "a token with the scope system/Request.s + the role institution" in facts(found)


async def test_a_suspended_institution_hears_that_its_standing_is_it(api: Api) -> None:
    north = await api.institution("north")
    await api.done("admin", "setInstitutionStatus", institution=north, status="SUSPENDED")
    assert (await api.do("north", "publishOffer", **api.pledge_of(1))).refusal[0] == "FORBIDDEN"
    id = (await api.ask("regulator", REFUSED, actor="north-client"))["decisions"]["nodes"][0]["id"]  # noqa: A001
    found = await explained(api, "north", id)
    assert [policy["id"] for policy in found["policies"]] == ["suspended-changes-nothing"]
    assert "an institution that is active" in facts(found)


async def test_only_the_refused_and_the_entitled_are_told_why(api: Api) -> None:
    await api.institution("north")
    south = await api.institution("south")
    id = await refused(api, "north", OTHERS_REQUESTS, i=south)  # noqa: A001
    api.callers["auditor"] = _caller("auditor", Role.AUDITOR)
    for who in ("admin", "regulator", "auditor", "north"):
        await explained(api, who, id)
    for who in ("south", "planner", "nobody"):
        assert (await api.send(who, WHY, {"id": id})).refusal[0] == "FORBIDDEN"
    own = await refused(api, "planner", REVIEW)
    assert (await explained(api, "planner", own))["action"] == "reviewAccess"
    told = await api.ask("regulator", '{ decisions(kind: "access.explained") { nodes { actor subjectId } } }')
    assert {node["actor"] for node in told["decisions"]["nodes"]} == {
        "admin", "regulator", "auditor", "north-client", "planner",
    }  # fmt: skip


async def test_what_only_a_process_does_is_told_so(api: Api) -> None:
    planner = api.callers["planner"]
    with pytest.raises(Forbidden):
        await api.people.office.allow(planner, Action.SEAL_LOG, Target(kind="log", id="log"))
    id = (await api.ask("regulator", REFUSED, actor="planner"))["decisions"]["nodes"][0]["id"]  # noqa: A001
    found = await explained(api, "planner", id)
    assert facts(found) == {"being the platform's own process seal, which nobody from outside is"}


async def test_what_was_allowed_needs_no_reason(api: Api) -> None:
    await api.institution("north")
    made = await api.ask("regulator", '{ decisions(kind: "institution.registered") { nodes { id } } }')
    answer = await api.send("admin", WHY, {"id": made["decisions"]["nodes"][0]["id"]})
    assert answer.refusal == ("INVALID", "Invalid", "decision")


# --- who can, what can --------------------------------------------------------------------------------------------


async def test_who_can_do_it_are_those_whom_the_policies_permit_it(api: Api) -> None:
    north = await api.institution("north")
    await registered(api, "north-system", ["INSTITUTION"], north)
    await registered(api, "north-sensor", ["DEVICE"], north)
    await registered(api, "dashboard", ["INSTITUTION"], north, scopes=["system/*.rs"])
    await registered(api, "gone", ["INSTITUTION"], north)
    await api.done("admin", "disableClient", clientId="gone")
    of_people = {"scopes": ["user/Offer.cruds"], "redirectUris": ["https://app.example/cb"], "jwks": None}
    await registered(api, "app", ["INSTITUTION"], None, **of_people)
    found = (await api.ask("admin", WHO, action="publishOffer", owner=north))["whoCan"]["nodes"]
    assert [(one["holder"], one["id"]) for one in found] == [("CLIENT", "north-system")]
    assert found[0]["policies"] == ["pledge-own-units"]
    made = await api.done(
        "admin", "registerPerson", "person { id }", login="someone", name="Someone", roles=["INSTITUTION"],
        institution=north,
    )  # fmt: skip
    assert len((await api.ask("admin", WHO, action="publishOffer", owner=north))["whoCan"]["nodes"]) == 1
    await enrolled(api, made["person"]["id"])
    people = (await api.ask("admin", WHO, action="publishOffer", owner=north))["whoCan"]["nodes"]
    assert people[1] == {
        "holder": "PERSON", "id": made["person"]["id"], "through": "app", "policies": ["pledge-own-units"],
    }  # fmt: skip
    sealed = (await api.ask("admin", WHO, action="sealLog"))["whoCan"]["nodes"]
    assert [(one["holder"], one["id"]) for one in sealed] == [("PROCESS", "seal")]


async def enrolled(api: Api, id: str) -> None:  # noqa: A002
    """Let the person sign in, as if password and second factor had been set."""
    async with api.people.database.transaction() as tx:
        await tx.audit.record(about_a_credential(
            "person.enrolled", "enrol", at=api.at, actor=f"person/{id}", subject=("person", id), details={},
            request_id="r",
        ))  # fmt: skip
        await tx.conn.execute(
            "update oauth.person set status = 'active', password_hash = '$argon2id$x', totp_secret = 'x',"
            " invitation_hash = null where id = $1", UUID(id),
        )  # fmt: skip


async def test_who_can_is_paged_through_processes_clients_and_people(api: Api) -> None:
    for number in range(3):
        await registered(api, f"planner-{number}", ["ALLOCATOR"])
    after, seen = None, []
    while True:
        page = (await api.ask("admin", WHO, action="viewOffer", first=2, after=after))["whoCan"]
        seen += [one["id"] for one in page["nodes"]]
        if not page["pageInfo"]["hasNextPage"]:
            break
        after = page["pageInfo"]["endCursor"]
    assert seen == [
        "allocate", "expire", "forecast", "ingest", "reconcile", "retain", "seal",
        "planner-0", "planner-1", "planner-2",
    ]  # fmt: skip


async def test_what_a_client_can_do_is_what_the_table_says_of_its_role(api: Api) -> None:
    north = await api.institution("north")
    await registered(api, "north-sensor", ["DEVICE"], north)
    await registered(api, "north-system", ["INSTITUTION"], north)
    sensor = {(a["action"], a["reach"]) for a in (await api.ask("admin", WHAT, client="north-sensor"))["whatCan"]}
    assert sensor == {("reportCapacity", "OWN"), ("explainOwnRefusal", "ALL")}
    system = {(a["action"], a["reach"]) for a in (await api.ask("north", WHAT, client="north-system"))["whatCan"]}
    assert {("publishOffer", "OWN"), ("viewOffer", "ALL"), ("confirmTransfer", "GIVER"),
            ("receiveTransfer", "RECEIVER"), ("viewRequest", "OWN")} <= system  # fmt: skip
    await api.done("admin", "disableClient", clientId="north-sensor")
    assert (await api.ask("admin", WHAT, client="north-sensor"))["whatCan"] == []
    await api.institution("south")
    assert (await api.send("south", WHAT, {"client": "north-system"})).refusal[0] == "FORBIDDEN"


async def test_a_regulator_of_some_regions_can_do_there_what_it_can_do_nowhere_else(api: Api) -> None:
    north, far = await api.institution("north"), await api.institution("far", region="elsewhere")
    await registered(api, "regional", ["REGULATOR"], jurisdiction=["us-nj", "nowhere"])
    await registered(api, "national", ["REGULATOR"])
    for owner, able in ((north, {"national", "regional"}), (far, {"national"})):
        found = (await api.ask("admin", WHO, action="viewRequest", owner=owner))["whoCan"]["nodes"]
        assert {one["id"] for one in found if one["holder"] == "CLIENT"} == able
    for giver, able in ((north, {"national", "regional"}), (far, {"national"})):
        found = (await api.ask("admin", WHO_BETWEEN, action="viewAgreement", giver=giver))["whoCan"]["nodes"]
        assert {one["id"] for one in found if one["holder"] == "CLIENT"} == able
    regional = {(a["action"], a["reach"]) for a in (await api.ask("admin", WHAT, client="regional"))["whatCan"]}
    assert {("viewRequest", "REGIONS"), ("viewTransfer", "REGIONS"), ("viewInstitution", "ALL")} <= regional
    national = {(a["action"], a["reach"]) for a in (await api.ask("admin", WHAT, client="national"))["whatCan"]}
    assert {action for action, _ in regional} == {action for action, _ in national}
    assert {reach for _, reach in national} == {"ALL"}
    lines = (await api.ask("admin", REVIEW))["accessReview"]["nodes"]
    assert {line["id"]: line["jurisdiction"] for line in lines} == {"national": [], "regional": ["nowhere", "us-nj"]}


@pytest.mark.parametrize("names", [("a-board", "b-desk"), ("b-board", "a-desk")])
async def test_a_person_can_do_what_any_of_its_apps_lets_it_do(api: Api, names: tuple[str, str]) -> None:
    app = {"scopes": ["user/*.cruds"], "redirectUris": ["https://app.example/cb"], "jwks": None}
    board, desk = names
    made = await api.done(
        "admin", "registerPerson", "person { id }", login="reg", name="Reg", roles=["REGULATOR"], jurisdiction=["us-nj"]
    )
    await enrolled(api, made["person"]["id"])
    lines = []
    for name, role in ((desk, "REGULATOR"), (board, "INSTITUTION")):
        await registered(api, name, [role], None, **app)
        lines += [one for one in (await api.ask("admin", REVIEW))["accessReview"]["nodes"] if one["holder"] == "PERSON"]
    through_desk, through_both = ({(can["action"], can["reach"]) for can in line["permitted"]} for line in lines)
    assert ("viewTransfer", "REGIONS") in through_desk
    assert through_desk <= through_both


async def test_a_regulator_hears_that_its_regions_are_why_and_that_really_is_so(api: Api) -> None:
    far = await api.institution("far", region="elsewhere")
    regional = replace(api.callers["regulator"], principal="regional", jurisdiction=frozenset({"us-nj"}))
    api.callers["regional"] = regional
    found = await explained(api, "admin", await refused(api, "regional", OTHERS_REQUESTS, i=far))
    assert {"a registration for the region elsewhere, too", "a registration for all regions"} <= facts(found)
    for jurisdiction in ({"us-nj", "elsewhere"}, set[str]()):
        api.callers["changed"] = replace(regional, principal="changed", jurisdiction=frozenset(jurisdiction))
        await api.ask("changed", OTHERS_REQUESTS, i=far)


async def test_whom_an_agreement_shows_numbers_is_among_those_who_can_see_them(api: Api) -> None:
    north, south, east = [await api.institution(name) for name in ("north", "south", "east")]
    for name, institution in (("north", north), ("south", south), ("east", east)):
        await registered(api, f"{name}-system", ["INSTITUTION"], institution)
    for detail, receiver in (("COUNTS", south), ("FORECASTS", east)):
        made = await api.done(
            "north", "proposeAgreement", "agreement { id }", receiver=receiver, detail=detail,
            until=text(NOON + timedelta(days=9)),
        )  # fmt: skip
        who = "south" if receiver == south else "east"
        await api.done(who, "acceptAgreement", agreement=made["agreement"]["id"])
    for action, able in (
        ("viewExactCapacity", {"north-system", "south-system", "east-system"}),
        ("viewForecast", {"north-system", "east-system"}),
    ):
        found = (await api.ask("admin", WHO, action=action, owner=north))["whoCan"]["nodes"]
        assert {one["id"] for one in found if one["holder"] == "CLIENT"} == able
        found = (await api.ask("admin", WHO, action=action, owner=south))["whoCan"]["nodes"]
        assert {one["id"] for one in found if one["holder"] == "CLIENT"} == {"south-system"}
    what = {(a["action"], a["reach"]) for a in (await api.ask("admin", WHAT, client="south-system"))["whatCan"]}
    assert {("viewExactCapacity", "OWN"), ("viewExactCapacity", "SHARED"), ("proposeAgreement", "GIVER"),
            ("acceptAgreement", "RECEIVER")} <= what  # fmt: skip


@pytest.mark.parametrize(
    ("asked", "field"),
    [({"action": "fly"}, "action"), ({"action": "confirmTransfer", "owner": str(UUID(int=1))}, "owner")],
)
async def test_who_can_asks_for_an_act_that_there_is(api: Api, asked: dict[str, str], field: str) -> None:
    assert (await api.send("admin", WHO, asked)).refusal == ("INVALID", "Invalid", field)


# --- the review ---------------------------------------------------------------------------------------------------


async def test_a_review_lists_everybody_with_what_each_can_do_and_who_lies_idle(api: Api) -> None:
    north = await api.institution("north")
    await registered(api, "north-client", ["INSTITUTION"], north)
    await registered(api, "north-idle", ["DEVICE"], north)
    await registered(api, "north-short", ["DEVICE"], north, expiresAt=text(NOON + timedelta(days=1)))
    await api.done("admin", "registerPerson", login="someone", name="Someone", roles=["AUDITOR"])
    api.at = NOON + timedelta(days=100)
    await registered(api, "north-new", ["DEVICE"], north)
    await api.report("north", staffed=20, occupied=5)
    found = (await api.ask("admin", REVIEW))["accessReview"]["nodes"]
    assert [(row["id"], row["state"], row["dormant"]) for row in found[:4]] == [
        ("north-client", "ACTIVE", False), ("north-idle", "ACTIVE", True), ("north-new", "ACTIVE", False),
        ("north-short", "EXPIRED", False),
    ]  # fmt: skip
    assert (found[4]["holder"], found[4]["state"], found[4]["permitted"]) == ("PERSON", "INVITED", [])
    assert {row["createdBy"] for row in found} == {"admin"}
    assert found[0]["lastEntry"].startswith("2026-06-09")
    assert {"action": "reportCapacity", "reach": "OWN"} in found[1]["permitted"]


async def test_a_review_of_an_earlier_day_tells_what_was_so_then(api: Api) -> None:
    north = await api.institution("north")
    await registered(api, "first", ["DEVICE"], north)
    api.at = NOON + timedelta(days=10)
    await registered(api, "second", ["DEVICE"], north)
    await api.done("admin", "disableClient", clientId="first")
    then = (await api.ask("admin", REVIEW, at=text(NOON + timedelta(days=5))))["accessReview"]["nodes"]
    assert [(row["id"], row["state"]) for row in then] == [("first", "ACTIVE")]
    now = (await api.ask("admin", REVIEW))["accessReview"]["nodes"]
    assert [(row["id"], row["state"]) for row in now] == [("first", "DISABLED"), ("second", "ACTIVE")]
    assert (await api.send("admin", REVIEW, {"at": text(NOON + timedelta(days=11))})).refusal[2] == "at"


async def test_a_person_who_was_invited_again_is_invited_until_signing_up_again(api: Api) -> None:
    made = await api.done("admin", "registerPerson", "person { id }", login="late", name="Late", roles=["AUDITOR"])
    person, days = made["person"]["id"], [NOON + timedelta(days=number) for number in range(3)]
    await enrolled(api, person)
    for _ in range(2):  # also at the very moment of signing up
        await api.done("admin", "invitePersonAgain", person=person)
        assert (await api.ask("admin", REVIEW))["accessReview"]["nodes"][0]["state"] == "INVITED"
        api.at = days[1]
        await enrolled(api, person)
        assert (await api.ask("admin", REVIEW))["accessReview"]["nodes"][0]["state"] == "ACTIVE"
    api.at = days[2]
    await api.done("admin", "invitePersonAgain", person=person)
    for at, state in [(days[0], "INVITED"), (days[1], "ACTIVE"), (days[2], "INVITED")]:
        nodes = (await api.ask("admin", REVIEW, at=text(at)))["accessReview"]["nodes"]
        assert nodes[0]["state"] == state


async def test_a_review_of_a_day_before_a_person_signed_in_goes_on_telling_that_it_was_invited(api: Api) -> None:
    made = await api.done("admin", "registerPerson", "person { id }", login="late", name="Late", roles=["AUDITOR"])
    api.at = NOON + timedelta(days=100)
    before = await api.ask("admin", REVIEW, at=text(NOON + timedelta(days=95)))
    await enrolled(api, made["person"]["id"])
    assert await api.ask("admin", REVIEW, at=text(NOON + timedelta(days=95))) == before
    states = [before, await api.ask("admin", REVIEW)]
    assert [each["accessReview"]["nodes"][0]["state"] for each in states] == ["INVITED", "ACTIVE"]


async def test_a_page_of_a_review_has_a_hundred_lines_at_most(api: Api) -> None:
    assert (await api.send("admin", REVIEW, {"first": 101})).refusal == ("INVALID", "Invalid", "first")


async def test_a_review_is_paged_and_each_page_is_on_record(api: Api) -> None:
    north = await api.institution("north")
    for number in range(3):
        await registered(api, f"sensor-{number}", ["DEVICE"], north)
    await api.done("admin", "registerPerson", login="someone", name="Someone", roles=["REGULATOR"])
    after, seen = None, []
    while True:
        page = (await api.ask("regulator", REVIEW, first=2, after=after))["accessReview"]
        seen += [one["id"] for one in page["nodes"]]
        if not page["pageInfo"]["hasNextPage"]:
            break
        after = page["pageInfo"]["endCursor"]
    assert seen[:3] == ["sensor-0", "sensor-1", "sensor-2"]
    assert len(seen) == 4
    told = await api.ask("regulator", '{ decisions(kind: "access.reviewed") { nodes { actor } } }')
    assert [node["actor"] for node in told["decisions"]["nodes"]] == ["regulator"] * 2


async def test_nobody_is_admin_and_auditor(api: Api, owner: Any) -> None:
    key = Credential.generate("http://127.0.0.1", "both", ("system/*.cruds",)).public_jwks
    both = {"name": "Both", "roles": ["ADMIN", "AUDITOR"]}
    answer = await api.do("admin", "registerClient", clientId="both", scopes=["system/*.cruds"], jwks=key, **both)
    assert answer.refusal == ("INVALID", "Invalid", "input.roles")
    answer = await api.do("admin", "registerPerson", login="both", **both)
    assert answer.refusal == ("INVALID", "Invalid", "input.roles")
    await registered(api, "an-auditor", ["AUDITOR"])
    with pytest.raises(asyncpg.CheckViolationError, match="nobody_audits_itself"):  # whoever writes it
        await owner.execute("update oauth.client set roles = array['admin', 'auditor']")
    api.callers["both"] = _caller("both", Role.ADMIN, Role.AUDITOR)
    for query in (REVIEW, "{ clients { nodes { clientId } } }", "{ policySet { sha256 } }"):
        assert (await api.send("both", query)).refusal[0] == "FORBIDDEN"


async def test_an_auditor_reads_what_admins_do_and_each_reading_is_on_record(api: Api) -> None:
    api.callers["auditor"] = _caller("auditor", Role.AUDITOR)
    await registered(api, "some-planner", ["ALLOCATOR"])
    query = '{ decisions(kind: "client.registered") { nodes { actor } } clients { nodes { name } } }'
    found = await api.ask("auditor", query)
    assert found["decisions"]["nodes"][0]["actor"] == "admin"
    refusal = await api.send("auditor", '{ decisions(kind: "offer.published") { nodes { id } } }')
    assert refusal.refusal[0] == "FORBIDDEN"
    told = await api.ask("regulator", 'query { decisions(actor: "auditor") { nodes { action outcome } } }')
    assert {(node["action"], node["outcome"]) for node in told["decisions"]["nodes"]} == {
        ("readAccessAudit", "ALLOWED"), ("viewClient", "ALLOWED"), ("readAudit", "REFUSED"),
    }  # fmt: skip
