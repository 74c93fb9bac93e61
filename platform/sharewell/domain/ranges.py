"""Proof that a run of consecutive entries stands in the tree whole: none left out, none put in.

The hashes of the largest complete subtrees beside the run, left to right, lead together with its own leaves to the
head, by RFC 9162, 2.1.1. For a run of one entry they are its inclusion proof, in another order.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from sharewell.domain.merkle import (
    HASH_SIZE,
    Hash,
    Node,
    ProofFailed,
    complete_subtrees,
    fold_peaks,
    hash_children,
    split,
)


def nodes_of_range(first: int, end: int, size: int) -> list[Node]:
    """The complete subtrees beside the entries `first` to `end` (exclusive) of the tree of `size`, left to right."""
    _check(first, end, size)
    return [node for start, stop in _beside(first, end, 0, size) for node in complete_subtrees(start, stop)]


def verify_range(leaves: Sequence[Hash], first: int, size: int, hashes: Sequence[Hash], root: Hash) -> None:
    """Raise `ProofFailed` unless `leaves` are the leaf hashes from number `first` on of the tree (`size`, `root`).

    `hashes` are those of `nodes_of_range`.
    """
    end = first + len(leaves)
    _check(first, end, size)
    if len(hashes) != len(nodes_of_range(first, end, size)):
        raise ProofFailed(f"The proof has {len(hashes)} hashes; these entries need another number.", field="proof")
    if any(len(value) != HASH_SIZE for value in (*leaves, *hashes)):
        raise ProofFailed(f"A hash of the proof does not have {HASH_SIZE} bytes.", field="proof")
    if _head(iter(leaves), first, end, iter(hashes), 0, size) != root:
        raise ProofFailed("The entries lead to another head than the checkpoint's.", field="proof")


def _head(leaves: Iterator[Hash], first: int, end: int, hashes: Iterator[Hash], start: int, stop: int) -> Hash:
    """The head of the leaves `start` to `stop`: in order from `leaves` what lies in the run, else from `hashes`."""
    if stop <= first or start >= end:
        return fold_peaks([next(hashes) for _ in complete_subtrees(start, stop)])
    if stop - start == 1:
        return next(leaves)
    middle = start + split(stop - start)
    left = _head(leaves, first, end, hashes, start, middle)
    return hash_children(left, _head(leaves, first, end, hashes, middle, stop))


def _beside(first: int, end: int, start: int, stop: int) -> Iterator[tuple[int, int]]:
    if stop <= first or start >= end:
        yield start, stop
    elif start < first or end < stop:
        middle = start + split(stop - start)
        yield from _beside(first, end, start, middle)
        yield from _beside(first, end, middle, stop)


def _check(first: int, end: int, size: int) -> None:
    if not 0 <= first < end <= size:
        raise ProofFailed(f"There are no entries {first} to {end - 1} in a tree of {size}.", field="proof")
