"""A regulator of some regions reads what is of their institutions: one by one, in lists, and in the log."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from tests.postgres.graphql.conftest import Api

from sharewell.domain.principals import Role
from sharewell.domain.visibility import KEEPS

REQUESTS = "query ($of: UUID) { requests(institution: $of) { nodes { id institutionId } } }"
REQUEST = "query ($id: UUID!) { request(id: $id) { id } }"
DECISIONS = "query ($of: UUID) { decisions(institution: $of, first: 200) { nodes { id institutionId subjectKind } } }"


@pytest.fixture
async def coast(api: Api) -> dict[str, str]:
    """North on the coast and South inland, each with a request; `coastal` is a regulator of the coast."""
    made = {name: await api.institution(name, region=at) for name, at in (("north", "coast"), ("south", "inland"))}
    for name in ("north", "south"):
        await api.report(name, staffed=20, occupied=5)
        await api.done(name, "publishOffer", **api.pledge_of(3))
        opened = await api.done(name, "openRequest", "request { id } decision { id }", **api.need_of(2))
        made[f"{name} request"], made[f"{name} decision"] = opened["request"]["id"], opened["decision"]["id"]
    api.callers["coastal"] = replace(api.callers["regulator"], principal="coastal", jurisdiction=frozenset({"coast"}))
    return made


async def test_lists_hold_what_is_of_its_regions(api: Api, coast: dict[str, str]) -> None:
    found = await api.ask("coastal", REQUESTS)
    assert [node["id"] for node in found["requests"]["nodes"]] == [coast["north request"]]
    everybody = await api.ask("regulator", REQUESTS)
    assert len(everybody["requests"]["nodes"]) == 2
    for name in ("offers", "capacityReports"):
        listed = await api.ask("coastal", f"{{ {name} {{ nodes {{ institutionId }} }} }}")
        assert {node["institutionId"] for node in listed[name]["nodes"]} == {coast["north"]}


async def test_one_thing_is_read_where_its_owner_is_of_its_regions(api: Api, coast: dict[str, str]) -> None:
    assert (await api.ask("coastal", REQUEST, id=coast["north request"]))["request"]
    assert (await api.send("coastal", REQUEST, {"id": coast["south request"]})).refusal[0] == "FORBIDDEN"
    assert (await api.send("coastal", REQUESTS, {"of": coast["south"]})).refusal[0] == "FORBIDDEN"
    assert (await api.ask("coastal", REQUESTS, of=coast["north"]))["requests"]["nodes"]


async def test_a_transfer_is_read_where_either_party_is_of_its_regions(api: Api) -> None:
    transfer = await api.held_transfer()
    query = "query ($id: UUID!) { transfer(id: $id) { id reason } transfers { nodes { id } } }"
    for regions, seen in (({"us-nj"}, True), ({"us-ny"}, False)):
        api.callers["some"] = replace(api.callers["regulator"], principal="some", jurisdiction=frozenset(regions))
        answer = await api.send("some", query, {"id": transfer})
        assert (answer.body["data"]["transfer"] is not None) == seen
        assert len(answer.body["data"]["transfers"]["nodes"]) == seen
        if seen:  # what the giver has is for a regulator of the giver's region, too
            assert KEEPS in answer.body["data"]["transfer"]["reason"]


async def test_what_is_nobodys_is_open_to_it(api: Api, coast: dict[str, str]) -> None:
    found = await api.ask(
        "coastal", "{ institutions { nodes { id } } resources { nodes { code } } policySet { sha256 }"
        " surgeModes { nodes { id } } allocations { nodes { id } } fairnessChoices { nodes { id } } }",
    )  # fmt: skip
    assert {node["id"] for node in found["institutions"]["nodes"]} == {coast["north"], coast["south"]}


async def test_the_log_is_searched_counted_and_opened_as_far_as_its_regions_go(
    api: Api, coast: dict[str, str]
) -> None:
    found = await api.ask("coastal", DECISIONS)
    assert {node["institutionId"] for node in found["decisions"]["nodes"]} == {coast["north"]}
    whole = await api.ask("regulator", DECISIONS)
    assert {node["institutionId"] for node in whole["decisions"]["nodes"]} == {coast["north"], coast["south"], None}
    one = "query ($id: UUID!) { decision(id: $id) { id } }"
    assert (await api.ask("coastal", one, id=coast["north decision"]))["decision"]
    assert (await api.send("coastal", one, {"id": coast["south decision"]})).refusal[0] == "FORBIDDEN"
    case = "query ($id: UUID!) { case(id: $id) { steps { sentence } } }"
    assert (await api.ask("coastal", case, id=coast["north request"]))["case"]["steps"]
    assert (await api.send("coastal", case, {"id": coast["south request"]})).refusal[0] == "NOT_FOUND"


async def test_its_readings_are_on_record_by_region(api: Api, coast: dict[str, str], owner: Any) -> None:
    await api.ask("coastal", REQUESTS)
    rows = await owner.fetch("select staged_id from audit.decision where kind = 'data.read' and actor = 'coastal'")
    assert len(rows) == 1
    body = (await owner.fetchval("select body from audit.entry where staged_id = $1", rows[0][0])).decode()
    assert '"region":"coast"' in body
    assert '"jurisdiction":["coast"]' in body


async def test_it_is_registered_with_its_regions_which_only_a_regulator_has(api: Api) -> None:
    asked = {"name": "App", "roles": ["REGULATOR"], "scopes": ["user/*.rs"], "redirectUris": ["https://app.example/in"]}
    made = await api.done(
        "admin", "registerClient", "client { jurisdiction }", **asked, jurisdiction=["inland", "coast", "coast"]
    )
    assert made["client"]["jurisdiction"] == ["coast", "inland"]
    person = await api.done(
        "admin", "registerPerson", "person { jurisdiction }", login="ann", name="Ann", roles=["REGULATOR"],
        jurisdiction=["coast"],
    )  # fmt: skip
    assert person["person"]["jurisdiction"] == ["coast"]
    for wrong in ({"roles": ["ALLOCATOR"], "jurisdiction": ["coast"]}, {"jurisdiction": ["No Code"]}):
        refused = await api.do("admin", "registerClient", "decision { id }", **(asked | wrong))
        assert refused.refusal == ("INVALID", "Invalid", "input.jurisdiction")


async def test_whoever_holds_a_further_role_keeps_what_that_permits(api: Api, coast: dict[str, str]) -> None:
    api.callers["both"] = replace(api.callers["coastal"], roles=frozenset({Role.REGULATOR, Role.ALLOCATOR}))
    assert len((await api.ask("both", REQUESTS))["requests"]["nodes"]) == 2
