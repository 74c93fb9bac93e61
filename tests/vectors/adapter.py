"""The names by which public test vectors call an implementation, bound to ours. A rejection here is an exception."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from sharewell.audit import signers
from sharewell.audit.keys import LogKey
from sharewell.domain import canonical, checkpoint, ed25519, merkle, notes, tiles
from sharewell.domain.merkle import Hash, Node
from sharewell.domain.tiles import build_tiles as build_all_tiles

hash_leaf = merkle.hash_leaf
hash_children = merkle.hash_children
empty_root = merkle.empty_root
root_hash = merkle.root_hash
key_id = notes.key_id
parse_vkey = notes.parse_vkey
tile_path = tiles.tile_path
parse_tile_path = tiles.parse_tile_path
ed25519_verify = ed25519.verify
mldsa44_verify = signers.mldsa44_verify
jcs = canonical.write


def verify_inclusion(index: int, size: int, leaf: Hash, proof: Sequence[Hash], root: Hash) -> bool:
    merkle.verify_inclusion(leaf, index, size, proof, root)
    return True


def verify_consistency(size1: int, size2: int, root1: Hash, root2: Hash, proof: Sequence[Hash]) -> bool:
    merkle.verify_consistency(size1, size2, root1, root2, proof)
    return True


def prove_inclusion(leaves: Sequence[bytes], index: int, size: int) -> list[Hash]:
    return merkle.prove_inclusion(index, size, reader_of(leaves))


def prove_consistency(leaves: Sequence[bytes], size1: int, size2: int) -> list[Hash]:
    return merkle.prove_consistency(size1, size2, reader_of(leaves))


def verify_subtree_inclusion(index: int, start: int, end: int, leaf: Hash, proof: Sequence[Hash], root: Hash) -> bool:
    if not merkle.is_subtree(start, end):
        return False
    merkle.verify_inclusion(leaf, index - start, end - start, proof, root)
    return True


def verify_subtree_consistency(
    start: int, end: int, size: int, root1: Hash, root2: Hash, proof: Sequence[Hash]
) -> bool:
    merkle.verify_subtree(start, end, size, root1, root2, proof)
    return True


def prove_subtree_consistency(leaves: Sequence[bytes], start: int, end: int, size: int) -> list[Hash]:
    return merkle.prove_subtree(start, end, size, reader_of(leaves))


def reader_of(leaves: Sequence[bytes]) -> Callable[[Sequence[Node]], list[Hash]]:
    return lambda nodes: [merkle.root_hash(leaves[i << level : (i + 1) << level]) for level, i in nodes]


def open_note(note: bytes, vkeys: Sequence[str]) -> tuple[str, list[tuple[str, int, None]]]:
    text, signed = notes.open_note(note, [notes.parse_vkey(vkey) for vkey in vkeys])
    return text, [(key.name, key.id, None) for key in signed]


def sign_note(skey: str, text: str) -> bytes:
    return notes.sign_note(text, [LogKey.parse(skey)])


def cosign(name: str, private: Any, text: bytes, timestamp: int) -> str:
    blob = timestamp.to_bytes(8, "big") + private.sign(notes.cosigned_text(text, timestamp))
    public = private.public_key().public_bytes_raw()
    return notes.Signature(name=name, id=notes.key_id(name, notes.COSIGNATURE, public), blob=blob).line()


def parse_checkpoint(text: str) -> tuple[str, int, Hash, tuple[str, ...]]:
    found = checkpoint.parse_checkpoint(text)
    return found.origin, found.size, found.root, found.extensions


def build_tiles(entries: Sequence[bytes], size: int) -> dict[str, bytes]:
    return build_all_tiles(entries[:size])


def format_proof(index: int, hashes: Sequence[Hash], signed: bytes, extra: bytes | None) -> bytes:
    proof = checkpoint.InclusionProof(index=index, path=tuple(hashes), extra=extra)
    return checkpoint.format_tlog_proof(proof, signed)


def parse_proof(data: bytes) -> tuple[int, tuple[Hash, ...], bytes, bytes | None]:
    proof, signed = checkpoint.parse_tlog_proof(data)
    return proof.index, proof.path, signed, proof.extra
