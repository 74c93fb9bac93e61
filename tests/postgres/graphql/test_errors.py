"""How errors are told: families, fields, masks, and what passes by itself."""

from __future__ import annotations

import asyncio
import io
import json
from dataclasses import replace
from importlib.resources import files
from random import Random
from typing import TYPE_CHECKING, Any

import pytest
from graphql import GraphQLEnumType, GraphQLError, GraphQLSchema

from sharewell.domain.errors import Unavailable
from sharewell.domain.principals import Role
from sharewell.services.offers import OfferService
from sharewell.services.resources import ResourceService
from sharewell.store.requests import RequestRepository
from sharewell_schema import view
from sharewell_schema.errors import MOST_VALUES, tell, with_values

if TYPE_CHECKING:
    from tests.postgres.graphql.conftest import Api

SCHEMA = (files("sharewell_schema") / "api.graphql").read_text()
ONE = "query ($id: UUID!) { offer(id: $id) { id } }"


def broken(*args: Any, **kwargs: Any) -> Any:
    raise ZeroDivisionError("the secret is swordfish")


async def test_of_a_crash_only_an_id_is_told_and_the_log_has_the_rest(
    api: Api, monkeypatch: pytest.MonkeyPatch, log_stream: io.StringIO
) -> None:
    monkeypatch.setattr(ResourceService, "page", broken)
    answer = await api.send("planner", "{ resources { nodes { code } } me { clientId } }")
    assert answer.status == 200
    assert answer.body["data"] == {"resources": None, "me": {"clientId": "planner"}}
    told = answer.error
    assert told["extensions"].keys() == {"code", "type", "id"}
    assert told["extensions"]["code"] == "INTERNAL"
    assert "swordfish" not in json.dumps(answer.body)
    assert "ZeroDivision" not in json.dumps(answer.body)
    lines = [json.loads(line) for line in log_stream.getvalue().splitlines()]
    (line,) = [line for line in lines if line.get("id") == told["extensions"]["id"]]
    assert line["event"] == "crash"
    assert line["path"] == ["resources"]
    assert "the secret is swordfish" in json.dumps(line["exception"])


async def test_a_crash_in_a_mutation_leaves_nothing_behind_and_its_key_unused(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    await api.institution("clinic")
    wish = api.need_of(3, idempotencyKey="once")
    with monkeypatch.context() as patch:
        patch.setattr("sharewell.services.office.Act.done", broken)
        assert (await api.do("clinic", "openRequest", **wish)).refusal[0] == "INTERNAL"
    assert (await api.ask("clinic", "{ requests { nodes { id } } }"))["requests"]["nodes"] == []
    await api.done("clinic", "openRequest", **wish)
    assert len((await api.ask("clinic", "{ requests { nodes { id } } }"))["requests"]["nodes"]) == 1


@pytest.mark.parametrize("accept", ["application/json", "application/graphql-response+json"])
async def test_what_passes_by_itself_is_a_503_with_a_hint_when_to_come_again(
    api: Api, monkeypatch: pytest.MonkeyPatch, accept: str
) -> None:
    async def away(*args: Any, **kwargs: Any) -> Any:
        raise Unavailable("the database cannot be reached just now; try again in a moment.", retry_after_seconds=7)

    monkeypatch.setattr(OfferService, "write_page", away)
    headers = {"Accept": accept, "X-Test-Caller": "planner"}
    answer = await api.http.post("/graphql", json={"query": "{ offers { nodes { id } } }"}, headers=headers)
    assert answer.status_code == 503
    assert answer.headers["Retry-After"] == "7"
    assert answer.json()["errors"][0]["extensions"]["code"] == "UNAVAILABLE"


async def test_a_database_that_is_gone_is_a_503_and_the_next_answer_is_good_again(api: Api) -> None:
    pool = api.people.database.pool
    api.people.database.pool = type("Gone", (), {"acquire": lambda *_, **__: _raise(ConnectionRefusedError())})()
    answer = await api.send("planner", "{ offers { nodes { id } } }")
    assert (answer.status, answer.refusal[0]) == (503, "UNAVAILABLE")
    api.people.database.pool = pool
    assert (await api.ask("planner", "{ offers { nodes { id } } }")) == {"offers": {"nodes": []}}


async def test_an_answer_that_takes_too_long_is_given_up_and_may_be_asked_for_again(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    await api.institution("clinic")
    add, wish = RequestRepository.add, api.need_of(3, idempotencyKey="once")

    async def slowly(*args: Any) -> None:
        await add(*args)
        await asyncio.sleep(60)

    with monkeypatch.context() as patch:
        patch.setattr(RequestRepository, "add", slowly)
        patch.setattr(view, "LONGEST_SECONDS", 0.5)
        late = await api.do("clinic", "openRequest", **wish)
    assert (late.status, late.refusal[0]) == (503, "UNAVAILABLE")
    assert (await api.ask("clinic", "{ requests { nodes { id } } }"))["requests"]["nodes"] == []
    await api.done("clinic", "openRequest", **wish)


def _raise(error: Exception) -> Any:
    raise error


async def test_what_is_not_found_is_told_by_the_argument_it_was_asked_with(api: Api) -> None:
    answer = await api.send("planner", ONE, {"id": "0197e6f2-6f0c-7c3e-9f0a-1b2c3d4e5f60"})
    assert answer.refusal == ("NOT_FOUND", "NotFound", "id")
    assert answer.body["data"] == {"offer": None}
    for query, argument in (
        ('{ resource(code: "NO CODE") { name } }', "code"),
        ('{ offers(resource: "a\\u0000b") { nodes { id } } }', "resource"),
    ):
        assert (await api.send("planner", query)).refusal == ("INVALID", "Invalid", argument)


@pytest.mark.parametrize(
    ("query", "kind"),
    [
        ("{", "SyntaxError"),
        ("{ nothing }", "RequestError"),
        ("query { offer { id } }", "RequestError"),
        ("{ me { ...F } } fragment F on Me { ...F }", "RequestError"),
        ("query A { me { clientId } } query B { me { clientId } }", "RequestError"),
    ],
)
async def test_a_query_that_is_wrong_is_invalid(api: Api, query: str, kind: str) -> None:
    answer = await api.send("planner", query)
    assert answer.body["errors"][0]["extensions"] == {"code": "INVALID", "type": kind}
    assert "data" not in answer.body


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"availableFrom": "yesterday"}, "input.availableFrom"),
        ({"availableFrom": "2026-03-01T12:00:00"}, "input.availableFrom"),
        ({"availableFrom": "9999-12-31T23:59:59Z"}, "input.availableFrom"),
        ({"availableFrom": 1772366400}, "input.availableFrom"),
        ({"institution": "clinic"}, "input.institution"),
        ({"institution": "{0197e6f2-6f0c-7c3e-9f0a-1b2c3d4e5f60}"}, "input.institution"),
        ({"expiresOn": "2026-02-30"}, "input.expiresOn"),
        ({"quantity": "3"}, "input.quantity"),
        ({"quantity": 2**31}, "input.quantity"),
        ({"quantity": 1.5}, "input.quantity"),
        ({"quantity": None}, "input.quantity"),
        ({"lot": 7}, "input.lot"),
    ],
)
async def test_a_value_of_the_wrong_sort_is_named_by_its_path(api: Api, wrong: dict[str, Any], field: str) -> None:
    await api.institution("clinic")
    answer = await api.do("clinic", "publishOffer", **api.pledge_of(1) | wrong)
    assert answer.refusal == ("INVALID", "InputError", field)


async def test_a_field_that_is_missing_or_unknown_is_named_and_what_was_sent_is_not_told_back(api: Api) -> None:
    await api.institution("clinic")
    lacking = {name: value for name, value in api.need_of(3).items() if name != "neededUntil"}
    for asked, field in ((lacking, "neededUntil"), (api.need_of(3, beds=1), "beds")):
        answer = await api.do("clinic", "openRequest", **asked)
        assert answer.refusal == ("INVALID", "InputError", f"input.{field}")
        assert answer.error["message"].endswith(f"field '{field}'.")
    good = {"resource": "bed.adult", "asOf": "2026-03-01T12:00:00Z"}
    answer = await api.do("clinic", "reportCapacity", reports=[good, {"resource": "bed.adult"}])
    assert answer.refusal == ("INVALID", "InputError", "input.reports.1.asOf")


async def test_a_value_in_a_list_is_named_by_its_place(api: Api) -> None:
    await api.institution("clinic")
    good = {"resource": "bed.adult", "asOf": "2026-03-01T12:00:00Z", "staffed": 1}
    answer = await api.do("clinic", "reportCapacity", reports=[good, good | {"staffed": "one"}])
    assert answer.refusal == ("INVALID", "InputError", "input.reports.1.staffed")


async def test_a_value_written_into_the_query_is_named_by_where_it_stands(api: Api) -> None:
    for query in ('{ offer(id: "north") { id } }', '{ offers(filter: { availableAt: "today" }) { nodes { id } } }'):
        answer = await api.send("planner", query)
        assert answer.refusal[0] == "INVALID"
        assert answer.error["locations"] == [{"line": 1, "column": query.index('"') + 1}]
    answer = await api.send("planner", "{ offers(first: {many: 1}) { nodes { id } } }")
    assert answer.error["locations"] == [{"line": 1, "column": 17}]


async def test_texts_with_nul_are_refused_before_the_database_meets_them(api: Api) -> None:
    await api.institution("clinic")
    report = {"resource": "a\0", "asOf": "2026-03-01T12:00:00Z"}
    for name, asked, field in (
        ("openRequest", api.need_of(1, resource="a\0b"), "input.resource"),
        ("publishOffer", api.pledge_of(1, lot="a\0b"), "input.lot"),
        ("reportCapacity", {"reports": [report]}, "input.reports.0.resource"),
    ):
        assert (await api.do("clinic", name, **asked)).refusal == ("INVALID", "Invalid", field)


async def test_an_act_for_no_institution_asks_for_its_name(api: Api) -> None:
    assert (await api.do("planner", "openRequest", **api.need_of(1))).refusal == (
        "INVALID", "Invalid", "input.institution",
    )  # fmt: skip


async def test_at_most_ten_errors_are_told(api: Api) -> None:
    aliases = " ".join(f'a{n}: resource(code: "no.such.{n}") {{ name }}' for n in range(30))
    answer = await api.send("planner", f"{{ {aliases} }}")
    assert len(answer.body["errors"]) == 10
    assert len(answer.body["data"]) == 30
    fields = " ".join(f"nothing{n}" for n in range(30))
    assert len((await api.send("planner", f"{{ {fields} }}")).body["errors"]) <= 11


def test_errors_of_whole_fields_are_told_first_in_whichever_order_they_came() -> None:
    errors = [GraphQLError("No.", path=["offers", "nodes", n, "institution"]) for n in range(20)]
    errors += [GraphQLError("No.", path=[name]) for name in ("transfers", "requests")]
    orders = [errors, errors[::-1], Random(1).sample(errors, len(errors))]
    first = [["requests"], ["transfers"], *(["offers", "nodes", n, "institution"] for n in range(8))]
    assert [[error["path"] for error in tell(order)] for order in orders] == [first] * 3


async def test_nothing_is_suggested_to_who_guesses(api: Api) -> None:
    answer = await api.send("planner", "{ offerss { nodes { id } } }")
    assert "Did you mean" not in json.dumps(answer.body)
    answer = await api.do("planner", "openRequest", **api.need_of(1, reason="SURG", quantit=1))
    assert "Did you mean" not in json.dumps(answer.body)


IN_A_VARIABLE = "query ($filter: OfferFilterInput) { offers(filter: $filter) { nodes { id } } }"
STATUSES = "It must be one of OPEN, "


@pytest.mark.parametrize(
    ("query", "filter", "field"),
    [
        ("{ offers(filter: {status: OPNE}) { nodes { id } } }", None, "filter.status"),
        ('{ offers(filter: {status: "OPEN"}) { nodes { id } } }', None, "filter.status"),
        (IN_A_VARIABLE, {"status": "OPNE"}, "filter.status"),
        (IN_A_VARIABLE, {"status": 7}, "filter.status"),
        ("query ($status: OfferStatus) { offers(filter: {status: $status}) { nodes { id } } }", None, "status"),
        ("query ($filter: OfferFilterInput = {status: OPNE}) { offers(filter: $filter) { nodes { id } } }", None, None),
    ],
    ids=["written", "text", "variable", "number", "alone", "default"],
)
async def test_a_value_that_an_enum_does_not_have_is_told_with_those_that_it_has(
    api: Api, query: str, filter: dict[str, Any] | None, field: str | None  # noqa: A002
) -> None:
    answer = await api.send("planner", query, {"status": "opne"} if filter is None else {"filter": filter})
    assert answer.error["extensions"]["code"] == "INVALID"
    assert answer.error["extensions"].get("field") == field
    status = SCHEMA.split("\nenum OfferStatus {")[1].split("\n}")[0]
    names = ", ".join(line.strip() for line in status.splitlines() if line.strip().isupper())
    assert answer.error["message"].endswith(f"It must be one of {names}.")


@pytest.mark.parametrize("query", ["{ offers(filter: {status: OPNE}) { nodes { id } } }", IN_A_VARIABLE])
async def test_the_values_of_an_enum_are_told_to_nobody_who_may_not_ask_what_the_api_offers(
    api: Api, query: str
) -> None:
    """One after the other by the same query, which is remembered with what is wrong with it. Nothing is on record."""
    planner = api.callers["planner"]
    api.callers["device"] = replace(planner, roles=frozenset({Role.DEVICE}))
    api.callers["narrow"] = replace(planner, scopes=frozenset({"system/Offer.rs"}))
    for who, told in (("device", False), ("planner", True), ("narrow", False), ("nobody", False), ("planner", True)):
        answer = await api.send(who, query, {"filter": {"status": "OPNE"}})
        assert answer.error["message"].endswith("'OfferStatus' enum.") is not told, who
        assert ("OPEN" in json.dumps(answer.body)) is told, who
        asked = await api.send(who, '{ __type(name: "OfferStatus") { name } }')
        assert ("errors" not in asked.body) is told, who
    found = await api.ask("regulator", '{ decisions(kind: "access.refused") { nodes { actor } } }')
    assert len(found["decisions"]["nodes"]) == 3, "of asking what the API offers, and of nothing else"


async def test_values_are_told_of_an_enum_that_is_in_the_schema_whatever_somebody_sends(api: Api) -> None:
    for status in ("x' does not exist in 'Role' enum.", "Enum 'Role' cannot represent non-string value: 7."):
        message = (await api.send("planner", IN_A_VARIABLE, {"filter": {"status": status}})).error["message"]
        assert STATUSES in message
        assert "ALLOCATOR" not in message


async def test_values_of_an_enum_are_told_of_no_other_value_whatever_it_quotes(api: Api) -> None:
    said = "Enum 'Role' cannot represent non-string value: 7."
    answer = await api.send("planner", f'{{ offers(filter: "{said}") {{ nodes {{ id }} }} }}')
    assert said in answer.error["message"]
    assert "It must be one of" not in answer.error["message"]


def test_of_a_large_enum_not_all_values_are_told() -> None:
    kind = GraphQLEnumType("Large", {f"V{n}": None for n in range(MOST_VALUES + 5)})
    (told,) = with_values([GraphQLError("Value 'X' does not exist in 'Large' enum.")], GraphQLSchema(types=[kind]))
    assert told.message.endswith(f", V{MOST_VALUES - 1} and 5 more.")
