"""What is named by more than any name has is answered as anything else that is not there, whoever asks."""

from __future__ import annotations

from typing import Any

import pytest
from tests.postgres.graphql.conftest import Api

NAME = "n" * 9000  #: an entry would have no room for it
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
REFUSALS = {"INVALID", "FORBIDDEN", "NOT_FOUND"}


@pytest.mark.parametrize("query", QUERIES)
@pytest.mark.parametrize("who", ["nobody", "regulator"])
async def test_a_query_by_a_name_that_none_can_be_is_answered_whoever_asks(api: Api, who: str, query: str) -> None:
    answer = await api.send(who, f"query ($name: String!) {{ {query} }}", {"name": NAME})
    assert answer.status == 200
    errors = answer.body.get("errors", [])
    assert {error["extensions"]["code"] for error in errors} <= REFUSALS
    assert all(len(error["message"]) < 1000 for error in errors)


@pytest.mark.parametrize("name", sorted(MUTATIONS))
@pytest.mark.parametrize("who", ["nobody", "regulator", "admin", "planner"])
async def test_a_mutation_of_a_name_that_none_can_be_is_refused_whoever_asks(api: Api, who: str, name: str) -> None:
    answer = await api.do(who, name, **MUTATIONS[name])
    assert answer.status == 200
    assert answer.refusal[0] in REFUSALS
    assert len(answer.error["message"]) < 1000
