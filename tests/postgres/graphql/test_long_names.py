"""What is named by more than any name has is refused as it is sent: no record would have room for it."""

from __future__ import annotations

from typing import Any

import pytest
from tests.postgres.graphql.conftest import Api

NAME = "n" * 1800  #: with what else stands in its header, more than an entry takes
QUERIES = (
    "client(clientId: $name) { name }", "trustedDocuments(clientId: $name) { clientId }",
    "whatCan(clientId: $name) { action }", "resource(code: $name) { name }",
    "fairnessChoice(region: $name, resource: $name) { id }",
)  # fmt: skip
MUTATIONS: dict[str, dict[str, Any]] = {
    "disableClient": {"clientId": NAME},
    "trustDocuments": {"clientId": NAME, "documents": []},
    "registerClient": {"clientId": NAME, "name": "New", "roles": ["REGULATOR"], "scopes": ["system/Offer.rs"]},
    "defineResource": {"code": NAME, "kind": "PLACE", "name": "Line", "unit": "{each}"},
    "registerInstitution": {"code": NAME, "name": "New", "kind": "CLINIC", "region": "us-nj"},
    "chooseFairness": {"region": NAME, "resource": "bed.adult"},
}


@pytest.mark.parametrize("query", QUERIES)
@pytest.mark.parametrize("who", ["nobody", "regulator"])
async def test_a_query_by_a_name_that_none_can_be_is_invalid_whoever_asks(api: Api, who: str, query: str) -> None:
    answer = await api.send(who, f"query ($name: String!) {{ {query} }}", {"name": NAME * 5})
    assert answer.status == 200
    assert (answer.refusal[0], len(answer.error["message"]) < 200) == ("INVALID", True)


@pytest.mark.parametrize("name", sorted(MUTATIONS))
@pytest.mark.parametrize("who", ["nobody", "regulator", "admin", "planner"])
async def test_a_mutation_of_a_name_that_none_can_be_is_invalid_whoever_asks(api: Api, who: str, name: str) -> None:
    answer = await api.do(who, name, **MUTATIONS[name])
    assert (answer.status, answer.refusal[0]) == (200, "INVALID")
    assert len(answer.error["message"]) < 200


async def test_a_refusal_by_a_long_name_is_on_record(api: Api) -> None:
    query = "query ($name: String!) { client(clientId: $name) { name } }"
    assert (await api.send("nobody", query, {"name": "n" * 500})).refusal[0] == "FORBIDDEN"
    found = await api.ask("regulator", '{ decisions(kind: "access.refused") { nodes { subjectId } } }')
    assert [node["subjectId"] for node in found["decisions"]["nodes"]] == ["n" * 500]
