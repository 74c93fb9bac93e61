"""What can be read: edges to other nouns in few statements, what a caller may not see, the audit log."""

from __future__ import annotations

import base64
import hashlib
import json
from typing import TYPE_CHECKING, Any

import asyncpg
import pytest

if TYPE_CHECKING:
    from tests.postgres.graphql.conftest import Api

BEDS = "bed.adult"


@pytest.fixture
def statements(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Every statement that reads rows, as it is sent."""
    sent: list[str] = []
    fetch = asyncpg.Connection.fetch

    async def spy(self: Any, query: str, *args: Any, **kwargs: Any) -> Any:
        sent.append(query)
        return await fetch(self, query, *args, **kwargs)

    monkeypatch.setattr(asyncpg.Connection, "fetch", spy)
    return sent


async def test_a_list_finds_what_its_rows_name_in_one_statement_each(api: Api, statements: list[str]) -> None:
    for code in ("clinic", "other", "third"):
        await api.institution(code)
        await api.report(code, staffed=20, occupied=5)
        for _ in range(3):
            await api.done(code, "publishOffer", **api.pledge_of(1))
    statements.clear()
    query = "{ offers { edges { node { institution { code } resourceLine %s { name } } } } }"
    found = await api.ask("clinic", query % "@include(if: true)")
    codes = {edge["node"]["institution"]["code"] for edge in found["offers"]["edges"]}
    assert codes == {"clinic", "other", "third"}
    assert len(statements) == 3  # offers, institutions, resources
    statements.clear()
    await api.ask("clinic", "{ offers { nodes { id quantity @include(if: true) } } }")
    assert len(statements) == 1
    statements.clear()
    assert await api.ask("clinic", query % "") == found  # columns alone: all in one
    assert len(statements) == 1


async def test_edges_are_fetched_through_fragments_too(api: Api, statements: list[str]) -> None:
    for code in ("clinic", "other"):
        await api.institution(code)
        await api.report(code, staffed=20, occupied=5)
    statements.clear()
    query = """
      fragment Who on CapacityReport { institution { ...Name } }
      fragment Name on Institution { code }
      { capacityReports { nodes { ... on CapacityReport { ...Who } } } }
    """
    found = await api.ask("clinic", query)
    assert [node["institution"]["code"] for node in found["capacityReports"]["nodes"]] == ["other", "clinic"]
    assert len(statements) == 3  # what agreements show, the reports, the institutions


async def test_single_things_find_their_edges_without_a_list(api: Api) -> None:
    transfer = await api.held_transfer()
    query = """query ($id: UUID!) { transfer(id: $id) {
      giver { code } receiver { code } offer { quantity institution { code } } resourceLine { code }
      allocation { assigned measures { unitsMoved donorsWorseOff } solver { status bound } }
    } }"""
    found = (await api.ask("planner", query, id=transfer))["transfer"]
    assert found["giver"] == {"code": "giver"}
    assert found["receiver"] == {"code": "receiver"}
    assert found["offer"] == {"quantity": 6, "institution": {"code": "giver"}}
    assert found["allocation"]["assigned"] == 4
    assert found["allocation"]["measures"] == {"unitsMoved": 4, "donorsWorseOff": 0}
    assert found["allocation"]["solver"]["status"] == "optimal"


async def test_what_a_party_may_not_see_of_the_other_is_null(api: Api) -> None:
    await api.held_transfer()
    query = "{ transfers { nodes { requestId request { requested } steps { state } } } }"
    (seen,) = (await api.ask("receiver", query))["transfers"]["nodes"]
    assert seen["request"] == {"requested": 4}
    (seen,) = (await api.ask("giver", query))["transfers"]["nodes"]
    assert seen["request"] is None
    assert seen["requestId"]
    assert [step["state"] for step in seen["steps"]] == ["PROPOSED", "HELD"]
    refusals = await api.ask("regulator", '{ decisions(kind: "access.refused") { nodes { id } } }')
    assert refusals["decisions"]["nodes"] == []  # a list that is shorter is no refusal


async def test_where_nothing_behind_an_edge_may_be_seen_the_rest_of_the_answer_is_there(api: Api) -> None:
    await api.institution("clinic")
    await api.report("clinic", staffed=20, occupied=5)
    narrow = api.callers["clinic"].__class__(
        principal="narrow", roles=api.callers["clinic"].roles, institution=api.callers["clinic"].institution,
        scopes=frozenset({"system/Capacity.rs"}), request_id="r-1",
    )  # fmt: skip
    api.callers["narrow"] = narrow
    answer = await api.send("narrow", "{ capacityReports { nodes { staffed institution { code } } } }")
    assert answer.refusal[0] == "FORBIDDEN"
    assert answer.error["path"] == ["capacityReports", "nodes", 0, "institution"]
    assert answer.body["data"]["capacityReports"]["nodes"] == [{"staffed": 20, "institution": None}]


async def test_lists_about_need_are_ones_own_unless_somebody_elses_is_asked_for(api: Api) -> None:
    for code in ("clinic", "other"):
        await api.institution(code)
        await api.done(code, "openRequest", **api.need_of(2))
    assert len((await api.ask("clinic", "{ requests { nodes { id } } }"))["requests"]["nodes"]) == 1
    assert len((await api.ask("planner", "{ requests { nodes { id } } }"))["requests"]["nodes"]) == 2
    others = {"of": str(api.callers["other"].institution)}
    refused = await api.send("clinic", "query ($of: UUID!) { requests(institution: $of) { nodes { id } } }", others)
    assert refused.refusal[0] == "FORBIDDEN"


async def test_filters_narrow_what_is_listed(api: Api) -> None:
    await api.institution("clinic")
    await api.institution("faraway", region="us-ny")
    await api.report("clinic", staffed=20, occupied=5)
    await api.report("clinic", staffed=4, occupied=1, resource="ventilator")
    offer = (await api.done("clinic", "publishOffer", "offer { id }", **api.pledge_of(1)))["offer"]["id"]
    await api.done("clinic", "publishOffer", **api.pledge_of(1, resource="ventilator"))
    await api.done("clinic", "withdrawOffer", offer=offer)
    found = await api.ask(
        "clinic",
        """{ all: offers { nodes { id } } open: offers(onlyOpen: true) { nodes { resource } }
             vents: offers(resource: "ventilator") { nodes { resource } }
             near: institutions(region: "us-nj") { nodes { code } }
             reports: capacityReports(resource: "ventilator") { nodes { staffed } } }""",
    )
    assert len(found["all"]["nodes"]) == 2
    assert found["open"]["nodes"] == found["vents"]["nodes"] == [{"resource": "ventilator"}]
    assert found["near"]["nodes"] == [{"code": "clinic"}]
    assert found["reports"]["nodes"] == [{"staffed": 4}]


async def test_a_run_shows_the_documents_whose_hashes_are_on_record(api: Api) -> None:
    await api.held_transfer()
    runs = await api.ask("planner", "{ allocations { nodes { id instanceSha256 planSha256 } } }")
    (run,) = runs["allocations"]["nodes"]
    query = "query ($id: UUID!) { allocationInstance(id: $id) allocationPlan(id: $id) }"
    found = await api.ask("planner", query, id=run["id"])
    assert hashlib.sha256(found["allocationInstance"].encode()).hexdigest() == run["instanceSha256"]
    assert hashlib.sha256(found["allocationPlan"].encode()).hexdigest() == run["planSha256"]
    assert json.loads(found["allocationPlan"])["assignments"][0]["quantity"] == 4


async def test_a_decision_is_shown_with_its_exact_bytes_and_the_reading_is_on_record(api: Api) -> None:
    await api.institution("clinic")
    receipt = (await api.report("clinic", staffed=20, occupied=5))["decision"]["id"]
    query = """query ($id: UUID!) { decision(id: $id) {
      kind actor action outcome policies subjectKind details entry logIndex institutionId } }"""
    found = (await api.ask("clinic", query, id=receipt))["decision"]
    entry = json.loads(base64.b64decode(found.pop("entry")))
    assert entry["details"] == found["details"]
    assert found["kind"] == "capacity.reported"
    assert found["actor"] == "clinic-client"
    assert found["outcome"] == "ALLOWED"
    assert found["policies"] == ["report-own-capacity"]
    assert found["logIndex"] is None
    read = (await api.ask("regulator", '{ decisions(kind: "audit.read") { nodes { actor subjectId } } }'))["decisions"]
    assert {"actor": "clinic-client", "subjectId": receipt} in read["nodes"]


async def test_the_proof_of_a_decision_that_is_not_sealed_yet_is_a_conflict(api: Api) -> None:
    await api.institution("clinic")
    receipt = (await api.report("clinic", staffed=20, occupied=5))["decision"]["id"]
    answer = await api.send("clinic", "query ($id: UUID!) { decision(id: $id) { bundle } }", {"id": receipt})
    assert answer.refusal[:2] == ("CONFLICT", "NotSealedYet")


async def test_decisions_about_others_are_for_regulators(api: Api) -> None:
    await api.institution("clinic")
    await api.institution("other")
    receipt = (await api.report("clinic", staffed=20, occupied=5))["decision"]["id"]
    query = "query ($id: UUID!) { decision(id: $id) { kind } }"
    assert (await api.send("other", query, {"id": receipt})).refusal[0] == "FORBIDDEN"
    assert (await api.ask("regulator", query, id=receipt))["decision"]["kind"] == "capacity.reported"
    own = (await api.ask("clinic", "{ decisions { nodes { kind actor } } }"))["decisions"]["nodes"]
    assert {one["kind"] for one in own} == {"institution.registered", "capacity.reported", "audit.read"}


async def test_filters_of_the_audit_log_are_plain_words(api: Api) -> None:
    for name in ("actor", "kind", "subjectKind", "subjectId"):
        for value in ("", "a\0b", "x" * 201):
            query = f"query ($word: String!) {{ decisions({name}: $word) {{ nodes {{ id }} }} }}"
            assert (await api.send("regulator", query, {"word": value})).refusal == ("INVALID", "Invalid", name)


async def test_the_policies_in_force_are_told_by_name_and_sentence(api: Api) -> None:
    await api.institution("clinic")
    query = "{ policySet { sha256 policies { id sentence effect actions file } } }"
    found = (await api.ask("clinic", query))["policySet"]
    assert found["sha256"] == api.people.office.authz.policy_set
    named = {policy["id"]: policy for policy in found["policies"]}
    assert named["pledge-own-units"]["effect"] == "permit"
    assert named["pledge-own-units"]["actions"] == ["publishOffer", "withdrawOffer"]
    assert all(policy["sentence"].endswith(".") for policy in named.values())


async def test_who_asks_is_told_who_it_is(api: Api) -> None:
    me = (await api.ask("regulator", "{ me { clientId roles scopes institution { code } } }"))["me"]
    assert me == {"clientId": "regulator", "roles": ["REGULATOR"], "scopes": ["system/*.cruds"], "institution": None}


async def test_every_list_of_an_empty_platform_is_empty_and_not_an_error(api: Api) -> None:
    await api.institution("clinic")
    query = """{
      capacityReports { nodes { id } } offers { nodes { id } } requests { nodes { id } } transfers { nodes { id } }
      forecasts { nodes { target } } forecastRuns { nodes { id } } allocations { nodes { id } } feeds { nodes { id } }
      clients { nodes { clientId } } jobsUnderway { id } jobsSetAside { id }
    }""".replace("forecasts {", "forecasts(institution: $of) {").replace("{\n", "query ($of: UUID!) {\n", 1)
    found = await api.ask("regulator", query, of=str(api.callers["clinic"].institution))
    assert all(value in ({"nodes": []}, []) for value in found.values())




async def test_what_a_run_says_of_everybody_is_not_for_one_institution(api: Api) -> None:
    await api.held_transfer()
    (run,) = (await api.ask("giver", "{ allocations { nodes { id } } }"))["allocations"]["nodes"]
    for document in ("allocationInstance", "allocationPlan"):
        refused = await api.send("giver", f"query ($id: UUID!) {{ {document}(id: $id) }}", {"id": run["id"]})
        assert refused.refusal[0] == "FORBIDDEN"
