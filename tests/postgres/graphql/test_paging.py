"""Pages by cursor: complete, stable while others write, and not to be led astray."""

from __future__ import annotations

import base64
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID

import pytest
from joserfc.jwk import ECKey

from sharewell.domain.forecast import Forecast
from sharewell.wiring import worker_caller

if TYPE_CHECKING:
    from tests.postgres.graphql.conftest import Api

BEDS = "bed.adult"
OFFERS = """
query ($after: String, $first: Int! = 3) {
  offers(after: $after, first: $first) {
    nodes { id } edges { cursor node { id } }
    pageInfo { hasNextPage hasPreviousPage startCursor endCursor }
  }
}
"""


async def pages(api: Api, query: str, name: str, *, who: str = "clinic", first: int = 3) -> list[dict[str, Any]]:
    """Every page of a list, read to its end."""
    found: list[dict[str, Any]] = []
    after: str | None = None
    while True:
        page = (await api.ask(who, query, after=after, first=first))[name]
        found.append(page)
        if not page["pageInfo"]["hasNextPage"]:
            return found
        after = page["pageInfo"]["endCursor"]
        assert len(found) < 100


async def pledge(api: Api, times: int) -> list[str]:
    made = [await api.done("clinic", "publishOffer", "offer { id }", **api.pledge_of(1)) for _ in range(times)]
    return [one["offer"]["id"] for one in made]


@pytest.fixture
async def offers(api: Api) -> list[str]:
    """Seven offers of one clinic, newest first."""
    await api.institution("clinic")
    await api.report("clinic", staffed=100, occupied=5)
    return list(reversed(await pledge(api, 7)))


async def test_pages_together_have_every_item_once_and_in_order(api: Api, offers: list[str]) -> None:
    found = await pages(api, OFFERS, "offers")
    assert [len(page["nodes"]) for page in found] == [3, 3, 1]
    assert [node["id"] for page in found for node in page["nodes"]] == offers


async def test_edges_nodes_and_page_info_agree(api: Api, offers: list[str]) -> None:
    first, second, last = await pages(api, OFFERS, "offers")
    for page in (first, second, last):
        assert [edge["node"] for edge in page["edges"]] == page["nodes"]
        assert page["pageInfo"]["startCursor"] == page["edges"][0]["cursor"]
        assert page["pageInfo"]["endCursor"] == page["edges"][-1]["cursor"]
    assert [page["pageInfo"]["hasPreviousPage"] for page in (first, second, last)] == [False, True, True]


async def test_any_cursor_of_a_page_continues_behind_its_item(api: Api, offers: list[str]) -> None:
    everything = (await api.ask("clinic", OFFERS, first=7))["offers"]
    for place, edge in enumerate(everything["edges"]):
        rest = (await api.ask("clinic", OFFERS, first=7, after=edge["cursor"]))["offers"]
        assert [node["id"] for node in rest["nodes"]] == offers[place + 1 :]


async def test_who_pages_while_others_write_sees_no_item_twice_and_misses_none(api: Api, offers: list[str]) -> None:
    seen: list[str] = []
    after: str | None = None
    more = True
    while more:
        page = (await api.ask("clinic", OFFERS, after=after, first=2))["offers"]
        seen += [node["id"] for node in page["nodes"]]
        after, more = page["pageInfo"]["endCursor"], page["pageInfo"]["hasNextPage"]
        await pledge(api, 2)
        await api.done("clinic", "withdrawOffer", offer=seen[0]) if len(seen) == 2 else None
    assert seen == offers


async def test_an_empty_list_is_a_page_without_cursors(api: Api) -> None:
    await api.institution("clinic")
    assert (await api.ask("clinic", OFFERS))["offers"] == {
        "nodes": [], "edges": [],
        "pageInfo": {"hasNextPage": False, "hasPreviousPage": False, "startCursor": None, "endCursor": None},
    }  # fmt: skip


@pytest.mark.parametrize("first", [0, -1, 1001, 2**31 - 1])
async def test_a_page_has_1_to_1000_items(api: Api, offers: list[str], first: int) -> None:
    refused = await api.send("clinic", OFFERS, {"first": first})
    assert refused.refusal == ("INVALID", "Invalid", "first")
    assert len((await api.ask("clinic", OFFERS, first=1000))["offers"]["nodes"]) == 7


def cursor(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


HOSTILE = [
    "", " ", "=", "AAAA", "A" * 10_000, "ä", "🙂", "\0", "null", "0", "-1", "YXJyYXljb25uZWN0aW9uOjE=",
    "../../etc/passwd",
    cursor(UUID(int=1).bytes) + "=", cursor(UUID(int=1).bytes) + "\n", cursor(UUID(int=1).bytes)[:-1] + "z",
    cursor(b"x" * 15), cursor(b"x" * 17), cursor(b"' or 1=1 --"), cursor(b"\xff\xfe"), cursor(b"bed.adult"),
    cursor(b"a\0b"), cursor("ä".encode()), cursor(b"bed.adult 2026-13-01"), cursor(b"bed.adult tomorrow"),
]  # fmt: skip
#: Each list with its own sort of key, and hostile texts that happen to be keys of that sort.
LISTS = {
    "offers": set(),
    "resources": {cursor(b"x" * 15), cursor(b"x" * 17), cursor(b"' or 1=1 --"), cursor(b"bed.adult"),
                  cursor(b"bed.adult 2026-13-01"), cursor(b"bed.adult tomorrow")},
    "forecasts": set(),
}  # fmt: skip


@pytest.mark.parametrize("name", LISTS)
async def test_a_cursor_that_is_none_is_refused_and_never_a_crash(api: Api, name: str) -> None:
    await api.institution("clinic")
    query = f"query ($after: String) {{ {name}(after: $after) {{ nodes {{ __typename }} }} }}"
    for after in HOSTILE:
        answer = await api.send("clinic", query, {"after": after})
        if after in LISTS[name]:
            assert answer.data[name] is not None, after  # a code nobody has is a place in the list all the same
        else:
            assert answer.refusal == ("INVALID", "Invalid", "after"), after


async def test_institutions_and_resources_page_in_their_own_order(api: Api) -> None:
    for code in ("clinic", "zoo", "asylum", "midwife"):
        await api.institution(code)
    query = """query ($after: String, $first: Int!) {
      institutions(after: $after, first: $first) { nodes { code } pageInfo { hasNextPage endCursor } } }"""
    found = await pages(api, query, "institutions")
    assert [node["code"] for page in found for node in page["nodes"]] == ["clinic", "zoo", "asylum", "midwife"]
    query = query.replace("institutions", "resources")
    found = await pages(api, query, "resources", first=2)
    codes = [node["code"] for page in found for node in page["nodes"]]
    assert codes == sorted(codes)
    assert BEDS in codes
    assert len(codes) >= 5


async def test_clients_page_by_their_id(api: Api) -> None:
    key = {"keys": [ECKey.generate_key("P-384").as_dict(private=False, kid="k", use="sig", alg="ES384")]}
    for name in ("bot-b", "bot-a", "bot-c"):
        await api.done("admin", "registerClient", clientId=name, name=name, roles=["REGULATOR"],
                       scopes=["system/*.rs"], jwks=key)  # fmt: skip
    query = """query ($after: String, $first: Int!) {
      clients(after: $after, first: $first) { nodes { clientId } pageInfo { hasNextPage endCursor } } }"""
    found = await pages(api, query, "clients", who="admin", first=1)
    assert [node["clientId"] for page in found for node in page["nodes"]] == ["bot-a", "bot-b", "bot-c"]


async def test_forecasts_page_by_resource_and_day(api: Api) -> None:
    clinic = UUID(await api.institution("clinic"))
    await api.institution("other")
    today = api.at.date()
    for resource in ("ventilator", BEDS):
        forecasts = [
            Forecast(
                institution=clinic, resource=resource, signal="need", origin=today - timedelta(1),
                target=today + timedelta(ahead), horizon=ahead + 1, quantiles=((100, 900), (500, 1500), (900, 2250)),
                model="persistence", fallback="too little history",
            )
            for ahead in range(3)
        ]  # fmt: skip
        await api.workers.forecasts.adopt(
            worker_caller("forecast", "r-3"), await api.workers.forecasts.history(resource), step_days=1,
            origin=today - timedelta(1), model="persistence", trial=None, data_sha256="ab" * 32,
            code_sha256="cd" * 32, forecasts=forecasts,
        )  # fmt: skip
    query = """query ($after: String, $first: Int!) { forecasts(after: $after, first: $first) {
      nodes { resource target fallback quantiles { level value } institution { code } }
      pageInfo { hasNextPage endCursor } } }"""
    found = await pages(api, query, "forecasts", first=2)
    nodes = [node for page in found for node in page["nodes"]]
    days = [str(date.fromordinal(today.toordinal() + ahead)) for ahead in range(3)]
    assert [(node["resource"], node["target"]) for node in nodes] == [
        (resource, day) for resource in (BEDS, "ventilator") for day in days
    ]
    assert nodes[0]["quantiles"][2] == {"level": 900, "value": 2.25}
    assert nodes[0]["institution"] == {"code": "clinic"}
    runs = await api.ask("planner", "{ forecastRuns { nodes { resource model trial { id } series fallbacks } } }")
    assert runs["forecastRuns"]["nodes"][0] == {
        "resource": BEDS, "model": "persistence", "trial": None, "series": 1, "fallbacks": 1,
    }  # fmt: skip
    other = await api.send("other", "query ($of: UUID!) { forecasts(institution: $of) { nodes { target } } }",
                           {"of": str(clinic)})  # fmt: skip
    assert other.refusal[0] == "FORBIDDEN"
