"""Reads the whole log again, entry by entry, and names whatever does not fit: a body, a leaf, a tile, a head, a note.

Everything is worked out anew from the stored entries; nothing is taken for granted but the hashing itself. Memory does
not grow with the log.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sharewell.audit.signers import mldsa44_verify
from sharewell.domain.checkpoint import parse_checkpoint
from sharewell.domain.errors import Invalid
from sharewell.domain.merkle import HASH_SIZE, Hash, hash_leaf
from sharewell.domain.notes import VerifierKey, open_note, parse_vkey
from sharewell.domain.tiles import FULL, HEIGHT, Edge, Tile
from sharewell.store.log import LogRepository, Sealed, StoredHead, StoredTile

if TYPE_CHECKING:
    import asyncpg

STEP = 8 * FULL  #: entries read at a time; 134 MB if all are of the largest size


@dataclass(frozen=True, slots=True)
class Damage:
    """One stored thing that is not what it was."""

    where: str  #: such as `entry 17 of the log (staged id 21): its body`

    def __str__(self) -> str:
        return self.where


@dataclass(slots=True)
class Looked:
    """How far the check has come."""

    entries: int = 0
    heads: int = 0
    damages: list[Damage] = field(default_factory=list)


@dataclass(slots=True)
class _Walk:
    edge: Edge
    keys: Sequence[VerifierKey]
    looked: Looked

    def damaged(self, where: str) -> None:
        self.looked.damages.append(Damage(where))


async def fsck(
    conn: asyncpg.Connection[Any], *, most: int = 100, told: Callable[[int, int], None] = lambda *_: None
) -> Looked:
    """Check the whole log as it stands now; stop after `most` damages.

    `told` hears (entries looked at, of how many).
    """
    async with conn.transaction(isolation="repeatable_read", readonly=True):
        log = LogRepository(conn)
        size = (await log.head()).size
        walk = _Walk(Edge(), [parse_vkey(key) for key in await log.keys()], Looked())
        async for _ in _steps(log, walk, size):
            told(walk.looked.entries, size)
            if len(walk.looked.damages) >= most:
                break
        if not walk.looked.damages and await _beyond(log, size):
            walk.damaged(f"leaves beyond the newest head of {size} entries")
        return walk.looked


async def _beyond(log: LogRepository, size: int) -> bool:
    return bool(await log.sealed(size, size + 1))


async def _steps(log: LogRepository, walk: _Walk, size: int) -> AsyncIterator[None]:
    heads = await log.heads(0, min(STEP, size))
    for start in range(0, size, STEP):
        end = min(start + STEP, size)
        rows = await log.sealed(start, end)
        full: list[tuple[Tile, list[Hash]]] = []
        leaves = list(_leaves(walk, rows, start, end))
        at = start
        for head in heads:
            full += walk.edge.extend(leaves[at - start : head.size - start])
            at = head.size
            _check_head(walk, head)
        full += walk.edge.extend(leaves[at - start :])
        await _check_tiles(log, walk, full)
        walk.looked.entries = end
        heads = await log.heads(end, min(end + STEP, size))
        yield
    await _check_tiles(log, walk, [*walk.edge.partial_tiles()])


def _leaves(walk: _Walk, rows: Sequence[Sealed], start: int, end: int) -> Iterator[Hash]:
    """The leaf hashes that the tree should be made of: those most of their three witnesses agree on."""
    found = {row.log_index: row for row in rows}
    for index in range(start, end):
        row = found.get(index)
        if row is None:
            walk.damaged(f"entry {index} of the log: its leaf is missing")
            yield bytes(HASH_SIZE)
            continue
        yield _checked(walk, row)


def _checked(walk: _Walk, row: Sealed) -> Hash:
    name = f"entry {row.log_index} of the log (staged id {row.staged_id})"
    if row.body is None or row.staged_hash is None:
        walk.damaged(f"entry {row.log_index} of the log: what was staged for it is missing")
        return row.leaf_hash
    found = hash_leaf(row.body)
    if found == row.staged_hash == row.leaf_hash:
        return found
    if row.staged_hash == row.leaf_hash:
        walk.damaged(f"{name}: its body")
    elif found == row.leaf_hash:
        walk.damaged(f"{name}: the hash it was staged with")
    elif found == row.staged_hash:
        walk.damaged(f"{name}: its leaf")
        return found
    else:
        walk.damaged(f"{name}: its body, its leaf and the hash it was staged with all differ")
    return row.leaf_hash


def _check_head(walk: _Walk, head: StoredHead) -> None:
    walk.looked.heads += 1
    if walk.edge.size != head.size or walk.edge.root() != head.root:
        walk.damaged(f"the head of {head.size} entries")
    if head.note is None:
        return
    try:
        text, _ = open_note(head.note, walk.keys, mldsa44_verify)
        said = parse_checkpoint(text)
    except Invalid as why:
        walk.damaged(f"the checkpoint of {head.size} entries: {why.message}")
        return
    if (said.size, said.root) != (head.size, walk.edge.root()):
        walk.damaged(f"the checkpoint of {head.size} entries: it was signed over another tree")


async def _check_tiles(log: LogRepository, walk: _Walk, made: Sequence[tuple[Tile, list[Hash]]]) -> None:
    """Compare every stored width of these tiles with their hashes; a full one must be there."""
    for level in sorted({tile.level for tile, _ in made}):
        of_level = {tile.n: (tile.width, b"".join(hashes)) for tile, hashes in made if tile.level == level}
        stored = await log.tiles_of_level(level, min(of_level), max(of_level) + 1)
        for tile in stored:
            _check_tile(walk, level, tile, of_level)
        there = {tile.n for tile in stored if tile.width == FULL}
        for n, (width, _) in of_level.items():
            if width == FULL and n not in there:
                walk.damaged(f"tile {n} of level {level}: it is missing")


def _check_tile(walk: _Walk, level: int, tile: StoredTile, made: dict[int, tuple[int, bytes]]) -> None:
    width, hashes = made.get(tile.n, (0, b""))
    name = f"tile {tile.n} of level {level}, {tile.width} wide"
    if tile.width > width:
        walk.damaged(f"{name}: the log has only {width} hashes there")
    elif tile.hashes != hashes[: tile.width * HASH_SIZE]:
        wrong = next(
            at for at in range(tile.width)
            if tile.hashes[at * HASH_SIZE : (at + 1) * HASH_SIZE] != hashes[at * HASH_SIZE : (at + 1) * HASH_SIZE]
        )  # fmt: skip
        first = ((tile.n * FULL) + wrong) << (HEIGHT * level)
        walk.damaged(f"{name}: its hash {wrong}, over the entries from {first} on")
