"""The log as a folder that any web server can serve and anybody can copy and verify (c2sp.org/tlog-tiles).

Files are only added; each gets its name once it is whole, and `checkpoint` is written last, so that whoever reads
while we write finds all that the checkpoint speaks of. An interrupted export is taken up where it ended.
"""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sharewell.audit.proofs import read_checkpoint, root_at
from sharewell.audit.seal import LogDamaged
from sharewell.domain.errors import SharewellError
from sharewell.domain.handover import HANDOVERS
from sharewell.domain.merkle import hash_leaf
from sharewell.domain.tiles import ENTRIES, FULL, HEIGHT, Tile, entry_bundle, partial_width, tile_path
from sharewell.store.log import LogRepository, Sealed

if TYPE_CHECKING:
    import asyncpg

CHECKPOINT = "checkpoint"
POLICY = "policy"  #: the keys of the log and of its witnesses, as c2sp.org/tlog-policy has them

TILES_AT_ONCE = 64
BUNDLES_AT_ONCE = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Exported:
    """What one run added."""

    size: int  #: entries the folder's checkpoint speaks of now
    files: int  #: newly written


class NotOurFolder(LogDamaged):
    """The folder holds what is not of this log, or more of it than the database has."""


class FolderUnusable(SharewellError):
    """The folder of the export cannot be read or written: its disk is full, say, or it belongs to somebody else."""

    code = "FOLDER_UNUSABLE"


def checkpoint_in(folder: Path) -> bytes | None:
    """The checkpoint that was exported last. Raises `FolderUnusable`."""
    return _read(folder / CHECKPOINT)


async def export(conn: asyncpg.Connection[Any], folder: Path, note: bytes, policy: str) -> Exported:
    """Bring `folder` up to the tree of the signed checkpoint `note`; what is there already is not written again.

    Raises `LogDamaged` where stored entries do not have the hashes of the tree, `NotOurFolder`, and `FolderUnusable`:
    the next run goes on from what this one left.
    """
    log, checkpoint = LogRepository(conn), read_checkpoint(note)
    before = await _size_of(log, folder, checkpoint.size)
    files = 0
    async for path, data in _files(log, before, checkpoint.size):
        files += await asyncio.to_thread(_add, folder / path, data)
    handovers = await log.handovers()
    if handovers:
        await asyncio.to_thread(_put, folder / HANDOVERS, b"\n".join(handovers))
    await asyncio.to_thread(_put, folder / POLICY, policy.encode())
    files += await asyncio.to_thread(_put, folder / CHECKPOINT, note)
    await asyncio.to_thread(_drop_partial, folder, before, checkpoint.size)
    return Exported(size=checkpoint.size, files=files)


async def _size_of(log: LogRepository, folder: Path, size: int) -> int:
    """Entries in the folder, once it is certain that they are the first ones of our tree."""
    note = checkpoint_in(folder)
    if note is None:
        return 0  # nothing yet, or a first export that was interrupted: each file that is there is compared
    before = read_checkpoint(note)
    if before.size > size:
        raise NotOurFolder(f"{folder} holds a checkpoint of {before.size} entries, the database one of {size} only.")
    if before.size and await root_at(log, before.size, size) != before.root:
        raise NotOurFolder(f"{folder} holds a checkpoint of {before.size} entries that is not of this log.")
    return before.size


async def _files(log: LogRepository, before: int, size: int) -> AsyncIterator[tuple[str, bytes]]:
    """Path and content of all that a tree of `size` has and one of `before` had not."""
    for tiles in _batches(_new_tiles(before, size), TILES_AT_ONCE):
        hashes = await log.tiles(tiles)
        for tile in tiles:
            if len(hashes[tile]) != tile.width:
                raise LogDamaged(f"Tile {tile.n} of level {tile.level} is missing hashes.")
            yield tile_path(*tile), b"".join(hashes[tile])
    for tiles in _batches((tile for tile in _new_tiles(before, size) if not tile.level), BUNDLES_AT_ONCE):
        start, end = tiles[0].n * FULL, tiles[-1].n * FULL + tiles[-1].width
        rows = await log.sealed(start, end)
        if len(rows) != end - start:
            raise LogDamaged(f"Of the entries {start} to {end - 1} of the log {end - start - len(rows)} are missing.")
        for tile in tiles:
            first = tile.n * FULL - start
            part = [checked_body(row) for row in rows[first : first + tile.width]]
            yield tile_path(ENTRIES, tile.n, tile.width), entry_bundle(part)


def checked_body(row: Sealed) -> bytes:
    """The entry, once more checked: what is served must have the hash that was signed. Raises `LogDamaged`."""
    if row.body is None or hash_leaf(row.body) != row.leaf_hash:
        raise LogDamaged(f"Entry {row.log_index} of the log was changed after it was sealed.")
    return row.body


def _new_tiles(before: int, size: int) -> Iterator[Tile]:
    """Tiles of a tree of `size` that one of `before` had not, or not in this width; lowest level first."""
    level = 0
    while size >> (HEIGHT * level):
        whole = size >> (HEIGHT * level)
        for n in range((before >> (HEIGHT * level)) // FULL, whole // FULL):
            yield Tile(level, n, FULL)
        width = partial_width(level, size)
        if width and whole != before >> (HEIGHT * level):
            yield Tile(level, whole // FULL, width)
        level += 1


def _batches(tiles: Iterable[Tile], most: int) -> Iterator[list[Tile]]:
    batch: list[Tile] = []
    for tile in tiles:
        follows = not batch or (tile.level, tile.n) == (batch[-1].level, batch[-1].n + 1)
        if batch and (len(batch) == most or not follows):
            yield batch
            batch = []
        batch.append(tile)
    if batch:
        yield batch


def _add(path: Path, data: bytes) -> int:
    """Write a file that never changes; return 1 if it was not there. Raises `NotOurFolder` if it differs."""
    found = _read(path)
    if found is None:
        return _put(path, data)
    if found != data:
        raise NotOurFolder(f"{path} differs from the database; one of the two was changed.")
    return 0


def _drop_partial(folder: Path, before: int, size: int) -> None:
    """Remove the partial files of tiles that became full: c2sp.org/tlog-tiles lets readers take the full one then."""
    for level in range(size.bit_length() // HEIGHT + 1):
        n = (before >> (HEIGHT * level)) // FULL  # the one tile of this level that was partial
        if n < (size >> (HEIGHT * level)) // FULL:
            for kind in (level, ENTRIES) if not level else (level,):
                shutil.rmtree(folder / f"{tile_path(kind, n)}.p", ignore_errors=True)


def _put(path: Path, data: bytes) -> int:
    """Give `path` this content at one stroke, on disk before it has its name."""
    if _read(path) == data:
        return 0
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with draft.open("wb") as out:
            out.write(data)
            out.flush()
            os.fsync(out.fileno())
        draft.replace(path)
    except OSError as why:
        with suppress(OSError):
            draft.unlink()  # what lies under tile/ and is no tile, nobody could verify
        raise _unusable(path, "written", why) from why
    return 1


def _read(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as why:
        raise _unusable(path, "read", why) from why


def _unusable(path: Path, done: str, why: OSError) -> FolderUnusable:
    return FolderUnusable(f"{path} cannot be {done}: {why.strerror}.")
