"""What is published can be fetched by anybody, verifies without us, and is never behind what was signed."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import httpx2
import pytest
from structlog.testing import capture_logs
from tests.postgres.log.conftest import PATIENCE

from sharewell.audit.export import NotOurFolder, checkpoint_in
from sharewell.audit.keys import rotate_keys
from sharewell.audit.seal import LogDamaged, WrongKey
from sharewell.audit.signers import mldsa44_verify
from sharewell.domain.notes import open_note, parse_vkey, split_note
from sharewell.domain.principals import Role
from sharewell.domain.tiles import build_tiles, parse_entry_bundle
from sharewell.domain.trust import open_checkpoint, parse_policy
from sharewell_workers.seal import keep_log

if TYPE_CHECKING:
    from tests.postgres.log.conftest import Node, Nodes

    from sharewell.domain.audit import Decision

    Make = Callable[..., Decision]

def tiles_in(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in (folder / "tile").rglob("*") if path.is_file()}


async def bearer(node: Node, role: Role) -> dict[str, str]:
    return {"Authorization": f"Bearer {await (await node.client(role)).token()}"}


async def entries_of(node: Node) -> list[bytes]:
    rows = await node.gateway.fetch("select body from audit.leaf join audit.entry using (staged_id) order by log_index")
    return [row["body"] for row in rows]


async def test_the_folder_is_what_the_log_is_at_every_size(nodes: Nodes, a_decision: Make) -> None:
    place = nodes.place("here")
    folder = place.settings.log_export
    assert folder is not None
    async with nodes.running(place) as node:
        for count in (1, 254, 1, 1, 300):
            await node.record(*(a_decision() for _ in range(count)))
            await node.seal()
            files = (await node.publish()).files
            assert files
            wanted = build_tiles(await entries_of(node))
            found = tiles_in(folder)
            assert {path: found.get(path) for path in wanted} == wanted
            assert (await node.publish()).files == 0, "nothing is written twice"
        partial = {path for path in tiles_in(folder) if ".p/" in path}
        assert partial == {"tile/0/002.p/45", "tile/1/000.p/1", "tile/1/000.p/2", "tile/entries/002.p/45"}
        note = (folder / "checkpoint").read_bytes()
        policy = parse_policy((folder / "policy").read_bytes())
        assert open_checkpoint(note, policy, mldsa44_verify).checkpoint.size == 557
        assert not list(folder.rglob(".*")), "no drafts are left"


async def test_both_keys_of_the_log_sign_each_checkpoint(nodes: Nodes, a_decision: Make) -> None:
    place = nodes.place("here")
    async with nodes.running(place) as node:
        await node.record(a_decision())
        await node.seal()
        note = await node.services.audit.checkpoint()
        assert note is not None
        keys = [parse_vkey(key) for key in place.keys.vkeys]
        assert [key.kind for key in keys] == [1, 6]
        assert open_note(note, keys, mldsa44_verify)[1] == keys
        assert open_note(note, keys[:1])[1] == keys[:1]


@pytest.mark.parametrize("from_files", [True, False], ids=["from files", "from the database"])
async def test_anybody_gets_the_checkpoint_and_the_tiles(nodes: Nodes, a_decision: Make, from_files: bool) -> None:
    place = nodes.place("here")
    if not from_files:
        place.settings = replace(place.settings, log_export=None)
    async with nodes.running(place) as node, httpx2.AsyncClient(base_url=node.url, timeout=PATIENCE) as http:
        assert (await http.get("/log/checkpoint")).status_code == 404
        await node.record(*(a_decision() for _ in range(300)))
        await node.seal()
        await node.publish()
        if from_files:  # then nobody needs the database for this
            await node.gateway.close()
        policy = parse_policy((await http.get("/log/policy")).content)
        assert [str(log.key) for log in policy.logs] == list(place.keys.vkeys)
        checkpoint = await http.get("/log/checkpoint")
        assert checkpoint.headers["content-type"] == "text/plain; charset=utf-8"
        assert checkpoint.headers["cache-control"] == "public, max-age=2"
        assert split_note(checkpoint.content)[0].split("\n")[:2] == ["here.example/log", "300"]
        for path, wide in (("tile/0/000", 256), ("tile/0/001.p/44", 44), ("tile/1/000.p/1", 1)):
            tile = await http.get(f"/log/{path}")
            assert (tile.status_code, len(tile.content)) == (200, 32 * wide)
            assert tile.headers["content-type"] == "application/octet-stream"
            assert "immutable" in tile.headers["cache-control"]
        for path in ("tile/0/002", "tile/0/001.p/45", "tile/7/000"):
            assert (await http.get(f"/log/{path}")).status_code == 404
        for path in ("tile/0/0", "tile/0/000.p/0", "tile/0/../../../audit-log.key", "tile/x/000"):
            assert (await http.get(f"/log/{path}")).status_code in {400, 404}


async def test_entries_are_for_regulators_and_their_reading_is_on_record(nodes: Nodes, a_decision: Make) -> None:
    place = nodes.place("here")
    async with nodes.running(place) as node, httpx2.AsyncClient(base_url=node.url, timeout=PATIENCE) as http:
        await node.record(*(a_decision() for _ in range(3)))
        await node.seal()
        await node.publish()
        path = "/log/tile/entries/000.p/3"
        assert (await http.get(path)).status_code == 401
        stranger = {"Authorization": "Bearer x.y.z"}
        assert (await http.get("/log/tile/entries/what-a-stranger-writes", headers=stranger)).status_code == 401
        told = await node.gateway.fetchval("select convert_from(body, 'UTF8') from audit.entry order by staged_id desc")
        assert ("/log/tile/entries/{path:path}" in told, "stranger" in told) == (True, False)
        refused = await http.get(path, headers=await bearer(node, Role.ADMIN))
        assert refused.status_code == 403
        got = await http.get(path, headers=await bearer(node, Role.REGULATOR))
        assert got.status_code == 200
        assert parse_entry_bundle(got.content) == (await entries_of(node))[:3]
        assert got.headers["cache-control"] == "no-store"
        kinds = await node.gateway.fetch(
            "select kind, outcome from audit.decision where kind ~ 'read|refused' order by staged_id"
        )
        assert [tuple(row) for row in kinds] == [
            ("access.refused", "refused"), ("access.refused", "refused"), ("audit.entries_read", "allowed"),
        ]  # fmt: skip
        assert (await http.get("/log/tile/entries/007", headers=await bearer(node, Role.REGULATOR))).status_code == 404


async def test_a_damaged_entry_is_not_exported(nodes: Nodes, a_decision: Make) -> None:
    async with nodes.running(nodes.place("here")) as node:
        await node.record(a_decision(), a_decision())
        await node.seal()
        await node.damage("entry", "update audit.entry set body = body || ' ' where staged_id = 2")
        with pytest.raises(LogDamaged, match="Entry 1 of the log was changed"):
            await node.publish()
        assert not (node.place.settings.home / "export" / "checkpoint").exists()


async def test_a_folder_that_was_changed_is_not_added_to(nodes: Nodes, a_decision: Make) -> None:
    async with nodes.running(nodes.place("here")) as node:
        await node.record(*(a_decision() for _ in range(3)))
        await node.seal()
        await node.publish()
        folder = node.place.settings.home / "export"
        (folder / "checkpoint").unlink()
        (folder / "tile/0/000.p/3").write_bytes(bytes(96))
        with pytest.raises(NotOurFolder, match=r"000.p/3 differs"):
            await node.publish()


# --- keys follow each other ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("origin", ["here.example/log", "here.example/log/2027"], ids=["same name", "new year"])
async def test_keys_are_rotated_and_what_the_old_ones_signed_stays_evidence(
    nodes: Nodes, a_decision: Make, verify: Callable[..., Awaitable[str]], origin: str
) -> None:
    place = nodes.place("here")
    async with nodes.running(place) as node:
        await node.record(a_decision())
        await node.seal()
        before, old = await node.services.audit.checkpoint(), place.keys
        rotate_keys(place.settings.home, origin)
        place.settings = replace(place.settings, log_origin=origin)
        await node.record(a_decision())
        assert await node.seal() == 2
        published = await node.publish()
        assert published.size == 2
        folder = place.settings.home / "export"
        policy = parse_policy((folder / "policy").read_bytes())
        for note, size in ((before, 1), ((folder / "checkpoint").read_bytes(), 2)):
            assert note is not None
            assert open_checkpoint(note, policy, mldsa44_verify).checkpoint.size == size
        assert {log.key for log in policy.logs} == {parse_vkey(key) for key in (*old.vkeys, *place.keys.vkeys)}
        named, _ = open_note((folder / "handovers").read_bytes(), [old.signer.key])
        assert place.keys.signer.vkey in named.split("\n")
        (nodes.folder / "old-checkpoint").write_bytes(before or b"")
        await verify(folder, "--policy", folder / "policy", "--remembered", nodes.folder / "old-checkpoint")


async def test_a_database_from_before_two_rotations_follows_both(
    nodes: Nodes, a_decision: Make, verify: Callable[..., Awaitable[str]]
) -> None:
    place = nodes.place("here")
    async with nodes.running(place) as node:
        await node.record(a_decision())
        await node.seal()
        (nodes.folder / "old-checkpoint").write_bytes(await node.services.audit.checkpoint() or b"")
        for origin in ("here.example/log/2027", "here.example/log/2028"):
            rotate_keys(place.settings.home, origin)
            place.settings = replace(place.settings, log_origin=origin)
        await node.record(a_decision())
        assert await node.seal() == 2
        await node.publish()
        folder = place.settings.home / "export"
        await verify(folder, "--policy", folder / "policy", "--remembered", nodes.folder / "old-checkpoint")


async def test_a_key_that_nobody_handed_over_to_signs_nothing(nodes: Nodes, a_decision: Make) -> None:
    place, stranger = nodes.place("here"), nodes.place("other")
    stranger.settings = replace(stranger.settings, log_origin="here.example/log")
    async with nodes.running(place) as node:
        await node.record(a_decision())
        await node.seal()
        assert stranger.keys.handover is None
        rotate_keys(stranger.settings.home, "here.example/log")  # its own note, by a key this log never had
        for file in ("audit-log.key", "audit-log.mldsa.key", "audit-log.handover"):
            (place.settings.home / file).write_bytes((stranger.settings.home / file).read_bytes())
        await node.record(a_decision())
        with pytest.raises(WrongKey, match="Restore the key"):
            await node.seal()


async def test_a_folder_that_cannot_be_written_stops_nothing_but_the_export(nodes: Nodes, a_decision: Make) -> None:
    here, stopping = nodes.place("here"), asyncio.Event()
    folder = here.settings.log_export
    assert folder is not None
    folder.mkdir(parents=True)
    (folder / "tile").write_text("in the way")
    async with nodes.running(here) as node:
        with capture_logs() as told:
            working = asyncio.create_task(keep_log(stopping, node.sequencer, here.keys, here.settings))
            await node.record(a_decision())
            while not (warned := [line for line in told if line["log_level"] == "warning"]):
                assert not working.done(), working.exception()
                await asyncio.sleep(0.05)
        assert warned[0]["event"] == "the exported log cannot be read or written"
        assert str(folder / "tile") in warned[0]["why"]
        (folder / "tile").unlink()
        while checkpoint_in(folder) is None:
            assert not working.done(), working.exception()
            await asyncio.sleep(0.05)
        stopping.set()
        await working
        assert tiles_in(folder) == build_tiles(await entries_of(node)), "no draft is left behind"
