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
# Inclusion and consistency are one question: is this the head of leaves `start` to `end` of that tree? An entry is
# a subtree of one leaf, an older tree one that begins at leaf 0.


def verify_inclusion(leaf: Hash, index: int, size: int, path: Sequence[Hash], root: Hash) -> None:
    """Raise `ProofFailed` unless `leaf` is hash number `index` of the tree of `size` whose head is `root`.

    `path` lists siblings from the leaf up. RFC 9162, 2.1.3.2.
    """
    if not 0 <= index < size:
        raise ProofFailed(f"There is no entry {index} in a tree of {size}.", field="index")
    _check_hashes((leaf, *path))
    verify_subtree(index, index + 1, size, leaf, root, path)


def verify_consistency(size1: int, size2: int, root1: Hash, root2: Hash, path: Sequence[Hash]) -> None:
    """Raise `ProofFailed` unless the tree (`size2`, `root2`) extends the tree (`size1`, `root1`).

    Nothing can be said about `size1 == 0`: every tree extends the empty one, and the caller decides what that is
    worth. RFC 9162, 2.1.4.2.
    """
    if not 0 < size1 <= size2:
        raise ProofFailed(f"A tree of {size2} cannot be shown to extend one of {size1}.", field="size")
    verify_subtree(0, size1, size2, root1, root2, path)


def verify_subtree(start: int, end: int, size: int, head: Hash, root: Hash, path: Sequence[Hash]) -> None:
    """Raise `ProofFailed` unless `head` is over leaves `start` to `end` of the tree (`size`, `root`).

    Those leaves must be a subtree: see `is_subtree`. draft-ietf-plants-merkle-tree-certs, "Verifying a Subtree
    Consistency Proof"; fn, sn and tn there are `first`, `at` and `last` here.
    """
    if not is_subtree(start, end) or end > size:
        raise ProofFailed(f"Leaves {start} to {end} are no subtree of a tree of {size}.", field="size")
    _check_hashes(path)
    if start == end:
        _verify_nothing(head, path)
        return
    first, at, last = start, end - 1, size - 1
    while first != at and (at == last or at % 2):  # what `head` is a complete part of rises without a sibling
        first, at, last = first >> 1, at >> 1, last >> 1
    rest = [head, *path] if first == at else list(path)
    if not rest:
        raise ProofFailed("The proof is empty, but the trees differ.", field="proof")
    part = whole = rest.pop(0)
    for sibling in rest:
        if not last:
            raise ProofFailed(
                f"The proof has {len(path)} hashes, which is more than the tree has levels.", field="proof"
            )
        if at % 2 or at == last:
            part = hash_children(sibling, part) if first < at else part
            whole = hash_children(sibling, whole)
            while at and at % 2 == 0:  # a lone last node rises until it has a sibling
                first, at, last = first >> 1, at >> 1, last >> 1
        else:
            whole = hash_children(whole, sibling)
        first, at, last = first >> 1, at >> 1, last >> 1
    if last or part != head or whole != root:
        raise ProofFailed("The proof does not lead to the head of the tree.", field="proof")


def _verify_nothing(head: Hash, path: Sequence[Hash]) -> None:
    if path or head != empty_root():
        raise ProofFailed("No leaves have the head of nothing, and need no proof.", field="proof")


def is_subtree(start: int, end: int) -> bool:
    """Whether leaves `start` to `end` begin at a multiple of a power of two that is not below their number."""
    return 0 <= start <= end and (start == end or start % (1 << (end - start - 1).bit_length()) == 0)


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
    return heads(_ranges(index, index + 1, size), read)


def prove_consistency(size1: int, size2: int, read: HashReader) -> list[Hash]:
    """What shows that the tree of `size2` extends its own first `size1` entries. RFC 9162, 2.1.4.1."""
    if not 0 < size1 <= size2:
        raise ProofFailed(f"A tree of {size2} cannot be shown to extend one of {size1}.", field="size")
    return heads(_ranges(0, size1, size2), read)


def prove_subtree(start: int, end: int, size: int, read: HashReader) -> list[Hash]:
    """What shows that a head is over leaves `start` to `end`, which must be a subtree, of the tree of `size`."""
    if not is_subtree(start, end) or end > size:
        raise ProofFailed(f"Leaves {start} to {end} are no subtree of a tree of {size}.", field="size")
    return heads(_ranges(start, end, size), read) if start < end else []


def nodes_of_inclusion(index: int, size: int) -> list[Node]:
    """All that `prove_inclusion` will read, for a store that must be asked beforehand."""
    return [node for low, high in _ranges(index, index + 1, size) for node in complete_subtrees(low, high)]


def nodes_of_consistency(size1: int, size2: int) -> list[Node]:
    """All that `prove_consistency` will read."""
    return [node for low, high in _ranges(0, size1, size2) for node in complete_subtrees(low, high)]


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


def _ranges(start: int, end: int, size: int) -> list[tuple[int, int]]:
    """The leaves under each hash of the proof for leaves `start` to `end`, from the leaf side up."""
    ranges, low, high, known = [], 0, size, True
    while (low, high) != (start, end):
        middle = low + split(high - low)
        if end <= middle:
            ranges.append((middle, high))
            high = middle
        else:
            ranges.append((low, middle))
            if start < middle:  # the verifier has the head of the whole subtree, but not of its right part
                start, known = middle, False
            low = middle
    return ([] if known else [(low, high)]) + ranges[::-1]
