"""Who decides gets the log's promise at once, and later the proof that it was kept."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from sharewell.audit.signers import mldsa44_verify
from sharewell.client import GraphQLErrors
from sharewell.domain.checkpoint import parse_tlog_proof
from sharewell.domain.log_receipt import open_log_receipt
from sharewell.domain.merkle import verify_inclusion
from sharewell.domain.principals import Role
from sharewell.domain.trust import open_checkpoint, parse_policy

if TYPE_CHECKING:
    from tests.postgres.log.conftest import Nodes

DEFINE = """
mutation ($input: DefineResourceInput!) { defineResource(input: $input) { decision { id at logReceipt } } }
"""
PROVE = "query ($id: UUID!) { logReceipt(decision: $id) { receipt mergeBy logIndex proof } }"


def a_line(code: str) -> dict[str, Any]:
    return {"input": {"idempotencyKey": code, "code": code, "kind": "PLACE", "name": "Line", "unit": "{each}"}}


async def test_the_promise_comes_with_the_answer_and_the_proof_once_it_is_kept(nodes: Nodes) -> None:
    async with nodes.running(nodes.place("here")) as node:
        admin, regulator = await node.client(Role.ADMIN), await node.client(Role.REGULATOR)
        made = (await admin.graphql(DEFINE, a_line("line.one")))["defineResource"]["decision"]
        policy = parse_policy((await node.services.audit.policy()).encode())
        receipt = open_log_receipt(made["logReceipt"].encode(), policy.receipt_keys)
        assert receipt.origin == "here.example/log"
        assert receipt.merge_by - receipt.staged_at == timedelta(hours=4).total_seconds()

        waiting = (await regulator.graphql(PROVE, {"id": made["id"]}))["logReceipt"]
        assert (waiting["receipt"], waiting["logIndex"], waiting["proof"]) == (made["logReceipt"], None, None)
        await node.seal()
        kept = (await regulator.graphql(PROVE, {"id": made["id"]}))["logReceipt"]
        proof, note = parse_tlog_proof(kept["proof"].encode())
        policy = parse_policy((await node.services.audit.policy()).encode())
        checkpoint = open_checkpoint(note, policy, mldsa44_verify).checkpoint
        assert proof.index == kept["logIndex"]
        verify_inclusion(receipt.leaf_hash, proof.index, checkpoint.size, proof.path, checkpoint.root)


async def test_whoever_holds_the_promise_checks_it_against_what_is_published(
    nodes: Nodes, verify: Callable[..., Awaitable[str]]
) -> None:
    async with nodes.running(nodes.place("here")) as node:
        admin, folder = await node.client(Role.ADMIN), nodes.folder / "here" / "export"
        kept, broken = nodes.folder / "kept", nodes.folder / "broken"
        for file, code in ((kept, "line.one"), (broken, "line.two")):
            made = (await admin.graphql(DEFINE, a_line(code)))["defineResource"]["decision"]
            file.write_text(made["logReceipt"])
            if file is kept:
                await node.seal()
                await node.publish()
        policy = ("--policy", folder / "policy", "--log", folder)
        await verify(kept, *policy)
        waiting = await verify(broken, *policy, status=1)
        overdue = await verify(broken, *policy, "--at", "2099-01-01T00:00:00Z", status=3)
        assert waiting != overdue, "once its time is over, a promise that was not kept is evidence"


async def test_the_same_wish_gets_the_same_promise_again(nodes: Nodes) -> None:
    async with nodes.running(nodes.place("here")) as node:
        admin = await node.client(Role.ADMIN)
        first = await admin.graphql(DEFINE, a_line("line.one"))
        assert await admin.graphql(DEFINE, a_line("line.one")) == first


async def test_who_may_not_read_a_decision_gets_no_proof_of_it(nodes: Nodes) -> None:
    async with nodes.running(nodes.place("here")) as node:
        admin = await node.client(Role.ADMIN)
        made = (await admin.graphql(DEFINE, a_line("line.one")))["defineResource"]["decision"]
        with pytest.raises(GraphQLErrors) as refused:
            await admin.graphql(PROVE, {"id": made["id"]})
        assert refused.value.codes == ["FORBIDDEN"]


async def test_regulators_and_admins_see_what_was_refused_as_a_witness(nodes: Nodes) -> None:
    query = "query ($origin: String) { witnessRefusals(origin: $origin) { nodes { origin reason knownSize } } }"
    async with nodes.running(nodes.place("here")) as node:
        await node.gateway.execute(
            "insert into witness.refusal (at, origin, reason, request, known_size, known_note, note_sha256)"
            " select now(), 'log ' || n, 'fork', 'asked', n, 'known', sha256('x') from generate_series(1, 3) n"
        )
        for role in (Role.REGULATOR, Role.ADMIN):
            found = await (await node.client(role)).graphql(query)
            assert [row["knownSize"] for row in found["witnessRefusals"]["nodes"]] == [3, 2, 1]
        found = await (await node.client(Role.REGULATOR)).graphql(query, {"origin": "log 2"})
        assert found["witnessRefusals"]["nodes"] == [{"origin": "log 2", "reason": "fork", "knownSize": 2}]
        with pytest.raises(GraphQLErrors) as refused:
            await (await node.client(Role.ALLOCATOR)).graphql(query)
        assert refused.value.codes == ["FORBIDDEN"]
        kinds = await node.gateway.fetch(
            "select outcome from audit.decision where action = 'readAccessAudit' order by staged_id"
        )
        assert [row["outcome"] for row in kinds] == ["allowed", "allowed", "allowed", "refused"]
