"""The tree's hashes and proofs agree with the definitions of RFC 6962, and refuse everything else."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sharewell.domain import merkle
from sharewell.domain.errors import Invalid
from sharewell.domain.merkle import Hash, Node, ProofFailed
from sharewell.domain.tiles import FULL, Edge, Tile, build_tiles, node_in, parse_tile_path, partial_width, tile_of


def defined_root(entries: list[bytes]) -> Hash:
    """RFC 6962, 2.1, word for word."""
    if not entries:
        return hashlib.sha256(b"").digest()
    if len(entries) == 1:
        return hashlib.sha256(b"\x00" + entries[0]).digest()
    k = 1
    while k * 2 < len(entries):
        k *= 2
    return hashlib.sha256(b"\x01" + defined_root(entries[:k]) + defined_root(entries[k:])).digest()


ENTRIES = [b"%d" % n for n in range(700)]
LEAVES = [merkle.hash_leaf(entry) for entry in ENTRIES]


def read(nodes: Sequence[Node]) -> list[Hash]:
    return [merkle.fold(LEAVES[index << level : (index + 1) << level]) for level, index in nodes]


@given(st.integers(0, 700))
def test_the_head_is_the_one_the_standard_defines(size: int) -> None:
    assert merkle.root_hash(ENTRIES[:size]) == defined_root(ENTRIES[:size])


@given(st.data())
def test_every_entry_can_be_proven_and_no_other_in_its_place(data: st.DataObject) -> None:
    size = data.draw(st.integers(1, 700))
    index = data.draw(st.integers(0, size - 1))
    root = merkle.root_hash(ENTRIES[:size])
    path = merkle.prove_inclusion(index, size, read)
    merkle.verify_inclusion(LEAVES[index], index, size, path, root)
    other = data.draw(st.integers(-1, size + 1).filter(lambda n: n != index))
    away = data.draw(st.integers(1, len(LEAVES) - 1))
    with pytest.raises(ProofFailed):
        merkle.verify_inclusion(LEAVES[index], other, size, path, root)
    with pytest.raises(ProofFailed):
        merkle.verify_inclusion(LEAVES[(index + away) % len(LEAVES)], index, size, path, root)


@given(st.data())
def test_a_longer_tree_can_be_shown_to_extend_a_shorter_one_and_no_other(data: st.DataObject) -> None:
    size2 = data.draw(st.integers(1, 700))
    size1 = data.draw(st.integers(1, size2))
    root1, root2 = merkle.root_hash(ENTRIES[:size1]), merkle.root_hash(ENTRIES[:size2])
    path = merkle.prove_consistency(size1, size2, read)
    merkle.verify_consistency(size1, size2, root1, root2, path)
    forged = merkle.root_hash([b"forged", *ENTRIES[1:size1]])
    with pytest.raises(ProofFailed):
        merkle.verify_consistency(size1, size2, forged, root2, path)


@given(st.data())
def test_a_subtree_can_be_shown_to_be_a_part_and_no_other(data: st.DataObject) -> None:
    size = data.draw(st.integers(1, 700))
    wide = 1 << data.draw(st.integers(0, 9))
    start = wide * data.draw(st.integers(0, (size - 1) // wide))
    end = data.draw(st.integers(start + 1, min(size, start + wide)))
    head, root = merkle.root_hash(ENTRIES[start:end]), merkle.root_hash(ENTRIES[:size])
    path = merkle.prove_subtree(start, end, size, read)
    merkle.verify_subtree(start, end, size, head, root, path)
    forged = merkle.root_hash([b"forged", *ENTRIES[start + 1 : end]])
    with pytest.raises(ProofFailed):
        merkle.verify_subtree(start, end, size, forged, root, path)
    if start:
        with pytest.raises(ProofFailed):
            merkle.verify_subtree(start - wide, end - wide, size, head, root, path)


@pytest.mark.parametrize(("start", "end"), [(1, 3), (2, 5), (-2, 0), (3, 2), (4, 12)])
def test_leaves_that_are_no_subtree_are_refused(start: int, end: int) -> None:
    with pytest.raises(ProofFailed, match="no subtree"):
        merkle.prove_subtree(start, end, 16, read)
    with pytest.raises(ProofFailed, match="no subtree"):
        merkle.verify_subtree(start, end, 16, LEAVES[0], LEAVES[1], [])


@given(st.lists(st.integers(0, 300), max_size=5))
def test_a_tree_that_grows_bit_by_bit_is_the_tree_made_at_once(steps: list[int]) -> None:
    edge, full = Edge(), dict[Tile, list[Hash]]()
    for step in steps:
        full |= dict(edge.extend(LEAVES[edge.size % 400 :][:step]))
        edge = Edge(edge.size, edge.levels)  # as if it had been read back
        assert [len(level) for level in edge.levels] == [partial_width(at, edge.size) for at in range(len(edge.levels))]
    assert all(len(hashes) == FULL for hashes in full.values())
    assert len([tile for tile in full if tile.level == 0]) == edge.size // FULL


@given(st.integers(0, 700))
def test_the_edge_has_the_head_of_the_tree(size: int) -> None:
    edge = Edge()
    for _ in edge.extend(LEAVES[:size]):
        pass
    assert edge.root() == merkle.root_hash(ENTRIES[:size])


def test_an_edge_of_the_wrong_width_is_refused() -> None:
    with pytest.raises(Invalid):
        Edge(257, [[LEAVES[0]], []])


@given(st.data())
def test_tiles_hold_every_hash_that_proofs_need(data: st.DataObject) -> None:
    size = data.draw(st.integers(1, 700))
    index = data.draw(st.integers(0, size - 1))
    files = build_tiles(ENTRIES[:size])
    by_place = {Tile(*map(int, parse_tile_path(path))): body for path, body in files.items() if "entries" not in path}
    for node in merkle.nodes_of_inclusion(index, size):
        body = by_place[tile_of(node, size)]
        hashes = [body[at : at + 32] for at in range(0, len(body), 32)]
        assert node_in(hashes, node) == read([node])[0]
