"""Queries by name, documents registered for a client, and who may ask what the API offers."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import orjson
import pytest
from joserfc.jwk import ECKey

from sharewell.authz import Authorizer, shipped_policies
from sharewell.domain.principals import Caller, Role
from sharewell_schema import documents
from sharewell_schema.view import GRAPHQL

if TYPE_CHECKING:
    from tests.postgres.graphql.conftest import Api

ME, SPACED = "{ me { clientId } }", "{ me { clientId }  }"
REFUSALS = '{ decisions(first: 5, kind: "access.refused") { nodes { id } } }'
TRUSTED = '{ decisions(kind: "documents.trusted") { nodes { id subjectId } } }'
REFUSAL = "query ($id: UUID!) { decision(id: $id) { subjectId details } }"


def name(query: str) -> str:
    return hashlib.sha256(query.encode()).hexdigest()


async def send(api: Api, who: str, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
    headers = {"Content-Type": "application/json", "Accept": GRAPHQL, "X-Test-Caller": who}
    answer = await api.http.post("/graphql", content=orjson.dumps(body), headers=headers)
    return answer.status_code, answer.json()


def by_hash(query: str) -> dict[str, Any]:
    return {"extensions": {"persistedQuery": {"version": 1, "sha256Hash": name(query)}}}


@pytest.fixture
async def board(api: Api) -> str:
    """The name of a registered client, as whom the test may ask."""
    await api.institution("north")
    key = ECKey.generate_key("P-384", {"kid": "k"})
    institution = str(api.callers["north"].institution)
    await api.done(
        "admin", "registerClient", clientId="board", name="Board", roles=["INSTITUTION"], institution=institution,
        scopes=["system/*.cruds"], jwks={"keys": [key.as_dict(private=False)]},
    )  # fmt: skip
    api.callers["board"] = Caller(
        principal="board", client_id="board", roles=frozenset({Role.INSTITUTION}),
        institution=api.callers["north"].institution, scopes=frozenset({"system/*.cruds"}), request_id="r-1",
    )  # fmt: skip
    return "board"


async def test_a_query_that_was_sent_whole_once_may_be_sent_by_its_hash(api: Api) -> None:
    status, told = await send(api, "planner", by_hash(ME))
    assert (status, told["errors"][0]["message"]) == (400, "PersistedQueryNotFound")
    assert (await send(api, "planner", {"query": ME} | by_hash(ME)))[0] == 200
    for body in (by_hash(ME), {"documentId": f"sha256:{name(ME)}"}):
        assert await send(api, "admin", body) == (200, {"data": {"me": {"clientId": "admin"}}})


async def test_a_hash_of_something_else_is_refused_and_not_kept(api: Api) -> None:
    status, told = await send(api, "planner", {"query": SPACED} | by_hash(ME))
    assert (status, told["errors"][0]["extensions"]["code"]) == (400, "INVALID")
    assert (await send(api, "planner", by_hash(ME)))[0] == 400


@pytest.mark.parametrize("given", ["", "sha256:zz", "A" * 64])
async def test_what_is_no_hash_is_named(api: Api, given: str) -> None:
    status, told = await send(api, "planner", {"documentId": given})
    assert (status, "documentId" in told["errors"][0]["message"]) == (400, True)


async def test_a_client_with_registered_documents_sends_these_only(
    api: Api, board: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(documents, "LIFE_SECONDS", 0.0)
    assert (await send(api, board, {"query": SPACED}))[0] == 200
    done = await api.done("admin", "trustDocuments", "trusted { documents { name } }", clientId=board, documents=[ME])
    assert done["trusted"]["documents"] == [{"name": name(ME)}]
    for body in ({"query": ME}, {"documentId": name(ME)}, by_hash(ME)):
        assert (await send(api, board, body))[0] == 200
    status, told = await send(api, board, {"query": SPACED})
    assert (status, told["errors"][0]["extensions"]["code"]) == (400, "FORBIDDEN")
    (newest, *_) = (await api.ask("regulator", REFUSALS))["decisions"]["nodes"]
    refusal = (await api.ask("regulator", REFUSAL, id=newest["id"]))["decision"]
    assert (refusal["subjectId"], refusal["details"]["document"]) == (board, name(SPACED))
    assert (await send(api, "planner", {"query": SPACED}))[0] == 200
    await api.done("admin", "trustDocuments", clientId=board, documents=[])
    assert (await send(api, board, {"query": SPACED}))[0] == 200


async def test_a_document_that_could_not_be_answered_is_not_registered(api: Api, board: str) -> None:
    answer = await api.do("admin", "trustDocuments", clientId=board, documents=[ME, "{ nothing }"])
    assert answer.refusal == ("INVALID", "Invalid", "input.documents.1")
    told = await api.ask("admin", '{ trustedDocuments(clientId: "board") { clientId } }')
    assert told == {"trustedDocuments": None}


async def test_only_an_admin_says_what_a_client_may_send_and_its_institution_sees_it(api: Api, board: str) -> None:
    assert (await api.do("north", "trustDocuments", clientId=board, documents=[ME])).refusal[0] == "FORBIDDEN"
    await api.done("admin", "trustDocuments", clientId=board, documents=[ME])
    seen = await api.ask("north", '{ trustedDocuments(clientId: "board") { documents { text } } }')
    assert seen["trustedDocuments"]["documents"] == [{"text": ME}]


async def test_admins_and_auditors_read_in_the_log_who_may_send_what(api: Api, board: str) -> None:
    await api.done("admin", "trustDocuments", clientId=board, documents=[ME])
    api.callers["auditor"] = Caller(
        principal="auditor", roles=frozenset({Role.AUDITOR}), scopes=frozenset({"system/*.cruds"}), request_id="r-1"
    )
    for who in ("admin", "auditor"):
        found = (await api.ask(who, TRUSTED))["decisions"]["nodes"]
        assert [node["subjectId"] for node in found] == [board]
        entry = (await api.ask(who, REFUSAL, id=found[0]["id"]))["decision"]
        assert entry["details"]["documents"] == [name(ME)]


async def test_the_schema_is_told_to_whom_the_policies_let_ask(api: Api) -> None:
    asked = "{ __schema { queryType { name } } }"
    api.callers["sensor"] = Caller(
        principal="sensor", roles=frozenset({Role.DEVICE}), scopes=frozenset({"system/*.cruds"}), request_id="r-1"
    )
    assert (await api.ask("planner", asked))["__schema"]["queryType"]["name"] == "Query"
    refused = await api.send("sensor", asked)
    assert refused.refusal[0] == "FORBIDDEN"
    assert "data" not in refused.body
    assert (await api.send("sensor", "{ __typename }")).data == {"__typename": "Query"}


HIDDEN = """
@id("nobody-sees-{0}s")
@sentence("Nobody sees any {0}.")
forbid (principal, action == Sharewell::Action::"view{1}", resource);
"""


async def test_a_document_that_was_answered_before_is_judged_anew_by_each_set_of_policies_and_for_each_caller(
    api: Api,
) -> None:
    for code in ("north", "south"):
        await api.institution(code)
        await api.report(code, staffed=20, occupied=5)
        await api.done(code, "publishOffer", **api.pledge_of(1))
    query = "query ($first: Int!) { offers(first: $first) { nodes { id institution { code } } } }"
    body = {"query": query, "variables": {"first": 2}}
    await send(api, "north", body | by_hash(query))
    by_name = {"variables": {"first": 2}, **by_hash(query)}
    seen = (await send(api, "north", by_name))[1]
    assert {node["institution"]["code"] for node in seen["data"]["offers"]["nodes"]} == {"north", "south"}
    shorter = (await send(api, "north", {"variables": {"first": 1}} | by_hash(query)))[1]
    assert len(shorter["data"]["offers"]["nodes"]) == 1
    refused = (await send(api, "nobody", by_name))[1]
    assert (refused["data"], refused["errors"][0]["path"]) == ({"offers": None}, ["offers"])
    rulebook = api.people.office.rulebook
    shipped, own = shipped_policies(), rulebook.own
    rulebook.own = Authorizer.load(shipped | {"hidden.cedar": HIDDEN.format("institution", "Institution").encode()})
    told = (await send(api, "north", by_name))[1]
    assert [node["institution"] for node in told["data"]["offers"]["nodes"]] == [None, None]
    assert [error["path"] for error in told["errors"]] == [["offers", "nodes", n, "institution"] for n in (0, 1)]
    rulebook.own = Authorizer.load(shipped | {"hidden.cedar": HIDDEN.format("offer", "Offer").encode()})
    assert (await send(api, "north", by_name))[1]["data"] == {"offers": None}
    rulebook.own = own
    assert (await send(api, "north", by_name))[1] == seen
