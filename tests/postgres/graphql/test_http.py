"""GraphQL over HTTP, to the letter: what graphql-http's server audits ask, and what else a client may send."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import orjson
import pytest

from sharewell_schema.asked import Refused
from sharewell_schema.view import GRAPHQL, JSON, media_type

if TYPE_CHECKING:
    import httpx2
    from tests.postgres.graphql.conftest import Api

ME = "{ me { clientId } }"
BOTH = [JSON, GRAPHQL]


async def post(api: Api, body: Any, accept: str | None = GRAPHQL, kind: str = JSON) -> httpx2.Response:
    content = body if isinstance(body, bytes) else orjson.dumps(body)
    headers = {"Content-Type": kind, "X-Test-Caller": "planner"} | ({"Accept": accept} if accept else {"Accept": ""})
    return await api.http.post("/graphql", content=content, headers=headers)


async def get(api: Api, accept: str = GRAPHQL, **params: str) -> httpx2.Response:
    headers = {"Accept": accept, "X-Test-Caller": "planner"}
    return await api.http.get(f"/graphql?{urlencode(params)}", headers=headers)


@pytest.mark.parametrize(
    ("accept", "media"),
    [
        ("", JSON), (JSON, JSON), (GRAPHQL, GRAPHQL), ("*/*", JSON), ("application/*", JSON),
        (f"{GRAPHQL}, {JSON};q=0.9", GRAPHQL), (f"{JSON};q=0.9, {GRAPHQL}", GRAPHQL),
        (f"{GRAPHQL};q=0.5, {JSON}", JSON),
        (f"{JSON}; charset=utf-8", JSON), (f"text/html, {GRAPHQL};q=0.1", GRAPHQL), (f"{GRAPHQL}, */*;q=0.1", GRAPHQL),
        ("text/html, */*;q=0.1", JSON), (f"{JSON};q=0, */*", GRAPHQL), (JSON.upper(), JSON),
        (f"{JSON};q=nonsense, */*", GRAPHQL),
    ],
)  # fmt: skip
def test_the_media_type_is_the_one_the_client_likes_best(accept: str, media: str) -> None:
    assert media_type(accept) == media


@pytest.mark.parametrize("accept", ["text/html", "application/xml, text/plain;q=0.5", f"{JSON};q=0, {GRAPHQL};q=0"])
def test_where_no_media_type_fits_it_is_not_acceptable(accept: str) -> None:
    with pytest.raises(Refused) as refused:
        media_type(accept)
    assert refused.value.status == 406


@pytest.mark.parametrize("accept", BOTH)
async def test_an_answer_is_utf_8_of_the_media_type_asked_for(api: Api, accept: str) -> None:
    answer = await post(api, {"query": ME}, accept)
    assert answer.status_code == 200
    assert answer.headers["Content-Type"] == f"{accept}; charset=utf-8"
    assert answer.json() == {"data": {"me": {"clientId": "planner"}}}


@pytest.mark.parametrize("accept", BOTH)
@pytest.mark.parametrize(
    "body",
    [b"", b"{", b'"text"', b"[]", b"null", b"[{}]", {}, {"query": ""}, {"query": 1}, {"query": ME, "variables": "x"},
     {"query": ME, "variables": []}, {"query": ME, "operationName": 1}, {"query": ME, "extensions": 7}, b"\xff",
     b'{"query": "\\ud800"}', [{"query": ME}]],
)  # fmt: skip
async def test_what_is_no_request_is_a_400(api: Api, body: Any, accept: str) -> None:
    answer = await post(api, body, accept)
    assert answer.status_code == 400
    assert answer.headers["Content-Type"].startswith(accept)
    assert answer.json()["errors"][0]["extensions"]["code"] == "INVALID"


@pytest.mark.parametrize("body", [{"query": ME, "variables": None}, {"query": ME, "operationName": None},
                                  {"query": ME, "extensions": None}, {"query": ME, "extensions": {}},
                                  {"query": "query A { me { clientId } } query B { nothing: __typename }",
                                   "operationName": "A"}, {"query": ME, "unknown": 1}])  # fmt: skip
async def test_what_may_be_left_out_may_be_null(api: Api, body: Any) -> None:
    assert (await post(api, body)).json() == {"data": {"me": {"clientId": "planner"}}}


@pytest.mark.parametrize("query", ["{", "{ nothing }", "query A { __typename } query B { __typename }",
                                   "query ($id: UUID!) { offer(id: $id) { id } }"])  # fmt: skip
async def test_a_query_that_cannot_run_is_a_400_or_for_older_clients_a_200(api: Api, query: str) -> None:
    for accept, status in ((GRAPHQL, 400), (JSON, 200)):
        answer = await post(api, {"query": query}, accept)
        assert answer.status_code == status
        assert answer.json().keys() == {"errors"}


@pytest.mark.parametrize("accept", BOTH)
async def test_a_field_that_fails_is_a_200_with_the_rest(api: Api, accept: str) -> None:
    answer = await post(api, {"query": '{ resource(code: "no.such") { name } me { clientId } }'}, accept)
    assert answer.status_code == 200
    assert answer.json()["data"] == {"resource": None, "me": {"clientId": "planner"}}


async def test_a_query_may_be_sent_by_get(api: Api) -> None:
    query = "query Q($n: Int!) { resources(first: $n) { nodes { code } } }"
    answer = await get(api, query=query, variables='{"n": 1}', operationName="Q", extensions="{}")
    assert len(answer.json()["data"]["resources"]["nodes"]) == 1
    assert (await get(api, query=ME, variables="")).status_code == 200


async def test_get_changes_nothing(api: Api) -> None:
    asked = '{idempotencyKey: "k", region: "us-nj", resource: "bed.adult"}'
    answer = await get(api, query=f"mutation {{ startAllocation(input: {asked}) {{ key }} }}")
    assert answer.status_code == 405
    assert answer.headers["Allow"] == "POST"
    assert (await api.ask("planner", "{ jobsUnderway { id } }"))["jobsUnderway"] == []


@pytest.mark.parametrize("params", [{}, {"query": ""}, {"query": ME, "variables": "{"}, {"query": ME, "variables": "7"},
                                    {"query": ME, "extensions": "x"}])  # fmt: skip
async def test_a_get_that_is_no_request_is_a_400(api: Api, params: dict[str, str]) -> None:
    assert (await get(api, **params)).status_code == 400


@pytest.mark.parametrize("kind", ["", "text/plain", "application/x-www-form-urlencoded", "multipart/form-data",
                                  "application/json; charset=latin-1"])  # fmt: skip
async def test_only_json_is_taken(api: Api, kind: str) -> None:
    assert (await post(api, {"query": ME}, kind=kind)).status_code == 415


@pytest.mark.parametrize("kind", [f"{JSON}; charset=utf-8", "Application/JSON", f"{JSON};charset=UTF-8"])
async def test_utf_8_may_be_said(api: Api, kind: str) -> None:
    assert (await post(api, {"query": ME}, kind=kind)).status_code == 200


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "HEAD"])
async def test_other_methods_are_refused(api: Api, method: str) -> None:
    answer = await api.http.request(method, "/graphql")
    assert answer.status_code == 405
    assert answer.headers["Allow"] == "GET, POST"


async def test_texts_of_every_script_come_back_as_they_were_sent(api: Api) -> None:
    await api.institution("clinic", name="Krankenhaus Süd 大阪 🏥")
    query = "{ institutions { nodes { name } } }"
    assert (await api.ask("clinic", query))["institutions"]["nodes"] == [{"name": "Krankenhaus Süd 大阪 🏥"}]
