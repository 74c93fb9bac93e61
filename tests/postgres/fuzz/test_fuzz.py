"""Requests made from the schema go deep into a furnished house: no fault is found, and every door was gone through.

SHAREWELL_FUZZ_CASES says how many of them, SHAREWELL_FUZZ_SEED which; what is tried in every run is the same each time.
"""

from __future__ import annotations

import asyncio
import io
import os
import sys
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import timedelta
from http import HTTPStatus
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

import pytest
from graphql import GraphQLSchema, build_schema
from tests.postgres.fuzz.cases import SLOW, Case, Maker
from tests.postgres.fuzz.checks import SECRETS, faults
from tests.postgres.fuzz.wishes import WISHES, NoneLeft, Wisher
from tests.postgres.fuzz.world import furnish, look, plan, report

import sharewell_schema

if TYPE_CHECKING:
    from tests.postgres.conftest import Connection
    from tests.postgres.fuzz.conftest import House

CASES = int(os.environ.get("SHAREWELL_FUZZ_CASES", "60"))
SEED = int(os.environ.get("SHAREWELL_FUZZ_SEED", "1"))
HANGS_SECONDS = 300.0  #: only ever waited for in vain
LOOK_EVERY = 25
TURNS = 6  #: the longest way of a thing through mutations, and one more
BEGINNINGS = 5  #: of that way, where what was on it went another
SCHEMA = Path(sharewell_schema.__file__).with_name("api.graphql")
#: Queries that nothing here gives an answer to, and why.
UNANSWERED = {"feed": "no published file was taken in"}


@dataclass
class Fuzzer:
    """Asks, looks at what comes back, and counts."""

    house: House
    schema: GraphQLSchema
    random: Random
    maker: Maker = field(init=False)
    asked: Counter[str] = field(default_factory=Counter)
    reached: Counter[str] = field(default_factory=Counter)
    codes: Counter[str] = field(default_factory=Counter)
    found: dict[str, str] = field(default_factory=dict)  #: by what is wrong, the first request that showed it
    decisions: dict[str, str] = field(default_factory=dict)  #: by id, the wish that it was made for
    kept: list[tuple[Case, Any]] = field(default_factory=list)  #: mutations that were done, with their data
    cursors: list[str] = field(default_factory=list)
    turns: int = 0
    refused: dict[str, str] = field(default_factory=dict)  #: by operation, what was last said to a sound request

    async def start(self) -> None:
        self.maker = Maker(self.schema, Wisher(self.random, await look(self.house, self.cursors)))

    async def try_all(self) -> None:
        """Every operation as it should be asked, by whoever may, until it succeeded; mutations before queries."""
        assert self.schema.mutation_type is not None
        assert self.schema.query_type is not None
        mutations = list(self.schema.mutation_type.fields)
        for turn in range(TURNS * BEGINNINGS):
            missing = [name for name in mutations if not self.reached[name]]
            if not missing:
                break
            begins = turn and turn % TURNS == 0
            if begins:  # all that others need is made once more
                await plan(self.house)
            await self.live_on()
            for name in mutations if begins else missing:
                with suppress(NoneLeft):
                    await self.ask(self.maker.wish(name))
        await self.live_on()
        for name in self.schema.query_type.fields:
            for who in () if name.startswith("_") else ("regulator", "admin", "north", "regulator") * 4:
                if not self.reached[name]:
                    await self.ask(replace(self.maker.query(name, sound=True), who=who))

    async def run(self, names: list[tuple[str, str]]) -> None:
        for number, (kind, name) in enumerate(names):
            if number % LOOK_EVERY == 0:
                await self.live_on()
            if kind == "query":
                await self.ask(self.maker.query(name))
                continue
            await self.ask(self.maker.mutation(name))
            if self.random.random() < 0.15:
                await self.ask_again(*self.random.choice(self.kept[-30:]))

    async def live_on(self) -> None:
        """Time goes by, urgent requests are answered, and wishes are made of what there is by now."""
        self.turns += 1
        await self.house.tick(timedelta(seconds=20))
        await self.house.work("urgent")
        if self.turns % 10 == 0:
            await report(self.house)
            await self.house.work("allocate", "horizon")
        self.maker.wisher.world = await look(self.house, self.cursors[-50:])

    async def ask(self, case: Case) -> Any:
        """Send it; returns its data where it had some and no errors."""
        try:
            async with asyncio.timeout(HANGS_SECONDS):
                answer = await self.house.send(case.who, case.document, case.variables)
            if answer.status_code == HTTPStatus.REQUEST_ENTITY_TOO_LARGE:  # which is told before it is read
                return None
            body = answer.json()
        except Exception as error:  # noqa: BLE001 - whatever it is, it is a fault
            self.found.setdefault(f"{case.field}: {type(error).__name__}: {error}", str(case))
            return None
        codes: set[str] = set()
        own = self.house.sites.get("north" if case.who == "device" else case.who)
        wrong = faults(self.schema, case, answer.status_code, body, own, codes)
        wrong += [f"tells a secret: {found[0]}" for found in [SECRETS.search(answer.text)] if found]
        for what in wrong:
            self.found.setdefault(f"{case.field}: {what}", f"{case}\n    {answer.text[:1500]}")
        self.asked[case.field] += 1
        self.codes.update(codes or {"OK"})
        if case.sound and body.get("errors"):
            self.refused[case.field] = f"{case.who}: {body['errors'][0]['message'][:200]}"
        data = None if body.get("errors") else (body.get("data") or {}).get(case.field)
        if data is not None:
            self.reached[case.field] += 1
            self.learn(data)
            if case.kind == "mutation":
                self.done(case, data)
        return data

    def done(self, case: Case, data: Any) -> None:
        self.kept.append((case, data))
        decision = (data.get("decision") or {}).get("id")
        if decision is not None:
            wish = f"{case.who} {case.variables['input']['idempotencyKey']}"
            if self.decisions.setdefault(decision, wish) != wish:
                self.found.setdefault(f"{case.field}: one decision for two wishes", f"{case}\n    {wish}")

    async def ask_again(self, case: Case, data: Any) -> None:
        """The same wish is one deed; another under its key is a conflict, and told so."""
        again = await self.house.send(case.who, case.document, case.variables)
        told = again.json()
        if (told.get("data") or {}).get(case.field) is None:
            codes = [error["extensions"]["code"] for error in told["errors"]]
            self.found.setdefault(f"{case.field}: asked again it was {codes}", f"{case}\n    {again.text[:1500]}")
        elif told["data"][case.field].get("decision", {}).get("id") != data.get("decision", {}).get("id"):
            self.found.setdefault(f"{case.field}: asked again it was done twice", f"{case}\n    {again.text[:1500]}")
        other = self.maker.mutation(case.field)
        key = case.variables["input"]["idempotencyKey"]
        given = other.variables["input"]
        if isinstance(given, dict):
            await self.ask(replace(other, who=case.who, variables={"input": {**given, "idempotencyKey": key}}))

    def learn(self, data: Any) -> None:
        """Cursors of pages, to go on from."""
        if isinstance(data, dict):
            cursors = [data.get("endCursor"), data.get("startCursor")]
            self.cursors += [cursor for cursor in cursors if isinstance(cursor, str)]
            for inner in data.values():
                self.learn(inner)

    def told(self) -> str:
        """The share of requests that got what they asked for, by operation."""
        rows = [
            f"  {name:24} {self.reached[name]:4} of {count:4}  {'' if self.reached[name] else self.refused.get(name)}"
            for name, count in sorted(self.asked.items())
        ]
        whole, reached = self.asked.total(), self.reached.total()
        return "\n".join([*rows, f"{reached} of {whole} succeeded ({reached / whole:.0%}); {dict(self.codes)}"])


@pytest.mark.timeout(900 + CASES)  # as many as are asked for
async def test_no_request_finds_a_fault_and_every_operation_succeeds(
    house: House, owner: Connection, log_stream: io.StringIO
) -> None:
    schema = build_schema(SCHEMA.read_text(), assume_valid=True)
    await furnish(house)
    fuzzer = Fuzzer(house, schema, Random(SEED))
    await fuzzer.start()
    await fuzzer.try_all()
    await fuzzer.run(operations(schema, fuzzer.random))
    sys.stdout.write(fuzzer.told() + "\n")
    sys.stdout.write("".join(f"\n- {what}\n    {case[:4000]}" for what, case in fuzzer.found.items()))
    crashes = [line for line in log_stream.getvalue().splitlines() if '"crash"' in line]
    sys.stdout.write("\n".join(dict.fromkeys(crashes)))
    assert fuzzer.found == {}
    assert crashes == []
    assert await unaccounted(house, owner, list(fuzzer.decisions)) == []
    never = {name for name in fuzzer.asked | dict.fromkeys(WISHES, 0) if not fuzzer.reached[name]}
    assert never == UNANSWERED.keys()


def operations(schema: GraphQLSchema, random: Random) -> list[tuple[str, str]]:
    """What is asked for then, in order; the slow ones seldom."""
    assert schema.query_type is not None
    mutations = [("mutation", name) for name in WISHES]
    queries = [("query", name) for name in schema.query_type.fields if not name.startswith("_")]
    names: list[tuple[str, str]] = []
    while len(names) < CASES:
        slow = random.random() < 0.1
        turn = [*mutations, *(one for one in queries if slow or one[1] not in SLOW)]
        random.shuffle(turn)
        names += turn
    return names[:CASES]


async def unaccounted(house: House, owner: Connection, decisions: list[str]) -> list[str]:
    """Decisions told of that are not in the sealed log exactly once, and what reconciling the log finds missing."""
    await house.tick()
    rows = await owner.fetch(
        "select d.id::text as id, count(l.*) as entries from unnest($1::uuid[]) d (id)"
        " left join audit.staged s using (id) left join audit.leaf l using (staged_id) group by d.id", decisions,
    )
    missing = [f"{row['id']} has {row['entries']} entries" for row in rows if row["entries"] != 1]
    await house.run("reconcile")
    query = "{ reconciliations(first: 1) { nodes { complete gaps { problem count missing } } } }"
    (made,) = (await house.ask("regulator", query))["reconciliations"]["nodes"]
    return [*missing, *map(str, made["gaps"])]
