"""A witness that others wrote cosigns our growth and refuses our fork and our rollback."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import httpx2
import pytest
from tests.postgres.log.conftest import PATIENCE

from sharewell.audit.keys import LogKeys
from sharewell.domain.checkpoint import Checkpoint
from sharewell.domain.merkle import root_hash
from sharewell.domain.notes import add_signatures, sign_note
from sharewell.domain.witnessing import SIZE_TYPE, AddCheckpoint

if TYPE_CHECKING:
    from tests.postgres.log.conftest import Nodes, Place

    from sharewell.domain.audit import Decision

    Make = Callable[..., Decision]

PEERS = Path(__file__).parents[2] / "peers" / "unpacked"


@dataclass
class PeerWitness:
    """aics-witness, in a process of its own."""

    folder: Path
    port: int

    def run(self, *arguments: str) -> str:
        return subprocess.run(
            [sys.executable, "-m", "aics_witness", *arguments, "--config", str(self.folder / "witness.json")],
            env={**os.environ, "PYTHONPATH": str(PEERS)}, check=True, capture_output=True, text=True,
        ).stdout  # fmt: skip

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


@pytest.fixture
def place(nodes: Nodes) -> Place:
    return nodes.place("here")


@pytest.fixture
def peer(place: Place, tmp_path: Path) -> Iterator[PeerWitness]:
    if not (PEERS / "aics_witness").is_dir():
        pytest.skip("aics-witness is not there; python tests/peers/fetch.py fetches it")
    folder = tmp_path / "peer"
    folder.mkdir()
    with socket.create_server(("127.0.0.1", 0)) as free:
        witness = PeerWitness(folder, free.getsockname()[1])
    said = witness.run("init", "--name", "peer.example/witness", "--listen", f"127.0.0.1:{witness.port}")
    (vkey,) = re.findall(r"peer\.example/witness\+\S+", said)
    witness.run("add-log", "--origin", place.settings.log_origin, "--vkey", place.keys.vkeys[0])
    place.trusts(f"log {place.keys.vkeys[0]}", f"witness peer {vkey} {witness.url}", "quorum peer")
    command = [sys.executable, "-m", "aics_witness", "serve", "--config", str(folder / "witness.json")]
    with subprocess.Popen(
        command, env={**os.environ, "PYTHONPATH": str(PEERS)}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        try:
            await_answer(witness.url)
            yield witness
        finally:
            process.terminate()


def await_answer(url: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            httpx2.get(f"{url}/healthz")
        except httpx2.HTTPError:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        else:
            return


def signed(keys: LogKeys, *entries: bytes) -> bytes:
    text = Checkpoint(origin=keys.signer.key.name, size=len(entries), root=root_hash(entries)).text()
    return add_signatures(sign_note(text, [keys.signer]), [keys.quantum.cosign(text.encode(), int(time.time()))])


async def test_it_cosigns_growth_and_refuses_a_fork_and_a_rollback(
    nodes: Nodes, place: Place, peer: PeerWitness, a_decision: Make
) -> None:
    async with nodes.running(place) as node, httpx2.AsyncClient(base_url=peer.url, timeout=PATIENCE) as http:
        for count in (1, 300, 44):
            await node.record(*(a_decision() for _ in range(count)))
            await node.seal()
            published = await node.publish()
            assert (published.cosigned, published.quorum) == (1, True)
        assert await node.seal() == 345

        forked = signed(place.keys, *(b"%d" % n for n in range(345)))
        asked = AddCheckpoint(old=345, proof=(), checkpoint=forked)
        answer = await http.post("/add-checkpoint", content=asked.encode())
        assert answer.status_code == 422
        rolled_back = signed(place.keys, b"0", b"1")
        asked = AddCheckpoint(old=1, proof=(), checkpoint=rolled_back)
        answer = await http.post("/add-checkpoint", content=asked.encode())
        assert (answer.status_code, answer.content, answer.headers["content-type"]) == (409, b"345\n", SIZE_TYPE)
        assert "different root" in peer.run("evidence")
