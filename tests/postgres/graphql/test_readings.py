"""Readings that leave a trace, refusals that stay on record, and no answer where the database refuses the record."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest
from tests.postgres.graphql.conftest import Api

from sharewell.domain.errors import Unavailable
from sharewell.services.access import Refusal

READINGS = "select actor, action, subject_kind, subject_id, institution from audit.decision where kind = 'data.read'"
WHERE = """
select d.institution, convert_from(e.body, 'UTF8')::jsonb #>> '{details,region}' as region
  from audit.entry e join audit.decision d using (staged_id) where d.kind = 'data.read' order by d.id
"""
OFFERS = "query ($of: UUID) { offers(institution: $of) { nodes { id quantity } } }"


@asynccontextmanager
async def unrecorded(owner: Any) -> AsyncIterator[None]:
    """While this lasts the database refuses every entry, and everything else works."""
    await owner.execute("revoke execute on function audit.record(bytea) from sharewell_gateway")
    try:
        yield
    finally:
        await owner.execute("grant execute on function audit.record(bytea) to sharewell_gateway")


async def two(api: Api) -> tuple[str, str]:
    """North, which pledges, and South, which looks."""
    north, south = await api.institution("north"), await api.institution("south")
    await api.report("north", staffed=20, occupied=5)
    await api.done("north", "publishOffer", **api.pledge_of(3))
    return north, south


async def readings(owner: Any) -> list[tuple[Any, ...]]:
    return [(*row.values(),) for row in await owner.fetch(f"{READINGS} order by id")]


async def test_what_one_institution_reads_of_another_is_on_record_and_the_other_finds_it(api: Api, owner: Any) -> None:
    north, _ = await two(api)
    found = await api.ask("south", OFFERS, of=north)
    assert found["offers"]["nodes"][0]["quantity"] == 3
    ((actor, action, kind, subject, institution),) = await readings(owner)
    assert (actor, action, kind, subject, str(institution)) == ("south-client", "viewOffer", "offer", "*", north)
    told = await api.ask("north", '{ decisions(kind: "data.read") { nodes { actor action } } }')
    assert told["decisions"]["nodes"] == [{"actor": "south-client", "action": "viewOffer"}]


@pytest.mark.parametrize("total", ["", "totalCount"], ids=["written", "read"])
async def test_whom_a_filter_names_finds_the_reading_as_whoever_is_asked_for_does(
    api: Api, owner: Any, total: str
) -> None:
    north, south = await two(api)
    east = await api.institution("east")
    both = f'filter: {{institutions: ["{north}", "{south}"]}}'
    asked = [
        ("south", f"offers({both})", [north]),
        ("east", f"offers({both})", [north, south]),
        ("east", f'offers(institution: "{north}", {both})', [north]),
        ("regulator", f"requests({both})", [north, south]),
        ("regulator", f'transfers(filter: {{giver: "{north}", receiver: "{east}"}})', [north, east]),
        ("regulator", f'transfers(filter: {{receiver: "{south}"}})', [south]),
        ("east", f"requests({both})", []),
    ]
    for who, query, expected in asked:
        before = len(await readings(owner))
        await api.ask(who, f"{{ {query} {{ nodes {{ id }} {total} }} }}")
        found = [str(institution) for *_, institution in (await readings(owner))[before:]]
        assert sorted(found) == sorted(expected), (who, query)


@pytest.mark.parametrize("total", ["", "totalCount"], ids=["written", "read"])
async def test_whom_a_regulator_of_other_regions_names_finds_that_its_transfers_with_these_were_read(
    api: Api, owner: Any, total: str
) -> None:
    """None may be there; that is told, too. Of offers and requests of another region nothing can be told."""
    north, south = await api.institution("north"), await api.institution("south", region="coast")
    for name, regions in (("local", {"us-nj"}), ("both", {"us-nj", "us-ny"})):
        api.callers[name] = replace(api.callers["regulator"], principal=name, jurisdiction=frozenset(regions))
    asked: list[tuple[str, str, list[tuple[str | None, str | None]]]] = [
        ("local", f'transfers(filter: {{receiver: "{south}"}})', [(None, "us-nj"), (south, "us-nj")]),
        ("local", f'transfers(filter: {{giver: "{south}", receiver: "{north}"}})',
         [(None, "us-nj"), (north, None), (south, "us-nj")]),
        ("local", f'transfers(filter: {{giver: "{north}"}})', [(north, None)]),
        ("both", f'transfers(filter: {{giver: "{south}"}})',
         [(None, "us-nj"), (None, "us-ny"), (south, "us-nj"), (south, "us-ny")]),
        ("local", f'requests(filter: {{institutions: ["{south}"]}})', [(None, "us-nj")]),
        ("north", f'transfers(filter: {{receiver: "{south}"}})', []),
    ]  # fmt: skip
    for who, query, expected in asked:
        before = len(await readings(owner))
        await api.ask(who, f"{{ {query} {{ nodes {{ id }} {total} }} }}")
        found = (await owner.fetch(WHERE))[before:]
        told = [(None if row["institution"] is None else str(row["institution"]), row["region"]) for row in found]
        assert Counter(told) == Counter(expected), (who, query)
    kinds = await api.ask("south", '{ decisions(kind: "data.read") { nodes { actor action } } }')
    read = [{"actor": who, "action": "viewTransfer"} for who in ("both", "both", "local", "local")]
    assert kinds["decisions"]["nodes"] == read
    query = f'{{ transfers(filter: {{receiver: "{south}"}}) {{ nodes {{ id }} {total} }} }}'
    async with unrecorded(owner):
        answer = await api.send("local", query)
    assert (answer.status, answer.error["extensions"]["code"]) == (503, "UNAVAILABLE")


async def test_what_an_institution_reads_of_itself_and_what_is_nobodys_leaves_no_trace(api: Api, owner: Any) -> None:
    north, _ = await two(api)
    await api.ask("north", OFFERS, of=north)
    await api.ask("north", "{ institutions { nodes { id } } resources { nodes { code } } policySet { sha256 } }")
    await api.ask("planner", "{ offers { nodes { id } } }")
    assert await readings(owner) == []


async def test_what_a_list_names_of_others_is_on_record_by_owner_with_its_ids(api: Api, owner: Any) -> None:
    transfer = await api.held_transfer()
    found = await api.ask("receiver", "{ transfers { nodes { id offerId offer { quantity } } } }")
    (node,) = found["transfers"]["nodes"]
    assert (node["id"], node["offer"]) == (transfer, {"quantity": 6})
    ((actor, action, _, _, institution),) = await readings(owner)
    assert (actor, action, institution) == ("receiver-client", "viewOffer", api.callers["giver"].institution)
    ids = await owner.fetchval(
        "select convert_from(body, 'UTF8')::jsonb #>> '{details,ids,0}' from audit.entry e"
        " join audit.decision d using (staged_id) where d.kind = 'data.read'"
    )
    assert ids == node["offerId"]


@pytest.mark.parametrize(
    "query",
    [
        "{ offers { nodes { id } } }", "{ requests { nodes { id } } }", "{ transfers { nodes { id } } }",
        "{ capacityReports { nodes { id } } }", "{ allocations { nodes { id } } }", "{ overrides { nodes { id } } }",
        "{ consents { nodes { id } } }", "{ institutions { nodes { id } } }", "{ policySet { sha256 } }",
        "{ clients { nodes { clientId } } }", "{ jobsUnderway { id } }", "{ surgeModes { nodes { id } } }",
        "{ policyVersions { nodes { number } } }", "{ brokenGlasses { nodes { id } } }",
    ],
)  # fmt: skip
async def test_whatever_a_regulator_reads_is_on_record_and_not_told_where_it_cannot_be(
    api: Api, owner: Any, query: str
) -> None:
    await two(api)
    assert (await api.send("regulator", query)).status == 200
    assert {row[0] for row in await readings(owner)} == {"regulator"}
    async with unrecorded(owner):
        answer = await api.send("regulator", query)
    assert answer.status == 503
    assert set(answer.body["data"].values()) == {None}


@pytest.mark.parametrize(
    ("who", "query"),
    [
        ("south", OFFERS),
        ("south", "query ($of: UUID) { capacityReports(institution: $of) { nodes { id } } }"),
        ("south", "{ allocations { nodes { id } } }"),
        ("regulator", "{ decisions { nodes { id } } }"),
        ("south", '{ decisions(kind: "offer.published") { nodes { id } } }'),
        ("regulator", "{ reconciliations { nodes { id } } }"),
        ("regulator", 'query ($of: UUID) { dataSubject(identifier: "x", institution: $of) { subject } }'),
    ],
)
async def test_nothing_is_answered_where_the_reading_cannot_be_recorded(
    api: Api, owner: Any, who: str, query: str
) -> None:
    north, _ = await two(api)
    asked = {"of": north} if "$of" in query else {}
    assert (await api.send(who, query, asked)).status == 200
    async with unrecorded(owner):
        answer = await api.send(who, query, asked)
    assert (answer.status, answer.error["extensions"]["code"]) == (503, "UNAVAILABLE")
    assert set(answer.body["data"].values()) == {None}


async def test_what_a_list_would_name_of_others_is_not_told_where_that_cannot_be_recorded(
    api: Api, owner: Any
) -> None:
    await api.held_transfer()
    async with unrecorded(owner):
        answer = await api.send("receiver", "{ transfers { nodes { offer { quantity } } } }")
    assert answer.status == 503
    assert "quantity" not in str(answer.body.get("data"))


async def test_one_decision_its_bundle_and_its_person_are_not_told_where_that_cannot_be_recorded(
    api: Api, owner: Any
) -> None:
    await two(api)
    person = {"identifier": "staff-4711", "name": "Ayşe Ünal"}
    done = await api.done("north", "publishOffer", **api.pledge_of(1), onBehalfOf=person)
    for select in ("entry", "onBehalfOf { name }"):
        query = f"query ($id: UUID!) {{ decision(id: $id) {{ {select} }} }}"
        assert (await api.send("regulator", query, {"id": done["decision"]["id"]})).status == 200
        async with unrecorded(owner):
            answer = await api.send("regulator", query, {"id": done["decision"]["id"]})
        assert answer.status == 503
        assert answer.body["data"] == {"decision": None}


async def test_a_refusal_stays_on_record_though_its_transaction_was_undone(api: Api, owner: Any) -> None:
    north, _ = await two(api)
    before = await owner.fetchval("select count(*) from sharewell.answered")
    refused = await api.do("south", "publishOffer", **api.pledge_of(1), institution=north)
    assert refused.error["extensions"]["code"] == "FORBIDDEN"
    assert await owner.fetchval("select count(*) from sharewell.answered") == before
    found = await owner.fetch("select actor, action, outcome from audit.decision where kind = 'access.refused'")
    assert [(*row.values(),) for row in found] == [("south-client", "publishOffer", "refused")]


@pytest.mark.parametrize("act", ["a deed", "a reading"])
async def test_a_refusal_that_cannot_be_recorded_is_no_answer_either(api: Api, owner: Any, act: str) -> None:
    north, _ = await two(api)
    async with unrecorded(owner):
        if act == "a deed":
            answer = await api.do("south", "publishOffer", **api.pledge_of(1), institution=north)
        else:
            answer = await api.send("south", f'{{ requests(institution: "{north}") {{ nodes {{ id }} }} }}')
    assert (answer.status, answer.error["extensions"]["code"]) == (503, "UNAVAILABLE")


async def test_a_credential_whose_refusal_cannot_be_recorded_gets_no_answer(api: Api, owner: Any) -> None:
    refusal = Refusal(reason="expired", actor=None, client_id=None, details={}, request_id="r-1")
    async with unrecorded(owner):
        with pytest.raises(Unavailable):
            await api.people.access.refused(refusal)


@pytest.mark.parametrize("name", ["publishOffer", "openRequest", "reportCapacity"])
async def test_a_deed_that_cannot_be_recorded_is_not_done(api: Api, owner: Any, name: str) -> None:
    await two(api)
    report = {"resource": "mask.n95", "asOf": "2026-03-01T12:00:00Z", "staffed": 5, "occupied": 1}
    asked = {
        "publishOffer": api.pledge_of(1), "openRequest": api.need_of(1), "reportCapacity": {"reports": [report]},
    }[name]  # fmt: skip
    tables = ("offer", "request", "capacity_report", "answered")
    counts = [await owner.fetchval(f"select count(*) from sharewell.{table}") for table in tables]
    async with unrecorded(owner):
        assert (await api.do("north", name, **asked)).status == 503
    assert [await owner.fetchval(f"select count(*) from sharewell.{table}") for table in tables] == counts
    assert (await api.do("north", name, **asked)).status == 200
