"""Lists that PostgreSQL writes say what the stock executor says of the same rows, and leave the same trace.

Both are asked the same thousands of generated queries, over rows that are hard to write, by callers of every kind.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from random import Random
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import orjson
import pytest
from starlette.types import ASGIApp, Message, Scope
from strawberry.schema.schema import StrawberryGraphQLCoreExecutionContext as StockExecutor
from tests.postgres.graphql.conftest import Api

from sharewell.authz import Authorizer
from sharewell.domain.policy import Action, Ruling
from sharewell.domain.principals import Caller, Role
from sharewell_schema import express, plain
from sharewell_schema.paging import write_cursor
from sharewell_schema.view import graphql_app

QUERIES = 2_000
HARD = [
    "", "plain", 'say "no"', "back\\slash", "two\nlines\ttab", "\x01\x1f\x7f", "\u2028\ud7ff", "☃ 🏥", "</script>",
    "%s $1 {0}", "null",
]  # fmt: skip
TIMES = [
    "1900-01-01T00:00:00Z", "2026-03-01T12:00:00Z", "2026-03-01T12:00:00.1Z", "2026-03-01T12:00:00.000001Z",
    "2026-02-28T23:59:59.999999Z", "2026-03-01T12:00:00.120000+05:30",
]  # fmt: skip
LATE = ["2199-12-31T23:59:59.999999Z", "2030-01-01T00:00:00Z", "9999-12-31T23:59:59.5Z"]
UNITS = [1, 10, 2**31 - 1]
BEDS = "bed.adult"

FIELDS = {
    "Offer": "id institutionId resource quantity promised remaining minimumKept availableFrom availableUntil lot"
    " expiresOn status publishedAt changedById",
    "Request": "id institutionId resource requested approved fulfilled urgency neededBy neededUntil reason status"
    " remainderOfId raised raiseReason note openedAt changedById",
    "Transfer": "id offerId requestId giverId receiverId resource quantity dispatched dispatchedAt received receivedAt"
    " state allocationId holdUntil declineReason returnDueAt changedAt changedById",
    "Institution": "id code name kind region latitude longitude equityGroup status registeredAt changedById",
    "Resource": "code kind name unit standardCode gtin skill loanDays",
}  # fmt: skip
EDGES = {
    "Offer": {"institution": "Institution", "resourceLine": "Resource"},
    "Request": {"institution": "Institution", "resourceLine": "Resource", "remainderOf": "Request"},
    "Transfer": {
        "offer": "Offer", "request": "Request", "giver": "Institution", "receiver": "Institution",
        "resourceLine": "Resource",
    },
    "Institution": {},
}  # fmt: skip
LISTS = {"offers": "Offer", "requests": "Request", "transfers": "Transfer", "institutions": "Institution"}
SORTS = {
    "offers": "PUBLISHED AVAILABLE_UNTIL QUANTITY EXPIRES_ON", "requests": "OPENED NEEDED_BY URGENCY",
    "transfers": "PROPOSED CHANGED QUANTITY", "institutions": "REGISTERED NAME CODE",
}  # fmt: skip
MOMENT = '"2026-03-01T12:00:00.1Z"'
FILTERS = {
    "offers": [
        'resources: ["bed.adult", "ventilator"]', "resources: []", "status: OPEN", f"availableAt: {MOMENT}",
        'availableWithin: {since: "2026-01-01T00:00:00Z", until: "2026-03-01T00:00:00Z"}', 'region: "us-nj"',
        'expiresBefore: "2026-02-28"', "remainingAtLeast: 2", "remainingAtLeast: 0",
    ],
    "requests": [
        "statuses: [OPEN, EXPIRED]", "reasons: [SURGE]", "urgencyAtLeast: 5", "urgencyAtLeast: 6",
        f"neededBefore: {MOMENT}", 'region: "coast"', 'resources: ["bed.adult"]',
    ],
    "transfers": ["states: [DECLINED, RETURN_DUE]", f"changedSince: {MOMENT}", 'resources: ["ventilator"]'],
    "institutions": [
        'regions: ["us-nj", "coast"]', "kinds: [HOSPITAL]", "statuses: [ACTIVE, OBSERVED]", 'codes: ["hard-1"]',
        'text: "HARD"', 'text: "%"', 'text: " "',
    ],
}  # fmt: skip
PAGE_INFO = "hasNextPage hasPreviousPage startCursor endCursor e: endCursor __typename"
NO_COLUMNS = {
    "Offer": "lot @include(if: $yes)", "Request": "unfilled { reason }", "Transfer": "reason",
    "Institution": "code @include(if: $yes)",
}  # fmt: skip
STORED = "select body from audit.entry order by staged_id"


async def fill(dsn: str, houses: Mapping[str, str]) -> dict[str, list[str]]:
    """Rows as they would never be made, behind every check but those of the tables themselves; their ids by noun."""
    conn = await asyncpg.connect(dsn)
    chance = Random("rows")
    ids: dict[str, list[str]] = {name: [] for name in LISTS}
    names = list(houses.values())
    try:
        await conn.execute("set session_replication_role = replica; set sharewell.break_glass = 'on'")
        for noun in LISTS:
            await conn.execute(f"alter table sharewell.{noun[:-1]} disable trigger user")

        async def add(noun: str, **row: Any) -> str:
            id = str(UUID(int=chance.getrandbits(128)))  # noqa: A001
            row = {"id": id, "decision_id": str(uuid4()), "changed_by": str(uuid4()), **row}
            await conn.execute(
                "insert into {0} select * from jsonb_populate_record(null::{0}, $1)".format(f"sharewell.{noun[:-1]}"),
                json.dumps(row),
            )
            ids[noun].append(id)
            return id

        for n in range(12):
            await add(
                "institutions", code=f"hard-{n}", name=chance.choice(HARD), kind=chance.choice(["region", "hospital"]),
                region=chance.choice(["us-nj", "coast", 'a "place"']),
                latitude=chance.choice([None, 40, -0.0, 1e-7, 89.123456789]),
                longitude=chance.choice([None, -180, 12.5]), equity_group=chance.choice(HARD),
                status=chance.choice(["active", "suspended", "observed"]), registered_at=chance.choice(TIMES + LATE),
            )  # fmt: skip
        for _ in range(40):
            units = chance.choice(UNITS)
            await add(
                "offers", institution_id=chance.choice(names), resource=chance.choice([BEDS, "ventilator"]),
                quantity=units,
                promised=chance.choice([0, units]), minimum_kept=chance.choice([0, *UNITS]),
                available_from=chance.choice(TIMES),
                available_until=chance.choice(LATE), lot=chance.choice(HARD),
                expires_on=chance.choice([None, "2026-02-28", "1900-01-01"]),
                status=chance.choice(["open", "withdrawn"]), published_at=chance.choice(TIMES + LATE),
            )  # fmt: skip
        for _ in range(40):
            units, why = chance.choice(UNITS), chance.choice([None, "not_reported", "disaster"])
            await add(
                "requests", institution_id=chance.choice(names), resource=BEDS, requested=units,
                approved=chance.choice([0, units]),
                fulfilled=0, urgency=chance.choice([1, 5]), needed_by=chance.choice(TIMES),
                needed_until=chance.choice(LATE),
                reason=chance.choice(["stock_out", "surge"]), status=chance.choice(["open", "superseded", "expired"]),
                remainder_of=chance.choice([None, *ids["requests"]]), note=chance.choice(HARD),
                opened_at=chance.choice(TIMES),
                raised=0 if why is None else 1, raise_reason=why,
            )  # fmt: skip
        for _ in range(40):
            giver, receiver = chance.sample(names, 2)
            state = chance.choice(["held", "declined", "return_due"])
            await add(
                "transfers", offer_id=chance.choice(ids["offers"]), request_id=chance.choice(ids["requests"]),
                giver_id=giver,
                receiver_id=receiver, resource=BEDS, quantity=chance.choice(UNITS), state=state,
                reason=chance.choice(HARD),
                allocation_id=str(uuid4()), hold_until=chance.choice(TIMES),
                decline_reason="own_need_rose" if state == "declined" else None,
                return_due_at=chance.choice([None, *LATE]),
                changed_at=chance.choice(TIMES), **_left(state, chance),
            )  # fmt: skip
    finally:
        await conn.close()
    return ids


def _left(state: str, chance: Random) -> dict[str, Any]:
    if state != "return_due":
        return {}
    left, arrived = chance.choice(TIMES), chance.choice(LATE)
    return {"dispatched": 2**31 - 1, "dispatched_at": left, "received": 1, "received_at": arrived}


class Queries:
    """Queries that the schema takes, made by chance: most of columns alone, some not."""

    def __init__(self, ids: Mapping[str, list[str]], houses: Mapping[str, str]) -> None:
        self._chance, self._ids, self._houses = Random("queries"), ids, [*houses.values(), str(uuid4())]
        self._edges = False
        self._variables: list[str] = []
        self._values: dict[str, Any] = {}

    def make(self) -> tuple[str, dict[str, Any]]:
        self._variables, self._values = [], {}
        # Of roots that are read at the same time, what one has found by edges is not looked up for another again, nor
        # put on record again: which is which is for the clock. So only the first has edges.
        roots = " ".join(f"r{n}: {self._root(edges=n == 0)}" for n in range(self._chance.choice([1, 2, 3])))
        typename = self._chance.choice(["", "", "", "__typename", "__typename @skip(if: $yes)"])
        told = f"{{ {roots} {typename} }} {self._fragments(roots)}"
        yes = "$yes: Boolean! = true" if "$yes" in told else ""
        asked = " ".join([yes, *self._variables])
        return (f"query ({asked}) {told}" if asked.strip() else told), dict(self._values)

    def _root(self, *, edges: bool) -> str:
        name, kind = self._chance.choice([*LISTS.items()])
        self._edges = edges and self._chance.random() < 0.6
        if self._chance.random() < 0.25:
            asked = self._chance.choice([*self._ids[name], *self._ids[name], *self._houses])
            return f'{kind.lower()}({self._given("id", asked)}) {{ {self._columns(kind)} }}'
        parts = self._chance.sample(
            ["nodes", "nodes", "edges", "pageInfo", "again: nodes", "__typename"], self._chance.randint(1, 4)
        )
        if self._chance.random() < 0.1:
            parts.append(self._chance.choice(["totalCount totalCountRelation", "n: totalCount @include(if: $yes)"]))
        below = " ".join(self._part(part, kind) for part in parts)
        return f"{name}{self._arguments(name)} {{ {below} }}"

    def _part(self, part: str, kind: str) -> str:
        match part:
            case "pageInfo":
                return f"pageInfo {{ {self._some(PAGE_INFO)} }}"
            case "edges":
                told = self._chance.choice(["cursor", "c: cursor cursor __typename", ""])
                return f"edges {{ {told} node {{ {self._columns(kind)} }} }}"
            case "__typename":
                return "__typename"
            case _ if "totalCount" in part:
                return part
            case _:
                return f"{part} {{ {self._columns(kind)} }}"

    def _columns(self, kind: str) -> str:
        told = self._some(f"{FIELDS[kind]} __typename")
        extra = [f"... on {kind} {{ a1: id }}", f"...of{kind}", "... { b2: id id }", "_: __typename"]
        more = self._chance.choice([*extra, "", "", ""])
        edges = self._links(kind) if self._edges else ""
        return f"{told} {more} {edges} {NO_COLUMNS[kind] if self._chance.random() < 0.04 else ''}"

    def _links(self, kind: str) -> str:
        """Edges with columns of what they lead to; now and then with edges of that."""
        named = EDGES[kind]
        told = []
        for name in self._chance.sample([*named], self._chance.randint(0, len(named))):
            below = self._some(f"{FIELDS[named[name]]} __typename")
            deeper = self._links(named[name]) if named[name] in EDGES and self._chance.random() < 0.03 else ""
            alias = self._chance.choice(["", "", f"_{name}: "])
            told.append(f"{alias}{name} {{ {below} {deeper} }}")
            if alias and self._chance.random() < 0.5:
                told.append(f"{name} {{ again: {FIELDS[named[name]].split()[-1]} }}")
        return " ".join(told)

    def _some(self, names: str) -> str:
        every = names.split(" ") if ":" not in names else names.replace(": ", ":").split(" ")
        return " ".join(self._chance.sample(every, self._chance.randint(1, len(every))))

    def _arguments(self, name: str) -> str:
        chance, house = self._chance, f'"{self._chance.choice(self._houses)}"'
        real = write_cursor(UUID(chance.choice(self._ids[name])).bytes)
        after = chance.choice([real, real, real, real, real, real, "", "nonsense", "AAAA"])
        possible = {
            "offers": [f"institution: {house}", 'resource: "bed.adult"', 'resource: "no code"', "onlyOpen: true"],
            "requests": [f"institution: {house}", 'resource: "bed.adult"', "status: OPEN", "status: EXPIRED"],
            "transfers": [f"party: {house}", "state: DECLINED", f'allocation: "{uuid4()}"'],
            "institutions": ['region: "us-nj"', 'region: "nowhere"', 'region: "??"'],
        }[name]
        told = {one.split(":")[0]: one for one in chance.sample(possible, chance.choice([0, 0, 1, 2]))}
        ways = [("first", "after"), ("last", "before")]
        size, cursor = ways[chance.random() < 0.4]
        if chance.random() < 0.95:
            told[size] = self._given(size, chance.choice([1, 2, 3, 39, 40, 50, 200] * 3 + [0]))
        if chance.random() < 0.4:
            told[cursor] = self._given(cursor, after)
        if chance.random() < 0.05:
            told["last"] = self._given("last", 2)
        if chance.random() < 0.3:
            told["filter"] = f"filter: {{{', '.join(self._matching(name))}}}"
        if chance.random() < 0.15:
            direction = chance.choice(["", ", direction: DESC", ", direction: ASC"])
            told["orderBy"] = f"orderBy: {{by: {chance.choice(SORTS[name].split())}{direction}}}"
        return f"({', '.join(told.values())})"

    def _matching(self, name: str) -> Iterator[str]:
        """Some members of a filter, each once."""
        one, other = (f'"{each}"' for each in self._chance.sample(self._houses, 2))
        owners = [f"institutions: [{one}]", f"institutions: [{one}, {other}]"]
        whose = {"offers": owners, "requests": owners, "transfers": [f"giver: {one}", f"receiver: {other}"]}
        possible = [*FILTERS[name], *whose.get(name, ())]
        yield from {one.split(":")[0]: one for one in self._chance.sample(possible, 2)}.values()

    def _given(self, name: str, value: Any) -> str:
        """An argument, written out or as a variable of any kind; now and then none that could be."""
        if self._chance.random() < 0.4:
            return f"{name}: {json.dumps(value)}"
        variable, kind = f"v{len(self._variables)}", {str: "UUID!", int: "Int!"}[type(value)]
        if name in ("after", "before"):
            kind = "String"
        if name in ("first", "last") and self._chance.random() < 0.3:
            kind = f"Int = {value}"
        elif self._chance.random() < 0.95:
            self._values[variable] = value
        else:
            self._values[variable] = self._chance.choice([None, "no", 1.5, [], {"a": 1}, 2**31])
        self._variables.append(f"${variable}: {kind}")
        return f"{name}: ${variable}"

    @staticmethod
    def _fragments(roots: str) -> str:
        used = (kind for kind in EDGES if f"...of{kind}" in roots)
        return " ".join(f"fragment of{kind} on {kind} {{ f: {FIELDS[kind].split()[1]} g: id }}" for kind in used)


async def _answer(app: ASGIApp, query: str, variables: Mapping[str, Any], caller: Caller) -> tuple[int, Any]:
    body = orjson.dumps({"query": query, "variables": variables})
    scope: Scope = {
        "type": "http", "http_version": "1.1", "method": "POST", "path": "/graphql", "query_string": b"",
        "headers": [(b"content-type", b"application/json")], "state": {"caller": caller},
    }  # fmt: skip
    sent: list[Message] = []

    async def receive() -> Message:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: Message) -> None:
        sent.append(message)

    await app(scope, receive, send)
    # Pairs, so that the order of names counts. Lists are read at the same time, and the errors come as they come.
    told = dict(json.loads(sent[1]["body"], object_pairs_hook=list))
    return sent[0]["status"], told | {"errors": sorted(told.get("errors", []), key=str)}


def _callers(api: Api) -> Iterator[Caller]:
    regulator = api.callers["regulator"]
    yield from api.callers.values()
    yield replace(regulator, principal="coastal", jurisdiction=frozenset({"coast", "us-ny"}))
    yield replace(regulator, principal="auditor", roles=frozenset({Role.AUDITOR}))
    yield replace(api.callers["north"], principal="narrow", scopes=frozenset({"system/Offer.rs"}))
    yield replace(api.callers["north"], principal="both", roles=frozenset({Role.INSTITUTION, Role.REGULATOR}),
                  jurisdiction=frozenset({"coast"}))  # fmt: skip


async def _recorded(dsn: str) -> dict[str, list[str]]:
    """What is on record, by request, without what differs of two entries that say the same."""
    conn = await asyncpg.connect(dsn)
    try:
        entries = [json.loads(row["body"]) for row in await conn.fetch(STORED)]
    finally:
        await conn.close()
    found: dict[str, list[str]] = {}
    for entry in entries:
        told = {name: value for name, value in entry.items() if name not in {"id", "nonce", "at", "request_id"}}
        found.setdefault(entry["request_id"], []).append(json.dumps(told, sort_keys=True))
    return {request: sorted(entries) for request, entries in found.items()}


def _count(monkeypatch: pytest.MonkeyPatch, where: Any, name: str, count: Iterator[int]) -> None:
    """Count the calls of a function from now on."""
    counted = getattr(where, name)
    monkeypatch.setattr(where, name, lambda *args, **more: (next(count), counted(*args, **more))[1])


async def test_what_postgresql_writes_is_what_the_stock_executor_says_and_leaves_the_same_trace(
    api: Api, admin_dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    regions = {"north": "coast", "south": "us-nj", "east": "inland"}
    houses = {name: await api.institution(name, region=region) for name, region in regions.items()}
    queries = Queries(await fill(admin_dsn, houses), houses)
    taken = {"finished": itertools.count(), "linked": itertools.count(), "without an executor": itertools.count()}
    _count(monkeypatch, plain, "Finished", taken["finished"])
    _count(monkeypatch, express.Root, "resolved", taken["without an executor"])
    _count(monkeypatch, plain, "can_be_linked", taken["linked"])
    apps = {"ours": graphql_app(api.people), "stock": graphql_app(api.people, StockExecutor)}
    callers = [*_callers(api)]
    for number in range(QUERIES):
        (query, variables), caller = queries.make(), callers[number % len(callers)]
        answers = {
            name: await _answer(app, query, variables, replace(caller, request_id=f"{name} {number}"))
            for name, app in apps.items()
        }
        assert answers["ours"] == answers["stock"], (caller, query, variables)
    assert {name: next(count) > QUERIES / 8 for name, count in taken.items()} == dict.fromkeys(taken, True)
    recorded = await _recorded(admin_dsn)
    for number in range(QUERIES):
        assert recorded.get(f"ours {number}") == recorded.get(f"stock {number}"), number
    assert sum(request.startswith("ours") for request in recorded) > QUERIES / 10


@pytest.mark.parametrize("executor", [False, True])
async def test_what_a_document_selects_is_worked_out_once(
    api: Api, monkeypatch: pytest.MonkeyPatch, *, executor: bool
) -> None:
    read = itertools.count()
    app, caller = graphql_app(api.people), api.callers["planner"]
    query = "query ($yes: Boolean! = true) { offers { nodes { id } } me @include(if: $yes) { clientId } }"
    query = query if executor else "{ offers { nodes { id } } }"
    await _answer(app, query, {}, caller)
    _count(monkeypatch, plain, "_Selection", read)
    assert (await _answer(app, query, {}, caller))[0] == 200
    assert next(read) == 0


@pytest.mark.parametrize(
    "query", ["{ transfers { nodes { request { id } } } }", '{ transfer(id: "%s") { request { id } } }']
)
async def test_policies_that_change_while_a_list_is_read_are_no_crash(
    api: Api, admin_dsn: str, monkeypatch: pytest.MonkeyPatch, query: str
) -> None:
    houses = {name: await api.institution(name) for name in ("north", "south")}
    ids = await fill(admin_dsn, houses)
    ask = Authorizer.ask

    def asked(self: Authorizer, caller: Caller, action: Action, *more: Any) -> Ruling:
        return replace(ask(self, caller, action, *more), allowed=action is not Action.VIEW_REQUEST)

    monkeypatch.setattr(Authorizer, "ask", asked)  # the filter, which stays, is of the policies before
    text = query.replace("%s", ids["transfers"][0])
    _, told = await _answer(graphql_app(api.people), text, {}, api.callers["planner"])
    (error,) = told["errors"]
    assert "UNAVAILABLE" in str(error)
    assert ids["requests"][0] not in str(told)
