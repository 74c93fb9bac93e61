"""Every list of the API, backwards and in every order that it has: the same items in the same order as forwards."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from operator import itemgetter
from typing import TYPE_CHECKING, Any
from uuid import UUID

import asyncpg
import pytest
from graphql import GraphQLEnumType, GraphQLInputObjectType, get_named_type
from joserfc.jwk import ECKey
from tests.postgres.graphql.conftest import text
from tests.postgres.graphql.test_forecasts import BEDS, forecast
from tests.postgres.graphql.test_lists import FIELDS, KINDS, by_id
from tests.postgres.graphql.test_plain import fill
from tests.postgres.graphql.test_simulations import CLOSED, draft

from sharewell.domain.drift import Watch, WatchState
from sharewell.domain.forecast import ForecastSum
from sharewell.store.simulations import SimulationRepository
from sharewell_schema.paging import write_cursor

if TYPE_CHECKING:
    from tests.postgres.graphql.conftest import Api

Row = Mapping[str, Any]
PAGE_INFO = "pageInfo { hasNextPage hasPreviousPage startCursor endCursor }"


@dataclass(frozen=True)
class Asked:
    """How one list is asked for."""

    who: str = "planner"
    given: str = ""  #: arguments
    variables: Mapping[str, Any] | None = None
    declared: str = ""


@dataclass(frozen=True)
class Sorts:
    """How the orders of a list read in Python, over these columns."""

    columns: str
    keys: Mapping[str, Callable[[Row], Any]]


def day(row: Row) -> tuple[Any, ...]:
    return row.get("resource") or row.get("region") or "", row["target"]


ORDERS: Mapping[str, Sorts] = {
    **{name: Sorts(kind.columns, {
        sort: lambda row, key=key: (key(row), row["id"]) for sort, key in kind.sorts.items()  # type: ignore[misc]
    }) for name, kind in KINDS.items()},
    "agreements": Sorts("id until", {"PROPOSED": by_id, "UNTIL": itemgetter("until", "id")}),
    "consents": Sorts("id until", {"GIVEN": by_id, "UNTIL": itemgetter("until", "id")}),
    "clients": Sorts("clientId name createdAt expiresAt", {
        "CLIENT_ID": itemgetter("clientId"), "NAME": itemgetter("name", "clientId"),
        "REGISTERED": itemgetter("createdAt", "clientId"),
        "EXPIRES": lambda row: (row["expiresAt"] or "9999", row["clientId"]),
    }),
    "people": Sorts("id name createdAt", {"NAME": itemgetter("name", "id"), "INVITED": itemgetter("createdAt", "id")}),
    "driftingForecasts": Sorts("resource institutionId since", {
        "RESOURCE": itemgetter("resource", "institutionId"), "SINCE": itemgetter("since", "resource", "institutionId"),
    }),
    "forecasts": Sorts("resource target", {"RESOURCE": day, "TARGET": lambda row: day(row)[::-1]}),
    "regionForecasts": Sorts("region target", {"REGION": day, "TARGET": lambda row: day(row)[::-1]}),
    "forecastRuns": Sorts("id origin", {"ADOPTED": by_id, "ORIGIN": itemgetter("origin", "id")}),
    "giveAndTake": Sorts("institutionId given received", {
        "GIVEN": itemgetter("given", "institutionId"), "RECEIVED": itemgetter("received", "institutionId"),
    }),
    "decisions": Sorts("id at", {"DECIDED": itemgetter("at", "id")}),
}  # fmt: skip


@pytest.fixture
async def lists(api: Api, admin_dsn: str) -> Mapping[str, Asked]:
    """A world in which most lists have some items, and how each list is asked for."""
    regions = {"north": "coast", "south": "us-nj", "east": "inland"}
    houses = {name: await api.institution(name, region=region) for name, region in regions.items()}
    await api.report("north", staffed=20, occupied=0)
    for _ in range(5):
        await api.done("north", "publishOffer", **api.pledge_of(1))
    await fill(admin_dsn, houses)
    for n, name in enumerate([*regions] * 2):
        api.at += timedelta(minutes=1)
        await api.report(name, staffed=20 + n, occupied=n, asOf=f"2026-03-01T{(n * 5) % 7:02}:00:00Z")
    for n in range(4):
        until = text(api.at + timedelta(days=4 - n % 2))
        await api.done("north", "proposeAgreement", receiver=houses["south"], detail="COUNTS", until=until)
        await api.done("south", "giveConsent", resource=("ventilator", BEDS)[n % 2], until=until)
    key = {"keys": [ECKey.generate_key("P-384", {"kid": "k"}).as_dict(private=False, use="sig", alg="ES384")]}
    for n in range(4):
        more = {"expiresAt": text(api.at + timedelta(days=2 + n))} if n % 2 else {}
        await api.done("admin", "registerClient", clientId=f"bot-{n}", name=f"Bot {n % 2}", roles=["REGULATOR"],
                       scopes=["system/*.rs"], jwks=key, **more)  # fmt: skip
        await api.done("admin", "registerPerson", login=f"ann-{n}", name=f"Ann {n % 2}", roles=["REGULATOR"])
        await api.done("admin", "registerClient", clientId=f"app-{n}", name="App", roles=["REGULATOR"],
                       scopes=["user/*.rs"], redirectUris=["https://app.example/in"])  # fmt: skip
        api.at += timedelta(minutes=1)
    north = UUID(houses["north"])
    decision = UUID(int=0)
    for n, resource in enumerate(["ventilator", BEDS, BEDS]):
        decision = await forecast(api, [north], resource=resource, model="persistence", sums=_sums(api, resource))
        api.at += timedelta(days=(0, 2, 1)[n])
    await _drifting(api, houses, decision)
    await _moved(admin_dsn)
    api.at += timedelta(minutes=1)
    window = {"files": draft(CLOSED), "since": "2026-03-01T00:00:00Z", "until": text(api.at)}
    api.at += timedelta(minutes=1)
    return {
        **dict.fromkeys(FIELDS, Asked()),
        **dict.fromkeys(("clients", "people", "accessReview", "policyVersions", "brokenGlasses"), Asked("admin")),
        **dict.fromkeys(("agreements", "reconciliations", "witnessRefusals"), Asked("regulator")),
        "forecasts": Asked("north", 'since: "2026-03-01"'),
        "regionForecasts": Asked(given=f'resource: "{BEDS}", since: "2026-03-01"'),
        "decisions": Asked("regulator", f'until: "{window["until"]}"'),  # reading them leaves more of them
        "giveAndTake": Asked("regulator", 'since: "1900-01-01T00:00:00Z", until: "2199-01-01T00:00:00Z"'),
        "whoCan": Asked("admin", 'action: "viewOffer"'),
        "simulatedChanges": Asked(
            "regulator", "files: $files, since: $since, until: $until", window,
            "($files: [PolicyFileInput!]!, $since: DateTime!, $until: DateTime!)",
        ),
    }  # fmt: skip


def _sums(api: Api, resource: str) -> list[ForecastSum]:
    today = api.at.date()
    return [
        ForecastSum(
            region=region, resource=resource, origin=today - timedelta(1), target=today + timedelta(ahead),
            horizon=ahead + 1, quantiles=((100, 90_000), (500, 100_000), (900, 112_500)),
        )
        for region in ("us-nj", "us-ny", None) for ahead in range(2)
    ]  # fmt: skip


async def _drifting(api: Api, houses: Mapping[str, str], decision: UUID) -> None:
    """Series that drift, as the worker would mark them after months."""
    series = [(house, resource) for house in houses.values() for resource in (BEDS, "ventilator")]
    watches = [
        Watch(
            institution=UUID(house), resource=resource, state=WatchState.DRIFTING, since=date(2026, 2, 26 + n % 2),
            last_target=date(2026, 2, 28), known_at=api.at, capital=(0.5, 0.25, 0.25, 0.25), level=0.1, judged=30,
            missed=11,
        )
        for n, (house, resource) in enumerate(series)
    ]  # fmt: skip
    async with api.workers.database.transaction() as tx:
        await tx.drift.save([(each, decision) for each in watches])


async def _moved(dsn: str) -> None:
    """As many units have really moved as fit into the ledger."""
    conn = await asyncpg.connect(dsn)
    try:
        await conn.execute("set session_replication_role = replica; set sharewell.break_glass = 'on'")
        await conn.execute("update sharewell.transfer set dispatched = 3, received = 2 where dispatched is not null")
    finally:
        await conn.close()


async def page(api: Api, asked: Asked, name: str, columns: str, *given: str) -> Any:
    arguments = ", ".join(each for each in (asked.given, *given) if each)
    query = f"""query {asked.declared} {{ {name}({arguments}) {{
      edges {{ cursor node {{ __typename {columns} }} }} totalCount {PAGE_INFO} }} }}"""
    return (await api.ask(asked.who, query, **(asked.variables or {})))[name]


async def walked(
    api: Api, asked: Asked, name: str, columns: str = "", *, size: int = 3, backwards: bool = False, order: str = ""
) -> list[Any]:
    """The edges of a list, page by page from its one end or the other; and what every page says of its place."""
    size_name, cursor_name, end, more, back = (
        ("last", "before", "startCursor", "hasPreviousPage", "hasNextPage") if backwards
        else ("first", "after", "endCursor", "hasNextPage", "hasPreviousPage")
    )  # fmt: skip
    edges: list[Any] = []
    cursor = ""
    for _ in range(200):
        told = await page(api, asked, name, columns, f"{size_name}: {size}", cursor, order)
        info, here = told["pageInfo"], told["edges"]
        edges = [*here, *edges] if backwards else [*edges, *here]
        ends = [here[0]["cursor"], here[-1]["cursor"]] if here else [None, None]
        assert [info["startCursor"], info["endCursor"]] == ends
        assert info[back] is bool(cursor)
        if not info[more]:
            assert told["totalCount"] == len(edges), name
            return edges
        assert len(here) == size
        cursor = f"{cursor_name}: {json.dumps(info[end])}"
    raise AssertionError(f"{name} has no end")


async def test_every_list_read_backwards_has_the_items_that_it_has_forwards(
    api: Api, lists: Mapping[str, Asked]
) -> None:
    lengths = {}
    for name, field in FIELDS.items():
        if not get_named_type(field.type).name.endswith("Connection"):
            continue
        whole = await walked(api, lists[name], name, size=100)
        size = max(3, len(whole) // 4)
        assert await walked(api, lists[name], name, size=size, backwards=True) == whole, name
        lengths[name] = len(whole)
    assert len(lengths) > 25
    assert sum(length > 3 for length in lengths.values()) > 15, lengths


async def test_every_order_of_every_list_is_the_order_that_it_says_forwards_and_backwards(
    api: Api, lists: Mapping[str, Asked]
) -> None:
    for name, field in FIELDS.items():
        if "orderBy" not in field.args:
            continue
        made = get_named_type(field.args["orderBy"].type)
        assert isinstance(made, GraphQLInputObjectType)
        kind = get_named_type(made.fields["by"].type)
        assert isinstance(kind, GraphQLEnumType)
        sorts = ORDERS[name]
        assert kind.values.keys() == sorts.keys.keys(), name
        usual = [edge["node"] for edge in await walked(api, lists[name], name, sorts.columns, size=100)]
        assert len(usual) > 2, name
        size = max(2, len(usual) // 3)
        for sort, key in sorts.keys.items():
            for way in ("ASC", "DESC"):
                order = f"orderBy: {{by: {sort}, direction: {way}}}"
                found = await walked(api, lists[name], name, sorts.columns, size=size, order=order)
                assert [edge["node"] for edge in found] == sorted(usual, key=key, reverse=way == "DESC"), (name, order)
                back = await walked(api, lists[name], name, sorts.columns, size=size, order=order, backwards=True)
                assert back == found, (name, order)


async def test_a_cursor_of_one_order_is_refused_in_every_other_whatever_the_keys_of_the_list(
    api: Api, lists: Mapping[str, Asked]
) -> None:
    for name in ORDERS.keys() - KINDS.keys():
        orders = ["", *(f"orderBy: {{by: {sort}, direction: {way}}}" for sort in ORDERS[name].keys
                        for way in ("ASC", "DESC"))]  # fmt: skip
        ends = [(await page(api, lists[name], name, "", "first: 1", by))["pageInfo"]["endCursor"] for by in orders]
        assert len(set(ends)) >= len(orders) - 1, name  # the usual order, said in words, is the usual order
        for argument, size in (("after", "first"), ("before", "last")):
            for end in ends:
                for by, own in zip(orders, ends, strict=True):
                    asked = f"{lists[name].given}, {size}: 1, {argument}: {json.dumps(end)}, {by}"
                    answer = await api.send(lists[name].who, f"{{ {name}({asked}) {{ nodes {{ __typename }} }} }}")
                    if end == own:
                        assert "errors" not in answer.body, (name, by)
                    else:
                        assert answer.refusal == ("INVALID", "Invalid", argument), (name, by)
                        assert "order" in answer.error["message"]


HOSTILE: Mapping[str, tuple[str, list[bytes]]] = {
    "clients NAME": ("admin", [b"", b"bot", b"bot\0\xff", "ä\0Bot".encode(), b"bot\0a\0b"]),
    "clients EXPIRES": ("admin", [b"bot", b"bot\0", b"bot\0infinity", b"bot\x002026-03-01"]),
    "clients CLIENT_ID": ("admin", [b"", b"\x01", b"bot\0"]),
    "people NAME": ("admin", [b"x" * 15, b"x" * 16 + b"\xed\xa0\x80", b"x" * 16 + b"\0"]),
    "forecasts TARGET": ("north", [b"", b"bed.adult", b"bed.adult 2026-13-01", b"bed.adult 2026-03-01\0", b"\xff 1"]),
    "driftingForecasts SINCE": ("planner", [b"bed.adult", b"bed.adult x\x002026-03-01", b"bed.adult\0"]),
    "decisions DECIDED": ("regulator", [b"x" * 16, b"x" * 15 + b"2026-03-01T12:00:00+00:00", b"x" * 16 + b"now"]),
}  # fmt: skip


async def test_a_cursor_that_no_order_gave_is_refused_and_never_a_crash(api: Api) -> None:
    await api.institution("north")
    for place, (who, keys) in HOSTILE.items():
        name, sort = place.split()
        for key in keys:
            given = json.dumps(write_cursor(f"{sort} DESC\0".encode() + key))
            for argument, size in (("after", "first"), ("before", "last")):
                query = f"""{{ {name}({size}: 1, {argument}: {given}, orderBy: {{by: {sort}, direction: DESC}}) {{
                  nodes {{ __typename }} }} }}"""
                assert (await api.send(who, query)).refusal == ("INVALID", "Invalid", argument), (place, key)


async def test_the_longest_names_have_cursors_that_lead_on(api: Api) -> None:
    key = {"keys": [ECKey.generate_key("P-384", {"kid": "k"}).as_dict(private=False, use="sig", alg="ES384")]}
    ids = [f"{n}".rjust(100, "b") for n in range(3)]
    for id in ids:  # noqa: A001
        await api.done("admin", "registerClient", clientId=id, name="🏥" * 200, roles=["REGULATOR"],
                       scopes=["system/*.rs"], jwks=key)  # fmt: skip
    order = "orderBy: {by: NAME, direction: DESC}"
    for backwards in (False, True):
        found = await walked(api, Asked("admin"), "clients", "clientId", size=1, order=order, backwards=backwards)
        assert [edge["node"]["clientId"] for edge in found] == ids[::-1]


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ("first: 1, last: 1", "last"), ('first: 1, before: "{0}"', "before"), ('before: "{0}"', "before"),
        ('last: 1, after: "{0}"', "after"), ('first: 1, after: "{0}", before: "{0}"', "before"), ("last: 0", "last"),
        ("last: -1", "last"), ("last: 1001", "last"), ('last: 1, before: "nonsense"', "before"),
        ('last: 1, before: ""', "before"), ("first: 0", "first"),
        ('last: 1, before: "nonsense", orderBy: {{by: QUANTITY}}', "before"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("columns", ["id", "id lot @include(if: true)"], ids=["written", "executed"])
async def test_a_page_that_goes_two_ways_or_none_is_refused_by_the_argument(
    api: Api, columns: str, given: str, field: str
) -> None:
    await api.institution("clinic")
    await api.report("clinic", staffed=9, occupied=0)
    await api.done("clinic", "publishOffer", **api.pledge_of(1))
    end = (await api.ask("clinic", "{ offers { pageInfo { endCursor } } }"))["offers"]["pageInfo"]["endCursor"]
    answer = await api.send("clinic", f"{{ offers({given.format(end)}) {{ nodes {{ {columns} }} }} }}")
    assert answer.refusal == ("INVALID", "Invalid", field)


async def test_a_client_may_declare_all_four_and_send_those_it_needs(api: Api) -> None:
    await api.institution("clinic")
    query = """query ($first: Int, $after: String, $last: Int, $before: String) {
      resources(first: $first, after: $after, last: $last, before: $before) { nodes { code } } }"""

    async def codes(**sent: Any) -> list[str]:
        return [node["code"] for node in (await api.ask("clinic", query, **sent))["resources"]["nodes"]]

    every = await codes()
    assert len(every) > 3
    assert await codes(first=2, last=None, before=None) == every[:2]
    assert await codes(last=2) == await codes(last=2, first=None, after=None) == every[-2:]


@pytest.mark.parametrize("order", ["", "orderBy: {by: QUANTITY}"])
async def test_who_walks_backwards_while_rows_are_added_sees_each_that_was_there_once(api: Api, order: str) -> None:
    await api.institution("clinic")
    await api.report("clinic", staffed=1000, occupied=5)

    async def pledge(units: int) -> str:
        made = await api.done("clinic", "publishOffer", "offer { id }", **api.pledge_of(units))
        return str(made["offer"]["id"])

    there = [await pledge(1 + n % 3) for n in range(7)]
    seen: list[str] = []
    before = ""
    for _ in range(50):
        told = await page(api, Asked("clinic"), "offers", "id", "last: 2", before, order)
        seen = [*(edge["node"]["id"] for edge in told["edges"]), *seen]
        if not told["pageInfo"]["hasPreviousPage"] or set(there) <= set(seen):
            break
        before = f"before: {json.dumps(told['pageInfo']['startCursor'])}"
        await pledge(2)
    assert len(seen) == len(set(seen))
    assert set(there) <= set(seen)


async def test_the_total_of_a_list_that_is_worked_out_costs_no_item_of_its_page(
    api: Api, lists: Mapping[str, Asked]
) -> None:
    """Whoever asks for one item of such a list and its total is told both."""
    for name in ("whoCan", "simulatedChanges"):
        told = await page(api, lists[name], name, "", "first: 1")
        assert len(told["edges"]) == 1
        assert told["totalCount"] == len(await walked(api, lists[name], name, size=100)) > 1


async def test_one_replay_serves_a_page_and_its_total_wherever_the_page_is(
    api: Api, lists: Mapping[str, Asked], monkeypatch: pytest.MonkeyPatch
) -> None:
    read = 0
    entries = SimulationRepository.page

    async def counted(*given: Any) -> Any:
        nonlocal read
        rows = await entries(*given)
        read += len(rows)
        return rows

    monkeypatch.setattr(SimulationRepository, "page", counted)
    asked = lists["simulatedChanges"]
    every = f"""query {asked.declared} {{ simulatedChanges({asked.given}, first: 1000) {{
      edges {{ cursor node {{ id }} }} }} }}"""
    whole = (await api.ask(asked.who, every, **(asked.variables or {})))["simulatedChanges"]["edges"]
    once = read
    assert len(whole) > 3
    middle = json.dumps(whole[len(whole) // 2]["cursor"])
    for size in ("first: 1", "last: 1", f"first: 1, after: {middle}", f"last: 1, before: {middle}"):
        read = 0
        assert (await page(api, asked, "simulatedChanges", "id", size))["totalCount"] == len(whole)
        assert read == once, size


async def test_a_cursor_whose_item_is_not_in_the_list_begins_its_page_where_the_item_would_be(
    api: Api, lists: Mapping[str, Asked]
) -> None:
    """As with a cursor of another draft: the page is right, and so is the total."""
    for name, gone in (("simulatedChanges", "2026-03-01T12:00:00+00:00 {}"), ("whoCan", "client bot-1-gone")):
        whole = await walked(api, lists[name], name, size=100)
        cursor = json.dumps(write_cursor(gone.format(UUID(int=7)).encode()))
        behind = await page(api, lists[name], name, "", "first: 1000", f"after: {cursor}")
        before = await page(api, lists[name], name, "", "last: 1000", f"before: {cursor}")
        assert [*before["edges"], *behind["edges"]] == whole
        assert behind["totalCount"] == before["totalCount"] == len(whole)
        assert behind["edges"]


@pytest.mark.parametrize("at", [
    "0001-01-01T00:00:00+14:00", "9999-12-31T23:00:00-14:00", "2026-03-01T12:00:00", "2026-03-01", "infinity", "",
])  # fmt: skip
async def test_a_cursor_of_a_simulation_that_holds_no_time_of_ours_is_refused_and_never_a_crash(
    api: Api, at: str
) -> None:
    window = {"since": "2026-03-01T00:00:00Z", "until": text(api.at)}
    for argument, size in (("after", "first"), ("before", "last")):
        asked = f"{size}: 1, {argument}: {json.dumps(write_cursor(f'{at} {UUID(int=7)}'.encode()))}"
        query = f"""query ($files: [PolicyFileInput!]!, $since: DateTime!, $until: DateTime!) {{
          simulatedChanges(files: $files, since: $since, until: $until, {asked}) {{ nodes {{ id }} }} }}"""
        answer = await api.send("regulator", query, {"files": draft(CLOSED), **window})
        assert answer.refusal == ("INVALID", "Invalid", argument)
