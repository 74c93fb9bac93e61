"""The Merkle tree of RFC 6962 and RFC 9162 over SHA-256: hashes, proofs, and who may trust them.

Everything takes and returns plain values. Where the hashes of a large tree are kept, and how many at a time they
are read, is left to `tiles` and to the store.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence

from sharewell.domain.errors import Invalid

Hash = bytes
#: A complete subtree as (level, index): the leaves index * 2**level up to (index + 1) * 2**level.
Node = tuple[int, int]
#: Turns a batch of complete subtrees into their hashes, in the same order.
HashReader = Callable[[Sequence[Node]], Sequence[Hash]]

HASH_SIZE = 32


class ProofFailed(Invalid):
    """The proof does not lead from the entry to the head of the tree."""


def hash_leaf(entry: bytes) -> Hash:
    """RFC 9162, 2.1.1: SHA-256(0x00 || entry)."""
    return hashlib.sha256(b"\x00" + entry).digest()


def hash_children(left: Hash, right: Hash) -> Hash:
    """RFC 9162, 2.1.1: SHA-256(0x01 || left || right)."""
    return hashlib.sha256(b"\x01" + left + right).digest()


def empty_root() -> Hash:
    """The head of a tree without entries: SHA-256 of nothing."""
    return hashlib.sha256(b"").digest()


def fold(level: list[Hash]) -> Hash:
    """The head over a non-empty list of sibling hashes, whatever their height. RFC 9162, 2.1.1.

    Pairing left to right and carrying a lone last hash upward gives the same tree as splitting at the largest
    power of two.
    """
    sha256 = hashlib.sha256
    while len(level) > 1:
        pairs = [sha256(b"\x01" + a + b).digest() for a, b in zip(level[::2], level[1::2], strict=False)]
        level = [*pairs, level[-1]] if len(level) % 2 else pairs
    return level[0]


def root_hash(entries: Iterable[bytes]) -> Hash:
    """The head of the tree over `entries`, given whole."""
    leaves = [hash_leaf(entry) for entry in entries]
    return fold(leaves) if leaves else empty_root()


def split(size: int) -> int:
    """The largest power of two smaller than `size` (at least 2)."""
    return 1 << ((size - 1).bit_length() - 1)


# --- proofs checked -----------------------------------------------------------------------------------------------


def verify_inclusion(leaf: Hash, index: int, size: int, path: Sequence[Hash], root: Hash) -> None:
    """Raise `ProofFailed` unless `leaf` is hash number `index` of the tree of `size` whose head is `root`.

    `path` lists siblings from the leaf up. RFC 9162, 2.1.3.2.
    """
    if not 0 <= index < size:
        raise ProofFailed(f"There is no entry {index} in a tree of {size}.", field="index")
    _check_hashes((leaf, *path))
    found = leaf
    for sibling, on_left in zip(path, _sides(index, size - 1, len(path)), strict=True):
        found = hash_children(sibling, found) if on_left else hash_children(found, sibling)
    if found != root:
        raise ProofFailed("The proof leads to another head than the checkpoint's.", field="proof")


def verify_consistency(size1: int, size2: int, root1: Hash, root2: Hash, path: Sequence[Hash]) -> None:
    """Raise `ProofFailed` unless the tree (`size2`, `root2`) extends the tree (`size1`, `root1`).

    Nothing can be said about `size1 == 0`: every tree extends the empty one, and the caller decides what that is
    worth. RFC 9162, 2.1.4.2.
    """
    if not 0 < size1 <= size2:
        raise ProofFailed(f"A tree of {size2} cannot be shown to extend one of {size1}.", field="size")
    if size1 == size2:
        if path or root1 != root2:
            raise ProofFailed("Two trees of one size must have one head and need no proof.", field="proof")
        return
    _check_hashes(path)
    at, last = size1 - 1, size2 - 1
    while at % 2:
        at, last = at >> 1, last >> 1
    rest = list(path) if at else [root1, *path]  # a power of two: its head is the first hash itself
    if not rest:
        raise ProofFailed("The proof is empty, but the trees differ in size.", field="proof")
    older = newer = rest[0]
    for sibling, on_left in zip(rest[1:], _sides(at, last, len(rest) - 1), strict=True):
        if on_left:
            older, newer = hash_children(sibling, older), hash_children(sibling, newer)
        else:
            newer = hash_children(newer, sibling)
    if older != root1 or newer != root2:
        raise ProofFailed("The proof does not lead from the older head to the newer one.", field="proof")


def _sides(at: int, last: int, count: int) -> list[bool]:
    """For each step from node `at` of a level whose last node is `last` up to the head: is its sibling on the left?

    Raises `ProofFailed` unless there are `count` steps. The fn and sn of RFC 9162.
    """
    sides = []
    while last:
        sides.append(on_left := at % 2 == 1 or at == last)
        while on_left and at and at % 2 == 0:  # a lone last node rises until it has a sibling
            at, last = at >> 1, last >> 1
        at, last = at >> 1, last >> 1
    if len(sides) != count:
        raise ProofFailed(f"The proof has {count} hashes where the tree has {len(sides)} levels.", field="proof")
    return sides


def _check_hashes(hashes: Iterable[Hash]) -> None:
    if any(len(value) != HASH_SIZE for value in hashes):
        raise ProofFailed(f"A hash of the proof does not have {HASH_SIZE} bytes.", field="proof")


# --- proofs made --------------------------------------------------------------------------------------------------
# A proof is a list of ranges of leaves whose heads are wanted. Each range is a row of complete subtrees, and those
# are what a store keeps: all that one proof needs is read at once.


def prove_inclusion(index: int, size: int, read: HashReader) -> list[Hash]:
    """The path from entry `index` to the head of the tree of `size`. RFC 9162, 2.1.3.1."""
    if not 0 <= index < size:
        raise ProofFailed(f"There is no entry {index} in a tree of {size}.", field="index")
    return heads(_inclusion_ranges(index, size), read)


def prove_consistency(size1: int, size2: int, read: HashReader) -> list[Hash]:
    """What shows that the tree of `size2` extends its own first `size1` entries. RFC 9162, 2.1.4.1."""
    if not 0 < size1 <= size2:
        raise ProofFailed(f"A tree of {size2} cannot be shown to extend one of {size1}.", field="size")
    return heads(_consistency_ranges(size1, size2), read)


def nodes_of_inclusion(index: int, size: int) -> list[Node]:
    """All that `prove_inclusion` will read, for a store that must be asked beforehand."""
    return [node for start, end in _inclusion_ranges(index, size) for node in complete_subtrees(start, end)]


def nodes_of_consistency(size1: int, size2: int) -> list[Node]:
    """All that `prove_consistency` will read."""
    return [node for start, end in _consistency_ranges(size1, size2) for node in complete_subtrees(start, end)]


def heads(ranges: Sequence[tuple[int, int]], read: HashReader) -> list[Hash]:
    """The heads of several ranges of leaves, each starting at a multiple of its largest complete subtree."""
    nodes = [complete_subtrees(start, end) for start, end in ranges]
    found = iter(read([node for row in nodes for node in row]))
    return [fold_peaks([next(found) for _ in row]) for row in nodes]


def fold_peaks(peaks: Sequence[Hash]) -> Hash:
    """The head over complete subtrees of falling height, left to right; the empty tree's head if there are none."""
    if not peaks:
        return empty_root()
    *rest, found = peaks
    for peak in reversed(rest):
        found = hash_children(peak, found)
    return found


def complete_subtrees(start: int, end: int) -> list[Node]:
    """The complete subtrees that together cover leaves `start` to `end`, from left to right."""
    nodes = []
    while start < end:
        level = (end - start).bit_length() - 1
        nodes.append((level, start >> level))
        start += 1 << level
    return nodes


def _inclusion_ranges(index: int, size: int) -> list[tuple[int, int]]:
    ranges, start, end = [], 0, size
    while end - start > 1:
        middle = start + split(end - start)
        left = index < middle
        ranges.append((middle, end) if left else (start, middle))
        start, end = (start, middle) if left else (middle, end)
    return ranges[::-1]  # found from the head down, wanted from the leaf up


def _consistency_ranges(size1: int, size2: int) -> list[tuple[int, int]]:
    ranges, start, end = [], 0, size2
    while end != size1:
        middle = start + split(end - start)
        left = size1 <= middle
        ranges.append((middle, end) if left else (start, middle))
        start, end = (start, middle) if left else (middle, end)
    if start:  # the verifier has the head of the older tree itself, but not of a part of it
        ranges.append((start, end))
    return ranges[::-1]
