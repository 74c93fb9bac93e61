"""Check a whole log, as exported or served: every entry, every tile, the head, who signed it, what it once was.

One tile is held at a time and the edge of the tree beside it, so that memory does not grow with the log. Where the
files are is left to the caller.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from sharewell.domain.checkpoint import Checkpoint
from sharewell.domain.errors import Invalid
from sharewell.domain.handover import went_on_as
from sharewell.domain.merkle import HASH_SIZE, Hash, hash_leaf
from sharewell.domain.notes import Mldsa44
from sharewell.domain.tiles import (
    ENTRIES,
    FULL,
    HEIGHT,
    Edge,
    Tile,
    entry_bundle,
    parse_entry_bundle,
    parse_tile_path,
    tile_path,
)
from sharewell.domain.trust import NONE, TrustedCheckpoint, TrustPolicy, open_checkpoint, refuse_stray_lines

CHECKPOINT: Final = "checkpoint"
POLICY: Final = "policy"
TILES: Final = "tile/"

#: The bytes at a path of the log, or None if there are none.
Read = Callable[[str], bytes | None]


class LogNotVerified(Invalid):
    """The files are not the log that its checkpoint signs."""


class LogMisbehaved(LogNotVerified):
    """Two things that the log signed contradict each other; together they are evidence against it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifiedLog:
    """A log of which every hash was worked out again."""

    entries_read: bool  #: False: no entries came along, and the leaf hashes were taken as they are
    found: Mapping[Hash, int]  #: of the leaf hashes that were looked for, the index of each that is there
    beyond: int = 0  #: files that lie beyond the checkpoint, and were not checked


def open_log(read: Read, policy: TrustPolicy, mldsa44: Mldsa44 | None = None) -> TrustedCheckpoint:
    """The newest checkpoint, of which every signature was checked. Raises `LogNotVerified`, or as `open_checkpoint`."""
    note = read(CHECKPOINT)
    if note is None:
        raise LogNotVerified(f"There is no file {CHECKPOINT}.", field=CHECKPOINT)
    trusted = open_checkpoint(note, policy, mldsa44)
    refuse_stray_lines(trusted)
    return trusted


def open_remembered(
    note: bytes, now: Checkpoint, policy: TrustPolicy, mldsa44: Mldsa44 | None = None, handovers: bytes = b""
) -> Checkpoint:
    """A checkpoint seen before, of the log that `now` is of. Its quorum does not matter: the log signed it.

    The log may have had another name then if `handovers`, the file, has notes that lead from that name to this one.
    """
    was = open_checkpoint(note, replace(policy, quorum=NONE), mldsa44).checkpoint
    refuse_other_log("remembered checkpoint", was.origin, now.origin, policy, handovers)
    if was.size > now.size:
        raise LogNotVerified(
            f"The log had {was.size} entries and here has {now.size}: this copy is older than what you remember, or "
            f"the log was rolled back. Fetch it again; if it stays shorter, keep both checkpoints as evidence."
        )
    return was


def refuse_other_log(what: str, then: str, now: str, policy: TrustPolicy, handovers: bytes) -> None:
    """Raise `LogNotVerified` unless the log `then`, which `what` is of, is `now`, or goes on under that name."""
    if now not in went_on_as(handovers, then, [log.key for log in policy.logs]):
        raise LogNotVerified(
            f"The {what} is of the log {then}, this is {now}, and no handover by a key of your trust policy leads from "
            f"one to the other."
        )


def verify_log(
    read: Read,
    now: Checkpoint,
    *,
    remembered: Sequence[Checkpoint] = (),
    wanted: Collection[Hash] = (),
    paths: Iterable[str] = (),
) -> VerifiedLog:
    """Work out the whole log again from its entries, or from its lowest tiles where no entries are.

    `now` is what `open_log` found to be signed; `remembered` what it must extend, from `open_remembered`; `wanted`
    leaf hashes to look for; `paths` the files that there are, of which none under `tile/` may go unchecked (gone
    through twice). Raises `LogNotVerified`, which names file and index, or `LogMisbehaved`.
    """
    with_entries = any(path.startswith(f"{TILES}{ENTRIES}/") for path in paths) or now.size == 0
    with_entries = with_entries or read(tile_path(ENTRIES, 0, _width(0, 0, now.size))) is not None
    walk = _Walk(read, now.size, with_entries, frozenset(wanted), sorted({was.size for was in remembered}))
    walk.run()
    if walk.edge.root() != now.root:
        raise LogNotVerified(f"All tiles fit together, but not the head that is signed for {now.size} entries.")
    beyond = _check_others(read, now.size, paths)
    for was in remembered:
        if walk.roots[was.size] != was.root:
            raise LogMisbehaved(
                f"The log signed another head for its first {was.size} entries before: it was rewritten. "
                f"Keep both checkpoints; they are evidence."
            )
    return VerifiedLog(entries_read=with_entries, found=walk.found, beyond=beyond)


class _Walk:
    """One way through all leaves, from the first, building the tree again."""

    def __init__(
        self, read: Read, size: int, with_entries: bool, wanted: frozenset[Hash], stops: Sequence[int]
    ) -> None:
        self.read = read
        self.size = size
        self.with_entries = with_entries
        self.wanted = wanted
        self.stops = stops  #: sizes at which the head is noted, in order
        self.edge = Edge()
        self.roots: dict[int, Hash] = {}
        self.found: dict[Hash, int] = {}

    def run(self) -> None:
        """Raises `LogNotVerified` at the first file that does not fit."""
        self._note_head()
        for n in range(-(-self.size // FULL)):
            leaves = self._leaves(n)
            if not self.wanted.isdisjoint(leaves):
                self.found |= {leaf: n * FULL + at for at, leaf in enumerate(leaves) if leaf in self.wanted}
            for part in self._cut(leaves):
                for tile, hashes in self.edge.extend(part):
                    self._check_above(tile, hashes)
                self._note_head()
        for tile, hashes in self.edge.partial_tiles():
            self._check_above(tile, hashes)

    def _note_head(self) -> None:
        if self.edge.size in self.stops:
            self.roots[self.edge.size] = self.edge.root()

    def _cut(self, leaves: list[Hash]) -> Iterator[list[Hash]]:
        """The leaves in parts that end where a head is to be noted."""
        start, first = 0, self.edge.size
        for stop in self.stops:
            if first < stop < first + len(leaves):
                yield leaves[start : stop - first]
                start = stop - first
        yield leaves[start:]

    def _leaves(self, n: int) -> list[Hash]:
        """The leaf hashes of tile `n`: those of its entries, which the tile must have; or else the tile's."""
        stored = _hashes(self.read, 0, n, self.size)
        if not self.with_entries:
            return stored
        path, data, width = _file(self.read, ENTRIES, n, self.size)
        leaves = hash_entries(data, path)
        if len(leaves) != width:
            raise LogNotVerified(f"The file {path} has {len(leaves)} entries instead of {width}.", field=path)
        leaves = leaves[: len(stored)]
        if leaves != stored:
            at = next(at for at, (a, b) in enumerate(zip(leaves, stored, strict=True)) if a != b)
            raise LogNotVerified(
                f"Entry {n * FULL + at} in {path} does not have the hash that {tile_path(0, n, len(stored))} gives it.",
                field=path,
            )
        return leaves

    def _check_above(self, tile: Tile, hashes: Sequence[Hash]) -> None:
        if tile.level and (stored := _hashes(self.read, tile.level, tile.n, self.size)) != hashes:
            path = tile_path(tile.level, tile.n, len(hashes))
            at = next(at for at, (a, b) in enumerate(zip(hashes, stored, strict=True)) if a != b)
            below = tile.n * FULL + at
            raise LogNotVerified(
                f"Hash {at} of {path} is not the head of {tile_path(tile.level - 1, below)}.", field=path
            )


def _width(level: int, n: int, size: int) -> int:
    """How many hashes tile `n` of a level has in a tree of `size`."""
    return min(FULL, (size >> (HEIGHT * level)) - n * FULL)


def _file(read: Read, level: int | str, n: int, size: int) -> tuple[str, bytes, int]:
    """The file of a tile and the width it has: the tree's, or full once the partial one is gone."""
    wanted = _width(0 if level == ENTRIES else int(level), n, size)
    for width in dict.fromkeys((wanted, FULL)):
        path = tile_path(level, n, width)
        if (data := read(path)) is not None:
            return path, data, width
    path = tile_path(level, n, wanted)
    raise LogNotVerified(f"The file {path} is missing.", field=path)


def _hashes(read: Read, level: int, n: int, size: int) -> list[Hash]:
    path, data, width = _file(read, level, n, size)
    if len(data) != width * HASH_SIZE:
        raise LogNotVerified(f"The file {path} has {len(data)} bytes instead of {width * HASH_SIZE}.", field=path)
    return [data[at : at + HASH_SIZE] for at in range(0, _width(level, n, size) * HASH_SIZE, HASH_SIZE)]


def hash_entries(data: bytes, path: str) -> list[Hash]:
    """The leaf hashes of the entries in the file `path`."""
    return [hash_leaf(entry) for entry in _entries(data, path)]


def _entries(data: bytes, path: str) -> list[bytes]:
    try:
        return parse_entry_bundle(data)
    except Invalid as why:
        raise LogNotVerified(f"{path}: {why.message}", field=path) from None


def _check_others(read: Read, size: int, paths: Iterable[str]) -> int:
    """Check the files that the tree of `size` does not need: narrower tiles of earlier trees begin later ones.

    Returns how many lie beyond the tree. Raises `LogNotVerified` for a file that is no tile, or begins nothing.
    """
    beyond = 0
    for path in paths:
        if not path.startswith(TILES):
            continue
        try:
            level, n, width = parse_tile_path(path)
        except Invalid:
            raise LogNotVerified(f"The file {path} is no part of a log.", field=path) from None
        here = _width(0 if level == ENTRIES else int(level), n, size)
        beyond += width > here
        if width < here:
            _check_beginning(read, path, (level, n, width), size)
    return beyond


def _check_beginning(read: Read, path: str, tile: tuple[int | str, int, int], size: int) -> None:
    level, n, width = tile
    if level == ENTRIES:
        later, data, _ = _file(read, ENTRIES, n, size)
        begins = entry_bundle(_entries(data, later)[:width])
    else:
        begins = b"".join(_hashes(read, int(level), n, size)[:width])
    if read(path) != begins:
        raise LogNotVerified(f"The file {path}, of an earlier tree, is not how the later one begins.", field=path)
