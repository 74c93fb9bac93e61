"""How the hashes of the tree are cut into tiles of 256 (c2sp.org/tlog-tiles), and how its right edge grows.

Tile `n` of level `l` holds the heads of 256**l leaves each. Only its first 256 hashes make it full, and only full
tiles are hashed upward. Where tiles are kept is left to the store.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from sharewell.domain.errors import Invalid
from sharewell.domain.merkle import Hash, Node, empty_root, fold, fold_peaks, hash_leaf

FULL = 256  #: hashes in a full tile
HEIGHT = 8  #: levels of the tree in one level of tiles
HIGHEST_LEVEL = 63
LARGEST_IN_BUNDLE = 65_535  #: bytes of an entry
ENTRIES = "entries"  #: stands in the path of a bundle of entries instead of a level

_PATH = re.compile(
    r"tile/(?P<level>entries|0|[1-9][0-9]?)/(?P<n>(?:x[0-9]{3}/)*[0-9]{3})(?:\.p/(?P<width>[1-9][0-9]{0,2}))?"
)


class Tile(NamedTuple):
    """Where a tile stands, and how many hashes of it are wanted."""

    level: int
    n: int
    width: int


def tile_path(level: int | str, n: int, width: int = FULL) -> str:
    """The path of a tile under the log's prefix, such as `tile/0/x001/x234/067` or `tile/1/001.p/17`."""
    digits = f"{n:03d}"
    digits = digits.rjust(-(-len(digits) // 3) * 3, "0")
    groups = [digits[at : at + 3] for at in range(0, len(digits), 3)]
    number = "/".join([*(f"x{group}" for group in groups[:-1]), groups[-1]])
    return f"tile/{level}/{number}" + (f".p/{width}" if width != FULL else "")


def parse_tile_path(path: str) -> tuple[int | str, int, int]:
    """Read (level or 'entries', n, width) from a path. Raises `Invalid` unless it is the one way to write it."""
    match = _PATH.fullmatch(path)
    if not match:
        raise Invalid(f"{path[:80]!r} is not the path of a tile, such as tile/0/x001/067.", field="path")
    level = match["level"] if match["level"] == ENTRIES else int(match["level"])
    n, width = int(match["n"].replace("/", "").replace("x", "")), int(match["width"] or FULL)
    too_high = isinstance(level, int) and level > HIGHEST_LEVEL
    if too_high or tile_path(level, n, width) != path:
        raise Invalid(f"{path[:80]!r} is not the path of a tile, such as tile/0/x001/067.", field="path")
    return level, n, width


def partial_width(level: int, size: int) -> int:
    """How many hashes the last, partial tile of a level has in a tree of `size`; 0 if there is none."""
    return (size >> (HEIGHT * level)) % FULL


def tile_of(node: Node, size: int) -> Tile:
    """The tile that a complete subtree of the tree of `size` is found in, in the width that the tree gives it."""
    level, index = node[0] // HEIGHT, node[1] << (node[0] % HEIGHT)
    n = index // FULL
    full = (n + 1) * FULL <= size >> (HEIGHT * level)
    return Tile(level, n, FULL if full else partial_width(level, size))


def node_in(tile: Sequence[Hash], node: Node) -> Hash:
    """The hash of a complete subtree, from the hashes of its tile."""
    wide = 1 << (node[0] % HEIGHT)
    start = (node[1] * wide) % FULL
    return fold(list(tile[start : start + wide]))


def entry_bundle(entries: Iterable[bytes]) -> bytes:
    """Entries as tlog-tiles serves them: each after its length in two bytes. Raises `Invalid` beyond 65,535 bytes."""
    rows = list(entries)
    if any(len(entry) > LARGEST_IN_BUNDLE for entry in rows):
        raise Invalid(f"An entry has at most {LARGEST_IN_BUNDLE} bytes; put what is larger beside it, by its hash.")
    return b"".join(len(entry).to_bytes(2, "big") + entry for entry in rows)


def parse_entry_bundle(data: bytes) -> list[bytes]:
    """Read what `entry_bundle` writes. Raises `Invalid` where a length leads beyond the end."""
    entries: list[bytes] = []
    at = 0
    while at < len(data):
        end = at + 2 + int.from_bytes(data[at : at + 2], "big")
        if at + 2 > len(data) or end > len(data):
            raise Invalid(f"The file ends within its entry {len(entries)}.", field="entries")
        entries.append(data[at + 2 : end])
        at = end
    return entries


def build_tiles(entries: Sequence[bytes]) -> dict[str, bytes]:
    """Every file under `tile/` of the log that holds exactly `entries`."""
    edge = Edge()
    files = {tile_path(t.level, t.n): b"".join(hashes) for t, hashes in edge.extend(map(hash_leaf, entries))}
    files |= {tile_path(*tile): b"".join(hashes) for tile, hashes in edge.partial_tiles()}
    for start in range(0, len(entries), FULL):
        part = entries[start : start + FULL]
        files[tile_path(ENTRIES, start // FULL, len(part))] = entry_bundle(part)
    return files


class Edge:
    """The right edge of a growing tree: one partial tile a level, all that is needed to go on.

    It takes at most 255 hashes a level, however large the tree.
    """

    __slots__ = ("levels", "size")

    def __init__(self, size: int = 0, levels: Sequence[Sequence[Hash]] = ()) -> None:
        """Take up a tree of `size` from the partial tiles of its levels, lowest first."""
        self.size = size
        self.levels = [list(level) for level in levels]
        for level, hashes in enumerate(self.levels):
            if len(hashes) != partial_width(level, size):
                raise Invalid(f"Level {level} of a tree of {size} has {partial_width(level, size)} hashes at its edge.")

    def extend(self, leaves: Iterable[Hash]) -> Iterator[tuple[Tile, list[Hash]]]:
        """Take more leaf hashes, yielding each tile as it becomes full. Run it to its end."""
        rest, at = list(leaves), 0
        while at < len(rest):
            lowest = self._level(0)
            part = rest[at : at + FULL - len(lowest)]
            lowest += part
            self.size += len(part)
            at += len(part)
            yield from self._rise()

    def _level(self, level: int) -> list[Hash]:
        if level == len(self.levels):
            self.levels.append([])
        return self.levels[level]

    def _rise(self) -> Iterator[tuple[Tile, list[Hash]]]:
        """Empty the tiles that are full, from the lowest, each into one hash of the level above."""
        level = 0
        while len(hashes := self._level(level)) == FULL:
            yield Tile(level, (self.size >> (HEIGHT * (level + 1))) - 1, FULL), hashes
            self.levels[level] = []
            level += 1
            self._level(level).append(fold(hashes))

    def partial_tiles(self) -> Iterator[tuple[Tile, list[Hash]]]:
        """The tiles at the edge that are begun and not full."""
        for level, hashes in enumerate(self.levels):
            if hashes:
                yield Tile(level, self.size >> (HEIGHT * (level + 1)), len(hashes)), hashes

    def root(self) -> Hash:
        """The head of the tree."""
        if not self.size:
            return empty_root()
        return fold_peaks([peak for level in reversed(self.levels) for peak in _peaks(level)])

    def copy(self) -> Edge:
        """An edge of its own, to try an extension that may be given up."""
        return Edge(self.size, self.levels)


def _peaks(hashes: list[Hash]) -> Iterator[Hash]:
    """The heads of the complete subtrees in a partial tile, largest first."""
    start = 0
    while start < len(hashes):
        wide = 1 << ((len(hashes) - start).bit_length() - 1)
        yield fold(hashes[start : start + wide])
        start += wide
