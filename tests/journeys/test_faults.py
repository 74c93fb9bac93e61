"""Kill what can be killed in the middle of a replay: nothing acknowledged is lost, nothing happens twice."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx2
import orjson
from tests.journeys.conftest import PATIENCE_SECONDS, database, playing, process

from sharewell.audit.reconcile import reconcile
from sharewell.cli.evidence import take_evidence
from sharewell.client import ApiClient
from sharewell.domain.checkpoint import Checkpoint, parse_checkpoint
from sharewell.domain.merkle import root_hash
from sharewell.domain.notes import open_note, parse_vkey
from sharewell.domain.principals import Role
from sharewell.domain.reader import PLATFORM
from sharewell.replay.panel import Panel

if TYPE_CHECKING:
    from tests.conftest import Connection, Pool

    from sharewell.cli.stage import Stage

#: Whom to kill, at which words, in this order. Words on the way in: while the request is being worked on, beside
#: others. Words on the way out: when what was asked for is done, and the answer is lost.
STRIKES = (
    ("serve", "answer", b"openRequest("),  # it is committed, and nobody has heard so
    ("worker", "answer", b'"name":"allocate"'),  # a plan is being made
    ("postgres", "request", b"confirmTransfer("),
    ("postgres", "request", b"reportCapacity("),
    ("serve", "request", b"receiveTransfer("),
    ("postgres", "answer", b'"name":"forecast"'),  # a model is being trained
    ("serve", "answer", b"publishOffer("),
)


class AnswerLost(httpx2.ReadError):
    """What a client sees of a server that dies while it answers."""


@dataclass
class Fate:
    """Sits between the clients and the platform: strikes, and remembers what the platform acknowledged."""

    home: Path
    strikes: list[tuple[str, str, bytes]] = field(default_factory=lambda: list(STRIKES))
    acknowledged: set[tuple[str, str]] = field(default_factory=set)  #: client and idempotency key
    lost: int = 0

    def watch(self, client: ApiClient) -> None:
        async def on_request(request: httpx2.Request) -> None:
            self._strike("request", request.content)

        async def on_response(response: httpx2.Response) -> None:
            body = await response.aread()
            if response.is_success and self._strike("answer", response.request.content + body):
                self.lost += 1
                raise AnswerLost("the server is gone", request=response.request)
            if response.is_success and b'"errors"' not in body:
                self.acknowledged |= {(client.client_id, key) for key in _keys(response.request)}

        client._http.event_hooks = {"request": [on_request], "response": [on_response]}

    def _strike(self, when: str, words: bytes) -> bool:
        if not self.strikes or self.strikes[0][1] != when or self.strikes[0][2] not in words:
            return False
        victim, _, _ = self.strikes.pop(0)
        (database(self.home) if victim == "postgres" else process(victim)).kill()
        return True


def _keys(request: httpx2.Request) -> Iterable[str]:
    """The idempotency keys of a GraphQL mutation."""
    if request.url.path == "/graphql":
        variables: dict[str, Any] = orjson.loads(request.content)["variables"]
        for value in variables.values():
            if isinstance(value, dict) and "idempotencyKey" in value:
                yield value["idempotencyKey"]


async def test_a_replay_survives_the_deaths_of_gateway_worker_and_database(home: Path, region: Panel) -> None:
    async with playing(home, region) as (stage, journey):
        fate = Fate(home)
        for client in (journey.operator, *(player.client for player in journey.players.values())):
            fate.watch(client)
        ledger = await journey.play()
        assert fate.strikes == []
        assert fate.lost == sum(when == "answer" for _, when, _ in STRIKES)

        regulator = await stage.client("regulator", Role.REGULATOR)
        await take_evidence(regulator, "plan.adopted", home)
        assert ledger.figures()["donors_worse_off"] == 0
        assert sum(ledger.given.values()) > 0

        pool = stage.services.database.pool
        await assert_each_acknowledged_once(pool, fate.acknowledged)
        async with stage.services.office.looking() as tx:
            await assert_the_world_is_as_the_players_saw_it(tx.conn, region, sum(ledger.given.values()))
        async with pool.acquire() as conn:
            await conn.execute("select set_config('sharewell.reader', $1, false)", PLATFORM)
            found = await reconcile(conn)  # type: ignore[arg-type]  # a proxy has every method
        assert found.complete, found.problems
        await assert_the_tree_is_of_these_entries(stage)


async def assert_each_acknowledged_once(pool: Pool, acknowledged: set[tuple[str, str]]) -> None:
    rows = await pool.fetch(
        "select a.principal, a.key, d.id from sharewell.answered a"
        "  left join audit.decision d on d.id::text = a.answer ->> 'decision'"
    )
    kept = {(row["principal"], row["key"]): row["id"] for row in rows}
    assert acknowledged <= kept.keys()  # none is lost
    assert None not in kept.values()
    assert len(set(kept.values())) == len(kept)
    # Every mutation is one decision, so one that was applied twice would have left a decision too many.
    actors = sorted({principal for principal, _ in acknowledged})
    assert await pool.fetchval(
        "select count(*) from audit.decision where actor = any ($1) and outcome = 'allowed'", actors
    ) == sum(principal in actors for principal, _ in kept)


async def assert_the_world_is_as_the_players_saw_it(conn: Connection, region: Panel, moved: int) -> None:
    reports = "select count(*) from sharewell.capacity_report"
    each = "select count(*) from (select from sharewell.capacity_report group by institution_id, resource, as_of) r"
    assert await conn.fetchval(reports) == await conn.fetchval(each) == len(region.loads)
    units = "select sum(quantity) from sharewell.transfer where state in ('received', 'returned')"
    assert await conn.fetchval(units) == moved
    twice = "select count(*) from sharewell.offer where promised > quantity"
    assert await conn.fetchval(twice) == 0


async def assert_the_tree_is_of_these_entries(stage: Stage) -> None:
    """What the head signs is what comes of all entries, hashed anew."""
    pool = stage.services.database.pool
    entries = await pool.fetchval("select count(*) from audit.entry")
    async with httpx2.AsyncClient(base_url=stage.settings.issuer, timeout=PATIENCE_SECONDS) as http:
        vkey = (await http.get("/log/vkey")).text.strip()

        async def signed() -> Checkpoint:
            return parse_checkpoint(open_note((await http.get("/log/checkpoint")).content, [parse_vkey(vkey)])[0])

        async with asyncio.timeout(PATIENCE_SECONDS):
            while (head := await signed()).size < entries:
                await asyncio.sleep(0.1)
    rows = await pool.fetch(
        "select body from audit.leaf join audit.entry using (staged_id) where log_index < $1 order by log_index",
        head.size,
    )  # fmt: skip
    assert len(rows) == head.size
    assert root_hash(row["body"] for row in rows) == head.root
