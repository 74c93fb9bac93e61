"""Puts together what a stranger needs to check one decision: its entry, the proof, the checkpoint, its inputs.

What the file looks like and how it is checked is in `sharewell.domain.bundle`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any
from uuid import UUID

from sharewell.audit.seal import LogDamaged
from sharewell.domain.audit import Decision
from sharewell.domain.bundle import Bundle
from sharewell.domain.checkpoint import Checkpoint, InclusionProof, format_tlog_proof, parse_checkpoint
from sharewell.domain.errors import Conflict
from sharewell.domain.merkle import (
    Hash,
    Node,
    ProofFailed,
    complete_subtrees,
    fold_peaks,
    hash_leaf,
    nodes_of_consistency,
    nodes_of_inclusion,
    prove_consistency,
    prove_inclusion,
    verify_inclusion,
)
from sharewell.domain.notes import add_signatures, parse_signatures, split_note
from sharewell.domain.recheck import RECHECKS, Rechecks
from sharewell.domain.tiles import node_in, tile_of
from sharewell.store.artifacts import read_artifact
from sharewell.store.audit import AuditRepository
from sharewell.store.log import LogRepository, SignedHead

if TYPE_CHECKING:
    import asyncpg


class NotSealedYet(Conflict):
    """The decision is recorded but not in a signed tree yet; ask again in a few seconds."""


async def bundle_of(
    conn: asyncpg.Connection[Any], decision_id: UUID, *, cosigned: bool = False, rechecks: Rechecks = RECHECKS
) -> bytes:
    """The bundle file of one decision, under the newest checkpoint; `cosigned`, with every line under it.

    Raises `NotFound`, `NotSealedYet`, or `LogDamaged` where what is stored would not convince anyone.
    """
    log = LogRepository(conn)
    recorded = await AuditRepository(conn).get(decision_id)
    signed = await log.latest_checkpoint()
    index = recorded.log_index
    if index is None or signed is None or signed.size <= index:
        raise NotSealedYet(field="decision")
    checkpoint = read_checkpoint(signed.note)
    path = await inclusion_path(log, index, checkpoint.size)
    try:
        verify_inclusion(hash_leaf(recorded.entry), index, checkpoint.size, path, checkpoint.root)
    except ProofFailed as why:
        raise LogDamaged(f"Entry {index} of the log does not lead to the signed head.") from why
    return Bundle(
        origin=checkpoint.origin,
        entry=recorded.entry,
        proof=InclusionProof(index=index, path=tuple(path)),
        checkpoint=await carried_note(log, signed, cosigned=cosigned),
        attachments=await _attachments(conn, recorded.decision, rechecks),
    ).encode()


async def published_note(log: LogRepository, signed: SignedHead) -> bytes:
    """A checkpoint with the witnesses' lines that have come."""
    lines = [line for row in await log.cosignatures(signed.size) for line in parse_signatures(row)]
    return add_signatures(signed.note, lines)


async def tlog_proof_of(log: LogRepository, index: int | None) -> bytes | None:
    """The proof file (c2sp.org/tlog-proof) of an entry under the newest checkpoint; None until it is under one."""
    signed = await log.latest_checkpoint()
    if index is None or signed is None or signed.size <= index:
        return None
    path = await inclusion_path(log, index, signed.size)
    return format_tlog_proof(InclusionProof(index=index, path=tuple(path)), await published_note(log, signed))


async def carried_note(log: LogRepository, signed: SignedHead, *, cosigned: bool) -> bytes:
    """The checkpoint for a file that is taken away: all of it, or with the log's own line in Ed25519 only.

    That line comes first, and is all that a reader with the log's key alone can check; no other may then stand there.
    """
    if cosigned:
        return await published_note(log, signed)
    text, lines = split_note(signed.note)
    return f"{text}\n{lines[0].line()}".encode()


async def inclusion_path(log: LogRepository, index: int, size: int) -> list[Hash]:
    """The path from entry `index` to the head of the tree of `size`, from stored tiles."""
    hashes = await read_nodes(log, nodes_of_inclusion(index, size), size)
    return prove_inclusion(index, size, lambda nodes: [hashes[node] for node in nodes])


async def consistency_path(log: LogRepository, size1: int, size2: int) -> list[Hash]:
    """What shows that the tree of `size2` extends the one of `size1`, from stored tiles."""
    hashes = await read_nodes(log, nodes_of_consistency(size1, size2), size2)
    return prove_consistency(size1, size2, lambda nodes: [hashes[node] for node in nodes])


async def root_at(log: LogRepository, size: int, tree_size: int) -> Hash:
    """The head that the stored tree of `tree_size` had when it had `size` entries."""
    nodes = complete_subtrees(0, size)
    hashes = await read_nodes(log, nodes, tree_size)
    return fold_peaks([hashes[node] for node in nodes])


def read_checkpoint(note: bytes) -> Checkpoint:
    """What a signed checkpoint says; its signature is not checked."""
    return parse_checkpoint(split_note(note)[0])


async def read_nodes(log: LogRepository, nodes: Sequence[Node], size: int) -> dict[Node, Hash]:
    """The hashes of complete subtrees of the tree of `size`, from stored tiles. Raises `LogDamaged`."""
    homes = {node: tile_of(node, size) for node in nodes}
    tiles = await log.tiles(sorted(set(homes.values())))
    for tile, hashes in tiles.items():
        if len(hashes) != tile.width:
            raise LogDamaged(f"Tile {tile.n} of level {tile.level} is missing hashes.")
    return {node: node_in(tiles[tile], node) for node, tile in homes.items()}


async def _attachments(
    conn: asyncpg.Connection[Any], decision: Decision, rechecks: Rechecks
) -> dict[str, bytes]:  # fmt: skip
    recheck = rechecks.get(decision.kind)
    hashes = recheck.hashes(decision) if recheck else ()
    return {sha256: await read_artifact(conn, sha256) for sha256 in hashes}
