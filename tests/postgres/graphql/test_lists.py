"""Lists in every order, under every filter and with their total: complete, and telling nobody more than its rows do."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from random import Random
from typing import TYPE_CHECKING, Any
from uuid import UUID

import asyncpg
import pytest
from graphql import GraphQLEnumType, GraphQLInputObjectType, GraphQLObjectType, get_named_type
from tests.postgres.graphql.test_plain import fill
from tests.postgres.graphql.test_simulations import draft

from sharewell.domain.visibility import ENTITLED
from sharewell.store import institutions, paging
from sharewell_schema.schema import build_schema

if TYPE_CHECKING:
    from tests.postgres.graphql.conftest import Api

BEDS = "bed.adult"
FIELDS = build_schema()._schema.query_type.fields  # type: ignore[union-attr]
Row = Mapping[str, Any]


@dataclass(frozen=True)
class Kind:
    """A list, and how its orders and filters read in Python."""

    columns: str
    sorts: Mapping[str, Callable[[Row], Any]]  #: by name; the id stands for the turn in which rows came
    filters: Mapping[str, tuple[Any, Callable[[Row, Any], bool]]]  #: by name: a value, and what it asks of a row


def by_id(row: Row) -> str:
    return str(row["id"])


def at(text: str) -> datetime:
    return datetime.fromisoformat(text)


MOMENT = "2026-03-01T12:00:00.1Z"
WINDOW = {"since": "2026-01-01T00:00:00Z", "until": "2026-03-01T00:00:00Z"}


def one_of(name: str) -> Callable[[Row, Any], bool]:
    return lambda row, values: row[name] in values


def in_text(row: Row, text: str) -> bool:
    return text.lower() in row["name"].lower() or text.lower() in row["code"].lower()


KINDS: Mapping[str, Kind] = {
    "offers": Kind(
        "id resource quantity remaining availableFrom availableUntil expiresOn status institution { region }",
        {
            "PUBLISHED": by_id, "AVAILABLE_UNTIL": lambda row: at(row["availableUntil"]),
            "QUANTITY": lambda row: row["quantity"], "EXPIRES_ON": lambda row: row["expiresOn"] or "9999",
        },
        {
            "resources": (["ventilator", BEDS], one_of("resource")),
            "region": ("coast", lambda row, code: row["institution"]["region"] == code),
            "status": ("OPEN", lambda row, status: row["status"] == status),
            "availableAt": (MOMENT, lambda row, t: at(row["availableFrom"]) <= at(t) <= at(row["availableUntil"])),
            "availableWithin": (WINDOW, lambda row, w: at(row["availableFrom"]) <= at(w["until"])
                                and at(row["availableUntil"]) >= at(w["since"])),
            "expiresBefore": ("2026-02-28", lambda row, day: row["expiresOn"] is not None and row["expiresOn"] < day),
            "remainingAtLeast": (2, lambda row, units: row["remaining"] >= units),
        },
    ),
    "requests": Kind(
        "id resource urgency neededBy status reason institution { region }",
        {"OPENED": by_id, "NEEDED_BY": lambda row: at(row["neededBy"]), "URGENCY": lambda row: row["urgency"]},
        {
            "resources": ([BEDS], one_of("resource")),
            "region": ("us-nj", lambda row, code: row["institution"]["region"] == code),
            "statuses": (["OPEN", "EXPIRED"], one_of("status")), "reasons": (["SURGE"], one_of("reason")),
            "urgencyAtLeast": (5, lambda row, urgency: row["urgency"] >= urgency),
            "neededBefore": (MOMENT, lambda row, t: at(row["neededBy"]) < at(t)),
        },
    ),
    "transfers": Kind(
        "id resource quantity state changedAt",
        {
            "PROPOSED": by_id, "CHANGED": lambda row: at(row["changedAt"]), "QUANTITY": lambda row: row["quantity"],
        },
        {
            "resources": ([BEDS], one_of("resource")), "states": (["HELD", "RETURN_DUE"], one_of("state")),
            "changedSince": (MOMENT, lambda row, t: at(row["changedAt"]) >= at(t)),
        },
    ),
    "institutions": Kind(
        "id code name kind region status",
        {"REGISTERED": by_id, "NAME": lambda row: row["name"], "CODE": lambda row: row["code"]},
        {
            "regions": (["us-nj", "coast"], one_of("region")), "kinds": (["HOSPITAL"], one_of("kind")),
            "statuses": (["ACTIVE", "OBSERVED"], one_of("status")), "codes": (["hard-3", "north"], one_of("code")),
            "text": ("ORT", in_text),
        },
    ),
    "capacityReports": Kind("id asOf", {"RECORDED": by_id, "AS_OF": lambda row: at(row["asOf"])}, {}),
}  # fmt: skip
SORTED = [(name, sort, way) for name, kind in KINDS.items() for sort in kind.sorts for way in ("ASC", "DESC")]


@pytest.fixture
async def houses(api: Api, admin_dsn: str) -> dict[str, str]:
    """Three institutions with many rows, hard ones and many alike; their ids."""
    regions = {"north": "coast", "south": "us-nj", "east": "inland"}
    made = {name: await api.institution(name, region=region) for name, region in regions.items()}
    await fill(admin_dsn, made)
    for n, name in enumerate([*regions] * 4):
        api.at += timedelta(minutes=1)
        await api.report(name, staffed=20 + n, occupied=n, asOf=f"2026-03-01T{(n * 5) % 7:02}:00:00Z")
    coast = replace(api.callers["regulator"], jurisdiction=frozenset({"coast"}))
    api.callers["coast"] = replace(coast, principal="coastal")
    return made


async def walked(
    api: Api, name: str, who: str = "planner", *, first: int = 7, between: Callable[[], Any] | None = None, **asked: Any
) -> tuple[list[Row], list[Any]]:
    """The rows of all pages of a list, and the totals that the pages told."""
    kinds = {"filter": "FilterInput", "orderBy": "OrderInput"}
    noun = {"capacityReports": "CapacityReport"}.get(name, name[:-1].capitalize())
    declared = "".join(f", ${each}: {noun}{kinds[each]}" for each in asked)
    sent = "".join(f", {each}: ${each}" for each in asked)
    query = f"""query ($after: String, $first: Int!{declared}) {{
      {name}(after: $after, first: $first{sent}) {{
        nodes {{ {KINDS[name].columns} }} pageInfo {{ hasNextPage endCursor }} totalCount totalCountRelation }} }}"""
    rows: list[Row] = []
    totals, after, more = list[Any](), None, True
    while more:
        page = (await api.ask(who, query, after=after, first=first, **asked))[name]
        rows += page["nodes"]
        totals.append((page["totalCount"], page["totalCountRelation"]))
        after, more = page["pageInfo"]["endCursor"], page["pageInfo"]["hasNextPage"]
        assert len(totals) < 100
        if between is not None:
            await between()
    return rows, totals


async def test_all_pages_of_every_order_have_every_row_once_and_in_order_and_tell_the_same_total(
    api: Api, houses: dict[str, str]
) -> None:
    everything = {name: await walked(api, name, first=1000) for name in KINDS}
    for name, sort, way in SORTED:
        rows, totals = await walked(api, name, orderBy={"by": sort, "direction": way})
        usual = everything[name][0]
        value = KINDS[name].sorts[sort]
        expected = sorted(usual, key=lambda row: (value(row), row["id"]), reverse=way == "DESC")
        assert rows == expected, (name, sort, way)
        assert set(totals) == {(len(usual), "EXACT")}, (name, sort, way)
    assert all(len(rows) >= 12 for rows, _ in everything.values())


@pytest.mark.parametrize("way", ["ASC", "DESC"])
@pytest.mark.parametrize("sort", ["QUANTITY", "EXPIRES_ON", "AVAILABLE_UNTIL", "PUBLISHED"])
async def test_who_walks_an_order_while_rows_are_added_sees_each_that_was_there_once(
    api: Api, sort: str, way: str
) -> None:
    chance = Random(f"{sort} {way}")
    await api.institution("clinic")
    await api.report("clinic", staffed=100, occupied=5)

    async def pledge() -> str:
        days, units = chance.randint(1, 3), chance.randint(1, 3)
        until = (api.at + timedelta(days=days)).isoformat()
        made = await api.done("clinic", "publishOffer", "offer { id }", **api.pledge_of(units, availableUntil=until))
        return str(made["offer"]["id"])

    there = [await pledge() for _ in range(9)]
    rows, _ = await walked(api, "offers", first=2, between=pledge, orderBy={"by": sort, "direction": way})
    ids = [row["id"] for row in rows]
    assert len(ids) == len(set(ids))
    assert set(there) <= set(ids)


async def test_a_cursor_of_one_order_is_refused_in_every_other(api: Api, houses: dict[str, str]) -> None:
    for name, kind in KINDS.items():
        noun = {"capacityReports": "CapacityReport"}.get(name, name[:-1].capitalize())
        query = f"""query ($after: String, $by: {noun}OrderInput) {{
          {name}(after: $after, first: 1, orderBy: $by) {{ pageInfo {{ endCursor }} }} }}"""
        orders = [None, *({"by": sort, "direction": way} for sort in kind.sorts for way in ("ASC", "DESC"))]
        ends = [(await api.ask("planner", query, by=by))[name]["pageInfo"]["endCursor"] for by in orders]
        # The usual order, said in words, is the usual order.
        same = {ends.index(end) for end in ends if ends.count(end) > 1}
        assert same == {0}, name
        for end, by in zip(ends, orders, strict=True):
            for other, wanted in zip(ends, orders, strict=True):
                answer = await api.send("planner", query, {"after": other, "by": by})
                if end == other:
                    assert "errors" not in answer.body, (by, wanted)
                else:
                    assert answer.refusal == ("INVALID", "Invalid", "after"), (by, wanted)
                    assert "order" in answer.error["message"], answer.error


def cursor(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


async def test_a_cursor_that_no_list_gave_is_refused_and_never_a_crash(api: Api) -> None:
    await api.institution("clinic")
    some = UUID(int=7).bytes
    hostile = {
        "OfferOrderInput offers AVAILABLE_UNTIL": [
            b"", b"now", b"2026-03-01T12:00:00", b"0001-01-01T00:00:00+14:00", b"9999-12-31T23:59:59-14:00",
            b"2026-03-01 12:00:00+00:00", b"\xff", b"'; --",
        ],
        "OfferOrderInput offers QUANTITY": [b"", b"-1", b"2147483648", b"1e3", b"07", " \u0663".encode(), b"9" * 700],
        "OfferOrderInput offers EXPIRES_ON": [b"infinity", b"2026-13-01", b"20260301"],
        "OfferOrderInput offers PUBLISHED": [b"x"],
        "RequestOrderInput requests URGENCY": [b"32768", b"five"],
        "InstitutionOrderInput institutions NAME": [b"a\0b", b"\xff\xfe", b"\xed\xa0\x80"],
    }  # fmt: skip
    for place, values in hostile.items():
        kind, name, sort = place.split()
        query = f"query ($after: String, $by: {kind}) {{ {name}(after: $after, orderBy: $by) {{ nodes {{ id }} }} }}"
        by = {"by": sort, "direction": "ASC"}
        keys = [f"{sort} ASC\0".encode() + some + value for value in values]
        for key in (*keys, f"{sort} ASC\0".encode(), f"{sort} ASC".encode() + some, some[:15], b"NONE ASC\0" + some):
            answer = await api.send("planner", query, {"after": cursor(key), "by": by})
            assert answer.refusal == ("INVALID", "Invalid", "after"), key
            assert re.search("order|cursor", answer.error["message"])


async def test_filters_leave_just_the_rows_that_fulfil_all_of_them(api: Api, houses: dict[str, str]) -> None:
    chance = Random("filters")
    for name, kind in KINDS.items():
        everything, _ = await walked(api, name, first=1000)
        lengths = set()
        alone = [[one] for one in kind.filters]
        pairs = [chance.sample([*kind.filters], 2) for _ in range(6)] if kind.filters else []
        for members in [*alone, *pairs]:
            asked = {each: kind.filters[each][0] for each in members}
            expected = [row for row in everything if all(kind.filters[e][1](row, v) for e, v in asked.items())]
            rows, totals = await walked(api, name, first=1000, filter=asked)
            assert rows == expected, asked
            assert totals == [(len(expected), "EXACT")], asked
            lengths.add(len(expected))
        assert not kind.filters or lengths - {0, len(everything)}, name


async def test_parties_and_institutions_narrow_a_list_and_reach_behind_no_wall(
    api: Api, houses: dict[str, str]
) -> None:
    north, south = houses["north"], houses["south"]
    theirs: dict[str, Any] = {"filter": {"institutions": [south]}}
    everything = {row["id"] for row in (await walked(api, "requests", first=1000))[0]}
    of_south, totals = await walked(api, "requests", first=1000, **theirs)
    assert 0 < len(of_south) < len(everything)
    assert totals == [(len(of_south), "EXACT")]
    assert await walked(api, "requests", "north", first=1000, **theirs) == ([], [(0, "EXACT")])
    between, _ = await walked(api, "transfers", first=1000, filter={"giver": north, "receiver": south})
    assert between
    both = {"giver": north, "receiver": south}
    for who in ("north", "south"):
        assert (await walked(api, "transfers", who, first=1000, filter=both))[0] == between
    hidden = await walked(api, "transfers", "east", first=1000, filter=both)
    assert hidden == ([], [(0, "EXACT")])


async def test_names_are_searched_alike_in_capitals_or_not_where_the_locale_knows_no_other_letters_than_ascii(
    api: Api, houses: dict[str, str], admin_dsn: str
) -> None:
    """The columns take the collation that they would have in a database of that locale."""
    conn = await asyncpg.connect(admin_dsn)
    try:
        for column in ("name", "code"):
            await conn.execute(f'alter table sharewell.institution alter {column} type text collate "C"')
        await conn.execute("update sharewell.institution set name = 'ÉCOLE' where id = $1", UUID(houses["north"]))
    finally:
        await conn.close()
    for text in ("école", "École"):
        found, _ = await walked(api, "institutions", filter={"text": text})
        assert [row["name"] for row in found] == ["ÉCOLE"]


async def test_texts_are_ordered_by_code_point_and_by_index_whatever_the_locale(admin_dsn: str) -> None:
    """A server need not have a locale of another order, so this reads what it is told."""
    texts = [sort.column for sort in institutions.SORTS.values() if sort.kind == "text"]
    conn = await asyncpg.connect(admin_dsn)
    try:
        indexes = await conn.fetch(
            "select indexdef from pg_indexes where schemaname = 'sharewell' and tablename = 'institution'"
        )
    finally:
        await conn.close()
    assert len(texts) == 2
    for column in texts:
        assert column.endswith(' collate "C"')
        by_column = f"({column.replace('collate', 'COLLATE')}, id)"
        assert any(row["indexdef"].endswith(by_column) for row in indexes), column


@pytest.mark.parametrize("asked", [
    ("offers", "resources", []), ("offers", "resources", ["no code"]), ("offers", "remainingAtLeast", 0),
    ("offers", "availableWithin", {"since": MOMENT, "until": MOMENT}), ("requests", "urgencyAtLeast", 6),
    ("offers", "institutions", [str(UUID(int=n)) for n in range(101)]), ("institutions", "text", " "),
], ids=lambda asked: f"{asked[0]}-{asked[1]}")  # fmt: skip
async def test_a_filter_that_makes_no_sense_is_refused_by_name(api: Api, asked: tuple[str, str, Any]) -> None:
    name, member, value = asked
    await api.institution("clinic")
    query = f"query ($of: {name[:-1].capitalize()}FilterInput) {{ {name}(filter: $of) {{ nodes {{ id }} }} }}"
    code, kind, field = (await api.send("clinic", query, {"of": {member: value}})).refusal
    assert (code, kind) == ("INVALID", "Invalid")
    assert field == {"availableWithin": "until"}.get(member, member)


async def test_a_total_counts_the_rows_that_its_reader_can_list_and_no_other(
    api: Api, houses: dict[str, str]
) -> None:
    told: dict[str, set[int]] = {name: set() for name in KINDS}
    for who in ("planner", "admin", "regulator", "coast", *houses):
        for name in KINDS:
            if who == "admin" and name != "institutions":
                continue
            rows, totals = await walked(api, name, who)
            assert set(totals) == {(len(rows), "EXACT")}, (who, name)
            told[name].add(len(rows))
    assert len(told["requests"]) > 2
    assert len(told["transfers"]) > 2


async def test_every_list_of_the_api_tells_its_total(api: Api) -> None:
    lists = {
        name: field for name, field in FIELDS.items()
        if get_named_type(field.type).name.endswith("Connection")
    }  # fmt: skip
    assert len(lists) > 25
    north = await api.institution("north")
    window = 'since: "2026-01-01T00:00:00Z", until: "2026-01-02T00:00:00Z"'
    needs = {
        "forecasts": f'(institution: "{north}")', "regionForecasts": '(resource: "bed.adult")',
        "whoCan": '(action: "viewOffer")', "simulatedChanges": f"(files: $files, {window})",
    }  # fmt: skip
    everybodys = {"admin", "planner", "regulator", "north"}
    for name in lists:
        declared = "query ($files: [PolicyFileInput!]!)" if "$files" in needs.get(name, "") else ""
        total = "totalCount totalCountRelation"
        query = f"{declared} {{ {name}{needs.get(name, '')} {{ nodes {{ __typename }} {total} }} }}"
        answers = [(await api.send(who, query, {"files": draft()})).body for who in everybodys]
        told = [answer["data"][name] for answer in answers if "errors" not in answer]
        assert told, (name, answers)
        for page in told:
            if len(page["nodes"]) < 50:
                assert page["totalCount"] == len(page["nodes"]), name
            assert page["totalCountRelation"] == "EXACT", name


async def test_a_long_list_is_counted_up_to_a_bound_and_says_so(
    api: Api, houses: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    query = "{ offers(first: 3) { totalCount totalCountRelation pageInfo { hasNextPage } } }"
    for bound, told in ((39, (39, "AT_LEAST")), (40, (40, "EXACT")), (41, (40, "EXACT"))):
        monkeypatch.setattr(paging, "COUNTED", bound)
        page = (await api.ask("planner", query))["offers"]
        assert (page["totalCount"], page["totalCountRelation"]) == told


async def test_nothing_is_counted_unless_the_total_is_selected(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    await api.institution("clinic")
    counted: list[str] = []
    total = paging.Listed.total

    async def told(self: paging.Listed, conn: Any) -> paging.Total:
        counted.append(self.statement)
        return await total(self, conn)

    monkeypatch.setattr(paging.Listed, "total", told)
    part = """query ($yes: Boolean! = true) {
      offers { nodes { id institution { code } } %s __typename @include(if: $yes) } }"""
    for selected, times in {
        "pageInfo { endCursor }": 0, "totalCount @skip(if: $yes)": 0, "... @skip(if: $yes) { totalCount }": 0,
        "totalCount": 1, "n: totalCount m: totalCountRelation": 1, "... { totalCountRelation }": 1,
        "totalCount @include(if: $yes)": 1, "...named": 1, "...named @include(if: false)": 0,
    }.items():  # fmt: skip
        counted.clear()
        fragment = "fragment named on OfferConnection { pageInfo { endCursor } totalCount }"
        await api.ask("clinic", f"{part % selected} {fragment if 'named' in selected else ''}")
        assert len(counted) == times, selected


def test_no_list_can_be_ordered_or_filtered_by_a_number_that_is_withheld_from_some() -> None:
    """Its place in an order, and a few questions by filter, would tell any number to whoever sees the rows."""
    asked = 0
    for name, field in FIELDS.items():
        kind = get_named_type(field.type)
        if not (isinstance(kind, GraphQLObjectType) and kind.name.endswith("Connection")):
            continue
        node = get_named_type(kind.fields["nodes"].type)
        hidden = {each.replace("_", "") for each in ENTITLED[node.name].fields} if node.name in ENTITLED else set()
        said = set[str]()
        for argument, made in field.args.items():
            said.add(argument)
            inner = get_named_type(made.type)
            for member, part in inner.fields.items() if isinstance(inner, GraphQLInputObjectType) else ():
                said.add(member)
                of = get_named_type(part.type)
                said |= set(of.values) if isinstance(of, GraphQLEnumType) and member == "by" else set()
        plain = {each.replace("_", "").lower() for each in said}
        assert not any(one in each for one in hidden for each in plain), name
        asked += bool(hidden)
    assert asked >= 4


async def test_the_order_of_reports_tells_nothing_of_numbers_that_are_withheld(api: Api) -> None:
    """Whatever the hidden counts are, a stranger gets the same rows, in the same order, with the same total."""
    seen = []
    for world, counts in enumerate([(3, 9, 6), (9, 3, 1)]):
        names = [f"w{world}-{n}" for n in range(3)]
        ids = [await api.institution(name) for name in names]
        for name, occupied in zip(names, counts, strict=True):
            await api.report(name, staffed=40 + occupied, occupied=occupied)
        await api.institution(f"stranger{world}")
        orders = []
        for sort, way in (("AS_OF", "ASC"), ("AS_OF", "DESC"), ("RECORDED", "ASC")):
            query = f"""{{ capacityReports(orderBy: {{by: {sort}, direction: {way}}}, first: 1000) {{
              totalCount nodes {{ occupied institutionId withheld {{ count atLeast atMost }} }} }} }}"""
            page = (await api.ask(f"stranger{world}", query))["capacityReports"]
            theirs = [node for node in page["nodes"] if node["institutionId"] in ids]
            assert all(node["occupied"] is None for node in theirs)
            orders.append([(ids.index(node["institutionId"]), node["withheld"]) for node in theirs])
            assert page["totalCount"] == len(page["nodes"])
        seen.append(orders)
    assert seen[0] == seen[1]
    for sort in ("OCCUPIED", "FREE", "NEED", "STAFFED"):
        refused = await api.send("stranger0", f"{{ capacityReports(orderBy: {{by: {sort}}}) {{ nodes {{ id }} }} }}")
        assert refused.body.get("data") is None
        assert sort in refused.error["message"]


async def test_a_list_with_filter_order_and_total_leaves_the_trace_that_the_list_leaves(
    api: Api, houses: dict[str, str]
) -> None:
    async def traces(query: str) -> int:
        counted = '{ decisions(actor: "coastal") { totalCount } }'
        before: int = (await api.ask("regulator", counted))["decisions"]["totalCount"]
        await api.ask("coast", query)
        after: int = (await api.ask("regulator", counted))["decisions"]["totalCount"]
        return after - before

    asked = "orderBy: {by: URGENCY}, filter: {urgencyAtLeast: 2}"
    usual = await traces("{ requests(first: 1) { nodes { id } } }")
    assert usual == await traces(f"{{ requests(first: 1, {asked}) {{ totalCount nodes {{ id }} }} }}") == 1
