"""Every policy permits everything, and yet no institution reads or writes what is another's: the database is left.

The first wall is taken down for good, by an authorizer that says yes to whatever it is asked.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, TypeAlias

import asyncpg
import pytest
from tests.postgres.graphql.conftest import Api

from sharewell.authz import Authorizer
from sharewell.domain.policy import Action, Ruling, Target
from sharewell.domain.predicate import EVERYTHING, Predicate
from sharewell.domain.principals import Caller
from sharewell.domain.reader import NOBODY, PLATFORM, reader_of

Connection: TypeAlias = "asyncpg.Connection[Any]"

LISTS = {
    "requests": "{ requests { nodes { id institutionId } } }",
    "transfers": "{ transfers { nodes { id } } }",
    "overrides": "{ overrides { nodes { id } } }",
    "deviations": "{ deviations { nodes { id } } }",
    "consents": "{ consents { nodes { id } } }",
    "receipts": "{ allocations { nodes { receipts { institutionId } unfilled { requestId } } } }",
}
#: Everything that is some institution's own and not shared with all who take part.
WALLED = (
    "request", "transfer", "transfer_step", "override", "deviation", "consent", "forecast", "forecast_watch",
    "run_receipt", "unfilled", "horizon_day", "horizon_movement", "horizon_unmet", "credit",
)  # fmt: skip


class Yes(Authorizer):
    """The first wall, taken down."""

    def ask(
        self, caller: Caller, action: Action, target: Target, context: Mapping[str, str] | None = None  # noqa: ARG002
    ) -> Ruling:
        return Ruling(allowed=True, policies=("anything-goes",), policy_set=self.policy_set)

    def filter(
        self, caller: Caller, action: Action, context: Mapping[str, str] | None = None  # noqa: ARG002
    ) -> Predicate:
        return EVERYTHING


async def world(api: Api) -> dict[str, str]:
    """A transfer between giver and receiver with all that can come of it, and somebody who has no part in it."""
    transfer = await api.held_transfer()
    outsider = await api.institution("outsider", region="us-ny")
    found = await api.ask("receiver", "{ requests { nodes { id } } }")
    until = api.need_of(1)["neededUntil"]
    consent = await api.done("giver", "giveConsent", "consent { id }", resource="bed.adult", until=until)
    await api.done("giver", "overridePlan", transfer=transfer, kind="CANCEL", code="NEED_ENDED")
    await api.done("receiver", "openRequest", **api.need_of(2))
    await api.done(
        "giver", "reportUnplannedMove", giver=str(api.callers["giver"].institution),
        receiver=str(api.callers["receiver"].institution), resource="bed.adult", units=1,
    )  # fmt: skip
    return {
        "transfer": transfer, "request": found["requests"]["nodes"][0]["id"], "outsider": outsider,
        "consent": consent["consent"]["id"],
    }  # fmt: skip


@pytest.fixture
def first_wall_down(api: Api) -> Any:
    def take_down() -> None:
        api.people.office.rulebook.own = Yes.load()

    return take_down


def told(answer: Any) -> int:
    """How many things of institutions an answer names."""
    (listed,) = answer.values()
    nodes = listed["nodes"]
    return sum(sum(map(len, node.values())) if "receipts" in node else 1 for node in nodes)


async def test_with_the_first_wall_down_lists_show_an_institution_its_own_and_nothing_else(
    api: Api, first_wall_down: Any
) -> None:
    await world(api)
    parties, everything = {}, {}
    for name, query in LISTS.items():
        parties[name] = {who: told(await api.ask(who, query)) for who in ("giver", "receiver")}
        everything[name] = told(await api.ask("planner", query))
    first_wall_down()
    for name, query in LISTS.items():
        assert everything[name] > 0, name
        assert told(await api.ask("outsider", query)) == 0, name
        for who, seen in parties[name].items():
            assert told(await api.ask(who, query)) == seen, (name, who)
    found = await api.ask("giver", LISTS["requests"])
    assert found["requests"]["nodes"] == []  # what the receiver lacks is not the giver's to know


ONE = {
    "request": "query ($id: UUID!) { request(id: $id) { id } }",
    "transfer": "query ($id: UUID!) { transfer(id: $id) { id steps { at } } }",
}


@pytest.mark.parametrize("kind", ONE)
async def test_with_the_first_wall_down_nothing_of_others_is_told_by_its_id(
    api: Api, first_wall_down: Any, kind: str
) -> None:
    made = await world(api)
    first_wall_down()
    refused = await api.send("outsider", ONE[kind], {"id": made[kind]})
    assert refused.refusal[0] == "NOT_FOUND"
    assert refused.body["data"] == {kind: None}
    assert (await api.ask("planner", ONE[kind], id=made[kind]))[kind]


async def test_with_the_first_wall_down_nobody_writes_for_another(
    api: Api, first_wall_down: Any, owner: Connection
) -> None:
    made = await world(api)
    first_wall_down()
    giver = str(api.callers["giver"].institution)
    tried = {
        "openRequest": {**api.need_of(1), "institution": giver},
        "publishOffer": {**api.pledge_of(1), "institution": giver},
        "giveConsent": {"resource": "bed.adult", "until": api.need_of(1)["neededUntil"], "institution": giver},
        "cancelRequest": {"request": made["request"]}, "withdrawConsent": {"consent": made["consent"]},
        "confirmTransfer": {"transfer": made["transfer"]}, "dispatchTransfer": {"transfer": made["transfer"]},
    }  # fmt: skip
    before = await counted(owner)
    for name, asked in tried.items():
        answer = await api.do("outsider", name, "decision { id }", **asked)
        assert answer.body["data"] == {name: None}, name
    assert await counted(owner) == before


async def counted(owner: Connection) -> list[Any]:
    """What stands in the tables that were written at."""
    named = ("request", "offer", "consent", "transfer")
    return [await owner.fetch(f"select id, decision_id from sharewell.{name} order by id") for name in named]


async def test_a_refusal_says_the_same_of_what_the_database_hides(api: Api, owner: Connection) -> None:
    made = await world(api)
    answer = await api.send("outsider", ONE["request"], {"id": made["request"]})
    assert answer.refusal[0] == "FORBIDDEN"
    recorded = "select count(*) from audit.decision where outcome = 'refused' and subject_id = $1"
    assert await owner.fetchval(recorded, made["request"]) == 1


async def reads(conn: Connection, reader: str) -> dict[str, int]:
    """Rows of each table that are seen in a transaction that reads for `reader`."""
    async with conn.transaction():
        await conn.execute("select set_config('sharewell.reader', $1, true)", reader)
        tables = (*WALLED, "offer", "capacity_report")
        return {name: await conn.fetchval(f"select count(*) from sharewell.{name}") for name in tables}


async def test_whoever_does_not_say_for_whom_it_reads_sees_no_row(api: Api, gateway: Connection) -> None:
    await world(api)
    assert set((await reads(gateway, NOBODY)).values()) == {0}
    assert (await reads(gateway, PLATFORM))["transfer"] == 1
    # The setting went with its transaction.
    assert await gateway.fetchval("select count(*) from sharewell.request") == 0


async def test_a_regulator_of_some_regions_reads_their_rows_alone(api: Api, gateway: Connection) -> None:
    await world(api)
    coast = Caller(principal="r", roles=api.callers["regulator"].roles, jurisdiction=frozenset({"us-ny"}))
    assert (await reads(gateway, reader_of(coast)))["request"] == 0
    assert (await reads(gateway, reader_of(replace(coast, jurisdiction=frozenset({"us-nj"})))))["request"] > 0


async def test_the_gateways_role_cannot_get_over_the_wall(gateway: Connection) -> None:
    assert not await gateway.fetchval("select rolbypassrls or rolsuper from pg_roles where rolname = current_user")
    for attempt in (
        "alter role sharewell_gateway bypassrls", "set role sharewell_worker", "set role sharewell_migrator",
        "alter table sharewell.request disable row level security", "drop policy read on sharewell.request",
        "set session_replication_role = replica",
    ):  # fmt: skip
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await gateway.execute(attempt)
    async with gateway.transaction():
        await gateway.execute("set local row_security = off")
        with pytest.raises(asyncpg.PostgresError, match="row-level security"):
            await gateway.fetch("select * from sharewell.request")


OPEN_TABLES = """
select c.relname from pg_class c join pg_attribute a on a.attrelid = c.oid
 where c.relnamespace = 'sharewell'::regnamespace and c.relkind = 'r' and not a.attisdropped
   and a.attname in ('institution_id', 'giver_id', 'receiver_id')
   and has_table_privilege('sharewell_gateway', c.oid, 'select')
   and not (c.relrowsecurity and c.relforcerowsecurity)
"""


async def test_no_table_with_rows_of_institutions_stands_outside_of_the_wall(owner: Connection) -> None:
    assert await owner.fetch(OPEN_TABLES) == []
