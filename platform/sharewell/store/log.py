"""The tree over recorded decisions in PostgreSQL: leaves, tiles, heads and checkpoints. Rows are only ever added.

What they must hold is worked out in `sharewell.domain` and put together in `sharewell.audit`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from sharewell.domain.merkle import HASH_SIZE, Hash
from sharewell.domain.tiles import FULL, Tile

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime

    import asyncpg

#: One sequencer at a time; the keys of leaf and tree hold even where this is passed by.
LEADER_LOCK = 0x5348_4152_4557_4C03
PUBLISHER_LOCK = 0x5348_4152_4557_4C04  #: one at a time asks witnesses and writes the folder

TRY_LEAD = f"select pg_try_advisory_lock({LEADER_LOCK})"
STOP_LEADING = f"select pg_advisory_unlock({LEADER_LOCK})"
TRY_PUBLISH = f"select pg_try_advisory_lock({PUBLISHER_LOCK})"
STOP_PUBLISHING = f"select pg_advisory_unlock({PUBLISHER_LOCK})"

#: The newest head, and the number below which every transaction was over when the current snapshot was taken.
HEAD = """
select coalesce(t.size, 0) as size, t.root, coalesce(t.settled, 0) as settled,
       pg_snapshot_xmin(pg_current_snapshot())::text::bigint as all_over_before
  from (select 1) one left join (select size, root, settled from audit.tree order by size desc limit 1) t on true
"""
#: The number of the current transaction: above that of every transaction seen so far.
OWN_NUMBER = "select pg_current_xact_id()::text::bigint"
LAST_SEALED = "select coalesce(max(staged_id), 0) from audit.leaf"

# A batch is cut by rows and, so that it fits into memory, by bytes: its last entry is the one that reaches them.
_CUT = """
select staged_id, leaf_hash, body
  from (select staged_id, leaf_hash, body, octet_length(body) as own,
               sum(octet_length(body)) over (order by staged_id) as total from ({rows}) r) s
 where total - own < {bytes} order by staged_id
"""
#: Entries above those seen so far, lowest first.
FRESH = _CUT.format(
    rows="select staged_id, leaf_hash, body from audit.entry where staged_id > $1 order by staged_id limit $2",
    bytes="$3::bigint",
)
#: Entries that have appeared where ids were missing, lowest first.
LATE = _CUT.format(
    rows="""
select e.staged_id, e.leaf_hash, e.body
  from unnest($1::bigint[], $2::bigint[]) gap (first, last)
  join audit.entry e on e.staged_id between gap.first and gap.last
 where not exists (select from audit.leaf l where l.staged_id = e.staged_id)
 order by e.staged_id limit $3""",
    bytes="$4::bigint",
)

#: What people search these entries by, taken out of them by the database itself.
ADD_HEADERS = "select audit.add_headers($1::bigint[])"
ADD_HEAD = "insert into audit.tree (size, root, settled) values ($1, $2, $3)"
ADD_CHECKPOINT = "insert into audit.checkpoint (size, note) values ($1, $2)"
ADD_KEY = "insert into audit.verifier_key (vkey) values ($1) on conflict do nothing"

LEAVES = "select leaf_hash from audit.leaf where log_index >= $1 and log_index < $2 order by log_index"
#: Tiles at least as wide as asked for.
TILES = """
select w.level, w.n,
       (select t.hashes from audit.tile t where t.level = w.level and t.n = w.n and t.width >= w.width
         order by t.width limit 1) as hashes
  from unnest($1::smallint[], $2::bigint[], $3::smallint[]) w (level, n, width)
"""
LATEST_CHECKPOINT = "select size, note from audit.checkpoint order by size desc limit 1"
#: Which entries, of those below the index $3, were decided from $1 on and before $2: the first, and one past the last.
OF_PERIOD = """
select min(place) as first, max(place) + 1 as end
  from (select (select log_index from audit.leaf l where l.staged_id = d.staged_id) as place
          from audit.header d where d.at >= $1 and d.at < $2) of_period
 where place < $3
"""
BODIES = """
select (select body from audit.entry e where e.staged_id = l.staged_id) as body from audit.leaf l
 where l.log_index >= $1 and l.log_index < $2 order by l.log_index
"""
#: Of the same entries, the policy sets that decided.
POLICY_SETS = """
select distinct (select policy_set from audit.header d where d.staged_id = l.staged_id) as name from audit.leaf l
 where l.log_index >= $1 and l.log_index < $2
"""
KEYS = "select vkey from audit.verifier_key order by since, vkey"
COSIGNATURES = "select line from audit.cosignature where size = $1 order by witness"
ADD_COSIGNATURE = "insert into audit.cosignature (size, witness, line) values ($1, $2, $3) on conflict do nothing"
HANDOVERS = "select note from audit.key_handover order by made_at, vkey"
ADD_HANDOVER = "insert into audit.key_handover (vkey, note) values ($1, $2) on conflict do nothing"
#: Entries by their place in the log, with the leaf hash they were given.
SEALED = """
select l.log_index, l.leaf_hash, e.staged_id, e.leaf_hash as staged_hash, e.body
  from audit.leaf l left join audit.entry e using (staged_id)
 where l.log_index >= $1 and l.log_index < $2 order by l.log_index
"""
#: Heads above one size, up to another, with what was signed.
HEADS = """
select t.size, t.root, c.note from audit.tree t left join audit.checkpoint c using (size)
 where t.size > $1 and t.size <= $2 order by t.size
"""
#: All tiles that begin in a range of one level, partial ones too.
TILES_OF_LEVEL = """
select n, width, hashes from audit.tile where level = $1 and n >= $2 and n < $3 order by n, width
"""
#: How many entries wait, and since when.
WAITING = """
select count(*) as entries, min(staged_at) as since from audit.entry e
 where staged_id > (select coalesce(max(settled), 0) from audit.tree)
   and not exists (select from audit.leaf l where l.staged_id = e.staged_id)
"""


class Head(NamedTuple):
    """The newest head of the tree."""

    size: int
    root: Hash | None  #: None while the log is empty
    settled: int  #: all entries up to this staged id are in the tree
    all_over_before: int  #: every transaction with a lower number is over


class Staged(NamedTuple):
    """An entry that waits to be sealed."""

    staged_id: int
    leaf_hash: Hash  #: as it was when the entry was staged
    body: bytes


@dataclass(frozen=True, slots=True)
class SignedHead:
    """A checkpoint as published."""

    size: int
    note: bytes


class Sealed(NamedTuple):
    """An entry in its place in the log. What is None is missing."""

    log_index: int
    leaf_hash: Hash  #: as it stands in the tree
    staged_id: int | None
    staged_hash: Hash | None  #: as it was when the entry was staged
    body: bytes | None


class StoredHead(NamedTuple):
    """The head that was stored after a batch, and what was signed of it."""

    size: int
    root: Hash
    note: bytes | None


class StoredTile(NamedTuple):
    """A tile as it is stored."""

    n: int
    width: int
    hashes: bytes


class LogRepository:
    """The tree, its tiles, and what was signed."""

    def __init__(self, conn: asyncpg.Connection[Any]) -> None:
        self._conn = conn

    async def try_lead(self) -> bool:
        """Become the one sequencer, for as long as this connection lasts or until `stop_leading`."""
        return bool(await self._conn.fetchval(TRY_LEAD))

    async def stop_leading(self) -> None:
        await self._conn.execute(STOP_LEADING)

    async def try_publish(self) -> bool:
        """Become the one publisher, for as long as this connection lasts or until `stop_publishing`."""
        return bool(await self._conn.fetchval(TRY_PUBLISH))

    async def stop_publishing(self) -> None:
        await self._conn.execute(STOP_PUBLISHING)

    async def head(self) -> Head:
        row = await self._conn.fetchrow(HEAD)
        assert row is not None
        return Head(*row.values())

    async def own_number(self) -> int:
        return int(await self._conn.fetchval(OWN_NUMBER))

    async def last_sealed(self) -> int:
        """The highest staged id in the tree."""
        return int(await self._conn.fetchval(LAST_SEALED))

    async def fresh(self, above: int, most: int, most_bytes: int) -> list[Staged]:
        return [Staged(*row.values()) for row in await self._conn.fetch(FRESH, above, most, most_bytes)]

    async def late(self, gaps: Sequence[tuple[int, int]], most: int, most_bytes: int) -> list[Staged]:
        firsts, lasts = [first for first, _ in gaps], [last for _, last in gaps]
        return [Staged(*row.values()) for row in await self._conn.fetch(LATE, firsts, lasts, most, most_bytes)]

    async def add_leaves(self, first_index: int, entries: Iterable[Staged]) -> None:
        rows = [(first_index + at, entry.staged_id, entry.leaf_hash) for at, entry in enumerate(entries)]
        await self._conn.copy_records_to_table(
            "leaf", schema_name="audit", columns=("log_index", "staged_id", "leaf_hash"), records=rows
        )

    async def add_headers(self, entries: Iterable[Staged]) -> None:
        """Let these entries be found by what they say; in the transaction that adds their leaves."""
        await self._conn.execute(ADD_HEADERS, [entry.staged_id for entry in entries])

    async def add_tiles(self, tiles: Iterable[tuple[Tile, Sequence[Hash]]]) -> None:
        rows = [(*tile, b"".join(hashes)) for tile, hashes in tiles]
        if rows:
            await self._conn.copy_records_to_table(
                "tile", schema_name="audit", columns=("level", "n", "width", "hashes"), records=rows
            )

    async def add_head(self, size: int, root: Hash, settled: int) -> None:
        await self._conn.execute(ADD_HEAD, size, root, settled)

    async def add_checkpoint(self, size: int, note: bytes) -> None:
        await self._conn.execute(ADD_CHECKPOINT, size, note)

    async def add_key(self, vkey: str) -> None:
        await self._conn.execute(ADD_KEY, vkey)

    async def keys(self) -> list[str]:
        """The public keys that have signed this log, oldest first."""
        return [row["vkey"] for row in await self._conn.fetch(KEYS)]

    async def latest_checkpoint(self) -> SignedHead | None:
        row = await self._conn.fetchrow(LATEST_CHECKPOINT)
        return None if row is None else SignedHead(row["size"], row["note"])

    async def cosignatures(self, size: int) -> list[bytes]:
        """The witnesses' lines under the checkpoint of `size`."""
        return [row["line"] for row in await self._conn.fetch(COSIGNATURES, size)]

    async def add_cosignature(self, size: int, witness: str, line: bytes) -> None:
        """Keep a witness's line; the first one of each witness stays."""
        await self._conn.execute(ADD_COSIGNATURE, size, witness, line)

    async def handovers(self) -> list[bytes]:
        """The notes by which each key named the next, oldest first."""
        return [row["note"] for row in await self._conn.fetch(HANDOVERS)]

    async def add_handover(self, vkey: str, note: bytes) -> None:
        await self._conn.execute(ADD_HANDOVER, vkey, note)

    async def sealed(self, start: int, end: int) -> list[Sealed]:
        """Entries `start` up to `end` of the log, as far as they are there."""
        return [Sealed(*row.values()) for row in await self._conn.fetch(SEALED, start, end)]

    async def heads(self, above: int, upto: int) -> list[StoredHead]:
        """The heads of trees larger than `above`, up to `upto`, smallest first."""
        return [StoredHead(*row.values()) for row in await self._conn.fetch(HEADS, above, upto)]

    async def tiles_of_level(self, level: int, start: int, end: int) -> list[StoredTile]:
        """Tiles number `start` up to `end` of a level, in every width that is stored."""
        return [StoredTile(*row.values()) for row in await self._conn.fetch(TILES_OF_LEVEL, level, start, end)]
    async def of_period(self, since: datetime, until: datetime, size: int) -> tuple[int, int] | None:
        """First index, and one past the last, of what was decided in a period; None where nothing was."""
        row = await self._conn.fetchrow(OF_PERIOD, since, until, size)
        return None if row is None or row["first"] is None else (row["first"], row["end"])

    async def bodies(self, first: int, end: int) -> list[bytes]:
        """The entries from index `first` on and before `end`."""
        return [row["body"] for row in await self._conn.fetch(BODIES, first, end)]

    async def policy_sets(self, first: int, end: int) -> list[str]:
        """Hashes of the policy sets that decided in those entries; empty where none was asked."""
        return [row["name"] for row in await self._conn.fetch(POLICY_SETS, first, end)]

    async def tiles(self, wanted: Sequence[Tile]) -> dict[Tile, list[Hash]]:
        """The hashes of each tile, as many as asked for; fewer, or none, where they are not there."""
        kept = [tile for tile in wanted if tile.level or tile.width == FULL]
        rows = await self._conn.fetch(TILES, [t.level for t in kept], [t.n for t in kept], [t.width for t in kept])
        found = {tile: _cut(row["hashes"] or b"", tile.width) for tile, row in zip(kept, rows, strict=True)}
        for tile in wanted:
            if tile not in found:  # a partial tile of level 0 is the last leaves themselves
                start = tile.n * FULL
                leaves = await self._conn.fetch(LEAVES, start, start + tile.width)
                found[tile] = [row["leaf_hash"] for row in leaves]
        return found

    async def waiting(self) -> Any:
        """`entries` that wait to be sealed, and `since` when the oldest does."""
        return await self._conn.fetchrow(WAITING)


def _cut(hashes: bytes, width: int) -> list[Hash]:
    wanted = min(len(hashes) // HASH_SIZE, width)
    return [hashes[at * HASH_SIZE : (at + 1) * HASH_SIZE] for at in range(wanted)]
