"""Lists filtered by a condition in SQL show what Cedar would permit row by row: the same decisions, made both ways.

The condition is evaluated by PostgreSQL, the decisions by Cedar's ordinary evaluation, which shares nothing with the
partial one. Generated policies come beside our own: they fail in ways that no validated policy can.
"""

from __future__ import annotations

import io
import json
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from uuid import UUID

import cedarpy
import pytest

from sharewell import authz, authz_filter
from sharewell.authz import Authorizer, shipped_policies
from sharewell.domain.policy import BETWEEN, MANY, Action, Target, scope_of
from sharewell.domain.predicate import EVERYTHING, NOTHING, Predicate
from sharewell.domain.principals import Caller, Role
from sharewell.domain.scopes import INTERNAL_SCOPES
from sharewell.store.paging import SEEN, narrowed

if TYPE_CHECKING:
    from tests.postgres.conftest import Connection

ROWS, QUESTIONS, SETS = 420, 240, 150
HOUSES = [UUID(int=n) for n in range(1, 7)]
REGIONS = ["coast", "hills", "inland"]
COLUMNS = ("id", "owner", "giver", "receiver", "region", "giver_region", "receiver_region", "author")
TABLE = """
create table sharewell.generated (
  id text, owner uuid, giver uuid, receiver uuid, region text, giver_region text, receiver_region text,
  author text)
"""
PLACE = {name: name for name in ("id", "owner", "giver", "receiver", "region", "author")} | {
    "giverRegion": "giver_region", "receiverRegion": "receiver_region",
}  # fmt: skip


@dataclass(frozen=True)
class Row:
    """A thing, with what policies can ask of it."""

    id: str
    owner: UUID | None
    giver: UUID | None
    receiver: UUID | None
    region: str | None
    giver_region: str | None
    receiver_region: str | None
    author: str | None

    def target(self, kind: str, id: str | None = None) -> Target:  # noqa: A002
        if kind in BETWEEN:
            return Target(
                kind=kind, id=id or self.id, giver=self.giver, receiver=self.receiver,
                giver_region=self.giver_region, receiver_region=self.receiver_region,
            )  # fmt: skip
        author = self.author if kind == "policy" else None
        return Target(kind=kind, id=id or self.id, owner=self.owner, region=self.region, author=author)

    def entity(self, kind: str) -> dict[str, Any]:
        target = self.target(kind)
        told: list[dict[str, Any]] = json.loads(authz._target_entity(self.uid(kind), target))
        return told[0]

    def uid(self, kind: str) -> dict[str, str]:
        return {"type": f"Sharewell::{kind.capitalize()}", "id": self.id}


def generated_rows(rng: random.Random, count: int) -> list[Row]:
    def house() -> UUID | None:
        return rng.choice([None, *HOUSES])

    def region() -> str | None:
        return rng.choice([None, *REGIONS])

    def author() -> str | None:
        return rng.choice([None, f"client-{rng.randint(1, 40)}"])

    return [Row(f"row-{n}", house(), house(), house(), region(), region(), region(), author()) for n in range(count)]


def generated_callers(rng: random.Random) -> Iterator[Caller]:
    """Clients of every mixture of roles, with and without institution, narrow and wide scopes; and our own workers."""
    while True:
        if rng.random() < 0.1:
            roles = frozenset(rng.sample(list(Role), rng.randint(0, 2)))
            yield Caller(principal=rng.choice(["ingest", "allocate", "expire"]), roles=roles, scopes=INTERNAL_SCOPES)
            continue
        scopes = rng.choice([["system/*.cruds"], ["system/*.rs"], ["system/Request.cruds", "system/Transfer.rsu"], []])
        yield Caller(
            principal=f"client-{rng.randint(1, 40)}", roles=frozenset(rng.sample(list(Role), rng.randint(0, 3))),
            institution=rng.choice([None, *HOUSES]), scopes=frozenset(scopes),
            jurisdiction=frozenset(rng.sample(REGIONS, rng.choice([0, 0, 1, 2]))),
            purpose=rng.choice([None, None, "TREAT", "HRESCH"]), sender_constrained=rng.random() < 0.5,
            proof_required=rng.random() < 0.2,
        )  # fmt: skip


async def fill(conn: Connection, rows: Sequence[Row]) -> None:
    await conn.execute(TABLE)
    records = [tuple(getattr(row, name) for name in COLUMNS) for row in rows]
    await conn.copy_records_to_table("generated", schema_name="sharewell", records=records)


async def shown(conn: Connection, predicate: Predicate) -> set[str]:
    statement = f"select id from sharewell.generated where {SEEN}"
    statement = narrowed(statement, predicate, [PLACE], 0)
    return {row["id"] for row in await conn.fetch(statement, *predicate.values)}


def permitted(authorizer: Authorizer, caller: Caller, action: Action, rows: Sequence[Row]) -> set[str]:
    """The rows that Cedar permits, each asked for by itself."""
    principal, entity = authz._caller_entity(caller)
    entities = cedarpy.Entities.from_json_str(
        json.dumps([*json.loads(entity), *(row.entity(action.kind) for row in rows)]), authorizer._schema
    )
    context = authz._facts(caller, scope_of(action, Target.list(action.kind)))
    asked = [
        {"principal": principal, "action": f'Sharewell::Action::"{action}"', "resource": row.uid(action.kind),
         "context": context}
        for row in rows
    ]  # fmt: skip
    answers = cedarpy.is_authorized_batch(asked, authorizer._handle, entities, authorizer._schema)
    return {row.id for row, answer in zip(rows, answers, strict=True) if answer.allowed}


async def test_100_000_generated_decisions_are_the_same_both_ways(owner: Connection) -> None:
    rng, authorizer = random.Random(20), Authorizer.load()
    rows, callers = generated_rows(rng, ROWS), generated_callers(rng)
    await fill(owner, rows)
    compared, differ, sizes = 0, [], set()
    for n in range(QUESTIONS):
        caller, action = next(callers), list(Action)[n % len(Action)]
        one = await shown(owner, authorizer.filter(caller, action))
        other = permitted(authorizer, caller, action, rows)
        compared += len(rows)
        sizes.add(len(other))
        differ += [(caller, action, id) for id in one ^ other]  # noqa: A001
    assert compared >= 100_000
    assert not differ
    assert {0, ROWS} < sizes  # all, none, and some of them


async def test_a_row_is_judged_as_the_list_of_what_is_its_owners(owner: Connection) -> None:
    rng, authorizer = random.Random(21), Authorizer.load()
    rows, callers = generated_rows(rng, 25), generated_callers(rng)
    await fill(owner, rows)
    for n in range(len(Action)):
        caller, action = next(callers), list(Action)[n]
        one = await shown(owner, authorizer.filter(caller, action))
        assert one == {r.id for r in rows if authorizer.ask(caller, action, r.target(action.kind, MANY)).allowed}


#: What a policy can say of a thing, well or ill.
ATOMS = (
    "resource has owner", "resource has giver", "resource has receiver", "resource.owner == principal.institution",
    "resource.giver == principal.institution", "resource.receiver == resource.giver",
    "resource.owner in principal.friends", "principal.friends.contains(resource.receiver)",
    "[resource.giver, resource.owner].contains(principal.institution)", "resource.owner == 3",
    'resource == Sharewell::{kind}::"row-1"', 'resource in [Sharewell::{kind}::"row-2", Sharewell::Offer::"row-3"]',
    "resource is Sharewell::Transfer", "resource.owner is Sharewell::Institution", "true", "false",
    'resource.owner == Sharewell::Institution::"nobody"', 'resource.giver == "text"', 'resource.region == "coast"',
    "principal.regions.contains(resource.giverRegion)", "resource.giverRegion == resource.receiverRegion",
    "resource has region", "resource.region == resource.owner", '["hills", resource.region].contains("coast")',
)  # fmt: skip


def an_expression(rng: random.Random, kind: str, depth: int) -> str:
    if depth == 0:
        return rng.choice(ATOMS).replace("{kind}", kind.capitalize())
    one, other, third = (an_expression(rng, kind, depth - 1) for _ in range(3))
    chosen = f"(if {one} then {other} else {third})"
    return rng.choice([f"({one} && {other})", f"({one} || {other})", f"!({one})", chosen])


def a_set_of_policies(rng: random.Random, kind: str) -> str:
    told = []
    for n in range(rng.randint(2, 4)):
        effect, word = rng.choice(["permit", "permit", "forbid"]), rng.choice(["when", "when", "unless"])
        body = an_expression(rng, kind, rng.randint(1, 3))
        told.append(f'@id("{n}") {effect} (principal, action, resource) {word} {{ {body} }};')
    return "\n".join(told)


ME = {
    "uid": {"type": "Sharewell::Caller", "id": "me"}, "parents": [],
    "attrs": {
        "institution": {"__entity": {"type": "Sharewell::Institution", "id": str(HOUSES[0])}},
        "friends": [{"__entity": {"type": "Sharewell::Institution", "id": str(house)}} for house in HOUSES[:3]],
        "regions": REGIONS[:2],
    },
}  # fmt: skip


async def differing_sets(conn: Connection) -> list[str]:
    """Of many generated sets of policies, those where a decision comes out differently."""
    rng = random.Random(22)
    rows = generated_rows(rng, 60)
    await fill(conn, rows)
    found = []
    for n in range(SETS):
        kind = ("request", "transfer")[n % 2]
        text = a_set_of_policies(rng, kind)
        policies = cedarpy.PolicySet.from_str(text)
        asked = {"principal": 'Sharewell::Caller::"me"', "action": 'Sharewell::Action::"x"', "context": {}}
        left = cedarpy.is_authorized_partial(asked, policies, [ME])
        one = await shown(conn, authz_filter.compiled(left.residuals.values(), kind))
        answers = cedarpy.is_authorized_batch(
            [asked | {"resource": row.uid(kind)} for row in rows], policies, [ME, *(row.entity(kind) for row in rows)]
        )
        if one != {row.id for row, answer in zip(rows, answers, strict=True) if answer.allowed}:
            found.append(text)
    return found


async def test_policies_that_fail_on_some_rows_come_out_the_same_too(owner: Connection) -> None:
    assert await differing_sets(owner) == []


def no_forbids(residuals: Any, kind: str) -> Predicate:
    return compiled([each for each in residuals if each["effect"] == "permit"], kind)


def nothing_coalesced(residuals: Any, kind: str) -> Predicate:
    predicate = compiled(residuals, kind)
    return Predicate(predicate.text.replace("coalesce(", "(").replace(", false)", ")"), predicate.values)


def null_as_sql_has_it(residuals: Any, kind: str) -> Predicate:
    """`false and null` is false in SQL, and so is `null and false`, where Cedar fails."""
    plain = lambda left, right, present: authz_filter._Truth(  # noqa: E731
        f"({left.sql} and {right(present | left.proves).sql})", True
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(authz_filter._Writer, "_and", staticmethod(plain))
        return compiled(residuals, kind)


compiled = authz_filter.compiled


@pytest.mark.parametrize("mutant", [no_forbids, nothing_coalesced, null_as_sql_has_it])
async def test_the_comparison_finds_a_compiler_that_is_wrong(
    owner: Connection, monkeypatch: pytest.MonkeyPatch, mutant: Any
) -> None:
    monkeypatch.setattr(authz_filter, "compiled", mutant)
    assert await differing_sets(owner)


@pytest.mark.parametrize(
    "condition",
    [
        'resource.owner like "a*"', "resource.owner has region", "resource has colour", "resource.weight < 3",
        '[resource.region].containsAny(["coast"])', "resource.owner in resource.giver",
        'Sharewell::Caller::"unknown".institution == resource.owner',
    ],
)  # fmt: skip
def test_what_has_no_counterpart_in_sql_is_told_and_never_guessed(condition: str) -> None:
    text = f'@id("1") permit (principal, action, resource) when {{ {condition} }};'
    asked = {"principal": 'Sharewell::Caller::"me"', "action": 'Sharewell::Action::"x"', "context": {}}
    left = cedarpy.is_authorized_partial(asked, cedarpy.PolicySet.from_str(text), [ME])
    with pytest.raises(authz_filter.Uncompilable):
        authz_filter.compiled(left.residuals.values(), "request")


def test_a_set_of_policies_that_cannot_be_compiled_shows_nothing_and_is_told_of(log_stream: io.StringIO) -> None:
    """`like` is no fault: a decision is made by it as ever, and only lists are empty until it is written otherwise."""
    text = """
@id("coasts") @sentence("Whoever asks sees the requests of regions that begin like this.")
permit (principal, action == Sharewell::Action::"viewRequest", resource)
when { resource has region && resource.region like "co*" };
"""
    authorizer = Authorizer.load({**shipped_policies(), "more.cedar": text.encode()})
    caller = Caller(principal="planner", roles=frozenset({Role.ALLOCATOR}), scopes=frozenset({"system/*.cruds"}))
    assert authorizer.ask(caller, Action.VIEW_REQUEST, Target.list("request")).allowed
    assert authorizer.filter(caller, Action.VIEW_REQUEST) == NOTHING
    assert "list cannot be filtered" in log_stream.getvalue()
    assert authorizer.filter(caller, Action.VIEW_OFFER) == EVERYTHING
