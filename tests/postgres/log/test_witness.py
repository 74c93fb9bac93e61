"""Nodes witness each other's logs over HTTP: they cosign growth, refuse forks and rollbacks, and keep the evidence."""

from __future__ import annotations

import asyncio
import base64
import hashlib
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import httpx2
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from tests.postgres.log.conftest import PATIENCE

from sharewell.audit.export import NotOurFolder, checkpoint_in
from sharewell.audit.keys import LogKeys
from sharewell.audit.memory import LogForked, check_memory
from sharewell.audit.seal import LogBehind, Sequencer
from sharewell.audit.signers import mldsa44_verify
from sharewell.audit.trust import read_policy
from sharewell.audit.witnesses import client
from sharewell.domain.checkpoint import Checkpoint
from sharewell.domain.merkle import hash_leaf, root_hash
from sharewell.domain.notes import add_signatures, open_note, parse_signatures, parse_vkey, sign_note
from sharewell.domain.principals import Role
from sharewell.domain.trust import open_checkpoint, parse_policy
from sharewell.domain.witnessing import SIZE_TYPE, AddCheckpoint, parse_add_checkpoint
from sharewell.gateway.server import serve
from sharewell_workers.seal import keep_log

if TYPE_CHECKING:
    from tests.postgres.log.conftest import Node, Nodes, Place

    from sharewell.domain.audit import Decision

    Make = Callable[..., Decision]


def allied(nodes: Nodes, *names: str) -> list[Place]:
    """Places of nodes that each witness all others, with a quorum of all of them."""
    places = [nodes.place(name) for name in names]
    for place in places:
        others = [(name, other) for name, other in zip(names, places, strict=True) if other is not place]
        place.witnesses([other.keys.vkeys[0] for _, other in others])
        place.trusts(
            f"log {place.keys.vkeys[0]} {place.url}/log",
            *(other.witness_line(name) for name, other in others),
            f"group others all {' '.join(name for name, _ in others)}",
            "quorum others",
        )
    return places


async def looks(node: Node) -> int:
    settings = node.place.settings
    async with client() as http:
        return await check_memory(
            node.sequencer, http, origin=settings.log_origin, policy=read_policy(settings.log_policy),
            folder=settings.log_export,
        )  # fmt: skip


async def test_two_nodes_witness_each_other_as_their_logs_grow(nodes: Nodes, a_decision: Make) -> None:
    here, there = allied(nodes, "here", "there")
    async with nodes.running(here) as one, nodes.running(there) as two, httpx2.AsyncClient(timeout=PATIENCE) as http:
        for count in (1, 300, 2):
            for node in (one, two):
                await node.record(*(a_decision() for _ in range(count)))
                await node.seal()
                published = await node.publish()
                assert (published.cosigned, published.quorum) == (1, True)
        for node, other in ((one, two), (two, one)):
            served = (await http.get(f"{node.url}/log/checkpoint")).content
            policy = parse_policy((await http.get(f"{node.url}/log/policy")).content)
            trusted = open_checkpoint(served, policy, mldsa44_verify)
            assert trusted.checkpoint.size == 303
            assert len(trusted.cosigned_by) == 1
            origin = node.place.settings.log_origin
            mark = hashlib.sha256(origin.encode()).hexdigest()
            kept = (await http.get(f"{other.url}/witness/{mark}/checkpoint")).content
            key = node.place.keys.signer.key
            assert open_note(kept, [key])[0] == open_note(served, [key])[0]
            assert await looks(node) == 2  # the witness and the folder


async def test_evidence_that_is_taken_away_satisfies_a_quorum_where_that_is_asked_for(
    nodes: Nodes, a_decision: Make, verify: Callable[..., Awaitable[str]]
) -> None:
    here, there = allied(nodes, "here", "there")
    decision, trusted = a_decision(), nodes.folder / "trusted"
    asked = "query ($id: UUID!) { decision(id: $id) { bundle cosigned: bundle(cosigned: true) } }"
    async with nodes.running(here) as node, nodes.running(there):
        await node.record(decision)
        await node.seal()
        await node.publish()
        regulator = await node.client(Role.REGULATOR)
        policy = here.settings.log_policy
        assert policy is not None
        trusted.write_text(policy.read_text() + f"log {here.keys.vkeys[1]}\n")
        bundles = (await regulator.graphql(asked, {"id": str(decision.id)}))["decision"]
        day = decision.at.date()
        period = {"since": f"{day}T00:00:00Z", "until": f"{day + timedelta(days=1)}T00:00:00Z"}
        files = {
            "plain.json": bundles["bundle"].encode(), "cosigned.json": bundles["cosigned"].encode(),
            "plain.zip": await regulator.download("/log/period", period),
            "cosigned.zip": await regulator.download("/log/period", {**period, "cosigned": "true"}),
        }  # fmt: skip
    for name, data in files.items():
        (nodes.folder / name).write_bytes(data)
        kept = name.startswith("cosigned")
        said = await verify(nodes.folder / name, "--policy", trusted, status=0 if kept else 1)
        assert ("cosigned by there" if kept else "The quorum others is not met") in said
        alone = await verify(nodes.folder / name, "--key", here.keys.vkeys[0], status=1 if kept else 0)
        assert not kept or "under keys you did not give" in alone


async def test_the_seal_worker_does_all_of_it_by_itself(nodes: Nodes, a_decision: Make) -> None:
    here, there = allied(nodes, "here", "there")
    async with nodes.running(here) as one, nodes.running(there):
        stopping = asyncio.Event()
        working = asyncio.create_task(keep_log(stopping, one.sequencer, here.keys, here.settings))
        await one.record(a_decision(), a_decision())
        assert here.settings.log_export is not None
        while b"/witness " not in (checkpoint_in(here.settings.log_export) or b""):
            assert not working.done(), working.exception()
            await asyncio.sleep(0.05)
        stopping.set()
        await working
        assert await looks(one) == 2


async def test_sealing_does_not_wait_for_a_witness_that_is_away(nodes: Nodes, a_decision: Make) -> None:
    here, there = allied(nodes, "here", "there")
    there.taken.close()
    async with nodes.running(here) as one:
        await one.record(a_decision())
        assert await one.seal() == 1
        published = await one.publish()
        assert (published.size, published.cosigned, published.quorum) == (1, 0, False)
        assert here.settings.log_export is not None
        assert (here.settings.log_export / "checkpoint").exists()
        assert await looks(one) == 1


async def test_a_witness_that_only_claims_to_have_seen_more_is_not_believed(nodes: Nodes, a_decision: Make) -> None:
    async def lies(request: Request) -> Response:
        return Response(b"99\n", 409, headers={"Content-Type": SIZE_TYPE})

    here, liar = allied(nodes, "here", "liar")
    app = Starlette(routes=[Route("/witness/add-checkpoint", lies, methods=["POST"])])
    stop, ready = asyncio.Event(), asyncio.Event()
    lying = asyncio.create_task(serve(app, liar.taken, stop, ready=ready))
    await ready.wait()
    async with nodes.running(here) as one:
        await one.record(a_decision())
        await one.seal()
        published = await one.publish()
        assert (published.size, published.cosigned) == (1, 0)
    stop.set()
    await lying


async def ask(http: httpx2.AsyncClient, witness: Node, old: int, note: bytes, proof: tuple[bytes, ...] = ()) -> Any:
    body = AddCheckpoint(old=old, proof=proof, checkpoint=note).encode()
    return await http.post(f"{witness.url}/witness/add-checkpoint", content=body)


def signed(keys: LogKeys, *entries: bytes) -> bytes:
    text = Checkpoint(origin=keys.signer.key.name, size=len(entries), root=root_hash(entries)).text()
    return sign_note(text, [keys.signer])


async def test_a_fork_and_a_rollback_are_refused_and_the_evidence_is_kept(
    nodes: Nodes
) -> None:
    _, there = allied(nodes, "here", "there")
    keys = nodes.place("evil").keys
    there.witnesses([keys.signer.vkey])
    async with nodes.running(there) as witness, httpx2.AsyncClient(timeout=PATIENCE) as http:
        good = signed(keys, b"a", b"b", b"c")
        first = await ask(http, witness, 0, good)
        assert first.status_code == 200
        key = parse_vkey(witness.services.witness.vkey or "")
        open_note(add_signatures(good, parse_signatures(first.content)), [key])

        stale = await ask(http, witness, 0, signed(keys, b"a", b"b", b"c", b"d"))
        assert (stale.status_code, stale.content, stale.headers["content-type"]) == (409, b"3\n", "text/x.tlog.size")
        grown = await ask(http, witness, 3, signed(keys, b"a", b"b", b"c", b"d"), (hash_leaf(b"c"), hash_leaf(b"d")))
        assert grown.status_code == 422  # not a proof of this

        other = signed(keys, b"a", b"b", b"x")
        assert (await ask(http, witness, 3, other)).status_code == 422
        assert (await ask(http, witness, 0, other)).status_code == 409
        assert (await ask(http, witness, 2, signed(keys, b"a", b"b"))).status_code == 409

        page = await witness.gateway.fetch("select reason, request, known_note from witness.refusal order by id")
        assert [row["reason"] for row in page] == ["fork", "fork", "rollback"]
        evidence = page[1]
        theirs, _ = open_note(parse_add_checkpoint(evidence["request"]).checkpoint, [keys.signer.key])
        ours, _ = open_note(evidence["known_note"], [keys.signer.key])
        assert theirs != ours
        assert theirs.split("\n")[:2] == ours.split("\n")[:2]  # one log, one size, two heads: proof


async def test_a_witness_turns_strangers_and_nonsense_away(nodes: Nodes) -> None:
    here, there = allied(nodes, "here", "there")
    async with nodes.running(there) as witness, httpx2.AsyncClient(timeout=PATIENCE) as http:
        stranger, friend = nodes.place("stranger").keys, here.keys
        assert (await ask(http, witness, 0, signed(stranger, b"a"))).status_code == 404
        forged = signed(friend, b"a").replace(base64.b64encode(root_hash([b"a"])), base64.b64encode(root_hash([b"b"])))
        assert (await ask(http, witness, 0, forged)).status_code == 403
        assert (await ask(http, witness, 5, signed(friend, b"a"))).status_code == 400
        assert (await http.post(f"{witness.url}/witness/add-checkpoint", content=b"hello")).status_code == 400
        assert (await http.get(f"{witness.url}/witness/{'0' * 64}/checkpoint")).status_code == 404
        assert await witness.gateway.fetchval("select count(*) from witness.head") == 0


async def test_who_witnesses_nobody_has_no_such_door_and_no_such_key(nodes: Nodes) -> None:
    place = nodes.place("alone")
    async with nodes.running(place) as node, httpx2.AsyncClient(timeout=PATIENCE) as http:
        assert (await http.post(f"{node.url}/witness/add-checkpoint", content=b"")).status_code == 404
        assert not (place.settings.home / "witness.key").exists()


async def test_a_database_restored_from_an_old_backup_is_not_signed_for(nodes: Nodes, a_decision: Make) -> None:
    here, there = allied(nodes, "here", "there")
    async with nodes.running(there):
        async with nodes.running(here) as node:
            await node.record(*(a_decision() for _ in range(3)))
            await node.seal()
            old = await nodes.backup(node)
            await node.record(a_decision())
            await node.seal()
            await node.publish()
            new = await nodes.backup(node)
        async with nodes.opened(here, await nodes.restored(new)) as restored:
            assert await looks(restored) == 2
        async with nodes.opened(here, await nodes.restored(old)) as restored:
            with pytest.raises(LogBehind, match=r"database has 3 entries.*the witness there.*of 4"):
                await sequencer(restored).seal()
            assert await restored.gateway.fetchval("select max(size) from audit.checkpoint") == 3
            await restored.record(a_decision(actor="somebody-else"))
            await restored.seal()  # without the look that a sequencer takes first
            with pytest.raises(LogForked, match="does not lead to"):
                await sequencer(restored).seal()
            with pytest.raises(NotOurFolder):
                await restored.publish()


async def test_a_sequencer_that_finds_a_witness_ahead_stops(nodes: Nodes, a_decision: Make) -> None:
    here, there = allied(nodes, "here", "there")
    async with nodes.running(there):
        async with nodes.running(here) as node:
            await node.record(a_decision())
            await node.seal()
            old = await nodes.backup(node)
            await node.record(a_decision())
            await node.seal()
            await node.publish()
        here.settings = replace(here.settings, log_export=None)
        async with nodes.opened(here, await nodes.restored(old)) as restored:
            keys, stopping = here.keys, asyncio.Event()
            with pytest.raises(BaseExceptionGroup) as stopped:
                await keep_log(stopping, restored.sequencer, keys, here.settings)
            assert stopped.group_contains(LogBehind, match="Nothing is signed")


def sequencer(node: Node) -> Sequencer:
    """One that looks at what others remember, as every sequencer does."""
    keys = node.place.keys
    return Sequencer(node.sequencer, keys.signer, keys.quantum, look=lambda: looks(node))
