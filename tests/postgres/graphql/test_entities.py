"""What a gateway asks for by key: the same things, permissions and traces as of a query by id, in one batch. Of what
the request says nothing counts but the key."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from tests.postgres.graphql.conftest import Answer, Api

from sharewell.domain.errors import Unavailable
from sharewell.domain.offers import Offer
from sharewell.store.offers import OfferRepository
from sharewell_schema.entities import ENTITIES, MOST

FIELDS = {
    "Institution": "id code name status", "Resource": "code name unit", "Offer": "id quantity institution { code }",
    "Request": "id requested institution { code }", "Transfer": "id quantity giver { code } offer { id }",
    "Allocation": "id region receipts { sentence }",
}  # fmt: skip
SELECTED = " ".join(f"... on {name} {{ {fields} }}" for name, fields in FIELDS.items())
ENTITIES_QUERY = f"query ($of: [_Any!]!) {{ _entities(representations: $of) {{ __typename {SELECTED} }} }}"
BY_ID = {
    name: f"query ($id: {'String' if name == 'Resource' else 'UUID'}!) {{ {name.lower()}("
    f"{'code' if name == 'Resource' else 'id'}: $id) {{ {fields} }} }}"
    for name, fields in FIELDS.items()
}
TRACES = """
select actor, action, kind, outcome, institution, subject_kind from audit.decision where staged_id > $1 order by 1, 2, 5
"""


async def entities(api: Api, who: str, *representations: Any) -> Answer:
    return await api.send(who, ENTITIES_QUERY, {"of": representations})


@pytest.fixture
async def things(api: Api) -> dict[str, str]:
    """One thing of each kind, by type; none of them is of `other`."""
    transfer = await api.held_transfer()
    await api.institution("other", latitude=41.0)
    found = await api.ask("giver", "{ transfers { nodes { offerId giverId allocationId requestId } } }")
    (node,) = found["transfers"]["nodes"]
    return {
        "Transfer": transfer, "Offer": node["offerId"], "Institution": node["giverId"], "Resource": "bed.adult",
        "Request": node["requestId"], "Allocation": node["allocationId"],
    }  # fmt: skip


def key_of(name: str) -> str:
    return ENTITIES[name].keys[0].field


def test_every_entity_names_the_keys_that_its_directives_do() -> None:
    for name, entity in ENTITIES.items():
        definition: Any = entity.shown.__strawberry_definition__  # type: ignore[attr-defined]
        declared = [str(one.fields) for one in definition.directives]
        assert (definition.name, [key.field for key in entity.keys]) == (name, declared)


@pytest.mark.parametrize("scopes", [{"system/*.cruds"}, {"system/*.r"}, {"system/*.s"}, set()], ids=str)
async def test_who_may_ask_for_a_thing_by_id_gets_it_as_an_entity_with_the_same_trace_and_nobody_else_does(
    api: Api, owner: Any, things: dict[str, str], scopes: set[str]
) -> None:
    for who in ("giver", "receiver", "other", "planner", "regulator", "admin", "nobody"):
        api.callers[who] = replace(api.callers[who], scopes=frozenset(scopes))
        for name, key in things.items():
            start = await owner.fetchval("select max(staged_id) from audit.decision")
            single = await api.send(who, BY_ID[name], {"id": key})
            middle = await owner.fetchval("select max(staged_id) from audit.decision")
            entity = await entities(api, who, {"__typename": name, key_of(name): key})
            assert alike(name, single.body, entity.body), (who, name, single.body, entity.body)
            both, second = await owner.fetch(TRACES, start), await owner.fetch(TRACES, middle)
            assert both == [row for row in second for _ in range(2)], (who, name)


def alike(name: str, single: Mapping[str, Any], entity: Mapping[str, Any]) -> bool:
    """Whether both answers say the same, but for where they say it."""
    thing, found = single["data"][name.lower()], entity["data"]["_entities"][0]
    if thing is not None:
        thing = {"__typename": name, **thing}
    said = [[(e["message"], e["extensions"]["code"]) for e in answer.get("errors", ())] for answer in (single, entity)]
    return thing == found and said[0] == said[1]


async def test_an_institution_is_found_by_its_code_too(api: Api, things: dict[str, str]) -> None:
    found = (await entities(api, "giver", {"__typename": "Institution", "code": "receiver"})).data["_entities"]
    assert found[0] | {"id": ""} == {
        "__typename": "Institution", "id": "", "code": "receiver", "name": "Receiver", "status": "ACTIVE",
    }  # fmt: skip


async def test_nothing_of_a_representation_is_believed_but_its_key(api: Api, things: dict[str, str]) -> None:
    lies = {"code": "elsewhere", "name": "Lies", "status": "SUSPENDED", "__proto__": {}, "info": 1, "self": 2}
    found = await entities(api, "giver", {"__typename": "Institution", "id": things["Institution"], **lies})
    assert found.data["_entities"][0]["code"] == "giver"
    assert found.data["_entities"][0]["status"] == "ACTIVE"


async def test_fifty_things_of_a_kind_are_one_batch_and_come_in_the_order_asked(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    await api.institution("giver")
    await api.report("giver", staffed=200, occupied=5)
    ids = [
        (await api.done("giver", "publishOffer", "offer { id }", **api.pledge_of(1)))["offer"]["id"] for _ in range(50)
    ]
    asked: list[int] = []
    real = OfferRepository.by_ids

    async def counted(self: OfferRepository, ids: Any) -> dict[Any, Offer]:
        asked.append(len(ids))
        return await real(self, ids)

    monkeypatch.setattr(OfferRepository, "by_ids", counted)
    wanted = [*reversed(ids), ids[7]]
    found = await entities(api, "giver", *({"__typename": "Offer", "id": each} for each in wanted))
    assert [one["id"] for one in found.data["_entities"]] == wanted
    assert asked == [50]


async def test_refused_things_leave_one_entry_for_each_owner_that_names_them(
    api: Api, owner: Any, things: dict[str, str]
) -> None:
    more = (await api.done("giver", "publishOffer", "offer { id }", **api.pledge_of(1)))["offer"]["id"]
    asked = [{"__typename": "Offer", "id": each} for each in (things["Offer"], more)]
    start = await owner.fetchval("select max(staged_id) from audit.decision")
    answer = await entities(api, "admin", *asked)
    assert answer.body["data"] == {"_entities": [None, None]}
    assert [error["path"] for error in answer.body["errors"]] == [["_entities", 0], ["_entities", 1]]
    assert {error["extensions"]["code"] for error in answer.body["errors"]} == {"FORBIDDEN"}
    ids = await owner.fetch(
        "select convert_from(body, 'UTF8')::jsonb #> '{details,ids}' as ids from audit.entry e"
        " join audit.decision d using (staged_id) where d.staged_id > $1", start,
    )  # fmt: skip
    (named,) = ids
    assert things["Offer"] in named["ids"]
    assert more in named["ids"]


UNREAL = "018f0000-0000-7000-8000-0000000000ff"
WRONG: list[tuple[Any, tuple[str, str]]] = [
    ({"__typename": "Client", "id": UNREAL}, ("INVALID", "representations.1.__typename")),
    ({"__typename": "Query"}, ("INVALID", "representations.1.__typename")),
    ({"__typename": ["Offer"], "id": UNREAL}, ("INVALID", "representations.1.__typename")),
    ({"id": UNREAL}, ("INVALID", "representations.1.__typename")),
    ({"__typename": "Offer"}, ("INVALID", "representations.1")),
    ({"__typename": "Offer", "code": "x"}, ("INVALID", "representations.1")),
    ({"__typename": "Offer", "id": "1"}, ("INVALID", "representations.1.id")),
    ({"__typename": "Offer", "id": {"id": UNREAL}}, ("INVALID", "representations.1.id")),
    ({"__typename": "Resource", "code": "Bed; --"}, ("INVALID", "representations.1.code")),
    ({"__typename": "Resource", "code": 7}, ("INVALID", "representations.1.code")),
    ("Offer", ("INVALID", "representations.1")),
    ([], ("INVALID", "representations.1")),
    ({"__typename": "Offer", "id": UNREAL}, ("NOT_FOUND", "representations.1.id")),
    ({"__typename": "Resource", "code": "bed.none"}, ("NOT_FOUND", "representations.1.code")),
    ({"__typename": "Institution", "code": "nobody"}, ("NOT_FOUND", "representations.1.code")),
]


@pytest.mark.parametrize(("wrong", "refusal"), WRONG, ids=[str(wrong)[:60] for wrong, _ in WRONG])
async def test_a_representation_that_names_nothing_is_an_error_of_its_own_and_spoils_no_other(
    api: Api, wrong: Any, refusal: tuple[str, str]
) -> None:
    await api.institution("giver")
    beds = {"__typename": "Resource", "code": "bed.adult"}
    answer = await entities(api, "giver", beds, wrong, beds)
    first, none, last = answer.body["data"]["_entities"]
    assert (first["code"], none, last["code"]) == ("bed.adult", None, "bed.adult")
    code, _, field = answer.refusal
    assert (code, field) == refusal
    assert answer.error["path"] == ["_entities", 1]


async def test_too_many_representations_are_refused_before_anything_is_looked_up(api: Api) -> None:
    many = [{"__typename": "Offer", "id": UNREAL}] * (MOST + 1)
    answer = await entities(api, "planner", *many)
    assert answer.refusal == ("INVALID", "Invalid", "representations")
    assert answer.body["data"] is None


async def test_entities_whose_reading_cannot_be_recorded_are_not_told(
    api: Api, owner: Any, things: dict[str, str]
) -> None:
    await owner.execute("revoke execute on function audit.record(bytea) from sharewell_gateway")
    try:
        answer = await entities(api, "other", {"__typename": "Offer", "id": things["Offer"]})
    finally:
        await owner.execute("grant execute on function audit.record(bytea) to sharewell_gateway")
    assert answer.status == 503
    assert answer.body["errors"][0]["extensions"]["type"] == Unavailable.__name__
    assert answer.body["data"] is None


async def test_a_composer_is_told_the_schema_with_its_directives(api: Api) -> None:
    sdl = (await api.ask("planner", "{ _service { sdl } }"))["_service"]["sdl"]
    assert 'type Institution @key(fields: "id") @key(fields: "code")' in sdl
    assert 'url: "https://specs.apollo.dev/federation/v2.9"' in sdl
