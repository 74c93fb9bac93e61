"""A run of entries is proven whole: every run of every small tree, and nothing that was changed, dropped or added."""

from __future__ import annotations

import pytest

from sharewell.domain.merkle import Hash, ProofFailed, fold, hash_leaf
from sharewell.domain.ranges import nodes_of_range, verify_range

LEAVES = [hash_leaf(str(n).encode()) for n in range(40)]


def proof(first: int, end: int, size: int) -> list[Hash]:
    return [fold(LEAVES[i << level : (i + 1) << level]) for level, i in nodes_of_range(first, end, size)]


@pytest.mark.parametrize("size", [1, 2, 3, 7, 8, 21, 40])
def test_every_run_of_a_tree_is_proven(size: int) -> None:
    root = fold(LEAVES[:size])
    for first in range(size):
        for end in range(first + 1, size + 1):
            verify_range(LEAVES[first:end], first, size, proof(first, end, size), root)


def test_a_run_that_leaves_one_out_or_puts_one_in_or_stands_elsewhere_is_not() -> None:
    first, size = 5, 33
    root, hashes, run = fold(LEAVES[:size]), proof(first, 19, size), LEAVES[first:19]
    changed = [
        (run[:-1], first, hashes), (run[1:], first, hashes), (run[:4] + run[5:], first, hashes),
        ([*run, LEAVES[19]], first, hashes), ([run[1], run[0], *run[2:]], first, hashes), (run, first + 1, hashes),
        (run, first, hashes[:-1]), (run, first, [*hashes, hashes[0]]), (run, first, hashes[::-1]), ([], first, hashes),
    ]  # fmt: skip
    for leaves, start, given in changed:
        with pytest.raises(ProofFailed):
            verify_range(leaves, start, size, given, root)


def test_a_run_that_is_all_of_the_tree_needs_no_hashes() -> None:
    assert nodes_of_range(0, 33, 33) == []
    with pytest.raises(ProofFailed):
        verify_range(LEAVES[:33], 0, 33, [], fold(LEAVES[:34]))
